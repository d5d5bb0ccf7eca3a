"""Volumes on real media, with a real Glance at both ends: limits of files, full disks, disks that are lost."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from tests.cloud.glance import MIB, Glance
from tests.faults.kills import kill_when, size_of
from tests.faults.media import ext4
from tests.faults.wire import Wire
from tests.faults.world import Region, assert_loaded
from tests.faults.zygote import Child, Zygote

STEPS: dict[str, Any] = {"interval": 0.02, "frame": 1 << 18, "wait": 0.2}
SIZE = 3 * MIB


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[Path]]:
    """Three real file systems, each with 4 to 5 MiB of space: none has room for all."""
    with ExitStack() as stack:
        found = []
        for number in range(3):
            (tmp_path / f"medium{number}").mkdir()
            found.append(stack.enter_context(ext4(tmp_path / f"medium{number}")))
        for number, disk in enumerate(found):
            free = shutil.disk_usage(disk).free
            with (disk / "filler").open("wb") as file:
                file.write(bytes(free - (4 * MIB + number * MIB // 2)))
        yield found


def numbered(directory: Path) -> list[Path]:
    return sorted(directory.glob("a.*.gla*"))


def assert_archived(volumes: list[Path], region: Region) -> None:
    """The volumes are an archive of just what the region has, finished and right in all layers."""
    with glancearchive.open(*volumes) as archive:
        assert archive.faults == []
        assert archive.finished
        assert [str(one.fault) for one in glancearchive.verify(archive, glancearchive.Depth.GLANCE).damage] == []
        assert {image.id: image.open().read() for image in archive} == region.data


def test_the_largest_file_that_there_may_be(zygote: Zygote, region: Region, tmp_path: Path) -> None:
    """A limit as FAT has it: auto keeps below it, to the byte."""
    limit = 5 * MIB + 1
    path = tmp_path / "a.gla"
    done = zygote.run("dump", region.glance.url, path, "--volume-size", "auto", "--json", largest_file=limit, **STEPS)
    assert done.code == 0, done.stderr
    assert done.json["volumes"] == [str(one) for one in numbered(tmp_path)]
    sizes = [one.stat().st_size for one in numbered(tmp_path)]
    assert len(sizes) > 1
    assert limit - MIB < sizes[0] <= limit
    assert max(sizes) <= limit
    assert_archived(numbered(tmp_path), region)
    again = zygote.run("dump", region.glance.url, path, "--volume-size", "auto", "--json", **STEPS)
    assert (again.code, again.json["complete_before"]) == (0, True)
    assert sum(sizes) == again.json["stored"]


def test_dumps_killed_at_random_instants(zygote: Zygote, region: Region, tmp_path: Path) -> None:
    rng = random.Random(5)
    path, total = tmp_path / "a.gla", sum(map(len, region.data.values()))
    kills = 0
    with Wire(region.glance.port) as wire:
        for _ in range(8):
            child = zygote.start("dump", wire.url, path, "--volume-size", str(SIZE), "--json", **STEPS)
            begin = wire.received + rng.randint(0, total // 3)
            if not kill_when(child, lambda begin=begin: wire.received >= begin):  # type: ignore[misc]
                break
            kills += 1
        done = zygote.run("dump", wire.url, path, "--volume-size", str(SIZE), "--json", **STEPS)
    assert done.code == 0, done.stderr
    assert kills
    assert max(one.stat().st_size for one in numbered(tmp_path)) <= SIZE
    assert_archived(numbered(tmp_path), region)


def test_spread_over_disks(zygote: Zygote, region: Region, disks: list[Path], tmp_path: Path) -> None:
    """The first two are full: it says so and what to do; with a third one the same command finishes."""

    def dump(*media: Path) -> Any:
        directories = ",".join(map(str, media))
        return zygote.run("dump", region.glance.url, "a.gla", "--spread", directories, "--json", **STEPS)

    done = dump(*disks[:2])
    assert (done.code, done.stdout) == (3, b"")
    said = done.stderr.splitlines()[-1]
    assert f"no room for a.003.gla in {disks[0]}, {disks[1]}: 2 volumes finished" in said
    assert "the same command goes on" in said
    assert not list(tmp_path.glob("medium*/**/*.part"))
    done = dump(*disks)
    assert done.code == 0, done.stderr
    volumes = [one for disk in disks for one in numbered(disk)]
    assert [one.name for one in volumes] == [f"a.{number:03}.gla" for number in range(1, len(volumes) + 1)]
    assert done.json["volumes"] == [str(one) for one in volumes]
    assert all(shutil.disk_usage(disk).free < 2 * MIB for disk in disks[:2])
    assert_archived(volumes, region)


def test_someone_else_fills_the_disk(zygote: Zygote, region: Region, disks: list[Path], tmp_path: Path) -> None:
    """What was free a moment ago is not: the volume is finished with what it has, where there is room for that."""
    directories = ",".join(map(str, disks))
    child = zygote.start("dump", region.glance.url, "a.gla", "--spread", directories, "--json", **STEPS)
    part = disks[0] / "a.001.gla.part"
    assert not kill_when(child, lambda: size_of(part) > MIB and fill(disks[0], child))
    assert (disks[0] / "more").exists()
    assert_archived([one for disk in disks for one in numbered(disk)], region)


def fill(disk: Path, child: Child) -> bool:
    """Take most of the space there is, while the program stands still; returns False."""
    if not (disk / "more").exists():
        child.signal(signal.SIGSTOP)
        try:
            while child.state() not in "TZX":
                time.sleep(0.0005)  # a signal takes effect when the system comes to it
            with (disk / "more").open("wb") as file:
                file.write(bytes(max(0, shutil.disk_usage(disk).free - MIB)))
        finally:
            child.signal(signal.SIGCONT)
    return False


def test_three_disks_one_of_them_lost(
    zygote: Zygote, region: Region, target: Glance, disks: list[Path], tmp_path: Path
) -> None:
    """All that is whole without it loads; of the rest it is said what is missing; with it the same command finishes."""
    directories = ",".join(map(str, disks))
    done = zygote.run("dump", region.glance.url, "a.gla", "--spread", directories, "--json", **STEPS)
    assert done.code == 0, done.stderr
    lost, *others = disks[2], disks[0], disks[1]
    with glancearchive.open(*others) as archive:
        whole = {image.id for image in archive if image.status == "complete" and not image.faults()}
        missing = {number: f"volume {number} ({name})" for number, name in archive.missing_volumes.items()}
    assert set() < whole < region.data.keys()
    assert missing == {number: f"volume {number} (a.{number:03}.gla)" for number in missing}
    first = zygote.run("load", target.url, others[1], "--with", others[0], "--json", **STEPS)
    assert first.code == 1, first.stderr
    assert target.client().images().keys() == whole, first.stderr
    held = [image for image in first.json["images"] if image["id"] not in whole]
    assert held
    for image in held:
        assert image["action"] == "held"
        assert any(name in image["reason"] for name in missing.values())
    assert zygote.run("list", others[1], "--with", others[0], "--json").code == 1
    verified = zygote.run("verify", others[0], "--with", others[1], "--json")
    assert verified.code == 1
    assert {one["id"] for one in verified.json["images"] if one["status"] == "valid"} == whole
    assert {one["status"] for one in verified.json["images"] if one["id"] not in whole} == {"held"}
    extracted = zygote.run("extract", others[0], "--with", others[1], "-o", f"{tmp_path / 'out'}/", "--json")
    assert extracted.code == 1
    assert {one["id"] for one in extracted.json["images"] if one["status"] == "extracted"} == whole
    second = zygote.run("load", target.url, lost, "--with", others[0], "--with", others[1], "--json", **STEPS)
    assert second.code == 0, second.stderr
    assert_loaded(target, region)
