"""How damage is told, and whether what was read came from the medium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from glancearchive.cli.output import note, printable, tell
from glancearchive.errors import MisnamedError, MissingError, StrangerError
from glancearchive.format.pagecache import Dropped
from glancearchive.format.reader import Archive
from glancearchive.format.verifier import Report

_WORDS = {MissingError: "missing", MisnamedError: "misnamed", StrangerError: "not used"}  # what is no damage


def tell_cache(archive: Path, cache: Dropped) -> None:
    """Say on stderr whether what is read next comes from the medium."""
    note(f"glancearchive: {archive}: {cache.how}", None if cache.complete else "yellow")


def cache_word(cache: Dropped | None) -> str | None:
    """What ``--json`` calls what became of the cache; None: nothing, it was not asked to be left out."""
    return None if cache is None else "dropped" if cache.complete else "kept"


def damage_documents(report: Report) -> list[dict[str, Any]]:
    """What ``--json`` says of damage."""
    return [
        {
            "volume": damage.fault.volume,
            "begin": damage.fault.begin,
            "end": damage.fault.end,
            "layer": damage.fault.layer,
            "message": damage.fault.message,
            "images": damage.images,
        }
        for damage in report.damage
    ]


def tell_damage(report: Report) -> None:
    """What is said of damage on stdout."""
    for damage in report.damage:
        kind = type(damage.fault)
        word = next((word for one, word in _WORDS.items() if issubclass(kind, one)), "damage")
        tell(f"{word}: {damage.fault} [{damage.fault.layer}]", "red")
        for image in filter(None, damage.images):
            click.echo(f"  costs image {printable(image)}")


def unknown_images(archive: Archive) -> list[str]:
    """What cannot be known of `archive`, a line each."""
    lines = [f"image number {image.number}: no record at hand says what it is" for image in archive if not image.id]
    end = archive.ends.get(max(archive.volumes))
    if end is None or not end.final:
        lines.append("how many images there were: the last end record is not at hand")
    else:
        missing = end.images - len(archive.catalog.entries)
        if missing > 0:
            lines.append(f"{missing} of {end.images} images: no record at hand mentions them")
    return lines
