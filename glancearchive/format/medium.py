"""What a file lies on: its file system, whether that can be carried away, which names and sizes it takes."""

from __future__ import annotations

import logging
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from glancearchive.errors import UsageError

log = logging.getLogger("glancearchive")

_SYS = Path("/sys")
_MOUNTS = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)
_LARGEST = {"vfat": 2**32 - 1, "msdos": 2**32 - 1}
_PORTABLE = {"vfat", "msdos", "exfat", "ntfs", "ntfs3"}  # file systems that refuse the names that `name_fault` does
_REFUSED = re.compile(r'["*/:<>?\\|\x00-\x1f\x7f]')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
_LONGEST_NAME = 255  # units of UTF-16
_SUFFIXES = len(".00001.part")  # what the name of an archive may get before and after ``.gla``


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its `type` as the system calls it, and the number of its block `device`, if it has one."""

    type: str
    device: int | None


def mount_of(path: Path) -> Mount | None:
    """The file system that `path`, or the nearest directory above it that exists, lies on; None where that is not told.

    Linux tells it.
    """
    place = path.resolve()
    while not place.exists() and place != place.parent:
        place = place.parent
    best, found = 0, None
    try:
        lines = _MOUNTS.read_bytes().splitlines()
        number = place.stat().st_dev
    except OSError:
        return None
    for line in lines:
        fields, _, rest = line.partition(b" - ")
        point = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), fields.split(b" ")[4])
        mounted_at = Path(os.fsdecode(point))
        if len(mounted_at.parts) >= best and place.is_relative_to(mounted_at):  # of two at one point the later counts
            kind, source, *_ = rest.split(b" ")
            best, found = len(mounted_at.parts), (os.fsdecode(kind), os.fsdecode(source))
    if found is None:
        return None
    try:
        device = Path(found[1]).stat()  # not always that of its files: btrfs numbers each subvolume
        if stat.S_ISBLK(device.st_mode):
            return Mount(found[0], device.st_rdev)
    except OSError:
        pass
    return Mount(found[0], number if os.major(number) else None)


def largest_file(path: Path) -> int | None:
    """How many bytes a file at `path` can have, where its file system is known to have a limit."""
    mount = mount_of(path)
    return _LARGEST.get(mount.type) if mount else None


def removable(path: Path) -> bool | None:
    """Whether `path` lies on a medium that can be pulled out: USB disk, memory card; None where that is not told."""
    mount = mount_of(path)
    if mount is None:
        return None
    return mount.device is not None and _is_removable(_block_device(mount.device))


def _block_device(device: int) -> Path:
    return (_SYS / f"dev/block/{os.major(device)}:{os.minor(device)}").resolve()


def _is_removable(block: Path) -> bool:
    below = list((block / "slaves").glob("*"))  # an encrypted disk lies on another one
    if below:
        return any(_is_removable(one.resolve()) for one in below)
    if any(re.fullmatch(r"usb\d+", part) for part in block.parts):
        return True
    disk = block if (block / "removable").exists() else block.parent  # a partition lies in its disk
    return _word(disk / "removable") == "1" or _word(disk / "device/type") == "SD"


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def device_file(device: int) -> Path:
    """The file in ``/dev`` of a block device."""
    return Path("/dev") / _block_device(device).name


def name_fault(name: str) -> str:
    """Why a file on FAT or exFAT, or in Windows, cannot be called `name`; "" when it can.

    The rules: exFAT specification, section 7.7.3, and Windows' "Naming Files, Paths, and Namespaces".
    """
    if found := _REFUSED.search(name):
        return f"{found[0]!r} cannot be in a name there"
    if name.endswith((" ", ".")):
        return f"a name cannot end in {name[-1]!r} there"
    if _DEVICE.fullmatch(name):
        return f"{name.partition('.')[0]} is a device in Windows"
    try:
        units = len(name.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        return "it is no Unicode"
    return f"a name of {units} characters is too long there" if units > _LONGEST_NAME - _SUFFIXES else ""


def check_name(path: Path) -> None:
    """Say early that the archive `path` has a name that FAT and exFAT refuse.

    Raises UsageError when it is to lie on such a file system; else it is a warning, for it may be copied to one.
    """
    fault = name_fault(path.name)
    if not fault:
        return
    mount = mount_of(path.parent)
    if mount is not None and mount.type in _PORTABLE:
        raise UsageError(f"{path}: {mount.type} does not take this name: {fault}; choose another one")
    log.warning("%s: this name is not for every medium: on FAT and exFAT, %s", path, fault)
