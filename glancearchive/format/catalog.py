"""What an archive holds, put together from checkpoints and catalogs: images and the frame index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from glancearchive.format.frameindex import FrameIndex
from glancearchive.format.schema import COMPLETE, NO_DATA, ZEROS, Extents, ImageBegin, ImageEnd, ImagePart

UNFINISHED = "unfinished"


@dataclass(slots=True)
class Entry:
    """All that is known of one image. Extents come as parts, each at a position (a block index of the image)."""

    number: int
    begin: ImageBegin | None = None
    end: ImageEnd | None = None
    parts: dict[int, Extents] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """``complete``, ``no-data``, ``failed`` or ``unfinished``."""
        return UNFINISHED if self.end is None else self.end.status

    def add(self, part: ImagePart) -> None:
        """Learn `part`. Raises ValueError when it contradicts what is known."""
        if part.begin is not None:
            if self.begin is not None and self.begin != part.begin:
                raise ValueError(f"two records disagree about the metadata of image {self.number}")
            self.begin = part.begin
        if part.end is not None:
            if self.end is not None and self.end != part.end:
                raise ValueError(f"two records disagree about the end of image {self.number}")
            self.end = part.end
        if part.extents is not None and len(part.extents):
            known = self.parts.get(part.position)
            # The longer of two descriptions of the same stretch: a catalog joins what checkpoints said in parts.
            if known is None or known[:, 1].sum() < part.extents[:, 1].sum():
                self.parts[part.position] = part.extents

    def extents(self) -> tuple[Extents, list[tuple[int, int]]]:
        """The extents in order, and the gaps ``(position, blocks)`` between them that no record describes.

        Neighbours that continue one another are joined. The blocks of a gap are left out of the extents.
        """
        pieces: list[Extents] = []
        gaps: list[tuple[int, int]] = []
        covered = 0
        for position in sorted(self.parts):
            rows = self.parts[position]
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

    def stretches(self, limit: int) -> Iterator[tuple[int, Extents]]:
        """The extents as ``position, rows`` of at most `limit` rows each; for what one volume says of an image."""
        extents, gaps = self.extents()
        # An image that an earlier volume began is described from some block on; there is no other gap in a volume.
        position = gaps[0][1] if gaps else 0
        for at in range(0, len(extents), limit):
            rows = extents[at : at + limit]
            yield position, rows
            position += int(rows[:, 1].sum())


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


@dataclass(slots=True)
class Catalog:
    """The images (by number) and the frame index of an archive, as far as the volumes at hand tell."""

    frames: FrameIndex
    entries: dict[int, Entry] = field(default_factory=dict)

    def add_part(self, part: ImagePart) -> None:
        """Learn an image part. Raises ValueError when it contradicts what is known."""
        self.entries.setdefault(part.number, Entry(part.number)).add(part)

    def current(self) -> list[Entry]:
        """The entries that count, by number: of several with one id the last complete one, else the last.

        An entry whose `begin` is not known (it stands in a volume that is missing) counts on its own.
        """
        latest: dict[str | int, Entry] = {}
        for number in sorted(self.entries):
            entry = self.entries[number]
            key = entry.begin.id if entry.begin is not None else number
            if entry.status == COMPLETE or key not in latest or latest[key].status != COMPLETE:
                latest[key] = entry
        return sorted(latest.values(), key=lambda entry: entry.number)


def check_extents(entry: Entry, frames: FrameIndex, block_size: int) -> list[str]:
    """What is wrong with the map of a complete image: one line per fault, none when it is covered."""
    end = entry.end
    if end is not None and end.status == NO_DATA and entry.parts:
        return ["it has extents, and is said to have no data"]
    if end is None or end.status != COMPLETE or end.size is None:
        return []
    extents, gaps = entry.extents()
    faults = [f"blocks {at}-{at + count - 1} of the image are described nowhere" for at, count in gaps]
    described = int(extents[:, 1].sum()) + sum(count for _, count in gaps)
    needed = -(-end.size // block_size)
    if described != needed:
        faults.append(f"its extents cover {described} blocks, its size needs {needed}")
    for start, count in extents[extents[:, 0] != ZEROS].tolist():
        faults += [
            f"block numbers {at}-{at + blocks - 1} are in no frame at hand"
            for at, blocks in frames.missing(start, count)
        ]
    return faults
