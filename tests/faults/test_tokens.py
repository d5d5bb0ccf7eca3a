"""A real Keystone whose tokens live for seconds: they run out between requests and in the middle of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import glancearchive
from tests.cloud.cloud import Cloud
from tests.cloud.glance import MIB
from tests.cloud.images import pattern
from tests.faults.wire import Wire
from tests.faults.zygote import Zygote

LIFE = 3  # seconds
DATA = {"first": pattern(MIB + 5, 1), "second": pattern(MIB, 2)}


@pytest.fixture(scope="module")
def brief(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Cloud(tmp_path_factory.mktemp("brief"), token_seconds=LIFE) as cloud:
        for name, data in DATA.items():
            image = cloud.client(cloud.a).create(name=name)
            cloud.client(cloud.a).upload(image["id"], data)
        yield cloud


def through(wire: Wire, cloud: Cloud, letter: str, directory: Path) -> dict[str, str]:
    """The environment of a user whose cloud has its image service behind `wire`."""
    document = json.loads(cloud.clouds_yaml.read_text())
    document["clouds"][f"admin-{letter}"]["image_endpoint_override"] = wire.url
    (directory / "clouds.yaml").write_text(json.dumps(document))
    return {"OS_CLIENT_CONFIG_FILE": str(directory / "clouds.yaml")}


def test_tokens_that_run_out_in_the_middle(brief: Cloud, zygote: Zygote, tmp_path: Path) -> None:
    """At this rate each image takes longer than a token lives, on the way out and on the way in."""
    path = tmp_path / "a.gla"
    with Wire(brief.a.port) as wire:
        wire.rate = MIB / (LIFE + 1)
        done = zygote.run("dump", "admin-a", path, "--json", env=through(wire, brief, "a", tmp_path))
    assert done.code == 0, done.stderr
    assert {image["verified"] for image in done.images.values()} == {"sha512"}
    with glancearchive.open(path) as archive:
        assert {image.name: image.open().read() for image in archive} == DATA
    with Wire(brief.b.port) as wire:
        wire.rate = MIB / (LIFE + 1)
        loaded = zygote.run("load", "admin-b", path, "--json", env=through(wire, brief, "b", tmp_path))
    assert loaded.code == 0, loaded.stderr
    assert {image["action"] for image in loaded.images.values()} == {"copied"}
    for image_id, image in brief.client(brief.b).images().items():
        assert image["status"] == "active"
        assert brief.b.data_path(image_id).read_bytes() == DATA[image["name"]]
