"""The digests of all blocks of an archive, as a verification computes them: 16 bytes each, most of them in a file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

from glancearchive.format.frameindex import Frame, FrameKey
from glancearchive.format.growing import GrowingArray, Room
from glancearchive.format.hashing import Digests

_MEMORY = 64 << 20  # bytes; beyond that they go into a temporary file


class FrameDigests:
    """The digests of the blocks of each frame. One thread may add to it, when no other reads.

    `apart_from` is as in `Room`: the directory of the archive.
    """

    def __init__(self, apart_from: Path) -> None:
        self._rows = GrowingArray(("<u8", (2,)), Room(_MEMORY, apart_from=apart_from))
        self._places: dict[FrameKey, int] = {}  # in `_begins`
        self._begins = [0]

    def __setitem__(self, frame: FrameKey, digests: Digests) -> None:
        begin, end = self._begins[-1], self._begins[-1] + len(digests)
        self._rows.reserve(end)
        self._rows.rows[begin:end] = digests
        self._places[frame] = len(self._begins) - 1
        self._begins.append(end)

    def get(self, frame: FrameKey) -> Digests | None:
        """The digests of `frame` in order, to be used before others are added; None when there are none."""
        return self.rows(*self.span(frame)) if frame in self._places else None

    def span(self, frame: FrameKey) -> tuple[int, int]:
        """Where those of `frame` are among all: from which to which, exclusive. An empty span where there are none."""
        place = self._places.get(frame)
        return (0, 0) if place is None else (self._begins[place], self._begins[place + 1])

    def rows(self, begin: int, end: int) -> Digests:
        """The digests from the `begin`-th to the `end`-th, exclusive, as they were added; as for `get`."""
        return self._rows.rows[begin:end]


class BlockDigests:
    """The digests of blocks by their numbers: those in `digests` of `frames`.

    As a rule a few runs in which both go on alike, so that an image of very many extents is soon looked up.
    """

    def __init__(self, digests: FrameDigests, frames: Iterable[Frame]) -> None:
        self._digests = digests
        # Of each run: the number of its first block, that after its last, and where the digests of its blocks begin.
        self._runs: list[tuple[int, int, int]] = []
        for frame in frames:
            begin, end = digests.span(frame.key)
            count = min(frame.blocks, end - begin)  # one of another size than the index says is a fault by itself
            if not count:
                continue
            first, after, at = self._runs[-1] if self._runs else (0, 0, 0)
            if first < after and (frame.first_block, begin) == (after, at + after - first):
                self._runs[-1] = first, after + count, at
            else:
                self._runs.append((frame.first_block, frame.first_block + count, begin))
        self._runs.sort()
        self._firsts = [first for first, _, _ in self._runs]

    def of(self, start: int, count: int) -> Iterator[Digests]:
        """Those of `count` blocks from number `start` on, in pieces; of blocks without any there is nothing."""
        run, end = max(0, bisect_right(self._firsts, start) - 1), start + count
        while run < len(self._runs) and self._firsts[run] < end:
            first, after, at = self._runs[run]
            begin, stop = max(start, first), min(end, after)
            if begin < stop:
                yield self._digests.rows(at + begin - first, at + stop - first)
            run += 1
