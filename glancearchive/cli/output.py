"""How results look: JSON for programs, lines for people. Nothing from an archive reaches a terminal unescaped."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import click


def printable(text: str) -> str:
    """`text` with control characters (and what else a terminal might act on) escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def size_text(size: int | None) -> str:
    """A size for people, in binary units; "-" when there is none."""
    if size is None:
        return "-"
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def emit_json(document: dict[str, Any]) -> None:
    """The one JSON document of a command, on stdout. ASCII only, so that no terminal or locale matters."""
    click.echo(json.dumps(document, indent=2))


def note(text: str) -> None:
    """A line on stderr."""
    click.echo(printable(text), err=True)


def _width(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else not unicodedata.combining(char) for char in text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> None:
    """Columns on stdout; those in `right` are aligned to the right."""
    lines = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(head))]
    flush_right = set(right)
    for line in lines:
        cells = [
            " " * (width - _width(cell)) + cell if column in flush_right else cell + " " * (width - _width(cell))
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
