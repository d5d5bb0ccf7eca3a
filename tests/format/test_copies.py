"""Volumes that are at hand more than once: whatever is whole in any copy is used, in whatever order they are given."""

from __future__ import annotations

import inspect
import itertools
import random
import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

import glancearchive
from glancearchive.errors import StrangerError
from glancearchive.format.compression import LEVELS
from glancearchive.format.copies import CopiedVolume
from glancearchive.format.header import RecordType
from glancearchive.format.places import Split
from glancearchive.format.volume import Volume
from glancearchive.format.writer import ArchiveWriter
from tests.format.samples import BLOCK, add, tiny_archive
from tests.format.test_said_again import records
from tests.spec_readers import second_reader

DATA = {f"image{number}": random.Random(number).randbytes(60 * BLOCK) for number in range(4)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an archive in a few volumes; never change it."""
    directory = tmp_path_factory.mktemp("made")
    with mock.patch.dict(LEVELS, {"default": replace(LEVELS["default"], frame_size=8 * BLOCK)}):
        writer = ArchiveWriter(directory / "x.gla", split=Split(400_000), threads=1)
        for image_id, data in DATA.items():
            add(writer, image_id, data)
        writer.finish()
    assert len(list(directory.iterdir())) == 3
    return directory


@pytest.fixture
def two(made: Path, tmp_path: Path) -> list[Path]:
    """Two copies of it."""
    return [Path(shutil.copytree(made, tmp_path / name)) for name in ("a", "b")]


def flip(path: Path, begin: int, end: int) -> None:
    data = bytearray(path.read_bytes())
    data[begin:end] = bytes(byte ^ 0x55 for byte in data[begin:end])
    path.write_bytes(data)


def damage(path: Path, part: int) -> None:
    """Damage a fifth of a volume, at its front, in the middle, or at its end. No frame reaches from one to another."""
    size = path.stat().st_size
    flip(path, size * 2 * part // 5, size * (2 * part + 1) // 5)


def assert_whole(*paths: Path) -> None:
    """All images, in every order of `paths`, and no fault."""
    for first, *more in itertools.permutations(paths):
        with glancearchive.open(first, *more) as archive:
            assert archive.finished
            for depth in (glancearchive.Depth.QUICK, glancearchive.Depth.GLANCE):
                report = glancearchive.verify(archive, depth)
                assert [str(one.fault) for one in report.damage] == []
                assert {image.id: image.status for image in report.images} == dict.fromkeys(DATA, "valid")
            for image in archive:
                with image.open() as file:
                    assert file.read() == DATA[image.id]


def test_two_copies_are_no_fault(two: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    assert_whole(*two)
    assert not caplog.text
    first = two[0] / "x.001.gla"
    assert_whole(two[0], Path(f"{two[0]}/../a"))  # the same files once more
    read = second_reader([*sorted(two[0].iterdir()), first, *sorted(two[1].iterdir())])
    assert read.layers == set()


@pytest.mark.parametrize("part", range(3))
def test_a_fresh_volume_of_the_same_name(part: int, two: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    old, fresh = two
    damage(old / "x.002.gla", part)
    for path in fresh.iterdir():
        if path.name != "x.002.gla":
            path.unlink()
    assert_whole(old, fresh)
    if "read from" in caplog.text:
        assert f"; read from {fresh / 'x.002.gla'}" in caplog.text
        assert str(old / "x.002.gla") in caplog.text


@pytest.mark.parametrize("parts", [*itertools.permutations(range(3), 2)])
def test_two_copies_that_are_damaged_in_different_places(
    parts: tuple[int, int], two: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 4):
        for copy, part in zip(two, parts if number % 2 else parts[::-1], strict=True):
            damage(copy / f"x.{number:03}.gla", part)
    assert_whole(*two)
    told = caplog.text.count("read from")
    assert told, "it is told that a copy is damaged"


def test_everything_that_reads_a_volume_reads_its_copies() -> None:
    """No method of one file is left that nobody wrote for several."""
    of_one_file = {
        name
        for name, method in vars(Volume).items()
        if inspect.isfunction(method)
        and not name.startswith("_")
        and {"_file", "_read_into"} & {*method.__code__.co_names}
    }
    assert of_one_file >= {"close", "read_at", "read_payload", "find_whole"}
    assert of_one_file <= vars(CopiedVolume).keys()


@pytest.mark.parametrize("depth", [glancearchive.Depth.QUICK, glancearchive.Depth.FULL])
def test_what_is_damaged_in_all_copies_is_damaged(depth: glancearchive.Depth, two: list[Path]) -> None:
    for copy in two:
        flip(copy / "x.001.gla", 100_000, 100_001)
    flip(two[1] / "x.001.gla", 200_000, 200_001)
    with glancearchive.open(*two) as archive:
        report = glancearchive.verify(archive, depth)
        assert [one.fault.volume for one in report.damage] == [str(two[0] / "x.001.gla")]
        assert "damaged" in {image.status for image in report.images}


def test_a_copy_that_is_cut_short(two: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    cut = two[0] / "x.002.gla"
    cut.write_bytes(cut.read_bytes()[:300_000])
    assert_whole(*two)
    assert not caplog.text, "the other one is read"
    flip(two[1] / "x.002.gla", 100_000, 100_001)
    assert_whole(*two)
    assert f"read from {cut}" in caplog.text


@pytest.fixture
def grown(tmp_path: Path) -> tuple[Path, Path]:
    """An archive to which an image was added, and the copy from before that."""
    path, old = tmp_path / "y.gla", tmp_path / "old.gla"
    for step in range(2):
        if step:
            shutil.copy(path, old)
            path.rename(tmp_path / "y.gla.part")
        writer = ArchiveWriter(path)
        add(writer, f"image{step}", DATA[f"image{step}"])
        writer.finish()
    return path, old


@pytest.mark.parametrize("cut", [0, 300])
def test_an_older_copy_hides_nothing(cut: int, grown: tuple[Path, Path]) -> None:
    """What is added counts where it is damaged at its end, or never finished, and an older copy is whole."""
    path, old = grown
    if cut:
        path.write_bytes(path.read_bytes()[:-cut])
    else:
        flip(path, path.stat().st_size - 1, path.stat().st_size)
    with glancearchive.Archive([path]) as archive:
        alone = [str(one.fault) for one in glancearchive.verify(archive).damage]
        assert alone
    for order in ([path, old], [old, path]):
        with glancearchive.Archive(order) as archive:
            report = glancearchive.verify(archive)
            assert [str(one.fault) for one in report.damage] == alone
            assert {image.id: image.status for image in report.images} == {"image0": "valid", "image1": "valid"}
        assert second_reader(order).sha256.keys() == {"image0", "image1"}


def test_an_unfinished_copy_that_went_another_way(grown: tuple[Path, Path]) -> None:
    """It has an image that the finished one, which is longer, does not have: that is told."""
    path, old = grown
    part = old.rename(old.with_name("old.gla.part"))
    writer = ArchiveWriter(old)
    add(writer, "image2", DATA["image2"][: 20 * BLOCK])
    writer.commit()
    writer.close()
    assert part.stat().st_size < path.stat().st_size
    for order in ([path, part], [part, path]):
        with glancearchive.Archive(order) as archive:
            assert archive.volumes[1].path == path
            assert [(type(fault), fault.volume) for fault in archive.faults] == [(StrangerError, str(part))]
        assert second_reader(order).layers == {"volume"}


def test_records_behind_damage_are_found_in_any_copy(tmp_path: Path) -> None:
    """One copy has lost two records' headers in a row; the second of them is there in the other copy."""
    writer = ArchiveWriter(tmp_path / "z.gla", interval=0.0)
    for image_id, data in DATA.items():
        add(writer, image_id, data)
    writer.commit()
    writer.close()
    frame = records(writer.part_path, RecordType.FRAME)[2].offset
    checkpoint = next(one.offset for one in records(writer.part_path, RecordType.CHECKPOINT) if one.offset > frame)
    other = tmp_path / "z2.gla.part"
    shutil.copy(writer.part_path, other)
    for path in (writer.part_path, other):
        flip(path, frame + 20, frame + 21)
    flip(writer.part_path, checkpoint + 20, checkpoint + 21)
    for order in ([writer.part_path, other], [other, writer.part_path]):
        with glancearchive.Archive(order) as archive:
            report = glancearchive.verify(archive)
            assert {image.id: image.status for image in report.images} == dict.fromkeys(DATA, "valid")


def test_an_older_copy(tmp_path: Path) -> None:
    """One from before something was added serves as far as it goes; one that has gone another way does not."""
    path = tmp_path / "y.gla"
    for step in range(2):
        if step:
            shutil.copy(path, tmp_path / "old.gla")
            shutil.copy(path, tmp_path / "other.gla.part")
            path.rename(tmp_path / "y.gla.part")
        writer = ArchiveWriter(path)
        add(writer, f"image{step}", DATA[f"image{step}"])
        writer.finish()
    writer = ArchiveWriter(tmp_path / "other.gla")
    add(writer, "image3", DATA["image3"] + bytes(5))
    writer.finish()
    flip(path, 100_000, 100_001)
    for order in ([path, tmp_path / "old.gla"], [tmp_path / "old.gla", path]):
        with glancearchive.Archive(order) as archive:
            assert [image.id for image in archive] == ["image0", "image1"]
            assert glancearchive.verify(archive).ok
    sizes = {one: one.stat().st_size for one in (path, tmp_path / "other.gla")}
    used, unused = sorted(sizes, key=lambda one: -sizes[one])
    for order in ([used, unused], [unused, used]):
        with glancearchive.Archive(order) as archive:
            assert [str(fault) for fault in archive.faults] == [
                f"{unused}: is volume 1 of this archive too, and another one than {used}, which is used"
            ]
            assert isinstance(archive.faults[0], StrangerError)
            assert archive.volumes[1].path == used
    read = second_reader([used, unused])
    assert read.layers == {"volume", "frame"} - (set() if used == path else {"frame"})


def test_a_copy_with_the_name_of_another_volume(tmp_path: Path) -> None:
    """A wrong name is told wherever there is another file that may be the right one, and costs nothing."""
    sample = tiny_archive(tmp_path)
    copy = tmp_path / "tiny.002.gla"
    shutil.copyfile(sample.path, copy)
    with glancearchive.Archive([copy]) as archive:
        assert archive.faults == []
    with glancearchive.Archive([sample.path, copy]) as archive:
        assert [(fault.layer, fault.volume) for fault in archive.faults] == [("volume", copy.name)]
        assert {image.id: image.open().read() for image in archive if image.size is not None} == sample.data
    assert second_reader([sample.path, copy]).layers == {"volume"}
