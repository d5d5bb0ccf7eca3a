"""How results look: JSON for programs, lines for people. Nothing from an archive reaches a terminal unescaped."""

from __future__ import annotations

import json
import logging
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import IO, Any

import click

SAID = logging.getLogger("glancearchive.said")
"""Gets every line that `note` writes to stderr, and what goes to a log file alone."""

_PIECES = 1000  # of a document, written at once
_WIDEST = 48  # columns that a cell of a table may widen its column to; a name of an image may have 255 characters
_above: Callable[[str], None] | None = None  # writes lines above a display that is there now
_pause: Callable[[], AbstractContextManager[None]] = nullcontext  # takes it away as long as the context lasts


def printable(text: str) -> str:
    """`text` with control characters (and what else a terminal might act on) escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def size_text(size: float | None) -> str:
    """A size for people, in binary units; "-" when there is none."""
    if size is None:
        return "-"
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{int(size)} B" if unit == "B" else f"{value:.1f} {unit}"


def time_text(seconds: float) -> str:
    """A length of time, as a clock shows it: 0:07, 12:05, 1:00:05; with days 2 d 03:04."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02}:{minute:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def renews(stream: IO[str]) -> bool:
    """Whether `stream` is a terminal on which a line can be written over."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def coloured(stream: IO[str]) -> bool:
    """Whether colours are wanted on `stream`: https://no-color.org."""
    return renews(stream) and not os.environ.get("NO_COLOR")


def marked(text: str, colour: str | None, stream: IO[str]) -> str:
    """`text`, the part before its first colon in `colour` where `stream` shows colours."""
    if colour is None or not coloured(stream):
        return text
    head, colon, rest = text.partition(":")
    return click.style(head, fg=colour) + colon + rest


def emit_json(document: dict[str, Any]) -> None:
    """The one JSON document of a command, on stdout. ASCII only, so that no terminal or locale matters.

    A value that is an iterator becomes an array, item by item: there may be very many.
    """
    held: list[str] = []
    for piece in _json_pieces(document):
        held.append(piece)
        if len(held) == _PIECES:
            click.echo("".join(held), nl=False)
            held.clear()
    click.echo("".join(held))


def _json_pieces(document: dict[str, Any]) -> Iterator[str]:
    between = "{"
    for key, value in document.items():
        yield f"{between}\n  {json.dumps(key)}: "
        if isinstance(value, Iterator):
            opening = "["
            for item in value:
                yield f"{opening}\n    {_indented(item, 4)}"
                opening = ","
            yield "[]" if opening == "[" else "\n  ]"
        else:
            yield _indented(value, 2)
        between = ","
    yield "{}" if between == "{" else "\n}"


def _indented(value: Any, columns: int) -> str:
    """`value` as it stands within a document, after `columns`."""
    return json.dumps(value, indent=2).replace("\n", "\n" + " " * columns)  # a string has no line ends in JSON


def tell(text: str, colour: str | None = None) -> None:
    """A line of a result on stdout."""
    click.echo(marked(printable(text), colour, sys.stdout))


def note(text: str, colour: str | None = None) -> None:
    """A line on stderr, and in the log file."""
    SAID.info("%s", text)
    say(text, colour)


def say(text: str, colour: str | None = None) -> None:
    """A line on stderr alone; above the display of progress while there is one."""
    line = marked(printable(text), colour, sys.stderr)
    if _above is not None:
        _above(line)
    else:
        click.echo(line, err=True)


@contextmanager
def display(write: Callable[[str], None], pause: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """As long as the context lasts, `write` puts lines for stderr above a display that renews itself.

    `pause` gives a context in which it does not.
    """
    global _above, _pause
    _above, _pause = write, pause
    try:
        yield
    finally:
        _above, _pause = None, nullcontext


def display_paused() -> AbstractContextManager[None]:
    """A context in which no display is in the way of a question."""
    return _pause()


def leave_display() -> None:
    """Before the process ends in the middle of everything: let the shell begin on a line of its own."""
    if _above is not None:
        os.write(2, b"\n")


def _width(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else not unicodedata.combining(char) for char in text)


def _cut(text: str, columns: int) -> str:
    """`text`, or its beginning with an ellipsis, in at most so many `columns`."""
    if _width(text) <= columns:
        return text
    while _width(text) >= columns:
        text = text[:-1]
    return text + "…"


def table(head: Sequence[str], rows: Callable[[], Iterable[Sequence[str]]], right: Iterable[int] = ()) -> None:
    """Columns on stdout; those in `right` are aligned to the right. On a terminal cells that are too wide are cut.

    `rows` is asked twice, the first time for how wide they are: there may be very many.
    """
    widths = [_width(cell) for cell in head]
    for row in rows():
        widths = [max(width, min(_width(printable(cell)), _WIDEST)) for width, cell in zip(widths, row, strict=True)]
    flush_right, whole = set(right), not sys.stdout.isatty()
    for row in chain([head], rows()):
        line = [printable(cell) if whole else _cut(printable(cell), _WIDEST) for cell in row]
        cells = [
            " " * (width - _width(cell)) + cell if column in flush_right else cell + " " * (width - _width(cell))
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
