"""Mends an archive by its recovery data, into new files, and verifies what it became."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from glancearchive.errors import ExistsError, FormatError, LocalError, MissingError
from glancearchive.format.reader import Archive
from glancearchive.format.recordfile import sync_directory
from glancearchive.format.verifier import Damage, Depth, Report, verify
from glancearchive.format.volumes import part_of
from glancearchive.recovery.assessment import Assessment, VolumeState, assess, find_protected, find_set, home, stem_of
from glancearchive.recovery.program import DONE, IMPOSSIBLE, find_program
from glancearchive.recovery.program import repair as run_program
from glancearchive.recovery.workplace import check_workplace, lay, linking_workplace, move, require_space

Counted = Callable[[int], None]
_WHAT = "the repaired volumes"


@dataclass(slots=True)
class Repair:
    """What was found, and what came of it: `repaired` are the new files by the names of the volumes.

    `possible` is False when too much is damaged, or the archive is not what the recovery data are of; nothing was
    written then. `report` is of the verification afterwards, None when nothing was repaired. In a dry run `repaired`
    are the files that would be written, with `planned` bytes.
    """

    assessment: Assessment
    possible: bool = True
    repaired: dict[str, Path] = field(default_factory=dict)
    report: Report | None = None
    root_digest: bytes | None = None
    planned: int = 0

    @property
    def volumes(self) -> list[Path]:
        """The files of the archive as it is now."""
        states = ((state.protected.name, state.path) for state in self.assessment.volumes)
        return [path for name, old in states if (path := self.repaired.get(name, old)) is not None]


def repair(
    path: Path,
    *more: Path,
    output: Path | None,
    dry_run: bool = False,
    announce: Counted = lambda _size: None,
    progress: Counted = lambda _count: None,
) -> Repair:
    """Mend the volumes of the archive `path` into the directory `output`; in their places when it is None.

    Volumes and recovery files are looked for beside `path` and `more`, which may also be such files, or directories.
    `path` may be a PAR2 file. Nothing that exists is touched unless `output` is None, and then each volume only when
    its successor is complete. `announce` is called with how many bytes will be read, several times, `progress` with
    bytes as they are. With `dry_run` the same is read up to where something would be written, and nothing is. Raises
    LocalError when there are no recovery data, or something cannot be written.
    """
    found = find_set(path, *more)
    if found is None:
        raise LocalError(f"{path}: there are no recovery data beside it that could be used (see --with)")
    states = find_protected(found, path, *more)
    for state in states:
        if state.path is None and (part := part_of(home(path) / state.protected.name)).exists():
            raise LocalError(f"{part}: is not finished; run the dump again that was writing it, it is not lost")
    size = sum(state.protected.size for state in states)
    announce(size)
    result = Repair(assess(found, states, progress))
    lost = [state for state in states if not state.whole]
    if not lost or result.assessment.outdated:
        result.possible = not lost
        return result
    targets = {state.protected.name: _target(state, path, output) for state in lost}
    if output is not None:
        if all(_is_there(result.assessment, state, targets) for state in lost):
            result.repaired = targets
            announce(size)
            _verify(result, result.volumes, progress)
            return result
        for target in targets.values():
            if target.exists():
                raise ExistsError(f"{target}: exists already; -o names another directory")
    directory, working = next(iter(targets.values())).parent, f".{stem_of(path)}.repair"
    if dry_run:
        check_workplace(directory, working)
        require_space(directory / working, _space(result.assessment), _WHAT)
        find_program()
        result.possible = result.assessment.repairable
        if result.possible:
            result.repaired, result.planned = targets, sum(state.protected.size for state in lost)
        return result
    announce(2 * size)
    with linking_workplace(directory, working) as place:
        result.possible = _mend(result.assessment, place, size, progress)
        if not result.possible:
            return result
        _verify(result, [place / state.protected.name for state in states], progress)
        for name, target in targets.items():
            if (place / name).is_symlink():
                continue  # the program found it in order: it was misread before, and stays what it is
            move(place / name, target, replace=output is None)
            result.repaired[name] = target
            sync_directory(target.parent)
    return result


def _target(state: VolumeState, path: Path, output: Path | None) -> Path:
    if output is not None:
        return output / state.protected.name
    return state.path or home(path) / state.protected.name


def _is_there(assessment: Assessment, state: VolumeState, targets: dict[str, Path]) -> bool:
    """Whether an earlier run has written it."""
    target = targets[state.protected.name]
    return target.is_file() and assess(assessment.set, [VolumeState(state.protected, target)]).volumes[0].whole


def _space(assessment: Assessment) -> int:
    """Bytes that mending takes; of what cannot be read a copy is made besides."""
    lost = [state for state in assessment.volumes if not state.whole]
    return sum(state.protected.size * (2 if state.unreadable else 1) for state in lost)


def _mend(assessment: Assessment, place: Path, size: int, progress: Counted) -> bool:
    """Have all volumes in `place`, the damaged and lost ones new. Returns False when that cannot be done."""
    require_space(place, _space(assessment), _WHAT)
    for state in assessment.volumes:
        if state.path is not None:
            lay(state.path, place / state.protected.name, unreadable=state.unreadable)
    directories = list(dict.fromkeys(path.parent for path in assessment.set.paths))
    for number, directory in enumerate(directories):
        lay(directory, place / f"recovery-{number}")
    files = [place / f"recovery-{directories.index(path.parent)}" / path.name for path in assessment.set.paths]
    code, reason = run_program(files[0], place, files[1:], size=size, progress=progress)
    if code == IMPOSSIBLE and not assessment.repairable:
        return False
    if code != DONE:
        raise LocalError(f"{place.parent}: the volumes could not be repaired: {reason}")
    return True


def _verify(result: Repair, volumes: list[Path], progress: Counted) -> None:
    try:
        with Archive(volumes) as archive:
            result.report = verify(archive, Depth.FULL, progress)
            result.root_digest = archive.root_digest
    except FormatError as error:
        result.report = Report([Damage(error)])
    # All its volumes are here: what is missing is an archive that it is read with.
    damage = [one for one in result.report.damage if not isinstance(one.fault, MissingError)]
    result.report.damage[:] = damage
