"""Runs the program on a terminal of its own, and shows what is on its screen: pyte is the terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests.command import TIMEOUT, command, environ


class Terminal:
    """The program at a terminal of `columns` and `lines`; stdout too unless `stdout` says where it goes."""

    def __init__(
        self,
        *arguments: str | Path,
        columns: int = 100,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
        stdout: Path | None = None,
        program: list[str] | None = None,
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=2000, ratio=0.001)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""  # all that came
        self._end, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        out = theirs if stdout is None else os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.process = subprocess.Popen(
            program or command(*arguments),
            stdin=theirs,
            stdout=out,
            stderr=theirs,
            env=environ({"TERM": "xterm-256color", "LANG": "C.UTF-8", **(env or {})}),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        if stdout is not None:
            os.close(out)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.hang_up()

    def type(self, keys: bytes) -> None:
        """As if typed: b"\\x03" is Ctrl-C."""
        os.write(self._end, keys)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def hang_up(self) -> None:
        """As a connection that breaks off: the terminal is gone, the system sends SIGHUP."""
        if self._end >= 0:
            os.close(self._end)
            self._end = -1

    def until(self, seen: Callable[[str], object]) -> str:
        """Read on until `seen` of what is on the screen; that."""
        end = time.monotonic() + TIMEOUT
        while not seen(self.text):
            assert time.monotonic() < end, self.text
            assert self._read(), self.everything
        return self.text

    def wait(self) -> int:
        """Read on to the end; the exit code."""
        while self._read():
            pass
        return self.process.wait(timeout=TIMEOUT)

    @property
    def text(self) -> str:
        """What is on the screen, without blanks at the ends of lines and without empty lines below."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def everything(self) -> str:
        """That, and what was scrolled away above."""
        gone = ["".join(line[at].data for at in range(self.screen.columns)) for line in self.screen.history.top]
        return "\n".join([line.rstrip() for line in gone] + [self.text]).strip("\n")

    def _read(self) -> bool:
        """Take in what the program has written; False when it has ended."""
        ready, _, _ = select.select([self._end], [], [], 1.0)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self._end, 1 << 16)
        except OSError:  # nobody has the other end any more
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)
