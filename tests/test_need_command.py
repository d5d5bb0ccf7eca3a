"""``--need`` and ``dump --for`` as people use them, rightly and wrongly; the source is another copy of the archive."""

from __future__ import annotations

import json
import os
import random
import re
import resource
from pathlib import Path

import pytest

from glancearchive.format.hashing import digest
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


def test_a_repair_archive_in_volumes(tmp_path: Path) -> None:
    """On two disks with files of a limited size; what the second one lacks after a kill is added."""
    data = {"one": random.Random(1).randbytes(9 << 20), "two": random.Random(2).randbytes(4 << 20)}
    whole, damaged, need = write(tmp_path / "whole.gla", data), tmp_path / "damaged.gla", tmp_path / "need"
    damaged.write_bytes(whole.read_bytes())
    spoil(damaged, *(begin + 100 for begin, _ in places(whole, RecordType.FRAME)))
    assert run("verify", damaged, "--need", need).code == 1
    disks = [tmp_path / "blue", tmp_path / "red"]
    for disk in disks:
        disk.mkdir()
    spread = ("--spread", f"{disks[0]},{disks[1]}", "--volume-size", "6M")
    done = run("dump", whole, "r.gla", "--for", need, *spread, "--read-back", "--json")
    assert done.code == 0, done.stderr
    assert done.json["read_back"]["ok"]
    volumes = [Path(volume) for volume in done.json["volumes"]]
    assert [volume.name for volume in volumes] == ["r.001.gla", "r.002.gla", "r.003.gla"]
    assert all(volume.stat().st_size <= 6 * 1000**2 for volume in volumes)
    volumes[2].rename(disks[1] / volumes[2].name)
    assert run("extract", damaged, "--with", disks[0], "-o", tmp_path / "some").code == 1
    done = run("extract", damaged, "--with", disks[0], "--with", disks[1], "-o", tmp_path / "all")
    assert done.code == 0, done.stderr
    for image_id, content in data.items():
        assert (tmp_path / "all" / f"{image_id}.img").read_bytes() == content

    (disks[1] / volumes[2].name).unlink()
    done = run("dump", whole, "r.gla", "--for", need, *spread, "--json")
    assert done.code == 0, done.stderr
    assert run("verify", damaged, "--with", disks[0], "--json").json["images"][0]["status"] == "valid"
    done = run("dump", whole, "r.gla", "--for", need, *spread)
    assert (done.code, "exists already" in done.stderr) == (3, True)
    done = run("dump", whole, disks[0] / "r.gla", "--for", need)
    assert (done.code, "is written in volumes" in done.stderr) == (2, True)


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


def test_nothing_is_written_over_but_a_need_list(archives: tuple[Path, Path, Path], tmp_path: Path) -> None:
    whole, damaged, need = archives
    (tmp_path / "notes").write_text("notes")
    (tmp_path / "link").hardlink_to(damaged)
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "cut").write_bytes(need.read_bytes()[:-20])
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for file, code, words in (
        (damaged, 2, "called like a volume"),
        (tmp_path / "new.002.gla.part", 2, "called like a volume"),
        (tmp_path / "link", 3, "is no need-list"),
        (tmp_path / "notes", 3, "is no need-list"),
        (tmp_path / "empty", 3, "is no need-list"),
        (tmp_path / "cut", 3, "is no need-list"),
        (tmp_path / "pipe", 3, "no regular file"),
        (tmp_path / "none" / "need", 3, "cannot be written"),
        (tmp_path, 3, "cannot be written"),
    ):
        for command in (("verify", damaged), ("load", "127.0.0.1:1", damaged)):
            done = run(*command, "--need", file)
            assert (done.code, words in done.stderr) == (code, True), (command, file, done.stderr)
            assert "verified" not in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert run("verify", whole, "--need", need).code == 0  # an earlier one is replaced
    assert json.loads(need.read_text())["images"] == []


def test_what_there_can_be_no_need_list_of_is_said_before_anything_is_read(
    archives: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    whole, _, need = archives
    assert run("dump", whole, tmp_path / "r.gla", "--for", need).code == 0
    for command in (("verify", tmp_path / "r.gla"), ("load", "127.0.0.1:1", tmp_path / "r.gla")):
        done = run(*command, "--need", tmp_path / "other")
        assert (done.code, "a repair archive needs nothing" in done.stderr) == (2, True), done.stderr
    image_id = "5e1f0c52-7a1c-4f0e-8f43-0d2f6a1b9c11"
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / image_id).write_text(json.dumps({"id": image_id, "status": "queued", "name": "x"}))
    done = run("load", "127.0.0.1:1", tmp_path / "directory", "--need", tmp_path / "other")
    assert (done.code, "--need is for archives" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "other").exists()


def test_choosing_is_for_lists_that_are_incomplete(archives: tuple[Path, Path, Path], tmp_path: Path) -> None:
    whole, damaged, need = archives
    done = run("dump", whole, tmp_path / "r.gla", "--for", need, "--name", "one")
    assert (done.code, "nothing to choose" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "r.gla").exists()
    document = json.loads(need.read_text())
    needed = {image["id"] for image in document["images"]}
    document |= {"incomplete": True, "known": []}
    del document["digest"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    need.write_text(json.dumps(document | {"digest": digest(text).hex()}))
    more = sorted({*images(80)} - needed)
    chosen = ("--image", more[0], "--image", "absent", "--index-memory", "1MiB", "--index-directory", tmp_path)
    done = run("dump", whole, tmp_path / "r.gla", "--for", need, *chosen, "--glance-hash", "--json")
    assert (done.code, done.json["not_found"], done.json["faults"]) == (1, ["absent"], []), done.stderr
    assert {*done.images} == needed | {more[0]}
    done = run("extract", damaged, "--with", tmp_path / "r.gla", "-o", tmp_path / "out")
    assert done.code == 0, done.stderr


def test_what_is_wrong_with_the_source_is_said(archives: tuple[Path, Path, Path], tmp_path: Path) -> None:
    whole, _, need = archives
    spoil(whole, places(whole, RecordType.END)[0][0] + 20)
    done = run("dump", whole, tmp_path / "r.gla", "--for", need, "--json")
    assert done.code == 1
    assert any("whole.gla" in fault for fault in done.json["faults"])
    assert done.json["faults"][0] in done.stderr


def test_a_repair_archive_on_a_full_medium(tmp_path: Path) -> None:
    """So large that it was committed once before."""
    data = {f"image-{number}": random.Random(number).randbytes(1 << 20) for number in range(44)}
    whole, damaged, need = write(tmp_path / "whole.gla", data), tmp_path / "damaged.gla", tmp_path / "need"
    damaged.write_bytes(whole.read_bytes())
    spoil(damaged, *(begin + 100 for begin, _ in places(whole, RecordType.FRAME)))
    assert run("verify", damaged, "--need", need).code == 1

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40 << 20, 40 << 20))

    done = run("dump", whole, tmp_path / "r.gla", "--for", need, "--jobs", "1", preexec=small_files)
    assert done.code == 3
    assert done.stderr.count("the same command goes on from there, once there is room") == 1
    [said] = re.findall(r"whole in what was committed: (\d+) images?; whatever else was told is read", done.stderr)
    listed = run("list", tmp_path / "r.gla.part", "--json").json["images"]
    assert int(said) == sum(image["status"] == "patch" for image in listed) > 0
    assert run("dump", whole, tmp_path / "r.gla", "--for", need).code == 0
    assert "44 of 44 images are whole" in run("verify", damaged, "--with", tmp_path / "r.gla").text
