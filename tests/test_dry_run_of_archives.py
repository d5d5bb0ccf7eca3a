"""``--dry-run`` of what makes files of archives: the same words and codes, and nothing is written anywhere."""

from __future__ import annotations

import random
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import glancearchive
from glancearchive.cli.rewriting import rewrite
from glancearchive.cli.tally import Tally
from glancearchive.errors import LocalError
from glancearchive.format.header import RecordType
from glancearchive.format.places import Split
from glancearchive.format.writer import ArchiveWriter
from glancearchive.operations.protect import protect
from glancearchive.operations.repair import repair
from glancearchive.recovery.amount import parse_amount
from tests.command import Done, run
from tests.faults.media import read_only
from tests.format.samples import add
from tests.format.test_overlay import places, spoil

SIZE = 150_000
COMMANDS = ("reslice", "merge", "salvage", "protect", "repair", "catalog")


def write(path: Path, numbers: range, size: int = SIZE) -> Path:
    """An archive of images that do not compress, and one that never had data."""
    writer = ArchiveWriter(path, source="a test")
    for number in numbers:
        add(writer, f"image-{number}", random.Random(number).randbytes(size))
    writer.begin("queued", {"id": "queued", "name": "queued"}).give_up("queued", "no-data")
    writer.finish()
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an archive and its recovery data; never change it."""
    directory = tmp_path_factory.mktemp("made")
    assert run("protect", write(directory / "region.gla", range(3))).code == 0
    return directory


@pytest.fixture
def region(made: Path, tmp_path: Path) -> Path:
    """A copy of it: the archive."""
    return Path(shutil.copytree(made, tmp_path / "disk")) / "region.gla"


def tree(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that is in it, hidden or not, directories as well: what it is, when it was changed, what it holds."""
    found = {}
    for path in (directory, *directory.rglob("*")):
        state = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(state.st_mode) else b""
        found[str(path.relative_to(directory))] = state.st_mode, state.st_mtime_ns, content
    return found


@contextmanager
def untouched(directory: Path) -> Iterator[None]:
    """Nothing in it comes, goes or changes: directories tell by their times of files that were there for a while."""
    before = tree(directory)
    yield
    assert tree(directory) == before


def arguments(command: str, region: Path, out: Path) -> list[str | Path]:
    """`command` of the archive, writing into or to something in `out`."""
    return {
        "reslice": ["reslice", region, out / "out.gla"],
        "merge": ["merge", out / "out.gla", region],
        "salvage": ["salvage", region, out / "out.gla"],
        "protect": ["protect", region, "-o", out / "protected"],
        "repair": ["repair", region, "-o", out / "repaired"],
        "catalog": ["catalog", region, out / "out.glacat"],
    }[command]


def both(directory: Path, *given: str | Path) -> tuple[Done, Done]:
    """The dry run, during which nothing in `directory` changes, and the command itself."""
    with untouched(directory):
        looked = run(*given, "--dry-run")
    return looked, run(*given)


def refused(directory: Path, code: int, *given: str | Path) -> str:
    """Both are, with one code and the same words: these."""
    looked, done = both(directory, *given)
    assert (looked.code, done.code) == (code, code), (looked.stderr, done.stderr)
    assert looked.error == done.error
    return done.error


def flip(path: Path, place: int, count: int = 1) -> None:
    data = bytearray(path.read_bytes())
    for at in range(place, place + count):
        data[at] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_it_says_is_what_is_done(command: str, region: Path, tmp_path: Path) -> None:
    if command == "repair":
        flip(region, 50_000)
    given = arguments(command, region, tmp_path)
    with untouched(tmp_path):
        looked = run(*given, "--dry-run", "--json")
        told = run(*given, "--dry-run")
    assert (looked.code, told.code) == (0, 0), (looked.stderr, told.stderr)
    assert told.text.splitlines()
    assert all(line.startswith("dry run: ") for line in told.text.splitlines())
    assert all(line.startswith("dry run: ") for line in told.stderr.splitlines()), told.stderr
    done = run(*given, "--json")
    assert done.code == 0, done.stderr
    foreseen, became = looked.json, done.json
    assert (foreseen.pop("dry_run"), became.pop("dry_run")) == (True, False)
    assert list(foreseen) == list(became)
    settled_later = {"stored", "root_digest"} if command != "catalog" else set()
    for key in set(foreseen) - settled_later:
        assert foreseen[key] == became[key], key
    if "stored" in foreseen:
        assert foreseen["stored"] == pytest.approx(became["stored"], rel=0.1)
        sizes = [Path(path).stat().st_size for path in became.get("files") or [tmp_path / "out.gla"]]
        assert sum(sizes) == became["stored"]


@pytest.mark.parametrize("command", ["reslice", "merge", "salvage", "catalog"])
def test_what_is_there_is_refused(command: str, region: Path, tmp_path: Path) -> None:
    given = arguments(command, region, tmp_path)
    assert run(*given).code == 0
    assert "exists already" in refused(tmp_path, 3, *given)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_archive_that_is_not_there(command: str, tmp_path: Path) -> None:
    refused(tmp_path, 3, *arguments(command, tmp_path / "none.gla", tmp_path))


@pytest.mark.parametrize("command", ["reslice", "merge", "salvage", "catalog"])
def test_a_directory_that_is_not_there(command: str, region: Path, tmp_path: Path) -> None:
    assert "No such file or directory" in refused(tmp_path, 3, *arguments(command, region, tmp_path / "nowhere"))


@pytest.mark.parametrize("command", ["protect", "repair"])
def test_a_file_where_a_directory_is_to_be(command: str, region: Path, tmp_path: Path) -> None:
    if command == "repair":
        flip(region, 50_000)
    (tmp_path / "file").write_text("a file")
    refused(tmp_path, 3, *arguments(command, region, tmp_path / "file"))
    *given, _ = arguments(command, region, tmp_path)
    refused(tmp_path, 3, *given, tmp_path / "file")


@pytest.mark.parametrize(
    ("command", "name"),
    [("reslice", "-"), ("merge", "a.part"), ("salvage", "a.gla.part"), ("catalog", "a.gla")],
)
def test_names_that_nothing_can_have(command: str, name: str, region: Path, tmp_path: Path) -> None:
    written = tmp_path / ("out.glacat" if command == "catalog" else "out.gla")
    other = name if name == "-" else tmp_path / name
    refused(tmp_path, 2, *(other if one == written else one for one in arguments(command, region, tmp_path)))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that is more than a volume; never change it."""
    return write(tmp_path_factory.mktemp("large") / "a.gla", range(4), 2_500_000)


def test_volumes(large: Path, tmp_path: Path) -> None:
    given = arguments("reslice", large, tmp_path)
    assert "too small" in refused(tmp_path, 2, *given, "--volume-size", "4K")
    assert "no directory" in refused(tmp_path, 3, "reslice", large, "a.gla", "--spread", tmp_path / "nowhere")
    looked, done = both(tmp_path, *given, "--volume-size", "5M", "--json")
    assert looked.code == done.code == 0
    assert looked.json["volumes"] == done.json["volumes"][:1]
    assert len(done.json["volumes"]) > 1
    assert "exists already" in refused(tmp_path, 3, *given, "--volume-size", "5M")
    assert "is written in volumes" in refused(tmp_path, 2, *given)


def test_what_was_begun_is_gone_on_with(region: Path, tmp_path: Path) -> None:
    out, part = tmp_path / "out.gla", tmp_path / "out.gla.part"
    assert run("reslice", region, out).code == 0
    part.write_bytes(out.read_bytes()[: places(out, RecordType.END)[0][0]])
    out.unlink()
    looked, done = both(tmp_path, "reslice", region, out, "--json")
    assert (looked.code, done.code) == (0, 0)
    assert looked.images == done.images
    assert "present" in {image["action"] for image in done.images.values()}


def test_what_was_begun_from_something_else(region: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.gla", range(1))
    (tmp_path / "out.gla.part").write_bytes(other.read_bytes()[: places(other, RecordType.END)[0][0]])
    for command in ("reslice", "merge", "salvage"):
        assert "was begun from something else" in refused(tmp_path, 3, *arguments(command, region, tmp_path))


def test_a_part_that_somebody_writes(region: Path, tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "out.gla", source="somebody")
    for command in ("reslice", "merge", "salvage"):
        assert "another process is writing it" in refused(tmp_path, 3, *arguments(command, region, tmp_path))
    writer.close()


@pytest.mark.parametrize("command", ["reslice", "salvage", "catalog", "merge"])
def test_an_increment_without_its_base(command: str, region: Path, tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(random.Random(0).randbytes(SIZE))
    increment = tmp_path / "monday.gla"
    assert run("dump", tmp_path / "a.raw", increment, "--base", region).code == 0
    given = arguments(command, increment, tmp_path)
    if command in ("reslice", "salvage"):
        assert "merge" in refused(tmp_path, 2, *given)
        return
    looked, done = both(tmp_path, *given, "--json")
    assert (looked.code, done.code) == (1, 1)
    assert looked.json["faults"] == done.json["faults"] != []


def test_damage_that_the_records_do_not_tell(region: Path, tmp_path: Path) -> None:
    """Data are read by the command alone, and the dry run says that it has not read them."""
    (begin, _), *_ = places(region, RecordType.FRAME)
    spoil(region, begin + 9)
    for command in ("reslice", "salvage", "merge"):
        looked, done = both(tmp_path, *arguments(command, region, tmp_path))
        assert (looked.code, done.code) == (0, 1)
        assert "as far as the records say: data were not read" in looked.text
        (tmp_path / "out.gla").unlink()


def test_frames_that_nothing_describes(region: Path, tmp_path: Path) -> None:
    """What salvage finds of them, a dry run finds."""
    data = region.read_bytes()
    region.write_bytes(data[: places(region, RecordType.CHECKPOINT)[-1][0]])
    looked, done = both(tmp_path, "salvage", region, tmp_path / "out.gla", "--json")
    assert (looked.code, done.code) == (1, 1)
    assert looked.json["strays"] == done.json["strays"] != []
    assert looked.json["unknown"] == done.json["unknown"] != []
    assert looked.images == done.images
    with untouched(tmp_path):
        told = run("salvage", region, tmp_path / "another.gla", "--dry-run")
    assert "data were not read, but for frames that nothing describes" in told.text


def test_what_is_damaged_is_not_protected(region: Path, tmp_path: Path) -> None:
    flip(region, 50_000)
    assert "is damaged" in refused(tmp_path, 3, "protect", region, "--recovery", "20%")


@pytest.mark.parametrize("text", ["5%", "33%", "100%", "1volume"])
@pytest.mark.parametrize("several", [False, True], ids=["one", "volumes"])
def test_recovery_files_have_the_names_that_were_told(
    text: str, several: bool, region: Path, large: Path, tmp_path: Path
) -> None:
    given = region
    if several:
        given = tmp_path / "volumes"
        given.mkdir()
        assert run("reslice", large, given / "b.gla", "--volume-size", "5M").code == 0
    looked, done = both(tmp_path, "protect", given, "--recovery", text, "-o", tmp_path / "beside", "--json")
    assert (looked.code, done.code) == (0, 0), looked.stderr
    assert looked.json["files"] == done.json["files"]
    assert sorted(map(str, (tmp_path / "beside").iterdir())) == done.json["files"]
    assert looked.json["stored"] == pytest.approx(done.json["stored"], rel=0.1)


def test_recovery_data_that_would_go(region: Path, tmp_path: Path) -> None:
    with untouched(tmp_path):
        present = run("protect", region, "--dry-run", "--json")
        looked = run("protect", region, "--recovery", "30%", "--dry-run")
    assert (present.code, present.json["present"]) == (0, True)
    assert looked.code == 0
    assert "2 earlier recovery files would go" in looked.text


def test_no_program(region: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with untouched(tmp_path), pytest.raises(LocalError, match="take a PAR2 program"):
        protect(region, parse_amount("50%"), dry_run=True)
    flip(region, 50_000)
    with untouched(tmp_path), pytest.raises(LocalError, match="take a PAR2 program"):
        repair(region, output=tmp_path / "out", dry_run=True)


@pytest.mark.parametrize("in_place", [False, True])
def test_which_volumes_would_be_mended(in_place: bool, region: Path, tmp_path: Path) -> None:
    flip(region, 50_000)
    where = ["--in-place"] if in_place else ["-o", str(tmp_path / "mended")]
    looked, done = both(tmp_path, "repair", region, *where, "--json")
    assert (looked.code, done.code) == (0, 0)
    assert looked.json["volumes"] == done.json["volumes"]
    assert [one["status"] for one in done.json["volumes"]] == ["repaired"]


def test_too_much_damage(region: Path, tmp_path: Path) -> None:
    flip(region, 50_000, 200_000)
    looked, done = both(tmp_path, "repair", region, "-o", tmp_path / "mended", "--json")
    assert (looked.code, done.code) == (1, 1)
    assert looked.json | {"dry_run": False} == done.json
    assert "dry run: recovery: too much is damaged" in run("repair", region, "--dry-run").text


def test_nothing_to_repair_and_what_was_repaired_before(region: Path, tmp_path: Path) -> None:
    looked, done = both(tmp_path, "repair", region, "-o", tmp_path / "mended")
    assert looked.text == f"dry run: {done.text}"
    flip(region, 50_000)
    assert run("repair", region, "-o", tmp_path / "mended").code == 0
    looked, done = both(tmp_path, "repair", region, "-o", tmp_path / "mended")
    assert looked.text.splitlines() == [f"dry run: {line}" for line in done.text.splitlines()]
    flip(tmp_path / "mended" / "region.gla", 60_000)
    assert "exists already" in refused(tmp_path, 3, "repair", region, "-o", tmp_path / "mended")


def test_no_space(region: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flip(region, 50_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=7))
    with untouched(tmp_path), pytest.raises(LocalError, match=r"no space for the repaired volumes: .* and 7 are free"):
        repair(region, output=tmp_path / "deep" / "down", dry_run=True)


def test_a_full_medium_asks_for_no_other(region: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(message: str) -> Path:
        pytest.fail(f"somebody is asked: {message}")

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=7))
    split = Split(directories=(tmp_path,), another=ask)
    refusal = pytest.raises(LocalError, match=r"no room for a.001.gla .*; add it to --spread")
    with glancearchive.open(region) as opened, untouched(tmp_path), refusal:
        rewrite(opened, Path("a.gla"), split, Tally(), quiet=True, dry_run=True)


def test_a_read_only_medium(region: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    flipped = shutil.copytree(region.parent, tmp_path / "flipped") / "region.gla"
    flip(flipped, 50_000)
    with read_only(out, tmp_path / "medium") as medium:
        for command in COMMANDS:
            given = arguments(command, flipped if command == "repair" else region, medium)
            assert "Read-only file system" in refused(tmp_path, 3, *given)
