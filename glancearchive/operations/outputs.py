"""Small files that a command writes beside its work: whole or not at all, and known to be possible beforehand."""

from __future__ import annotations

import os
from pathlib import Path

from glancearchive.errors import LocalError
from glancearchive.format.recordfile import sync_directory


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
