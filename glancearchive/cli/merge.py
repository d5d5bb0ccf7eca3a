"""``merge``: one archive of a base and its increments."""

from __future__ import annotations

from pathlib import Path

import click

from glancearchive.cli.outcomes import conclude, told
from glancearchive.cli.output import note
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.reading import json_option, quiet_option
from glancearchive.cli.select import dry_run_option
from glancearchive.cli.tally import Tally
from glancearchive.cli.volumes import check_out
from glancearchive.errors import GlanceArchiveError
from glancearchive.format.compression import LEVELS
from glancearchive.format.volumes import find_volumes, part_of


@click.command()
@click.argument("out", type=click.Path(path_type=Path, readable=False))
@click.argument(
    "archives", metavar="ARCHIVE...", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False)
)
@click.option(
    "--level",
    type=click.Choice(list(LEVELS)),
    default="default",
    show_default=True,
    help="How hard to compress what is packed anew.",
)
@dry_run_option
@json_option
@quiet_option
def merge(out: Path, archives: tuple[Path, ...], level: str, dry_run: bool, as_json: bool, quiet: bool) -> int:
    """Make one archive, OUT, of an archive and its increments, in any order. No Glance is needed.

    OUT has every image of all of them; of those with one id the newest that has data. It needs no other archive. A
    merge that was interrupted goes on when the same command is run again.

    \b
    glancearchive merge friday.gla region.gla monday.gla tuesday.gla
    """  # noqa: D301  # click wants the backspace itself
    check_out(out)
    from glancearchive.cli.rewriting import foreseen_text
    from glancearchive.operations.merge import Merger

    with (
        Merger([volume for archive in archives for volume in find_volumes(archive)]) as merger,
        showing_progress("merged", quiet=quiet or as_json or dry_run) as progress,
    ):
        for fault in merger.faults:
            note(f"glancearchive: {fault}", "yellow")
        if dry_run:
            foreseen = merger.foresee(out, level=level)
            outcomes = list(told(iter(foreseen.outcomes), Tally(), quiet or as_json, dry_run=True))
            stored, digest, where = foreseen.stored, b"", foreseen_text(out, None, foreseen)
        else:
            progress.expect_bytes(merger.stored_bytes())
            result = merger.run(out, level=level, progress=progress.count)
            try:
                # What goes through are frames, and no image of its own.
                outcomes = list(told(result.outcomes, Tally(), quiet or as_json))
            except (GlanceArchiveError, KeyboardInterrupt):
                if part_of(out).exists():
                    note(f"glancearchive: what was committed is in {part_of(out)}; the same command goes on from there")
                raise
            stored, digest, where = result.stored, result.root_digest, f" into {out}"
    document = {
        "archive": str(out),
        "merged": [str(archive) for archive in archives],
        "faults": merger.faults,
        "dry_run": dry_run,
        "stored": stored,
        "root_digest": digest.hex(),
    }
    return conclude(document, outcomes, as_json, where, sound=not merger.faults, progress=progress)
