"""Small files that a command writes beside its work: whole or not at all, and known to be possible beforehand."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from glancearchive.errors import ExistsError, LocalError, UsageError
from glancearchive.format.recordfile import sync_directory
from glancearchive.format.volumes import is_volume


def check_replacing(path: Path, what: str, read: Callable[[Path], object]) -> None:
    """Raise unless `what` can be written to `path`, where nothing is lost by that but another one of its kind.

    `read` raises UsageError for a file that is none. UsageError for a name that a volume may have, ExistsError for a
    file that is something else, otherwise LocalError.
    """
    if is_volume(path, b""):
        raise UsageError(f"{path}: is called like a volume of an archive; give the {what} another name")
    if path.exists() and not path.is_dir():
        if not path.is_file():
            raise ExistsError(f"{path}: is no regular file")
        try:
            read(path)
        except UsageError:
            raise ExistsError(f"{path}: exists already, and is no {what}") from None
    check_output(path)


def check_creation(path: Path) -> None:
    """Raise LocalError where no file `path` can be created, as far as that is seen without creating one."""
    try:
        if not stat.S_ISDIR(path.parent.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise LocalError(f"{path}: cannot be created: {error.strerror}") from None


def check_output(path: Path) -> None:
    """Raise LocalError unless a file can be written to `path`, before hours are spent on what is to be in it."""
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "Is a directory")
        _temporary(path).touch()
        _temporary(path).unlink()
    except OSError as error:
        raise LocalError(f"{path}: cannot be written: {error.strerror}") from None


def write_output(path: Path, data: bytes) -> None:
    """Write `data` to `path`, durably, in one piece or not at all. Raises LocalError."""
    try:
        with _temporary(path).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _temporary(path).replace(path)
    except OSError as error:
        raise LocalError(f"{path}: cannot be written: {error.strerror}") from None
    sync_directory(path.parent)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")
