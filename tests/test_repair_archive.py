"""A damaged archive, its need-list back at the source, a repair archive, and both together into a real Glance."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from glancearchive.format.header import RecordType
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.volume import Volume
from tests.cloud.glance import MIB, Glance
from tests.command import Done, contents, run
from tests.test_damaged_load import flip, frames_of, noise


@dataclass
class Region:
    """Two Glances; what the images of the source are made of, by name."""

    source: Glance
    target: Glance
    ids: dict[str, str] = field(default_factory=dict)
    data: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, data: bytes) -> None:
        self.ids[name] = self.source.client().add(data, name=name, tags=["repaired"])["id"]
        self.data[name] = data

    def wanted(self) -> list[str]:
        """Options that choose these images among those of other tests."""
        return ["--tag", "repaired"]

    def assert_loaded(self, done: Done) -> None:
        """All images are at the target, with the bytes that they had."""
        there, here = self.target.client(), self.source.client()
        for name, image_id in self.ids.items():
            assert there.show(image_id)["os_hash_value"] == here.show(image_id)["os_hash_value"], (name, done.stderr)
            assert there.show(image_id)["status"] == "active"
            assert there.download(image_id) == self.data[name]


@pytest.fixture
def region(glance_a: Glance, glance_b: Glance) -> Iterator[Region]:
    """Images that share blocks, one with holes, one smaller than a block, one that ends within a block."""
    region = Region(glance_a, glance_b)
    shared = noise(5 * MIB, 21)
    region.add("first", noise(6 * MIB, 22) + shared)
    region.add("second", shared + bytes(3 * MIB) + noise(4 * MIB + 1234, 23))
    region.add("third", noise(3 * MIB, 24))
    region.add("tiny", b"a few bytes")
    yield region
    for image_id in region.ids.values():
        glance_a.client().delete(image_id)


def wipe(path: Path, begin: int, end: int) -> None:
    """Damage all bytes from `begin` to `end`."""
    data = bytearray(path.read_bytes())
    for at in range(begin, end):
        data[at] ^= 0xA5
    path.write_bytes(data)


def records(path: Path) -> list[tuple[int, int, int]]:
    """Type, first byte and byte after the last of each record, the end copy included."""
    volume = Volume(path)
    with glancearchive.open(path) as archive:
        found = []
        for step in VolumeScan(volume, archive.archive_id, 1, None, Position()):
            assert step.header is not None
            begin = step.header.offset if step.header.offset not in {one[1] for one in found} else step.header.end
            found.append((int(step.header.type), begin, step.header.end))
    volume.close()
    return found


def test_from_damage_to_everything_loaded(region: Region, tmp_path: Path) -> None:
    """Flipped sectors: what is whole loads; then the source is asked for the rest, by ranges, and all of it loads."""
    medium = tmp_path / "medium"
    medium.mkdir()
    archive, need, repair = medium / "region.gla", tmp_path / "region.need", tmp_path / "repair.gla"
    assert run("dump", region.source.url, archive, *region.wanted()).code == 0
    (begin, end), *_ = frames_of(archive, region.ids["second"])
    flip(archive, (begin + end) // 2)
    damaged = contents(medium)
    loaded = run("load", region.target.url, archive, "--json", "--need", need)
    assert loaded.code == 1
    actions = {name: loaded.images[image_id]["action"] for name, image_id in region.ids.items()}
    assert actions["second"] == "held"
    assert set(actions.values()) == {"held", "copied"}
    held = {name for name, action in actions.items() if action == "held"}
    assert loaded.json["need"]["images"] == len(held)
    assert 0 < loaded.json["need"]["bytes"] < 8 * MIB + 1
    # Verify comes to the same result.
    verified = run("verify", archive, "--json", "--need", tmp_path / "verified.need")
    assert {one["id"] for one in verified.json["images"] if one["status"] == "damaged"} == {
        region.ids[name] for name in held
    }
    one, other = json.loads(need.read_text()), json.loads((tmp_path / "verified.need").read_text())
    assert one["images"] == other["images"]
    assert contents(medium) == damaged
    # At the source.
    answer = run("dump", region.source.url, repair, "--for", need, "--json")
    assert answer.code == 0, answer.stderr
    assert {image["action"] for image in answer.images.values()} == {"copied"}
    assert sum(image["size"] for image in answer.images.values()) == one_size(one)
    assert repair.stat().st_size < 6 * MIB
    assert run("verify", repair).code == 0
    # At the far end, in whatever order they are named.
    done = run("load", region.target.url, archive, "--with", repair, "--json")
    assert done.code == 0, done.stderr
    assert {done.images[region.ids[name]]["action"] for name in held} == {"copied"}
    region.assert_loaded(done)
    extracted = run("extract", repair, "--with", archive, "--glance-hash", "-o", tmp_path / "out")
    assert extracted.code == 0, extracted.stderr
    for name, image_id in region.ids.items():
        assert (tmp_path / "out" / f"{image_id}.img").read_bytes() == region.data[name]


def one_size(need: dict[str, Any]) -> int:
    """Bytes that a need-list asks for."""
    return sum(
        min((first + count) * need["block_size"], image["size"]) - first * need["block_size"]
        for image in need["images"]
        for first, count in image["ranges"]
    )


def test_a_lost_record(region: Region, tmp_path: Path) -> None:
    """The records that described images are gone: the source is asked for all that the far end has not heard of."""
    archive, need, repair = tmp_path / "region.gla", tmp_path / "region.need", tmp_path / "repair.gla"
    first = ["--image", region.ids["first"]]
    assert run("dump", region.source.url, archive, *first).code == 0
    assert run("dump", region.source.url, archive, *region.wanted(), "--append").code == 0
    found = records(archive)
    sessions = [at for at, record in enumerate(found) if record[0] == RecordType.END]
    first_end = sessions[1]  # the end copy of the first session
    lost = [record for record in found[first_end + 1 :] if record[0] in (RecordType.CHECKPOINT, RecordType.CATALOG)]
    for _, begin, end in lost:
        wipe(archive, begin, end)
    (begin, end), *_ = frames_of(archive, region.ids["first"])
    flip(archive, begin + 1000)
    loaded = run("load", region.target.url, archive, "--json", "--need", need)
    assert loaded.code == 1
    assert set(loaded.images) == {region.ids["first"]}
    assert loaded.json["need"]["incomplete"]
    # Without a choice the repair archive would have what other tests have put there, too.
    answer = run("dump", region.source.url, repair, "--for", need, "--json", *region.wanted())
    assert answer.code == 0, answer.stderr
    assert set(answer.images) == set(region.ids.values())
    assert answer.images[region.ids["first"]]["size"] < 5 * MIB
    done = run("load", region.target.url, archive, "--with", repair, "--json")
    assert done.json["faults"]
    assert {image["action"] for image in done.images.values()} == {"copied"}, done.stderr
    region.assert_loaded(done)
    again = run("load", region.target.url, archive, "--with", repair, "--json")
    assert {image["action"] for image in again.images.values()} == {"present"}


def test_a_lost_volume(region: Region, tmp_path: Path) -> None:
    """One of three disks does not arrive: its images are held, and come with a repair archive."""
    archive, need, repair = tmp_path / "disks" / "region.gla", tmp_path / "region.need", tmp_path / "repair.gla"
    archive.parent.mkdir()
    done = run("dump", region.source.url, archive, *region.wanted(), "--volume-size", "9M")
    assert done.code == 0, done.stderr
    volumes = sorted(archive.parent.iterdir())
    assert len(volumes) >= 3
    shutil.move(volumes[1], tmp_path / "lost")
    loaded = run("load", region.target.url, volumes[0], "--json", "--need", need)
    assert loaded.code == 1
    held = {image["id"] for image in loaded.images.values() if image["action"] == "held"}
    assert held
    assert all(volumes[1].name in loaded.images[image_id]["reason"] for image_id in held)
    answer = run("dump", region.source.url, repair, "--for", need, "--json")
    assert answer.code == 0, answer.stderr
    done = run("load", region.target.url, volumes[0], "--with", repair, "--json")
    assert {done.images[image_id]["action"] for image_id in held} == {"copied"}, done.stderr
    region.assert_loaded(done)


def test_the_source_has_changed(region: Region, tmp_path: Path) -> None:
    """Images that are gone at the source, or are others now, are told; the others are repaired."""
    archive, need, repair = tmp_path / "region.gla", tmp_path / "region.need", tmp_path / "repair.gla"
    assert run("dump", region.source.url, archive, *region.wanted()).code == 0
    frames = {begin for name in ("first", "second", "third") for begin, _ in frames_of(archive, region.ids[name])}
    flip(archive, *(begin + 50 for begin in frames))
    assert run("verify", archive, "--need", need).code == 1
    document = json.loads(need.read_text())
    assert {image["id"] for image in document["images"]} >= {region.ids[name] for name in ("first", "second", "third")}
    region.source.client().delete(region.ids["first"])
    answer = run("dump", region.source.url, repair, "--for", need, "--json")
    assert answer.code == 1
    assert answer.images[region.ids["first"]]["action"] == "failed"
    assert "no such image" in answer.images[region.ids["first"]]["reason"]
    done = run("load", region.target.url, archive, "--with", repair, "--json")
    assert done.code == 1
    actions = {name: done.images[image_id]["action"] for name, image_id in region.ids.items()}
    assert actions["first"] == "held"
    assert (actions["second"], actions["third"]) == ("copied", "copied")
    region.ids.pop("first")
    region.assert_loaded(done)
