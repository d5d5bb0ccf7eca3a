"""Packs unique blocks into frames and compresses them in the background; frames are written in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from glancearchive.format.compression import Level, compress
from glancearchive.format.hashing import digest

_IN_FLIGHT = 16 << 20  # bytes of frames that wait to be compressed or written


@dataclass(slots=True)
class _OpenFrame:
    data: memoryview  # of a bytearray: assigning to a part of that itself would copy twice
    used: int = 0
    owners: dict[int, int] = field(default_factory=dict)  # image number to blocks it brought


@dataclass(frozen=True, slots=True)
class PackedFrame:
    """A frame as it is stored. `owners`: for each image that brought blocks into it how many."""

    stored: bytes
    raw_size: int
    payload_digest: bytes
    owners: Mapping[int, int]


class FramePacker:
    """Takes blocks in order, gives frames in order. `taken` counts the archive's blocks. Not safe in several threads.

    `write` is given each frame when it is its turn.
    """

    def __init__(
        self,
        level: Level,
        block_size: int,
        threads: int,
        taken: int,
        write: Callable[[PackedFrame], None],
    ) -> None:
        self._level = level
        self._block_size = block_size
        self._write = write
        self.taken = taken  # blocks of the archive so far
        self._pool = ThreadPoolExecutor(threads, "compress")
        self._waiting: deque[tuple[Future[PackedFrame], _OpenFrame]] = deque()
        # One more than can be compressed at once, but of large frames fewer: each takes its size twice.
        self._most_waiting = max(1, min(threads + 1, _IN_FLIGHT // level.frame_size))
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

    def add_frame(self, frame: PackedFrame) -> None:
        """Append a frame that is packed already. May wait for those before it to be written."""
        self.drain()
        self.taken += frame.raw_size // self._block_size
        self._write(frame)

    def _close_frame(self) -> None:
        frame, self._open = self._open, None
        if frame is None or not frame.used:
            return
        self._waiting.append((self._pool.submit(self._compress, frame), frame))
        while len(self._waiting) > self._most_waiting:
            self._write_next()

    def _compress(self, frame: _OpenFrame) -> PackedFrame:
        stored = compress(frame.data[: frame.used], self._level)
        return PackedFrame(stored, frame.used, digest(stored), frame.owners)

    def _write_next(self) -> None:
        future, frame = self._waiting[0]  # it stays there when it cannot be written: later ones must not take its place
        self._write(future.result())
        self._waiting.popleft()
        self._spare.append(frame.data)

    def drain(self) -> None:
        """Write all frames, also the one that is not full."""
        self._close_frame()
        while self._waiting:
            self._write_next()

    def close(self) -> None:
        """Give up what is not written."""
        self._pool.shutdown(cancel_futures=True)
