"""Media that are full, too small, read-only, failing or gone."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from glancearchive.errors import LocalError
from tests.cloud.glance import MIB, Glance
from tests.command import contents
from tests.faults.media import ext4, faulty_disk
from tests.faults.storage import Recorder, Step
from tests.faults.subject import Images, assert_well, assert_whole, dump, several
from tests.faults.world import Region, assert_archive, assert_loaded
from tests.faults.zygote import Zygote

STEPS: dict[str, Any] = {"interval": 0.02, "frame": 1 << 18}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real ext4 of 16 MiB, mounted."""
    with ext4(tmp_path, 16) as disk:
        yield disk


@pytest.mark.parametrize("free", [0, 5 * MIB + 150_000, 9 * MIB])
def test_a_full_disk(free: int, zygote: Zygote, region: Region, small_disk: Path) -> None:
    """One line that says so; and once there is room, the same command finishes."""
    path = small_disk / "a.gla"
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        for _ in range((shutil.disk_usage(small_disk).free - free) // 1000):
            file.write(bytes(1000))
    done = zygote.run("dump", region.glance.url, path, **STEPS)
    assert (done.code, done.stdout) == (3, b"")
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not path.exists()
    committed = (small_disk / "a.gla.part").stat().st_size if (small_disk / "a.gla.part").exists() else 0
    filler.unlink()
    again = zygote.run("dump", region.glance.url, path, **STEPS)
    assert again.code == 0, again.stderr
    assert_archive(path, region)
    print(f"{free} bytes free: {committed} were written")


@pytest.mark.parametrize("limit", [300, 5 * MIB + 1])
def test_a_medium_with_a_largest_file(limit: int, zygote: Zygote, region: Region, tmp_path: Path) -> None:
    """As FAT has one: the last write is a short one."""
    path = tmp_path / "a.gla"
    done = zygote.run("dump", region.glance.url, path, largest_file=limit, **STEPS)
    assert (done.code, done.stdout) == (3, b"")
    assert "File too large" in done.stderr.splitlines()[-1]
    again = zygote.run("dump", region.glance.url, path, **STEPS)
    assert again.code == 0, again.stderr
    assert_archive(path, region)


@pytest.mark.parametrize(
    ("kinds", "number"), [(("write",), errno.ENOSPC), (("write",), errno.EIO), (("sync",), errno.EIO)]
)
def test_a_call_fails_once(kinds: tuple[str, ...], number: int, memory: Path) -> None:
    """After it nothing more is written, though it could be: what the system dropped would be missing in the middle."""
    recorder = Recorder()
    with recorder.recording():
        dump(memory / "a.gla", Images(several()))
    places = [place for place, step in enumerate(recorder.steps) if step.kind in kinds][::2]
    for place in places:
        (memory / "a.gla").unlink()
        count = 0

        def fail(step: Step, place: int = place) -> None:
            nonlocal count
            count += 1
            if count == place + 1:
                raise OSError(number, os.strerror(number))

        failing = Recorder(fail)
        with failing.recording(), pytest.raises(LocalError, match=os.strerror(number)):
            dump(memory / "a.gla", Images(several()))
        assert len(failing.steps) <= place  # and no step after it
        assert_well(dump(memory / "a.gla", Images(several())))
        assert_whole(memory / "a.gla", several())


def test_readers_of_a_read_only_medium(
    zygote: Zygote, region: Region, archive: Path, target: Glance, small_disk: Path
) -> None:
    path = small_disk / "region.gla"
    shutil.copy(archive, path)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = contents(small_disk)
    assert zygote.run("verify", path, "--glance-hash", "--uncached").code == 0
    assert zygote.run("list", path, "--json").code == 0
    assert zygote.run("extract", path, "-o", f"{small_disk.parent / 'out'}/").code == 0
    assert zygote.run("load", target.url, path).code == 0
    assert_loaded(target, region)
    for name in ("region.gla", "other.gla"):
        done = zygote.run("dump", region.glance.url, small_disk / name, "--append")
        assert done.code == 3
        assert "Read-only file system" in done.error
    assert contents(small_disk) == before


@pytest.mark.parametrize("where", [0.0, 0.3, 1.0])
def test_a_bad_sector(where: float, zygote: Zygote, archive: Path, tmp_path: Path) -> None:
    """The spot and the images that it costs are named; all others are to be had."""
    size = archive.stat().st_size
    begin = min(int(size * where), size - 4096) // 4096 * 4096
    with glancearchive.open(archive) as opened:
        names = {image.id for image in opened}
    with faulty_disk(archive.parent, tmp_path / "bad", bad=[(begin, begin + 4096)]):
        path = tmp_path / "bad" / archive.name
        done = zygote.run("verify", path, "--json")
        assert done.code == 1, done.stderr
        damage = done.json["damage"]
        assert damage
        # Looking at frames in a mapping, which no bad sector may be touched in, names the same.
        quick = zygote.run("verify", path, "--quick", "--json")
        assert (quick.code, quick.json["damage"], quick.json["images"]) == (1, damage, done.json["images"])
        lost = {image_id for one in damage for image_id in one["images"]}
        print(f"bad sector at {begin}: {[one['layer'] for one in damage]}, costs {len(lost)} images of {len(names)}")
        extracted = zygote.run("extract", path, "-o", f"{tmp_path / 'out'}/")
    # Without images nothing is left that names them; at the end are the catalogs, which are read first and told.
    assert extracted.code == (1 if lost or not done.json["images"] or where == 1.0 else 0)
    got = {file.stem for file in (tmp_path / "out").glob("*.img")}
    assert got == {image["id"] for image in done.json["images"] if image["status"] == "valid"}
    assert got >= names - lost
