"""Standard output and standard error, of which no byte is lost in silence: all results and messages go through here.

The system may take fewer bytes than it is given: a medium that becomes full, a file that may not become larger, a pipe
that does not block. Python's own stream does not go on after that where it has no buffer (PYTHONUNBUFFERED), nor
when the pipe is full.
"""

from __future__ import annotations

import errno
import io
import os
import select
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Whole(io.RawIOBase):
    """Writes all that it is given to a descriptor, however long that takes, or raises OSError.

    A terminal may be gone while the command goes on without it: from then on nothing is written, and that is no error.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._terminal = os.isatty(descriptor)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                if error.errno != errno.EIO or not self._terminal:
                    raise
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._descriptor)
        return memoryview(data).nbytes


def whole(replaced: TextIO | None, descriptor: int) -> TextIO:
    """The stream to put in the place of `replaced`, which is None where the shell closed it. It holds nothing back."""
    encoding = replaced.encoding if replaced else "ascii"
    # Names may have characters that the terminal's encoding lacks.
    raw = _Whole(descriptor)
    return io.TextIOWrapper(raw, encoding, "backslashreplace", write_through=True)  # type: ignore[type-var]
