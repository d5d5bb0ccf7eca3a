"""Standard output, of which no byte is lost in silence: every result, text or image data, goes through here.

The system may take fewer bytes than it is given: a medium that becomes full, a file that may not become larger, a pipe
that does not block. Python's own stream does not go on after that where it has no buffer (PYTHONUNBUFFERED), nor
when the pipe is full.
"""

from __future__ import annotations

import io
import os
import select
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_DESCRIPTOR = 1


class _Whole(io.RawIOBase):
    """Writes all that it is given, however long that takes, or raises OSError."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _DESCRIPTOR

    def isatty(self) -> bool:
        return os.isatty(_DESCRIPTOR)

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        while rest:
            try:
                rest = rest[os.write(_DESCRIPTOR, rest) :]
            except BlockingIOError:
                select.select([], [_DESCRIPTOR], [])
        return memoryview(data).nbytes


def whole_stdout(replaced: TextIO | None) -> TextIO:
    """The stream to put in the place of `replaced`, which is None where the shell closed it. It holds nothing back."""
    encoding = replaced.encoding if replaced else "ascii"
    # Names may have characters that the terminal's encoding lacks.
    return io.TextIOWrapper(_Whole(), encoding, "backslashreplace", write_through=True)  # type: ignore[type-var]
