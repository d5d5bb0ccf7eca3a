"""Catalogs: what the checkpoints of a session say, said again in few records; and whether it is the same."""

from __future__ import annotations

from collections.abc import Iterator

from glancearchive.format.catalog import Catalog
from glancearchive.format.encoding import pack
from glancearchive.format.schema import CatalogPart, ImagePart

_RECORD = 4 << 20  # about how many bytes a catalog record holds
_ROWS = 1 << 16  # frame or extent rows in one record


def consolidate(session: Catalog, volume: int) -> Iterator[CatalogPart]:
    """The catalogs of a session in `volume`: frames, then images, then their extents."""
    for run in session.frames.runs(volume, _ROWS):
        yield CatalogPart(frames=run)
    entries = [session.entries[number] for number in sorted(session.entries)]
    about = (ImagePart(entry.number, entry.begin, end=entry.end) for entry in entries)
    yield from _split((part, len(pack(part.to_map()))) for part in about if part.begin or part.end)
    yield from _split(
        (ImagePart(entry.number, None, position, rows), rows.nbytes)
        for entry in entries
        for position, rows in entry.stretches(_ROWS)
    )


def _split(parts: Iterator[tuple[ImagePart, int]]) -> Iterator[CatalogPart]:
    """Catalogs of about _RECORD bytes each, of parts that come with their size; no image twice in one."""
    held: list[ImagePart] = []
    total = 0
    for part, size in parts:
        if held and (total + size > _RECORD or held[-1].number == part.number):
            yield CatalogPart(images=tuple(held))
            held, total = [], 0
        held.append(part)
        total += size
    if held:
        yield CatalogPart(images=tuple(held))


def catalog_difference(checkpoints: Catalog, catalogs: Catalog) -> str:
    """How the catalogs of a session differ from its checkpoints; "" when they say the same."""
    if list(checkpoints.frames) != list(catalogs.frames):
        return "lists other frames than the checkpoints"
    if checkpoints.entries.keys() != catalogs.entries.keys():
        return "lists other images than the checkpoints"
    for number, entry in checkpoints.entries.items():
        other = catalogs.entries[number]
        if entry.begin != other.begin or entry.end != other.end:
            return f"describes image {number} otherwise than the checkpoints"
        extents, gaps = entry.extents()
        others, other_gaps = other.extents()
        if gaps != other_gaps or extents.tobytes() != others.tobytes():
            return f"has other extents for image {number} than the checkpoints"
    return ""
