"""What an archive holds, put together from checkpoints and catalogs: images and the frame index."""

from __future__ import annotations

from dataclasses import dataclass, field

from glancearchive.format.extents import ExtentMap
from glancearchive.format.frameindex import FrameIndex
from glancearchive.format.imageparts import COMPLETE, NO_DATA, ZEROS, Extents, ImageBegin, ImageEnd, ImagePart

UNFINISHED = "unfinished"


@dataclass(slots=True)
class Entry:
    """All that is known of one image."""

    number: int
    begin: ImageBegin | None = None
    end: ImageEnd | None = None
    extent_map: ExtentMap = field(default_factory=ExtentMap)

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
        if part.extents is not None:
            self.extent_map.add(part.position, part.extents)

    def extents(self) -> tuple[Extents, list[tuple[int, int]]]:
        """The extents in order, and the gaps ``(position, blocks)`` between them that no record describes."""
        return self.extent_map.extents()


@dataclass(slots=True)
class Catalog:
    """The images (by number) and the frame index of an archive, as far as the volumes at hand tell."""

    frames: FrameIndex
    entries: dict[int, Entry] = field(default_factory=dict)

    def add_part(self, part: ImagePart) -> None:
        """Learn an image part. Raises ValueError when it contradicts what is known."""
        entry = self.entries.get(part.number)
        if entry is None:
            entry = self.entries[part.number] = Entry(part.number)
        entry.add(part)

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
    if end is not None and end.status == NO_DATA and entry.extent_map:
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
