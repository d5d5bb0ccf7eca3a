"""The map of an image: its extents, from the parts in which records tell them."""

from __future__ import annotations

import numpy as np

from glancearchive.format.imageparts import ZEROS, Extents


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
        for position in sorted(self._parts):
            rows = self._parts[position]
            end = position + int(rows[:, 1].sum())
            if end <= covered:
                continue
            if position > covered:
                gaps.append((covered, position - covered))
            elif position < covered:
                rows = skip_blocks(rows, covered - position)
            pieces.append(rows)
            covered = end
        joined = np.concatenate(pieces) if pieces else np.empty((0, 2), dtype="<u8")
        return join_extents(joined), gaps


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
