"""``salvage``: what is whole in a damaged archive, into a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import glancearchive
from glancearchive.cli.damage import unknown_images
from glancearchive.cli.outcomes import conclude
from glancearchive.cli.output import note, tell
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.reading import archive_argument, json_option, quiet_option, tell_faults, with_option
from glancearchive.cli.select import dry_run_option
from glancearchive.cli.volumes import check_out
from glancearchive.errors import UsageError
from glancearchive.format.reader import Archive
from glancearchive.format.strays import adopt, find_strays


@click.command()
@archive_argument
@click.argument("out", type=click.Path(path_type=Path, readable=False))
@with_option
@dry_run_option
@json_option
@quiet_option
def salvage(archive: Path, out: Path, others: tuple[Path, ...], dry_run: bool, as_json: bool, quiet: bool) -> int:
    """Write all that is whole in a damaged ARCHIVE as the new archive OUT, and say what cannot be known.

    All records are searched for, also where those that list them are damaged, and frames that no record
    describes are put to use where their numbers follow from those around them. Images that are not whole are recorded
    in OUT as failed. When it was interrupted, the same command goes on.

    \b
    glancearchive salvage damaged.gla salvaged.gla
    glancearchive salvage damaged.gla salvaged.gla --with repair.gla --json
    """  # noqa: D301  # click wants the backspace itself
    check_out(out)
    from glancearchive.cli.rewriting import rewrite

    with (
        glancearchive.open(archive, *others) as opened,
        showing_progress("salvaged", quiet=quiet or as_json or dry_run) as progress,
    ):
        _check_alone(opened, archive)
        tell_faults(opened)
        opened.load_extents()
        strays = [
            _document(opened, stray.header.offset, stray.header.end, stray.volume)
            | {"frame": stray.header.number, "blocks": stray.blocks, "used": adopt(opened, stray)}
            for stray in find_strays(opened)
        ]
        unknown = unknown_images(opened)
        for one in strays:
            what = "is used" if one["used"] else "nothing tells which blocks they are"
            note(f"glancearchive: {one['volume']}: frame {one['frame']} is described nowhere; its blocks: {what}")
        for line in unknown:
            note(f"glancearchive: {line}", "yellow")
        outcomes, written, where = rewrite(opened, out, None, progress, quiet=quiet or as_json, dry_run=dry_run)
        faults = [str(fault) for fault in opened.faults]
    del written["volumes"]  # it is one: OUT
    if dry_run and strays:
        where += ", but for frames that nothing describes"
    document = {
        "archive": str(archive),
        "out": str(out),
        "faults": faults,
        "strays": strays,
        "unknown": unknown,
    } | written
    if not as_json and written["root_digest"]:
        tell(f"{out}: root digest {written['root_digest']}")
    return conclude(document, outcomes, as_json, where, sound=not unknown, progress=progress)


def _check_alone(archive: Archive, path: Path) -> None:
    """Raises UsageError when `archive` cannot be salvaged as one that needs no other."""
    if archive.header.base is not None:
        raise UsageError(f"{path}: is an increment: merge makes one archive of what is whole in it and in its base")
    if archive.header.repairs is not None:
        raise UsageError(f"{path}: is a repair archive: salvage the archive that it repairs, with --with {path}")


def _document(archive: Archive, begin: int, end: int, volume: int) -> dict[str, Any]:
    return {"volume": archive.volume_name(volume), "begin": begin, "end": end}
