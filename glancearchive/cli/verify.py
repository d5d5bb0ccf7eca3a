"""``verify``: whether an archive is whole, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import glancearchive
from glancearchive.cli.assessment import assessing, assessment_document, hint_at_repair, tell_assessment
from glancearchive.cli.damage import cache_word, damage_documents, tell_cache, tell_damage, unknown_images
from glancearchive.cli.need import need_option, tell_need
from glancearchive.cli.output import emit_json, note, tell
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.reading import archive_argument, json_option, quiet_option, with_option
from glancearchive.errors import ArchiveError, FormatError, LocalError, MissingError, StrangerError, UsageError
from glancearchive.format.pagecache import drop
from glancearchive.format.verifier import Damage, Depth, Report
from glancearchive.format.volumes import find_volumes
from glancearchive.operations.need import check_need_file, check_needs, need_after_verify
from glancearchive.plural import counted


@click.command()
@archive_argument
@with_option
@click.option("--quick", is_flag=True, help="Compare stored bytes with their digests only; decompress nothing.")
@click.option("--glance-hash", is_flag=True, help="Also rebuild every image and recompute the hash its Glance had.")
@click.option("--uncached", is_flag=True, help="Read from the medium, not what the system remembers of it.")
@need_option
@json_option
@quiet_option
def verify(
    archive: Path,
    others: tuple[Path, ...],
    quick: bool,
    glance_hash: bool,
    uncached: bool,
    need: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Check ARCHIVE and name all damage: where it is, and which images it costs.

    By default every record, frame, block and image digest is checked. Exit code 1 when there is damage,
    or when images lack data that their Glance had.

    \b
    glancearchive verify --quick region.gla
    glancearchive verify --glance-hash region.gla --json
    glancearchive verify region.gla --need region.need
    """  # noqa: D301  # click wants the backspace itself
    if quick and glance_hash:
        raise UsageError("--quick and --glance-hash exclude one another")
    depth = Depth.QUICK if quick else Depth.GLANCE if glance_hash else Depth.FULL
    root_digest, finished = None, False
    unknown = ["which images there were: too little is left of the archive"]
    if need:
        check_need_file(need)
    cache = drop(find_volumes(archive, *others)) if uncached else None
    if cache:
        tell_cache(archive, cache)
    try:
        with (
            glancearchive.open(archive, *others) as opened,
            showing_progress("verified", quiet=quiet or as_json) as progress,
        ):
            if need:
                check_needs(opened)
            rebuilt = sum(image.size or 0 for image in opened) if glance_hash else 0
            progress.expect_bytes(sum(volume.size for one in opened.chain for volume in one.volumes.values()) + rebuilt)
            report = glancearchive.verify(opened, depth, progress.count)
            needed = tell_need(need, need_after_verify(opened, report)) if need else None
            finished = opened.finished
            root_digest = opened.root_digest.hex() if opened.root_digest else None
            unknown = unknown_images(opened)
    except (ArchiveError, LocalError):
        hint_at_repair(archive)
        raise
    except FormatError as error:  # an archive, but too little of it is left to open it
        report, needed = Report([Damage(error)]), None
        if need:
            note(f"glancearchive: {need}: not written, for nothing is known of what {archive} had")
    recovery = assessing(archive, *others, damaged=bool(report.damage), quiet=quiet or as_json)
    if as_json:
        document = _report_document(archive, depth, report, finished, root_digest) | {"cache": cache_word(cache)}
        document |= {"need": needed, "unknown": unknown}
        emit_json(document | {"recovery": assessment_document(recovery) if recovery else None})
    else:
        _print_report(depth, report, root_digest, unknown, lambda: tell_assessment(recovery, archive))
    return 0 if report.ok else 1


def _report_document(
    path: Path, depth: Depth, report: Report, finished: bool, root_digest: str | None
) -> dict[str, Any]:
    return {
        "archive": str(path),
        "ok": report.ok,
        "finished": finished,
        "root_digest": root_digest,
        "depth": depth.name.lower(),
        "checked": report.checked,
        "images": (
            {"id": image.id, "name": image.name, "status": image.status, "reason": image.reason}
            for image in report.images
        ),
        "damage": damage_documents(report),
    }


def _print_report(
    depth: Depth, report: Report, root_digest: str | None, unknown: list[str], tell_more: Callable[[], None]
) -> None:
    tell_damage(report)
    for state in report.images:
        if state.status != "valid" or state.reason:
            why = f": {state.reason}" if state.reason else ""
            tell(f"{state.status}: image {state.id or '(unknown)'} ({state.name!r}){why}", "yellow")
    valid = sum(state.status == "valid" for state in report.images)
    verb = "is" if len(report.images) == 1 else "are"
    click.echo(f"{valid} of {counted(len(report.images), 'image')} {verb} whole and can be loaded or extracted")
    for line in unknown:
        tell(f"not known: {line}", "yellow")
    tell_more()
    hashed = sum(state.status == "valid" and not state.reason for state in report.images)
    hashes = "" if hashed == valid else f" of {hashed} of {counted(valid, 'image')}"
    checked = {
        Depth.QUICK: "stored bytes",
        Depth.FULL: "all digests",
        Depth.GLANCE: f"all digests and Glance's hashes{hashes}",
    }
    if report.ok:
        tell(f"ok: {checked[depth]} match; root digest {root_digest}", "green")
    else:
        lacking = f", {counted(len(report.lacking), 'image')} without their data" if report.lacking else ""
        missing = sum(isinstance(damage.fault, MissingError) for damage in report.damage)
        absent = f", {counted(missing, 'file')} or more not at hand" if missing else ""
        strange = sum(isinstance(damage.fault, StrangerError) for damage in report.damage)
        others = f", {counted(strange, 'file')} misnamed or not of this archive" if strange else ""
        places = counted(len(report.damage) - missing - strange, "place")
        tell(f"NOT OK: {places} damaged{absent}{others}{lacking}", "red")
