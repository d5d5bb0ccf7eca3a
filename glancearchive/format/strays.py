"""Frames that no record at hand describes: found by their own record headers, and numbered by those around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glancearchive.errors import ArchiveError, FormatError
from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.reader import Archive
from glancearchive.format.schema import FRAME_ROW, FrameRun


@dataclass(frozen=True, slots=True)
class Stray:
    """A whole frame that nothing describes. `first_block` is None where nothing around it tells its number."""

    volume: int
    header: RecordHeader
    blocks: int
    first_block: int | None


def find_strays(archive: Archive) -> list[Stray]:
    """The frames of `archive` itself that its index does not know and whose stored bytes are whole, by number.

    The first block of a frame follows the last one of the frame before (SPEC section 5): so those are numbered that
    reach up to a frame that is described without a hole in between, on either side.
    """
    index = {frame.number: (frame.first_block, frame.first_block + frame.blocks) for frame in archive.catalog.frames}
    found: dict[int, tuple[int, RecordHeader]] = {}
    for number, volume in archive.volumes.items():
        for item in volume.walk(archive.archive_id):
            if isinstance(item, FormatError):
                if isinstance(item, ArchiveError):
                    raise item
                continue
            header = item[1]
            if header.type != RecordType.FRAME or header.number in index or header.raw_size % archive.header.block_size:
                continue
            try:
                volume.read_payload(header)
            except FormatError:
                continue
            found[header.number] = number, header
    blocks = {number: header.raw_size // archive.header.block_size for number, (_, header) in found.items()}
    first_frame, first_block = archive.header.origin
    index.setdefault(first_frame - 1, (first_block, first_block))
    for number in sorted(found):
        if number - 1 in index:
            begin = index[number - 1][1]
            index[number] = begin, begin + blocks[number]
    for number in sorted(found, reverse=True):
        if number not in index and number + 1 in index:
            end = index[number + 1][0]
            index[number] = end - blocks[number], end
    return [
        Stray(volume, header, blocks[number], index[number][0] if number in index else None)
        for number, (volume, header) in sorted(found.items())
    ]


def adopt(archive: Archive, stray: Stray) -> bool:
    """Make the blocks of `stray` known to `archive`; False when that contradicts what is described."""
    if stray.first_block is None or stray.first_block < 0:
        return False
    header = stray.header
    row = (header.offset, header.stored_size, header.raw_size, header.payload_digest)
    run = FrameRun(header.number, stray.first_block, np.array([row], dtype=FRAME_ROW))
    try:
        archive.catalog.frames.add(stray.volume, run)
    except ValueError:
        return False
    return True
