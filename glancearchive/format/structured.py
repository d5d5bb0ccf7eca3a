"""Structured records: payload, canonical encoding, schema, and whether this program may read the archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glancearchive.errors import ChainError, FormatError, RecordError, UnsupportedError
from glancearchive.format.archiveheader import INCREMENTAL, REPAIR, ArchiveHeader
from glancearchive.format.compression import LEVELS, compress, max_stored_size
from glancearchive.format.encoding import pack, unpack
from glancearchive.format.hashing import digest
from glancearchive.format.header import HEADER_SIZE, MAX_STRUCTURED_SIZE, RecordHeader, RecordType
from glancearchive.format.schema import CatalogPart, CatalogRow, Checkpoint, End
from glancearchive.format.volume import Volume

Content = ArchiveHeader | Checkpoint | CatalogPart | End

SUPPORTED_FEATURES = frozenset({INCREMENTAL, REPAIR})
_LEVEL = LEVELS["default"]
_KEYS = 256  # bytes that the keys of a record, its numbers and digests take at most


@dataclass(frozen=True, slots=True)
class Encoded:
    """A payload as it is stored, with what its record header says of it."""

    stored: bytes
    raw_size: int
    payload_digest: bytes


def record_bound(raw: int) -> int:
    """Bytes that a structured record takes at most, of which `raw` are known, and the rest is its keys and numbers."""
    return HEADER_SIZE + max_stored_size(raw + _KEYS)


def encode(kind: RecordType, value: Mapping[str, Any], block_size: int) -> Encoded:
    """The payload of a structured record. Raises ValueError when it is too large, or no reader would take it."""
    raw = pack(value)
    if len(raw) > MAX_STRUCTURED_SIZE:
        raise ValueError(f"a {kind.name.lower()} record of {len(raw)} bytes, the limit is {MAX_STRUCTURED_SIZE}")
    decode(kind, raw, block_size)
    stored = compress(raw, _LEVEL)
    return Encoded(stored, len(raw), digest(stored))


def check_supported(header: ArchiveHeader, where: dict[str, object]) -> None:
    """Raises UnsupportedError, naming what it is, when the archive needs something that this program does not know."""
    unknown = [name for name in header.incompatible if name not in SUPPORTED_FEATURES]
    if unknown:
        raise UnsupportedError(f"needs features that this program does not know: {', '.join(unknown)}", **where)  # type: ignore[arg-type]
    if header.hash != "blake3":
        raise UnsupportedError(f"unknown hash {header.hash!r}", **where)  # type: ignore[arg-type]
    if header.compression != "zstd":
        raise UnsupportedError(f"unknown compression {header.compression!r}", **where)  # type: ignore[arg-type]


def decode(record_type: int, raw: bytes, block_size: int) -> Content:
    """What the raw payload of a structured record says. Raises ValueError for what the specification does not allow."""
    value = unpack(raw)
    match record_type:
        case RecordType.HEADER:
            return ArchiveHeader.from_map(value)
        case RecordType.CHECKPOINT:
            return Checkpoint.from_map(value, block_size)
        case RecordType.CATALOG:
            return CatalogPart.from_map(value, block_size)
        case RecordType.END:
            return End.from_map(value)
    raise AssertionError(f"record type {record_type} is not structured")


def read_structured(volume: Volume, header: RecordHeader, block_size: int) -> Content:
    """The decoded payload of a structured record. Raises RecordError, or VolumeError when it is cut."""
    raw = volume.read_raw(header)
    try:
        return decode(header.type, raw, block_size)
    except ValueError as error:
        raise RecordError(str(error), volume=volume.name, begin=header.payload_offset, end=header.end) from None


def read_repeated_header(volume: Volume, header: RecordHeader) -> ArchiveHeader | None:
    """The header that a checkpoint or end record repeats, None when it does not. Raises as `read_structured`."""
    raw = volume.read_raw(header)
    try:
        said = unpack(raw).get("header")
        content = None if said is None else ArchiveHeader.from_map(said)
        if content is not None:
            decode(header.type, raw, content.block_size)
    except ValueError as error:
        raise RecordError(str(error), volume=volume.name, begin=header.payload_offset, end=header.end) from None
    return content


def find_end(volume: Volume, archive_id: bytes, block_size: int, record_digest: bytes) -> End | None:
    """The end record of `volume` with this record digest, of whichever session; None when there is none."""
    for item in volume.walk(archive_id):
        if isinstance(item, FormatError) or item[1].type != RecordType.END or item[1].record_digest != record_digest:
            continue
        try:
            content = read_structured(volume, item[1], block_size)
        except FormatError:
            continue
        assert isinstance(content, End)
        return content
    return None


def read_catalog(volume: Volume, number: int, archive_id: bytes, row: CatalogRow, block_size: int) -> CatalogPart:
    """The catalog record that the end record of `volume`, which has that `number`, lists as `row`.

    Raises ChainError where it is another one, else as `read_structured`.
    """
    header = RecordHeader(
        RecordType.CATALOG,
        number,
        archive_id,
        row.number,
        row.offset,
        row.stored_size,
        row.raw_size,
        row.payload_digest,
    )
    try:
        header = RecordHeader.unpack(header.pack())  # applies the limits of a record header to the row
    except ValueError as error:
        raise ChainError(f"the end record lists a catalog with {error}", volume=volume.name) from None
    content = read_structured(volume, header, block_size)
    if not isinstance(content, CatalogPart) or content.kind != row.kind:
        message = f"a catalog that is not of the kind {row.kind}"
        raise ChainError(message, volume=volume.name, begin=header.offset, end=header.end)
    return content
