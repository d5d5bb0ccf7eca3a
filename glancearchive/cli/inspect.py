"""``list``, ``show``, ``verify``: commands that only read an archive."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import glancearchive
from glancearchive.cli.assessment import assessing, assessment_document, hint_at_repair, tell_assessment
from glancearchive.cli.damage import cache_word, damage_documents, tell_cache, tell_damage
from glancearchive.cli.need import need_option, tell_need
from glancearchive.cli.output import emit_json, note, printable, size_text, table, tell
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.select import not_found, select_options, tell_choice
from glancearchive.errors import ArchiveError, FormatError, LocalError, MissingError, StrangerError, UsageError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.imageparts import NO_DATA
from glancearchive.format.pagecache import drop
from glancearchive.format.reader import Archive
from glancearchive.format.verifier import Damage, Depth, Report
from glancearchive.format.volumes import find_volumes
from glancearchive.operations.need import check_need_file, check_needs, need_after_verify
from glancearchive.operations.select import Selection
from glancearchive.plural import counted

# Whether it can be read is found when it is opened, and is no matter of usage.
archive_argument = click.argument("archive", type=click.Path(path_type=Path, readable=False))
with_option = click.option(
    "--with",
    "others",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path, readable=False),
    help="More of ARCHIVE, or what it is read with: volumes, its base. Files, or directories with them.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as one JSON document.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")


def choose(archive: Archive, names: tuple[str, ...]) -> list[ArchivedImage]:
    """The images that `names` (ids or names) stand for, all when there are none. Raises UsageError.

    Of several of one name the one is meant that has data, if the others never had any: they were queued, or superseded.
    """
    chosen: list[ArchivedImage] = []
    for name in names:
        found = archive.find(name)
        if not found:
            raise UsageError(f"no image {name!r} in the archive (see: glancearchive list)")
        if len(found) > 1:
            found = [image for image in found if image.status != NO_DATA] or found
        if len(found) > 1:
            ids = ", ".join(f"{image.id} ({image.status})" for image in found)
            raise UsageError(f"{len(found)} images are called {name!r}; use an id: {ids}")
        if found[0] not in chosen:
            chosen.append(found[0])
    return chosen if names else list(archive.images)


def tell_faults(archive: Archive) -> int:
    """Say on stderr what is wrong with the archive itself; the exit code that this alone deserves."""
    for fault in archive.faults:
        note(f"glancearchive: {fault} [{fault.layer}]", "yellow")
    return 1 if archive.faults else 0


def summary(image: ArchivedImage) -> dict[str, Any]:
    """What ``list --json`` says of an image."""
    metadata = image.metadata
    return {
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "reason": image.reason,
        "size": image.size,
        "stored": image.stored,
        "disk_format": metadata.get("disk_format"),
        "os_hash_algo": metadata.get("os_hash_algo"),
        "os_hash_value": metadata.get("os_hash_value"),
        "verified": image.verified,
    }


def _row(image: ArchivedImage) -> tuple[str, ...]:
    return (
        image.id or f"(number {image.number})",
        image.name,
        image.status,
        size_text(image.size),
        size_text(image.stored),
        str(image.metadata.get("disk_format") or "-"),
    )


@click.command("list")
@archive_argument
@with_option
@select_options
@json_option
def list_images(archive: Path, others: tuple[Path, ...], selection: Selection, as_json: bool) -> int:
    """List the images in ARCHIVE.

    \b
    glancearchive list region.gla
    glancearchive list region.gla --tag lts --exclude 'debian-*' --json
    """  # noqa: D301  # click wants the backspace itself
    with glancearchive.open(archive, *others) as opened:
        images = [image for image in opened if selection.chooses({**image.metadata, "id": image.id})]
        code = max(tell_faults(opened), tell_choice(selection))
        if as_json:
            emit_json(
                {
                    "archive": str(archive),
                    "archive_id": opened.archive_id.hex(),
                    "finished": opened.finished,
                    "root_digest": opened.root_digest.hex() if opened.root_digest else None,
                    "source": opened.header.source,
                    "created": opened.header.created,
                    "base": _base_document(opened),
                    "faults": [str(fault) for fault in opened.faults],
                    **not_found(selection),
                    "images": map(summary, images),
                }
            )
            return code
        table(
            ("ID", "NAME", "STATUS", "SIZE", "STORED", "FORMAT"),
            lambda: map(_row, images),
            right=(3, 4),
        )
        size = size_text(sum(image.size or 0 for image in images))
        if selection:
            note(f"{len(images)} of {counted(len(opened), 'image')}, {size}")
        else:
            stored = size_text(sum(one.size for one in opened.volumes.values()))
            note(f"{counted(len(images), 'image')}, {size} in {stored}")
        return code


def _base_document(archive: Archive) -> dict[str, Any] | None:
    """What ``--json`` says of the archive that this one is an increment of."""
    name = archive.header.base
    if name is None:
        return None
    return {
        "archive_id": name.archive_id.hex(),
        "root_digest": name.root.hex(),
        "at_hand": archive.missing_base is None,
    }


@click.command()
@archive_argument
@click.argument("image")
@with_option
@json_option
def show(archive: Path, image: str, others: tuple[Path, ...], as_json: bool) -> int:
    """Show all that ARCHIVE knows of IMAGE (an id or a name).

    \b
    glancearchive show region.gla debian-12
    glancearchive show region.gla df0e3a71-e7a1-44dc-a1b8-abad5247f3d8 --json
    """  # noqa: D301  # click wants the backspace itself
    with glancearchive.open(archive, *others) as opened:
        code = tell_faults(opened)
        found = choose(opened, (image,))[0]
        document = summary(found) | {
            "digest": found.digest.hex() if found.digest else None,
            "hashes": dict(found.hashes),
            "members": [dict(member) for member in found.members],
            "metadata": dict(found.metadata),
            "faults": [str(fault) for fault in opened.faults],
        }
        if as_json:
            emit_json(document)
            return code
        for key, value in document.items():
            if key == "metadata":
                continue
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            click.echo(f"{key:14} {printable(text)}")
        click.echo("metadata")
        for key in sorted(found.metadata):
            value = found.metadata[key]
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            click.echo(f"  {printable(key)} = {printable(text)}")
        return code


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
        document |= {"need": needed}
        emit_json(document | {"recovery": assessment_document(recovery) if recovery else None})
    else:
        _print_report(depth, report, root_digest, lambda: tell_assessment(recovery, archive))
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
    depth: Depth, report: Report, root_digest: str | None, tell_more: Callable[[], None] = lambda: None
) -> None:
    tell_damage(report)
    for state in report.images:
        if state.status != "valid" or state.reason:
            why = f": {state.reason}" if state.reason else ""
            tell(f"{state.status}: image {state.id or '(unknown)'} ({state.name!r}){why}", "yellow")
    valid = sum(state.status == "valid" for state in report.images)
    verb = "is" if len(report.images) == 1 else "are"
    click.echo(f"{valid} of {counted(len(report.images), 'image')} {verb} whole and can be loaded or extracted")
    tell_more()
    checked = {Depth.QUICK: "stored bytes", Depth.FULL: "all digests", Depth.GLANCE: "all digests and Glance's hashes"}
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
