"""The maps of images: their extents, from the parts in which records tell them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from glancearchive.format.imageparts import MAX_BLOCKS, ZEROS, Extents, Ranges


class ExtentMap:
    """Extents as parts, each at a position (a block index of the image); true when there are any."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: dict[int, Extents] = {}

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, position: int, extents: Extents) -> None:
        """Learn a part."""
        if not len(extents):
            return
        known = self._parts.get(position)
        # The longer of two descriptions of the same stretch: a catalog joins what checkpoints said in parts.
        if known is None or known[:, 1].sum() < extents[:, 1].sum():
            self._parts[position] = extents

    def extents(self) -> tuple[Extents, list[tuple[int, int]]]:
        """The extents in order, and the gaps ``(position, blocks)`` between them that no part describes.

        Neighbours that continue one another are joined. The blocks of a gap are left out of the extents.
        """
        if len(self._parts) == 1 and 0 in self._parts:  # most images of a large archive
            return join_extents(self._parts[0]), []
        pieces: list[Extents] = []
        gaps: list[tuple[int, int]] = []
        covered = 0
        for position, rows in self.pieces():
            if position > covered:
                gaps.append((covered, position - covered))
            pieces.append(rows)
            covered = position + int(rows[:, 1].sum())
        joined = np.concatenate(pieces) if pieces else np.empty((0, 2), dtype="<u8")
        return join_extents(joined), gaps

    def pieces(self) -> Iterator[tuple[int, Extents]]:
        """The parts in order, each with its position, without what one before says already."""
        covered = 0
        for position in sorted(self._parts):
            rows = self._parts[position]
            end = position + int(rows[:, 1].sum())
            if end <= covered:
                continue
            yield max(position, covered), skip_blocks(rows, covered - position) if position < covered else rows
            covered = end

    def overlaid(self, other: ExtentMap, ranges: Ranges) -> ExtentMap:
        """A map that says what `other` says within `ranges`, and elsewhere what this one says."""
        result, mine, its, at = ExtentMap(), _Flat(self), _Flat(other), 0
        for position, count in ranges:
            mine.copy(at, position, result)
            its.copy(position, position + count, result)
            at = position + count
        mine.copy(at, MAX_BLOCKS, result)
        return result


NO_PART = -1


class ExtentStore:
    """The parts of very many maps, a few dozen bytes each.

    A map is known by its last part, and by `NO_PART` while it has none.
    Safe in several threads as long as none adds to it.
    """

    def __init__(self) -> None:
        self._rows = bytearray()  # of all parts, one after the other
        self._begins = array("Q", [0])  # where those of each part begin, and those of the next one will
        self._positions = array("Q")
        self._before = array("q")  # the part before it of the same map

    def add(self, last: int, position: int, extents: Extents) -> int:
        """Learn a part of the map whose last part was `last`; the last part that it has now."""
        if not len(extents):
            return last
        self._rows += extents.tobytes()
        self._begins.append(len(self._rows))
        self._positions.append(position)
        self._before.append(last)
        return len(self._before) - 1

    def add_map(self, extent_map: ExtentMap) -> int:
        """Learn a whole map; its last part."""
        last = NO_PART
        for position, rows in extent_map.pieces():
            last = self.add(last, position, rows)
        return last

    def __getitem__(self, last: int) -> ExtentMap:
        parts = []
        while last != NO_PART:
            parts.append(last)
            last = self._before[last]
        found = ExtentMap()
        for part in reversed(parts):
            rows = self._rows[self._begins[part] : self._begins[part + 1]]
            found.add(self._positions[part], np.frombuffer(rows, dtype="<u8").reshape(-1, 2))
        return found


class _Flat:
    """The extents of a map with their positions, to take parts from."""

    def __init__(self, extent_map: ExtentMap) -> None:
        pieces = list(extent_map.pieces())
        self._rows = np.concatenate([rows for _, rows in pieces] or [np.empty((0, 2), dtype="<u8")])
        begins = [np.uint64(position) + np.cumsum(rows[:, 1]) - rows[:, 1] for position, rows in pieces]
        self._begins = np.concatenate(begins or [np.empty(0, dtype="<u8")]).astype(np.uint64)
        self._ends = self._begins + self._rows[:, 1]

    def copy(self, begin: int, end: int, into: ExtentMap) -> None:
        """Add what is said of the blocks from `begin` to `end` to another map."""
        first = int(np.searchsorted(self._ends, np.uint64(begin), side="right"))
        last = int(np.searchsorted(self._begins, np.uint64(end), side="left"))
        if first >= last or begin >= end:
            return
        breaks = np.flatnonzero(self._begins[first + 1 : last] != self._ends[first : last - 1]) + first + 1
        for one, other in pairwise([first, *breaks.tolist(), last]):
            rows, position = self._rows[one:other].copy(), int(self._begins[one])
            over = int(self._ends[other - 1]) - end
            if over > 0:
                rows[-1, 1] -= np.uint64(over)
            if position < begin:
                rows, position = skip_blocks(rows, begin - position), begin
            into.add(position, rows)


def skip_blocks(rows: Extents, count: int) -> Extents:
    """`rows` without their first `count` blocks."""
    ends = np.cumsum(rows[:, 1])
    first = int(np.searchsorted(ends, np.uint64(count), side="right"))
    rest = rows[first:].copy()
    if len(rest):
        inside = count - (int(ends[first - 1]) if first else 0)
        if rest[0, 0] != ZEROS:
            rest[0, 0] += np.uint64(inside)
        rest[0, 1] -= np.uint64(inside)
    return rest


def join_extents(rows: Extents) -> Extents:
    """`rows` with neighbours joined where one continues the other."""
    if len(rows) < 2:
        return rows
    zeros = rows[:, 0] == ZEROS
    continues = np.where(zeros[1:], zeros[:-1], ~zeros[:-1] & (rows[:-1, 0] + rows[:-1, 1] == rows[1:, 0]))
    heads = np.flatnonzero(np.concatenate([[True], ~continues]))
    if len(heads) == len(rows):
        return rows
    joined = rows[heads].copy()
    joined[:, 1] = np.add.reduceat(rows[:, 1], heads)
    return joined
