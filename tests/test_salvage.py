"""``salvage``: what can be had from an archive whose records are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

import glancearchive
from glancearchive.format.header import RecordType
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.schema import CatalogPart
from glancearchive.format.strays import find_strays
from glancearchive.format.volume import Volume
from tests.command import contents, run, unchanged
from tests.format.test_overlay import images, places, spoil, write


def catalogs(path: Path, kind: str) -> list[int]:
    """Where the payloads of the catalogs of this kind begin."""
    volume = Volume(path)
    with glancearchive.open(path) as archive:
        steps = list(VolumeScan(volume, archive.archive_id, 1, archive.header, Position()))
    volume.close()
    return [
        step.header.payload_offset
        for step in steps
        if step.header is not None and isinstance(step.content, CatalogPart) and step.content.kind == kind
    ]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three images, each with a checkpoint of its own, and an empty one."""
    (tmp_path / "medium").mkdir()
    return write(tmp_path / "medium" / "a.gla", images(70))


def test_frames_that_nothing_describes(archive: Path, tmp_path: Path) -> None:
    data = images(70)
    lost = places(archive, RecordType.CHECKPOINT)[1]
    spoil(archive, lost[0] + 30, *(at + 30 for at in catalogs(archive, "frames")))
    with glancearchive.open(archive) as opened:
        held = {state.id for state in glancearchive.verify(opened).images if state.status == "damaged"}
        strays = find_strays(opened)
    assert "two" in held
    assert strays
    with unchanged(archive.parent):
        done = run("salvage", archive, tmp_path / "b.gla", "--json")
    assert done.code == 0, done.stderr
    assert {image["action"] for image in done.images.values()} == {"copied"}
    assert [one["used"] for one in done.json["strays"]] == [True] * len(strays)
    with glancearchive.open(tmp_path / "b.gla") as opened:
        report = glancearchive.verify(opened, glancearchive.Depth.GLANCE)
        assert report.ok
        assert {image.id: b"".join(image.content().chunks()) for image in opened} == data


def test_what_cannot_be_known(archive: Path, tmp_path: Path) -> None:
    """Nothing is left of how an image is called, and a frame is damaged besides."""
    (begin, _), *_ = places(archive, RecordType.FRAME)
    lost = places(archive, RecordType.CHECKPOINT)[1]
    spoil(archive, begin + 9, lost[0] + 30, *(at + 30 for at in catalogs(archive, "images")))
    done = run("salvage", archive, tmp_path / "b.gla", "--json")
    assert done.code == 1
    assert done.images["one"]["action"] == "failed"
    assert done.images["three"]["action"] == "copied"
    assert "two" not in done.images
    assert done.json["unknown"] == ["image number 1: no record at hand says what it is"]
    assert done.json["strays"] == []
    verified = run("verify", tmp_path / "b.gla", "--json")
    assert {one["id"]: one["status"] for one in verified.json["images"]} == {
        "one": "failed",
        "three": "valid",
        "empty": "valid",
    }


def test_an_archive_that_was_cut(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: places(archive, RecordType.CHECKPOINT)[2][0]])
    done = run("salvage", archive, tmp_path / "b.gla")
    assert done.code == 1
    assert "how many images there were" in done.stderr
    assert run("salvage", archive, tmp_path / "b.gla").code == 3
    assert run("salvage", tmp_path / "none.gla", tmp_path / "c.gla").code == 3
    assert sorted(contents(tmp_path)) == ["b.gla", "medium/a.gla"]


def test_an_interrupted_dump_whose_first_record_is_damaged(tmp_path: Path) -> None:
    """It cannot be gone on with, and is left alone; what was committed is salvaged, and the rest is added to that."""
    data = images(70)
    del data["empty"]  # a file without a byte is no image
    for image_id, content in data.items():
        (tmp_path / "images" / f"{image_id}.raw").parent.mkdir(exist_ok=True)
        (tmp_path / "images" / f"{image_id}.raw").write_bytes(content)
    files = sorted((tmp_path / "images").iterdir())
    (tmp_path / "medium").mkdir()
    archive = tmp_path / "medium" / "a.gla"
    assert run("dump", *files[:2], archive).code == 0
    end = places(archive, RecordType.END)[0][0]
    part = archive.with_suffix(".gla.part")
    part.write_bytes(bytes(300) + archive.read_bytes()[300:end])
    archive.unlink()
    with unchanged(part.parent):
        for more in ([], ["--append"]):
            done = run("dump", *files, archive, *more)
            assert done.code == 3
            assert "keep this file, take from it what can be read" in done.stderr
        assert run("list", part).code == 1
        assert run("salvage", part, tmp_path / "b.gla").code in (0, 1)
    done = run("dump", *files, tmp_path / "b.gla", "--append", "--json")
    assert done.code == 0, done.stderr
    assert sorted(image["action"] for image in done.images.values()) == ["copied"] * (len(data) - 2) + ["present"] * 2
    with glancearchive.open(tmp_path / "b.gla") as opened:
        assert {f"{image.name}.raw": b"".join(image.content().chunks()) for image in opened} == {
            f"{image_id}.raw": content for image_id, content in data.items()
        }


def test_an_archive_that_may_have_more_images_than_are_known(archive: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gla"
    (frame, *_) = places(archive, RecordType.FRAME)
    cut.write_bytes(archive.read_bytes()[: frame[0] + 50])
    said = "how many images there were"
    for arguments in (["show", cut, "three"], ["extract", cut, "three", "-o", "-"]):
        done = run(*arguments)
        assert (done.code, done.stdout) == (3, b"")
        assert f"no image 'three' in what is left of the archive; what is not known: {said}" in done.stderr
    verified = run("verify", cut)
    assert (verified.code, "0 of 0 images are whole" in verified.text) == (1, True)
    assert f"not known: {said}" in verified.text
    [line] = run("verify", cut, "--json").json["unknown"]
    assert line.startswith(said)
    assert run("show", archive, "no such image").code == 2
    assert run("verify", archive, "--json").json["unknown"] == []
