"""The main job through the command line: a real Glance into an archive, and the archive into another real Glance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.glance import MIB, Glance, GlanceClient
from tests.cloud.images import ImageSet, pattern
from tests.command import Done, contents, run, unchanged

TINY = 60
PAGE = 20  # of the source's listing
BLOCK = 4096
FIELDS: dict[str, Any] = {
    "name": "Grüße ≠ 你好",
    "visibility": "shared",
    "protected": True,
    "os_hidden": True,
    "tags": ["ünï", "b", "with space", "a" * 255],
    "min_disk": 7,
    "min_ram": 64,
    "kernel_id": "5f4b9a5e-7a2b-4d7b-8b3f-3d8f1d1b6c0a",
    "ramdisk_id": "9d0c5c3e-0d3b-4a51-8f0e-bb5d0a4dc3c1",
    "os_distro": "debian",
    "os_version": "04",
    "hw_disk_bus": "scsi",
    "hw_qemu_guest_agent": "yes",
    "owner": "0123456789abcdef0123456789abcdef",
    "owner_specified.openstack.md5": "x",
    "owner_specified.openstack.object": "images/debian",
    "a/b~c": "an odd key",
    "long": "v" * 60_000,
    "empty": "",
}
MEMBERS = {"project-1": "accepted", "project-2": "pending", "project-3": "rejected"}
# What belongs to one Glance, and cannot be the same in another.
OWN = ("created_at", "updated_at", "self", "file", "schema", "stores")


@dataclass
class Region:
    """Two Glances: the images in `source` by role, and what they are made of by id (None: no data)."""

    source: Glance
    target: Glance
    ids: dict[str, str] = field(default_factory=dict)
    data: dict[str, bytes | Path | None] = field(default_factory=dict)

    def add(self, role: str, data: bytes | Path | None, **metadata: Any) -> str:
        client = self.source.client()
        image_id = str(client.create(**{"name": role, **metadata})["id"])
        if data is not None:
            client.upload(image_id, data)
        self.ids[role], self.data[image_id] = image_id, data
        return image_id

    def bytes_of(self, role: str) -> bytes:
        data = self.data[self.ids[role]]
        assert data is not None
        return data.read_bytes() if isinstance(data, Path) else data


@pytest.fixture(scope="module")
def region(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory, image_set: ImageSet) -> Iterator[Region]:
    directory = tmp_path_factory.mktemp("region")
    source = Glance(directory / "source", options={"DEFAULT": {"api_limit_max": PAGE}})
    target = Glance(directory / "target")
    try:
        source.launch()
        target.launch()
        source.wait()
        target.wait()
        made = Region(source, target)
        fill(made, image_set)
        yield made
    finally:
        source.stop()
        target.stop()


def fill(region: Region, image_set: ImageSet) -> None:
    client = region.source.client()
    for image in image_set:
        region.add(image.name, image.path, disk_format=image.disk_format)
    everything = region.add("everything", pattern(3 * MIB + 1), **FIELDS)
    for project, status in MEMBERS.items():
        client.add_member(everything, project, status if status != "pending" else None)
    for visibility in ("public", "community", "private", "shared"):
        region.add(f"visibility {visibility}", visibility.encode(), visibility=visibility)
    region.add("queued", None, tags=["waiting"])
    region.add("queued without formats", None, disk_format=None, container_format=None)
    mapping = json.dumps([{"snapshot_id": "s", "boot_index": 0, "volume_size": 1}])
    region.add("volume-backed", b"", block_device_mapping=mapping, bdm_v2="True", root_device_name="/dev/vda")
    region.add("deactivated", pattern(70_000, 2))
    region.add("empty", b"")
    region.add("one byte", b"1")
    for size in (BLOCK - 1, BLOCK, BLOCK + 1, MIB - 1, 5 * MIB + 17):
        region.add(f"{size} bytes", pattern(size, size))
    region.add("zeros", bytes(3 * MIB))
    region.add("zeros, unaligned", bytes(2 * MIB + 5))
    region.add("twin 1", pattern(MIB, 7))
    region.add("twin 2", pattern(MIB, 7))
    region.add("same name", b"first", name="same name")
    region.add("same name 2", b"second", name="same name")
    region.add("unnamed", b"unnamed", name=None)
    assert client.call("POST", f"/v2/images/{region.ids['deactivated']}/actions/deactivate").ok
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: region.add(f"tiny {number}", b"%d" % number, visibility="private"), range(TINY)))


@pytest.fixture(scope="module")
def dumped(region: Region, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    archive = tmp_path_factory.mktemp("dump") / "region.gla"
    return archive, run("dump", region.source.address, archive, "--json")


@pytest.fixture(scope="module")
def archive(dumped: tuple[Path, Done]) -> Path:
    return dumped[0]


@pytest.fixture(scope="module")
def loaded(region: Region, archive: Path) -> Done:
    with unchanged(archive.parent):
        return run("load", region.target.url, archive, "--json", "--jobs", "4")


WITHOUT_DATA = {
    "queued": "queued",
    "queued without formats": "queued",
    "volume-backed": "volume-backed: its data are the volume snapshots in block_device_mapping",
}


def comparable(client: GlanceClient) -> dict[str, dict[str, Any]]:
    """All that two Glances can have in common: the metadata of each image, tags in order, members with status."""
    images = {}
    for image_id, image in client.images().items():
        images[image_id] = {key: value for key, value in image.items() if key not in OWN}
        images[image_id]["tags"] = sorted(image["tags"])
        if image["visibility"] == "shared":
            images[image_id]["members"] = {one["member_id"]: one["status"] for one in client.members(image_id)}
    return images


def test_dump_takes_every_image(region: Region, dumped: tuple[Path, Done]) -> None:
    archive, done = dumped
    assert done.code == 0, done.stderr
    assert done.images.keys() == region.data.keys()
    assert contents(archive.parent).keys() == {archive.name}
    assert done.json["ok"] is True
    assert done.json["stored"] == archive.stat().st_size
    reasons = {role: done.images[region.ids[role]]["reason"] for role in WITHOUT_DATA}
    assert reasons == WITHOUT_DATA
    for role, image_id in region.ids.items():
        image = done.images[image_id]
        if role in WITHOUT_DATA:
            assert (image["action"], image["size"], image["verified"]) == ("no-data", 0, "")
        else:
            size = len(region.bytes_of(role))
            assert (image["action"], image["size"], image["verified"]) == ("copied", size, "sha512")


def test_list_and_show_say_what_the_glance_said(region: Region, archive: Path) -> None:
    listed = run("list", archive, "--json")
    assert listed.code == 0
    assert listed.images.keys() == region.data.keys()
    client = region.source.client()
    for role in ("everything", "empty", "volume-backed", "queued without formats", "deactivated", "unnamed"):
        image_id = region.ids[role]
        there = client.show(image_id)
        shown = run("show", archive, image_id, "--json")
        assert shown.code == 0
        assert shown.json["metadata"] == there
        entry = listed.images[image_id]
        for key in ("disk_format", "os_hash_value"):
            assert entry[key] == there[key]
        assert entry["size"] == (None if role in WITHOUT_DATA else there["size"])
    members = run("show", archive, FIELDS["name"], "--json").json["members"]
    assert {one["member_id"]: one["status"] for one in members} == MEMBERS


def test_duplicates_and_zeros_are_stored_once(region: Region, archive: Path) -> None:
    images = listing(archive)
    stored = {role: images[image_id]["stored"] for role, image_id in region.ids.items()}
    assert stored["zeros"] == stored["zeros, unaligned"] < 2 * BLOCK
    assert min(stored["twin 1"], stored["twin 2"]) < BLOCK
    assert archive.stat().st_size < sum(path.stat().st_size for path in region.source.store.iterdir()) / 4


def listing(archive: Path) -> dict[str, dict[str, Any]]:
    return run("list", archive, "--json").images


@pytest.mark.parametrize("depth", [["--quick"], [], ["--glance-hash"]], ids=["quick", "full", "glance-hash"])
def test_verify(region: Region, archive: Path, depth: list[str]) -> None:
    done = run("verify", archive, "--json", *depth)
    assert done.code == 0
    assert (done.json["ok"], done.json["damage"]) == (True, [])
    states = {role: done.images[image_id]["status"] for role, image_id in region.ids.items()}
    assert states == {role: "no-data" if role in WITHOUT_DATA else "valid" for role in region.ids}


def test_extract_all(region: Region, archive: Path, tmp_path: Path) -> None:
    done = run("extract", archive, "-o", f"{tmp_path}/all/", "--json")
    assert done.code == 0
    client = region.source.client()
    names = set(region.data)
    names |= {f"{image_id}.img" for role, image_id in region.ids.items() if role not in WITHOUT_DATA}
    assert {path.name for path in (tmp_path / "all").iterdir()} == names
    for role, image_id in region.ids.items():
        if role not in WITHOUT_DATA:
            assert (tmp_path / "all" / f"{image_id}.img").read_bytes() == region.bytes_of(role), role
    for role in ("everything", "queued", "volume-backed"):
        document = json.loads((tmp_path / "all" / region.ids[role]).read_text(encoding="utf-8"))
        members = document.pop("members", [])
        assert document == client.show(region.ids[role])
        assert {one["member_id"]: one["status"] for one in members} == (MEMBERS if role == "everything" else {})
    sparse = tmp_path / "all" / f"{region.ids['zeros']}.img"
    assert sparse.stat().st_blocks * 512 < sparse.stat().st_size / 2


def test_extract_one(region: Region, archive: Path, tmp_path: Path) -> None:
    assert run("extract", archive, "5242897 bytes", "-o", tmp_path / "one.img").code == 0
    assert (tmp_path / "one.img").read_bytes() == region.bytes_of("5242897 bytes")
    done = run("extract", archive, region.ids["zeros, unaligned"], "-o", "-")
    assert (done.code, done.stdout) == (0, region.bytes_of("zeros, unaligned"))
    assert contents(tmp_path).keys() == {"one.img"}
    ambiguous = run("extract", archive, "same name", "-o", "-")
    assert (ambiguous.code, ambiguous.stdout) == (2, b"")
    assert region.ids["same name"] in ambiguous.error


def test_load_makes_the_second_glance_the_same(region: Region, loaded: Done) -> None:
    assert loaded.code == 0, loaded.stderr
    assert loaded.images.keys() == region.data.keys()
    there, here = comparable(region.source.client()), comparable(region.target.client())
    assert there.keys() == here.keys() == region.data.keys()
    assert there[region.ids["everything"]]["members"] == MEMBERS
    for role, image_id in region.ids.items():
        outcome = loaded.images[image_id]
        assert (outcome["dropped"], outcome["differences"]) == ([], []), role
        assert here[image_id] == there[image_id], role
        if role in WITHOUT_DATA:
            assert outcome["action"] == "no-data"
        else:
            assert (outcome["action"], outcome["verified"]) == ("copied", "sha512")
            stored = region.target.data_path(image_id).read_bytes()
            assert hashlib.sha512(stored).hexdigest() == there[image_id]["os_hash_value"]
            assert stored == region.bytes_of(role)


def test_a_second_load_changes_nothing(region: Region, archive: Path, loaded: Done) -> None:
    before = region.target.client().images()
    again = run("load", region.target.address, archive, "--json", "--update-metadata")
    assert again.code == 0, again.stderr
    actions = {role: again.images[image_id]["action"] for role, image_id in region.ids.items()}
    assert actions == {role: "no-data" if role in WITHOUT_DATA else "present" for role in region.ids}
    assert region.target.client().images() == before


def test_a_dump_of_the_second_glance_says_the_same(region: Region, archive: Path, loaded: Done, tmp_path: Path) -> None:
    assert run("dump", region.target.url, tmp_path / "back.gla", "--quiet").code == 0

    def digests(images: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {one: (image["status"], image["size"], image["os_hash_value"]) for one, image in images.items()}

    assert digests(listing(tmp_path / "back.gla")) == digests(listing(archive))
