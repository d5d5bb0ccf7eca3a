"""Archives in several volumes: a size that is never exceeded, and what any of the volumes are good for."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import glancearchive
from glancearchive.errors import ExistsError, FormatError, ImageError, LocalError, UsageError
from glancearchive.format.compression import LEVELS
from glancearchive.format.header import HEADER_SIZE, RecordHeader, RecordType
from glancearchive.format.openvolume import least_limit
from glancearchive.format.places import Split
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import find_volumes
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action
from glancearchive.operations.reslice import reslice
from tests.format.samples import BLOCK, add
from tests.spec_readers import second_reader

FRAME = 2 * BLOCK


@pytest.fixture(autouse=True)
def small_frames() -> Iterator[None]:
    with mock.patch.dict(LEVELS, {"default": replace(LEVELS["default"], frame_size=FRAME)}):
        yield


def least(path: Path) -> int:
    """The least size of volumes."""
    writer = ArchiveWriter(path / "least.gla")
    size = least_limit(writer.header)
    writer.finish()
    (path / "least.gla").unlink()
    return size


def volumes(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.gla"))


def mixed(rng: random.Random, count: int) -> dict[str, bytes]:
    """Images with zeros, with blocks of one another in any order, of odd size, empty, with many extents."""
    data: dict[str, bytes] = {}
    pool = [rng.randbytes(BLOCK) for _ in range(8)]
    for number in range(count):
        kind = rng.choice(["fresh", "pieces", "mixed", "zeros", "empty"])
        blocks = rng.randrange(1, 40)
        if kind == "fresh":
            data[f"image{number}"] = rng.randbytes(blocks * BLOCK + rng.randrange(BLOCK))
        elif kind == "pieces":
            data[f"image{number}"] = b"".join(rng.choice(pool) for _ in range(blocks * 10))
        elif kind == "mixed":
            choices = [rng.choice([bytes(BLOCK), rng.choice(pool), rng.randbytes(BLOCK)]) for _ in range(blocks)]
            data[f"image{number}"] = b"".join(choices)
        else:
            data[f"image{number}"] = bytes(blocks * BLOCK) if kind == "zeros" else b""
    return data


def write(
    path: Path, data: dict[str, bytes], size: int, rng: random.Random | None = None, local: bool = False, **options: Any
) -> None:
    writer = ArchiveWriter(path, split=Split(size, local_dedup=local), threads=1, **options)
    for image_id, content in data.items():
        more = {"text": rng.randbytes(rng.randrange(2000)).hex()} if rng and rng.random() < 0.3 else {}
        add(writer, image_id, content, **more)
    writer.finish()


def assert_holds(path: Path, data: dict[str, bytes]) -> None:
    read = second_reader(find_volumes(path))
    assert read.layers == set()
    assert read.sha256 == {image_id: hashlib.sha256(content).hexdigest() for image_id, content in data.items()}
    with glancearchive.open(path) as archive:
        assert archive.finished
        assert [str(one.fault) for one in glancearchive.verify(archive, glancearchive.Depth.GLANCE).damage] == []
        assert [image.id for image in archive] == list(data)
        for image in archive:
            assert image.open().read() == data[image.id], image.id


@pytest.mark.parametrize("interval", [0.0, 5.0])
@pytest.mark.parametrize("seed", range(10))
def test_no_volume_is_larger(seed: int, interval: float, tmp_path: Path) -> None:
    rng = random.Random(f"{seed} {interval}")
    data = mixed(rng, 12)
    size = least(tmp_path) + rng.randrange(60_000)
    write(tmp_path / "x.gla", data, size, rng, interval=interval)
    found = volumes(tmp_path)
    assert [one.name for one in found] == [f"x.{number:03}.gla" for number in range(1, len(found) + 1)]
    assert all(one.stat().st_size <= size for one in found)
    assert_holds(found[-1], data)
    # Nearly full they are too: a frame and what is kept for records of images is all that may be left.
    assert len(found) == 1 or min(one.stat().st_size for one in found[:-1]) > size - 60_000


def test_several_threads(tmp_path: Path) -> None:
    """Images that go on side by side through many volumes."""
    data = {f"image{number}": random.Random(number).randbytes(40 * BLOCK + number) for number in range(8)}
    size = least(tmp_path) + 20_000
    writer = ArchiveWriter(tmp_path / "x.gla", split=Split(size), interval=0.0)
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(add, writer, image_id, content) for image_id, content in data.items()]:
            future.result()
    writer.finish()
    assert max(one.stat().st_size for one in volumes(tmp_path)) <= size
    with glancearchive.open(tmp_path / "x.gla") as archive:
        assert [str(one.fault) for one in glancearchive.verify(archive, glancearchive.Depth.GLANCE).damage] == []
        assert {image.id: image.open().read() for image in archive} == data


def test_every_size(tmp_path: Path) -> None:
    """Sizes a byte apart, so that each border of records is met."""
    data = {"one": random.Random(1).randbytes(55 * BLOCK), "two": random.Random(2).randbytes(9 * BLOCK)}
    begin = least(tmp_path) + 10_000
    counts = set()
    for size in range(begin, begin + 9_000, 97):
        write(tmp_path / "x.gla", data, size)
        found = volumes(tmp_path)
        counts.add(len(found))
        assert max(one.stat().st_size for one in found) <= size
        with glancearchive.open(found[0]) as archive:
            assert glancearchive.verify(archive).ok
            assert archive.find("two")[0].open().read() == data["two"]
        for one in found:
            one.unlink()
    assert len(counts) > 1


# Any of the volumes.


def test_any_subset(tmp_path: Path) -> None:
    """Every image that has all its bytes at hand is to be had; of the others it is said which volume is missing."""
    rng = random.Random(3)
    data = {f"image{number}": rng.randbytes(rng.randrange(1, 22) * BLOCK) for number in range(12)}
    data["shares"] = data["image1"] + data["image6"]
    write(tmp_path / "x.gla", data, least(tmp_path) + 20_000, interval=0.0)
    found = volumes(tmp_path)
    assert 4 <= len(found) <= 9
    with glancearchive.open(tmp_path / "x.gla") as archive:
        needed = {image.id: {frame.volume for frame, _, _ in image.frames()} for image in archive}
        described = {image.id: image.entry.seen for image in archive}
    assert any(len(numbers) > 2 for numbers in needed.values())
    for subset in range(1, 2 ** len(found)):
        numbers = {number for number in range(1, len(found) + 1) if subset >> (number - 1) & 1}
        order = rng.sample(sorted(numbers), len(numbers))
        with glancearchive.Archive([found[number - 1] for number in order]) as archive:
            missing = set(range(1, max(numbers) + 1)) - numbers
            missing |= {max(numbers) + 1} - {len(found) + 1}
            assert archive.missing_volumes == {number: f"x.{number:03}.gla" for number in missing}
            assert archive.finished == (len(found) in numbers)
            assert all(image.id in needed for image in archive)
            for image in archive:
                lines = image.faults()
                if image.status == "complete" and needed[image.id] <= numbers:
                    assert lines == []
                    assert image.open().read() == data[image.id]
                    continue
                said = "; ".join(lines)
                if image.status == "unfinished":
                    assert "how it goes on" in said
                assert "not at hand" in said
                with pytest.raises(ImageError, match="not at hand"):
                    image.open()
                named = {number for number in range(1, 10) if f"volume {number} (x.{number:03}.gla)" in said}
                assert named <= missing
                if image.status == "complete":  # exactly what is missing is named
                    assert needed[image.id] - numbers <= named
                    assert max(named) <= max(described[image.id]), "nothing is said of an image after its end"
                    assert "described" in said or named == needed[image.id] - numbers
    with glancearchive.Archive(found[:-1]) as archive:
        (fault,) = archive.faults
        assert "it and those that may follow it may have images that are not known here" in str(fault)
        unfinished = [image for image in archive if image.status == "unfinished"]
        assert unfinished
    with glancearchive.Archive([found[0], *found[2:-1]]) as archive:
        for image in archive:
            said = "; ".join(image.faults())
            if image.status == "unfinished" and image.entry.seen[1] > 2:
                assert "(x.002.gla)" not in said, "it was met after that"
    with glancearchive.Archive([found[1]]) as archive:
        held = {state.id: state.status for state in glancearchive.verify(archive).images}
    assert set(held.values()) <= {"valid", "held", "unfinished"}


def test_a_volume_that_is_cut_short_is_named_by_what_it_costs(tmp_path: Path) -> None:
    """What was finished once is not taken for what an interrupted dump has left."""
    rng = random.Random(5)
    data = {f"image{number}": rng.randbytes(rng.randrange(1, 22) * BLOCK) for number in range(12)}
    write(tmp_path / "x.gla", data, least(tmp_path) + 20_000, interval=0.0)
    found = volumes(tmp_path)
    cut = found[len(found) // 2]
    with glancearchive.open(tmp_path / "x.gla") as archive:
        number = next(one for one, volume in archive.volumes.items() if volume.path == cut)
        needs = {image.id for image in archive if number in {frame.volume for frame, _, _ in image.frames()}}
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    with glancearchive.open(tmp_path / "x.gla") as archive:
        report = glancearchive.verify(archive)
        held = [image for image in report.images if image.status != "valid"]
        assert needs >= {image.id for image in held} > set()
        assert {image.status for image in held} == {"damaged"}
        assert all(cut.name in image.reason for image in held), held
        assert not report.lacking


def test_volumes_in_several_directories(tmp_path: Path) -> None:
    data = {"one": random.Random(1).randbytes(70 * BLOCK)}
    write(tmp_path / "x.gla", data, least(tmp_path) + 10_000)
    found = volumes(tmp_path)
    assert len(found) > 2
    disks = [tmp_path / f"disk{number}" for number in range(len(found))]
    for disk, volume in zip(disks, found, strict=True):
        disk.mkdir()
        volume.rename(disk / volume.name)
    for first, *more in (disks, disks[::-1], [disks[1] / found[1].name, *disks[:1], *disks[2:]]):
        with glancearchive.open(first, *more) as archive:
            assert archive.faults == []
            assert archive.images[0].open().read() == data["one"]
    write(disks[0] / "other.gla", data, least(tmp_path) + 10_000)
    with pytest.raises(LocalError, match="several archives"):
        glancearchive.open(disks[0])
    with glancearchive.open(disks[1], disks[0], *disks[2:]) as archive:  # those of its name
        assert archive.faults == []


# Going on.


def test_going_on_needs_all_volumes(tmp_path: Path) -> None:
    data = {"one": random.Random(1).randbytes(70 * BLOCK), "two": random.Random(2).randbytes(9 * BLOCK)}
    size = least(tmp_path) + 10_000
    writer = ArchiveWriter(tmp_path / "x.gla", split=Split(size))
    add(writer, "one", data["one"])
    writer.commit()
    writer.close()
    found = volumes(tmp_path)
    assert len(found) > 2
    found[1].rename(aside := tmp_path / "aside")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FormatError, match=r"x\.002\.gla: volume 2 is missing"):
        ArchiveWriter(tmp_path / "x.gla", split=Split(size))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    aside.rename(found[1])
    for wrong in (1000, found[0].stat().st_size // 4):
        with pytest.raises(UsageError, match=r"least|larger"):
            ArchiveWriter(tmp_path / "x.gla", split=Split(wrong))
    again = ArchiveWriter(tmp_path / "x.gla", split=Split(size))
    assert again.recorded("one") is not None
    add(again, "two", data["two"])
    again.finish()
    assert_holds(tmp_path / "x.gla", data)
    with pytest.raises(ExistsError):
        ArchiveWriter(tmp_path / "x.gla", split=Split(size))


def test_an_earlier_volume_that_is_damaged(tmp_path: Path) -> None:
    size = least(tmp_path) + 10_000
    writer = ArchiveWriter(tmp_path / "x.gla", split=Split(size))
    add(writer, "one", random.Random(1).randbytes(70 * BLOCK))
    writer.commit()
    writer.close()
    damaged = bytearray(volumes(tmp_path)[0].read_bytes())
    with closing(Volume(volumes(tmp_path)[0])) as volume:
        archive_id = RecordHeader.unpack(bytes(damaged[:HEADER_SIZE])).archive_id
        headers = [item[1] for item in volume.walk(archive_id) if not isinstance(item, FormatError)]
    damaged[next(one.offset for one in headers if one.type == RecordType.CHECKPOINT) + HEADER_SIZE + 20] ^= 1
    volumes(tmp_path)[0].write_bytes(damaged)
    with pytest.raises(FormatError, match=r"x\.001\.gla"):
        ArchiveWriter(tmp_path / "x.gla", split=Split(size))


def test_metadata_that_no_volume_would_hold(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "x.gla", split=Split(least(tmp_path)))
    with pytest.raises(ValueError, match="bytes of metadata, the limit is"):
        writer.begin("one", {"id": "one", "text": "x" * 60_000})
    writer.begin("one", {"id": "one"}).give_up("y" * 50_000)
    writer.finish()
    with glancearchive.open(tmp_path / "x.gla") as archive:
        assert glancearchive.verify(archive).images[0].status == "failed"
        assert len(archive.images[0].reason) == 1000


def test_dedup_within_a_volume(tmp_path: Path) -> None:
    """What is shared with a volume before is stored again: an image that is begun in a volume needs that alone."""
    shared = random.Random(0).randbytes(3 * BLOCK)
    data = {f"image{number}": shared + random.Random(number + 1).randbytes(5 * BLOCK) for number in range(12)}
    size = least(tmp_path) + 40_000
    needed = {}
    for local in (False, True):
        write(tmp_path / "x.gla", data, size, local=local, interval=0.0)
        assert_holds(tmp_path / "x.gla", data)
        with glancearchive.open(tmp_path / "x.gla") as archive:
            needed[local] = [len({frame.volume for frame, _, _ in image.frames()}) for image in archive]
        for one in volumes(tmp_path):
            one.unlink()
    assert sum(count > 1 for count in needed[True]) < sum(count > 1 for count in needed[False])
    assert max(needed[True]) <= 2  # those that lie across a border


@pytest.mark.parametrize("at_the_end_of_a_volume", [False, True])
def test_going_on_deduplicates_within_a_volume_too(at_the_end_of_a_volume: bool, tmp_path: Path) -> None:
    """A dump that was interrupted after any image puts all where the uninterrupted one does."""
    shared = random.Random(0).randbytes(3 * BLOCK)
    data = {f"image{number}": shared + random.Random(number + 1).randbytes(5 * BLOCK) for number in range(12)}
    split = Split(least(tmp_path) + 40_000, local_dedup=True)
    placed = []
    for interrupted in (False, True):
        path = tmp_path / f"{interrupted}.gla"
        writer = ArchiveWriter(path, split=split, threads=1)
        for image_id, content in data.items():
            add(writer, image_id, content)
            writer.commit()
            if interrupted:
                writer.close()
                under_way = writer.part_path
                if at_the_end_of_a_volume:
                    under_way = end_volume(path, split)
                assert under_way.exists()
                writer = ArchiveWriter(path, split=split, threads=1)
            elif at_the_end_of_a_volume:
                writer._chain._next_volume()
        writer.finish()
        assert_holds(path, data)
        with glancearchive.open(path) as archive:
            placed.append([(frame.volume, frame.first_block, frame.payload_digest) for frame in archive.catalog.frames])
    assert placed[0] == placed[1]
    assert len({volume for volume, _, _ in placed[0]}) > 2


def end_volume(path: Path, split: Split) -> Path:
    """End the volume under way, and be interrupted before another one begins. Its name."""
    writer = ArchiveWriter(path, split=split, threads=1)
    writer._chain._volume.end(final=False)
    writer._chain._volume.give_name()
    writer.close()
    return writer._chain._volume.path


@pytest.mark.parametrize("begun", [False, True])
def test_a_finished_volume_that_lost_its_name(begun: bool, tmp_path: Path) -> None:
    """A system that breaks down may forget a renaming that was not durable, and not what was done after it."""
    data = {"one": random.Random(1).randbytes(70 * BLOCK), "two": random.Random(2).randbytes(9 * BLOCK)}
    split = Split(least(tmp_path) + 10_000)
    writer = ArchiveWriter(tmp_path / "x.gla", split=split)
    add(writer, "one", data["one"])
    writer.commit()
    writer.close()
    found = volumes(tmp_path)
    for one in found[:2]:
        one.rename(f"{one}.part")
    if not begun:
        writer.part_path.write_bytes(b"")  # of the next volume there is only the name
    writer = ArchiveWriter(tmp_path / "x.gla", split=split)
    assert volumes(tmp_path) == found
    if begun:  # else there is an image to go on with
        add(writer, "two", data["two"])
        writer.finish()
        assert_holds(tmp_path / "x.gla", data)
    writer.close()


def test_an_earlier_volume_that_is_not_finished(tmp_path: Path) -> None:
    split = Split(least(tmp_path) + 10_000)
    writer = ArchiveWriter(tmp_path / "x.gla", split=split)
    add(writer, "one", random.Random(1).randbytes(70 * BLOCK))
    writer.commit()
    writer.close()
    first = volumes(tmp_path)[0]
    part = first.rename(f"{first}.part")
    part.write_bytes(part.read_bytes()[:-200])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FormatError, match=r"x\.001\.gla\.part"):
        ArchiveWriter(tmp_path / "x.gla", split=split)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# Other volumes.


@pytest.mark.parametrize("sizes", [(None, 20_000), (20_000, None), (20_000, 45_000)])
def test_reslicing(sizes: tuple[int | None, int | None], tmp_path: Path) -> None:
    """The same images in other volumes; what is stored stays as it is."""
    rng = random.Random(str(sizes))
    data = mixed(rng, 12)
    splits = [None if more is None else Split(least(tmp_path) + more) for more in sizes]
    writer = ArchiveWriter(tmp_path / "x.gla", split=splits[0])
    for image_id, content in data.items():
        add(writer, image_id, content)
    writer.begin("queued", {"id": "queued"}).give_up("queued", "no-data")
    writer.finish()
    with glancearchive.open(tmp_path / "x.gla") as archive:
        before = {image.id: image.entry for image in archive}
        payloads = {frame.payload_digest for frame in archive.catalog.frames}
        done = reslice(archive, tmp_path / "y.gla", splits[1])
        assert {outcome.action for outcome in done.outcomes} == {Action.COPIED, Action.NO_DATA}
    found = sorted(tmp_path.glob("y*"))
    assert found == done.writer.volumes
    assert splits[1] is None or max(one.stat().st_size for one in found) <= (splits[1].size or 0)
    with glancearchive.open(tmp_path / "y.gla") as archive:
        assert archive.root_digest == done.root_digest
        assert glancearchive.verify(archive, glancearchive.Depth.GLANCE).ok
        assert {frame.payload_digest for frame in archive.catalog.frames} == payloads
        for image in archive:
            assert (image.entry.begin, image.entry.end) == (before[image.id].begin, before[image.id].end)
        # Each image is told of where its data end, not at the very end of the archive.
        ended = {volume: end.images for volume, end in archive.ends.items()}
        assert len(ended) < 2 or 0 < ended[1] < len(data)


def test_reslicing_is_interrupted(tmp_path: Path) -> None:
    data = {f"image{number}": random.Random(number).randbytes(9 * BLOCK) for number in range(8)}
    write(tmp_path / "x.gla", data, least(tmp_path) + 20_000)
    split = Split(least(tmp_path) + 40_000)
    for stop in (1, 3, 5, 9):
        with glancearchive.open(tmp_path / "x.gla") as archive:
            outcomes = reslice(archive, tmp_path / "y.gla", split).outcomes
            taken = [outcome for outcome, _ in zip(outcomes, range(stop), strict=False)]
            if stop < 9:
                outcomes.close()  # type: ignore[attr-defined]
                assert list(tmp_path.glob("y.*.part"))
    assert [outcome.id for outcome in taken] == list(data)
    assert {outcome.action for outcome in taken[:5]} == {Action.PRESENT}
    assert_holds(tmp_path / "y.gla", data)


def test_reslicing_what_is_not_whole(tmp_path: Path) -> None:
    """What is whole is there afterwards; of the rest it is said why not."""
    data = {f"image{number}": random.Random(number).randbytes(9 * BLOCK) for number in range(8)}
    write(tmp_path / "x.gla", data, least(tmp_path) + 20_000, interval=0.0)
    found = volumes(tmp_path)
    with glancearchive.open(*found) as archive:
        needed = {image.id: {frame.volume for frame, _, _ in image.frames()} for image in archive}
    found[1].unlink()
    with glancearchive.open(tmp_path / "x.gla") as archive:
        done = {one.id: one for one in reslice(archive, tmp_path / "y.gla", None).outcomes}
    for image_id, used in needed.items():
        if 2 not in used and image_id in done and done[image_id].action is Action.COPIED:
            continue
        assert 2 in used
        assert image_id not in done or "volume 2 (x.002.gla), which is not at hand" in done[image_id].reason
    with glancearchive.open(tmp_path / "y.gla") as archive:
        whole = [image for image in archive if image.status == "complete"]
        assert whole
        assert all(image.open().read() == data[image.id] for image in whole)
