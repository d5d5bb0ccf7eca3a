from __future__ import annotations

import hashlib
import io
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

import glancearchive
from glancearchive.errors import ImageError, LocalError
from glancearchive.format.compression import LEVELS
from glancearchive.format.content import CHUNK
from glancearchive.format.header import RecordType
from glancearchive.format.padding import padding_bound
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.volume import Volume
from glancearchive.format.writer import ArchiveWriter
from glancearchive.zeros import are_zeros
from tests.format.samples import BLOCK, Sample, add, random_image, tiny_archive


def random_archive(path: Path, seed: int, *, interval: float = 5.0, images: int = 5, **options: object) -> Sample:
    rng = random.Random(seed)
    pool = rng.randbytes(1 << 20)
    sample = Sample(path, {f"image-{n}": random_image(rng, pool, rng.randrange(25)) for n in range(images)})
    writer = ArchiveWriter(path, interval=interval, **options)  # type: ignore[arg-type]
    for image_id, data in sample.data.items():
        add(writer, image_id, data, step=rng.randrange(1, 300_000))
    sample.root = writer.finish()
    return sample


def check(sample: Sample) -> None:
    with glancearchive.open(sample.path) as archive:
        assert archive.finished
        assert not archive.faults
        assert archive.root_digest == sample.root
        assert {image.id for image in archive} >= sample.data.keys()
        for image_id, data in sample.data.items():
            (image,) = archive.find(image_id)
            assert image.size == len(data)
            assert b"".join(image.content().chunks()) == data
        report = glancearchive.verify(archive, glancearchive.Depth.GLANCE)
        assert [str(damage.fault) for damage in report.damage] == []


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("interval", [5.0, 0.0])
def test_what_goes_in_comes_out(tmp_path: Path, seed: int, interval: float) -> None:
    check(random_archive(tmp_path / "a.gla", seed, interval=interval))


@pytest.mark.parametrize("level", LEVELS)
def test_levels(tmp_path: Path, level: str) -> None:
    check(random_archive(tmp_path / "a.gla", 1, level=level))


@pytest.mark.parametrize("block_size", [4096, 16384, 65536])
def test_block_sizes(tmp_path: Path, block_size: int) -> None:
    check(random_archive(tmp_path / "a.gla", 1, block_size=block_size))


def test_tiny_and_reopened_by_name(tmp_path: Path) -> None:
    sample = tiny_archive(tmp_path)
    check(sample)
    with glancearchive.open(sample.path) as archive:
        (queued,) = archive.find("queued")
        assert (queued.status, queued.reason, queued.size) == ("no-data", "queued", None)
        with pytest.raises(ImageError, match="has no data here: queued"):
            queued.open()
        assert [image.id for image in archive.find("name of one")] == ["one"]
        assert archive.find("nothing") == []


def test_seeking(tmp_path: Path) -> None:
    sample = random_archive(tmp_path / "a.gla", 3)
    rng = random.Random(4)
    with glancearchive.open(sample.path) as archive:
        for image_id, data in sample.data.items():
            with archive.find(image_id)[0].open() as file:
                for _ in range(50):
                    begin, length = rng.randrange(len(data) + 10), rng.randrange(200_000)
                    assert file.seek(begin) == begin
                    assert file.read(length) == data[begin : begin + length]
                assert file.seek(0, io.SEEK_END) == len(data)
                assert file.read() == b""
                with pytest.raises(io.UnsupportedOperation):
                    file.write(b"x")


def test_chunks_from_anywhere(tmp_path: Path) -> None:
    sample = random_archive(tmp_path / "a.gla", 5)
    with glancearchive.open(sample.path) as archive:
        for image_id, data in sample.data.items():
            content = archive.find(image_id)[0].content()
            for begin in {0, 1, BLOCK - 1, BLOCK, len(data) // 2, len(data)}:
                if begin <= len(data):
                    assert b"".join(content.chunks(begin)) == data[begin:]


def test_chunks_keep_no_frames(tmp_path: Path) -> None:
    """Each piece of one would keep it in memory whole, for as long as the piece waits somewhere."""
    data = random.Random(5).randbytes(3 * CHUNK) + bytes(2 * CHUNK) + b"end"
    writer = ArchiveWriter(tmp_path / "a.gla")
    add(writer, "image", data)
    writer.finish()
    with glancearchive.open(tmp_path / "a.gla") as archive:
        (image,) = archive
        chunks = list(image.content().chunks())
        assert [len(chunk) for chunk in chunks] == [*[CHUNK] * 5, 3]
        assert [are_zeros(chunk) for chunk in chunks] == [False, False, False, True, True, False]
        assert all(isinstance(chunk, bytes) or are_zeros(chunk) for chunk in chunks)


def test_several_threads_write_several_images(tmp_path: Path) -> None:
    rng = random.Random(7)
    pool = rng.randbytes(1 << 20)
    sample = Sample(tmp_path / "a.gla", {f"i{n}": random_image(rng, pool, 30) for n in range(8)})
    writer = ArchiveWriter(sample.path, interval=0.0)
    barrier = threading.Barrier(8)

    def put(item: tuple[str, bytes]) -> None:
        barrier.wait()
        add(writer, *item, step=50_000)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, sample.data.items()))
    sample.root = writer.finish()
    check(sample)


@pytest.mark.parametrize(("level", "batch"), [("default", 16 << 20), ("smallest", 8 << 20)])
def test_images_written_in_turns_do_not_alternate_in_frames(tmp_path: Path, level: str, batch: int) -> None:
    """What comes together of one image; of large frames it is less, which would take too much memory with them."""
    data = {name: random.Random(name).randbytes(2 * batch) for name in ("a", "b")}
    sample = Sample(tmp_path / "a.gla", data)
    writer = ArchiveWriter(sample.path, level=level, interval=1e9)
    images = {name: writer.begin(name, {"id": name}) for name in data}
    for at in range(0, 2 * batch, 1 << 20):
        for name, image in images.items():
            image.write(data[name][at : at + (1 << 20)])
    for name, image in images.items():
        image.finish({"sha512": hashlib.sha512(data[name]).hexdigest()}, "sha512")
    sample.root = writer.finish()
    check(sample)
    blocks = batch // BLOCK
    with glancearchive.open(sample.path) as archive:
        archive.load_extents()
        found = {image.id: image.entry.extents()[0].tolist() for image in archive}
    assert found == {"a": [[0, blocks], [2 * blocks, blocks]], "b": [[blocks, blocks], [3 * blocks, blocks]]}


def test_same_block_is_stored_once(tmp_path: Path) -> None:
    rng = random.Random(8)
    block = rng.randbytes(BLOCK)
    writer = ArchiveWriter(tmp_path / "a.gla")
    add(writer, "a", block * 1000)
    add(writer, "b", rng.randbytes(BLOCK) + block * 500 + block[:100])
    writer.finish()
    with glancearchive.open(tmp_path / "a.gla") as archive:
        # The block, b's first one, and b's last one, which is cut short and so another block.
        assert sum(frame.blocks for frame in archive.catalog.frames) == 3


def test_zeros_cost_nothing(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla")
    image = writer.begin("zeros", {"id": "zeros"})
    zeros = bytes(1 << 20)
    digest = hashlib.sha512()
    for _ in range(300):
        image.write(zeros)
        digest.update(zeros)
    image.finish({"sha512": digest.hexdigest()}, "sha512")
    writer.finish()
    assert (tmp_path / "a.gla").stat().st_size < 3000 + padding_bound(0)
    with glancearchive.open(tmp_path / "a.gla") as archive:
        assert len(archive.catalog.frames) == 0
        assert archive.images[0].size == 300 << 20
        assert [segment.length >> 20 for segment in archive.images[0].content().segments()] == [256, 44]


def test_a_failed_attempt_does_not_hide_an_image(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla")
    add(writer, "x", b"first")
    add(writer, "x", b"second")
    again = writer.begin("x", {"id": "x"})
    again.write(b"third" * 5000)
    again.give_up("the connection was cut")
    writer.finish()
    with glancearchive.open(tmp_path / "a.gla") as archive:
        assert len(archive) == 1
        assert archive.images[0].open().read() == b"second"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.gla"
    path.write_bytes(b"mine")
    with pytest.raises(LocalError, match="exists already"):
        ArchiveWriter(path)
    path.unlink()
    writer = ArchiveWriter(path)
    path.write_bytes(b"mine")
    with pytest.raises(LocalError, match="appeared meanwhile"):
        writer.finish()
    writer.close()
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("image_id", ["", "../x", "a/b", ".x", "-x", "x" * 129, "a b", "ü", "a\n"])
def test_ids_that_are_no_file_names(tmp_path: Path, image_id: str) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla")
    with pytest.raises(ValueError, match="not allowed as an id"):
        writer.begin(image_id, {})
    writer.close()


def test_metadata_that_cannot_be_recorded(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla")
    for metadata in ({"x": "y" * (5 << 20)}, {"x": 2**70}, {"x": "\udc80"}):
        with pytest.raises(ValueError, match=r".+"):
            writer.begin("x", metadata)
    add(writer, "x", b"data")
    writer.finish()
    with glancearchive.open(tmp_path / "a.gla") as archive:
        assert len(archive) == 1


def test_many_tiny_images_in_few_records(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla", clock=lambda: 0.0)
    for number in range(3000):
        add(writer, f"image-{number}", f"data {number}".encode() * 3)
    writer.finish()
    with glancearchive.open(tmp_path / "a.gla") as archive:
        assert len(archive) == 3000
        assert archive.find("image-2999")[0].open().read() == b"data 2999" * 3
    volume = Volume(tmp_path / "a.gla")
    kinds = [step.header.type for step in VolumeScan(volume, archive.archive_id, 1, None, Position()) if step.header]
    volume.close()
    assert kinds.count(RecordType.CHECKPOINT) < 5


def test_an_unfinished_archive_says_so_and_gives_what_it_has(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla")
    add(writer, "done", b"done" * 5000)
    writer.commit()
    half = writer.begin("half", {"id": "half"})
    half.write(random.Random(1).randbytes(3 * BLOCK))
    writer.commit()
    writer.close()
    with pytest.raises(LocalError, match="is not finished"):
        glancearchive.open(tmp_path / "a.gla")
    with glancearchive.open(tmp_path / "a.gla.part") as archive:
        assert not archive.finished
        assert archive.root_digest is None
        assert "never finished" in str(archive.faults[0])
        assert {image.id: image.status for image in archive} == {"done": "complete", "half": "unfinished"}
        assert archive.find("done")[0].open().read() == b"done" * 5000
        with pytest.raises(ImageError, match="unfinished"):
            archive.find("half")[0].content()


def test_damaged_blocks_are_not_used_again(tmp_path: Path) -> None:
    """Going on with an archive whose frames were damaged meanwhile: what shares their blocks is stored anew."""
    rng = random.Random(9)
    first, second = rng.randbytes(300_000), rng.randbytes(300_000)
    writer = ArchiveWriter(tmp_path / "a.gla")
    for image_id, data in (("a", first), ("b", second)):
        add(writer, image_id, data)
        writer.commit()
    writer.close()
    part = tmp_path / "a.gla.part"
    with glancearchive.open(part) as archive:
        frame = next(iter(archive.catalog.frames))
    with part.open("r+b") as file:
        file.seek(frame.offset + 5000)
        byte = file.read(1)
        file.seek(-1, io.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    writer = ArchiveWriter(tmp_path / "a.gla")
    add(writer, "again", first)
    add(writer, "both", second[:100_000] + first)
    writer.finish()
    with glancearchive.open(tmp_path / "a.gla") as archive:
        report = glancearchive.verify(archive)
        assert {state.id: state.status for state in report.images} == {
            "a": "damaged",
            "b": "valid",
            "again": "valid",
            "both": "valid",
        }
        assert archive.find("both")[0].open().read() == second[:100_000] + first
        # The whole frame of b was used again, that of a was stored once more.
        assert len(archive.catalog.frames) <= 4


def test_reading_after_the_archive_was_closed(tmp_path: Path) -> None:
    sample = tiny_archive(tmp_path)
    with glancearchive.open(sample.path) as archive:
        file = archive.find("one")[0].open()
    with pytest.raises(ValueError, match="closed"):
        file.read()


def committed(part: Path) -> dict[str, int]:
    """Blocks that the checkpoints of an unfinished archive describe, by image."""
    with glancearchive.open(part) as archive:
        return {image.id: int(image.entry.extents()[0][:, 1].sum()) for image in archive}


@pytest.mark.parametrize("kind", ["zeros", "the same", "slow"])
def test_what_brings_no_full_frame_is_committed_too(tmp_path: Path, kind: str) -> None:
    """A long image of zeros or of known blocks, or one that trickles in, is committed every few seconds."""
    now = [0.0]
    rng = random.Random(3)
    writer = ArchiveWriter(tmp_path / "a.gla", interval=5.0, clock=lambda: now[0])
    image = writer.begin("x", {"id": "x"})
    pieces = {
        "zeros": lambda: bytes(1 << 20),
        "the same": lambda: b"same" * (1 << 18),
        "slow": lambda: rng.randbytes(9000),
    }
    taken = 0
    for _ in range(40):
        now[0] += 1.0
        piece = pieces[kind]()
        image.write(piece)
        taken += len(piece)
    writer.close()
    lost = taken - committed(tmp_path / "a.gla.part")["x"] * BLOCK
    assert lost <= 6 * taken / 40 + BLOCK


def test_extents_without_end_fit_into_checkpoints(tmp_path: Path) -> None:
    rng = random.Random(5)
    pool = rng.randbytes(BLOCK * 2048)
    writer = ArchiveWriter(tmp_path / "a.gla", clock=lambda: 0.0)
    add(writer, "pool", pool)
    image = writer.begin("scattered", {"id": "scattered"})
    image.write(rng.randbytes(BLOCK))  # waits in the open frame
    expected = 1
    for _ in range(200):
        order = rng.sample(range(2048), 2048)
        image.write(b"".join(pool[n * BLOCK : (n + 1) * BLOCK] for n in order))
        expected += 2048
    assert len(image.rows) * 16 <= 5 << 20
    image.finish({}, "")
    writer.finish()
    with glancearchive.open(tmp_path / "a.gla") as archive:
        assert not glancearchive.verify(archive).damage
        assert archive.find("scattered")[0].size == expected * BLOCK


def test_an_image_refused_halfway_is_failed(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla")
    image = writer.begin("x", {"id": "x"})
    image.write(random.Random(1).randbytes(5 * BLOCK))
    writer.commit()
    image.give_up("403 after a retry", "no-data")
    with pytest.raises(ValueError, match="no reason"):
        writer.begin("y", {"id": "y"}).give_up("")
    writer.begin("z", {"id": "z"}).give_up("queued", "no-data")
    with pytest.raises(ValueError, match="not ended"):
        writer.finish()
    writer._chain.live[1].give_up("left over")
    writer.finish()
    with glancearchive.open(tmp_path / "a.gla") as archive:
        assert {image.id: image.status for image in archive} == {"x": "failed", "y": "failed", "z": "no-data"}
        assert not glancearchive.verify(archive).damage


def test_metadata_that_json_does_not_have(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla")
    for metadata in ({"id": "x", "y": b"bytes"}, {"id": "other"}):
        with pytest.raises(ValueError, match="begin: "):
            writer.begin("x", metadata)
    writer.close()


def test_images_in_many_threads_lose_no_extents(tmp_path: Path) -> None:
    """Checkpoints take what other threads are about to describe; every thread switch is a chance to lose some."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for attempt in range(5):
            rng = random.Random(attempt)
            sample = Sample(tmp_path / f"{attempt}.gla")
            for n in range(4):
                pieces = [rng.choice([bytes(BLOCK), rng.randbytes(BLOCK)]) for _ in range(300)]
                sample.data[f"i{n}"] = b"".join(pieces)
            writer = ArchiveWriter(sample.path, interval=0.0)
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(partial(add, writer, step=3 * BLOCK), sample.data, sample.data.values()))
            sample.root = writer.finish()
            check(sample)
    finally:
        sys.setswitchinterval(interval)
