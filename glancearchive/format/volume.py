"""One volume as bytes: positioned reads, payloads against their digests, the walk from record to record."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from glancearchive.errors import (
    ArchiveError,
    FormatError,
    FrameError,
    HeaderError,
    LocalError,
    RecordError,
    UnsupportedError,
    VolumeError,
)
from glancearchive.format.compression import decompress
from glancearchive.format.hashing import digest
from glancearchive.format.header import (
    HEADER_SIZE,
    SIGNATURE,
    SIGNATURE_AT,
    NewerVersionError,
    RecordHeader,
    RecordType,
    UnknownTypeError,
)
from glancearchive.format.mapped import mapped

_SEARCH_STEP = 1 << 20
_MOST_REUSED = 5 << 20  # bytes; enough for a frame of 4 MiB that did not compress
_reused = threading.local()


class Volume:
    """A volume file opened for reading only. Safe in several threads.

    Raises LocalError when the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = self.path.name
        try:
            self._file = self.path.open("rb", buffering=0)
            self.size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise LocalError(f"{self.path}: {error.strerror}") from None
        self._lock = threading.Lock()

    def close(self) -> None:
        self._file.close()

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer only at the end of the file. Raises OSError."""
        buffer = memoryview(bytearray(size))
        return bytes(buffer[: self._read_into(buffer, offset)])

    def _read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset` on; returns how many bytes there were. Raises OSError."""
        done = 0
        with nullcontext() if hasattr(os, "preadv") else self._lock:
            while done < len(buffer):
                if hasattr(os, "preadv"):
                    count = os.preadv(self._file.fileno(), [buffer[done:]], offset + done)
                else:  # Windows has no positioned read
                    self._file.seek(offset + done)
                    count = self._file.readinto(buffer[done:]) or 0
                if not count:
                    break
                done += count
        return done

    def read_header(self, offset: int) -> RecordHeader:
        """The record header at `offset`. Raises HeaderError, VolumeError (cut), UnsupportedError."""
        where = {"volume": self.name, "begin": offset, "end": min(offset + HEADER_SIZE, self.size)}
        try:
            data = self.read_at(offset, HEADER_SIZE)
        except OSError as error:
            raise self._unreadable(HeaderError, offset, offset + HEADER_SIZE, error) from None
        if len(data) < HEADER_SIZE:
            raise VolumeError("the volume is cut short in a record header", **where)  # type: ignore[arg-type]
        try:
            return RecordHeader.unpack(data)
        except (NewerVersionError, UnknownTypeError) as error:
            raise UnsupportedError(str(error), **where) from None  # type: ignore[arg-type]
        except ValueError as error:
            raise HeaderError(str(error), **where) from None  # type: ignore[arg-type]

    def read_payload(self, header: RecordHeader) -> memoryview:
        """The stored payload, its digest checked; to be used before the same thread reads another.

        Raises FrameError or RecordError, VolumeError when it is cut.
        """
        kind = FrameError if header.type == RecordType.FRAME else RecordError
        begin, end = header.payload_offset, header.end
        if end > self.size:
            message = f"the volume is cut short in a record: {self.size - begin} of {header.stored_size} bytes"
            raise VolumeError(message, volume=self.name, begin=header.offset, end=self.size)
        # One buffer for each thread, used again: to have the kernel make pages for a new one takes as long as reading.
        buffer: bytearray | None = getattr(_reused, "buffer", None)
        if buffer is None or len(buffer) < header.stored_size:
            buffer = bytearray(header.stored_size)
            if len(buffer) <= _MOST_REUSED:
                _reused.buffer = buffer
        data = memoryview(buffer)[: header.stored_size]
        try:
            count = self._read_into(data, begin)
        except OSError as error:
            raise self._unreadable(kind, begin, end, error) from None
        if count < len(data) or digest(data) != header.payload_digest:
            raise kind("stored bytes do not match their digest", volume=self.name, begin=begin, end=end)
        return data

    def find_whole(self, headers: Sequence[RecordHeader], stopped: Callable[[], bool]) -> list[bool]:
        """Of each of these records, in the order of the volume, whether its payload was seen to match its digest.

        Nothing is copied, and all from the first to the last is in memory at once. Of what was not seen to match,
        `read_payload` tells what it is. Ends soon after `stopped` says so.
        """
        begin, end = headers[0].payload_offset, headers[-1].end
        with mapped(self._file.fileno(), begin, end, stopped) as data:
            if data is None:
                return [False] * len(headers)
            return [
                digest(data[header.payload_offset - begin : header.end - begin]) == header.payload_digest
                for header in headers
            ]

    def _unreadable(self, kind: type[FormatError], begin: int, end: int, error: OSError) -> FormatError:
        reason = error.strerror or errno.errorcode.get(error.errno or 0, "error")
        fault = kind(f"cannot be read: {reason}", volume=self.name, begin=begin, end=end)
        fault.unreadable = True
        return fault

    def read_raw(self, header: RecordHeader) -> bytes:
        """The payload, checked and decompressed. Raises as `read_payload`."""
        stored = self.read_payload(header)
        try:
            return decompress(stored, header.raw_size)
        except ValueError as error:
            kind = FrameError if header.type == RecordType.FRAME else RecordError
            raise kind(str(error), volume=self.name, begin=header.payload_offset, end=header.end) from None

    def end_header(self) -> RecordHeader | None:
        """The end copy, when the volume ends in one that fits its size, else None."""
        if self.size < 3 * HEADER_SIZE:
            return None
        try:
            header = RecordHeader.unpack(self.read_at(self.size - HEADER_SIZE, HEADER_SIZE))
        except (ValueError, OSError):
            return None
        fits = header.type == RecordType.END and header.end + HEADER_SIZE == self.size
        return header if fits else None

    def walk(self, archive_id: bytes) -> Iterator[tuple[int, RecordHeader] | FormatError]:
        """Every record header with the byte it stands at; what cannot be followed comes as the error that says so.

        The end copy is the one header that does not stand at its offset. A damaged stretch is one error; the walk goes
        on at the next header that proves to be one (SPEC section 9, Reading, step 3).
        """
        at = 0
        while at < self.size:
            try:
                header = self.read_header(at)
                self._check_place(header, at, archive_id)
            except (VolumeError, ArchiveError) as error:
                yield error
                if isinstance(error, VolumeError):
                    return
                at = self.find_header(at + HEADER_SIZE, archive_id)
                continue
            except HeaderError as error:
                after = self.find_header(at + 1, archive_id)
                if after < self.size or self.size - at > HEADER_SIZE:
                    error.end = max(error.end, after)
                yield error
                at = after
                continue
            yield at, header
            # The end copy repeats the header of the end record, offset and all.
            at = at + HEADER_SIZE if header.offset != at else header.end

    def _check_place(self, header: RecordHeader, at: int, archive_id: bytes | None) -> None:
        where = {"volume": self.name, "begin": at, "end": at + HEADER_SIZE}
        if archive_id is not None and header.archive_id != archive_id:
            message = f"a record of archive {header.archive_id.hex()}, expected {archive_id.hex()}"
            raise HeaderError(message, **where)  # type: ignore[arg-type]
        is_copy = header.type == RecordType.END and header.end == at
        if header.offset != at and not is_copy:
            raise HeaderError(f"the header says that it stands at byte {header.offset}", **where)  # type: ignore[arg-type]

    def find_header(self, begin: int, archive_id: bytes | None, end: int | None = None) -> int:
        """Offset of the next header at or after `begin` that stands where it says; the volume's size if none does.

        It is one of archive `archive_id`, of any where that is None. Looked for are those that begin before `end`.
        """
        window, overlap = begin, HEADER_SIZE
        end = self.size if end is None else min(end, self.size)
        while window < end:
            try:
                data = self.read_at(window, _SEARCH_STEP + overlap)
            except OSError:
                window += 4096 - window % 4096  # a sector that cannot be read holds no header that could be used
                continue
            found = data.find(SIGNATURE)
            while found >= 0:
                at = window + found - SIGNATURE_AT
                if begin <= at < end:
                    try:
                        header = RecordHeader.unpack(self.read_at(at, HEADER_SIZE))
                        self._check_place(header, at, archive_id)
                    except (ValueError, OSError, HeaderError):
                        pass
                    else:
                        return at
                found = data.find(SIGNATURE, found + 1)
            window += _SEARCH_STEP
        return self.size
