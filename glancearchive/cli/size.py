"""``size``: how much the images of a place are, and what fits onto a medium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from glancearchive.cli.output import emit_json, note, printable, size_text
from glancearchive.cli.parameters import Bytes, Place
from glancearchive.cli.reading import json_option, with_option
from glancearchive.cli.select import not_found, select_options, tell_choice
from glancearchive.cli.transfers import access_options
from glancearchive.endpoints.archive_source import ArchiveSource
from glancearchive.endpoints.location import locate
from glancearchive.operations.select import Selection
from glancearchive.operations.size import Basis, Sizes, fill, measure
from glancearchive.plural import counted


@click.command()
@click.argument("location", type=Place())
@select_options
@click.option("--medium", type=Bytes(), help="Also say which images fit onto a medium of this size: 64G, 64GiB.")
@with_option
@access_options
@json_option
def size(
    location: str, others: tuple[Path, ...], selection: Selection, medium: int | None, as_json: bool, **access: Any
) -> int:
    """Say how much the images at LOCATION are.

    LOCATION is a server, an archive, a directory that glance-replicator dumped, or image files. What an archive of the
    images takes is known of an archive; of everything else an upper bound is given, that of data that neither compress
    nor repeat.

    \b
    glancearchive size mycloud --medium 64G
    glancearchive size region.gla --tag lts --json
    """  # noqa: D301  # click wants the backspace itself
    with locate(location).open(others, wanted=selection.filters, **access) as source:
        total = source.stored if isinstance(source, ArchiveSource) else None
        sizes = measure(source, selection, total)
        faults = selection.faults(source.faults)
        held = source if isinstance(source, ArchiveSource) else None
        taken = None if medium is None else fill(sizes, medium, held)
    for fault in faults:
        note(f"glancearchive: {fault}")
    code = max(tell_choice(selection), 1 if faults else 0)
    if as_json:
        emit_json(
            {
                "location": location,
                "source": source.label,
                "ok": not code,
                "faults": faults,
                **not_found(selection),
                "count": len(sizes.images),
                "size": sizes.size,
                "unknown": sizes.unknown,
                "stored": sizes.stored,
                "needs": sizes.needs,
                "basis": str(sizes.basis),
                "medium": medium,
                "taken": taken,
                "images": [
                    {
                        "id": image.id,
                        "name": image.name,
                        "size": image.size,
                        "stored": image.stored,
                        "needs": image.needs,
                        "fits": image.fits,
                    }
                    for image in sizes.images
                ],
            }
        )
    else:
        _print(sizes, medium, taken)
    return code


def _print(sizes: Sizes, medium: int | None, taken: int | None) -> None:
    about = {Basis.EXACT: "", Basis.ADDED: "about ", Basis.BOUND: "at most "}[sizes.basis]
    lines = {"images": str(len(sizes.images)), "size": f"{_exactly(sizes.size)}, as Glance counts"}
    if sizes.unknown:
        lines["unknown"] = f"{counted(sizes.unknown, 'image')} of unknown size, not counted"
    if sizes.stored is not None:
        lines["stored"] = _exactly(sizes.stored)
    lines["archive"] = about + _exactly(sizes.needs)
    if medium is not None and taken is not None:
        most = "" if sizes.basis is Basis.EXACT and taken == sizes.needs else "at most "
        fitting = sum(bool(image.fits) for image in sizes.images)
        lines["medium"] = (
            f"{fitting} of {counted(len(sizes.images), 'image')} fit onto {_exactly(medium)}, {most}{_exactly(taken)}"
        )
    for key, text in lines.items():
        click.echo(f"{key:8} {text}")
    for image in sizes.images:
        if image.fits is False:
            needs = "of unknown size" if image.needs is None else f"{about}{size_text(image.needs)}"
            click.echo(printable(f"left out: {image.id} ({image.name!r}), {needs}"))


def _exactly(size: int) -> str:
    return f"{size_text(size)} ({size} bytes)" if size >= 1024 else f"{size} bytes"
