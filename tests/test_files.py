"""Disk image files as a source: what is taken, what is made of it, and what can go wrong while it is read."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from glancearchive.endpoints.diskfile import DiskFile
from glancearchive.endpoints.files import FileSource
from glancearchive.endpoints.glance_target import GlanceTarget
from glancearchive.endpoints.image_format import recognise
from glancearchive.endpoints.location import locate
from glancearchive.errors import ImageFileError
from glancearchive.format.imageparts import FAILED
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Image, Outcome
from glancearchive.operations.dump import dump
from glancearchive.operations.transfer import transfer
from glancearchive.zeros import PIECE, are_zeros
from tests.archives import write_archive
from tests.cloud.glance import Glance
from tests.cloud.images import ImageSet, pattern
from tests.command import Done, environ, run
from tests.glances import Counter, api, metadata
from tests.test_cli_bad_places import without_privileges

MIB = 1 << 20
DATA = pattern(3 * MIB + 77)
SMALL = b"a small image\n" * 300
UTF8 = b"".join(b"%d\n" % number for number in range(300)) + "Grüße\n".encode()  # oslo.utils fails at it
LATER = 1_700_000_000_123_456_789  # nanoseconds


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with two images."""
    directory = tmp_path / "images"
    directory.mkdir()
    (directory / "one.img").write_bytes(DATA)
    (directory / "two.raw").write_bytes(SMALL)
    return directory


def listed(*paths: Path) -> tuple[dict[str, Image], list[str]]:
    """The images of a `FileSource` by name, and its faults."""
    source = FileSource(paths)
    images = list(source.images())
    found = {image.name: image for image in images}
    assert len(found) == len(images)
    return found, source.faults


def dumped(place: Path, *options: str) -> Done:
    return run("dump", place, place.parent / "x.gla", "--json", *options)


def taken(path: Path, *places: Path, append: bool = False) -> dict[str, Outcome]:
    """What a dump of `places` into the archive `path` did, by name."""
    outcomes = list(dump(FileSource(places), path, progress=Counter(), append=append).outcomes)
    return {each.name: each for each in outcomes}


def actions(done: Done) -> dict[str, str]:
    return {image["name"]: image["action"] for image in done.json["images"]}


# What is made of them.


def test_dump_and_everything_after_it(image_set: ImageSet, glance_a: Glance, tmp_path: Path) -> None:
    files = {image.name: image for image in image_set if not image.name.startswith("s")}
    paths = [image.path for image in files.values()]
    done = run("dump", *paths, tmp_path / "x.gla", "--json")
    assert (done.code, done.json["server"], done.json["faults"]) == (0, "files", [])
    assert actions(done) == dict.fromkeys(files, "copied")
    assert {(image["verified"], image["reason"]) for image in done.json["images"]} == {("", "")}
    assert run("verify", tmp_path / "x.gla").code == 0
    with glancearchive.open(tmp_path / "x.gla") as archive:
        assert not any(image.hashes for image in archive)
    loaded = run("load", glance_a.url, tmp_path / "x.gla", "--json")
    assert (loaded.code, {image["verified"] for image in loaded.json["images"]}) == (0, {"sha512"})
    client = glance_a.client()
    for image_id, image in done.images.items():
        shown, file = client.show(image_id), files[image["name"]]
        assert hashlib.sha512(file.path.read_bytes()).hexdigest() == shown["os_hash_value"]
        assert (shown["name"], shown["disk_format"], shown["container_format"]) == (file.name, file.disk_format, "bare")
        client.delete(image_id)


def test_metadata(place: Path) -> None:
    os.utime(place / "one.img", ns=(0, LATER))
    images, faults = listed(place)
    assert faults == []
    assert dict(images["one"].metadata) == {
        "id": images["one"].id,
        "name": "one",
        "status": "active",
        "visibility": "private",
        "protected": False,
        "os_hidden": False,
        "tags": [],
        "disk_format": "raw",
        "container_format": "bare",
        "min_disk": 0,
        "min_ram": 0,
        "size": len(DATA),
        "created_at": "2023-11-14T22:13:20Z",
        "updated_at": "2023-11-14T22:13:20Z",
    }
    assert (images["one"].absent, images["one"].digests, images["one"].held.original) == ("", (), True)


def test_the_id_goes_with_the_file(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.copy2(place / "one.img", tmp_path / "elsewhere")
    before = listed(place)[0]["one"].id
    assert uuid.UUID(before).version == 5
    assert listed(Path(moved))[0]["one"].id == before == listed(place / "one.img")[0]["one"].id
    os.utime(moved, ns=(0, LATER))
    assert listed(Path(moved))[0]["one"].id != before
    (place / "one.img").rename(place / "uno.img")
    assert listed(place)[0]["uno"].id != before


def test_the_id_never_changes(tmp_path: Path) -> None:
    """Archives that exist have it."""
    (tmp_path / "debian-12.qcow2").write_bytes(b"x")
    os.utime(tmp_path / "debian-12.qcow2", ns=(0, LATER))
    assert listed(tmp_path)[0]["debian-12"].id == "d6a292ee-d06e-5e58-a5da-7f262626ca89"


def test_a_time_beyond_all_calendars(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiskFile, "modified", 2**62 * 1000)
    assert "created_at" not in listed(place)[0]["one"].metadata


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("debian-12.1.QCOW2", "debian-12.1"),
        ("debian-12.1", "debian-12.1"),
        ("disk.img.raw", "disk.img"),
        (".img", ".img"),
        ("ünï 你好.iso", "ünï 你好"),
        ("new\nline.img", "new\nline"),
        (b"caf\xe9.img", "caf\\xe9"),
    ],
)
def test_names(name: str | bytes, image: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(SMALL)
    with locate(str(path)).open() as source:
        (outcome,) = dump(source, tmp_path / "x.gla", progress=Counter()).outcomes
    assert (outcome.name, outcome.action, outcome.clean) == (image, Action.COPIED, True)


def sample(signature: bytes, at: int = 0, size: int = 70_000) -> bytes:
    return bytes(at) + signature + bytes(size - at - len(signature))


PARTITION = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0])


@pytest.mark.parametrize(
    ("head", "disk_format"),
    [
        (sample(b"QFI\xfb\0\0\0\3"), "qcow2"),
        (sample(b"conectix"), "vhd"),
        (sample(b"vhdxfile"), "vhdx"),
        (sample(b"KDMV\1\0\0\0"), "vmdk"),
        (sample(b"\x7f\x10\xda\xbe", 0x40), "vdi"),
        (sample(b"CD001", 32769), "iso"),
        (bytes(446) + PARTITION + bytes(48) + b"\x55\xaa" + bytes(70_000), "raw"),
        (sample(b"LUKS\xba\xbe\0\1"), "raw"),
        (sample(b"QED\0"), "raw"),
        (b"QFI\xfb\0\0\0\3" + sample(b"CD001", 32761), "raw"),  # two at once
        (SMALL, ""),
        (b"", ""),
        (bytes(70_000), ""),
        (UTF8, ""),
        (UTF8 + bytes(70_000), ""),
    ],
)
def test_formats(head: bytes, disk_format: str) -> None:
    assert recognise(head) == disk_format


def test_text_ends_no_command(tmp_path: Path) -> None:
    (tmp_path / "x.img").write_bytes(UTF8)
    for place, image in ((tmp_path / "x.img", "x"), (tmp_path, "x")):
        done = run("size", place, "--json")
        assert (done.code, [one["name"] for one in done.json["images"]]) == (0, [image]), done.stderr
    (tmp_path / "notes").write_bytes(UTF8)
    done = run("size", tmp_path, "--json")
    assert (done.code, "notes: has neither the name nor the content" in done.stderr) == (1, True)
    done = run("dump", tmp_path / "x.img", tmp_path / "x.gla", "--json")
    assert (done.code, [one["action"] for one in done.json["images"]]) == (0, ["copied"]), done.stderr


# What is taken.


def test_several_files_and_directories(place: Path, tmp_path: Path) -> None:
    (tmp_path / "no image").write_bytes(SMALL)  # but named
    done = run("dump", tmp_path / "no image", place, place / "one.img", tmp_path / "x.gla", "--json")
    assert (done.code, actions(done)) == (0, {"no image": "copied", "one": "copied", "two": "copied"})


def test_directories_within(place: Path) -> None:
    (place / "sub" / "sub").mkdir(parents=True)
    (place / "sub" / "sub" / "three").write_bytes(sample(b"QFI\xfb\0\0\0\3"))
    images, _ = listed(place)
    assert list(images) == ["one", "two", "three"]
    assert images["three"].metadata["disk_format"] == "qcow2"


def replicator_directory(path: Path) -> None:
    described = metadata(SMALL)
    path.mkdir()
    (path / described["id"]).write_text("{}")
    (path / f"{described['id']}.img").write_bytes(SMALL)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(path))


LEFT_OUT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "text": (lambda path: path.write_bytes(SMALL), "has neither the name nor the content of an image; left out"),
    "empty.img": (lambda path: path.touch(), "is empty; left out"),
    "fifo.img": (os.mkfifo, "is no regular file; left out"),
    "socket": (unix_socket, "is no regular file; left out"),
    "dangling.img": (lambda path: path.symlink_to("nowhere"), "No such file or directory; left out"),
    "circle.img": (lambda path: path.symlink_to("circle.img"), "symbolic links; left out"),
    "link": (lambda path: path.symlink_to(path.parent), "a link to a directory, left out"),
    "replicated": (replicator_directory, "a directory of glance-replicator, to be dumped by itself, left out"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_may_be_an_image_is_left_out_with_a_finding(
    name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, why = LEFT_OUT[name]
    monkeypatch.chdir(tmp_path)  # the path of a socket has to be short
    make(place / name)
    images, (fault,) = listed(place)
    assert list(images) == ["one", "two"]
    assert fault.startswith(f"{place / name}: ")
    assert fault.endswith(why)


def test_findings_are_told(place: Path) -> None:
    (place / "SHA256SUMS").write_bytes(SMALL)
    done = dumped(place)
    (fault,) = done.json["faults"]
    assert (done.code, done.json["ok"], actions(done)) == (1, False, {"one": "copied", "two": "copied"})
    assert f"glancearchive: {fault}" in done.stderr
    again = dumped(place)
    assert (again.code, again.json["complete_before"], again.json["ok"]) == (1, True, False)


def test_a_file_of_the_same_name_size_and_time(place: Path) -> None:
    for name in ("a", "b"):
        (place / name).mkdir()
        (place / name / "disk.img").write_bytes(name.encode() * 5000)
        os.utime(place / name / "disk.img", ns=(0, LATER))
    images, (fault,) = listed(place)
    assert list(images) == ["one", "two", "disk"]
    assert fault == f"{place}/b/disk.img: its name, size and time are all those of {place}/a/disk.img; left out"


def test_files_of_one_name(place: Path) -> None:
    (place / "sub").mkdir()
    (place / "sub" / "one.img").write_bytes(SMALL)
    images = list(FileSource([place]).images())
    assert [image.name for image in images] == ["one", "two", "one"]
    assert len({image.id for image in images}) == 3


def test_a_link_is_an_image_of_its_own_name(place: Path) -> None:
    (place / "latest.img").symlink_to("one.img")
    (place / "two.link.raw").hardlink_to(place / "two.raw")
    images, faults = listed(place, place / "one.img")
    assert (sorted(images), faults) == (["latest", "one", "two", "two.link"], [])


def test_hidden_files_are_left_out_with_a_word(place: Path) -> None:
    (place / ".cache").mkdir()
    (place / ".cache" / "three.img").write_bytes(SMALL)
    (place / ".four.img").write_bytes(SMALL)
    done = dumped(place)
    assert (done.code, actions(done)) == (0, {"one": "copied", "two": "copied"})
    assert "hidden files or directories that are left out: 2" in done.stderr
    named = run("dump", place / ".four.img", place.parent / "y.gla", "--json")
    assert (named.code, actions(named)) == (0, {".four": "copied"})


def test_the_archive_may_lie_among_the_images(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(place / "another")
    for options in ((), (), ("--append",)):
        done = run("dump", ".", "x.gla", "--json", *options, cwd=place)
        assert (done.code, done.json["faults"]) == (0, [])
        assert "another: an archive, left out" in done.stderr
        assert "x.gla: an archive" in done.stderr or not options
    (place / "x.gla").rename(place / "x.gla.part")
    done = run("dump", *sorted(each.name for each in place.iterdir()), "x.gla", "--json", cwd=place)
    assert (done.code, actions(done)) == (0, {"one": "present", "two": "present"})


def test_a_directory_without_images(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = run("dump", tmp_path / "in", tmp_path / "x.gla", "--json")
    assert (done.code, done.json["images"], done.json["ok"]) == (1, [], False)
    assert "no image" in done.stderr


def test_what_a_glance_will_refuse_is_told(place: Path) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("no qemu-img")
    make = ["qemu-img", "create", "-q", "-f", "qcow2"]
    subprocess.run([*make, place / "base.qcow2", "1M"], check=True)
    subprocess.run([*make, "-b", "base.qcow2", "-F", "qcow2", place / "overlay.qcow2"], check=True)
    images, (fault,) = listed(place)
    assert {"base", "overlay"} < images.keys()
    assert fault.startswith(f"{place}/overlay.qcow2: a Glance is likely to refuse it: ")
    assert "backing file" in fault


# Again, later.


def test_dumping_again(place: Path) -> None:
    assert actions(dumped(place)) == {"one": "copied", "two": "copied"}
    again = dumped(place)
    assert (again.code, again.json["complete_before"], again.json["images"]) == (0, True, [])
    (place / "three.img").write_bytes(SMALL[::-1])
    again = dumped(place)
    assert again.code == 3
    assert "1 of the images are not in it" in again.error
    assert "('three'); --append adds them" in again.error
    added = dumped(place, "--append")
    assert "going on" not in added.stderr  # nothing was interrupted
    assert (added.code, actions(added)) == (0, {"one": "present", "two": "present", "three": "copied"})
    (place / "two.raw").unlink()
    assert dumped(place).code == 0  # what is gone stays in the archive


def test_a_file_that_was_written_again_is_another_image(place: Path, tmp_path: Path) -> None:
    first = taken(tmp_path / "x.gla", place)
    (place / "two.raw").write_bytes(SMALL + b"more")
    second = taken(tmp_path / "x.gla", place, append=True)
    assert (second["one"].action, second["two"].action) == (Action.PRESENT, Action.COPIED)
    with glancearchive.open(tmp_path / "x.gla") as archive:
        assert [image.size for image in archive.find("two")] == [len(SMALL), len(SMALL) + 4]
        assert {image.id for image in archive} == {each.id for run in (first, second) for each in run.values()}


def test_an_archive_of_something_else(place: Path) -> None:
    write_archive(place.parent / "x.gla")
    for options in ((), ("--append",)):
        done = dumped(place, *options)
        assert (done.code, "a test" in done.error) == (3, True)


KILL = """
import os, sys
from functools import partial
from pathlib import Path
import glancearchive.operations.dump as module
from glancearchive.endpoints.files import FileSource
from glancearchive.format.writer import ArchiveWriter
module.ArchiveWriter = partial(ArchiveWriter, interval=0.0)
class Progress:
    total = 0
    def start(self, image, position):
        pass
    def advance(self, image, count):
        self.total += count
        if self.total > 2 << 20:
            os._exit(9)
list(module.dump(FileSource([Path(sys.argv[1])]), Path(sys.argv[2]), progress=Progress(), jobs=1).outcomes)
"""


def test_killed_it_goes_on_where_it_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.run([sys.executable, "-c", KILL, place, place.parent / "x.gla"], env=environ(), check=False)
    assert killed.returncode == 9
    assert (place.parent / "x.gla.part").exists()
    offsets = {}
    read = FileSource.read

    def watched(self: FileSource, image: Image, offset: int = 0) -> Iterator[Any]:
        offsets[image.name] = offset
        return read(self, image, offset)

    monkeypatch.setattr(FileSource, "read", watched)
    outcomes = list(dump(FileSource([place]), place.parent / "x.gla", progress=Counter(), hash_originals=True).outcomes)
    assert all(each.clean and each.action is Action.COPIED for each in outcomes)
    assert offsets["one"] >= MIB
    with glancearchive.open(place.parent / "x.gla") as archive:
        assert glancearchive.verify(archive, glancearchive.Depth.GLANCE).ok
        assert archive.find("one")[0].open().read() == DATA
        assert archive.find("one")[0].hashes["sha512"] == hashlib.sha512(DATA).hexdigest()


# Straight into a Glance.


def test_load_without_an_archive(place: Path, glance_a: Glance) -> None:
    source, client = FileSource([place]), glance_a.client()
    for expected in (Action.COPIED, Action.PRESENT):
        outcomes = list(transfer(source, GlanceTarget(api(glance_a.url)), progress=Counter()))
        assert [(each.action, each.clean, each.verified) for each in outcomes] == [(expected, True, "sha512")] * 2
    for each in outcomes:
        assert client.download(each.id) == (DATA if each.name == "one" else SMALL)
        client.delete(each.id)


# Reading.


def holey(path: Path, *parts: int) -> bytes:
    """A file of as many MiB of data, hole, data, … as `parts` says; returns what is in it."""
    content = b""
    with path.open("wb") as file:
        for number, part in enumerate(parts):
            piece = bytes(part * MIB) if number % 2 else pattern(part * MIB, number)
            content += piece
            if number % 2:
                file.seek(part * MIB, os.SEEK_CUR)
            else:
                file.write(piece)
        file.truncate(len(content))
    return content


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all reads of files as they are."""
    sizes: list[int] = []

    class Counting(io.FileIO):
        def read(self, size: int = -1) -> bytes:  # type: ignore[override]
            data = super().read(size)
            sizes.append(len(data))
            return data

    monkeypatch.setattr(io, "FileIO", Counting)
    return sizes


@pytest.mark.parametrize("parts", [(1, 9), (0, 5, 1), (2, 3, 1, 70), (0, 7), (3,)])
def test_holes_cost_no_reading(parts: tuple[int, ...], tmp_path: Path, bytes_read: list[int]) -> None:
    content = holey(tmp_path / "x.img", *parts)
    if len(parts) > 1 and (tmp_path / "x.img").stat().st_blocks * 512 > sum(parts[::2]) * MIB + MIB:
        pytest.skip("the file system has no holes")
    file = DiskFile(tmp_path / "x.img")
    for offset in (0, 5, MIB + 4096, len(content) - 1, len(content)):
        bytes_read.clear()
        pieces = list(file.read(offset))
        assert b"".join(pieces) == content[offset:]
        assert all(0 < len(piece) <= PIECE for piece in pieces)
        assert sum(bytes_read) <= sum(parts[::2]) * MIB


def test_zeros_that_are_no_holes_are_made_out_where_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.img").write_bytes(b"data".ljust(MIB, b"\0") + bytes(2 * MIB) + b"data")
    pieces = list(DiskFile(tmp_path / "x.img").read())
    assert [are_zeros(piece) for piece in pieces] == [False, True, True, False]


def test_where_the_system_knows_no_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = holey(tmp_path / "x.img", 1, 3, 1)

    def refused(*_arguments: Any) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    with monkeypatch.context() as patch:
        patch.setattr(os, "lseek", refused)
        assert b"".join(DiskFile(tmp_path / "x.img").read()) == content
    monkeypatch.delattr(os, "SEEK_DATA")
    monkeypatch.delattr(os, "SEEK_HOLE")
    assert b"".join(DiskFile(tmp_path / "x.img").read(4097)) == content[4097:]


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def cut(path: Path) -> None:
    os.truncate(path, MIB)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


def replace(path: Path) -> None:
    """By a copy with the same bytes and times: it may be another by now."""
    shutil.copy2(path, path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "grown": (grow, f"it has {len(DATA) + 4} bytes instead of {len(DATA)}"),
    "cut": (cut, f"ends at byte {MIB}, and had {len(DATA)} bytes before"),
    "overwritten": (overwrite, "its time is another"),
    "replaced": (replace, "another file has its name"),
    "removed": (lambda path: path.unlink(), "No such file"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_while_it_is_read(change: str, place: Path) -> None:
    make, why = CHANGES[change]
    file = DiskFile(place / "one.img")
    got = 0
    with pytest.raises(ImageFileError) as raised:  # noqa: PT012
        for piece in file.read():
            if not got:
                make(place / "one.img")
            got += len(piece)
    assert why in str(raised.value)
    assert str(place / "one.img") in str(raised.value)
    assert got < len(DATA)  # the end is not given away: whoever takes the bytes cannot believe that they are all


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_before_it_is_read(change: str, place: Path) -> None:
    file = DiskFile(place / "one.img")
    CHANGES[change][0](place / "one.img")
    with pytest.raises(ImageFileError):
        next(file.read())


class Changing(FileSource):
    """Whose first file changes after a MiB."""

    def read(self, image: Image, offset: int = 0) -> Iterator[Any]:
        for piece in super().read(image, offset):
            yield piece
            if image.name == "one":
                grow(self._files[image.id].path)


def test_a_file_that_changes_is_failed_and_the_next_run_takes_it(place: Path) -> None:
    path = place.parent / "x.gla"
    outcomes = {each.name: each for each in dump(Changing([place]), path, progress=Counter()).outcomes}
    assert (outcomes["one"].action, outcomes["two"].action) == (Action.FAILED, Action.COPIED)
    assert "one.img: changed while it was read" in outcomes["one"].reason
    outcomes = taken(path, place, append=True)
    assert (outcomes["one"].action, outcomes["two"].action) == (Action.COPIED, Action.PRESENT)
    with glancearchive.open(path) as archive:
        assert [image.status for image in archive.find("one")] == ["complete", "no-data"]


def test_a_medium_that_fails_costs_the_image(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.FileIO):
        def read(self, size: int = -1) -> bytes:  # type: ignore[override]
            if self.tell() >= 2 * MIB:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(io, "FileIO", Failing)
    outcomes = taken(place.parent / "x.gla", place)
    assert (outcomes["one"].action, outcomes["two"].action) == (Action.FAILED, Action.COPIED)
    assert outcomes["one"].reason == f"{place}/one.img: cannot be read: Input/output error"


def test_files_and_directories_that_may_not_be_read(place: Path) -> None:
    (place / "closed").mkdir(0)
    (place / "one.img").chmod(0)
    done = run("dump", place, place.parent / "x.gla", "--json", preexec=without_privileges)
    assert (done.code, actions(done)) == (1, {"one": "failed", "two": "copied"})
    assert done.json["faults"] == [f"{place}/closed: cannot be listed: Permission denied"]
    (place / "one.img").chmod(0o644)
    mended = taken(place.parent / "x.gla", place, append=True)
    assert (mended["one"].action, mended["two"].action) == (Action.COPIED, Action.PRESENT)
    with glancearchive.open(place.parent / "x.gla") as archive:
        assert glancearchive.verify(archive).ok


def test_a_failure_that_was_made_good_is_no_finding_any_more(place: Path) -> None:
    """The id of the file as it was will never come again."""
    path = place.parent / "x.gla"
    failed = {each.name: each.id for each in dump(Changing([place]), path, progress=Counter()).outcomes}["one"]
    assert run("verify", path).code == 1
    whole = taken(path, place, append=True)["one"].id
    done = run("verify", path, "--json")
    assert (done.code, {image["id"]: image["status"] for image in done.json["images"]}[failed]) == (0, "no-data")
    reason = next(image["reason"] for image in done.json["images"] if image["id"] == failed)
    assert reason.startswith(f"superseded: the file of this name is here as {whole}; before: ")
    assert "changed while it was read" in reason
    assert all(each.action is Action.PRESENT for each in taken(path, place, append=True).values())
    # The name is enough again.
    assert run("show", path, "one", "--json").json["id"] == whole
    assert run("show", path, failed, "--json").json["id"] == failed
    assert run("extract", path, "one", "-o", place.parent / "one.img").code == 0
    assert (place.parent / "one.img").read_bytes() == (place / "one.img").read_bytes()


def test_a_failure_that_nothing_made_good_stays_one(place: Path) -> None:
    path = place.parent / "x.gla"
    list(dump(Changing([place]), path, progress=Counter()).outcomes)
    (place / "one.img").rename(place / "another.img")
    taken(path, place, append=True)
    assert run("verify", path).code == 1


def test_a_name_of_one_that_failed_and_of_another(place: Path) -> None:
    """The failed one has data elsewhere: which one is meant nobody can tell."""
    path = place.parent / "x.gla"
    writer = ArchiveWriter(path, source="a test")
    for image, data in ((metadata(SMALL), SMALL), (metadata(SMALL), b"")):
        entry = writer.begin(image["id"], image)
        if data:
            entry.write(data)
            entry.finish({}, "")
        else:
            entry.give_up("the medium failed", FAILED)
    writer.finish()
    done = run("show", path, "an image")
    assert (done.code, "2 images are called 'an image'; use an id: " in done.error) == (2, True)
    assert all(word in done.error for word in ("(complete)", "(failed)"))
