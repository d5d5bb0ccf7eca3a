"""Archives that were given to be read together and do not fit: too many, in circles, or with volumes missing."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import glancearchive
from glancearchive.errors import UsageError
from glancearchive.format import reader, state
from glancearchive.format.archiveheader import RepairedName
from glancearchive.format.base import open_base
from glancearchive.format.catalog import Entry
from glancearchive.format.extents import ExtentMap
from glancearchive.format.header import HEADER_SIZE, RecordHeader
from glancearchive.format.imageparts import COMPLETE, NO_DATA, ImageBegin, ImageEnd
from glancearchive.format.isolated import read_isolated, write_isolated
from glancearchive.format.overlay import mend
from glancearchive.format.places import Split
from glancearchive.format.state import Relation
from glancearchive.format.writer import ArchiveWriter
from tests.format.samples import BLOCK, add

NUMBERS = 1 << 61  # where those of a repair archive begin


def write(path: Path, **options: object) -> Path:
    writer = ArchiveWriter(path, **options)  # type: ignore[arg-type]
    add(writer, path.stem, secrets.token_bytes(BLOCK))
    writer.finish()
    return path


def repairing(path: Path, key: bytes, archive_id: bytes) -> Path:
    return write(path, relation=Relation(key, repairs=RepairedName(archive_id, NUMBERS, NUMBERS)))


def test_a_base_is_opened_together_with_what_repairs_it(tmp_path: Path) -> None:
    base = write(tmp_path / "base.gla")
    with glancearchive.open(base) as archive:
        repair = repairing(tmp_path / "repair.gla", archive.header.hash_key, archive.archive_id)
    with open_base([base]) as opened:
        increment = write(tmp_path / "increment.gla", base=opened)
    with glancearchive.open(increment, base, repair) as archive:
        assert [len(archive.bases), len(archive.chain)] == [2, 3]
        write_isolated(archive, tmp_path / "both.glacat")
    with glancearchive.open(increment, base) as archive:
        write_isolated(archive, tmp_path / "plain.glacat")
    assert (tmp_path / "both.glacat").read_bytes() == (tmp_path / "plain.glacat").read_bytes()
    assert len(list(read_isolated(tmp_path / "both.glacat"))) > 4


def test_archives_that_repair_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names the other, and one names itself: none is opened twice."""
    key, ids = secrets.token_bytes(32), [b"1" * 16, b"2" * 16, b"3" * 16]
    paths = []
    for me, other in ((0, 1), (1, 0), (2, 2)):
        drawn = {16: ids[me], 32: key}
        monkeypatch.setattr(state, "secrets", SimpleNamespace(token_bytes=drawn.__getitem__))
        paths.append(repairing(tmp_path / f"{me}.gla", key, ids[other]))
    with glancearchive.open(*paths[:2]) as archive:
        assert len(archive.chain) == 2
    with glancearchive.open(paths[2], paths[0]) as archive:
        assert archive.archive_id == ids[2]
        assert len(archive.chain) == 1
        assert any("belongs to archive" in str(fault) for fault in archive.faults)


def test_a_chain_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_BASES", 3)
    paths = [write(tmp_path / "0.gla")]
    for number in range(1, 5):
        with open_base(paths) as base:
            paths.append(write(tmp_path / f"{number}.gla", base=base))
    with glancearchive.open(*paths[:4]) as archive:
        assert len(archive.bases) == 4
        assert not archive.faults
    with glancearchive.open(*paths) as archive:
        assert len(archive.bases) == 4
        assert any("stands on too many others" in str(fault) for fault in archive.faults)


def test_no_increment_is_begun_where_the_chain_would_be_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glancearchive.format.base.MAX_BASES", 1)
    base = write(tmp_path / "base.gla")
    with open_base([base]) as opened:
        increment = write(tmp_path / "increment.gla", base=opened)
    with glancearchive.open(increment, base) as archive:
        write_isolated(archive, tmp_path / "both.glacat")
    for paths in ([increment, base], [tmp_path / "both.glacat"]):
        with pytest.raises(UsageError, match="merge them first"):
            open_base(paths)


def test_a_volume_with_the_highest_number_costs_no_memory(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla", split=Split(6 << 20), level="fast")
    add(writer, "one", secrets.token_bytes(BLOCK))
    writer.finish()
    (path,) = tmp_path.glob("*.gla")
    data = path.read_bytes()
    first = RecordHeader.unpack(data[:HEADER_SIZE])
    last = tmp_path / "a.65535.gla"
    last.write_bytes(replace(first, volume=65535, number=65534).pack() + data[HEADER_SIZE : first.end])
    with glancearchive.open(last) as archive:
        missing = [str(fault) for fault in archive.faults if "missing" in str(fault)]
        assert len(missing) == 1
        assert "volumes 2 to 65534 are missing" in missing[0]
        assert sum(len(str(fault)) for fault in archive.faults) < 10_000
        assert len(archive.catalog.frames.elsewhere) < 1_000


def entry(number: int, image_id: str | None, end: ImageEnd | None) -> Entry:
    return Entry(number, None if image_id is None else ImageBegin.of(image_id, {}), end)


def no_extents(original: Entry | None, patch: Entry) -> ExtentMap:
    raise AssertionError(f"nobody asked for the extents of {patch.id}")


COPY = ImageEnd(COMPLETE, "", BLOCK, b"d" * 32)


def test_the_twin_of_a_mended_image_stays() -> None:
    """What has lost its name and has the data of an image that was mended is another image."""
    patch = entry(0, "y", replace(COPY, patch=((0, 1),)))
    images = mend([entry(0, None, COPY), entry(1, "y", COPY)], [patch], 2, no_extents)
    assert [image.number for image in images] == [0, 1]


def test_an_image_without_a_name_is_found_again_once() -> None:
    images = mend([entry(0, None, COPY), entry(1, None, COPY)], [entry(0, "y", COPY)], 2, no_extents)
    assert [image.number for image in images] == [1, 2]


def test_an_unfinished_image_is_not_mended_by_one_without_data() -> None:
    original = entry(0, "z", None)
    images = mend([original], [entry(0, "z", ImageEnd(NO_DATA, "queued"))], 1, no_extents)
    assert len(images) == 1
    assert images[0] is original
