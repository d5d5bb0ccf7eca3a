"""``reslice``: an archive in other volumes."""

from __future__ import annotations

from pathlib import Path

import click

import glancearchive
from glancearchive.cli.outcomes import conclude
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.reading import archive_argument, json_option, quiet_option, tell_faults, with_option
from glancearchive.cli.select import dry_run_option
from glancearchive.cli.volumes import check_out, volume_options
from glancearchive.format.places import Split


@click.command()
@archive_argument
@click.argument("out", type=click.Path(path_type=Path, readable=False))
@with_option
@volume_options
@dry_run_option
@json_option
@quiet_option
def reslice(
    archive: Path,
    out: Path,
    others: tuple[Path, ...],
    split: Split | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write ARCHIVE anew as OUT, in volumes of another size, or in one piece. No Glance is needed.

    The data are copied as they are stored, each frame checked. Images that are not whole in ARCHIVE are recorded as
    failed. When it was interrupted, the same command goes on.

    \b
    glancearchive reslice region.gla /media/disk/region.gla --volume-size auto
    glancearchive reslice /media/disk1 region.gla --with /media/disk2
    """  # noqa: D301  # click wants the backspace itself
    check_out(out, split)
    from glancearchive.cli.rewriting import rewrite

    with (
        glancearchive.open(archive, *others) as opened,
        showing_progress("copied", quiet=quiet or as_json or dry_run) as progress,
    ):
        tell_faults(opened)
        outcomes, written, where = rewrite(opened, out, split, progress, quiet=quiet or as_json, dry_run=dry_run)
        faults = [str(fault) for fault in opened.faults]
    document = {"archive": str(archive), "out": str(out), "faults": faults} | written
    return conclude(document, outcomes, as_json, where, sound=not faults, progress=progress)
