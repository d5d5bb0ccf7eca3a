"""``python -m glancearchive``, and the installed command: what has to be right before anything large is imported."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

_M_ARENA_MAX = -8  # of glibc's malloc.h


def main() -> None:
    """The program, from its very beginning."""
    _reserve_standard_streams()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    # The linear algebra of numpy, which nothing here uses, starts a thread for each core, and these are busy for a
    # moment: that took a fifth of the time in which the program starts.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _allocate_from_one_arena()
    gc.disable()
    from glancearchive.cli import main

    # What was imported stays to the end: to look through it for garbage, now or then, took another tenth.
    gc.freeze()
    gc.enable()
    main()


def _reserve_standard_streams() -> None:
    """Open what the shell has closed, lest an archive get the number 1 or 2 and messages be written into it.

    Nothing can be written to the new standard output: a result that nobody gets is an error.
    """
    for expected, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(expected)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free is this one


def _allocate_from_one_arena() -> None:
    """Have all threads take memory from one place, where this is the allocator of glibc.

    Otherwise each thread has its own, and what one has given back is of no use to the others: with frames of 16 MiB
    that came to a fifth of all memory. To wait for each other costs nothing that could be measured.
    """
    if sys.platform == "linux":
        with suppress(ImportError, AttributeError, OSError):  # no such module; another allocator
            import ctypes

            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    try:
        os.write(2, b"glancearchive: error: interrupted\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    main()
