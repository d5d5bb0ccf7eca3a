"""A writer that failed within itself, or was given what does not fit: nothing done by halves is ever committed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from glancearchive.errors import ImageError, LocalError
from glancearchive.format.blockindex import BlockIndex
from glancearchive.format.encoding import MAX_DEPTH, MAX_VALUES
from glancearchive.format.imageparts import MAX_BEGIN_VALUES
from glancearchive.format.recordfile import RecordFile
from glancearchive.format.writer import ArchiveWriter
from tests.format.samples import BLOCK, add, tiny_archive

DATA = random.Random(7).randbytes(3 * BLOCK)


def nested(depth: int) -> dict[str, Any]:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return {"deep": value}


def test_metadata_are_as_deep_in_a_record_as_they_will_be(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "x.gla")
    accepted = 0
    for depth in range(1, MAX_DEPTH + 2):
        try:
            image = writer.begin(f"depth{depth}", {"id": f"depth{depth}", **nested(depth)})
        except ValueError:
            continue
        image.write(DATA)
        image.finish({}, "")
        accepted = depth
    assert 8 <= accepted < MAX_DEPTH  # record, images, part, begin and metadata lie around it
    writer.finish()
    with glancearchive.open(tmp_path / "x.gla") as archive:
        assert glancearchive.verify(archive).ok
        assert len(archive.images) == accepted
        assert archive.find(f"depth{accepted}")[0].metadata["deep"] == nested(accepted)["deep"]


def test_many_values_in_several_images(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "x.gla")
    with pytest.raises(ValueError, match="values"):
        writer.begin("toomany", {"id": "toomany", "list": [1] * MAX_BEGIN_VALUES})
    for number in range(6):  # together more than one record may hold
        add(writer, f"image{number}", DATA, list=[1] * (MAX_BEGIN_VALUES - 20))
    assert 6 * (MAX_BEGIN_VALUES - 20) > MAX_VALUES
    writer.finish()
    with glancearchive.open(tmp_path / "x.gla") as archive:
        assert glancearchive.verify(archive).ok
        assert len(archive.images) == 6


@pytest.mark.parametrize("error", [LocalError("no space for the index"), MemoryError(), OSError(12, "no memory")])
def test_after_a_failure_of_the_index_nothing_is_committed(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ArchiveWriter(tmp_path / "x.gla", clock=lambda: 0.0)
    add(writer, "before", DATA)
    writer.commit()
    one, two = writer.begin("one", {"id": "one"}), writer.begin("two", {"id": "two"})
    one.write(random.Random(1).randbytes(5 * BLOCK))
    two.write(random.Random(2).randbytes(5 * BLOCK))
    insert = BlockIndex._insert

    def failing(self: BlockIndex, numbers: Any) -> None:
        monkeypatch.setattr(BlockIndex, "_insert", insert)
        raise error

    monkeypatch.setattr(BlockIndex, "_insert", failing)
    with pytest.raises(LocalError):
        one.finish({}, "")
    calls: list[Callable[[], object]] = [lambda: two.finish({}, ""), writer.commit, writer.finish]
    for call in calls:
        with pytest.raises(LocalError, match=r"cannot be gone on with|^no space for the index$"):
            call()
    writer.close()
    again = ArchiveWriter(tmp_path / "x.gla")
    assert again.recorded("two") is None
    add(again, "two", DATA * 2)
    again.finish()
    with glancearchive.open(tmp_path / "x.gla") as archive:
        assert [image.id for image in archive.images] == ["before", "two"]
        assert glancearchive.verify(archive).ok


def test_an_image_with_a_gap_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ArchiveWriter(tmp_path / "x.gla")
    writer.begin("one", {"id": "one"}).write(DATA)
    writer.commit()
    writer.close()
    again = ArchiveWriter(tmp_path / "x.gla")
    entry = again.recorded("one")
    assert entry is not None
    extents = entry.extents()[0]
    monkeypatch.setattr(type(entry), "extents", lambda _self: (extents, [(1, 1)]))
    with pytest.raises(ImageError, match="described nowhere"):
        again.go_on(entry, None, lambda _segment: None)
    again.close()


def test_reading_back_does_not_wait_for_who_waits_for_it(tmp_path: Path) -> None:
    add(writer := ArchiveWriter(tmp_path / "x.gla"), "one", DATA)
    writer.commit()
    with glancearchive.open(tmp_path / "x.gla.part") as archive:
        (frame,) = archive.catalog.frames
    with writer._lock:
        reader = threading.Thread(target=writer._written.read, args=[frame], daemon=True)
        reader.start()
        reader.join(30)
        assert not reader.is_alive()
    writer.close()


def test_an_end_that_was_not_synced_is_before_the_archive_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = tiny_archive(tmp_path)
    sample.path.rename(part := sample.path.with_name(sample.path.name + ".part"))  # killed before the sync
    synced: list[bool] = []
    sync = RecordFile.sync
    monkeypatch.setattr(RecordFile, "sync", lambda self: (synced.append(part.exists()), sync(self))[1])
    assert ArchiveWriter(sample.path).finish() == sample.root
    assert synced == [True]
    assert sample.path.exists()
