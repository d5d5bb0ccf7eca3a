"""Asks whoever sits at the terminal, from whatever thread: an interruption ends the question too."""

from __future__ import annotations

import errno
import os
import select
import sys
import threading

from glancearchive.cli.output import display_paused, printable

_LOOK = 0.2  # seconds between two looks at whether there was an interruption

_interrupted = False


def give_up_questions() -> None:
    """There was an interruption: no question is waited for any more. For signal handlers."""
    global _interrupted
    _interrupted = True


def ask(question: str) -> str:
    """The line that is answered to `question`; "" for none, and where nothing more can come.

    Raises KeyboardInterrupt when there is an interruption: it reaches the main thread alone, which would wait for this
    one.
    """
    with display_paused():
        print(f"{printable(question)}: ", end="", file=sys.stderr, flush=True)  # noqa: T201  # no line yet
        try:
            return os.fsdecode(_line()).strip()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return ""  # the terminal is gone
        except KeyboardInterrupt:
            print(file=sys.stderr)  # noqa: T201  # what follows begins on a line of its own
            raise


def _line() -> bytes:
    if sys.platform == "win32" or threading.current_thread() is threading.main_thread():
        return sys.stdin.buffer.readline()
    found = b""
    while not found.endswith(b"\n"):
        if _interrupted:
            raise KeyboardInterrupt
        if select.select([sys.stdin], [], [], _LOOK)[0]:
            piece = os.read(sys.stdin.fileno(), 4096)  # a terminal gives whole lines
            if not piece:
                break
            found += piece
    return found
