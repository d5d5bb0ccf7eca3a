"""Which blocks of an image can be used: those in frames that are at hand and whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from glancearchive.errors import FormatError
from glancearchive.format.extents import ExtentMap
from glancearchive.format.frameindex import Frame, FrameIndex
from glancearchive.format.imageparts import ZEROS, Ranges

FaultOf = Callable[[Frame], FormatError | None]
"""What keeps a frame from being used, None for nothing."""


def unusable(
    start: int, count: int, frames: FrameIndex, fault_of: FaultOf
) -> Iterator[tuple[int, int, FormatError | None]]:
    """The blocks ``number, count`` within a run that are in no frame at hand (no fault), or in one that is bad."""
    at, end = start, start + count
    while at < end:
        frame = frames.find(at)
        if frame is None:
            blocks = next(iter(frames.missing(at, end - at)))[1]
            yield at, blocks, None
        else:
            blocks = min(frame.first_block + frame.blocks, end) - at
            fault = fault_of(frame)
            if fault is not None:
                yield at, blocks, fault
        at += blocks


def usable_ranges(extent_map: ExtentMap, within: Ranges, frames: FrameIndex, fault_of: FaultOf) -> Ranges:
    """What of `within`, ranges of an image in order, its map leads to data for that can be used."""
    return tuple(_common(_usable(extent_map, frames, fault_of), within))


def _usable(extent_map: ExtentMap, frames: FrameIndex, fault_of: FaultOf) -> Iterator[tuple[int, int]]:
    """The ranges of an image, in order, that can be used."""
    for position, rows in extent_map.pieces():
        at = position
        for start, count in rows.tolist():
            bad = () if start == ZEROS else unusable(start, count, frames, fault_of)
            begin = at
            for number, blocks, _ in bad:
                yield begin, at + number - start - begin
                begin = at + number - start + blocks
            at += count
            yield begin, at - begin


def _common(some: Iterable[tuple[int, int]], others: Ranges) -> Iterator[tuple[int, int]]:
    """What lies in both, each in order, as ``position, count``."""
    place = 0
    for position, count in some:
        end = position + count
        while place < len(others) and sum(others[place]) <= position:
            place += 1
        for at in range(place, len(others)):
            first, length = others[at]
            if first >= end:
                break
            begin, stop = max(first, position), min(first + length, end)
            if begin < stop:
                yield begin, stop - begin
