"""Increments through the command line, from a real Glance into another: dump, change, dump again, load."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cloud.glance import MIB, Glance
from tests.cloud.images import pattern
from tests.command import run, unchanged


@dataclass
class Region:
    """A Glance that was dumped, changed, dumped again as an increment of the catalog, changed, and dumped once more."""

    source: Glance
    directory: Path
    ids: dict[str, str] = field(default_factory=dict)
    data: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, data: bytes, **metadata: str) -> None:
        client = self.source.client()
        self.ids[name] = str(client.create(name=name, **metadata)["id"])
        client.upload(self.ids[name], data)
        self.data[name] = data

    def path(self, name: str) -> Path:
        return self.directory / name


OLD, ROOT = pattern(3 * MIB + 100, 1), pattern(5 * MIB, 2)
UPDATED = ROOT[: 2 * MIB] + pattern(40_000, 3) + ROOT[2 * MIB + 40_000 :]


@pytest.fixture(scope="module")
def region(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    directory = tmp_path_factory.mktemp("region")
    with Glance(directory / "source") as source:
        made = Region(source, directory)
        made.add("old", OLD)
        made.add("kept", ROOT, os_distro="debian")
        made.add("gone", pattern(MIB, 4))
        client = source.client()
        queued = client.create(name="queued")
        assert run("dump", source.address, made.path("first.gla")).code == 0
        assert run("catalog", made.path("first.gla"), made.path("first.glacat")).code == 0
        made.path("home").mkdir()
        shutil.move(made.path("first.glacat"), made.path("home"))  # the archive itself leaves

        client.delete(made.ids["gone"])
        client.patch(made.ids["kept"], {"op": "replace", "path": "/os_distro", "value": "ubuntu"})
        made.add("updated", UPDATED)
        dumped = run(
            "dump", source.address, made.path("second.gla"), "--base", made.path("home/first.glacat"), "--json"
        )
        assert dumped.code == 0, dumped.stderr
        found = {image["id"]: image["action"] for image in dumped.json["images"]}
        assert found == {
            made.ids["old"]: "present", made.ids["kept"]: "updated", made.ids["updated"]: "copied",
            str(queued["id"]): "no-data",
        }  # fmt: skip
        assert dumped.json["stored"] < 60_000
        base = (made.path("second.gla"), "--base", made.path("first.gla"))
        done = run(
            "catalog", made.path("second.gla"), made.path("home/second.glacat"), "--with", made.path("first.gla")
        )
        assert done.code == 0, done.stderr
        made.add("third", UPDATED[: 2 * MIB + 81_920] + OLD)
        done = run("dump", source.address, made.path("third.gla"), "--base", *base)
        assert done.code == 0, done.stderr
        assert made.path("third.gla").stat().st_size < 60_000
        yield made


def loaded(target: Glance, region: Region, *names: str) -> None:
    """The images `names` are there, with what they were at the source."""
    for name in names:
        image = target.client().show(region.ids[name])
        assert image["os_hash_value"] == hashlib.sha512(region.data[name]).hexdigest()
        assert image["name"] == name


@pytest.mark.parametrize("order", [("third", "second", "first"), ("first", "third", "second")])
def test_a_chain_is_loaded_in_any_order(region: Region, glance_b: Glance, order: tuple[str, ...]) -> None:
    first, *others = (region.path(f"{name}.gla") for name in order)
    further = [word for path in others for word in ("--with", path)]
    with unchanged(region.directory):
        done = run("load", glance_b.address, first, *further, "--json")
    assert done.code == 0, done.stderr
    loaded(glance_b, region, "old", "kept", "updated", "third")
    assert glance_b.client().show(region.ids["kept"])["os_distro"] == "ubuntu"
    assert region.ids["gone"] not in {image["id"] for image in done.json["images"]}


def test_without_the_base_what_needs_it_is_held_and_the_base_is_named(region: Region, make_glance: object) -> None:
    with Glance(region.path("own")) as target:
        done = run("load", target.address, region.path("second.gla"), "--json")
        assert done.code == 1
        actions = {image["name"]: image["action"] for image in done.json["images"]}
        assert actions == {"old": "held", "kept": "held", "updated": "held", "queued": "copied"} | {
            "queued": actions["queued"]
        }
        root = run("list", region.path("first.gla"), "--json").json["root_digest"]
        assert root in done.json["faults"][0]
        # The base comes later, and the same command with it finishes.
        done = run("load", target.address, region.path("second.gla"), "--with", region.path("first.gla"), "--json")
        assert done.code == 0, done.stderr
        loaded(target, region, "old", "kept", "updated")


def test_list_and_show_and_verify_say_what_the_base_is(region: Region) -> None:
    first = run("list", region.path("first.gla"), "--json").json
    assert first["base"] is None
    alone = run("list", region.path("second.gla"), "--json")
    assert alone.code == 1
    assert alone.json["base"] == {
        "archive_id": first["archive_id"], "root_digest": first["root_digest"], "at_hand": False,
    }  # fmt: skip
    both = run("list", region.path("second.gla"), "--with", region.path("first.gla"), "--json")
    assert (both.code, both.json["base"]["at_hand"]) == (0, True)
    shown = run("show", region.path("second.gla"), region.ids["old"], "--with", region.path("first.gla"), "--json")
    assert (shown.code, shown.json["status"]) == (0, "complete")
    verified = run("verify", region.path("second.gla"), "--json")
    assert verified.code == 1
    assert {image["name"]: image["status"] for image in verified.json["images"]} == {
        "old": "held", "kept": "held", "updated": "held", "queued": "no-data",
    }  # fmt: skip
    together = ("verify", region.path("second.gla"), "--with", region.path("first.gla"), "--glance-hash")
    assert run(*together).code == 0


def test_extract_size_and_compare_take_the_base(region: Region, tmp_path: Path) -> None:
    base = ("--with", region.path("first.gla"))
    done = run("extract", region.path("second.gla"), "updated", "-o", tmp_path / "updated.img", *base)
    assert done.code == 0, done.stderr
    assert (tmp_path / "updated.img").read_bytes() == UPDATED
    done = run("extract", region.path("second.gla"), "updated", "-o", tmp_path / "other.img")
    assert done.code == 1
    assert "its base" in done.stderr
    assert not (tmp_path / "other.img").exists()
    assert run("size", region.path("second.gla"), *base).code == 0
    found = run("compare", region.path("first.gla"), region.path("second.gla"), *base, "--json").json
    assert {(finding["name"], finding["kind"]) for finding in found["findings"]} >= {
        ("gone", "missing"), ("updated", "extra"),
    }  # fmt: skip


def test_read_back_of_an_increment_needs_no_base(region: Region, tmp_path: Path) -> None:
    base = ("--base", region.path("home/first.glacat"), "--read-back")
    done = run("dump", region.source.address, tmp_path / "again.gla", *base, "--json")
    assert done.code == 0, done.stderr
    assert done.json["read_back"]["damage"] == []


def test_a_merged_archive_needs_no_base(region: Region, tmp_path: Path) -> None:
    paths = [region.path(f"{name}.gla") for name in ("second", "third", "first")]
    done = run("merge", tmp_path / "merged.gla", *paths, "--json")
    assert done.code == 0, done.stderr
    verified = run("verify", tmp_path / "merged.gla", "--glance-hash", "--json")
    assert verified.code == 0
    assert {image["name"] for image in verified.json["images"]} == {*region.ids, "queued"}


def test_usage(region: Region, tmp_path: Path) -> None:
    assert run("catalog", region.path("first.gla"), tmp_path / "catalog.gla").code == 2
    assert run("catalog", region.path("none.gla"), tmp_path / "none.glacat").code == 3
    assert run("catalog", region.path("first.gla"), region.path("home/first.glacat")).code == 3
    assert "isolated catalog" in run("list", region.path("home/first.glacat")).error
    assert run("merge", tmp_path / "merged.gla").code == 2
    assert run("merge", region.path("second.gla"), region.path("first.gla")).code == 3
    out = ("dump", region.source.address, tmp_path / "a.gla", "--base")
    assert run(*out, tmp_path / "none.glacat").code == 3
    (tmp_path / "text.glacat").write_text("no catalog at all")
    assert run(*out, tmp_path / "text.glacat").code == 3
    assert not (tmp_path / "a.gla.part").exists()
