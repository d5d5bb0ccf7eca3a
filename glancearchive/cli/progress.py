"""Progress on stderr: a display that renews itself on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from glancearchive.cli.output import SAID, note, renews
from glancearchive.cli.tally import Tally
from glancearchive.cli.wording import line

_SCREEN, _LOG = 0.25, 30.0  # seconds between two looks at it


@contextmanager
def showing_progress(verb: str, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Tally]:
    """As long as the context lasts, what its `Tally` counts is shown, unless `quiet`; a log file gets it in any case.

    `verb` says what is done: "dumped". How far it came is also said when it ends by an exception.
    """
    tally = Tally(clock)
    on_screen = not quiet and renews(sys.stderr)
    tell = SAID.info if quiet or on_screen else note
    try:
        with ExitStack() as stack:
            stack.enter_context(Ticker(_LOG, lambda: tell(line(verb, tally.snapshot()))))
            if on_screen:
                from glancearchive.cli.screen import Screen  # only here: it takes a while to import

                screen = stack.enter_context(Screen(verb, tally))
                stack.enter_context(Ticker(_SCREEN, screen.refresh))
            yield tally
    except BaseException:
        end = tally.snapshot()
        if end.ready or end.moved:
            (SAID.info if quiet else note)(f"glancearchive: {line(verb, end)}")
        raise


class Ticker:
    """Calls `action` every `interval` seconds, in a thread of its own, as long as the context lasts."""

    def __init__(self, interval: float, action: Callable[[], object]) -> None:
        self._interval = interval
        self._action = action
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            self._action()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
