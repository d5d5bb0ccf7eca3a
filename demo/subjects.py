"""The images of the demo: real disks, with all the metadata that Glance knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.cloud.glance import GlanceClient
from tests.cloud.images import DiskImage, make_images

SUFFIXES = {
    ".raw": "raw",
    ".img": "raw",
    ".iso": "iso",
    ".qcow2": "qcow2",
    ".vmdk": "vmdk",
    ".vdi": "vdi",
    ".vhd": "vhd",
    ".vhdx": "vhdx",
}
# Offset, bytes there, Glance's word for it.
SIGNATURES = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vhd"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (32769, b"CD001", "iso"),
)
METADATA: tuple[dict[str, Any], ...] = (
    {
        "visibility": "public",
        "protected": True,
        "min_disk": 1,
        "min_ram": 256,
        "tags": ["base", "geprüft", "長期サポート"],
        "os_distro": "debian",
        "os_version": "04",
        "hw_disk_bus": "virtio",
        "hw_qemu_guest_agent": "yes",
    },
    {"os_hidden": True, "tags": ["superseded"], "description": 'quotes " and \\, two\nlines, and   spaces '},
    {"visibility": "community", "owner": "project-of-the-owner", "architecture": "x86_64"},
    {"visibility": "shared", "owner": "project-of-the-owner", "owner_specified.openstack.object": "images/qcow2"},
    {"tags": [f"tag-{number:02}" for number in range(30)], "long": "å" * 5000, "rocket": "Ракета", "empty": ""},
)
MEMBERS = (("project-that-accepted", "accepted"), ("project-that-waits", None), ("project-that-refused", "rejected"))


@dataclass(frozen=True)
class Subject:
    """One image to be: `path` is None for one that stays without data."""

    name: str
    path: Path | None
    disk_format: str = "raw"
    metadata: dict[str, Any] = field(default_factory=dict)


def guess_format(path: Path) -> str | None:
    """Glance's word for the format of a file, by its content or else by its name; None for what is no image."""
    with path.open("rb") as file:
        head = file.read(33_000)
    for offset, signature, disk_format in SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return disk_format
    guess = SUFFIXES.get(path.suffix.lower())
    return guess if guess in ("raw", "iso") else None


def choose(own: Path | None, scratch: Path, megabytes: int) -> Iterator[Subject]:
    """The images to show: the files in the directory `own`, or images made in `scratch`; and one without data."""
    if own is None:
        made = make_images(scratch, megabytes=megabytes)
        for reason in made.skipped:
            print(f"  left out: {reason}")
        disks = [DiskImage(f"{disk.name}: Grüße 世界", disk.path, disk.disk_format) for disk in made]
    else:
        disks = []
        for path in sorted(own.iterdir()):
            disk_format = guess_format(path) if path.is_file() else None
            if disk_format is None:
                print(f"  left out: {path.name}: no disk image by its content or its name")
            else:
                disks.append(DiskImage(path.name, path, disk_format))
        if not disks:
            raise SystemExit(f"no disk images in {own}")
    for number, disk in enumerate(disks):
        yield Subject(disk.name, disk.path, disk.disk_format, METADATA[number % len(METADATA)])
    if own is None:
        empty = scratch / "empty"
        empty.touch()
        yield Subject("no bytes at all", empty, "raw")
    yield Subject("still waiting for its data", None, "qcow2", {"tags": ["queued"]})


def put(client: GlanceClient, subject: Subject) -> int:
    """Makes one image of it in a Glance, with data and members; returns its size in bytes.

    What a server refuses (an image that is not what its name says) is told and left out.
    """
    # A protected image could not be removed again if its data were refused.
    metadata = {key: value for key, value in subject.metadata.items() if key != "protected"}
    image = client.create(name=subject.name, disk_format=subject.disk_format, **metadata)
    size = subject.path.stat().st_size if subject.path else 0
    if subject.path is not None:
        try:
            client.upload(image["id"], subject.path)
        except requests.HTTPError as error:
            print(f"  left out: {subject.name}: the server says {error.response.status_code} {error.response.text}")
            client.delete(image["id"])
            return 0
    if image["visibility"] == "shared" and subject.metadata:
        for project, status in MEMBERS:
            client.add_member(image["id"], project, status)
    if subject.metadata.get("protected"):
        client.patch(image["id"], {"op": "replace", "path": "/protected", "value": True})
    print(f"  {image['id']}  {size:>13,} bytes  {subject.disk_format:<6} {subject.name}", flush=True)
    return size
