"""Repair archives laid over the archive that they repair: which images become what (SPEC section 6.8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glancearchive.format.catalog import UNFINISHED, Entry
from glancearchive.format.frameindex import FrameIndex
from glancearchive.format.imageparts import COMPLETE, FAILED, MAX_BLOCKS, Ranges
from glancearchive.format.usable import FaultOf, usable_ranges


@dataclass(frozen=True, slots=True)
class Mended:
    """`entry` is what becomes of `original` (None: an image that nobody knew of) with what `patch` has.

    Its extents are those of the others, and so are there only after `apply`, once theirs have been read.
    """

    entry: Entry
    original: Entry | None
    patch: Entry

    def apply(self, frames: FrameIndex, fault_of: FaultOf) -> None:
        """Put the extents together. What `fault_of` says of the patch's frames keeps those of the original in place."""
        extent_map, original = self.patch.extent_map, self.original
        if original is not None and _complete(original):
            whole: Ranges = ((0, MAX_BLOCKS),)
            ranges = (self.patch.end and self.patch.end.patch) or whole
            usable = usable_ranges(extent_map, ranges, frames, fault_of)
            extent_map = original.extent_map.overlaid(extent_map, usable)
        self.entry.extent_map = extent_map


def mend(entries: Sequence[Entry], patches: Iterable[Entry], number: int) -> tuple[list[Entry], list[Mended]]:
    """The images of an archive, some of them mended, and how. `patches` are the images of its repair archives.

    Images that the archive did not know of follow, numbered from `number` on. What no record told the name of is left
    out, once, for each of these that has the same data.
    """
    known = {entry.begin.id: entry for entry in entries if entry.begin is not None}
    mended: list[Mended] = []
    for patch in patches:
        if patch.begin is None or patch.end is None:
            continue
        original = known.get(patch.begin.id)
        if not _fits(patch, original):
            continue
        if original is None:
            entry, number = Entry(number, patch.begin, patch.end), number + 1
        else:
            end = original.end if _complete(original) else patch.end
            entry = Entry(original.number, original.begin, end, seen=original.seen)
        known[patch.begin.id] = entry
        mended.append(Mended(entry, original, patch))
    named = Counter(_digest(one.entry) for one in mended if one.original is None and _complete(one.entry))
    found: dict[int, Entry] = {}
    for entry in entries:
        if _unnamed(entry) and _complete(entry) and named[_digest(entry)]:
            named[_digest(entry)] -= 1  # one that had lost its name has it again; a twin of it has not
        else:
            found[entry.number] = entry
    found.update((entry.number, entry) for entry in known.values())
    return [found[one] for one in sorted(found)], mended


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
