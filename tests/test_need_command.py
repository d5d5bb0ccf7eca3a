"""``--need`` and ``dump --for`` as people use them, rightly and wrongly; the source is another copy of the archive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glancearchive.format.header import RecordType
from tests.command import contents, run
from tests.format.test_overlay import images, places, spoil, write


@pytest.fixture
def archives(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A whole archive, a damaged copy, and its need-list."""
    whole, damaged = write(tmp_path / "whole.gla", images(80)), tmp_path / "damaged.gla"
    damaged.write_bytes(whole.read_bytes())
    spoil(damaged, places(whole, RecordType.FRAME)[2][0] + 100)
    done = run("verify", damaged, "--need", tmp_path / "need", "--json")
    assert done.code == 1
    assert done.json["need"]["file"] == str(tmp_path / "need")
    assert not done.json["need"]["incomplete"]
    assert done.json["need"]["bytes"] > 0
    return whole, damaged, tmp_path / "need"


def test_another_copy_of_the_archive_answers(archives: tuple[Path, Path, Path], tmp_path: Path) -> None:
    whole, damaged, need = archives
    done = run("dump", whole, tmp_path / "r.gla", "--for", need, "--json")
    assert done.code == 0, done.stderr
    assert done.json["repairs"] == json.loads(need.read_text())["archive_id"]
    listed = run("list", tmp_path / "r.gla", "--json")
    assert {image["status"] for image in listed.json["images"]} == {"patch"}
    refused = run("extract", tmp_path / "r.gla", "-o", tmp_path / "parts")
    assert refused.code == 1
    assert "a part of an image" in refused.stderr
    assert not any(name.endswith(".img") for name in contents(tmp_path / "parts"))
    assert run("extract", damaged, "-o", tmp_path / "without").code == 1
    assert run("extract", damaged, "--with", tmp_path / "r.gla", "-o", tmp_path / "with").code == 0
    for image_id, data in images(80).items():
        assert (tmp_path / "with" / f"{image_id}.img").read_bytes() == data
    joined = run("reslice", damaged, tmp_path / "joined.gla", "--with", tmp_path / "r.gla")
    assert joined.code == 0, joined.stderr
    assert run("verify", tmp_path / "joined.gla").code == 0


def test_wrong_use(archives: tuple[Path, Path, Path], tmp_path: Path) -> None:
    whole, damaged, need = archives
    out = tmp_path / "r.gla"
    (tmp_path / "junk").write_bytes(b"junk")
    (tmp_path / "cut").write_bytes(need.read_bytes()[:-20])
    (tmp_path / "changed").write_bytes(need.read_bytes().replace(b'"whole', b'"Whole').replace(b"4096", b"8192"))
    assert run("verify", whole, "--need", tmp_path / "nothing").code == 0
    for arguments, code, words in (
        (("dump", whole, out, "--for", tmp_path / "none"), 3, "No such file"),
        (("dump", whole, out, "--for", tmp_path), 3, "Is a directory"),
        (("dump", whole, out, "--for", tmp_path / "junk"), 2, "is no need-list"),
        (("dump", whole, out, "--for", tmp_path / "cut"), 2, "is no need-list"),
        (("dump", whole, out, "--for", tmp_path / "changed"), 2, "is damaged"),
        (("dump", whole, out, "--for", tmp_path / "nothing"), 2, "asks for nothing"),
        (("dump", whole, out, "--for", need, "--append"), 2, "--append"),
        (("dump", whole, damaged, "--for", need), 3, "exists already"),
        (("verify", damaged, "--need", tmp_path / "no" / "need"), 3, "cannot be written"),
        (("load", "127.0.0.1:1", damaged, "--need", out, "--dry-run"), 2, "--need"),
    ):
        done = run(*arguments)
        assert (done.code, words in done.stderr) == (code, True), (arguments, done.stderr)
    assert not out.exists()
