"""What an archive holds, put together from checkpoints and catalogs: images and the frame index."""

from __future__ import annotations

from dataclasses import dataclass, field

from glancearchive.format.encoding import pack
from glancearchive.format.extents import NO_PART, ExtentMap, ExtentStore
from glancearchive.format.frameindex import FrameIndex
from glancearchive.format.header import MAX_VOLUMES
from glancearchive.format.imageparts import (
    COMPLETE,
    NO_DATA,
    ZEROS,
    Extents,
    ImageBegin,
    ImageEnd,
    ImagePart,
    unpack_end,
)
from glancearchive.format.packedmaps import PackedMaps

UNFINISHED, PATCH = "unfinished", "patch"


@dataclass(slots=True)
class Entry:
    """All that is known of one image. `seen` are the first and the last volume at hand that say something of it."""

    number: int
    begin: ImageBegin | None = None
    end: ImageEnd | None = None
    extent_map: ExtentMap = field(default_factory=ExtentMap)
    seen: tuple[int, int] = (MAX_VOLUMES, 0)

    @property
    def status(self) -> str:
        """``complete``, ``no-data``, ``failed``, ``unfinished``, or ``patch`` for a part that a repair archive has."""
        if self.end is None:
            return UNFINISHED
        return self.end.status if self.end.patch is None else PATCH

    @property
    def id(self) -> str:
        """The image's id, "" where no record at hand says it."""
        return self.begin.id if self.begin is not None else ""

    def add(self, part: ImagePart, volume: int = 0) -> None:
        """Learn `part`, which `volume` has. Raises ValueError when it contradicts what is known."""
        self.seen = min(self.seen[0], volume), max(self.seen[1], volume)
        if part.begin is not None:
            if self.begin is not None and self.begin != part.begin:
                raise ValueError(f"two records disagree about the metadata of image {self.number}")
            self.begin = part.begin
        if part.end is not None:
            if self.end is not None and self.end != part.end:
                raise ValueError(f"two records disagree about the end of image {self.number}")
            self.end = part.end
        if part.extents is not None:
            self._add_extents(part.position, part.extents)

    def _add_extents(self, position: int, extents: Extents) -> None:
        self.extent_map.add(position, extents)

    def described_in(self, position: int, frames: FrameIndex) -> str:
        """Where its blocks from `position` on are described that no volume at hand describes.

        What is said of an image is said in the order of its blocks, its end last.
        """
        first, last = self.seen
        if not last:
            return frames.elsewhere
        until = last if self.end is not None else MAX_VOLUMES
        return frames.elsewhere_within(first if position else 0, until) or "nowhere"

    def extents(self) -> tuple[Extents, list[tuple[int, int]]]:
        """The extents in order, and the gaps ``(position, blocks)`` between them that no record describes."""
        return self.extent_map.extents()


class _Store:
    """What the entries of a catalog say."""

    def __init__(self) -> None:
        self.maps = PackedMaps()
        self.extents = ExtentStore()


class _StoredEntry(Entry):
    """An entry of a catalog. There may be very many: what is not asked for is kept encoded, in `store`."""

    __slots__ = ("_begin", "_end", "_id", "_part", "_status", "_store", "seen")

    def __init__(self, number: int, store: _Store) -> None:
        self.number = number
        self._store = store
        self._id, self._status = "", UNFINISHED
        self._begin = self._end = -1  # as numbers of `store.maps`; none yet
        self._part = NO_PART  # the last one of the extents
        self.seen = MAX_VOLUMES, 0

    @property
    def id(self) -> str:
        return self._id

    @property
    def status(self) -> str:
        return self._status

    @property
    def begin(self) -> ImageBegin | None:
        return ImageBegin(self._id, self._store.maps[self._begin]) if self._begin >= 0 else None

    @begin.setter
    def begin(self, begin: ImageBegin | None) -> None:
        assert begin is not None  # nothing is forgotten
        self._id, self._begin = begin.id, self._store.maps.add(begin.packed)

    @property
    def end(self) -> ImageEnd | None:
        return unpack_end(self._store.maps[self._end]) if self._end >= 0 else None

    @end.setter
    def end(self, end: ImageEnd | None) -> None:
        assert end is not None
        self._end = self._store.maps.add(pack(end.to_map()))
        self._status = end.status if end.patch is None else PATCH

    @property
    def extent_map(self) -> ExtentMap:
        return self._store.extents[self._part]

    @extent_map.setter
    def extent_map(self, extent_map: ExtentMap) -> None:
        self._part = self._store.extents.add_map(extent_map)

    def _add_extents(self, position: int, extents: Extents) -> None:
        self._part = self._store.extents.add(self._part, position, extents)


@dataclass(slots=True)
class Catalog:
    """The images (by number) and the frame index of an archive, as far as the volumes at hand tell."""

    frames: FrameIndex
    entries: dict[int, Entry] = field(default_factory=dict)
    _store: _Store = field(default_factory=_Store)

    def add_part(self, part: ImagePart, volume: int = 0) -> None:
        """Learn an image part, which `volume` has. Raises ValueError when it contradicts what is known."""
        entry = self.entries.get(part.number)
        if entry is None:
            entry = self.entries[part.number] = _StoredEntry(part.number, self._store)
        entry.add(part, volume)

    def current(self) -> list[Entry]:
        """The entries that count, by number: of several with one id the last complete one, else the last.

        An entry whose `begin` is not known (it stands in a volume that is missing) counts on its own.
        """
        latest: dict[str | int, Entry] = {}
        for number in sorted(self.entries):
            entry = self.entries[number]
            key = entry.id or number
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
    faults = [_undescribed(entry, frames, at, at + count - 1) for at, count in gaps]
    if end.patch is not None:
        faults.append("it is a part of an image, good for repairing the archive that has the rest")
    described = int(extents[:, 1].sum()) + sum(count for _, count in gaps)
    needed = -(-end.size // block_size)
    if described < needed and frames.lacking:  # what the other volumes say ends earlier than the image
        faults.append(_undescribed(entry, frames, described, needed - 1))
    elif described != needed:
        faults.append(f"its extents cover {described} blocks, its size needs {needed}")
    for start, count in extents[extents[:, 0] != ZEROS].tolist():
        faults += [
            f"block numbers {at}-{at + blocks - 1} are {frames.whereabouts(at, blocks)}"
            for at, blocks in frames.missing(start, count)
        ]
    return faults


def _undescribed(entry: Entry, frames: FrameIndex, first: int, last: int) -> str:
    return f"blocks {first}-{last} of the image are described {entry.described_in(first, frames)}"
