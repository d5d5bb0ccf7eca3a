"""Appends records to one volume, and makes them durable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glancearchive.errors import LocalError
from glancearchive.format.compression import LEVELS, compress
from glancearchive.format.encoding import pack
from glancearchive.format.hashing import digest
from glancearchive.format.header import MAX_STRUCTURED_SIZE, RecordHeader, RecordType

_STRUCTURED_LEVEL = LEVELS["default"]


class RecordFile:
    """The file of a volume being written, from byte `offset` on. Every failure of the medium is a LocalError."""

    def __init__(self, path: Path, volume: int, archive_id: bytes) -> None:
        """Creates `path`, which must not exist."""
        self.path = path
        self.volume = volume
        self.archive_id = archive_id
        self.offset = 0
        self.numbers = dict.fromkeys(RecordType, 0)
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError:
            raise LocalError(f"{path}: exists already") from None
        except OSError as error:
            raise LocalError(f"{path}: cannot be created: {error.strerror}") from None

    def write_payload(self, kind: RecordType, stored: bytes, raw_size: int, payload_digest: bytes) -> RecordHeader:
        """Append a record whose payload is compressed already. Returns its header."""
        header = RecordHeader(
            kind, self.volume, self.archive_id, self.numbers[kind], self.offset, len(stored), raw_size, payload_digest
        )
        RecordHeader.unpack(
            header.pack()
        )  # what is written must be readable: the limits are checked by the reader's code
        self._write(header.pack())
        self._write(stored)
        self.numbers[kind] += 1
        return header

    def write_structured(self, kind: RecordType, value: Mapping[str, Any]) -> RecordHeader:
        """Append a structured record. Returns its header. Raises ValueError when it is too large."""
        raw = pack(value)
        if len(raw) > MAX_STRUCTURED_SIZE:
            raise ValueError(f"a {kind.name.lower()} record of {len(raw)} bytes, the limit is {MAX_STRUCTURED_SIZE}")
        stored = compress(raw, _STRUCTURED_LEVEL)
        return self.write_payload(kind, stored, len(raw), digest(stored))

    def write_copy(self, header: RecordHeader) -> None:
        """Append a record header once more: the end copy."""
        self._write(header.pack())

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                written = self._file.write(view)  # may be short where the space runs out
                view = view[written:]
                self.offset += written or 0
        except OSError as error:
            raise LocalError(f"{self.path}: cannot be written at byte {self.offset}: {error.strerror}") from None

    def sync(self) -> None:
        """Make all that was written durable."""
        try:
            getattr(os, "fdatasync", os.fsync)(self._file.fileno())
        except OSError as error:
            raise LocalError(f"{self.path}: cannot be made durable: {error.strerror}") from None

    def close(self) -> None:
        self._file.close()


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return  # Windows cannot open directories
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems (FUSE) have no fsync for directories; the files themselves are durable
    finally:
        os.close(descriptor)
