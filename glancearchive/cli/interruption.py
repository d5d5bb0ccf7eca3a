"""What ends a command before its time: Ctrl-C, SIGTERM, and a terminal that is gone."""

from __future__ import annotations

import os
import signal

from glancearchive.cli.output import leave_display
from glancearchive.cli.question import give_up_questions


class _Interruption:
    """The handler of all these signals.

    The first one ends the command in good order: what was taken so far is committed. A second Ctrl-C or SIGTERM ends it
    at once. SIGHUP is never the second: whoever ends a session sends it besides, and it may be seen before the other.
    """

    def __init__(self) -> None:
        self._ending = False
        self._asked = 0  # Ctrl-C and SIGTERM so far

    def __call__(self, number: int, _frame: object) -> None:
        self._asked += number in (signal.SIGINT, signal.SIGTERM)
        if self._asked > 1:
            try:
                leave_display()
            finally:
                os._exit(130)
        if not self._ending:
            self._ending = True
            give_up_questions()
            raise KeyboardInterrupt


def heed_signals() -> None:
    """From now on they raise KeyboardInterrupt, once."""
    interruption = _Interruption()
    signal.signal(signal.SIGINT, interruption)
    signal.signal(signal.SIGTERM, interruption)
    hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:  # as under nohup
        signal.signal(hang_up, interruption)
