"""Volumes that are at hand more than once: whatever is whole in any copy is used, in whatever order they are given."""

from __future__ import annotations

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
from glancearchive.format.places import Split
from glancearchive.format.writer import ArchiveWriter
from tests.format.samples import BLOCK, add
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
            report = glancearchive.verify(archive, glancearchive.Depth.GLANCE)
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


def test_what_is_damaged_in_all_copies_is_damaged(two: list[Path]) -> None:
    for copy in two:
        flip(copy / "x.001.gla", 100_000, 100_001)
    flip(two[1] / "x.001.gla", 200_000, 200_001)
    with glancearchive.open(*two) as archive:
        report = glancearchive.verify(archive)
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
