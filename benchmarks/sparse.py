"""Files with holes: only their data are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

READ = 1 << 20
BLOCK = 4096


def pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """The data of a file as (position, bytes), up to READ bytes a piece; holes are left out."""
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        end = os.fstat(descriptor).st_size
        position = 0
        while position < end:
            try:
                position = os.lseek(descriptor, position, os.SEEK_DATA) // BLOCK * BLOCK
            except OSError:  # ENXIO: only a hole is left
                return
            hole = os.lseek(descriptor, position, os.SEEK_HOLE)
            while position < hole:
                piece = os.pread(descriptor, min(READ, hole - position), position)
                if not piece:
                    return
                yield position, piece
                position += len(piece)


def warm(path: Path) -> None:
    """Read a file, or all files in a directory, into the page cache."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            for _ in pieces(file):
                pass
