"""Repair archives beside what they repair, without any Glance: which blocks are asked for, and what comes of them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

import glancearchive
from glancearchive.endpoints.archive_source import ArchiveSource
from glancearchive.errors import HeldError, LocalError, UsageError
from glancearchive.format.archiveheader import BaseName
from glancearchive.format.base import Base, open_base
from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.isolated import write_isolated
from glancearchive.format.needlist import NeedList
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.volume import Volume
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action
from glancearchive.operations.need import need_after_load, need_after_verify
from glancearchive.operations.patch import patch
from tests.format.samples import BLOCK, add
from tests.glances import Counter

MIB = 1 << 20


def images(seed: int) -> dict[str, bytes]:
    """Some images that share blocks, with zeros, that end within a block."""
    rng = random.Random(seed)
    shared = rng.randbytes(MIB)
    return {
        "one": rng.randbytes(MIB) + shared,
        "two": shared + bytes(MIB) + rng.randbytes(MIB + 77),
        "three": rng.randbytes(MIB // 2) + bytes(5 * BLOCK) + shared[: MIB // 2],
        "empty": b"",
    }


def write(path: Path, data: dict[str, bytes], **options: object) -> Path:
    writer = ArchiveWriter(path, source="here", **options)  # type: ignore[arg-type]
    writer._packer._level = replace(writer._packer._level, frame_size=1 << 18)
    for image_id, blob in data.items():
        add(writer, image_id, blob)
        writer.commit()
    writer.finish()
    return path


def places(path: Path, *kinds: RecordType) -> list[tuple[int, int]]:
    """The first byte of each payload of these types, and the byte after its last."""
    volume = Volume(path)
    with glancearchive.open(path) as archive:
        scan = VolumeScan(volume, archive.archive_id, 1, archive.header, Position())
        headers = [step.header for step in scan if step.header is not None]
    volume.close()
    return [(header.payload_offset, header.end) for header in headers if header.type in kinds]


def spoil(path: Path, *spots: int) -> None:
    data = bytearray(path.read_bytes())
    for spot in spots:
        data[spot] ^= 0x10
    path.write_bytes(data)


def need_of(*paths: Path) -> NeedList:
    """What verify finds to be needed; a load comes to the same."""
    with glancearchive.open(*paths) as archive:
        verified = need_after_verify(archive, glancearchive.verify(archive))
        source = ArchiveSource(archive)
        for image in source.images():
            try:
                for _ in source.read(image):
                    pass
            except HeldError:
                continue
        loaded = need_after_load(archive, source.held)
        assert loaded.images == verified.images
        assert (loaded.incomplete, loaded.known) == (verified.incomplete, verified.known)
        return NeedList.unpack(verified.pack())


def answer(source: Path, need: NeedList, path: Path) -> dict[str, Action]:
    with glancearchive.open(source) as archive:
        # One image at a time: which blocks are in which frame has to be the same each time.
        result = patch(ArchiveSource(archive), path, need, progress=Counter(), chooses=lambda _metadata: True, jobs=1)
        return {outcome.id: outcome.action for outcome in result.outcomes}


def assert_whole(data: dict[str, bytes], *paths: Path) -> None:
    with glancearchive.open(*paths) as archive:
        report = glancearchive.verify(archive, glancearchive.Depth.GLANCE)
        assert {state.id: state.status for state in report.images} == dict.fromkeys(data, "valid")
        for image in archive:
            assert b"".join(image.content().chunks()) == data[image.id]


@pytest.mark.parametrize("seed", range(12))
def test_random_damage(tmp_path: Path, seed: int) -> None:
    """Some frames and some records: whatever is lost is asked for, and only that."""
    rng, data = random.Random(seed), images(seed)
    whole = write(tmp_path / "whole.gla", data)
    damaged = tmp_path / "damaged.gla"
    damaged.write_bytes(whole.read_bytes())
    frames = places(whole, RecordType.FRAME)
    records = places(whole, RecordType.CHECKPOINT, RecordType.CATALOG, RecordType.HEADER)
    hit = rng.sample(frames, rng.randrange(1, 5)) + rng.sample(records, rng.randrange(len(records)))
    spoil(damaged, *(rng.randrange(begin, end) for begin, end in hit))
    need = need_of(damaged)
    assert answer(whole, need, tmp_path / "repair.gla").keys() >= {image.id for image in need.images}
    with glancearchive.open(tmp_path / "repair.gla") as repair:
        assert glancearchive.verify(repair).ok
        assert (
            sum(frame.blocks for frame in repair.catalog.frames)
            <= sum(count for image in need.images for _, count in image.ranges or ((0, 2 * MIB),))
            or need.incomplete
        )
    assert_whole(data, damaged, tmp_path / "repair.gla")
    assert_whole(data, tmp_path / "repair.gla", damaged)


def test_damage_in_a_base_and_in_its_increment(tmp_path: Path) -> None:
    data = images(40)
    base = write(tmp_path / "base.gla", data)
    changed = {**data, "two": data["two"][:MIB] + b"new" * 200_000, "four": random.Random(41).randbytes(MIB)}
    with open_base([base]) as opened:
        increment = write(tmp_path / "increment.gla", changed, base=opened)
    whole = write(tmp_path / "whole.gla", changed)
    assert_whole(changed, increment, base)
    spoil(base, places(base, RecordType.FRAME)[1][0] + 500)
    spoil(increment, places(increment, RecordType.FRAME)[-1][0] + 500)
    need = need_of(increment, base)
    assert "one" in {image.id for image in need.images}
    answer(whole, need, tmp_path / "repair.gla")
    assert_whole(changed, increment, base, tmp_path / "repair.gla")


def test_two_repair_archives_and_one_that_is_damaged(tmp_path: Path) -> None:
    data = images(50)
    whole = write(tmp_path / "whole.gla", data)
    damaged = tmp_path / "damaged.gla"
    damaged.write_bytes(whole.read_bytes())
    frames = places(whole, RecordType.FRAME)
    spoil(damaged, frames[0][0] + 9)
    answer(whole, need_of(damaged), tmp_path / "first.gla")
    spoil(damaged, frames[-1][0] + 9)
    need = need_of(damaged, tmp_path / "first.gla")
    assert [image.id for image in need.images] == ["three"] or "one" not in {image.id for image in need.images}
    answer(whole, need, tmp_path / "second.gla")
    assert_whole(data, damaged, tmp_path / "first.gla", tmp_path / "second.gla")
    spoil(tmp_path / "second.gla", places(tmp_path / "second.gla", RecordType.FRAME)[0][0] + 9)
    again = need_of(damaged, tmp_path / "first.gla", tmp_path / "second.gla")
    assert again.images == need.images
    with glancearchive.open(tmp_path / "second.gla") as repair:
        assert not glancearchive.verify(repair).ok
        with pytest.raises(UsageError, match="repair archive"):
            need_after_load(repair, {})


def test_a_damaged_repair_archive_makes_nothing_worse(tmp_path: Path) -> None:
    """Beside an archive that is whole again, whatever has become of it: a byte anywhere, sectors of zeros, a cut."""
    data = images(51)
    whole = write(tmp_path / "whole.gla", data)
    damaged = tmp_path / "damaged.gla"
    damaged.write_bytes(whole.read_bytes())
    frames, checkpoints = places(whole, RecordType.FRAME), places(whole, RecordType.CHECKPOINT)
    spoil(damaged, frames[0][0] + 9, frames[3][0] + 9, checkpoints[1][0] + 30, *(
        begin + 30 for begin, _ in places(whole, RecordType.CATALOG)
    ))  # fmt: skip
    repair = tmp_path / "repair.gla"
    answer(whole, need_of(damaged), repair)
    assert_whole(data, damaged, repair)
    original, rng = repair.read_bytes(), random.Random(5)
    assert len(original) > MIB
    for number in range(60):
        changed, at = bytearray(original), rng.randrange(len(original))
        if number % 3 == 0:
            changed[at] ^= 1
        elif number % 3 == 1:
            changed[at : at + 3 * BLOCK] = bytes(len(changed[at : at + 3 * BLOCK]))
        else:
            del changed[at:]
        repair.write_bytes(changed)
        with glancearchive.open(whole, repair) as archive:
            states = {state.id: state.status for state in glancearchive.verify(archive).images}
            assert states == dict.fromkeys(data, "valid"), (number, at)
            assert {image.id: b"".join(image.content().chunks()) for image in archive} == data


def test_what_a_damaged_repair_archive_still_has_is_used(tmp_path: Path) -> None:
    """Two damaged copies of one repair archive, that together have all: block by block the whole one counts."""
    data = {"one": random.Random(52).randbytes(9 * MIB), "two": random.Random(53).randbytes(5 * MIB)}
    whole = write(tmp_path / "whole.gla", data)
    damaged = tmp_path / "damaged.gla"
    damaged.write_bytes(whole.read_bytes())
    spoil(damaged, *(begin + 9 for begin, _ in places(whole, RecordType.FRAME)))
    need = need_of(damaged)
    repairs = [tmp_path / "first.gla", tmp_path / "second.gla"]
    for number, repair in enumerate(repairs):
        answer(whole, need, repair)
        found = places(repair, RecordType.FRAME)
        assert len(found) > 2
        spoil(repair, *(begin + 9 for begin, _ in found[number::2]))
    for order in (repairs, repairs[::-1]):
        with glancearchive.open(damaged, *order) as archive:
            assert {state.status for state in glancearchive.verify(archive).images} == {"valid"}
            assert {image.id: b"".join(image.content().chunks()) for image in archive} == data
    assert need_of(damaged, repairs[0]).images


def test_only_what_is_asked_for_is_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One image reads its own frames of a repair archive alone; a verification reads each of them once."""
    data = {f"image{number}": random.Random(number).randbytes(MIB) for number in range(4)}
    whole = write(tmp_path / "whole.gla", data)
    damaged, repair = tmp_path / "damaged.gla", tmp_path / "repair.gla"
    damaged.write_bytes(whole.read_bytes())
    spoil(damaged, *(begin + 9 for begin, _ in places(whole, RecordType.FRAME)))
    answer(whole, need_of(damaged), repair)
    read: list[tuple[str, int]] = []
    read_payload = Volume.read_payload

    def counted(volume: Volume, header: RecordHeader) -> memoryview:
        if header.type == RecordType.FRAME:
            read.append((volume.name, header.offset))
        return read_payload(volume, header)

    frames = len(places(repair, RecordType.FRAME))
    monkeypatch.setattr(Volume, "read_payload", counted)
    with glancearchive.open(damaged, repair) as archive:
        archive.load_extents()
        assert read == []
        (image,) = archive.find("image1")
        assert image.faults() == []
        assert {name for name, _ in read} == {"repair.gla"}
        assert 0 < len(read) <= frames // 4 + 2
        assert image.open().read() == data["image1"]
    read.clear()
    with glancearchive.open(damaged, repair) as archive:
        report = glancearchive.verify(archive)
        assert {state.status for state in report.images} == {"valid"}
    assert len(read) == len(set(read))
    assert sum(name == "repair.gla" for name, _ in read) == frames


def test_a_repair_archive_is_no_base(tmp_path: Path) -> None:
    data = images(50)
    whole = write(tmp_path / "whole.gla", data)
    damaged, repair, catalog = (tmp_path / name for name in ("damaged.gla", "repair.gla", "repair.glacat"))
    damaged.write_bytes(whole.read_bytes())
    spoil(damaged, places(whole, RecordType.FRAME)[0][0] + 9)
    answer(whole, need_of(damaged), repair)
    with glancearchive.open(repair) as archive:
        write_isolated(archive, catalog)
        base = Base(
            BaseName(bytes(16), bytes(32), 0, 0), archive.header, archive.catalog.current(), lambda: iter(()), None
        )
        assert {image.status for image in archive} == {"patch"}
        assert [base.entry(image.id) for image in archive] == [None] * len(archive)
    for paths in ([repair], [catalog], [damaged, repair]):
        with pytest.raises(UsageError, match=r"repair\.gla.*is a repair archive"):
            open_base(paths)


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    data = images(60)
    whole = write(tmp_path / "whole.gla", data)
    damaged = tmp_path / "damaged.gla"
    damaged.write_bytes(whole.read_bytes())
    spoil(damaged, *(begin + 9 for begin, _ in places(whole, RecordType.FRAME)))
    need = need_of(damaged)
    begin(whole, need, tmp_path / "r.gla")
    assert (tmp_path / "r.gla.part").exists()
    actions = answer(whole, need, tmp_path / "r.gla")
    assert Action.PRESENT in actions.values()
    assert_whole(data, damaged, tmp_path / "r.gla")


def begin(whole: Path, need: NeedList, path: Path) -> None:
    """Interrupt after the first image."""
    with glancearchive.open(whole) as archive:
        result = patch(ArchiveSource(archive), path, need, progress=Counter(), chooses=lambda _: True, jobs=1)
        next(result.outcomes)
        result.outcomes.close()  # type: ignore[attr-defined]


def test_another_need_list_for_what_was_interrupted(tmp_path: Path) -> None:
    """What the first one asked for is not taken for what the second one does."""
    data = images(61)
    whole = write(tmp_path / "whole.gla", data)
    damaged = tmp_path / "damaged.gla"
    damaged.write_bytes(whole.read_bytes())
    frames = places(whole, RecordType.FRAME)
    spoil(damaged, frames[0][0] + 9)
    first = need_of(damaged)
    begin(whole, first, tmp_path / "r.gla")
    spoil(damaged, *(one + 9 for one, _ in frames[1:]))
    assert Action.PRESENT not in answer(whole, need_of(damaged), tmp_path / "r.gla").values()
    assert_whole(data, damaged, tmp_path / "r.gla")
    begin(whole, first, tmp_path / "s.gla")
    with pytest.raises(LocalError, match="was begun as something else"):
        answer(whole, replace(first, archive_id=bytes(16)), tmp_path / "s.gla")
