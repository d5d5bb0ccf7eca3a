"""The bytes of one local file as it was when it was looked at: holes cost no reading, and a change is noticed."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from glancearchive.errors import ImageFileError
from glancearchive.image import Buffer
from glancearchive.zeros import PIECE, known, zeros

SUFFIXES = (".img", ".raw", ".dd", ".qcow2", ".qcow", ".vmdk", ".vdi", ".vhd", ".vhdx", ".iso")
"""What the names of disk images end in, in lower case."""

LABEL = "files"
"""Where images come from that were such files, as an archive's header calls it."""


class _State(NamedTuple):
    """What changes when a file is written, cut or replaced."""

    device: int
    inode: int
    size: int
    modified: int  # nanoseconds since the epoch


class DiskFile:
    """A regular file; symbolic links are followed.

    Every failure is an ImageFileError, beginning with the constructor's, for what is not there or no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            found = path.stat()
        except OSError as error:
            raise ImageFileError(f"{path}: {error.strerror}") from None
        if not stat.S_ISREG(found.st_mode):
            raise ImageFileError(f"{path}: is no regular file")
        self._state = _state(found)
        # Only then: some file systems have been wrong about holes in files that were written a moment ago.
        self._sparse = getattr(found, "st_blocks", found.st_size) * 512 < found.st_size

    @property
    def size(self) -> int:
        """Bytes, holes included."""
        return self._state.size

    @property
    def modified(self) -> int:
        """When it was last written, in nanoseconds since the epoch."""
        return self._state.modified

    def is_same_as(self, other: DiskFile) -> bool:
        """Whether both are one file, whatever their paths are."""
        return self._state == other._state

    def head(self, length: int) -> bytes:
        """The first `length` bytes, or all there are."""
        with self._opened() as file:
            return file.read(min(length, self.size)) or b""

    def read(self, offset: int = 0) -> Iterator[Buffer]:
        """The bytes from `offset` on, in non-empty buffers of at most `PIECE` bytes.

        The last one comes only when the file is still the one that was looked at.
        """
        with self._opened() as file:
            for begin, end, data in self._extents(file, offset):
                at = begin
                file.seek(begin)
                while at < end:
                    wanted = min(PIECE, end - at)
                    piece = known(file.read(wanted)) if data else zeros(wanted)
                    if not piece:
                        raise ImageFileError(f"{self.path}: ends at byte {at}, and had {self.size} bytes before")
                    at += len(piece)
                    if at == self.size:
                        self._check(self.path.stat(), "while it was read")
                    yield piece

    def _extents(self, file: io.FileIO, offset: int) -> Iterator[tuple[int, int, bool]]:
        """Begin, end, and whether there are data, or else zeros by way of a hole."""
        at = offset
        while at < self.size:
            data = self._seek(file, at, "SEEK_DATA", at) if self._sparse else at
            if data > at:
                yield at, data, False
            hole = self._seek(file, data, "SEEK_HOLE", self.size) if self._sparse and data < self.size else self.size
            if hole > data:
                yield data, hole, True
            at = hole

    def _seek(self, file: io.FileIO, at: int, whence: str, otherwise: int) -> int:
        """The next place of a kind from `at` on, at most the file's end; `otherwise` where the system cannot tell."""
        if not hasattr(os, whence):
            return otherwise
        try:
            return min(os.lseek(file.fileno(), at, getattr(os, whence)), self.size)
        except OSError as error:
            return self.size if error.errno == errno.ENXIO else otherwise  # no data up to the end

    @contextmanager
    def _opened(self) -> Iterator[io.FileIO]:
        try:
            with io.FileIO(self.path) as file:
                self._check(os.fstat(file.fileno()), "since it was looked at")
                yield file
        except OSError as error:
            raise ImageFileError(f"{self.path}: cannot be read: {error.strerror}") from None

    def _check(self, found: os.stat_result, when: str) -> None:
        now = _state(found)
        if now == self._state:
            return
        if now.size != self.size:
            raise ImageFileError(f"{self.path}: changed {when}: it has {now.size} bytes instead of {self.size}")
        what = "its time is another" if now[:2] == self._state[:2] else "another file has its name"
        raise ImageFileError(f"{self.path}: changed {when}: {what}")


def _state(found: os.stat_result) -> _State:
    return _State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
