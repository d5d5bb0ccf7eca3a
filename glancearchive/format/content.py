"""The bytes of an image, out of frames that were checked before a byte of them is released."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from glancearchive.errors import ImageError
from glancearchive.format.frameindex import Frame, FrameIndex, FrameKey
from glancearchive.format.imageparts import ZEROS, Extents
from glancearchive.zeros import zeros

CHUNK = 1 << 20
_MOST_ZEROS = 256 << 20  # in one segment: whoever takes them may have to hash them, and wants to be able to stop
_AHEAD = 12 << 20  # bytes of frames decompressed before they are asked for


class FrameCache:
    """Decompressed frames, at most `limit` bytes of them, loaded by a few threads. Safe in several threads.

    `load` returns the checked raw payload of a frame or raises a FormatError,
    which `get` hands on; the next `get` tries again.
    """

    def __init__(self, load: Callable[[Frame], bytes], limit: int = 64 << 20, threads: int = 2) -> None:
        self._load = load
        self._limit = limit
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._frames: OrderedDict[FrameKey, tuple[Future[bytes], int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._closed = False

    def get(self, frame: Frame) -> Future[bytes]:
        """The frame's raw payload, sooner or later. Raises ValueError after `close`."""
        with self._lock:
            known = self._frames.get(frame.key)
            if known is not None and not (known[0].done() and known[0].exception()):
                self._frames.move_to_end(frame.key)
                return known[0]
            if known is not None:  # it failed; another attempt may not
                self._size -= self._frames.pop(frame.key)[1]
            while self._frames and self._size + frame.raw_size > self._limit:
                self._size -= self._frames.popitem(last=False)[1][1]
            if self._closed:
                raise ValueError("the archive is closed")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "frames")
            future = self._pool.submit(self._load, frame)
            self._frames[frame.key] = future, frame.raw_size
            self._size += frame.raw_size
            return future

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
            self._frames.clear()


@dataclass(frozen=True, slots=True)
class Segment:
    """`length` bytes of an image at `position`: `data`, or None for zeros."""

    position: int
    length: int
    data: bytes | memoryview | None


class Content:
    """Random and sequential access to one image's bytes. `size` in bytes; `extents` must cover it."""

    def __init__(self, size: int, extents: Extents, frames: FrameIndex, cache: FrameCache, block_size: int) -> None:
        self.size = size
        self._extents = extents
        self._ends = np.cumsum(extents[:, 1]).astype(np.uint64)
        self._frames = frames
        self._cache = cache
        self._block_size = block_size

    def _pieces(self, begin: int, end: int) -> Iterator[tuple[int, int, Frame | None, int]]:
        """The parts of bytes `begin` to `end`: position, length, and the frame with the offset in it (None: zeros)."""
        size = self._block_size
        at = begin
        row = int(np.searchsorted(self._ends, np.uint64(at // size), side="right"))
        while at < end:
            if row >= len(self._extents):
                raise ImageError(f"the image is described up to byte {at} only, of {self.size}")
            start, count = int(self._extents[row, 0]), int(self._extents[row, 1])
            extent_end = int(self._ends[row]) * size
            inside = at - (extent_end - count * size)
            stop = min(extent_end, end)
            while start == ZEROS and at < stop:
                yield at, min(stop - at, _MOST_ZEROS), None, 0
                at += min(stop - at, _MOST_ZEROS)
            while at < stop:
                block, within = start + inside // size, inside % size
                frame = self._frames.find(block)
                if frame is None:
                    raise ImageError(f"block {block}, at byte {at} of the image, is in no frame at hand")
                offset = (block - frame.first_block) * size + within
                length = min(frame.raw_size - offset, stop - at)
                yield at, length, frame, offset
                at, inside = at + length, inside + length
            row += 1

    def segments(self, begin: int = 0, end: int | None = None) -> Iterator[Segment]:
        """Bytes `begin` to `end` in order; zeros come in segments of up to 256 MiB."""
        waiting: deque[tuple[int, int, Future[bytes] | None, int]] = deque()
        ahead: deque[FrameKey] = deque()  # the distinct frames among those waiting
        most = 0
        for position, length, frame, offset in self._pieces(begin, self.size if end is None else end):
            if frame is None:
                waiting.append((position, length, None, 0))
            else:
                if not ahead or ahead[-1] != frame.key:
                    ahead.append(frame.key)
                    most = _AHEAD // frame.raw_size
                waiting.append((position, length, self._cache.get(frame), offset))
            while len(ahead) > most or len(waiting) > 4 * CHUNK // self._block_size:
                yield from self._release(waiting, ahead)
        while waiting:
            yield from self._release(waiting, ahead)

    @staticmethod
    def _release(
        waiting: deque[tuple[int, int, Future[bytes] | None, int]], ahead: deque[FrameKey]
    ) -> Iterator[Segment]:
        """The segments of the first frame (or zero run) that waits."""
        position, length, future, offset = waiting.popleft()
        if future is None:
            yield Segment(position, length, None)
            return
        frame = memoryview(future.result())
        yield Segment(position, length, frame[offset : offset + length])
        while waiting and waiting[0][2] in (future, None):
            position, length, other, offset = waiting.popleft()
            yield Segment(position, length, None if other is None else frame[offset : offset + length])
        if ahead:
            ahead.popleft()

    def chunks(self, begin: int = 0, end: int | None = None) -> Iterator[bytes | memoryview]:
        """Bytes `begin` to `end` in buffers of 1 MiB, the last one shorter. They are shared zeros, or copies.

        Whoever keeps some of them does not keep the frames that they come from, which may be many times larger.
        """
        parts: list[bytes | memoryview] = []
        held = 0
        for segment in self.segments(begin, end):
            at = 0
            while at < segment.length:
                size = min(segment.length - at, CHUNK - held)
                parts.append(zeros(size) if segment.data is None else bytes(segment.data[at : at + size]))
                at, held = at + size, held + size
                if held == CHUNK:
                    yield parts[0] if len(parts) == 1 else b"".join(parts)
                    parts, held = [], 0
        if parts:
            yield parts[0] if len(parts) == 1 else b"".join(parts)


class ImageFile(io.RawIOBase):
    """An image as a seekable, read-only binary file. Raises a FormatError where bytes are damaged."""

    def __init__(self, content: Content, name: str) -> None:
        self._content = content
        self._position = 0
        self.name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        end = min(self._position + len(buffer), self._content.size)
        view, begin = memoryview(buffer), self._position
        if end <= begin:
            return 0
        for segment in self._content.segments(begin, end):
            at = segment.position - begin
            view[at : at + segment.length] = segment.data if segment.data is not None else bytes(segment.length)
        self._position = end
        return end - begin
