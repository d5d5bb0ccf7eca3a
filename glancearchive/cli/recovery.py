"""``protect`` and ``repair``: recovery data, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from glancearchive.cli.assessment import assessment_document, tell_assessment
from glancearchive.cli.output import emit_json, note, size_text, tell
from glancearchive.cli.parameters import Recovery
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.reading import archive_argument, json_option, quiet_option, with_option
from glancearchive.cli.select import dry_run_option
from glancearchive.errors import LocalError, UsageError
from glancearchive.operations.protect import Protection, is_outdated
from glancearchive.operations.protect import protect as run_protect
from glancearchive.operations.repair import Repair
from glancearchive.operations.repair import repair as run_repair
from glancearchive.plural import counted
from glancearchive.recovery.amount import Amount
from glancearchive.recovery.assessment import VolumeState, stem_of

F = TypeVar("F", bound=Callable[..., Any])


@click.command()
@archive_argument
@click.option(
    "--recovery",
    "amount",
    type=Recovery(),
    default="5%",
    show_default=True,
    help="How much: a part of the archive, or as much as its largest volume (1volume).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the recovery files go.  [default: beside ARCHIVE]",
)
@dry_run_option
@json_option
@quiet_option
def protect(archive: Path, amount: Amount, output: Path | None, dry_run: bool, as_json: bool, quiet: bool) -> int:
    """Make recovery data for ARCHIVE, from which it can be repaired: PAR2 files beside it.

    With 5% you can lose any twentieth of the archive, wherever it lies: bad sectors, flipped bytes, a cut end. It is
    counted in blocks, 5000 or so in an archive; each spot of damage, however small, uses up one of the 256 or so blocks
    of recovery data. Parts of the recovery data may be lost too: what is left of them counts.

    With 1volume you can lose a whole volume. The recovery data are in as many files as there are volumes (or a
    multiple), and large enough that any one volume may be lost together with its share of these files. So when each
    volume travels on a disk of its own, put one recovery file (or an equal number) and NAME.par2 on each disk, and any
    one disk may stay away. Of an archive in one volume it is a full copy: carry it on another disk than the archive.

    Recovery data are of the archive as it is now: after dump --append make them again.

    \b
    glancearchive protect region.gla
    glancearchive protect region.gla --recovery 20%
    glancearchive protect region.001.gla --recovery 1volume
    glancearchive protect region.gla --recovery 1volume -o /media/other-disk
    """  # noqa: D301  # click wants the backspace itself
    done = protecting(archive, amount, output, dry_run=dry_run, quiet=quiet or as_json)
    document = {"archive": str(archive), "ok": True, "dry_run": dry_run} | protection_document(done)
    if as_json:
        emit_json(document)
    else:
        tell_protection(done, dry_run=dry_run)
    return 0


@click.command()
@archive_argument
@with_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the repaired volumes go.  [default: NAME.repaired in the current directory]",
)
@click.option("--in-place", is_flag=True, help="Put the repaired volumes in the place of the damaged ones.")
@dry_run_option
@json_option
@quiet_option
def repair(
    archive: Path,
    others: tuple[Path, ...],
    output: Path | None,
    in_place: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Mend the damaged and lost volumes of ARCHIVE from its recovery data, then verify it.

    The repaired volumes are new files; what is damaged stays as it is, unless told otherwise, and may lie on a medium
    that is read-only or has sectors that cannot be read. Volumes and recovery files are found beside ARCHIVE, and
    beside or in each PATH that is named. ARCHIVE may be a .par2 file where the volume itself is lost.

    \b
    glancearchive repair /media/disk/region.gla
    glancearchive repair /media/disk1/region.001.gla --with /media/disk3 -o /srv/mended
    glancearchive repair region.gla --in-place
    """  # noqa: D301  # click wants the backspace itself
    if in_place and output is not None:
        raise UsageError("--in-place and -o exclude one another")
    target = None if in_place else output or Path(f"{stem_of(archive)}.repaired")
    with showing_progress("repaired", quiet=quiet or as_json) as progress:
        done = run_repair(
            archive,
            *others,
            output=target,
            dry_run=dry_run,
            announce=progress.expect_bytes,
            progress=progress.count,
        )
    damage = done.report.damage if done.report else []
    ok = done.possible and not damage
    if as_json:
        files = [_volume_document(state, done) for state in done.assessment.volumes]
        emit_json(
            {"archive": str(archive), "ok": ok, "dry_run": dry_run}
            | assessment_document(done.assessment)
            | {
                "root_digest": done.root_digest.hex() if done.root_digest else None,
                "damage": [str(one.fault) for one in damage],
                "volumes": files,
            }
        )
    else:
        _tell_repair(done, "dry run: " if dry_run else "")
    return 0 if ok else 1


def protecting(
    archive: Path, amount: Amount, output: Path | None = None, *, dry_run: bool = False, quiet: bool
) -> Protection:
    """Protect `archive`, with progress."""
    with showing_progress("checked" if dry_run else "protected", quiet=quiet) as progress:
        announce, count = progress.expect_bytes, progress.count
        return run_protect(archive, amount, output=output, dry_run=dry_run, announce=announce, progress=count)


def recovery_option(command: F) -> F:
    """``dump --recovery``."""
    return click.option(
        "--recovery", type=Recovery(), help="Afterwards make recovery data: 5%, or 1volume (see protect)."
    )(command)


def protecting_dump(archive: Path, amount: Amount | None, *, quiet: bool) -> Protection | None:
    """After a dump: make recovery data if they are wanted; else say so if those that are there are out of date."""
    if amount is not None:
        return protecting(archive, amount, quiet=quiet)
    try:
        outdated = is_outdated(archive)
    except LocalError:
        return None  # it is verify that tells of recovery data
    if outdated:
        note(
            f"glancearchive: the recovery data of {archive} are of what it was before; protect makes new ones", "yellow"
        )
    return None


def protection_document(done: Protection) -> dict[str, Any]:
    """What ``--json`` says of recovery data that were made."""
    return {
        "present": done.present,
        "block_size": done.block_size,
        "blocks": done.blocks,
        "recovery_blocks": done.recovery,
        "stored": done.stored,
        "files": [str(path) for path in done.files],
    }


def tell_protection(done: Protection, *, dry_run: bool = False) -> None:
    """What is said of them on stdout."""
    what = f"{counted(done.recovery, 'block')} of {size_text(done.block_size)} in {counted(len(done.files), 'file')}"
    there = " were there already" if done.present else ""
    planned = done.planned is not None
    size = f"{'about ' if planned else ''}{size_text(done.stored)}"
    files = f"{done.files[0].parent}" if not planned else ", ".join(map(str, done.files))
    gone = f"; {counted(len(done.replaced), 'earlier recovery file')} would go" if done.replaced else ""
    tell(f"{'dry run: ' if dry_run else ''}protected: {what}{there}, {size}: {files}{gone}", "green")


def _tell_repair(done: Repair, before: str) -> None:
    for state in done.assessment.volumes:
        name = state.protected.name
        if name in done.repaired:
            how = "was lost" if state.path is None else f"{counted(state.damaged, 'block')} of it damaged"
            tell(f"{before}repaired: {name}, {how}: {done.repaired[name]}", "green")
    if not done.possible:
        tell_assessment(done.assessment, Path(), before)
        return
    volumes = " ".join(map(str, done.volumes))
    if done.planned:
        size = size_text(done.planned)
        tell(f"{before}ok: {size} would be written and then verified; the archive would be: {volumes}", "green")
        return
    if done.report is None:
        tell(f"{before}ok: nothing to repair: every volume is as it was when the recovery data were made", "green")
        return
    for one in done.report.damage:
        tell(f"{before}damage: {one.fault} [{one.fault.layer}]", "red")
    if done.report.damage:
        tell(f"{before}NOT OK: {counted(len(done.report.damage), 'place')} damaged: {volumes}", "red")
    else:
        digest = done.root_digest.hex() if done.root_digest else None
        tell(f"{before}ok: all digests match; root digest {digest}; the archive is now: {volumes}", "green")


def _volume_document(state: VolumeState, done: Repair) -> dict[str, Any]:
    name = state.protected.name
    if name in done.repaired:
        status = "repaired"
    elif state.whole:
        status = "whole"
    else:
        status = "missing" if state.path is None else "outdated" if state.outdated else "damaged"
    path = done.repaired.get(name, state.path)
    return {"name": name, "status": status, "damaged_blocks": state.damaged, "path": str(path) if path else None}
