"""The record header: 112 bytes before every payload (SPEC section 3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from glancearchive.format.compression import max_stored_size
from glancearchive.format.hashing import digest

HEADER_SIZE = 112
SKIPPABLE_MAGIC = 0x184D2A57
SKIPPABLE_SIZE = HEADER_SIZE - 8
SIGNATURE = b"\x89GLA\r\n\x1a\n"
SIGNATURE_AT = 8  # where the signature stands in a header
VERSION = 1
BEGINNING = struct.pack("<II8s", SKIPPABLE_MAGIC, SKIPPABLE_SIZE, SIGNATURE)  # of every header
MAX_FRAME_SIZE = 64 << 20
MAX_STRUCTURED_SIZE = 16 << 20
MAX_VOLUMES = 65535
ISOLATED = 128  # the record type that an isolated catalog begins with, an ancillary one (SPEC section 6.7)


class RecordType(IntEnum):
    """Record types in volumes that this version defines; see also `is_ancillary`."""

    HEADER = 1
    FRAME = 2
    CHECKPOINT = 3
    CATALOG = 4
    END = 5
    PADDING = 129


def is_ancillary(record_type: int) -> bool:
    """Whether a reader that does not know the type may skip the record."""
    return record_type >= 128


class NewerVersionError(ValueError):
    """A whole header of a version that this program does not know."""


class UnknownTypeError(ValueError):
    """A whole header of a record type that must not be skipped and is not known."""


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """The fields of a record header that vary. Sizes and offsets in bytes."""

    type: int
    volume: int
    archive_id: bytes
    number: int
    offset: int
    stored_size: int
    raw_size: int
    payload_digest: bytes

    _STRUCT: ClassVar[struct.Struct] = struct.Struct("<II8sBBHI16sQQII32s")

    def pack(self) -> bytes:
        """The 112 bytes."""
        fields = self._STRUCT.pack(
            SKIPPABLE_MAGIC,
            SKIPPABLE_SIZE,
            SIGNATURE,
            VERSION,
            self.type,
            0,
            self.volume,
            self.archive_id,
            self.number,
            self.offset,
            self.stored_size,
            self.raw_size,
            self.payload_digest,
        )
        return fields + digest(fields)[:16]

    @classmethod
    def unpack(cls, data: bytes) -> RecordHeader:
        """The header in 112 bytes. Raises ValueError saying what is wrong; see the two special cases above."""
        if len(data) != HEADER_SIZE:
            raise ValueError(f"{len(data)} bytes where a record header needs {HEADER_SIZE}")
        magic, size, signature, version, kind, flags, volume, *rest = cls._STRUCT.unpack_from(data)
        if (magic, size, signature) != (SKIPPABLE_MAGIC, SKIPPABLE_SIZE, SIGNATURE):
            raise ValueError("no record header here: wrong signature")
        if digest(data[:-16])[:16] != data[-16:]:
            raise ValueError("the header's checksum does not match")
        if version > VERSION:
            raise NewerVersionError(f"written in version {version} of the format; this program knows version {VERSION}")
        if version < VERSION:
            raise ValueError(f"version {version} does not exist")
        if flags:
            raise ValueError(f"reserved flags are set: {flags:#06x}")
        header = cls(kind, volume, *rest)
        if not 1 <= volume <= MAX_VOLUMES:
            raise ValueError(f"volume number {volume} is out of range")
        if not is_ancillary(kind) and kind not in RecordType.__members__.values():
            raise UnknownTypeError(f"record type {kind} is not known to this program and must not be skipped")
        limit = MAX_FRAME_SIZE if kind == RecordType.FRAME else MAX_STRUCTURED_SIZE
        if not 1 <= header.raw_size <= limit:
            raise ValueError(f"a raw size of {header.raw_size} bytes, the limit is {limit}")
        if not 1 <= header.stored_size <= max_stored_size(header.raw_size):
            raise ValueError(f"a stored size of {header.stored_size} bytes for {header.raw_size} raw ones")
        return header

    @property
    def payload_offset(self) -> int:
        """Where the payload begins in the volume."""
        return self.offset + HEADER_SIZE

    @property
    def end(self) -> int:
        """Where the record ends in the volume, exclusive."""
        return self.offset + HEADER_SIZE + self.stored_size

    @property
    def record_digest(self) -> bytes:
        """What the chain names this record by."""
        return digest(self.pack())
