"""What a file is: which volume of which archive, and what header that has, even if its first record is damaged."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

from glancearchive.errors import ArchiveError, FormatError, UnsupportedError
from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.header import (
    HEADER_SIZE,
    ISOLATED,
    MAX_FRAME_SIZE,
    MAX_STRUCTURED_SIZE,
    RecordHeader,
    RecordType,
)
from glancearchive.format.schema import End
from glancearchive.format.structured import read_repeated_header, read_structured
from glancearchive.format.volume import Volume

SEARCHED = MAX_FRAME_SIZE + MAX_STRUCTURED_SIZE  # bytes at the front that a second record begins in (SPEC section 9)


class Told(NamedTuple):
    """What a volume says of its archive.

    `header` is the archive's, from the end record of the volume, else its front, else what repeats it; None for none.
    What repeats it are checkpoints, and the end records of earlier sessions. `end` is the end record that ends the
    volume, where that has told it. `faults` are what else was found damaged on the way: nothing where another record
    told it, for then whoever reads on finds it too.
    """

    header: ArchiveHeader | None
    end: End | None
    faults: list[FormatError]


class IdentifiedVolume:
    """A volume, and which one of which archive it is, by any record header that is whole.

    What was read to tell is kept, and not read again. `volume` may come to be one that has other copies of it too.
    Raises ArchiveError when it is none.
    """

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self._front: RecordHeader | None = None
        header = self._identify()
        self.number, self.archive_id = header.volume, header.archive_id

    def _identify(self) -> RecordHeader:
        volume = self.volume
        if volume.size == 0:
            raise ArchiveError("is empty", volume=volume.name)
        if volume.size < HEADER_SIZE:
            raise ArchiveError(f"is no glancearchive: it has {volume.size} bytes only", volume=volume.name)
        try:
            header = volume.read_header(0)
            if header.type == ISOLATED:
                message = "is an isolated catalog, which has no data: dump takes it as --base"
                raise ArchiveError(message, volume=volume.name)
            if header.type != RecordType.HEADER or header.offset != 0:
                raise ArchiveError("is no glancearchive: it does not begin with a header record", volume=volume.name)
        except ArchiveError:
            raise
        except FormatError:
            return self.end_copy or _second_record(volume)
        self._front = header
        return header

    @property
    def front(self) -> RecordHeader:
        """The record header that it begins with. Raises as `Volume.read_header`."""
        return self._front or self.volume.read_header(0)

    @cached_property
    def end_copy(self) -> RecordHeader | None:
        """As `Volume.end_header`."""
        return self.volume.end_header()

    @cached_property
    def told(self) -> Told:
        """What it says of its archive. Raises UnsupportedError."""
        faults: list[FormatError] = []
        for header in (self.end_copy, None):
            try:
                content = read_structured(self.volume, header or self.front, 0)
            except UnsupportedError:
                raise
            except FormatError as error:
                faults.append(error)
                continue
            if isinstance(content, End):
                return Told(content.header, content, faults)
            if isinstance(content, ArchiveHeader):
                return Told(content, None, faults)
        found = _repeated_header(self.volume, self.archive_id)
        return Told(found, None, [] if found is not None else faults)

    def peek(self) -> ArchiveHeader | None:
        """The header of its archive; None when there is nothing whole that tells it, or nothing for this program."""
        try:
            return self.told.header
        except FormatError:
            return None


def identify(volume: Volume) -> tuple[int, bytes]:
    """Number and archive id of a volume, as `IdentifiedVolume` tells them. Raises as that."""
    found = IdentifiedVolume(volume)
    return found.number, found.archive_id


def peek_header(volume: Volume) -> ArchiveHeader | None:
    """The header of the archive that `volume` belongs to; None when there is nothing whole that tells it."""
    try:
        return IdentifiedVolume(volume).peek()
    except FormatError:
        return None


def has_records(volume: Volume) -> bool:
    """Whether there is a whole record header near the front, behind the first."""
    return volume.find_header(1, None, SEARCHED) < volume.size


def _second_record(volume: Volume) -> RecordHeader:
    """Where neither end tells what it is: the first record header behind the front, but for end copies."""
    at = 0
    while (at := volume.find_header(at + 1, None, SEARCHED)) < volume.size:
        with suppress(FormatError):
            header = volume.read_header(at)
            if header.offset == at:
                return header
    message = "is no glancearchive (no record header at either end, nor near the front)"
    raise ArchiveError(message, volume=volume.name)


def _repeated_header(volume: Volume, archive_id: bytes) -> ArchiveHeader | None:
    """The header as the first whole checkpoint or end record that repeats it says it; None when there is none."""
    for item in volume.walk(archive_id):
        if isinstance(item, FormatError) or item[1].type not in (RecordType.CHECKPOINT, RecordType.END):
            continue
        try:
            header = read_repeated_header(volume, item[1])
        except FormatError:
            continue
        if header is not None:
            return header
    return None
