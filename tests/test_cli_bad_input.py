"""Archives that are none, damaged or hostile, through the command line; what each layer says is in test_vectors.py."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archives import write_archive
from tests.command import assert_harmless, contents, run, unchanged
from tests.format.samples import tiny_archive
from tests.glances import metadata

VECTORS = Path(__file__).resolve().parent.parent / "spec" / "vectors"
TABLE: dict[str, Any] = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))
NOWHERE = "127.0.0.1:1"
COMMANDS = {
    "list": ["list", "{archive}"],
    "show": ["show", "{archive}", "alpha"],
    "verify": ["verify", "{archive}"],
    "quick": ["verify", "--quick", "{archive}"],
    "extract": ["extract", "{archive}", "-o", "out/"],
    "stdout": ["extract", "{archive}", "alpha", "-o", "-"],
    "load": ["load", NOWHERE, "{archive}"],
}


def vector(name: str) -> Callable[[Path], Path]:
    """Puts the files of an archive of spec/vectors into a directory; returns the first."""

    def put(directory: Path) -> Path:
        for file in TABLE[name]["files"]:
            shutil.copy(VECTORS / file, directory)
        return directory / str(TABLE[name]["files"][0])

    put.__name__ = name
    return put


def missing(directory: Path) -> Path:
    return directory / "none.gla"


def directory_itself(directory: Path) -> Path:
    return directory


def text(directory: Path) -> Path:
    (directory / "text.gla").write_text("This is no archive. " * 100)
    return directory / "text.gla"


def unfinished_only(directory: Path) -> Path:
    tiny_archive(directory).path.rename(directory / "x.gla.part")
    return directory / "x.gla"


def below_a_file(directory: Path) -> Path:
    return text(directory) / "x.gla"


def long_name(directory: Path) -> Path:
    return directory / ("x" * 300)


def volumes_of_two_archives(directory: Path) -> Path:
    for number in (1, 2):
        tiny_archive(directory).path.rename(directory / f"x.00{number}.gla")
    return directory / "x.002.gla"


NO_ARCHIVE: list[tuple[Callable[[Path], Path], str]] = [
    (missing, "no such archive"),
    (directory_itself, "is a directory, not an archive"),
    (text, "is no glancearchive"),
    (unfinished_only, r"not finished; .* can be read as x\.gla\.part"),
    (below_a_file, "x.gla"),
    (long_name, "name too long"),
    (vector("archive-empty"), "is empty"),
    (vector("archive-short"), "is no glancearchive"),
    (vector("archive-newer-version"), "version 2 .*knows version 1"),
    (vector("archive-incompatible"), "feature"),
    (vector("archive-hash"), "hash"),
    (vector("archive-compression"), "compression"),
]


@pytest.mark.parametrize(("make", "message"), NO_ARCHIVE, ids=[make.__name__ for make, _ in NO_ARCHIVE])
def test_what_is_no_archive(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    refused("verify", make, message, tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_takes_what_is_no_archive(command: str, tmp_path: Path) -> None:
    refused(command, vector("archive-incompatible"), "feature", tmp_path)


def refused(command: str, make: Callable[[Path], Path], message: str, directory: Path) -> None:
    archive = make(directory)
    with unchanged(directory):
        done = run(*(part.format(archive=archive) for part in COMMANDS[command]), cwd=directory)
    assert (done.code, done.stdout) == (3, b"")
    assert done.stderr.count("\n") == 1

    assert re.search(message, done.error, re.IGNORECASE), done.error


@pytest.mark.parametrize("make", [volumes_of_two_archives, vector("volume-other-archive")])
def test_volumes_of_different_archives(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """What belongs together is used, the stray volume is told of."""
    (tmp_path / "in").mkdir()
    archive = make(tmp_path / "in")
    stray = archive.name.replace("001", "002")
    with unchanged(tmp_path / "in"):
        verified = run("verify", archive, "--json")
        listed = run("list", archive, "--json")
        extracted = run("extract", archive, "one", "-o", tmp_path / "one.img")
    assert (verified.code, verified.json["ok"], listed.code, extracted.code) == (1, False, 1, 1)
    assert ("volume", stray) in {(damage["layer"], damage["volume"]) for damage in verified.json["damage"]}
    assert verified.images["one"]["status"] == "valid"
    assert stray in listed.stderr
    assert stray in extracted.stderr
    assert (tmp_path / "one.img").stat().st_size == listed.images["one"]["size"]


# Each fault once at the command line; bombs, cuts, trailing bytes and paths are among them.
DAMAGED = [
    "volume-cut-checkpoint",
    "volume-cut-frame-payload",
    "volume-cut-end-copy",
    "volume-trailing-byte",
    "volume-missing-last",
    "volume-empty-second",
    "header-raw-size",
    "header-frame-raw-size",
    "header-bit-checkpoint-size",
    "record-encoding-count-bomb",
    "record-encoding-nested-bomb",
    "record-zstd-bomb",
    "record-id-path",
    "record-id-slash",
    "record-id-nul",
    "chain-previous",
    "frame-zstd-bomb",
    "frame-bit-first",
    "block-content",
    "image-digest",
    "image-size-large",
    "image-many-zeros",
]
NOT_AN_ID = "image number 1: no record at hand says what it is"


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive_gives_what_is_whole_and_nothing_else(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    archive = vector(name)(tmp_path / "in")
    with unchanged(tmp_path / "in"):
        verified = run("verify", archive, "--json")
        extracted = run("extract", archive, "-o", "out/", "--json", cwd=tmp_path)
    expected = TABLE[name]
    assert (verified.code, verified.json["ok"]) == (1, False)
    layers = {one["layer"] for one in verified.json["damage"] if one["message"] != NOT_AN_ID}
    assert layers
    assert layers <= {expected["layer"], expected.get("also")}
    out = contents(tmp_path / "out")
    lost = [image_id for image_id, image in expected["images"].items() if image is None]
    assert extracted.code == 1 or not lost
    for image_id, image in expected["images"].items():
        released = out.pop(f"{image_id}.img", None)
        if image is None:
            assert released is None
        elif image["sha256"]:
            assert released is not None
            assert hashlib.sha256(released).hexdigest() == image["sha256"]
            assert extracted.images[image_id]["status"] == "extracted"
    assert out.keys() <= expected["images"].keys()  # the metadata
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


@pytest.mark.parametrize("name", ["frame-bit-last", "block-content", "image-digest"])
def test_a_damaged_image_is_not_written_whole_to_stdout(name: str, tmp_path: Path) -> None:
    """A pipe may have got checked bytes before the fault was met, but then the exit code tells."""
    archive = vector(name)(tmp_path)
    lost = next(one for one, image in TABLE[name]["images"].items() if image is None)
    done = run("extract", archive, lost, "-o", "-")
    assert done.code == 1
    assert lost in done.stderr
    done = run("extract", archive, lost, "-o", tmp_path / "x.img")
    assert done.code == 1
    assert "x.img" not in contents(tmp_path)


EVIL = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202egpj.exe\u2028\x7f\x00\ttab"


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    described = metadata(b"data", id="evil", name=EVIL, disk_format=EVIL, tags=[EVIL], owner=EVIL) | {EVIL: EVIL}
    return write_archive(
        tmp_path / "in" / "evil.gla",
        (described, b"data"),
        (metadata(b"data", id="twin", name=EVIL), b"data"),
        members={"evil": [{"member_id": EVIL, "status": EVIL}]},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json"],
        ["show", "{}", "evil"],
        ["show", "{}", "evil", "--json"],
        ["verify"],
        ["verify", "--json"],
        ["extract", "{}", "-o", "out/"],
        ["extract", "{}", "evil", "-o", "out/", "--json"],
    ],
    ids=" ".join,
)
def test_names_never_reach_a_terminal_raw(evil: Path, arguments: list[str], tmp_path: Path) -> None:
    if "{}" not in arguments:
        arguments = [*arguments, "{}"]
    done = run(*(part.format(evil) for part in arguments), cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert_harmless(done.stdout)
    assert_harmless(done.stderr)
    if arguments[0] == "extract":
        ids = ["evil"] if "evil" in arguments else ["evil", "twin"]
        assert contents(tmp_path / "out").keys() == {file for one in ids for file in (one, f"{one}.img")}
        assert json.loads((tmp_path / "out" / "evil").read_text(encoding="utf-8"))["name"] == EVIL
    elif "--json" in arguments and arguments[0] != "show":
        assert done.images["evil"]["name"] == EVIL


def test_neither_do_names_in_errors(evil: Path, tmp_path: Path) -> None:
    done = run("show", evil, EVIL.replace("\x00", ""))
    assert done.code == 2
    assert_harmless(done.stderr)
    damaged = bytearray(evil.read_bytes())
    damaged[damaged.index(b"data")] ^= 1  # in the one frame, which is too short to be compressed
    evil.write_bytes(damaged)
    for name, *options in (["verify"], ["extract", "-o", "out/"], ["extract", "evil", "-o", "x"]):
        done = run(name, evil, *options, cwd=tmp_path)
        assert done.code == 1, done
        assert "owned" in done.stdout.decode() + done.stderr
        assert_harmless(done.stdout)
        assert_harmless(done.stderr)


def test_neither_do_file_names(tmp_path: Path) -> None:
    odd = tmp_path / "\x1b[31mred\u202e.gla"
    raw = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.gla"))
    for name in (odd, raw):
        done = run("list", name)
        assert (done.code, "no such archive" in done.error) == (3, True)
        assert_harmless(done.stderr)
        shutil.copy(tiny_archive(tmp_path).path, name)
        (tmp_path / "tiny.gla").unlink()
        for command, *options in (["list", "--json"], ["verify"], ["extract", "one", "-o", "-"]):
            done = run(command, name, *options)
            assert done.code == 0
            assert_harmless(done.stderr)
        with name.open("ab") as file:
            file.write(b"x")
        done = run("verify", name)
        assert done.code == 1
        assert_harmless(done.stdout)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_that_knows_few_characters(encoding: str, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "x.gla", (metadata(b"data", id="one", name="Grüße 你好"), b"data"))
    for command, *options in (["list"], ["show", "one"], ["verify"]):
        done = run(command, archive, *options, env={"PYTHONIOENCODING": encoding})
        assert done.code == 0
        done.stdout.decode("utf-8" if encoding == "ascii" else encoding)  # click takes ASCII for a mistake
