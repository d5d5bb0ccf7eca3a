"""Files that are in the way, places that refuse to be written or read, and readers that go away."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.archives import write_archive
from tests.cloud.images import pattern
from tests.command import Done, command, contents, environ, finished, run, unchanged
from tests.fake_glance import FakeGlance
from tests.format.samples import Sample, tiny_archive
from tests.glances import metadata

MIB = 1 << 20
LARGE = pattern(4 * MIB)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    (tmp_path / "in").mkdir()
    return tiny_archive(tmp_path / "in")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """An archive of one image that is larger than the places below."""
    (tmp_path / "in").mkdir(exist_ok=True)
    return write_archive(tmp_path / "in" / "large.gla", (metadata(LARGE, id="large"), LARGE))


def assert_stopped(done: Done, *words: str) -> None:
    assert (done.code, done.stdout) == (3, b""), done
    for word in words:
        assert word in done.error


def without_privileges() -> None:
    """Permissions count for root too, in the program that is run next."""
    for capability in (1, 2):  # DAC_OVERRIDE, DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def small_files() -> None:
    """No file can be larger than a MiB, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))


# Files that are in the way.


@pytest.mark.parametrize("kind", ["file", "symlink", "dangling symlink"])
def test_extract_overwrites_nothing(kind: str, sample: Sample, out: Path) -> None:
    target = out / "one.img"
    if kind == "file":
        target.write_bytes(b"mine")
    else:
        if kind == "symlink":
            (out / "real").write_bytes(b"mine")
        target.symlink_to(out / "real")
    with unchanged(out):
        done = run("extract", sample.path, "one", "-o", target)
    assert done.code == 1
    assert "one.img: exists already" in done.stderr


@pytest.mark.parametrize("name", ["two", "two.img"])
def test_extract_to_a_directory_overwrites_nothing(name: str, sample: Sample, out: Path) -> None:
    (out / name).write_bytes(b"mine")
    done = run("extract", sample.path, "two", "one", "-o", out, "--json")
    assert done.code == 1
    assert f"{name}: exists already" in done.images["two"]["reason"]
    assert (done.images["two"]["status"], done.images["one"]["status"]) == ("failed", "extracted")
    assert contents(out).keys() == {"one", "one.img", name}
    assert (out / name).read_bytes() == b"mine"


@pytest.mark.parametrize("kind", ["text", "directory", "other archive"])
def test_dump_overwrites_nothing(kind: str, sample: Sample, out: Path) -> None:
    target = out / "x.gla"
    if kind == "directory":
        target.mkdir()
    elif kind == "text":
        target.write_bytes(b"mine")
    else:
        shutil.copy(sample.path, target)
    with FakeGlance() as server, unchanged(out):
        for options in ([], ["--append"]):
            done = run("dump", server.url, target, *options)
            if kind == "other archive" and options:
                assert_stopped(done, "x.gla: is an archive of test, not of glance")
            else:
                assert_stopped(done, "x.gla: ")
            assert [path.name for path in out.iterdir()] == ["x.gla"]


# Places that refuse.


def below_a_file(out: Path) -> Path:
    (out / "file").write_bytes(b"mine")
    return out / "file"


def nowhere(out: Path) -> Path:
    return out / "no" / "such"


def unwritable(out: Path) -> Path:
    (out / "locked").mkdir(mode=0o555)
    return out / "locked"


PLACES = pytest.mark.parametrize("place", [below_a_file, nowhere, unwritable])


@PLACES
def test_dump_to_where_nothing_can_be_written(place: Callable[[Path], Path], out: Path) -> None:
    target = place(out) / "x.gla"
    with FakeGlance() as server, unchanged(out):
        assert_stopped(run("dump", server.url, target, preexec=without_privileges), "x.gla", ": ")


@PLACES
def test_extract_to_where_nothing_can_be_written(place: Callable[[Path], Path], sample: Sample, out: Path) -> None:
    target = place(out)
    with unchanged(out):
        # A directory to extract to is made, with those above it.
        for argument in [f"{target}/x.img"] + [f"{target}/", f"{target}/sub/"] * (place is not nowhere):
            done = run("extract", sample.path, "one", "-o", argument, preexec=without_privileges)
            assert_stopped(done, str(target))


@pytest.mark.parametrize("argument", [["verify"], ["extract", "-o", "-"]])
def test_an_archive_that_may_not_be_read(argument: list[str], sample: Sample, out: Path) -> None:
    name, *options = argument
    sample.path.chmod(0)
    assert_stopped(run(name, sample.path, *options, preexec=without_privileges), "tiny.gla", "Permission denied")
    sample.path.chmod(0o644)
    sample.path.parent.chmod(0)
    try:
        assert_stopped(run(name, sample.path, *options, preexec=without_privileges), "tiny.gla", "Permission denied")
    finally:
        sample.path.parent.chmod(0o755)


@pytest.mark.parametrize("device", [os.devnull, "/dev/zero"])
def test_an_archive_that_is_no_file(device: str, tmp_path: Path) -> None:
    assert_stopped(run("list", device), Path(device).name)


def test_an_archive_that_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gla")
    assert_stopped(run("list", tmp_path / "pipe.gla"), "pipe.gla")


# Places without space.


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of a MiB."""
    directory = tmp_path / "full"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)]
    if os.getuid() or not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def dump_without_space(target: Path, word: str, preexec: Callable[[], None] | None = None) -> None:
    with FakeGlance() as server:
        done = run("dump", server.url, target, "--jobs", "1", preexec=preexec)
    assert done.code == 3
    assert word in done.stderr.splitlines()[-1]
    assert not target.exists()


def test_dump_without_space(full: Path) -> None:
    (full / "mine").write_bytes(b"mine")
    dump_without_space(full / "x.gla", "No space left on device")
    assert (full / "mine").read_bytes() == b"mine"


def test_dump_beyond_the_largest_file(out: Path) -> None:
    """And once there is space the same command goes on from what was written."""
    with FakeGlance() as server:
        done = run("dump", server.url, out / "x.gla", "--jobs", "1", preexec=small_files)
        assert (done.code, (out / "x.gla").exists()) == (3, False)
        assert "File too large" in done.stderr
        again = run("dump", server.url, out / "x.gla")
        assert again.code == 0, again.stderr
    assert run("verify", out / "x.gla", "--glance-hash").code == 0
    assert contents(out).keys() == {"x.gla"}


def test_dump_of_files_without_space_says_what_is_committed(out: Path, tmp_path: Path) -> None:
    """Small images that were told as copied before the last checkpoint may not be in it."""
    (tmp_path / "images").mkdir()
    for number in range(45):  # there is a checkpoint after 32 MiB
        (tmp_path / "images" / f"{number:02}.img").write_bytes(pattern(MIB, number))
    largest = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (40 * MIB, 40 * MIB))
    done = run("dump", tmp_path / "images", out / "x.gla", "--jobs", "1", preexec=largest)
    told = done.stderr.count("copied:")
    assert (done.code, told > 0) == (3, True)
    hints = [line for line in done.stderr.splitlines() if "once there is room" in line]
    assert len(hints) == 1
    [said] = re.findall(r"whole in what was committed: (\d+) images?; whatever else was told is read", done.stderr)
    listed = run("list", out / "x.gla.part", "--json").json["images"]
    assert int(said) == sum(image["status"] == "complete" for image in listed) > 0
    assert run("dump", tmp_path / "images", out / "x.gla").code == 0
    assert len(run("list", out / "x.gla", "--json").json["images"]) == 45


def test_an_image_that_is_named_twice_goes_into_one_file(large: Path, out: Path) -> None:
    for words, code in ((["large", "an image"], 0), (["large", "none"], 2)):
        done = run("extract", large, *words, "-o", out / "x.img")
        assert done.code == code, done.stderr
    assert (out / "x.img").read_bytes() == LARGE


@pytest.mark.parametrize("to_directory", [False, True])
def test_extract_without_space(to_directory: bool, large: Path, full: Path) -> None:
    (full / "mine").write_bytes(b"mine")
    with unchanged(full):
        target = f"{full}/" if to_directory else full / "x.img"
        assert_stopped(run("extract", large, "large", "-o", target), "No space left on device")
    # Room for the image, but not for its metadata too.
    (full.parent / "in2").mkdir()
    much = write_archive(full.parent / "in2" / "much.gla", (metadata(b"x", id="much", long="v" * 2 * MIB), b"x"))
    if to_directory:
        assert_stopped(run("extract", much, "much", "-o", target), "No space left on device")
        assert contents(full).keys() <= {"mine", "much.img"}


def test_extract_beyond_the_largest_file(large: Path, out: Path) -> None:
    assert_stopped(run("extract", large, "large", "-o", out / "x.img", preexec=small_files), "File too large")
    assert contents(out) == {}


def test_extract_to_a_full_pipe(sample: Sample) -> None:
    with open("/dev/full", "wb") as stdout:
        for name, *options in (["extract", "one", "-o", "-"], ["list"], ["list", "--json"], ["verify"]):
            assert_stopped(run(name, sample.path, *options, stdout=stdout), "No space left on device")


# Readers that go away.


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["list", "--json"], ["show", "{}", "large"], ["verify", "--json"], ["extract", "{}", "-o", "-"]],
    ids=" ".join,
)
def test_a_reader_that_goes_away(arguments: list[str], large: Path) -> None:
    if "{}" not in arguments:
        arguments = [*arguments, "{}"]
    program = command(*(part.format(large) for part in arguments))
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(program, env=environ(), stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(write)
    assert finished(done.returncode, b"", done.stderr) == Done(1, b"", "")


def test_no_stdout_at_all(large: Path) -> None:
    """As under a service manager that closes it."""
    program = ["sh", "-c", '"$@" >&-', "sh", *command("verify", large)]
    done = subprocess.run(program, env=environ(), stderr=subprocess.PIPE, timeout=60, check=False)
    assert_stopped(finished(done.returncode, b"", done.stderr), "standard output: Bad file descriptor")


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(closed: str, out: Path) -> None:
    """Nothing that is opened afterwards gets their numbers, and so none of what is said."""
    (out / "disk.img").write_bytes(LARGE)
    program = command("dump", out / "disk.img", out / "x.gla", "-vv")
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *program], env=environ(), timeout=60, check=False)
    assert done.returncode == (3 if ">&- 2" in closed.replace("<&- ", "") else 0)
    assert run("verify", out / "x.gla").code == 0


def test_interrupted_in_the_middle_of_an_import() -> None:
    program = "import signal, sys; sys.path_hooks.insert(0, lambda path: signal.raise_signal(signal.SIGINT))"
    text = f"from glancearchive.__main__ import main; {program}; sys.path_importer_cache.clear(); main()"
    done = subprocess.run([sys.executable, "-c", text], env=environ(), capture_output=True, timeout=60, check=False)
    assert finished(done.returncode, done.stdout, done.stderr) == Done(130, b"", "glancearchive: error: interrupted\n")


def test_extract_leaves_a_file_alone_that_is_the_same(large: Path, out: Path) -> None:
    target = out / "x.img"
    assert run("extract", large, "large", "-o", target, "--json").json["images"][0]["status"] == "extracted"
    before = target.stat().st_mtime_ns
    for options in ([], ["--dry-run"]):
        done = run("extract", large, "large", "-o", target, *options)
        assert (done.code, "present: large" in done.stderr, "identical, left alone" in done.stderr) == (0, True, True)
    assert target.stat().st_mtime_ns == before
    data = bytearray(LARGE)
    data[5] ^= 1
    target.write_bytes(data)
    done = run("extract", large, "large", "-o", target, "--json")
    assert (done.code, done.json["images"][0]["status"]) == (1, "failed")
    assert target.read_bytes() == data


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["list"],
        ["list", "{}", "{}"],
        ["list", "{}", "--nonsense"],
        ["verify", "{}", "--quick", "--glance-hash"],
        ["show", "{}", "no such image"],
        ["extract", "{}", "no such image"],
        ["extract", "{}", "one", "two", "-o", "{}"],
        ["extract", "{}", "one", "two", "-o", "-"],
        ["extract", "{}", "one", "-o", "-", "--json"],
        ["dump", "127.0.0.1:1", "x.gla", "--jobs", "0"],
        ["dump", "127.0.0.1:1", "x.gla", "--level", "nonsense"],
        ["load", "{}"],
        ["dump", "https://127.0.0.1:1", "x.gla", "--key", "{}"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str], sample: Sample, out: Path) -> None:
    done = run(*(part.format(sample.path) for part in arguments), cwd=out)
    assert (done.code, done.stdout) == (2, b""), done.stderr
    assert done.stderr
    assert contents(out) == {}


def test_wrong_usage_says_where_there_is_help() -> None:
    for arguments in (["load", "x", "y", "--map", "owner=new"], ["load", "x", "y", "--nonsense"], ["load"]):
        assert "Try 'glancearchive load" in run(*arguments).stderr
    assert "Try 'glancearchive -" in run("--nonsense").stderr


def test_dump_onto_an_archive_whose_end_is_missing_says_what_to_do(out: Path) -> None:
    path = out / "x.gla"
    with FakeGlance() as server:
        assert run("dump", server.url, path).code == 0
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 1)
        before = contents(out)
        assert_stopped(run("dump", server.url, path), "its end is damaged or missing", "--append")
        assert contents(out) == before
        assert run("dump", server.url, path, "--append").code == 0
    assert run("verify", path).code == 0


def test_the_name_of_an_unfinished_archive_is_not_one_for_an_archive(out: Path) -> None:
    done = run("dump", "127.0.0.1:1", out / "x.gla.part")
    assert (done.code, "x.gla goes on with it" in done.error, contents(out)) == (2, True, {})


def test_nothing_is_said_to_be_committed_when_nothing_is(out: Path) -> None:
    (out / "disk.img").write_bytes(LARGE)
    done = run("dump", out / "disk.img", out / "x.gla", preexec=small_files)
    assert done.code == 3
    assert "what was committed" not in done.stderr
