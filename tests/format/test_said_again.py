"""What is said twice is not lost by one sector: catalogs behind padding, and the archive header in checkpoints."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import glancearchive
from glancearchive.errors import ArchiveError, FormatError, HeaderError, RecordError, UnsupportedError, UsageError
from glancearchive.format.header import HEADER_SIZE, RecordHeader, RecordType
from glancearchive.format.identity import SEARCHED, identify, peek_header
from glancearchive.format.openvolume import least_limit
from glancearchive.format.padding import padding_size
from glancearchive.format.places import Split
from glancearchive.format.verifier import Depth
from glancearchive.format.volume import Volume
from glancearchive.format.writer import ArchiveWriter
from tests.format.samples import BLOCK, add
from tests.spec_readers import make_vectors, second_reader

SECTOR = 4096


def images(count: int, size: int = 3 * BLOCK) -> dict[str, bytes]:
    rng = random.Random(17)
    return {f"image{number}": rng.randbytes(size) for number in range(count)}


def written(path: Path, data: dict[str, bytes], *, finish: bool = True, **options: object) -> Path:
    """An archive with a checkpoint for each image; without `finish` as a killed process leaves it."""
    writer = ArchiveWriter(path, threads=1, interval=0.0, **options)  # type: ignore[arg-type]
    for image_id, content in data.items():
        add(writer, image_id, content)
    if finish:
        writer.finish()
        return path
    writer.commit()
    writer.close()
    return writer.part_path


def records(path: Path, kind: RecordType) -> list[RecordHeader]:
    volume = Volume(path)
    archive_id = identify(volume)[1]
    found = [item[1] for item in volume.walk(archive_id) if not isinstance(item, FormatError)]
    volume.close()
    return [header for header in found if header.type == kind]


def whole(path: Path) -> dict[str, bytes]:
    """The images that come out, by id; and both readers release the same."""
    with glancearchive.Archive([path]) as archive:
        valid = {state.id for state in glancearchive.verify(archive).images if state.status == "valid"}
        found = {image.id: image.open().read() for image in archive if image.id in valid}
    assert second_reader([path]).sha256.keys() == found.keys()
    return found


def damaged(path: Path, begin: int, end: int) -> None:
    data = bytearray(path.read_bytes())
    data[begin:end] = bytes(min(end, len(data)) - begin)
    path.write_bytes(data)


# Padding.


@pytest.mark.parametrize(("offset", "size"), [(0, 4096), (1 << 20, 4096), (4 << 20, 16384), (1 << 40, 65536)])
def test_padding_grows_with_the_volume(offset: int, size: int) -> None:
    assert padding_size(offset) == size


def test_no_sector_costs_what_it_does_not_hit(tmp_path: Path) -> None:
    """Wherever it lies between the last frame and the end, also where sectors are not aligned to the file."""
    data = images(6)
    path = written(tmp_path / "a.gla", data)
    original, last = path.read_bytes(), records(path, RecordType.FRAME)[-1]
    begin, between = last.end, records(path, RecordType.PADDING)[0]
    assert records(path, RecordType.CATALOG)[0].offset - records(path, RecordType.CHECKPOINT)[-1].end > SECTOR
    for at in sorted({*range(begin, len(original), 512), between.offset - 1, between.end - SECTOR, between.end - 1}):
        damaged(path, at, at + SECTOR)
        assert whole(path) == data, at
        path.write_bytes(original)


def test_padding_in_large_archives(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gla", {"a": random.Random(1).randbytes(17 << 20)})
    assert records(path, RecordType.PADDING)[0].stored_size > 65536


def test_none_where_nothing_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gla", {})
    assert not records(path, RecordType.PADDING)


def test_in_every_session_and_volume(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gla", images(1))
    path.rename(tmp_path / "a.gla.part")  # as `dump --append` does
    written(path, {"more": b"more" * BLOCK})
    assert [header.number for header in records(path, RecordType.PADDING)] == [0, 1]
    assert second_reader([path]).layers == set()

    size = least_size(tmp_path)
    written(tmp_path / "b.gla", images(2, 900 * BLOCK), split=Split(size))
    volumes = sorted(tmp_path.glob("b.*.gla"))
    assert len(volumes) > 1
    assert [header.number for one in volumes for header in records(one, RecordType.PADDING)] == [*range(len(volumes))]
    assert second_reader(volumes).layers == set()


def least_size(directory: Path) -> int:
    writer = ArchiveWriter(directory / "least.gla")
    writer.close()
    return least_limit(writer.header)


def test_a_volume_that_was_begun_without_room_for_it(tmp_path: Path) -> None:
    """Written by a version that knew of no padding, as full as it may be: it ends without, and is not too large."""
    data = {"a": random.Random(1).randbytes(6 << 20)}
    part = written(tmp_path / "a.gla", data, finish=False, split=Split(1 << 30))
    for limit in range(part.stat().st_size, 1 << 30, 256):
        try:
            written(tmp_path / "a.gla", {}, split=Split(limit))
        except UsageError:
            continue
        break
    volume = tmp_path / "a.001.gla"
    assert volume.stat().st_size <= limit
    assert not records(volume, RecordType.PADDING)
    assert whole(volume) == data


# The header of the archive in checkpoints.


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return written(tmp_path / "a.gla", images(4), finish=False)


def header_damages(part: Path) -> Iterator[tuple[int, int]]:
    end = records(part, RecordType.HEADER)[0].end
    yield from ((at, at + 1) for at in range(0, end, 13))
    yield 0, end


def test_an_unfinished_archive_without_its_first_record(part: Path) -> None:
    original = part.read_bytes()
    damages = [one for one in header_damages(part) if any(original[slice(*one)])]
    for begin, end in damages:
        damaged(part, begin, end)
        assert whole(part) == images(4), begin
        with glancearchive.open(part) as archive:
            first = glancearchive.verify(archive, Depth.QUICK).damage[0].fault
            assert isinstance(first, HeaderError | RecordError)
            assert first.begin <= begin < first.end
        part.write_bytes(original)


def test_a_header_record_that_says_what_is_not_known(tmp_path: Path) -> None:
    """The archive is refused at once, also where its end record says otherwise."""
    tweaks = {("header", 0, "map"): make_vectors.put(hash="blake4")}
    path = tmp_path / "a.gla"
    path.write_bytes(make_vectors.base(tweaks).volumes[0])
    with pytest.raises(UnsupportedError, match="unknown hash 'blake4'"):
        glancearchive.Archive([path])
    assert second_reader([path]).layers == {"archive"}


def test_it_is_not_gone_on_with(part: Path) -> None:
    """Nor taken for one that has only just been begun, and begun anew."""
    original = part.read_bytes()
    assert len(original) < 1 << 16
    for begin, end in header_damages(part):
        damaged(part, begin, end)
        left = part.read_bytes()
        if left != original:
            with pytest.raises(FormatError, match="keep this file, take from it what can be read"):
                ArchiveWriter(part.with_suffix(""))
            assert part.read_bytes() == left
        part.write_bytes(original)


def test_what_nothing_commits_is_not_said_to_be_committed(tmp_path: Path) -> None:
    """Frames and no checkpoint, behind a damaged header record: it is refused, for it cannot be known."""
    writer = make_vectors.Writer()
    writer.image("a", make_vectors.blocks(1, 2))
    writer.frame()
    part = tmp_path / "a.gla.part"
    part.write_bytes(writer.volumes[0])
    damaged(part, 30, 31)
    with pytest.raises(FormatError, match="what follows it may have been committed: keep this file, take from it"):
        ArchiveWriter(tmp_path / "a.gla")


def test_a_bad_sector_at_the_front_of_a_large_one(tmp_path: Path) -> None:
    data = images(3, 5 << 20)
    part = written(tmp_path / "a.gla", data, finish=False)
    damaged(part, 0, SECTOR)
    assert whole(part).keys() == {"image1", "image2"}


def test_a_finished_archive_without_both_ends(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gla", images(4))
    size, begin = path.stat().st_size, records(path, RecordType.END)[0].offset
    damaged(path, 0, HEADER_SIZE)
    damaged(path, begin, size)
    assert whole(path) == images(4)


def test_a_volume_among_others(tmp_path: Path) -> None:
    """What it says of itself is known again: the one before it can be missing."""
    size = least_size(tmp_path)
    data = images(2, 900 * BLOCK)
    written(tmp_path / "b.gla", data, split=Split(size))
    second = tmp_path / "b.002.gla"
    expected = whole(second)
    damaged(second, 0, HEADER_SIZE)
    damaged(second, records(second, RecordType.END)[0].offset, second.stat().st_size)
    assert whole(second) == expected
    volume = Volume(second)
    found = peek_header(volume)
    volume.close()
    assert found is not None
    assert found.first_block > 0


def test_what_is_no_archive_is_searched_only_so_far(tmp_path: Path) -> None:
    """A record that begins beyond decides nothing; one right before it does."""
    data = written(tmp_path / "a.gla", images(1)).read_bytes()
    path = tmp_path / "b.gla"
    for begin, expected in ((SEARCHED - 1, True), (SEARCHED, False)):
        header = RecordHeader.unpack(data[:HEADER_SIZE])
        moved = RecordHeader(header.type, 1, header.archive_id, 0, begin, 1, 1, bytes(32))
        with path.open("wb") as file:
            file.seek(begin)
            file.write(moved.pack() + b"x")
        volume = Volume(path)
        if expected:
            assert identify(volume) == (1, header.archive_id)
        else:
            with pytest.raises(ArchiveError, match="near the front"):
                identify(volume)
        volume.close()
