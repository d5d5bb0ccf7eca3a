"""Repair archives laid over the archive that they repair: which images become what (SPEC section 6.8)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from glancearchive.errors import FormatError
from glancearchive.format.catalog import UNFINISHED, Entry
from glancearchive.format.extents import ExtentMap
from glancearchive.format.frameindex import Frame, FrameIndex, FrameKey
from glancearchive.format.header import MAX_VOLUMES
from glancearchive.format.imageparts import COMPLETE, FAILED, MAX_BLOCKS, Ranges
from glancearchive.format.usable import FaultOf, usable_ranges

LayOver = Callable[[Entry | None, Entry], ExtentMap]
"""The extents of an image, None for one that nobody knew of, with what a patch has laid over them."""


class MendedEntry(Entry):
    """What becomes of `original` (None: an image that nobody knew of) with what `patch` has.

    Its extents are put together when they are first asked for: frames of the repair archive are read for that.
    """

    __slots__ = ("_lay_over", "_map", "original", "patch")

    def __init__(self, number: int, original: Entry | None, patch: Entry, lay_over: LayOver) -> None:
        self.number, self.original, self.patch = number, original, patch
        self.begin = patch.begin if original is None else original.begin
        self.end = original.end if original is not None and _complete(original) else patch.end
        self.seen = (MAX_VOLUMES, 0) if original is None else original.seen
        self._lay_over = lay_over
        self._map: ExtentMap | None = None

    @property
    def extent_map(self) -> ExtentMap:
        if self._map is None:  # two threads would make the same
            self._map = self._lay_over(self.original, self.patch)
        return self._map

    @extent_map.setter
    def extent_map(self, extent_map: ExtentMap) -> None:
        self._map = extent_map


class StoredFaults:
    """What is wrong with frames as they are stored. Each is read once, with `read`. Safe in several threads."""

    def __init__(self, read: Callable[[Frame], None]) -> None:
        self._read = read
        self._found: dict[FrameKey, FormatError | None] = {}
        self._lock = threading.Lock()

    def __call__(self, frame: Frame) -> FormatError | None:
        with self._lock:
            if frame.key not in self._found:
                fault: FormatError | None = None
                try:
                    self._read(frame)
                except FormatError as error:
                    fault = error
                self._found[frame.key] = fault
            return self._found[frame.key]

    def know_whole(self, frames: Iterable[FrameKey]) -> None:
        """These were read and are whole."""
        with self._lock:
            self._found.update(dict.fromkeys(frames))


def laid_over(original: Entry | None, patch: Entry, frames: FrameIndex, fault_of: FaultOf) -> ExtentMap:
    """The extents of both. What `fault_of` says of the patch's frames keeps those of the original in place."""
    if original is None or not _complete(original):
        return patch.extent_map
    whole: Ranges = ((0, MAX_BLOCKS),)
    ranges = (patch.end and patch.end.patch) or whole
    return original.extent_map.overlaid(patch.extent_map, usable_ranges(patch.extent_map, ranges, frames, fault_of))


def mend(entries: Sequence[Entry], patches: Iterable[Entry], number: int, lay_over: LayOver) -> list[Entry]:
    """The images of an archive, some of them a `MendedEntry`. `patches` are the images of its repair archives.

    Images that the archive did not know of follow, numbered from `number` on. What no record told the name of is left
    out, once, for each of these that has the same data.
    """
    known = {entry.begin.id: entry for entry in entries if entry.begin is not None}
    mended: list[MendedEntry] = []
    for patch in patches:
        if patch.begin is None or patch.end is None:
            continue
        original = known.get(patch.begin.id)
        if not _fits(patch, original):
            continue
        new = MendedEntry(number if original is None else original.number, original, patch, lay_over)
        number += original is None
        known[patch.begin.id] = new
        mended.append(new)
    named = Counter(_digest(one) for one in mended if one.original is None and _complete(one))
    found: dict[int, Entry] = {}
    for entry in entries:
        if _unnamed(entry) and _complete(entry) and named[_digest(entry)]:
            named[_digest(entry)] -= 1  # one that had lost its name has it again; a twin of it has not
        else:
            found[entry.number] = entry
    found.update((entry.number, entry) for entry in known.values())
    return [found[one] for one in sorted(found)]


def _fits(patch: Entry, original: Entry | None) -> bool:
    """Whether `patch` says something new of `original`. It has to be the same image, by its digest."""
    assert patch.end is not None
    if patch.status == FAILED:
        return False
    if original is None:
        return patch.end.patch is None
    if original.status in (UNFINISHED, FAILED):
        return patch.end.patch is None and _complete(patch)
    return _complete(original) and (patch.end.size, patch.end.digest) == (_size(original), _digest(original))


def _complete(entry: Entry) -> bool:
    return entry.status == COMPLETE


def _unnamed(entry: Entry) -> bool:
    return entry.begin is None


def _size(entry: Entry) -> int | None:
    return entry.end.size if entry.end is not None else None


def _digest(entry: Entry) -> bytes | None:
    return entry.end.digest if entry.end is not None else None
