"""Which files are the volumes of an archive."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from glancearchive.errors import LocalError
from glancearchive.format.header import SIGNATURE, SIGNATURE_AT

SUFFIX = ".gla"
PART_SUFFIX = ".part"
_NUMBERED = re.compile(r"(?P<stem>.+)\.(?P<number>\d{3,5})\.gla(?P<part>\.part)?", re.IGNORECASE)
_ENDINGS = (SUFFIX, SUFFIX + PART_SUFFIX)


def find_volumes(path: str | os.PathLike[str], *more: str | os.PathLike[str]) -> list[Path]:
    """The volumes that `path` stands for, and those in `more`, each once.

    A numbered volume stands for all volumes of its name in its directory, finished or not; so does ``NAME.gla`` where
    there is no such file. A directory stands for the volumes in it: of `more` for those of the name that `path` has,
    if there are any. Whether letters are upper or lower case makes a difference only where there would be several
    archives else. Raises LocalError when `path` does not exist, saying so when an unfinished archive of that name
    does, and for a directory with several archives and nothing to tell which one is meant.
    """
    found: list[Path] = []
    stem = ""
    for one in map(Path, (path, *more)):
        volumes = _in_directory(one, stem) if one.is_dir() else _expand(one)
        found += [volume for volume in volumes if volume not in found]
        stem = stem or _stem(found[0].name)
    return found


def volume_number(path: Path) -> int | None:
    """The number of a volume by its name, None when the name has none."""
    numbered = _NUMBERED.fullmatch(path.name)
    return int(numbered["number"]) if numbered else None


def is_volume(path: Path, head: bytes) -> bool:
    """Whether the file `path` that begins with `head` is a volume of an archive, by its name or by its content."""
    return _is_name(path.name) or head.startswith(SIGNATURE, SIGNATURE_AT)


def numbered(path: Path, number: int) -> Path:
    """The path of volume `number` of the archive that is called `path`: ``NAME.gla`` has ``NAME.001.gla``, …"""
    stem = _without(path.name, SUFFIX)
    return path.with_name(f"{stem}.{number:03}{SUFFIX}")


def sibling(path: Path, number: int) -> Path:
    """The path of volume `number` beside the volume `path`."""
    return path.with_name(f"{_stem(path.name)}.{number:03}{SUFFIX}")


def absent_name(number: int, others: Sequence[Path]) -> str:
    """What volume `number`, which is not at hand, may be called: as the first of the `others` but for its number."""
    guess = sibling(others[0], number).name
    return f"not the {guess} at hand" if guess in (one.name for one in others) else guess


def written_volumes(path: Path, directories: Iterable[Path]) -> dict[int, Path]:
    """The numbered volumes of the archive `path` in `directories`, finished or under way, by number.

    Where the file system takes upper and lower case for the same, so it is here.

    Raises LocalError when a directory cannot be read, or a volume is there twice.
    """
    found: dict[int, Path] = {}
    stem = _without(path.name, SUFFIX)
    for directory in directories:
        try:
            names = sorted(one.name for one in directory.iterdir())
        except OSError as error:
            raise LocalError(f"{directory}: {error.strerror}") from None
        for match in filter(None, map(_NUMBERED.fullmatch, names)):
            number, one = int(match["number"]), directory / match[0]
            ours = f"{stem}{match[0][len(stem) :].lower()}"
            if match["stem"].lower() != stem.lower() or not (match[0] == ours or (directory / ours).exists()):
                continue
            if number in found:
                raise LocalError(f"{one}: is there twice, the other one is {found[number]}; one of them has to go")
            found[number] = one
    return found


def part_of(path: Path) -> Path:
    """The name of the volume `path` while it is written. Raises LocalError for a path that can be no file's."""
    if not path.name:
        raise LocalError(f"{path}: is a directory, not an archive")
    return path.with_name(path.name + PART_SUFFIX)


def is_part(path: Path) -> bool:
    """Whether `path` is called as a volume while it is written."""
    return path.name.lower().endswith(PART_SUFFIX)


def _is_name(name: str) -> bool:
    """Whether a volume may be called so."""
    return name.lower().endswith(_ENDINGS)


def _without(name: str, suffix: str) -> str:
    return name[: -len(suffix)] if name.lower().endswith(suffix) else name


def _stem(name: str) -> str:
    """What the names of all volumes of the archive begin with that the volume `name` belongs to."""
    matched = _NUMBERED.fullmatch(name)
    return matched["stem"] if matched else _without(_without(name, PART_SUFFIX), SUFFIX)


def has_volumes(directory: Path) -> bool:
    """Whether there are volumes of archives in `directory`."""
    return any(_is_name(one.name) for one in directory.iterdir())


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """The names of volumes by what they begin with, in order.

    Those that differ in upper and lower case alone are one archive's, unless two of them are the same volume then.
    """
    exactly: dict[str, list[str]] = {}
    for name in sorted(filter(_is_name, names)):
        exactly.setdefault(_stem(name), []).append(name)
    alike: dict[str, list[str]] = {}
    for stem in exactly:
        alike.setdefault(stem.lower(), []).append(stem)
    found: dict[str, list[str]] = {}
    for stems in alike.values():
        joined = [name for stem in stems for name in exactly[stem]]
        if len({name.lower() for name in joined}) == len(joined):
            found[stems[0]] = joined
        else:
            found |= {stem: exactly[stem] for stem in stems}
    return found


def _same_archive(names: Iterable[str], stem: str) -> list[str]:
    """Those of `names` that are volumes of the archive `stem`."""
    alike = [group for group in _by_stem(names).values() if _stem(group[0]).lower() == stem.lower()]
    exactly = [group for group in alike if stem in map(_stem, group)]
    return exactly[0] if exactly else alike[0] if len(alike) == 1 else []


def _in_directory(directory: Path, stem: str) -> list[Path]:
    """The volumes of the archive `stem`, or all of the one archive that is there."""
    try:
        names = sorted(one.name for one in directory.iterdir())
    except OSError as error:
        raise LocalError(f"{directory}: {error.strerror}") from None
    by_stem = _by_stem(names)
    if stem and (same := _same_archive(names, stem)):
        return [directory / name for name in same]
    if not by_stem:
        raise LocalError(f"{directory}: is a directory, not an archive, and there is none in it")
    if len(by_stem) > 1 and not stem:
        raise LocalError(f"{directory}: has several archives, name one of them: {', '.join(by_stem)}")
    return [directory / name for volumes in by_stem.values() for name in volumes]


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
        volumes = _beside(path) if path.parent.is_dir() else []
        if not volumes:
            raise LocalError(f"{path}: no such archive")
        return volumes
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise LocalError(f"{path}: is no file that can be read at any place, as an archive must be")
    if not _NUMBERED.fullmatch(path.name):
        return [path]
    return _beside(path)


def _beside(path: Path) -> list[Path]:
    """The numbered volumes of the archive that `path` is a name of, in its directory."""
    names = [one.name for one in path.parent.iterdir() if _NUMBERED.fullmatch(one.name)]
    return [path.with_name(name) for name in _same_archive(names, _stem(path.name))]
