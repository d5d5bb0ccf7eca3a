"""Very many images, very large ones, very many blocks: no step costs more for what was there before it.

Counts of records, bytes and calls stand here in place of times; docs/scale.md has the times.
"""

from __future__ import annotations

import hashlib
import random
import tracemalloc
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import glancearchive
from glancearchive.errors import UsageError
from glancearchive.format import framedigests, growing
from glancearchive.format.header import HEADER_SIZE, RecordType
from glancearchive.format.imageparts import ImagePart
from glancearchive.format.imagewriter import ImageWriter
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.session import Account
from glancearchive.format.verifier import Depth
from glancearchive.format.volume import Volume
from glancearchive.format.writer import ArchiveWriter
from glancearchive.operations.extract import extract_to_file
from tests.command import contents, run, unchanged
from tests.format.samples import BLOCK

IMAGES = 5000
BATCH = 250  # images between two commits
TIB = 1 << 40


def metadata(rng: random.Random, number: int, sha512: str) -> dict[str, object]:
    """About what Glance says of a snapshot: 1.2 KB."""
    image_id = str(uuid.UUID(int=rng.getrandbits(128)))
    return {
        "id": image_id,
        "name": f"snapshot-of-instance-{number}",
        "owner": f"{rng.getrandbits(128):032x}",
        "checksum": f"{rng.getrandbits(128):032x}",
        "os_hash_algo": "sha512",
        "os_hash_value": sha512,
        "tags": ["nightly", f"batch-{number % 97}"],
        "created_at": "2024-03-01T00:00:00Z",
        "base_image_ref": str(uuid.UUID(int=rng.getrandbits(128))),
        **{f"hw_property_{n}": f"value {n}" for n in range(18)},
        "min_disk": 0,
        "protected": False,
    }


def put(writer: ArchiveWriter, rng: random.Random, number: int) -> str:
    data = rng.randbytes(rng.randrange(1024, 8193))
    sha512 = hashlib.sha512(data).hexdigest()
    described = metadata(rng, number, sha512)
    image = writer.begin(str(described["id"]), described)
    image.write(data)
    image.finish({"sha512": sha512}, "sha512")
    return str(described["id"])


@contextmanager
def reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Every read of a volume meanwhile: offset and size."""
    reads: list[tuple[int, int]] = []
    read_into = Volume._read_into

    def counted(volume: Volume, buffer: memoryview, offset: int) -> int:
        count = read_into(volume, buffer, offset)
        reads.append((offset, count))
        return count

    with monkeypatch.context() as patch:
        patch.setattr(Volume, "_read_into", counted)
        yield reads


Records = list[tuple[RecordType, int, int, int]]


def records(path: Path) -> Records:
    """Of each record but the end copies: type, offset, stored size and raw size."""
    volume = Volume(path)
    with glancearchive.open(path) as archive:
        found = [
            (RecordType(step.header.type), step.header.offset, step.header.stored_size, step.header.raw_size)
            for step in VolumeScan(volume, archive.archive_id, 1, None, Position())
            if step.header is not None
        ]
    volume.close()
    return sorted(set(found), key=lambda one: one[1])


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of 5,000 tiny images, committed every 250."""
    path = tmp_path_factory.mktemp("crowd") / "crowd.gla"
    rng = random.Random(1)
    writer = ArchiveWriter(path, clock=lambda: 0.0)
    for number in range(IMAGES):
        put(writer, rng, number)
        if number % BATCH == BATCH - 1:
            writer.commit()
            assert not writer._chain.live  # nothing is gone through again by the next one
    writer.finish()
    return path


@pytest.fixture(scope="module")
def crowd_records(crowd: Path) -> Records:
    return records(crowd)


def test_a_checkpoint_does_not_say_what_was_said_before(crowd_records: Records) -> None:
    checkpoints = [raw_size for kind, _, _, raw_size in crowd_records if kind is RecordType.CHECKPOINT]
    assert len(checkpoints) == IMAGES // BATCH
    assert max(checkpoints) < 1.05 * min(checkpoints)
    assert max(checkpoints) < BATCH * 2000


def test_checkpoints_look_at_what_is_new_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    take_part = ImageWriter.take_part
    monkeypatch.setattr(
        ImageWriter, "take_part", lambda image, *limits: asked.append(image.number) or take_part(image, *limits)
    )
    writer = ArchiveWriter(tmp_path / "a.gla", clock=lambda: 0.0)
    rng = random.Random(1)
    counts = []
    for number in range(600):
        put(writer, rng, number)
        if number % 50 == 49:
            writer.commit()
            counts.append(len(asked))
            asked.clear()
    writer.close()
    assert counts == [50] * 12


def test_a_large_archive_opens_with_few_reads(
    crowd: Path, crowd_records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogs = [one for one in crowd_records if one[0] is RecordType.CATALOG]
    size = crowd.stat().st_size
    with reading(monkeypatch) as reads, glancearchive.open(crowd) as archive:
        assert len(archive) == IMAGES
        assert len({image.name for image in archive}) == IMAGES
        listed = list(reads)
        found = archive.find(archive.images[IMAGES // 2].id)[0]
        assert hashlib.sha512(found.open().read()).hexdigest() == found.hashes["sha512"]
        extracted = reads[len(listed) :]
    assert len(catalogs) < 20
    # The end copy, the end record, the header record and its header; the catalogs but for those of extents.
    assert len(catalogs) - 1 <= len(listed) <= len(catalogs) + 6
    assert len(set(listed)) == len(listed)  # nothing twice
    assert sum(count for _, count in listed) < size / 10
    assert 1 <= len(extracted) <= 2  # extents and one frame


def test_opening_to_append_reads_records_and_no_data(
    crowd: Path, crowd_records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [(offset, stored) for kind, offset, stored, _ in crowd_records if kind is RecordType.FRAME]
    others = sum(stored for kind, _, stored, _ in crowd_records if kind is not RecordType.FRAME)
    part = crowd.with_name(crowd.name + ".part")
    crowd.rename(part)
    try:
        with reading(monkeypatch) as reads:
            writer = ArchiveWriter(crowd)
            assert writer.unchanged
            some = next(iter(writer._recorded.values()))
            assert some.end is not None
            assert writer.recorded(some.begin.id if some.begin else "") is some
            writer.close()
    finally:
        part.rename(crowd)
    starts = {offset + HEADER_SIZE: stored for offset, stored in frames}
    assert len(frames) > IMAGES // BATCH - 1
    assert len(reads) > len(frames)
    assert not [at for at, _ in reads if at in starts]
    headers = HEADER_SIZE * (len(crowd_records) + 2)
    assert sum(count for _, count in reads) <= others + 2 * headers


def test_memory_for_each_image(tmp_path: Path, crowd: Path) -> None:
    """The writer keeps what the catalogs will hold, compressed; a reader what the metadata take, and some."""
    writer = ArchiveWriter(tmp_path / "a.gla", clock=lambda: 0.0)
    rng = random.Random(1)
    held = []
    tracemalloc.start()
    try:
        for number in range(901):
            if number % 300 == 0:
                writer.commit()
                held.append(tracemalloc.get_traced_memory()[0])
            put(writer, rng, number)
        writer.close()
        assert (held[3] - held[1]) / 600 < 1200
        before = tracemalloc.get_traced_memory()[0]
        with glancearchive.open(crowd) as archive:
            opened = tracemalloc.get_traced_memory()[0] - before
            archive.load_extents()
            loaded = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert opened / IMAGES < 800
    assert loaded / IMAGES < 900


def test_memory_of_an_account_for_each_image(crowd: Path) -> None:
    """What verify keeps of the checkpoints, and once more of the catalogs, to hold them against one another."""
    with glancearchive.open(crowd) as archive:
        archive.load_extents()
        parts = [
            ImagePart(image.number, image.entry.begin, 0, image.entry.extents()[0], image.entry.end)
            for image in archive
        ]
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            account = Account(1, BLOCK)
            for part in parts:
                account.add_part(part)
            held = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
    assert account.has_ended(IMAGES - 1)
    assert 0 < held / IMAGES < 250


def test_verify_finds_all_of_them_and_what_damage_costs(crowd: Path, tmp_path: Path) -> None:
    with glancearchive.open(crowd) as archive:
        assert glancearchive.verify(archive).ok
        frames = list(archive.catalog.frames)
    damaged = bytearray(crowd.read_bytes())
    hit = frames[1::2]
    for frame in hit:
        damaged[frame.offset + HEADER_SIZE + 50] ^= 1
    path = tmp_path / "damaged.gla"
    path.write_bytes(damaged)
    with glancearchive.open(path) as archive:
        report = glancearchive.verify(archive)
        assert [damage.fault.layer for damage in report.damage] == ["frame"] * len(hit)
        lost = {image for damage in report.damage for image in damage.images}
        assert lost == {state.id for state in report.images if state.status == "damaged"}
        needed = {
            image.id
            for image in archive
            for start, count in image.entry.extents()[0].tolist()
            if any(start < frame.first_block + frame.blocks and frame.first_block < start + count for frame in hit)
        }
    assert lost == needed
    assert IMAGES // 3 < len(lost) < IMAGES


def test_what_verify_knows_of_blocks_goes_into_a_file(
    crowd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = []
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(framedigests, "_MEMORY", 0)
    made = framedigests.Room
    monkeypatch.setattr(framedigests, "Room", lambda *of, **more: rooms.append(made(*of, **more)) or rooms[-1])
    with glancearchive.open(crowd) as archive:
        assert glancearchive.verify(archive).ok
    assert [room.held for room in rooms] == [0]
    assert list(tmp_path.iterdir()) == []


def test_what_verify_knows_of_blocks_stays_off_the_medium(
    crowd: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless a directory was named, no file is made on the file system that the archive lies on."""
    rooms = []
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(growing, "_default_place", lambda: str(crowd.parent))
    monkeypatch.setattr(framedigests, "_MEMORY", 0)
    made = framedigests.Room
    monkeypatch.setattr(framedigests, "Room", lambda *of, **more: rooms.append(made(*of, **more)) or rooms[-1])
    with glancearchive.open(crowd) as archive:
        assert glancearchive.verify(archive).ok
    assert rooms[0].held > 0
    assert f"{crowd.parent} is on the file system of the archive" in caplog.text


def places(rng: random.Random) -> list[tuple[int, bytes]]:
    """Data scattered over 1 TiB: at which byte, and what."""
    found = [(0, b"boot" * 1000), (TIB - 5000, rng.randbytes(5000))]
    for _ in range(300):
        at = rng.randrange(1, TIB // BLOCK - 100) * BLOCK + rng.choice([0, 0, 100])
        found.append((at, rng.randbytes(rng.randrange(1, 3 * BLOCK))))
    return sorted(found)


def write_scattered(image: ImageWriter, data: list[tuple[int, bytes]]) -> None:
    at = 0
    for begin, piece in data:
        image.write_zeros(begin - at)
        image.write(piece)
        at = begin + len(piece)
    image.write_zeros(TIB - at)


def test_an_image_of_a_tebibyte(tmp_path: Path) -> None:
    """Mostly zeros: in and out in no time, and no zero is written."""
    data = places(random.Random(1))
    writer = ArchiveWriter(tmp_path / "a.gla")
    image = writer.begin("large", {"id": "large"})
    write_scattered(image, data)
    image.finish({}, "")
    writer.finish()
    stored = sum(len(piece) for _, piece in data)
    assert (tmp_path / "a.gla").stat().st_size < 2.5 * stored
    with glancearchive.open(tmp_path / "a.gla") as archive:
        assert glancearchive.verify(archive).ok
        (large,) = archive.images
        assert large.size == TIB
        with large.open() as file:
            for begin, piece in data:
                assert file.seek(begin) == begin
                assert file.read(len(piece)) == piece
            file.seek(TIB // 3)
            assert file.read(1 << 16).count(0) > (1 << 16) - 3 * BLOCK
        told: list[int] = []
        target = tmp_path / "large.img"
        try:
            extract_to_file(large, target, told.append)
        except glancearchive.LocalError as error:
            pytest.skip(f"no file of 1 TiB can be made here: {error}")
        assert sum(told) == TIB
        status = target.stat()
        assert status.st_size == TIB
        assert status.st_blocks * 512 < 10 * stored
        with target.open("rb") as file:
            for begin, piece in data:
                file.seek(begin)
                assert file.read(len(piece)) == piece


def test_an_image_of_a_tebibyte_goes_on(tmp_path: Path) -> None:
    data = places(random.Random(2))
    writer = ArchiveWriter(tmp_path / "a.gla")
    image = writer.begin("large", {"id": "large"})
    write_scattered(image, data[:100])
    writer.commit()
    writer.close()
    writer = ArchiveWriter(tmp_path / "a.gla")
    entry = writer.recorded("large")
    assert entry is not None
    image = writer.go_on(entry, None, lambda _segment: None)
    assert image.size == TIB
    image.write(b"and more")
    image.finish({}, "")
    writer.finish()
    with glancearchive.open(tmp_path / "a.gla") as archive:
        assert glancearchive.verify(archive, Depth.FULL).ok
        assert archive.images[0].size == TIB + 8


def test_an_archive_keeps_its_block_size(tmp_path: Path) -> None:
    path = tmp_path / "a.gla"
    writer = ArchiveWriter(path, block_size=16384)
    put(writer, random.Random(1), 0)
    writer.commit()
    writer.close()
    with (
        unchanged(tmp_path),
        pytest.raises(UsageError, match=r"a\.gla: has blocks of 16384 bytes, and cannot .* in blocks of 4096: leave"),
    ):
        ArchiveWriter(path, block_size=4096)
    for same in (None, 16384):
        writer = ArchiveWriter(path, block_size=same)
        assert writer.header.block_size == 16384
        writer.close()


def test_options_of_dump(tmp_path: Path) -> None:
    """Block size and index, from the command line."""
    rng = random.Random(1)
    disk, archive, other = tmp_path / "disk.img", tmp_path / "a.gla", tmp_path / "other.img"
    disk.write_bytes(rng.randbytes(300_000))
    other.write_bytes(rng.randbytes(300_000))
    index = ("--index-memory", "0", "--index-directory", tmp_path)
    assert run("dump", disk, archive, "--block-size", "64K", *index, "--json").json["ok"]
    with glancearchive.open(archive) as opened:
        assert opened.header.block_size == 65536
    before = contents(tmp_path)
    done = run("dump", disk, other, archive, "--append", "--block-size", "4K")
    assert done.code == 2
    assert "a.gla: has blocks of 65536 bytes, and cannot be gone on with in blocks of 4096" in done.error
    for wrong in (
        ("--block-size", "5K"),
        ("--index-memory", "much"),
        ("--index-directory", tmp_path / "none"),
        ("--index-directory", disk),
    ):
        assert run("dump", disk, other, archive, "--append", *wrong).code == 2
    assert contents(tmp_path) == before
    assert run("dump", disk, other, archive, "--append", "--json", *index).json["ok"]
    assert run("verify", archive).code == 0
    with glancearchive.open(archive) as opened:
        assert (len(opened), opened.header.block_size) == (2, 65536)
