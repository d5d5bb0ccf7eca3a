"""What a file is: which volume of which archive, and what header that has, even if its first record is damaged."""

from __future__ import annotations

from contextlib import suppress

from glancearchive.errors import ArchiveError, FormatError, UnsupportedError
from glancearchive.format.header import HEADER_SIZE, ISOLATED, MAX_FRAME_SIZE, MAX_STRUCTURED_SIZE, RecordType
from glancearchive.format.schema import ArchiveHeader, End
from glancearchive.format.structured import read_repeated_header, read_structured
from glancearchive.format.volume import Volume

SEARCHED = MAX_FRAME_SIZE + MAX_STRUCTURED_SIZE  # bytes at the front that a second record begins in (SPEC section 9)


def identify(volume: Volume) -> tuple[int, bytes]:
    """Number and archive id of a volume, by any record header that is whole. Raises ArchiveError when it is none."""
    if volume.size == 0:
        raise ArchiveError("is empty", volume=volume.name)
    if volume.size < HEADER_SIZE:
        raise ArchiveError(f"is no glancearchive: it has {volume.size} bytes only", volume=volume.name)
    try:
        header = volume.read_header(0)
        if header.type == ISOLATED:
            raise ArchiveError("is an isolated catalog, which has no data: dump takes it as --base", volume=volume.name)
        if header.type != RecordType.HEADER or header.offset != 0:
            raise ArchiveError("is no glancearchive: it does not begin with a header record", volume=volume.name)
    except ArchiveError:
        raise
    except FormatError:
        last = volume.end_header()
        if last is None:
            return _second_record(volume)
        header = last
    return header.volume, header.archive_id


def _second_record(volume: Volume) -> tuple[int, bytes]:
    """The same, where neither end tells it: by the first record header behind the front, but for end copies."""
    at = 0
    while (at := volume.find_header(at + 1, None, SEARCHED)) < volume.size:
        with suppress(FormatError):
            header = volume.read_header(at)
            if header.offset == at:
                return header.volume, header.archive_id
    message = "is no glancearchive (no record header at either end, nor near the front)"
    raise ArchiveError(message, volume=volume.name)


def has_records(volume: Volume) -> bool:
    """Whether there is a whole record header near the front, behind the first."""
    return volume.find_header(1, None, SEARCHED) < volume.size


def find_archive_header(
    volume: Volume, archive_id: bytes
) -> tuple[ArchiveHeader | None, End | None, list[FormatError]]:
    """The archive's header, from the end record of `volume`, else its front, else what repeats it; None for none.

    What repeats it are checkpoints, and the end records of earlier sessions. With it the end record that ends the
    volume, where that has told it, and what else was found damaged on the way: nothing where another record told it,
    for then whoever reads on finds it too. Raises UnsupportedError.
    """
    faults: list[FormatError] = []
    for header in (volume.end_header(), None):
        try:
            content = read_structured(volume, header or volume.read_header(0), 0)
        except UnsupportedError:
            raise
        except FormatError as error:
            faults.append(error)
            continue
        if isinstance(content, End):
            return content.header, content, faults
        if isinstance(content, ArchiveHeader):
            return content, None, faults
    found = _repeated_header(volume, archive_id)
    return found, None, [] if found is not None else faults


def peek_header(volume: Volume) -> ArchiveHeader | None:
    """The header of the archive that `volume` belongs to; None when there is nothing whole that tells it."""
    try:
        return find_archive_header(volume, identify(volume)[1])[0]
    except FormatError:
        return None


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
