"""Makes recovery data for an archive: PAR2 files beside its volumes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from glancearchive.errors import FormatError, LocalError, MissingError
from glancearchive.format.reader import Archive
from glancearchive.format.recordfile import sync_directory
from glancearchive.format.verifier import Depth, verify
from glancearchive.format.volumes import find_volumes
from glancearchive.recovery.amount import Amount, Layout, plan
from glancearchive.recovery.assessment import find_protected, find_set, recovery_files, stem_of
from glancearchive.recovery.packets import RecoverySet, read_sets
from glancearchive.recovery.program import create, find_program
from glancearchive.recovery.workplace import check_workplace, require_space, workplace


@dataclass(slots=True)
class Protection:
    """The recovery data of an archive: the files, and how much they can make good.

    `blocks` of the archive's `volumes` and `recovery` blocks have `block_size` bytes each. `present` says that they
    were there before, and nothing was done. Where they were only planned, they would have about `planned` bytes, and
    take the place of the files `replaced`.
    """

    block_size: int
    blocks: int
    recovery: int
    volumes: int
    present: bool
    files: list[Path] = field(default_factory=list)
    planned: int | None = None
    replaced: list[Path] = field(default_factory=list)

    @property
    def stored(self) -> int:
        """Bytes of the files."""
        return self.planned if self.planned is not None else sum(path.stat().st_size for path in self.files)


def protect(
    path: Path,
    amount: Amount,
    *,
    output: Path | None = None,
    dry_run: bool = False,
    announce: Callable[[int], None] = lambda _size: None,
    progress: Callable[[int], None] = lambda _count: None,
) -> Protection:
    """Make recovery data for the finished archive `path`, in `output` or else beside it.

    The archive is checked first: what is damaged is not protected as it is. Earlier recovery data are replaced once the
    new ones are complete, and kept where they are of this archive and not less. `announce` is called with how many
    bytes will be read, `progress` with bytes as they are. With `dry_run` the same is checked, and nothing written.
    Raises LocalError, and FormatError for a damaged archive.
    """
    if output is not None and output.exists() and not output.is_dir():
        raise LocalError(f"{output}: is no directory; recovery data are several files")
    with Archive(find_volumes(path)) as archive:
        missing = sorted(set(range(1, max(archive.volumes) + 1)) - set(archive.volumes))
        if missing or not archive.finished:
            why = f"volume {missing[0]} is missing" if missing else "it is not finished"
            raise LocalError(f"{path}: cannot be protected: {why}")
        volumes = [archive.volumes[number].path for number in sorted(archive.volumes)]
        sizes = [archive.volumes[number].size for number in sorted(archive.volumes)]
        if len({volume.parent for volume in volumes}) > 1:
            raise LocalError(f"{path}: its volumes are in several directories; recovery data take them in one")
        layout = plan(sizes, amount)
        target = output or volumes[0].parent
        there = find_set(target / volumes[0].name)
        if there is not None and _is_enough(there, volumes, layout):
            return _protection(there, len(volumes), present=True)
        announce(sum(sizes) if dry_run else 2 * sum(sizes))
        found = [one.fault for one in verify(archive, Depth.QUICK, progress).damage]
        damage = [fault for fault in found if not isinstance(fault, MissingError)]  # a base need not be at hand
        if damage:
            raise _damaged(path, damage[0], len(damage))
    stem = stem_of(volumes[0])
    working = f".{stem}.protect"
    if dry_run:
        check_workplace(target, working)
        require_space(target / working, layout.size, f"recovery data for {path}")
        find_program()
        files = [target / name for name in layout.names(stem)]
        earlier = recovery_files(target / volumes[0].name)
        numbers = (layout.block_size, layout.blocks, layout.recovery, len(volumes))
        return Protection(*numbers, present=False, files=files, planned=layout.size, replaced=earlier)
    with workplace(target, working) as place:
        require_space(place, layout.size, f"recovery data for {path}")
        create(
            place / f"{stem}.par2",
            [volume.absolute() for volume in volumes],
            block_size=layout.block_size,
            recovery=layout.recovery,
            files=layout.files,
            size=sum(sizes),
            progress=progress,
        )
        made = recovery_files(place / volumes[0].name)
        sets = read_sets(made)
        if len(sets) != 1 or len(sets[0].recovery) != layout.recovery or not _is_enough(sets[0], volumes, layout):
            raise LocalError(f"{target}: the recovery data are not as they were written")
        for file in made:
            _sync(file)
        for old in recovery_files(target / volumes[0].name):
            old.unlink()
        sets[0].paths = [file.replace(target / file.name) for file in made]
        sync_directory(target)
    return _protection(sets[0], len(volumes), present=False)


def is_outdated(path: Path) -> bool:
    """Whether there are recovery data beside the archive `path` that are not of what it is now."""
    found = find_set(path)
    return found is not None and not all(state.fits for state in find_protected(found, path))


def _is_enough(found: RecoverySet, volumes: list[Path], layout: Layout) -> bool:
    """Whether the recovery data are of these volumes as they are, and not less than planned."""
    states = find_protected(found, volumes[0])
    same = {state.path for state in states} == set(volumes) and all(state.fits for state in states)
    return same and len(found.recovery) * found.block_size >= layout.recovery * layout.block_size


def _protection(found: RecoverySet, volumes: int, *, present: bool) -> Protection:
    blocks = sum(len(file.blocks) for file in found.files)
    return Protection(found.block_size, blocks, len(found.recovery), volumes, present, found.paths)


def _damaged(path: Path, first: FormatError, count: int) -> LocalError:
    more = f" and {count - 1} more" if count > 1 else ""
    return LocalError(f"{path}: is damaged, and not protected as it is: {first}{more} (see verify)")


def _sync(path: Path) -> None:
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise LocalError(f"{path}: cannot be made durable: {error.strerror}") from None
