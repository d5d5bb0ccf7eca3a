"""``dump --volume-size`` and ``--spread``, ``reslice``, and what people are told about volumes. Images are files."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from tests.command import Done, command, contents, run, unchanged
from tests.faults.media import exfat
from tests.terminal import Terminal

MIB = 1 << 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two image files that do not compress, 20 MiB together."""
    directory = tmp_path_factory.mktemp("files")
    for number, size in enumerate((12 * MIB + 5, 8 * MIB)):
        (directory / f"image{number}.raw").write_bytes(random.Random(number).randbytes(size))
    return directory


@pytest.fixture(scope="module")
def archive(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """They in volumes; never changed."""
    path = tmp_path_factory.mktemp("archive") / "a.gla"
    done = run("dump", files, path, "--volume-size", "9M", "--json")
    assert done.code == 0, done.stderr
    assert len(done.json["volumes"]) == 3
    return path


def volumes(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.gla"))


def assert_holds(files: Path, *paths: Path) -> None:
    with glancearchive.open(*paths) as archive:
        assert archive.faults == []
        assert archive.finished
        found = sorted(image.open().read() for image in archive)
    assert found == sorted(path.read_bytes() for path in files.iterdir())


@pytest.mark.parametrize("renamed", [slice(None), slice(1, None)])
def test_names_in_upper_case(renamed: slice, archive: Path, tmp_path: Path) -> None:
    """By the directory, by the other case, beside each other."""
    disk = tmp_path / "disk"
    shutil.copytree(archive.parent, disk)
    for path in volumes(disk)[renamed]:
        path.rename(path.with_name(path.name.upper()))
    names = [disk, disk / "a.gla", disk / "A.gla", *disk.iterdir()]
    for name in names:
        done = run("verify", "--quick", name, "--json")
        assert done.code == 0, (name, done.json)
        assert run("size", name).code == 0
    (disk / "b").mkdir()
    for path in disk.glob("*.002.*"):
        path.rename(disk / "b" / path.name)
    assert run("verify", "--quick", disk / "a.gla", "--with", disk / "b", "--json").code == 0


def test_names_that_were_swapped(archive: Path, tmp_path: Path) -> None:
    """That is told, and is no damage; a volume that is missing besides is not said to be one that is there."""
    disk = tmp_path / "disk"
    shutil.copytree(archive.parent, disk)
    first, second, third = volumes(disk)
    first.rename(disk / "aside")
    second.rename(first)
    (disk / "aside").rename(second)
    done = run("verify", disk)
    assert done.code == 1
    assert "misnamed: a.001.gla: is volume 2 by what it says [volume]" in done.text
    assert "NOT OK: 0 places damaged, 2 files misnamed or not of this archive" in done.text
    assert "2 of 2 images are whole" in done.text
    second.unlink()  # volume 1, called 2
    done = run("verify", disk, "--json")
    assert "not the a.001.gla at hand: volume 1 is missing" in [
        f"{one['volume']}: {one['message']}" for one in done.json["damage"]
    ]
    assert {image["status"] for image in done.json["images"]} <= {"held", "valid"}
    assert third.exists()


def test_names_that_differ_in_case_alone_may_be_two_archives(archive: Path, files: Path, tmp_path: Path) -> None:
    assert run("dump", files, tmp_path / "A.gla", "--volume-size", "9M").code == 0
    for path in volumes(archive.parent):
        shutil.copy(path, tmp_path)
    if len(volumes(tmp_path)) == 3:
        pytest.skip("the file system takes them for the same")
    for name in ("a.gla", "A.gla", "a.002.gla", "A.003.gla"):
        assert run("verify", "--quick", tmp_path / name, "--json").code == 0
    assert "several archives" in run("verify", tmp_path).error


def test_on_exfat_the_archive_of_the_other_case_is_found(files: Path, tmp_path: Path) -> None:
    with exfat(tmp_path) as disk:
        assert run("dump", files, disk / "d.gla", "--volume-size", "9M").code == 0
        before = contents(disk)
        done = run("dump", files, disk / "D.gla", "--volume-size", "9M", "--json")
        assert done.code == 0, done.stderr
        assert f"{disk / 'D.gla'} is a finished archive of" in done.stderr
        assert contents(disk) == before


def test_all_names_of_it(archive: Path) -> None:
    """The name that was given, each volume, the directory: with any of them the whole archive is meant."""
    directory = archive.parent
    with unchanged(directory):
        for name in (archive, *volumes(directory), directory, f"{directory}{os.sep}"):
            for command in (["list"], ["verify", "--quick"], ["size"]):
                done = run(*command, name, "--json")
                if command == ["size"] and Path(name).is_dir():
                    continue  # there it is a directory of image files
                assert done.code == 0, (done.stderr, command, name)
                assert len(done.json["images"]) == 2


def test_doing_it_again(archive: Path, files: Path) -> None:
    with unchanged(archive.parent):
        again = run("dump", files, archive, "--volume-size", "9M", "--json")
        assert (again.code, again.json["complete_before"]) == (0, True)
        assert [Path(one) for one in again.json["volumes"]] == volumes(archive.parent)
        foreseen = run("dump", files, archive, "--volume-size", "9M", "--dry-run", "--json")
        assert (foreseen.code, foreseen.json["complete_before"]) == (0, True)


def refused(done: Done, code: int, *parts: str) -> None:
    assert (done.code, done.stdout) == (code, b"")
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize(
    ("number", "size", "words"),
    [
        (1, None, "a.001.gla: volume 1 is missing"),
        (2, None, "a.002.gla: volume 2 is missing"),
        (1, 10, "a.001.gla: is no glancearchive: it has 10 bytes only"),
        (1, 5 * MIB, "the volume is cut short in frame"),
        (2, 5 * MIB, "the volume is cut short in frame"),
        (2, -1, "the volume is cut short in a record header"),
        (2, -112, "the volume ends before its end record: it was cut short"),
        (2, 1, "bytes follow the end of the archive"),
    ],
)
def test_doing_it_again_without_all_of_it(
    number: int, size: int | None, words: str, dry: list[str], archive: Path, files: Path, tmp_path: Path
) -> None:
    """A volume before the last one is missing, or has another size: cut to it, to that much less, or longer."""
    disk = tmp_path / "disk"
    shutil.copytree(archive.parent, disk)
    path = volumes(disk)[number - 1]
    if size is None:
        path.rename(tmp_path / path.name)
    else:
        os.truncate(path, size if size > 1 else path.stat().st_size + size)
    with unchanged(disk):
        again = run("dump", files, disk / "a.gla", "--volume-size", "9M", *dry)
    refused(again, 3, f"{disk / 'a.gla'}: exists already, and is not all there: ", path.name, words, "verify")
    assert run("verify", "--quick", disk).code == 1


def test_doing_it_again_over_several_disks(archive: Path, files: Path, tmp_path: Path) -> None:
    """Volumes may be on any of the directories; one whose disk was taken away is named."""
    one, other = tmp_path / "one", tmp_path / "other"
    shutil.copytree(archive.parent, one)
    other.mkdir()
    for path in volumes(one)[:2]:
        path.rename(other / path.name)
    again = run("dump", files, "a.gla", "--spread", f"{one},{other}", "--json")
    assert (again.code, again.json["complete_before"]) == (0, True)
    refused(run("dump", files, "a.gla", "--spread", one), 3, "a.gla: exists", "a.001.gla: volume 1 is missing")


def test_doing_an_increment_again_without_its_base(archive: Path, files: Path, tmp_path: Path) -> None:
    """That its base is not beside it is no fault of its volumes."""
    more = tmp_path / "more.raw"
    more.write_bytes(random.Random(7).randbytes(12 * MIB))
    command = ["dump", files, more, tmp_path / "b.gla", "--base", archive, "--volume-size", "9M", "--json"]
    assert run(*command).code == 0
    assert len(volumes(tmp_path)) == 2
    again = run(*command)
    assert (again.code, again.json["complete_before"]) == (0, True)


def test_what_does_not_go_together(archive: Path, files: Path, tmp_path: Path) -> None:
    single = tmp_path / "b.gla"
    assert run("dump", files, single).code == 0
    wrong = [
        (["dump", files, archive], "is written in volumes, such as a.001.gla"),
        (["dump", files, archive, "--volume-size", "9M", "--append"], "cannot be added to"),
        (["dump", files, single, "--volume-size", "9M"], "in one piece"),
        (["dump", files, tmp_path / "c.gla", "--volume-size", "4M"], "too small: the least is 4"),
        (
            ["dump", files, tmp_path / "c.gla", "--volume-size", "16M", "--level", "smallest"],
            "too small: the least is 1",
        ),
        (["dump", files, tmp_path / "c.gla", "--volume-size", "much"], "is no number of bytes"),
        (["dump", files, tmp_path / "c.gla", "--volume-local-dedup"], "--volume-size"),
        (["dump", files, tmp_path / "c.gla", "--spread", tmp_path], "without a directory"),
        (["dump", files, "c.gla", "--spread", tmp_path, "--recovery", "5%"], "side by side"),
        (["dump", files, "c.gla", "--spread", ","], "no directory"),
    ]
    with unchanged(tmp_path), unchanged(archive.parent):
        for arguments, part in wrong:
            refused(run(*map(str, arguments)), 2, part)
        refused(run("dump", files, "c.gla", "--spread", tmp_path / "none"), 3, "none: is no directory")
        refused(run("reslice", archive, single, "--volume-size", "9M"), 2, "in one piece")


def test_two_archives_in_one_directory(archive: Path, files: Path, tmp_path: Path) -> None:
    for name in ("b.gla", "c.gla"):
        assert run("dump", files, tmp_path / name, "--volume-size", "9M").code == 0
    refused(run("list", tmp_path), 3, "has several archives, name one of them: b, c")
    assert run("list", tmp_path / "b.gla").code == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(run("list", empty), 3, "is a directory, not an archive")


def test_an_unfinished_one(archive: Path, files: Path, tmp_path: Path) -> None:
    """It can be read up to where it is, by all its names, and goes on in its volumes."""
    first, second, _ = volumes(archive.parent)
    (tmp_path / first.name).write_bytes(first.read_bytes())
    (tmp_path / f"{second.name}.part").write_bytes(second.read_bytes()[: 5 * MIB])
    for name in ("a.gla", "a.001.gla", "a.002.gla.part"):
        done = run("list", tmp_path / name, "--json")
        assert (done.code, done.json["finished"]) == (1, False)
        assert len(done.json["images"]) >= 1
    (tmp_path / first.name).rename(tmp_path / "aside")
    refused(run("dump", files, tmp_path / "a.gla", "--volume-size", "9M"), 3, "a.001.gla: volume 1 is missing")
    (tmp_path / "aside").rename(tmp_path / first.name)
    done = run("dump", files, tmp_path / "a.gla", "--volume-size", "9M", "--json")
    assert done.code == 0, done.stderr
    assert "going on with" in done.stderr
    assert_holds(files, tmp_path / "a.gla")


def test_reslice(archive: Path, files: Path, tmp_path: Path) -> None:
    with unchanged(archive.parent):
        done = run("reslice", archive, tmp_path / "b.gla", "--volume-size", "5M", "--json")
        assert done.code == 0, done.stderr
        assert [Path(one) for one in done.json["volumes"]] == volumes(tmp_path)
        assert max(path.stat().st_size for path in volumes(tmp_path)) <= 5_000_000
        assert {image["action"] for image in done.json["images"]} == {"copied"}
        assert_holds(files, tmp_path / "b.gla")
        joined = run("reslice", tmp_path, tmp_path / "c.gla", "--json")
        assert joined.code == 0, joined.stderr
        assert joined.json["volumes"] == [str(tmp_path / "c.gla")]
        assert joined.json["root_digest"] not in (done.json["root_digest"], "")
        assert_holds(files, tmp_path / "c.gla")
        before = contents(tmp_path)
        refused(run("reslice", archive, tmp_path / "c.gla"), 3, "exists already")
        assert contents(tmp_path) == before


def test_reslice_without_a_volume(archive: Path, files: Path, tmp_path: Path) -> None:
    first, second, third = volumes(archive.parent)
    (tmp_path / "in").mkdir()
    for one in (first, third):
        (tmp_path / "in" / one.name).symlink_to(one)
    done = run("reslice", tmp_path / "in", tmp_path / "b.gla", "--json")
    assert done.code == 1
    assert done.json["faults"] == ["a.002.gla: volume 2 is missing"]
    assert "--with names what is elsewhere" in done.stderr
    failed = [image for image in done.json["images"] if image["action"] == "failed"]
    assert failed
    for image in failed:
        assert "volume 2 (a.002.gla), which is not at hand" in image["reason"]
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / second.name).symlink_to(second)
    done = run("reslice", tmp_path / "in", tmp_path / "c.gla", "--with", tmp_path / "disk", "--json")
    assert done.code == 0, done.stderr
    assert_holds(files, tmp_path / "c.gla")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A medium with 12 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(directory)]
    if os.getuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.parametrize("options", [["-q"], []])
def test_somebody_is_asked_for_the_next_medium(options: list[str], files: Path, small: Path, tmp_path: Path) -> None:
    """Its volume is closed by then: it can be taken out."""
    other = tmp_path / "other"
    other.mkdir()
    result = tmp_path / "result.json"
    with Terminal(
        "dump", files, "a.gla", "--spread", small, "--json", *options, stdout=result, columns=200
    ) as terminal:
        terminal.until(lambda text: "Directory on the next medium" in text)
        assert "no room for a.002.gla in" in terminal.everything
        assert "1 volumes are finished" not in terminal.everything
        assert volumes(small) == [small / "a.001.gla"]
        descriptors = Path(f"/proc/{terminal.process.pid}/fd").iterdir()
        assert not any(one.readlink().is_relative_to(small) for one in descriptors)
        terminal.type(b"/does/not/exist\r")
        terminal.until(lambda text: "/does/not/exist is no directory" in text)
        terminal.type(str(other).encode() + b"\r")
        assert terminal.wait() == 0, terminal.everything
    found: dict[str, Any] = json.loads(result.read_text())
    assert found["volumes"] == [str(small / "a.001.gla"), str(other / "a.002.gla")]
    assert_holds(files, small, other)


PATIENT = """
from glancearchive.operations import transfer
transfer._GRACE = 1e6
from glancearchive.cli import main
main()
"""  # it would wait for the one who was asked


@pytest.mark.parametrize("options", [["-q"], []])
@pytest.mark.parametrize("full", [True, False])
def test_an_interruption_ends_the_question(
    full: bool, options: list[str], files: Path, small: Path, tmp_path: Path
) -> None:
    """When it comes before anything else, and in the middle of the dump."""
    if full:
        with contextlib.suppress(OSError):
            (small / "full").write_bytes(bytes(12 << 20))
    program = [sys.executable, "-c", PATIENT, "dump", files, "a.gla", "--spread", small, *options]
    with Terminal(program=[*map(str, program)], columns=200) as terminal:
        terminal.until(lambda text: "Directory on the next medium" in text)
        assert terminal.text.splitlines()[-1] == "Directory on the next medium (none: give up):"
        terminal.type(b"\x03")
        assert terminal.wait() == 130, terminal.everything
        assert "interrupted" in terminal.everything
    assert volumes(small) == ([] if full else [small / "a.001.gla"])
    other = tmp_path / "other"
    other.mkdir()
    done = run("dump", files, "a.gla", "--spread", f"{small},{other}", "--json")
    assert done.code == 0, done.stderr
    if not full:
        assert f"going on after {small / 'a.001.gla'}, which is finished" in done.stderr
    assert_holds(files, *([other] if full else [other, small]))


@pytest.mark.parametrize("options", [["-q"], []])
def test_nobody_can_answer_any_more(options: list[str], files: Path, small: Path, tmp_path: Path) -> None:
    """The terminal is gone: an interruption, or the answer that there is no other medium, whichever is seen first."""
    log = tmp_path / "log"
    with Terminal("dump", files, "a.gla", "--spread", small, "--log-file", log, *options, columns=200) as terminal:
        terminal.until(lambda text: "Directory on the next medium" in text)
        terminal.hang_up()
        code = terminal.process.wait(60)
    text = log.read_text(encoding="utf-8")
    assert (code in (3, 130), "Traceback" in text, f"ended with exit code {code}" in text) == (True, False, True), text
    other = tmp_path / "other"
    other.mkdir()
    assert run("dump", files, "a.gla", "--spread", f"{small},{other}").code == 0
    assert_holds(files, other, small)


def test_a_question_without_a_terminal_is_answered_with_none(files: Path, small: Path, tmp_path: Path) -> None:
    """As after ``disown -h``, by the main thread: what is said is what would be said to somebody who gives up."""
    log = tmp_path / "log"
    with contextlib.suppress(OSError):
        (small / "full").write_bytes(bytes(12 << 20))
    arguments = command("dump", files, "a.gla", "--spread", small, "--log-file", log)
    program = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *arguments]
    with Terminal(program=program, columns=200) as terminal:
        terminal.until(lambda text: "Directory on the next medium" in text)
        terminal.hang_up()
        assert terminal.process.wait(60) == 3
    text = log.read_text(encoding="utf-8")
    assert "the same command goes on" in text
    assert "standard output" not in text
    assert "Traceback" not in text


def test_somebody_gives_up(files: Path, small: Path, tmp_path: Path) -> None:
    with Terminal("dump", files, "a.gla", "--spread", small, "-q", columns=200) as terminal:
        terminal.until(lambda text: "Directory on the next medium" in text)
        terminal.type(b"\r")
        assert terminal.wait() == 3
        assert "the same command goes on" in terminal.everything
        assert ".part" not in terminal.everything
    other = tmp_path / "other"
    other.mkdir()
    done = run("dump", files, "a.gla", "--spread", f"{small},{other}", "--json")
    assert done.code == 0, done.stderr
    assert_holds(files, other, small)


def test_nobody_is_asked_where_stdin_is_closed(files: Path, small: Path) -> None:
    done = run("dump", files, "a.gla", "--spread", small, preexec=lambda: os.close(0))
    assert (done.code, "add it to --spread, and the same command goes on" in done.stderr) == (3, True)
