"""Has the system forget what it keeps of files in memory, so that what is read next comes from the medium."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glancearchive.errors import LocalError
from glancearchive.format.medium import device_file, mount_of

_WINDOW = 1 << 30  # bytes that are looked at at a time


@dataclass(frozen=True, slots=True)
class Dropped:
    """What became of the cache: `complete` when nothing is left in it. `how` says what was done, for an operator."""

    complete: bool
    how: str


def drop(paths: Iterable[Path]) -> Dropped:
    """Make the files `paths` durable, and drop them from the system's cache as far as that can be done. Writes nothing.

    Raises LocalError when they cannot be read or made durable.
    """
    files = list(paths)
    left = [reason for path in files if (reason := _drop(path))]
    if left:
        advice = "to be sure, take it out and in again, and verify"
        return Dropped(False, f"not all may come from the medium: {left[0]}; {advice}")
    return Dropped(True, "the system's cache was dropped: all comes from the medium")


def _drop(path: Path) -> str:
    """Drop one file; why something of it is left, "" when nothing is."""
    if not hasattr(os, "posix_fadvise"):
        return "this system has no call for it"
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise LocalError(f"{path}: cannot be read back: {error.strerror}") from None
    try:
        os.fsync(descriptor)  # what is not written yet cannot be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        kept = _resident(descriptor)
    except OSError as error:
        raise LocalError(f"{path}: cannot be made durable: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if kept is None:
        return f"whether anything of {path.name} is left in memory is not to be found out"
    if kept:
        return f"{kept} bytes of {path.name} are still in memory"
    return _drop_device(path)


def _drop_device(path: Path) -> str:
    """Drop what a driver outside the kernel (ntfs-3g, exfat-fuse) has read and written through the block device."""
    mount = mount_of(path)
    if mount is None or not mount.type.startswith("fuse"):
        return ""
    if mount.device is None or mount.type != "fuseblk":
        return f"{path.name} lies on {mount.type}, which may keep a cache of its own"
    device = device_file(mount.device)
    try:
        descriptor = os.open(device, os.O_RDONLY)
    except OSError as error:
        return f"the driver of its file system reads through {device}, which cannot be opened: {error.strerror}"
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        raise LocalError(f"{path}: {device} cannot be made durable: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return ""


def _resident(descriptor: int) -> int | None:
    """Bytes of an open file that are in memory, by mincore(2); None where there is no such call.

    Of a file that the user could not write to, all of it: the system does not tell.
    """
    try:
        mincore = ctypes.CDLL(None, use_errno=True).mincore
    except (AttributeError, OSError, TypeError):
        return None
    size, count = os.fstat(descriptor).st_size, 0
    for begin in range(0, size, _WINDOW):
        length = min(_WINDOW, size - begin)
        try:
            mapped = mmap.mmap(descriptor, length, access=mmap.ACCESS_READ, offset=begin)
        except OSError:  # some FUSE file systems let nothing be mapped
            return None
        with mapped:
            pages = np.zeros(-(-length // mmap.PAGESIZE), dtype=np.uint8)
            view = np.frombuffer(mapped, dtype=np.uint8)
            address, vector = ctypes.c_void_p(view.ctypes.data), ctypes.c_void_p(pages.ctypes.data)
            failed = mincore(address, ctypes.c_size_t(length), vector)
            del view  # what is exported cannot be closed
            if failed:
                return None
            count += int((pages & 1).sum()) * mmap.PAGESIZE
    return min(count, size)
