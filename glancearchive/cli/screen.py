"""The display of progress on a terminal. The only place that knows rich; imported only when there is a terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from glancearchive.cli.output import coloured, display, printable, size_text, time_text
from glancearchive.cli.tally import Snapshot, Tally
from glancearchive.cli.wording import images_text, percent, stored_text

_MOST_ROWS = 16  # images that are shown; further ones are counted
# Of each column of the display: how wide the terminal has to be for it, its own width, or its share of what is left.
_COLUMNS = (
    (0, None, 3),  # the name
    (80, None, 2),  # a bar
    (0, 4, None),  # percent
    (60, 24, None),  # bytes, of how many
    (100, 12, None),  # bytes a second
    (30, 9, None),  # the time that is left
)


class Screen:
    """Shows what `tally` counts below all that is written to stderr, and leaves nothing of it behind.

    The cursor is never hidden, so that there is nothing to be put right after a process that was stopped or killed.
    Safe in several threads; a context manager.
    """

    def __init__(self, verb: str, tally: Tally) -> None:
        self._verb = verb
        self._tally = tally
        self._lock = threading.RLock()  # a line must not come between two halves of the display
        self._console = Console(
            file=sys.stderr,
            force_terminal=True,
            force_interactive=True,
            no_color=not coloured(sys.stderr),
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._live = self._new_live()
        self._paused = False
        self._exits = ExitStack()

    def _new_live(self) -> Live:
        return Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
            get_renderable=self._render,
        )

    def __enter__(self) -> Self:
        with self._lock:
            self._live.start()
            self._console.show_cursor(True)
        self._exits.enter_context(display(self._write, self._pause))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()
        with self._lock:
            self._console.quiet = not _in_foreground()
            self._live.stop()

    def refresh(self) -> None:
        """Show how far it is now."""
        with self._lock:
            self._console.quiet = not _in_foreground()
            if not self._paused:
                self._live.refresh()

    @contextmanager
    def _pause(self) -> Iterator[None]:
        """Nothing of the display is there, and lines are written as they come, as long as the context lasts."""
        with self._lock:
            self._console.quiet = not _in_foreground()
            self._live.stop()
            self._paused = True
        try:
            yield
        finally:
            with self._lock:
                live = self._new_live()  # the old one would wipe out as many lines as it had
                live.start()
                self._live = live
                self._console.show_cursor(True)
                self._paused = False

    def _write(self, line: str) -> None:
        with self._lock:
            if _in_foreground() and not self._paused:
                self._console.quiet = False
                self._console.print(Text.from_ansi(line), soft_wrap=True)
            else:
                print(line, file=sys.stderr)  # noqa: T201  # no place is kept: the shell has the terminal now

    def _render(self) -> RenderableType:
        now = self._tally.snapshot()
        width, height = self._console.size
        most = max(1, min(_MOST_ROWS, height - 4))
        rows = [_cells(one.name or one.id, one.position, one.size, one.rate, one.left) for one in now.under_way[:most]]
        title = images_text(now) if now.images else self._verb
        done, total = (now.done, now.total) if now.total else (now.moved, None)
        rows.append(_cells(title, done, total, now.rate, now.left))
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        overflow: Literal["ellipsis", "crop"] = "ellipsis" if self._console.encoding.startswith("utf") else "crop"
        shown = [place for place, (least, _, _) in enumerate(_COLUMNS) if width >= least]
        for _, fixed, ratio in (_COLUMNS[place] for place in shown):
            justify: Literal["left", "right"] = "right" if fixed else "left"
            grid.add_column(no_wrap=True, overflow=overflow, justify=justify, width=fixed, ratio=ratio)
        for cells in rows:
            grid.add_row(*(cells[place] for place in shown), style="bold" if cells is rows[-1] else None)
        return Group(grid, *(Text(line, no_wrap=True, overflow=overflow) for line in _notes(now, most)))


def _cells(title: str, done: int, total: int | None, rate: float, left: float | None) -> tuple[RenderableType, ...]:
    """One row, as `_COLUMNS` has it."""
    return (
        Text(printable(title)),
        ProgressBar(total, done) if total else Text(),
        Text(percent(done, total)),
        Text(f"{size_text(done)} of {size_text(total)}" if total else size_text(done)),
        Text(f"{size_text(rate)}/s"),
        Text("" if left is None else time_text(left)),
    )


def _notes(now: Snapshot, most: int) -> list[str]:
    """What is said below the rows."""
    said = [f"{count} {word}" for word, count in now.ended.items()]
    if now.kept:
        said.append(f"{size_text(now.kept)} were there")
    if now.stored is not None:
        said.append(stored_text(now))
    if len(now.under_way) > most:
        said.append(f"{len(now.under_way) - most} more under way")
    return [", ".join(said)] if said else []


def _in_foreground() -> bool:
    """Whether the terminal is ours: after Ctrl-Z and ``bg`` it is the shell's."""
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return True
