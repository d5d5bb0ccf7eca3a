"""Arrays that grow in place: in memory up to a limit, beyond it in a temporary file without a name."""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glancearchive.errors import LocalError

log = logging.getLogger("glancearchive")

DEFAULT_MEMORY = 1 << 30
_GROWTH = 8  # an array grows by this part of itself at least: what is reserved and not used stays below it
_LEAST = 1 << 16  # bytes
_PIECE = 1 << 20  # bytes written at a time


@dataclass(slots=True)
class Room:
    """What some arrays may take together: `limit` bytes of memory; what outgrows that goes into temporary files.

    They lie in `directory`; when it is None in ``$TMPDIR``, else in ``/var/tmp``, for on many systems ``/tmp`` is
    memory again. A directory that nobody named is left alone when it is on the file system of `apart_from`: that may be
    a slow medium, and has to have space for what is written there. Where no file can be had and mapped the arrays stay
    in memory; a warning says so once.
    """

    limit: int = DEFAULT_MEMORY
    directory: Path | None = None
    apart_from: Path | None = None
    held: int = field(default=0, init=False)  # bytes in memory
    _told: bool = field(default=False, init=False)

    def open_file(self, size: int) -> tuple[FileIO, mmap.mmap] | None:
        """A temporary file with `size` bytes of space and its mapping, None when there is none to be had."""
        named = self.directory or os.environ.get("TMPDIR")
        place = Path(named or _default_place())
        if not named and self.apart_from is not None and _same_file_system(place, self.apart_from):
            self._tell(f"{place} is on the file system of the archive")
            return None
        try:
            file = tempfile.TemporaryFile(buffering=0, dir=place)  # noqa: SIM115  # its arrays close it
            try:
                _allocate(file, 0, size)
                return file, _mapping(file, size)
            except OSError:
                file.close()
                raise
        except OSError as error:
            self._tell(f"{place}: {error.strerror}")
            return None

    def _tell(self, why: str) -> None:
        if not self._told:
            text = "what is known of blocks outgrows %d MiB, and stays in memory (%s); set TMPDIR to another directory"
            log.warning(text, self.limit >> 20, why)
            self._told = True


def _same_file_system(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False


def _default_place() -> str:
    return "/var/tmp" if Path("/var/tmp").is_dir() else tempfile.gettempdir()  # noqa: S108  # no names are made there


def _allocate(file: FileIO, begin: int, end: int) -> None:
    """Reserve space: a mapping that meets a full disk would end the process without a word. Raises OSError."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), begin, end - begin)
        return
    zeros = memoryview(bytes(_PIECE))
    for at in range(begin, end, _PIECE):
        _write(file, at, zeros[: end - at])


def _write(file: FileIO, at: int, data: memoryview) -> None:
    """Write all of `data` at `at`: one call may write less. Raises OSError."""
    file.seek(at)
    while data:
        data = data[file.write(data[:_PIECE]) :]


def _mapping(file: FileIO, size: int) -> mmap.mmap:
    """The first `size` bytes of `file` in memory. Raises OSError, on file systems without shared mappings too."""
    mapped = mmap.mmap(file.fileno(), size)
    if hasattr(mmap, "MADV_RANDOM"):
        with suppress(OSError):  # it is an advice
            mapped.madvise(mmap.MADV_RANDOM)  # reading ahead would drive out what is needed
    return mapped


@contextmanager
def _raising(what: str, size: int) -> Iterator[None]:
    """An OSError becomes a LocalError that begins with `what`, about a temporary file of `size` bytes."""
    try:
        yield
    except OSError as error:
        message = f"{what} a temporary file for what is known of blocks ({size} bytes)"
        raise LocalError(f"{message}: {error.strerror}; set TMPDIR to another directory") from None


class GrowingArray:
    """`rows` of `dtype`, at least as many as were reserved; those that nobody wrote to are zero.

    `rows` is another array after each `reserve`: keep no views of it.
    """

    def __init__(self, dtype: npt.DTypeLike, room: Room) -> None:
        self._dtype = np.dtype(dtype)
        self._room = room
        self._file: FileIO | None = None
        self.rows: npt.NDArray[Any] = np.zeros(0, dtype=self._dtype)

    def reserve(self, count: int) -> None:
        """Have at least `count` rows. Raises LocalError when the temporary file cannot hold them."""
        before = len(self.rows)
        if count <= before:
            return
        count = max(count, before + before // _GROWTH, _LEAST // self._dtype.itemsize)
        size = self._dtype.itemsize
        mapped = None
        if self._file is not None:
            with _raising("no space in", count * size):
                _allocate(self._file, before * size, count * size)
            self.rows = np.zeros(0, dtype=self._dtype)  # some systems want the mapping gone before the next one
            with _raising("cannot map", count * size):
                mapped = _mapping(self._file, count * size)
        elif self._room.held + (count - before) * size > self._room.limit:
            mapped = self._move(count * size)
        if mapped is not None:
            self.rows = np.frombuffer(mapped, dtype=self._dtype.base).reshape(count, *self._dtype.shape)
        else:
            # In place where the allocator can: the old and the new array need not exist side by side.
            self.rows.resize((count, *self._dtype.shape), refcheck=False)
            self._room.held += (count - before) * size

    def _move(self, size: int) -> mmap.mmap | None:
        """Into a file with `size` bytes of space, where there is one to be had; its mapping. Raises LocalError."""
        opened = self._room.open_file(size)
        if opened is None:
            return None
        self._file, mapped = opened
        self._closing = weakref.finalize(self, self._file.close)
        stored = self.rows.reshape(-1).view(np.uint8).data
        with _raising("cannot write", size):
            _write(self._file, 0, stored)  # a fault of the disk would end the process if it were met in the mapping
        self._room.held -= len(stored)
        return mapped
