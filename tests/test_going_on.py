"""Going on with what was left half done, and adding to an archive: repair archives, merges, a full disk."""

from __future__ import annotations

import json
import random
import resource
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

import glancearchive
from glancearchive.cli import cli
from glancearchive.cli.volumes import Directories
from glancearchive.endpoints.archive_source import DEFINITIONS, ArchiveSource
from glancearchive.endpoints.archive_target import recorded
from glancearchive.endpoints.files import FileSource
from glancearchive.endpoints.glance_source import GlanceSource
from glancearchive.errors import InterruptedTransferError, LocalError, UsageError
from glancearchive.format.base import open_base
from glancearchive.format.header import RecordType
from glancearchive.format.recordfile import RecordFile
from glancearchive.format.state import Relation
from glancearchive.format.volumes import part_of
from glancearchive.format.writer import INTERRUPTED, ArchiveWriter
from glancearchive.image import Action, Buffer, Image, Source
from glancearchive.operations.definitions import WithDefinitions
from glancearchive.operations.dump import dump
from glancearchive.operations.merge import Merger
from glancearchive.operations.plan import plan_dump
from glancearchive.operations.reslice import reslice
from glancearchive.operations.select import Selected, Selection
from glancearchive.operations.transfer import Stop
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.command import contents, run, unchanged
from tests.format.samples import tiny_archive
from tests.format.test_overlay import answer, images, need_of, places, spoil, write
from tests.format.test_said_again import records
from tests.glances import Counter, api
from tests.test_cli_bad_places import without_privileges

MIB = 1 << 20


class Images:
    """Images that do not compress, by id; implements `glancearchive.image.Source`."""

    label = "noise"

    def __init__(self, **sizes: int) -> None:
        self._sizes = sizes

    def images(self) -> Iterator[Image]:
        for image_id, size in self._sizes.items():
            yield Image({"id": image_id, "name": image_id, "status": "active", "size": size})

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        data = random.Random(image.id).randbytes(self._sizes[image.id])
        for at in range(offset, len(data), MIB):
            yield data[at : at + MIB]


class FaultlessImages(Images):
    """A `LocatedSource`."""

    faults: tuple[str, ...] = ()


class Interrupting(Counter):
    """Asks for the end as soon as there are data of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.stop = Stop()

    def advance(self, image: Image, count: int) -> None:
        super().advance(image, count)
        self.stop.request()


def begun_with(source: Source, path: Path) -> None:
    """A dump that was interrupted in the first image of `source`."""
    progress = Interrupting()
    with pytest.raises(InterruptedTransferError):
        list(dump(source, path, progress=progress, jobs=1, stop=progress.stop).outcomes)
    with glancearchive.open(part_of(path)) as archive:
        assert [image.status for image in archive] == ["unfinished"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("finished", [False, True])
def test_a_repair_archive_is_no_dump(tmp_path: Path, finished: bool, append: bool) -> None:
    whole = write(tmp_path / "whole.gla", images(1))
    damaged = write(tmp_path / "damaged.gla", images(1))
    spoil(damaged, places(damaged, RecordType.FRAME)[0][0] + 9)
    repair = tmp_path / "repair.gla"
    answer(whole, need_of(damaged), repair)
    with glancearchive.open(whole) as archive, glancearchive.open(repair) as repairs:
        source = ArchiveSource(archive)
        source.label = repairs.header.source
        entries = {entry.id: entry for entry in repairs.catalog.current()}
        for image in source.images():
            assert image.id not in entries or recorded(image, entries[image.id]) is None
        if not finished:
            repair.rename(part_of(repair))
        with unchanged(tmp_path):
            with pytest.raises(UsageError, match=r"repair\.gla: (was begun as|is) a repair of archive"):
                list(dump(source, repair, progress=Counter(), append=append).outcomes)
            with pytest.raises(UsageError, match="a repair of archive"):
                list(plan_dump(source, repair, progress=Counter()))


def test_a_merge_that_was_interrupted_mends_what_had_failed(tmp_path: Path) -> None:
    """And images that have no data are said to have none, as they are without an interruption."""
    sample = tiny_archive(tmp_path)
    out = tmp_path / "out.gla"
    with Merger([sample.path]) as merger:
        header = merger.archives[0].header
        begun = ArchiveWriter(
            out, source=header.source, block_size=header.block_size, relation=Relation(header.hash_key)
        )
        begun.begin("one", {"id": "one"}).give_up("it is not all here")
        begun.begin("queued", {"id": "queued", "status": "queued"}).give_up("queued", "no-data")
        begun.commit()
        begun.close()
        outcomes = {outcome.id: outcome for outcome in merger.run(out, level="default").outcomes}
    assert outcomes["one"].action is Action.COPIED
    queued = outcomes["queued"]
    assert (queued.action, queued.size, queued.reason, queued.clean) == (Action.NO_DATA, 0, "queued", True)
    with glancearchive.open(out) as archive:
        assert {image.id: b"".join(image.content().chunks()) for image in archive if image.size is not None} == (
            sample.data
        )


def test_reslice_that_was_interrupted_says_the_same(tmp_path: Path) -> None:
    sample = tiny_archive(tmp_path)
    out = tmp_path / "out.gla"
    with glancearchive.open(sample.path) as archive:
        first = list(reslice(archive, out, None).outcomes)
    out.unlink()
    with glancearchive.open(sample.path) as archive:
        begun = reslice(archive, out, None).outcomes
        for _ in first[:-1]:
            next(begun)
        begun.close()  # type: ignore[attr-defined]
        again = list(reslice(archive, out, None).outcomes)
    for one, other in zip(first, again, strict=True):
        expected = Action.PRESENT if one.action is Action.COPIED and one is not first[-1] else one.action
        assert (other.action, other.size, other.reason, other.clean) == (expected, one.size, one.reason, one.clean)


def assert_left_behind(image_id: str, path: Path, *command: str | Path) -> None:
    """The `command`, which goes on without the image that the dump into `path` was interrupted in, says so."""
    with unchanged(path.parent):
        dry = run(*command, "--dry-run", "--json")
    done = run(*command, "--json")
    for one in (dry, done):
        assert (one.code, one.json["ok"]) == (1, False), one.stderr
        assert sorted(image["action"] for image in one.json["images"]) == ["copied", "failed"]
        left = one.images[image_id]
        assert (left["action"], left["reason"], left["size"]) == ("failed", INTERRUPTED, 0)
        assert f"failed: {image_id} " in one.stderr
    with glancearchive.open(path) as archive:
        assert {image.status for image in archive} == {"complete", "failed"}
        assert [(image.id, image.reason) for image in archive if image.status == "failed"] == [(image_id, INTERRUPTED)]
    again = run(*command, "--json")
    assert again.code == 1
    assert again.images[image_id]["reason"] == INTERRUPTED


def test_an_image_of_a_glance_that_is_not_chosen_any_more(glance_a: Glance, tmp_path: Path) -> None:
    client, path = glance_a.client(), tmp_path / "q.gla"
    first, odd = (client.add(pattern(6 * MIB + size), name="left-behind")["id"] for size in (1, 2))
    source = GlanceSource(api(glance_a.url))
    begun_with(Selected(source, Selection([("image", first)])), path)
    assert_left_behind(first, path, "dump", glance_a.url, path, "--image", odd)
    done = run("dump", glance_a.url, path, "--image", first, "--append", "--json")
    assert (done.code, done.images[first]["action"]) == (0, "copied"), done.stderr
    assert run("verify", path).code == 0


def test_a_file_that_is_not_named_any_more(tmp_path: Path) -> None:
    path, one, odd = (tmp_path / name for name in ("q.gla", "one.raw", "odd.raw"))
    for number, file in enumerate((one, odd)):
        file.write_bytes(random.Random(number).randbytes(9 * MIB))
    source = FileSource([one])
    begun_with(source, path)
    (image,) = source.images()
    assert_left_behind(image.id, path, "dump", odd, path)
    done = run("dump", one, path, "--append", "--json")
    assert (done.code, done.images[image.id]["action"]) == (0, "copied"), done.stderr
    assert run("verify", path).code == 0


def test_an_image_that_was_gone_on_with_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "q.gla"
    begun_with(Images(a=9 * MIB), path)
    outcomes = list(dump(Images(a=9 * MIB, b=MIB), path, progress=Counter()).outcomes)
    assert sorted((one.id, one.action) for one in outcomes) == [("a", Action.COPIED), ("b", Action.COPIED)]


def test_a_failed_append_gives_the_archive_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.gla"
    assert [one.action for one in dump(Images(a=MIB), path, progress=Counter()).outcomes] == [Action.COPIED]
    before = contents(tmp_path)
    with largest_file(6 * MIB):
        result = dump(Images(a=MIB, b=40 * MIB), path, progress=Counter(), append=True)
        with pytest.raises(LocalError, match="cannot be written"):
            list(result.outcomes)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("kind", "place", "goes_on"),
    [
        (RecordType.PADDING, 200, True),  # in its payload: nothing depends on it
        (RecordType.PADDING, 20, False),  # in its header: whether a record was here nobody can tell
        (RecordType.CATALOG, 150, False),
    ],
)
def test_an_append_never_cuts_off_the_end_of_a_finished_archive(
    tmp_path: Path, kind: RecordType, place: int, goes_on: bool
) -> None:
    """Increments name it."""
    archive = tmp_path / "a.gla"
    (tmp_path / "one.img").write_bytes(random.Random(1).randbytes(MIB))
    (tmp_path / "two.img").write_bytes(random.Random(2).randbytes(MIB))
    assert run("dump", tmp_path / "one.img", archive).code == 0
    data = bytearray(archive.read_bytes())
    data[records(archive, kind)[0].offset + place] ^= 1
    archive.write_bytes(data)
    done = run("dump", tmp_path / "one.img", tmp_path / "two.img", archive, "--append")
    if goes_on:
        assert done.code == 0, done.stderr
        assert archive.read_bytes().startswith(data)
    else:
        assert done.code == 3
        assert "would cut off the end with which it was finished" in done.stderr
        assert archive.read_bytes() == data
    assert not part_of(archive).exists()


def test_what_cannot_be_cut_back_keeps_the_name_of_an_unfinished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gla"
    assert len(list(dump(Images(a=MIB), path, progress=Counter()).outcomes)) == 1

    def fail(*_: object) -> None:
        raise LocalError("cannot be cut")

    with largest_file(6 * MIB), monkeypatch.context() as patched:
        patched.setattr(RecordFile, "cut", fail)
        result = dump(Images(a=MIB, b=40 * MIB), path, progress=Counter(), append=True)
        with pytest.raises(LocalError, match="cannot be written"):
            list(result.outcomes)
    assert [one.name for one in tmp_path.iterdir()] == ["a.gla.part"]
    again = dump(Images(a=MIB, b=40 * MIB), path, progress=Counter())
    assert [one.action for one in again.outcomes] == [Action.PRESENT, Action.COPIED]


def test_a_dry_run_refuses_what_the_dump_refuses(tmp_path: Path) -> None:
    """An archive in volumes: too small ones, no size, adding to a finished one; one that is finished is so here too."""
    (tmp_path / "in").mkdir()
    for number in (1, 2):
        (tmp_path / "in" / f"{number}.raw").write_bytes(random.Random(number).randbytes(6 * MIB))
    done = run("dump", tmp_path / "in", tmp_path / "a.gla", "--volume-size", "9M")
    assert done.code == 0, done.stderr
    with unchanged(tmp_path):
        for name, *options in (
            ("a.gla",),
            ("a.gla", "--volume-size", "9M", "--append"),
            ("new.gla", "--volume-size", "1M"),
            ("new.gla", "--volume-size", "16M", "--level", "smallest"),
        ):
            arguments = ["dump", tmp_path / "in", tmp_path / name, *options]
            real, dry = run(*arguments), run(*arguments, "--dry-run")
            assert real.code == 2, real.stderr
            assert (dry.code, dry.stderr.splitlines()[-1]) == (2, real.stderr.splitlines()[-1])
        again = run("dump", tmp_path / "in", tmp_path / "a.gla", "--volume-size", "9M", "--dry-run", "--json")
        assert (again.code, again.json["complete_before"]) == (0, True)


def test_a_dry_run_refuses_a_place_where_nothing_can_be_created(tmp_path: Path) -> None:
    (tmp_path / "one.raw").write_bytes(bytes(5000))
    (tmp_path / "closed").mkdir(mode=0o555)
    for place in ("none", "one.raw", "closed"):
        arguments = ["dump", tmp_path / "one.raw", tmp_path / place / "a.gla"]
        real, dry = (run(*arguments, *more, preexec=without_privileges) for more in ([], ["--dry-run"]))
        assert (real.code, "cannot be created" in real.error) == (3, True), real.stderr
        assert (dry.code, dry.error) == (3, real.error)


def test_a_dry_run_says_so_in_each_line(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text('{"id": "another"}')
        (tmp_path / name).rename(tmp_path / str(uuid.uuid4()))
    done = run("dump", tmp_path, tmp_path / "a.gla", "--dry-run")
    assert done.code == 1
    assert [line.partition(": ")[0] for line in done.text.splitlines()] == ["dry run"] * 3


@pytest.mark.parametrize("command", ["dump", "reslice", "salvage", "merge"])
@pytest.mark.parametrize(("name", "why"), [("-", "stdout"), ("b.gla.part", "an unfinished archive is called")])
def test_names_that_no_archive_can_have(tmp_path: Path, command: str, name: str, why: str) -> None:
    path = str(tiny_archive(tmp_path).path)
    out = name if name == "-" else str(tmp_path / name)
    with unchanged(tmp_path):
        done = run(command, *((out, path) if command == "merge" else (path, out)))
    assert (done.code, done.stdout) == (2, b"")
    assert why in done.stderr


def test_an_increment_and_a_repair_archive_are_not_salvaged(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.gla", images(1))
    with open_base([whole]) as base:
        write(tmp_path / "increment.gla", images(2), base=base)
    damaged = write(tmp_path / "damaged.gla", images(1))
    spoil(damaged, places(damaged, RecordType.FRAME)[0][0] + 9)
    answer(whole, need_of(damaged), tmp_path / "repair.gla")
    with unchanged(tmp_path):
        for name, what in (("increment.gla", "is an increment: merge"), ("repair.gla", "is a repair archive: salvage")):
            done = run("salvage", tmp_path / name, tmp_path / "out.gla")
            assert (done.code, done.stdout) == (2, b"")
            assert what in done.stderr


def test_salvage_says_what_was_committed_when_it_is_broken_off(tmp_path: Path) -> None:
    result = dump(Images(a=MIB, b=40 * MIB), tmp_path / "a.gla", progress=Counter())
    assert len(list(result.outcomes)) == 2
    out = tmp_path / "out.gla"
    with glancearchive.open(tmp_path / "a.gla") as archive:
        begun = reslice(archive, out, None).outcomes
        next(begun)
        begun.close()  # type: ignore[attr-defined]
    limit = part_of(out).stat().st_size + 4096
    done = run(
        "salvage",
        tmp_path / "a.gla",
        out,
        preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.code == 3, done.stderr
    assert f"what was committed is in {part_of(out)}; the same command goes on from there" in done.stderr


def test_with_is_for_archives(tmp_path: Path) -> None:
    archive = tiny_archive(tmp_path).path
    files = tmp_path / "files"
    files.mkdir()
    (files / "one.raw").write_bytes(b"one")
    server = "http://127.0.0.1:9"  # is not asked
    for arguments in (("size", files), ("compare", files, tmp_path / "files" / "one.raw"), ("load", server, files)):
        done = run(*arguments, "--with", archive)
        assert (done.code, done.stdout) == (2, b""), done.stderr
    both = run("compare", archive, files, "--with", archive, "--json")
    assert both.code == 1, both.stderr


def test_a_directory_to_spread_over_counts_once(tmp_path: Path) -> None:
    named = f"{tmp_path},{tmp_path}/,{tmp_path}/../{tmp_path.name}"
    assert Directories().convert(named, None, None) == (tmp_path,)


def test_without_a_chosen_image_there_are_no_definitions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("glancearchive.operations.definitions.definitions_of", lambda _origin: [])
    nothing, one = FaultlessImages(), FaultlessImages(a=1)
    assert [image.id for image in WithDefinitions(nothing, None).images()] == [DEFINITIONS]
    assert [image.id for image in WithDefinitions(one, None, alone=False).images()] == ["a", DEFINITIONS]
    chosen = WithDefinitions(nothing, None, alone=False)
    assert list(dump(chosen, tmp_path / "a.gla", progress=Counter(), covering=True).outcomes) == []
    assert contents(tmp_path) == {}


def test_recovery_data_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a program nothing is begun; where the program fails, the dump is told all the same."""
    image = tmp_path / "one.raw"
    image.write_bytes(random.Random(1).randbytes(MIB))

    def fail(*_: object, **__: object) -> None:
        raise LocalError("no room for recovery data")

    monkeypatch.setattr("glancearchive.cli.recovery.run_protect", fail)
    asked = ["dump", str(image), str(tmp_path / "a.gla"), "--recovery", "5%", "--json"]
    done = CliRunner().invoke(cli, asked, standalone_mode=False)
    assert done.return_value == 1
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert document["faults"] == ["recovery data: no room for recovery data"]
    assert document["recovery"] is None
    assert len(document["root_digest"]) == 64
    before = contents(tmp_path)
    monkeypatch.setattr(sys.modules["glancearchive.cli.dump"].ReadBacks, "well", False)
    document = json.loads(CliRunner().invoke(cli, asked, standalone_mode=False).stdout)
    assert document["faults"] == ["no recovery data were made, for the medium does not hold what was written"]
    monkeypatch.setattr(sys.modules["glancearchive.cli.dump"], "find_program", fail)
    done = CliRunner().invoke(cli, ["dump", str(image), str(tmp_path / "b.gla"), "--recovery", "5%"])
    assert isinstance(done.exception, LocalError)
    assert contents(tmp_path) == before
