"""``list`` and ``show``: what is in an archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

import glancearchive
from glancearchive.cli.output import emit_json, note, printable, size_text, table
from glancearchive.cli.reading import archive_argument, choose, json_option, tell_faults, with_option
from glancearchive.cli.select import not_found, select_options, tell_choice
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.reader import Archive
from glancearchive.operations.select import Selection
from glancearchive.plural import counted


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
