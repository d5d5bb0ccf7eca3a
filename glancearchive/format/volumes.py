"""Which files are the volumes of an archive."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from glancearchive.errors import LocalError
from glancearchive.format.header import SIGNATURE, SIGNATURE_AT

PART_SUFFIX = ".part"
_NUMBERED = re.compile(r"(?P<stem>.+)\.(?P<number>\d{3,5})\.gla")


def find_volumes(path: str | os.PathLike[str], *more: str | os.PathLike[str]) -> list[Path]:
    """The volumes that `path` stands for, and those in `more`, each once.

    A numbered volume stands for all volumes of its name in its directory. Raises LocalError when `path` does not exist,
    saying so when an unfinished archive of that name does.
    """
    found: list[Path] = []
    for one in (path, *more):
        for volume in _expand(Path(one)):
            if volume not in found:
                found.append(volume)
    return found


def volume_number(path: Path) -> int | None:
    """The number of a volume by its name, None when the name has none."""
    numbered = _NUMBERED.fullmatch(path.name)
    return int(numbered["number"]) if numbered else None


def is_volume(path: Path, head: bytes) -> bool:
    """Whether the file `path` that begins with `head` is a volume of an archive, by its name or by its content."""
    return path.name.endswith((".gla", ".gla" + PART_SUFFIX)) or head.startswith(SIGNATURE, SIGNATURE_AT)


def part_of(path: Path) -> Path:
    """The name of the volume `path` while it is written. Raises LocalError for a path that can be no file's."""
    if not path.name:
        raise LocalError(f"{path}: is a directory, not an archive")
    return path.with_name(path.name + PART_SUFFIX)


def _expand(path: Path) -> list[Path]:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = 0
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from None
    if not mode:
        part = part_of(path)
        if part.exists():
            raise LocalError(
                f"{path}: is not finished; the dump that was writing it goes on when it is run again, "
                f"and what there is of it can be read as {part.name}"
            )
        raise LocalError(f"{path}: no such archive")
    if stat.S_ISDIR(mode):
        raise LocalError(f"{path}: is a directory, not an archive")
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise LocalError(f"{path}: is no file that can be read at any place, as an archive must be")
    numbered = _NUMBERED.fullmatch(path.name)
    if numbered is None:
        return [path]
    same = re.compile(re.escape(numbered["stem"]) + r"\.\d{3,5}\.gla")
    return sorted(one for one in path.parent.iterdir() if same.fullmatch(one.name))
