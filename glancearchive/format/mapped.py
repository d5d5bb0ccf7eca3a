"""Looks at the bytes of a file where the system keeps them: what is only hashed need not be copied first."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np

_POPULATE_READ = 22  # MADV_POPULATE_READ of Linux, from 5.14 on
_STEP = 4 << 20  # bytes asked for at a time: a slow medium takes a second for them, and nobody can interrupt that


@contextmanager
def mapped(descriptor: int, begin: int, end: int, stopped: Callable[[], bool]) -> Iterator[memoryview | None]:
    """The bytes from `begin` to `end` of an open file, until the context ends; nothing may refer to them afterwards.

    None where they cannot be had like this: whoever reads them learns why; and soon after `stopped` says so. They are
    in memory when they are given.
    """
    # A page of a mapping that cannot be read (a bad sector, a file that is cut, a disk that is gone) ends whoever
    # touches it, by SIGBUS and without a word. So the system is asked for all of them first, by a call that says that
    # it failed. What is left: a file that somebody cuts here, or before here, while this is looked at, or a page that
    # the system drops again in that time and can read no more. Then the program ends, with no result; it never takes
    # for whole what is not.
    mapping = _map(descriptor, begin, end)
    if mapping is None:
        yield None
        return
    with mapping, memoryview(mapping) as view:
        # Of a slow medium much is to be asked for at once.
        with suppress(OSError):
            os.posix_fadvise(descriptor, begin, end - begin, os.POSIX_FADV_WILLNEED)
        if not _populate(view, stopped):
            yield None
            return
        with view[begin % mmap.ALLOCATIONGRANULARITY :] as data:
            yield data


def _map(descriptor: int, begin: int, end: int) -> mmap.mmap | None:
    if _madvise() is None:
        return None
    start = begin - begin % mmap.ALLOCATIONGRANULARITY
    try:
        return mmap.mmap(descriptor, end - start, access=mmap.ACCESS_READ, offset=start)
    except (OSError, ValueError, OverflowError):  # not on this file system; cut meanwhile; more than can be addressed
        return None


def _populate(view: memoryview, stopped: Callable[[], bool]) -> bool:
    """Have all pages of a mapping in memory; False when one cannot be read, or the system is too old to be asked.

    Or when it is `stopped`.
    """
    address = np.frombuffer(view, dtype=np.uint8).ctypes.data
    for at in range(0, len(view), _STEP):
        size = min(_STEP, len(view) - at)
        if stopped() or _madvise()(ctypes.c_void_p(address + at), ctypes.c_size_t(size), _POPULATE_READ):
            return False
    return True


@cache
def _madvise() -> Any:
    """madvise(2), None where it is not that of Linux.

    `mmap.madvise` keeps the interpreter's lock: all threads would wait for a slow medium.
    """
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return None
