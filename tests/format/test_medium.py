"""What a path lies on, as Linux tells it: file systems, devices, names."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from glancearchive.errors import UsageError
from glancearchive.format import medium
from glancearchive.format.medium import Mount, check_name, largest_file, mount_of, name_fault, removable

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/none rw
40 27 8:1 / {place} rw,relatime shared:9 - vfat /dev/sdz1 rw
41 40 0:50 / {place}/over\\040there rw - tmpfs tmpfs rw
42 40 0:51 / {place}/over\\040there rw - btrfs /dev/sdy rw
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is said to be a FAT disk, with another one in it that two are mounted at."""
    (tmp_path / "disk" / "over there").mkdir(parents=True)
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(place=tmp_path / "disk"))
    monkeypatch.setattr(medium, "_MOUNTS", mounts)
    return tmp_path / "disk"


def test_the_nearest_mount_counts(place: Path) -> None:
    def kind(path: Path) -> str:
        mount = mount_of(path)
        assert mount is not None
        return mount.type

    assert kind(place / "a.gla") == "vfat"
    assert kind(place) == "vfat"
    assert kind(place / "none" / "a.gla") == "vfat"
    assert kind(place / "over there" / "a.gla") == "btrfs"
    assert kind(place.with_name("disk2") / "a.gla") == "ext4"
    (place.parent / "link").symlink_to(place / "over there")
    assert kind(place.parent / "link" / "a.gla") == "btrfs"


def test_the_largest_file(place: Path) -> None:
    assert largest_file(place / "a.gla") == 4294967295
    assert largest_file(place.parent / "a.gla") is None


def test_where_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(medium, "_MOUNTS", tmp_path / "none")
    assert mount_of(tmp_path) is None
    assert removable(tmp_path) is None
    assert largest_file(tmp_path) is None


def test_this_machine(tmp_path: Path) -> None:
    """No assumption but that it has a file system."""
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("not Linux")
    mount = mount_of(tmp_path / "a.gla")
    assert mount is not None
    assert mount.type
    assert removable(tmp_path) in (True, False)


DISKS = {
    "usb disk": ("pci0/usb1/1-2/host6/block/sdb", {"removable": "0"}, True),
    "usb partition": ("pci0/usb1/1-2/host6/block/sdb/sdb1", {"../removable": "0"}, True),
    "stick": ("pci0/host6/block/sdb", {"removable": "1"}, True),
    "stick's partition": ("pci0/host6/block/sdb/sdb1", {"../removable": "1"}, True),
    "memory card": ("mmc0/block/mmcblk0/mmcblk0p1", {"../removable": "0", "../device/type": "SD"}, True),
    "built in flash": ("mmc0/block/mmcblk0/mmcblk0p1", {"../removable": "0", "../device/type": "MMC"}, False),
    "disk": ("pci0/ata1/host0/block/sda/sda2", {"../removable": "0"}, False),
    "usbip": ("pci0/usbip/block/sda", {"removable": "0"}, False),
    "virtual": ("virtual/block/dm-0", {"removable": "0"}, False),
    "nothing told": ("virtual/block/sdx", {}, False),
}


@pytest.mark.parametrize(("path", "files", "expected"), DISKS.values(), ids=DISKS)
@pytest.mark.parametrize("encrypted", [False, True])
def test_removable(
    path: str, files: dict[str, str], expected: bool, encrypted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "devices" / path
    device.mkdir(parents=True)
    for name, text in files.items():
        file = Path(os.path.normpath(device / name))
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{text}\n")
    if encrypted:  # by dm-crypt: a device that lies on the other one
        below, device = device, tmp_path / "devices" / "virtual" / "block" / "dm-7"
        (device / "slaves").mkdir(parents=True)
        (device / "removable").write_text("0\n")
        (device / "slaves" / below.name).symlink_to(below)
    numbers = tmp_path / "dev" / "block"
    numbers.mkdir(parents=True)
    (numbers / "8:17").symlink_to(device)
    monkeypatch.setattr(medium, "_SYS", tmp_path)
    monkeypatch.setattr(medium, "mount_of", lambda _path: Mount("vfat", os.makedev(8, 17)))
    assert removable(tmp_path) is expected
    assert medium.device_file(os.makedev(8, 17)) == Path("/dev") / device.name
    shutil.rmtree(tmp_path / "dev")
    monkeypatch.setattr(medium, "mount_of", lambda _path: Mount("tmpfs", None))
    assert removable(tmp_path) is False


@pytest.mark.parametrize(
    "name", ["region.gla", "a b.gla", "..gla", "é.gla", "console.gla", "com10.gla", "a" * 240, "x+[]=,;%&$#@!~`^{}'()"]
)
def test_names_that_every_medium_takes(name: str) -> None:
    assert name_fault(name) == ""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *((f"a{char}.gla", repr(char)) for char in '"*:<>?\\|\n\x00\x7f'),
        ("a.gla ", "cannot end in ' '"),
        ("region.", "cannot end in '.'"),
        ("con", "is a device"),
        ("Con.gla", "is a device"),
        ("LPT1.001.gla", "is a device"),
        ("a" * 250, "250 characters"),
        ("\U0001d11e" * 130, "260 characters"),
        ("a\udcff.gla", "no Unicode"),
    ],
)
def test_names_that_some_media_refuse(name: str, why: str) -> None:
    assert why in name_fault(name)


def test_a_name_is_refused_or_warned_of(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UsageError, match=r"at 10:00\.gla: vfat does not take this name: ':' cannot be in a name there"):
        check_name(place / "at 10:00.gla")
    check_name(place / "region.gla")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        check_name(place.parent / "at 10:00.gla")
    assert "not for every medium" in caplog.text
