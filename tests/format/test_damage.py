"""Every cut and every flipped bit is found, in the layer the specification names, and never changes a released byte."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import glancearchive
from glancearchive.errors import ArchiveError, FormatError, VolumeError
from glancearchive.format.header import HEADER_SIZE, SIGNATURE, SIGNATURE_AT, RecordType
from glancearchive.format.imageparts import ZEROS, ImagePart
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.verifier import Depth
from glancearchive.format.volume import Volume
from glancearchive.format.writer import ArchiveWriter
from tests.format.samples import Sample, add, tiny_archive


def layers(path: Path) -> list[str]:
    """For each byte of a whole archive the layer in which its damage has to be found."""
    volume = Volume(path)
    expected = [""] * volume.size
    with glancearchive.open(path) as archive:
        for step in VolumeScan(volume, archive.archive_id, 1, None, Position()):
            assert step.header is not None
            begin = step.header.offset if not expected[step.header.offset] else step.header.end
            expected[begin : begin + HEADER_SIZE] = ["header"] * HEADER_SIZE
            if begin == step.header.offset:
                kind = "frame" if step.header.type == RecordType.FRAME else "record"
                expected[begin + HEADER_SIZE : step.header.end] = [kind] * step.header.stored_size
    volume.close()
    assert all(expected)
    return expected


def read_all(path: Path, data: dict[str, bytes], *, whole: bool) -> tuple[glancearchive.Report | None, set[str]]:
    """Verify, and extract what can be; no image may come out changed. The report, and the ids that came out."""
    try:
        with glancearchive.open(path) as archive:
            report = glancearchive.verify(archive, threads=1)
            quick = glancearchive.verify(archive, Depth.QUICK, threads=1)
            assert quick.ok == report.ok
            released = set()
            for image in archive:
                if image.id not in data:
                    continue
                try:
                    assert b"".join(image.content().chunks()) == data[image.id]
                except FormatError:
                    continue
                released.add(image.id)
            valid = {state.id for state in report.images if state.status == "valid"}
            assert released == valid & data.keys()
            if whole:
                assert report.damage
            return report, released
    except (ArchiveError, VolumeError):  # nothing to begin with: no header record
        return None, set()


def steps(path: Path) -> list[int]:
    """The bytes of a whole archive, of the inside of its padding a few: all of that is alike."""
    volume = Volume(path)
    with glancearchive.open(path) as archive:
        scan = VolumeScan(volume, archive.archive_id, 1, None, Position())
        found = next(step.header for step in scan if step.header and step.header.type == RecordType.PADDING)
    volume.close()
    inside = range(found.payload_offset + 32, found.end - 32)
    return [at for at in range(volume.size) if at not in inside or at % 97 == 0]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return tiny_archive(tmp_path_factory.mktemp("tiny"))


def test_every_bit(tiny: Sample, tmp_path: Path) -> None:
    """One bit of every byte, and all bits of the header record; GLANCEARCHIVE_SOAK=1 for all bits of all bytes."""
    original = tiny.path.read_bytes()
    expected = layers(tiny.path)
    damaged = tmp_path / "a.gla"
    for at in range(len(original)) if "GLANCEARCHIVE_SOAK" in os.environ else steps(tiny.path):
        for bit in range(8) if at < HEADER_SIZE or "GLANCEARCHIVE_SOAK" in os.environ else [at % 8]:
            changed = bytearray(original)
            changed[at] ^= 1 << bit
            damaged.write_bytes(changed)
            report, released = read_all(damaged, tiny.data, whole=True)
            where = f"bit {bit} of byte {at}"
            assert report is not None, where
            assert [damage.fault.layer for damage in report.damage] == [expected[at]], where
            fault = report.damage[0].fault
            assert fault.begin <= at < fault.end, where
            if expected[at] == "frame":
                assert set(report.damage[0].images) == {"one", "two"}, where
                assert released == {"empty"}, where
            else:
                assert released == tiny.data.keys(), where


def test_every_cut(tiny: Sample, tmp_path: Path) -> None:
    original = tiny.path.read_bytes()
    damaged = tmp_path / "a.gla"
    header_end = original.find(SIGNATURE, HEADER_SIZE) - SIGNATURE_AT
    for size in steps(tiny.path):
        damaged.write_bytes(original[:size])
        report, _ = read_all(damaged, tiny.data, whole=True)
        assert (report is None) == (size < header_end), size
        if report is not None:
            assert {damage.fault.layer for damage in report.damage} == {"volume"}, size
            assert report.damage[-1].fault.end == size


@pytest.mark.parametrize("extra", [1, 16, HEADER_SIZE - 1, HEADER_SIZE, 5000])
@pytest.mark.parametrize("zeros", [True, False])
def test_bytes_after_the_end(tiny: Sample, tmp_path: Path, extra: int, zeros: bool) -> None:
    original = tiny.path.read_bytes()
    damaged = tmp_path / "a.gla"
    damaged.write_bytes(original + (bytes(extra) if zeros else random.Random(1).randbytes(extra)))
    report, released = read_all(damaged, tiny.data, whole=True)
    assert report is not None
    assert [damage.fault.layer for damage in report.damage] == ["volume"]
    assert "bytes follow" in report.damage[0].fault.message
    assert (report.damage[0].fault.begin, report.damage[0].fault.end) == (len(original), len(original) + extra)
    assert released == tiny.data.keys()


def larger_archive(directory: Path) -> Sample:
    """Some MiB in a dozen frames, with checkpoints between."""
    rng = random.Random(11)
    sample = Sample(directory / "larger.gla")
    writer = ArchiveWriter(sample.path, level="fast")
    writer._packer._level = replace(writer._packer._level, frame_size=1 << 18)
    for number in range(12):
        data = rng.randbytes(rng.randrange(1 << 18)) + bytes(1 << 16) + b"same" * 3000
        sample.data[f"image-{number}"] = data
        add(writer, f"image-{number}", data)
        if number % 4 == 3:
            writer.commit()
    writer.finish()
    return sample


@pytest.mark.parametrize("seed", range(40))
def test_damage_stays_local(tmp_path: Path, seed: int) -> None:
    """A few bad sectors: all damage is named, and every image that does not need those bytes is whole."""
    sample = larger_archive(tmp_path)
    original = bytearray(sample.path.read_bytes())
    rng = random.Random(seed)
    sectors = [rng.randrange(len(original) // 512) * 512 for _ in range(rng.randrange(1, 4))]
    with glancearchive.open(sample.path) as archive:
        hit = {
            frame.number
            for frame in archive.catalog.frames
            for sector in sectors
            if sector < frame.offset + HEADER_SIZE + frame.stored_size and sector + 512 > frame.offset + HEADER_SIZE
        }
        blocks = {
            frame.number: range(frame.first_block, frame.first_block + frame.blocks) for frame in archive.catalog.frames
        }
        archive.load_extents()
        lost = {
            image.id
            for image in archive
            for number in hit
            for start, count in image.entry.extents()[0].tolist()
            if start < blocks[number].stop and start + count > blocks[number].start
        }
    for sector in sectors:
        for at in range(sector, min(sector + 512, len(original))):
            original[at] ^= rng.randrange(1, 256)
    sample.path.write_bytes(original)
    report, released = read_all(sample.path, sample.data, whole=True)
    assert report is not None
    assert released == sample.data.keys() - lost
    for sector in sectors:
        assert any(damage.fault.begin < sector + 512 and damage.fault.end > sector for damage in report.damage)


def test_a_part_after_the_end_of_its_image(tmp_path: Path) -> None:
    """Digests and chain are right, and still no part may follow the one that ended an image."""
    writer = ArchiveWriter(tmp_path / "a.gla")
    add(writer, "x", b"x" * 9000)
    writer.commit()
    part = ImagePart(0, position=3, extents=np.array([[ZEROS, 1]], dtype=np.uint64))
    writer._chain._volume.checkpoint([part], np.empty((0, 2), dtype="<u8"))
    writer.finish()
    with glancearchive.open(tmp_path / "a.gla") as archive:
        damage = glancearchive.verify(archive).damage
    assert "image 0 goes on after its end" in str(damage[0].fault)
    assert {one.fault.layer for one in damage} == {"image"}
