"""Two Glances and what may never be seen in them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import glancearchive
from glancearchive.endpoints.policy import MARK
from tests.cloud.glance import MIB, Glance
from tests.cloud.images import pattern
from tests.faults.zygote import Zygote

BLOCK = 4096
OWN = ("created_at", "updated_at", "self", "file", "schema", "stores")


@dataclass
class Region:
    """A Glance with images, by id."""

    glance: Glance
    data: dict[str, bytes] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)

    def fill(self, scale: int = 4) -> None:
        """Images of `scale` MiB and less, some public, some protected, one shared; zeros and duplicates among them."""
        first = pattern(scale * MIB + 17, 1)
        images: list[tuple[bytes, dict[str, Any]]] = [
            (first, {"visibility": "public"}),
            (bytes(2 * MIB) + first[: MIB // 2] + pattern(scale * MIB // 2, 2), {"visibility": "public"}),
            (b"", {"visibility": "public"}),
            (bytes(3 * MIB + 1), {"protected": True, "tags": ["zeros"]}),
            (pattern(scale * MIB, 3) + first, {"visibility": "community", "os_hidden": True}),
        ]
        for number, (data, more) in enumerate(images):
            made = self.glance.client().add(data, name=f"image {number}", **more)
            self.data[made["id"]], self.metadata[made["id"]] = data, made


def assert_archive(path: Path, region: Region) -> None:
    """The archive is finished, proves right, and holds exactly what the region has."""
    with glancearchive.open(path) as archive:
        report = glancearchive.verify(archive, glancearchive.Depth.GLANCE)
        assert [str(one.fault) for one in report.damage] == []
        assert archive.finished
        assert sorted(image.id for image in archive) == sorted(region.data)
        for image in archive:
            assert (image.status, image.verified) == ("complete", "sha512"), image.id
            assert image.hashes["sha512"] == hashlib.sha512(region.data[image.id]).hexdigest()


def assert_innocent(glance: Glance, region: Region) -> None:
    """At any instant of a load: nothing active with wrong data, nothing for others to see before it is verified."""
    found = glance.client().images()
    assert found.keys() <= region.data.keys()  # no duplicate under another id
    for image_id, image in found.items():
        if image["status"] == "active":
            assert image["size"] == len(region.data[image_id]), image
            assert image["os_hash_value"] == region.metadata[image_id]["os_hash_value"], image
        else:
            assert image["visibility"] == "private", image
            assert image["protected"] is False, image
            assert MARK in image, image


def assert_loaded(glance: Glance, region: Region) -> None:
    """All images are there as they are in `region`, and nothing tells of how they came."""
    found = glance.client().images()
    assert found.keys() == region.data.keys()
    for image_id, image in found.items():
        assert common(image) == common(region.metadata[image_id])
        stored = glance.data_path(image_id).read_bytes() if region.data[image_id] else b""
        assert stored == region.data[image_id]
    leftovers = {path.name for path in glance.store.iterdir()} - found.keys()
    assert not leftovers


def common(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in OWN}


def make_archive(zygote: Zygote, region: Region, path: Path) -> Path:
    done = zygote.run("dump", region.glance.url, path, "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    return path


def reset(glance: Glance) -> None:
    """Forget all images, as an operator does who purges the database: their ids can be used again."""
    for _ in range(600):  # uploads whose client is gone are still being given up
        if not any(image["status"] in ("saving", "importing") for image in glance.client().images().values()):
            break
        time.sleep(0.05)
    forget(glance)
    assert glance.client().images() == {}


def forget(glance: Glance, image_id: str = "%") -> None:
    """Purge one image, or all, from the database and the store."""
    with closing(sqlite3.connect(glance.database, timeout=60)) as database, database:
        for table in ("image_locations", "image_properties", "image_tags", "image_members"):
            database.execute(f"DELETE FROM {table} WHERE image_id LIKE ?", (image_id,))
        database.execute("DELETE FROM images WHERE id LIKE ?", (image_id,))
    for path in glance.store.glob(image_id.replace("%", "*")):
        path.unlink()
