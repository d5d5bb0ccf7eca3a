"""The digests of all blocks of an archive, as a verification computes them: 16 bytes each, most of them in a file."""

from __future__ import annotations

from pathlib import Path

from glancearchive.format.frameindex import FrameKey
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
        place = self._places.get(frame)
        return None if place is None else self._rows.rows[self._begins[place] : self._begins[place + 1]]

    def __getitem__(self, frame: FrameKey) -> Digests:
        found = self.get(frame)
        if found is None:
            raise KeyError(frame)
        return found
