"""Packs unique blocks into frames and compresses them in the background; frames are written in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from glancearchive.format.compression import Level, compress
from glancearchive.format.hashing import digest
from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.recordfile import RecordFile


@dataclass(slots=True)
class _OpenFrame:
    data: memoryview  # of a bytearray: assigning to a part of that itself would copy twice
    used: int = 0
    owners: dict[int, int] = field(default_factory=dict)  # image number to blocks it brought


@dataclass(slots=True)
class _Compressed:
    stored: bytes
    payload_digest: bytes


class FramePacker:
    """Takes blocks in order, writes frames in order. `taken` counts the archive's blocks. Not safe in several threads.

    `on_written` is told of each frame after it was written: its header, and for each
    image that brought blocks into it how many.
    """

    def __init__(
        self,
        file: RecordFile,
        level: Level,
        block_size: int,
        threads: int,
        taken: int,
        on_written: Callable[[RecordHeader, dict[int, int]], None],
    ) -> None:
        self._file = file
        self._level = level
        self._block_size = block_size
        self._on_written = on_written
        self.taken = taken  # blocks of the archive so far
        self._pool = ThreadPoolExecutor(threads, "compress")
        self._waiting: deque[tuple[Future[_Compressed], _OpenFrame]] = deque()
        self._most_waiting = threads + 1
        self._spare: list[memoryview] = []
        self._open: _OpenFrame | None = None

    def add(self, blocks: memoryview, image: int) -> None:
        """Append whole blocks that image number `image` brought. May wait for frames to be written."""
        self.taken += len(blocks) // self._block_size
        while blocks:
            if self._open is None:
                self._open = _OpenFrame(
                    self._spare.pop() if self._spare else memoryview(bytearray(self._level.frame_size))
                )
            frame = self._open
            taken = blocks[: len(frame.data) - frame.used]
            frame.data[frame.used : frame.used + len(taken)] = taken
            frame.used += len(taken)
            frame.owners[image] = frame.owners.get(image, 0) + len(taken) // self._block_size
            blocks = blocks[len(taken) :]
            if frame.used == len(frame.data):
                self._close_frame()

    def _close_frame(self) -> None:
        frame, self._open = self._open, None
        if frame is None or not frame.used:
            return
        self._waiting.append((self._pool.submit(self._compress, frame), frame))
        while len(self._waiting) > self._most_waiting:
            self._write_next()

    def _compress(self, frame: _OpenFrame) -> _Compressed:
        stored = compress(frame.data[: frame.used], self._level)
        return _Compressed(stored, digest(stored))

    def _write_next(self) -> None:
        future, frame = self._waiting[0]  # it stays there when it cannot be written: later ones must not take its place
        compressed = future.result()
        header = self._file.write_payload(RecordType.FRAME, compressed.stored, frame.used, compressed.payload_digest)
        self._waiting.popleft()
        self._spare.append(frame.data)
        self._on_written(header, frame.owners)

    def drain(self) -> None:
        """Write all frames, also the one that is not full."""
        self._close_frame()
        while self._waiting:
            self._write_next()

    def close(self) -> None:
        """Give up what is not written."""
        self._pool.shutdown(cancel_futures=True)
