"""What of an archive is damaged, and whether the recovery data that are there are enough to mend it. Only reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glancearchive.errors import FormatError, LocalError
from glancearchive.format.identity import identify
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import volume_number
from glancearchive.recovery.packets import HEAD, ProtectedFile, RecoverySet, read_sets

_SUFFIX = ".par2"
_PIECE = 1 << 20
_MADE = re.compile(r"\.vol(\d+)\+(\d+)\.par2", re.IGNORECASE)


@dataclass(slots=True)
class VolumeState:
    """A protected volume.

    `path` is where it lies, None when it is missing; `damaged` counts the blocks that are not right. `unreadable` says
    that the medium does not give all of it, `outdated` that it is not what the recovery data were made of, but has been
    added to, or is of another archive: to repair it would be to undo that.
    """

    protected: ProtectedFile
    path: Path | None
    damaged: int = 0
    unreadable: bool = False
    outdated: bool = False

    @property
    def fits(self) -> bool:
        """Whether it has the size and the beginning that it had."""
        if self.path is None or self.path.stat().st_size != self.protected.size:
            return False
        with self.path.open("rb") as file:
            return hashlib.md5(file.read(HEAD), usedforsecurity=False).digest() == self.protected.head

    @property
    def whole(self) -> bool:
        """Whether it is there and as it was."""
        return self.path is not None and not self.damaged and self.path.stat().st_size == self.protected.size


@dataclass(slots=True)
class Assessment:
    """What recovery data can do for an archive.

    `needed` blocks are damaged or lost, `available` recovery blocks are whole, of `made` that there were when they were
    made (as far as the names of the files tell).
    """

    set: RecoverySet
    volumes: list[VolumeState]

    @property
    def needed(self) -> int:
        return sum(volume.damaged for volume in self.volumes)

    @property
    def available(self) -> int:
        return len(self.set.recovery)

    @property
    def made(self) -> int:
        ranges = [(int(found[1]), int(found[2])) for path in self.set.paths if (found := _MADE.search(path.name))]
        return max([begin + count for begin, count in ranges], default=self.available)

    @property
    def outdated(self) -> bool:
        return any(volume.outdated for volume in self.volumes)

    @property
    def repairable(self) -> bool:
        return self.needed <= self.available and not self.outdated

    @property
    def whole(self) -> bool:
        """Whether there is nothing to mend."""
        return all(volume.whole for volume in self.volumes)


def stem_of(path: Path) -> str:
    """NAME of ``NAME.gla``, ``NAME.001.gla`` or ``NAME.par2``: what the names of recovery files begin with."""
    name = path.name
    if _is_par2(path):
        return re.sub(r"\.vol\d+\+\d+$", "", name[: -len(_SUFFIX)], flags=re.IGNORECASE)
    name = name[: -len(".gla")] if name.lower().endswith(".gla") else name
    return name[: name.rindex(".")] if volume_number(path) is not None else name


def recovery_files(path: Path, *more: Path) -> list[Path]:
    """The PAR2 files for the archive `path` beside it and beside `more`, which may be directories or PAR2 files.

    Where `path` is a directory, all in it, and elsewhere those of the archives that are in it.
    """
    stems = _stems(path)
    found: list[Path] = []
    for one in (path, *more):
        try:
            beside = sorted(home(one).iterdir())
        except OSError:
            continue
        for each in filter(_is_par2, beside):
            ours = stem_of(each).lower() in stems
            if (ours or each == one or one == path == home(path)) and each.is_file() and each not in found:
                found.append(each)
    return found


def _stems(path: Path) -> set[str]:
    """What the names of the recovery files begin with that may be of `path`, an archive or a directory with some."""
    if not path.is_dir():
        return {stem_of(path).lower()}
    try:
        names = [one for one in path.iterdir() if _is_par2(one) or volume_number(one) or one.suffix.lower() == ".gla"]
    except OSError:
        return set()
    return {stem_of(one).lower() for one in names}


def find_set(path: Path, *more: Path) -> RecoverySet | None:
    """The recovery data for the archive `path`, None when there are none that could be used."""
    usable = [one for one in read_sets(recovery_files(path, *more)) if one.usable]
    # Of several, that whose files are there.
    return max(usable, key=lambda one: sum(bool(state.path) for state in _beside(one, path, *more)), default=None)


def find_protected(found: RecoverySet, path: Path, *more: Path) -> list[VolumeState]:
    """Where the files lie that `found` protects: beside `path`, or beside or in `more`.

    `path` itself may have another name than it had; raises LocalError when it is none of them by what is in it.
    """
    states = _beside(found, path, *more)
    if path.is_file() and path not in {state.path for state in states} and not _is_par2(path):
        _renamed(path, states).path = path
    return states


def home(path: Path) -> Path:
    """The directory `path`, or the one that it is in."""
    return path if path.is_dir() else path.parent


def _beside(found: RecoverySet, *paths: Path) -> list[VolumeState]:
    states = [VolumeState(file, None) for file in found.files]
    for directory in map(home, paths):
        try:
            names = {one.name.lower(): one for one in sorted(directory.iterdir())}
        except OSError:
            continue
        for state in states:
            # It may have been copied by something that knows one case alone.
            exactly = directory / state.protected.name
            place = exactly if exactly.is_file() else names.get(state.protected.name.lower())
            if state.path is None and place is not None and place.is_file():
                state.path = place
    return states


def _renamed(path: Path, states: list[VolumeState]) -> VolumeState:
    """Which of the protected files `path` is."""
    fitting = [state for state in states if state.path is None]
    volume = Volume(path)
    try:
        number = identify(volume)[0]
        fitting = [state for state in fitting if volume_number(Path(state.protected.name)) in (None, number)]
    except FormatError:
        pass  # if it can be one only, it is that
    finally:
        volume.close()
    if len(fitting) != 1:
        names = ", ".join(state.protected.name for state in states)
        raise LocalError(f"{path}: its recovery data are of {names}; give it the name that it had")
    return fitting[0]


def _is_par2(path: Path) -> bool:
    return path.name.lower().endswith(_SUFFIX)


def _is_outdated(volume: Volume, state: VolumeState) -> bool:
    size = state.protected.size
    if volume.size > size:
        try:
            if volume.read_header(size).offset == size:
                return True  # a record follows what was protected
        except FormatError:
            pass
    # The archive goes on to the end of a file that is longer; or another archive has taken its name.
    other = volume.size > size or (volume.size != size and state.damaged == len(state.protected.blocks))
    return other and volume.end_header() is not None


def assess(
    found: RecoverySet, states: list[VolumeState], progress: Callable[[int], None] = lambda _count: None
) -> Assessment:
    """Compare every block of the volumes with its digest. `progress` is called with numbers of bytes."""
    result = Assessment(found, states)
    for state in result.volumes:
        state.damaged = len(state.protected.blocks)
        if state.path is None:
            continue
        volume = Volume(state.path)
        try:
            for number, expected in enumerate(state.protected.blocks):
                begin = number * found.block_size
                state.damaged -= _digest(volume, state, begin, found.block_size, progress) == expected
            state.outdated = _is_outdated(volume, state)
        finally:
            volume.close()
    return result


def _digest(
    volume: Volume, state: VolumeState, begin: int, block_size: int, progress: Callable[[int], None]
) -> bytes | None:
    """The MD5 of a block, padded with zeros; None when it cannot be read."""
    computed = hashlib.md5(usedforsecurity=False)
    end = min(begin + block_size, state.protected.size)
    for at in range(begin, end, _PIECE):
        want = min(_PIECE, end - at)
        progress(want)
        try:
            data = volume.read_at(at, want)
        except OSError:
            state.unreadable = True
            return None
        if len(data) < want:
            return None
        computed.update(data)
    for at in range(end, begin + block_size, _PIECE):
        computed.update(bytes(min(_PIECE, begin + block_size - at)))
    return computed.digest()
