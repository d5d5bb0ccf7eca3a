"""``reslice``: an archive in other volumes."""

from __future__ import annotations

from pathlib import Path

import click

import glancearchive
from glancearchive.cli.inspect import archive_argument, json_option, quiet_option, tell_faults, with_option
from glancearchive.cli.outcomes import conclude, told
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.tally import Tally
from glancearchive.cli.volumes import check_out, telling_what_stays, volume_options
from glancearchive.format.places import Split


@click.command()
@archive_argument
@click.argument("out", type=click.Path(path_type=Path, readable=False))
@with_option
@volume_options
@json_option
@quiet_option
def reslice(archive: Path, out: Path, others: tuple[Path, ...], split: Split | None, as_json: bool, quiet: bool) -> int:
    """Write ARCHIVE anew as OUT, in volumes of another size, or in one piece. No Glance is needed.

    The data are copied as they are stored, each frame checked. Images that are not whole in ARCHIVE are recorded as
    failed. When it was interrupted, the same command goes on.

    \b
    glancearchive reslice region.gla /media/disk/region.gla --volume-size auto
    glancearchive reslice /media/disk1 region.gla --with /media/disk2
    """  # noqa: D301  # click wants the backspace itself
    check_out(out, split)
    from glancearchive.operations.reslice import reslice as run

    with (
        glancearchive.open(archive, *others) as opened,
        showing_progress("copied", quiet=quiet or as_json) as progress,
    ):
        tell_faults(opened)
        progress.expect_bytes(sum(frame.stored_size for frame in opened.catalog.frames))
        result = run(opened, out, split, progress=progress.count)
        with telling_what_stays(result.writer):
            # What goes through are frames, and no image of its own.
            outcomes = list(told(result.outcomes, Tally(), quiet or as_json))
        faults = [str(fault) for fault in opened.faults]
    document = {
        "archive": str(archive),
        "out": str(out),
        "volumes": [str(volume) for volume in result.writer.volumes],
        "faults": faults,
        "stored": result.writer.stored,
        "root_digest": result.root_digest.hex(),
    }
    return conclude(document, outcomes, as_json, f" into {out}", sound=not faults, progress=progress)
