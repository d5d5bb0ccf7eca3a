"""Media that do not hold what was written to them, and the memory of the system that hides it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from glancearchive.cli.readback import ReadBacks
from glancearchive.errors import LocalError
from glancearchive.format.pagecache import drop
from glancearchive.format.places import Split
from tests.archives import write_archive
from tests.cloud.images import MIB, pattern
from tests.faults.media import exfat, ext4, ext4_on, faulty_disk, loop_device
from tests.faults.zygote import Zygote
from tests.glances import metadata

SMALL: dict[str, Any] = {"frame": 1 << 18}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four image files of 3 MiB that share nothing."""
    directory = tmp_path_factory.mktemp("images")
    for number in range(4):
        (directory / f"{number}.img").write_bytes(pattern(3 * MIB, number))
    return directory


@pytest.mark.parametrize("lie", ["wrap", "drop"])
def test_a_medium_smaller_than_it_says(lie: str, zygote: Zygote, images: Path, tmp_path: Path) -> None:
    """It keeps 8 MiB and takes more: what is not there is named as verify names it."""
    (tmp_path / "kept").mkdir()
    with faulty_disk(tmp_path / "kept", tmp_path / "medium", capacity=8 * MIB, lie=lie) as medium:
        path = medium / "a.gla"
        done = zygote.run("dump", images, path, "--read-back", "--json", **SMALL)
        assert done.code == 1, done.stderr
        assert {one["action"] for one in done.json["images"]} == {"copied"}
        assert not done.json["ok"]
        found = done.json["read_back"]
        assert not found["ok"]
        assert found["cache"] == "kept"  # what the driver does nobody can know
        assert "not all may come from the medium" in done.stderr
        assert found["damage"]
        assert found["damage"] == zygote.run("verify", path, "--quick", "--json").json["damage"]
        text = zygote.run("dump", images, path, "--read-back")
        if text.code != 3:  # its end is there: nothing is done but this
            assert text.code == 1
            assert "NOT OK: the medium does not hold what was written" in text.text
            assert text.text.count("damage: ") == len(found["damage"])


def test_a_disk_smaller_than_it_says(zygote: Zygote, images: Path, tmp_path: Path) -> None:
    """The same below a real file system: the system remembers what was written, and so verify finds nothing."""
    (tmp_path / "kept").mkdir()
    with (tmp_path / "kept" / "disk.img").open("wb") as file:
        file.truncate(32 * MIB)
    with (
        faulty_disk(tmp_path / "kept", tmp_path / "medium", capacity=8 * MIB, lie="drop") as medium,
        loop_device(medium / "disk.img") as device,
        ext4_on(device, tmp_path / "disk") as disk,
    ):
        first, second = disk / "first.gla", disk / "second.gla"
        written = zygote.run("dump", images / "0.img", images / "1.img", first, "--json", **SMALL)
        assert (written.code, written.json["read_back"]) == (0, None), written.stderr
        assert zygote.run("verify", first).code == 0  # the reason for all of this
        assert zygote.run("verify", first, "--uncached").code != 0
        done = zygote.run("dump", images / "2.img", images / "3.img", second, "--read-back", "--json", **SMALL)
        assert done.code == 1, done.stderr
        assert done.json["read_back"]["cache"] == "dropped"
        assert done.json["read_back"]["damage"]


def test_a_good_disk(zygote: Zygote, images: Path, tmp_path: Path) -> None:
    with ext4(tmp_path, 32) as disk:
        path = disk / "a.gla"
        done = zygote.run("dump", images, path, "--read-back", "--json", **SMALL)
        assert done.code == 0, done.stderr
        found = done.json["read_back"]
        assert (found["ok"], found["cache"], found["damage"]) == (True, "dropped", [])
        assert found["checked"] > 12 * MIB
        text = zygote.run("dump", images, path, "--read-back")
        assert text.code == 0
        assert "ok: read back: " in text.text
        assert zygote.run("dump", images, path, "--dry-run", "--read-back", "--json").json["read_back"] is None


def test_an_increment_and_volumes(zygote: Zygote, images: Path, tmp_path: Path) -> None:
    """What lies elsewhere, as a base does, is nothing that this medium has to give back."""
    base, path = tmp_path / "base.gla", tmp_path / "away" / "a.gla"
    path.parent.mkdir()
    assert zygote.run("dump", images / "0.img", base).code == 0
    done = zygote.run("dump", images, path, "--base", base, "--read-back", "--json")
    assert done.code == 0, done.stderr
    assert (done.json["read_back"]["ok"], done.json["read_back"]["damage"]) == (True, [])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    again = zygote.run("dump", images, path, "--base", base, "--read-back", "--json")
    assert again.code == 1
    assert [one["layer"] for one in again.json["read_back"]["damage"]] == ["frame"]


def test_a_volume_before_its_medium_leaves(zygote: Zygote, images: Path, tmp_path: Path) -> None:
    """When another medium is asked for, what is finished was read back; nobody is there to answer."""
    (tmp_path / "one").mkdir()
    with ext4(tmp_path / "one", 8) as disk:
        options: list[str | Path] = ["--spread", disk, "--read-back", "--json"]
        done = zygote.run("dump", images, "a.gla", *options, **SMALL)
        assert (done.code, done.stdout) == (3, b"")
        assert "a.001.gla: the system's cache was dropped" in done.stderr
        assert "another medium is needed" in done.error
        (tmp_path / "two").mkdir()
        options[1] = f"{disk},{tmp_path / 'two'}"
        done = zygote.run("dump", images, "a.gla", *options, **SMALL)
        assert done.code == 0, done.stderr
        assert done.json["read_back"]["checked"] > 12 * MIB


def test_media_that_have_left(tmp_path: Path) -> None:
    """Each volume is read back once, while it is there."""
    paths = [tmp_path / f"{number}.gla" for number in (1, 2, 3)]
    for path in paths[:2]:
        write_archive(path, (metadata(path.name.encode()), path.name.encode()))
    reads = ReadBacks(True, quiet=True)
    split = reads.before_leaving(Split(another=lambda message: Path(message)), lambda: paths[:1])
    assert split.another("where to") == Path("where to")
    assert reads.result is not None
    first = reads.result.report.checked
    assert first >= paths[0].stat().st_size
    paths[0].unlink()
    reads.read(paths)
    both = reads.result.report.checked
    assert both >= first + paths[1].stat().st_size
    reads.read(paths)
    assert reads.result.report.checked == both


def test_what_is_kept_in_memory_is_told(zygote: Zygote, images: Path, memory: Path) -> None:
    """A file system that is memory has no medium to read back from; what can be checked is checked."""
    done = zygote.run("dump", images, memory / "a.gla", "--read-back", "--json", **SMALL)
    if memory.is_relative_to("/dev/shm"):
        assert done.json["read_back"]["cache"] == "kept"
        assert "still in memory" in done.stderr
    assert (done.code, done.json["read_back"]["ok"]) == (0, True)


def test_exfat(zygote: Zygote, images: Path, tmp_path: Path) -> None:
    """A driver outside the kernel: the cache of its block device has to go as well, and does."""
    with exfat(tmp_path) as disk:
        path = disk / "A.gla"
        done = zygote.run("dump", images, path, "--read-back", "--json", **SMALL)
        assert done.code == 0, done.stderr
        assert done.json["read_back"]["cache"] == "dropped"
        assert zygote.run("verify", path, "--uncached").code == 0
        # A name that differs in case only is that archive.
        same = zygote.run("dump", images, disk / "a.GLA", "--json")
        assert same.json["complete_before"]
        assert [one.name for one in disk.iterdir()] == ["A.gla"]
        # A name that cannot be is told before anything is done.
        refused = zygote.run("dump", images, disk / "at 10:00.gla")
        assert refused.code == 3
        assert "':' cannot be in a name there" in refused.stderr
        out = zygote.run("extract", path, "-o", f"{disk / 'out'}/", "--json")
        assert out.code == 0, out.stderr
        for image in out.json["images"]:
            data = (disk / "out" / f"{image['id']}.img").read_bytes()
            assert data == (images / f"{image['name']}.img").read_bytes()
        assert {one["status"] for one in zygote.run("extract", path, "-o", disk / "out", "--json").json["images"]} == {
            "present"
        }


# The cache itself.


def test_a_system_that_does_not_drop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(MIB))
    assert drop([path]).complete
    path.read_bytes()
    monkeypatch.setattr(os, "posix_fadvise", lambda *_arguments: None)
    dropped = drop([path])
    assert not dropped.complete
    assert f"{MIB} bytes of file are still in memory" in dropped.how


def test_a_system_without_a_call_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    monkeypatch.delattr(os, "posix_fadvise")
    dropped = drop([path])
    assert not dropped.complete
    assert "this system has no call for it" in dropped.how


def test_what_cannot_be_made_durable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LocalError, match="file: cannot be made durable: Input/output error"):
        drop([path])
    with pytest.raises(LocalError, match="none: cannot be read back: No such file"):
        drop([tmp_path / "none"])
