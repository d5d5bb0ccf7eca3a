"""A damaged archive into a real Glance: what is whole arrives, the rest is held until what it lacks is there."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from tests.archives import write_archive
from tests.cloud.glance import MIB, Glance
from tests.command import contents, run
from tests.faults.wire import Wire
from tests.glances import metadata


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def flip(path: Path, *places: int) -> None:
    """Damage a sector of 512 bytes at each place."""
    data = bytearray(path.read_bytes())
    for place in places:
        for at in range(place, min(place + 512, len(data))):
            data[at] ^= 0x55
    path.write_bytes(data)


def frames_of(path: Path, image_id: str) -> list[tuple[int, int]]:
    """Where the frames lie that an image needs: the first byte of the payload, and the byte after the last."""
    with glancearchive.open(path) as archive:
        (image,) = archive.find(image_id)
        archive.load_extents()
        found = {}
        for _, rows in image.entry.extent_map.pieces():
            for start, count in rows.tolist():
                for block in range(start, start + count) if start < 2**62 else ():
                    frame = archive.catalog.frames.find(block)
                    assert frame is not None
                    found[frame.offset] = (frame.header().payload_offset, frame.header().end)
        return [found[key] for key in sorted(found)]


@dataclass
class Medium:
    """An archive on a directory of its own; `data` by image id, `ids` in the order of the archive."""

    path: Path
    described: list[dict[str, Any]]
    data: dict[str, bytes]

    @property
    def ids(self) -> list[str]:
        return [one["id"] for one in self.described]


@pytest.fixture
def medium(tmp_path: Path) -> Medium:
    """Three images of several frames that share nothing, and one that shares blocks with the second."""
    (tmp_path / "medium").mkdir()
    blobs = [noise(9 * MIB + 77, 1), noise(13 * MIB, 2), noise(5 * MIB, 3)]
    blobs.append(blobs[1][8 * MIB : 12 * MIB] + noise(MIB, 4))
    described = [metadata(blob, name=f"image {number}") for number, blob in enumerate(blobs)]
    path = write_archive(tmp_path / "medium" / "a.gla", *zip(described, blobs, strict=True))
    return Medium(path, described, {one["id"]: blob for one, blob in zip(described, blobs, strict=True)})


def test_whole_images_load_and_the_rest_is_held(glance_b: Glance, medium: Medium, tmp_path: Path) -> None:
    whole = medium.path.read_bytes()
    first, second, third, fourth = medium.ids
    frames = frames_of(medium.path, second)
    spots = [(begin + end) // 2 for begin, end in frames[1:3]]
    flip(medium.path, *spots)
    damaged = contents(medium.path.parent)
    done = run("load", glance_b.url, medium.path, "--json")
    assert done.code == 1
    actions = {image_id: image["action"] for image_id, image in done.images.items()}
    shared = any(begin <= spot < end for spot in spots for begin, end in frames_of_whole(whole, fourth, tmp_path))
    assert shared
    assert actions == {first: "copied", second: "held", third: "copied", fourth: "held"}
    for begin, end in frames[1:3]:
        assert f"a.gla: bytes {begin}-{end - 1}" in done.images[second]["reason"]
    client = glance_b.client()
    for image_id in (first, third):
        assert client.show(image_id)["os_hash_value"] == next(
            one["os_hash_value"] for one in medium.described if one["id"] == image_id
        )
    assert client.images().get(second, {"status": "none", "visibility": "private"})["status"] != "active"
    again = run("load", glance_b.url, medium.path)
    assert again.code == 1
    assert again.text.startswith("4 images: 2 present, 2 held")
    assert contents(medium.path.parent) == damaged
    # A fresh copy arrives: the same command finishes.
    medium.path.write_bytes(whole)
    done = run("load", glance_b.url, medium.path, "--json")
    assert done.code == 0, done.stderr
    actions = {image_id: image["action"] for image_id, image in done.images.items()}
    assert actions == {first: "present", second: "copied", third: "present", fourth: "copied"}
    for one in medium.described:
        assert client.show(one["id"])["os_hash_value"] == one["os_hash_value"]


def frames_of_whole(whole: bytes, image_id: str, directory: Path) -> list[tuple[int, int]]:
    path = directory / "whole.gla"
    path.write_bytes(whole)
    return frames_of(path, image_id)


def test_a_held_image_is_uploaded_up_to_the_damage_once(glance_b: Glance, medium: Medium, tmp_path: Path) -> None:
    """What is known to be damaged is looked at before anything is sent; where it is whole again, all is sent."""
    whole = medium.path.read_bytes()
    _, second, _, fourth = medium.ids
    flip(medium.path, frames_of(medium.path, second)[2][1] - 1000)  # the fourth needs it too
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Wire(glance_b.port) as wire:

        def load(code: int) -> tuple[dict[str, str], int]:
            before = wire.sent
            done = run("load", wire.url, medium.path, "--json", "--jobs", "1", env=state)
            assert done.code == code, done.stderr
            return {image_id: image["action"] for image_id, image in done.images.items()}, wire.sent - before

        actions, sent = load(1)
        assert (actions[second], actions[fourth]) == ("held", "held")
        assert sorted(actions.values()) == ["copied", "copied", "held", "held"]
        copied = sum(len(medium.data[image_id]) for image_id, action in actions.items() if action == "copied")
        assert copied + 4 * MIB < sent < copied + len(medium.data[second])  # and nothing of the fourth
        assert glance_b.client().images().get(fourth) is None
        for _ in range(2):
            again, sent = load(1)
            assert (again[second], again[fourth]) == ("held", "held")
            assert sent < 64 << 10
        medium.path.write_bytes(whole)
        actions, sent = load(0)
        assert (actions[second], actions[fourth]) == ("copied", "copied")
        assert sent > len(medium.data[second]) + len(medium.data[fourth])
