"""Media for tests: real file systems on loop devices, and disks by FUSE that fail or lie.

Each is a context manager that gives the directory it is mounted at. Where the machine cannot have it (no root, no loop
devices, no FUSE, no such program), the test is skipped, and says why.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import ROOT

MIB = 1 << 20
_SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@contextmanager
def ext4(directory: Path, megabytes: int = 16) -> Iterator[Path]:
    """A real ext4 without reserve and journal, mounted at ``directory/disk``."""
    with loop_device(_blank(directory / "disk.img", megabytes)) as device, ext4_on(device, directory / "disk") as disk:
        yield disk


@contextmanager
def ext4_on(device: str, mountpoint: Path) -> Iterator[Path]:
    """The same on a block device that is there."""
    formatter = _program("mkfs.ext4", "e2fsprogs")
    subprocess.run([formatter, "-q", "-O", "^has_journal", "-m", "0", device], check=True, capture_output=True)
    mountpoint.mkdir()
    _mount("mount", device, str(mountpoint))
    with _mounted(mountpoint):
        yield mountpoint


@contextmanager
def exfat(directory: Path, megabytes: int = 64) -> Iterator[Path]:
    """A real exFAT by exfat-fuse, a driver outside the kernel, mounted at ``directory/disk``."""
    formatter = _program("mkfs.exfat", "exfatprogs")
    driver = _program("mount.exfat-fuse", "exfat-fuse")
    mountpoint = directory / "disk"
    with loop_device(_blank(directory / "disk.img", megabytes)) as device:
        subprocess.run([formatter, device], check=True, capture_output=True)
        mountpoint.mkdir()
        _mount(driver, device, str(mountpoint))
        with _mounted(mountpoint):
            yield mountpoint


@contextmanager
def read_only(directory: Path, mountpoint: Path) -> Iterator[Path]:
    """A directory once more, mounted read-only."""
    mountpoint.mkdir()
    _mount("mount", "--bind", str(directory), str(mountpoint))
    with _mounted(mountpoint):
        _mount("mount", "-o", "remount,bind,ro", str(mountpoint))
        yield mountpoint


@contextmanager
def faulty_disk(
    directory: Path,
    mountpoint: Path,
    *,
    bad: Sequence[tuple[int, int]] = (),
    capacity: int | None = None,
    lie: str = "",
) -> Iterator[Path]:
    """The files of `directory` on a medium with faults: see `tests.faults.fuse_disk`."""
    pytest.importorskip("mfusepy", exc_type=ImportError)
    mountpoint.mkdir()
    options = json.dumps({"bad": bad, "capacity": capacity, "lie": lie})
    program = [sys.executable, "-m", "tests.faults.fuse_disk", str(directory), str(mountpoint), options]
    with subprocess.Popen(program, cwd=ROOT, stderr=subprocess.PIPE) as process:
        try:
            for _ in range(1000):
                if os.path.ismount(mountpoint) or process.poll() is not None:
                    break
                time.sleep(0.01)
            if not os.path.ismount(mountpoint):
                process.terminate()
                pytest.skip(f"FUSE is not to be had here: {process.communicate()[1].decode().strip()[-200:]}")
            with _mounted(mountpoint):
                yield mountpoint
        finally:
            process.terminate()


@contextmanager
def loop_device(image: Path) -> Iterator[str]:
    """A block device whose sectors are those of the file `image`."""
    done = subprocess.run(
        [_program("losetup", "mount"), "--find", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no loop device is to be had here: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True, env={**os.environ, "PATH": _SBIN})


def _blank(image: Path, megabytes: int) -> Path:
    with image.open("wb") as file:
        file.truncate(megabytes * MIB)
    return image


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=_SBIN)
    if os.getuid() or found is None:
        pytest.skip(f"needs root and {name} ({package})")
    return found


def _mount(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")


@contextmanager
def _mounted(mountpoint: Path) -> Iterator[None]:
    try:
        yield
    finally:
        subprocess.run(["umount", str(mountpoint)], check=True)
