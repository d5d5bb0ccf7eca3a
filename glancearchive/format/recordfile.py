"""Appends records to one volume, alone and durably."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: there the open file alone keeps others from renaming it
    fcntl = None  # type: ignore[assignment]

from glancearchive.errors import ExistsError, LocalError, NoSpaceError
from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.structured import Encoded, encode

_LARGE = 1 << 18  # bytes: a payload whose writing is begun at once
# No space, no space left to this user, a file as large as it may be.
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}


class RecordFile:
    """The file of a volume being written, from byte `offset` on. Every failure of the medium is a LocalError.

    After a failure nothing more is written, but after `retreat`: a record after a torn one could not be found again,
    and a system that once failed to make data durable may drop them and report the next attempt as a success.
    `file` comes from `create` or `reopen` and belongs to this object from then on. `numbers` are the next number of
    each record type.
    """

    def __init__(
        self,
        path: Path,
        file: FileIO,
        volume: int,
        archive_id: bytes,
        block_size: int,
        offset: int,
        numbers: Mapping[RecordType, int],
    ) -> None:
        self.path = path
        self.volume = volume
        self.archive_id = archive_id
        self.block_size = block_size
        self.offset = offset
        self.numbers = dict(numbers)
        self._file = file
        self._broken = ""  # why nothing more is written: a call failed, or was interrupted
        self._full = False  # for want of space: then nothing that was written before is in doubt
        try:
            file.truncate(offset)
            file.seek(offset)
        except OSError as error:
            raise LocalError(f"{path}: cannot be cut after byte {offset}: {error.strerror}") from None

    def write_payload(self, kind: RecordType, stored: bytes, raw_size: int, payload_digest: bytes) -> RecordHeader:
        """Append a record whose payload is compressed already. Returns its header."""
        header = RecordHeader(
            kind, self.volume, self.archive_id, self.numbers[kind], self.offset, len(stored), raw_size, payload_digest
        )
        RecordHeader.unpack(header.pack())  # what is written must be readable, by the reader's own code
        self._write(header.pack())
        self._write(stored)
        if len(stored) >= _LARGE:
            begin_writing(self._file, header.offset, self.offset)
        self.numbers[kind] += 1
        return header

    def write_structured(self, kind: RecordType, value: Mapping[str, Any]) -> RecordHeader:
        """Append a structured record. Returns its header. Raises ValueError when it is too large."""
        return self.write_encoded(kind, encode(kind, value, self.block_size))

    def write_encoded(self, kind: RecordType, encoded: Encoded) -> RecordHeader:
        """Append a structured record that `encode` made. Returns its header."""
        return self.write_payload(kind, encoded.stored, encoded.raw_size, encoded.payload_digest)

    def write_copy(self, header: RecordHeader) -> None:
        """Append a record header once more: the end copy."""
        self._write(header.pack())

    def _write(self, data: bytes) -> None:
        self._check_usable()
        view = memoryview(data)
        self._broken = f"writing was broken off at byte {self.offset}"
        try:
            while view:
                written = self._file.write(view)  # may be short where the space runs out
                view = view[written:]
                self.offset += written or 0
        except OSError as error:
            self._broken = f"cannot be written at byte {self.offset}: {error.strerror}"
            self._full = error.errno in _FULL
            self._check_usable()
        self._broken = ""

    def _check_usable(self) -> None:
        if self._broken:
            raise (NoSpaceError if self._full else LocalError)(f"{self.path}: {self._broken}")

    def retreat(self, offset: int) -> None:
        """Cut off a record that begins at `offset` and that there was no space for; then others can be written."""
        assert self._full
        try:
            self._file.truncate(offset)
            self._file.seek(offset)
        except OSError as error:
            raise LocalError(f"{self.path}: cannot be cut after byte {offset}: {error.strerror}") from None
        self.offset, self._broken, self._full = offset, "", False

    def cut(self, offset: int) -> None:
        """Cut off, durably, what follows byte `offset`, also after a failure; nothing may be written any more."""
        self._broken = self._broken or f"was cut after byte {offset}"
        try:
            self._file.truncate(offset)
            os.fsync(self._file.fileno())
        except OSError as error:
            raise LocalError(f"{self.path}: cannot be cut after byte {offset}: {error.strerror}") from None

    @property
    def closed(self) -> bool:
        return self._file.closed

    def sync(self) -> None:
        """Make all that was written durable."""
        self._check_usable()
        self._broken = "making it durable was broken off"
        try:
            getattr(os, "fdatasync", os.fsync)(self._file.fileno())
        except OSError as error:
            self._broken = f"cannot be made durable: {error.strerror}"
            self._check_usable()
        self._broken = ""

    def close(self) -> None:
        self._file.close()


def begin_writing(file: FileIO, begin: int, end: int) -> None:
    """Have the system begin to write these bytes to the medium: little is to be waited for when all must be durable.

    A slow medium then never has much to catch up with. Nothing is waited for, and nothing is promised.
    """
    if hasattr(os, "posix_fadvise"):
        # Linux writes what it is told to forget. What is not written yet it keeps.
        with suppress(OSError):
            os.posix_fadvise(file.fileno(), begin, end - begin, os.POSIX_FADV_DONTNEED)


def create(path: Path) -> FileIO:
    """Create `path` and keep other writers out. Raises LocalError, also when it exists."""
    try:
        file = FileIO(path, "x+b")
    except FileExistsError:
        raise ExistsError(f"{path}: exists already") from None
    except OSError as error:
        raise LocalError(f"{path}: cannot be created: {error.strerror}") from None
    return _locked(path, file)


def check_creatable(path: Path) -> None:
    """Raises LocalError where `create` would, as far as that shows without creating anything."""
    if os.path.lexists(path):
        raise ExistsError(f"{path}: exists already")
    if why := obstacle(path.parent):
        raise LocalError(f"{path}: cannot be created: {why}")


def obstacle(directory: Path) -> str:
    """Why no file can be created in `directory`, in the words of the system; "" when nothing is known of the kind."""
    try:
        if not stat.S_ISDIR(directory.stat().st_mode):
            return os.strerror(errno.ENOTDIR)
    except OSError as error:
        return str(error.strerror)
    if os.access(directory, os.W_OK | os.X_OK):
        return ""
    read_only = hasattr(os, "statvfs") and os.statvfs(directory).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if read_only else errno.EACCES)


def reopen(path: Path) -> FileIO:
    """Open `path` for going on, and keep other writers out. Raises LocalError, also when another is at it."""
    try:
        file = FileIO(path, "r+b")
    except OSError as error:
        raise LocalError(f"{path}: cannot be opened: {error.strerror}") from None
    return _locked(path, file)


def _locked(path: Path, file: FileIO) -> FileIO:
    """The lock belongs to the open file and so goes with its process, however that ends: it is never stale."""
    if fcntl is not None:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise LocalError(f"{path}: another process is writing it") from None
        except OSError:
            pass  # a file system without locks
        if not _is_at(path, file):
            file.close()
            raise LocalError(f"{path}: another process has just finished it")
    return file


def _is_at(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


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
