"""Ids on the command line: options that go together, files with maps, what is reported."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from glancearchive.endpoints.policy import SOURCE_ID
from tests.archives import write_archive
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.command import contents, run
from tests.glances import api, metadata

DATA = pattern(100_001)


@pytest.fixture
def images() -> list[dict[str, Any]]:
    return [metadata(DATA, name="first", kernel_id=""), metadata(b"second", name="second")]


@pytest.fixture
def archive(images: list[dict[str, Any]], tmp_path: Path) -> Path:
    (tmp_path / "medium").mkdir()
    images[1]["kernel_id"] = images[0]["id"]
    return write_archive(tmp_path / "medium" / "a.gla", (images[1], b"second"), (images[0], DATA))


def test_a_burnt_id(glance_b: Glance, images: list[dict[str, Any]], archive: Path, tmp_path: Path) -> None:
    first, second = (image["id"] for image in images)
    client = glance_b.client()
    client.create(id=first)
    client.delete(first)
    medium = contents(archive.parent)
    kept = run("load", glance_b.url, archive, "--json")
    assert (kept.code, kept.images[first]["action"], kept.images[first]["new_id"]) == (1, "conflict", "")
    assert "--id-policy new loads it under another id" in kept.images[first]["reason"]
    out = tmp_path / "ids.json"
    renewed = run("load", glance_b.url, archive, "--json", "--id-policy", "new", "--id-map-out", out)
    new_id = renewed.images[first]["new_id"]
    assert client.show(new_id)[SOURCE_ID] == first
    # It was loaded before its kernel had a new id.
    assert renewed.code == 1
    assert renewed.images[second]["differences"] == [f"kernel_id: target has {first!r}, source has {new_id!r}"]
    assert json.loads(out.read_text()) == {first: new_id, second: second}
    updated = run("load", glance_b.url, archive, "--json", "--id-policy", "new", "--update-metadata")
    assert (updated.code, updated.images[second]["action"]) == (0, "updated")
    assert client.show(second)["kernel_id"] == new_id
    mapped = run("load", glance_b.url, archive, "--id-policy", "map", "--id-map", out)
    assert (mapped.code, mapped.text.split(";")[0]) == (0, "2 images: 2 present")
    assert f"present: {first} as {new_id} ('first')" in mapped.stderr
    assert contents(archive.parent) == medium


def test_a_map_that_leaves_ids_to_the_program(
    glance_b: Glance, images: list[dict[str, Any]], archive: Path, tmp_path: Path
) -> None:
    first, second = (image["id"] for image in images)
    wanted = str(uuid.uuid4())
    (tmp_path / "ids.json").write_text(json.dumps({first: wanted, second: None}))
    ids = tmp_path / "ids.json"
    done = run("load", glance_b.url, archive, "--json", "--id-policy", "map", "--id-map", ids, "--id-map-out", ids)
    assert done.code == 0, done.stderr
    found = json.loads(ids.read_text())
    assert found == {one: done.images[one]["new_id"] for one in (first, second)}
    assert found[first] == wanted
    assert found[second] not in (second, None)
    assert glance_b.client().show(found[second])["kernel_id"] == wanted


@pytest.mark.parametrize("options", [["--id-policy", "map"], ["--id-map", "ids.json"], ["--id-policy", "other"]])
def test_options_that_make_no_sense(options: list[str], archive: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text("{}")
    done = run("load", "127.0.0.1:1", archive, *options, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, b"")
    assert "--id-policy" in done.stderr


def test_maps_that_are_none(glance_b: Glance, images: list[dict[str, Any]], archive: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.json"
    before = glance_b.client().images()
    same = dict.fromkeys((image["id"] for image in images), str(uuid.uuid4()))
    for text, code, words in (
        ("[]", 2, "expected a JSON object"),
        ("{", 2, "no map of ids"),
        ('{"a": "b"}', 2, "expected an id"),
        (json.dumps(same), 2, "to two images"),
        (None, 3, "No such file"),
    ):
        ids.unlink(missing_ok=True)
        if text is not None:
            ids.write_text(text)
        done = run("load", glance_b.url, archive, "--id-policy", "map", "--id-map", ids)
        assert (done.code, done.stdout) == (code, b"")
        assert words in done.error
    assert glance_b.client().images() == before


def test_a_map_that_cannot_be_written_is_found_out_at_once(glance_b: Glance, archive: Path, tmp_path: Path) -> None:
    before = glance_b.client().images()
    done = run("load", glance_b.url, archive, "--id-map-out", tmp_path / "none" / "ids.json")
    assert (done.code, done.stdout) == (3, b"")
    assert "cannot be written" in done.error
    assert glance_b.client().images() == before


def test_nothing_is_written_over_but_a_map(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "renamed").write_bytes(archive.read_bytes())
    (tmp_path / "notes").write_text("notes")
    (tmp_path / "other.json").write_text('{"an": "object"}')
    with (tmp_path / "large").open("wb") as large:
        large.truncate(1 << 40)
    with (tmp_path / "earlier.json").open("w") as earlier:
        json.dump({str(uuid.uuid4()): str(uuid.uuid4())}, earlier)
    before, medium = contents(tmp_path / "medium"), {"renamed", "notes", "other.json", "earlier.json"}
    texts = {name: (tmp_path / name).read_bytes() for name in medium}
    for command in (["load", "127.0.0.1:1", archive], ["livecopy", archive, "127.0.0.1:1"]):
        for file, code, words in (
            (archive, 2, "called like a volume"),
            (tmp_path / "new.001.gla", 2, "called like a volume"),
            (tmp_path / "renamed", 3, "is no map of ids"),
            (tmp_path / "notes", 3, "is no map of ids"),
            (tmp_path / "other.json", 3, "is no map of ids"),
            (tmp_path / "large", 3, "is no map of ids"),
            (tmp_path / "earlier.json", 3, "127.0.0.1:1"),  # whose server does not answer
        ):
            done = run(*command, "--id-map-out", file)
            assert (done.code, words in done.error) == (code, True), (command, file, done.stderr)
    assert contents(tmp_path / "medium") == before
    assert {name: (tmp_path / name).read_bytes() for name in medium} == texts
    assert (tmp_path / "large").stat().st_size == 1 << 40


def test_the_two_places_the_wrong_way_round(archive: Path) -> None:
    for command in (["load", archive, "http://127.0.0.1:1"], ["plan", "mycloud", archive]):
        done = run(*command)
        assert (done.code, done.stdout) == (2, b"")
    loaded, planned = run("load", archive, "othercloud"), run("plan", "othercloud.gla", archive)
    assert "are they the wrong way round? The order is SERVER ARCHIVE" in loaded.error
    for command, order in (("load", "SERVER ARCHIVE"), ("plan", "ARCHIVE SERVER")):
        done = run(command, archive, archive)
        assert (done.code, done.error) == (
            2,
            f"{archive}: is an archive, and a server is needed here; the order is {order}",
        )
    assert planned.code != 0


def test_wrong_usage_does_not_go_on(glance_b: Glance, archive: Path) -> None:
    done = run("load", glance_b.url, archive, "--map", "owner", "nobody=somebody")
    assert (done.code, "no image to be copied belongs to project nobody" in done.error) == (2, True)
    assert "the same command goes on" not in done.stderr


def test_what_is_not_found_is_in_the_json(glance_b: Glance, archive: Path) -> None:
    wanted = "--image", "first", "--image", "no-such-*", "--json"
    commands = (["list", archive], ["size", archive], ["plan", archive, glance_b.url], ["load", glance_b.url, archive])
    for command in (*commands, ["compare", archive, glance_b.url], ["livecopy", archive, glance_b.url]):
        done = run(*command, *wanted)
        assert (done.code, done.json["not_found"]) == (1, ["no-such-*"]), command
    assert run("list", archive, "--json").json["not_found"] == []


def test_what_no_load_brings_into_line_is_not_promised(
    glance_b: Glance, images: list[dict[str, Any]], archive: Path
) -> None:
    """That an image was deactivated there stays so, other metadata need not."""
    assert run("load", glance_b.url, archive).code == 0
    api(glance_b.url).deactivate(images[0]["id"])
    hint = "--update-metadata brings metadata that differ into line"
    done = run("load", glance_b.url, archive)
    assert (done.code, "status: target has 'deactivated'" in done.stderr, hint in done.stderr) == (1, True, False)
    glance_b.client().patch(images[0]["id"], {"op": "replace", "path": "/name", "value": "another"})
    assert hint in run("load", glance_b.url, archive).stderr
