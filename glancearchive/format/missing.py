"""What of an image cannot be had from what is at hand: the ranges of its blocks, and the damage that costs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from glancearchive.errors import FormatError, ImageError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.catalog import UNFINISHED
from glancearchive.format.frameindex import Frame, FrameIndex, FrameKey
from glancearchive.format.imageparts import MAX_RANGES, NO_DATA, ZEROS, Ranges
from glancearchive.format.reader import Archive
from glancearchive.format.usable import FaultOf, unusable


@dataclass(slots=True)
class Missing:
    """What is missing of one image: `ranges` of its blocks, None for all of it. `faults` say why."""

    ranges: Ranges | None = ()
    faults: list[FormatError] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.ranges != ()


class FrameFaults:
    """A `FaultOf` that reads each frame once. For one thread at a time."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._known: dict[FrameKey, FormatError | None] = {}

    @property
    def damaged(self) -> set[FrameKey]:
        """The frames that were found damaged so far."""
        return {key for key, fault in self._known.items() if fault is not None}

    def __call__(self, frame: Frame) -> FormatError | None:
        if frame.key not in self._known:
            try:
                self._archive.read_frame(frame)
            except FormatError as error:
                self._known[frame.key] = error
            else:
                self._known[frame.key] = None
        return self._known[frame.key]


def missing(image: ArchivedImage, frames: FrameIndex, fault_of: FaultOf) -> Missing:
    """What of `image` is not to be had. `fault_of` is asked for every frame that it needs.

    Nothing is missing of an image that has no data at its source; everything of one whose data never came here.
    """
    if image.status == NO_DATA:
        return Missing()
    if image.entry.begin is None or image.size is None:
        what = image.reason or ("nothing says how it ends" if image.status == UNFINISHED else image.status)
        return Missing(None, [ImageError(f"image {image.id or image.number}: {what}")])
    lines = image.faults()  # of what is described nowhere
    needed = -(-image.size // image.block_size)
    ranges: list[tuple[int, int]] = []
    faults: dict[str, FormatError] = {line: ImageError(f"image {image.id}: {line}") for line in lines}
    at = 0
    for position, rows in image.entry.extent_map.pieces():
        ranges.append((at, position - at))
        at = position
        for start, count in rows.tolist():
            if start != ZEROS:
                for bad, blocks, fault in unusable(start, count, frames, fault_of):
                    ranges.append((at + bad - start, blocks))
                    if fault is not None:
                        faults.setdefault(str(fault), fault)
            at += count
    if at > needed:  # the description contradicts the size
        return Missing(None, list(faults.values()))
    ranges.append((at, needed - at))
    return Missing(joined(ranges), list(faults.values()))


def joined(ranges: Iterable[tuple[int, int]], most: int = MAX_RANGES) -> Ranges:
    """`ranges` in order, joined where they touch or overlap, without empty ones.

    Of more than `most` those are joined that have the fewest blocks between them.
    """
    found: list[tuple[int, int]] = []
    for position, count in sorted(ranges):
        if not count:
            continue
        if found and position <= sum(found[-1]):
            first, before = found.pop()
            found.append((first, max(position + count - first, before)))
        else:
            found.append((position, count))
    if len(found) <= most:
        return tuple(found)
    gaps = [other[0] - sum(one) for one, other in pairwise(found)]
    for number in sorted(range(len(gaps)), key=gaps.__getitem__)[: len(found) - most]:
        position, count = found[number]
        found[number] = position, count + gaps[number]
    return joined(found, most)
