"""A medium by FUSE with a fault of its own: ``python -m tests.faults.fuse_disk SOURCE MOUNTPOINT OPTIONS``.

The files are those of the directory SOURCE. OPTIONS are a JSON object:

- ``bad``: pairs of bytes, begin and end; in any file these cannot be read (EIO), as sectors of a worn disk;
- ``capacity``, ``lie``: a medium that takes every write and says that it did, but keeps only so many bytes of a file:
  with ``wrap`` what lies beyond is written over the beginning, with ``drop`` it vanishes and is read as zeros.
  The system keeps nothing of it in memory, so that a file on it can stand for a disk: `tests.faults.media.loop_device`.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import mfusepy

_ATTRIBUTES = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")


class FaultyDisk(mfusepy.Operations):  # type: ignore[misc]  # which has no types
    """What is asked of it, one call after the other (`nothreads`)."""

    use_ns = True

    def __init__(self, source: str, bad: list[list[int]], capacity: int | None, lie: str) -> None:
        self.source = source
        self.bad = bad
        self.capacity = capacity
        self.wraps = lie == "wrap"

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(self.source + path)
        return {key: getattr(found, key) for key in _ATTRIBUTES}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *(one.name for one in Path(self.source + path).iterdir())]

    def open(self, path: str, flags: int) -> int:
        return os.open(self.source + path, flags & (os.O_RDONLY | os.O_RDWR | os.O_WRONLY))

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self.source + path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        if any(offset < end and offset + size > begin for begin, end in self.bad):
            raise mfusepy.FuseOSError(errno.EIO)
        size = max(0, min(size, os.fstat(fh).st_size - offset))
        return b"".join(
            bytes(length) if place is None else os.pread(fh, length, place).ljust(length, b"\0")
            for place, length in self._places(offset, size)
        )

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with open(self.source + path, "r+b") as file:  # also for files that were opened for appending
            size = max(os.fstat(fh).st_size, offset + len(data))
            at = 0
            for place, length in self._places(offset, len(data)):
                if place is not None:
                    file.seek(place)
                    file.write(data[at : at + length])
                at += length
            file.truncate(size)  # what is lost leaves a hole: the size is what it should be
        return len(data)

    def _places(self, offset: int, size: int) -> list[tuple[int | None, int]]:
        """Where `size` bytes at `offset` really are, and how many at each place; None: nowhere."""
        if self.capacity is None:
            return [(offset, size)]
        found: list[tuple[int | None, int]] = []
        while size:
            length = min(size, self.capacity - offset % self.capacity)
            found.append((offset % self.capacity if self.wraps or offset < self.capacity else None, length))
            offset, size = offset + length, size - length
        return found

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self.source + path, length)

    def rename(self, old: str, new: str) -> None:
        Path(self.source + old).rename(self.source + new)

    def unlink(self, path: str) -> None:
        Path(self.source + path).unlink()

    def release(self, path: str, fh: int) -> None:
        os.close(fh)


def main() -> None:
    source, mountpoint, text = sys.argv[1:]
    options = json.loads(text)
    how = {"ro": True, "max_read": 4096} if options["capacity"] is None else {"direct_io": True}
    mfusepy.FUSE(FaultyDisk(source, **options), mountpoint, foreground=True, nothreads=True, **how)


if __name__ == "__main__":
    main()
