"""Progress on stderr: one line that renews itself on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from glancearchive.cli.output import size_text
from glancearchive.image import Image

_TERMINAL, _LOG = 0.2, 30.0  # seconds between lines


class ProgressLine:
    """Counts bytes; implements `glancearchive.image.Progress`. Safe in several threads; a context manager."""

    def __init__(self, what: str, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._terminal = sys.stderr.isatty()
        self._quiet = quiet
        self._clock = clock
        self._began = clock()
        self._shown = self._began
        self._bytes = 0
        self._lock = threading.Lock()

    def advance(self, _image: Image, count: int) -> None:
        self.count(count)

    def count(self, count: int) -> None:
        """`count` more bytes."""
        with self._lock:
            self._bytes += count
            now = self._clock()
            if now - self._shown >= (_TERMINAL if self._terminal else _LOG) and not self._quiet:
                self._shown = now
                rate = self._bytes / max(now - self._began, 1e-9)
                text = f"{self._what}: {size_text(self._bytes)}, {size_text(int(rate))}/s"
                sys.stderr.write(f"\r{text}\x1b[K" if self._terminal else f"{text}\n")
                sys.stderr.flush()

    def clear(self) -> None:
        """Make room for another line."""
        if self._terminal and not self._quiet:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
