"""The journal of loads: what it saves, and that nothing else depends on it, whatever is wrong with it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from glancearchive.endpoints import policy
from glancearchive.endpoints.glance_target import GlanceTarget
from glancearchive.endpoints.journal import Journal, state_directory
from glancearchive.image import Action, Digest, Image, Outcome
from tests.archives import write_archive
from tests.cloud.glance import Glance
from tests.command import contents, run
from tests.faults.subject import raising
from tests.glances import DATA, Counter, Memory, api, metadata

TARGET, ARCHIVE = "glance http://there:9292", bytes(range(16))
IMAGE = Image(metadata())
SHA256 = Digest("sha256", hashlib.sha256(DATA).hexdigest())


def journal(directory: Path, target: str = TARGET, archive: bytes = ARCHIVE) -> Journal:
    return Journal(directory, target, archive)


def test_what_was_recorded_is_recalled_by_the_next_load(tmp_path: Path) -> None:
    first = journal(tmp_path / "state")
    assert not first.recalls(IMAGE, SHA256)
    first.record(IMAGE, SHA256)
    first.record(IMAGE, SHA256)
    assert first.recalls(IMAGE, SHA256)
    assert journal(tmp_path / "state").recalls(IMAGE, SHA256)
    entry = json.loads(first.path.read_text())  # once
    assert entry.keys() == {"target", "archive", "image", "data", "digest"}
    assert first.path.stat().st_mode & 0o077 == 0
    assert first.path.parent.stat().st_mode & 0o077 == 0


def test_it_is_recalled_for_these_data_and_this_digest_only(tmp_path: Path) -> None:
    journal(tmp_path).record(IMAGE, SHA256)
    again = journal(tmp_path)
    assert not again.recalls(Image(metadata(DATA[:-1])), SHA256)
    assert not again.recalls(IMAGE, Digest("sha256", "0" * 64))
    assert not again.recalls(Image({"id": IMAGE.id}), SHA256)
    journal(tmp_path / "none").record(Image({"id": IMAGE.id}), SHA256)  # nothing to recognise its data by
    assert not (tmp_path / "none").exists()


def test_damage_is_remembered(tmp_path: Path) -> None:
    first, frame = journal(tmp_path), (bytes(range(16)), 2**61 + 3)
    assert first.suspects == set()
    first.record_damage(frame)
    first.record_damage(frame)
    assert json.loads(first.path.read_text())["frame"] == [frame[0].hex(), frame[1]]  # once
    assert journal(tmp_path).suspects == {frame}
    assert journal(tmp_path, "glance http://elsewhere").suspects == set()


@pytest.mark.parametrize("value", [None, 7, [], ["zz", 1], ["aa"], [1, "aa"], ["aa", "1"], {"aa": 1}])
def test_damage_that_makes_no_sense_is_passed_over(tmp_path: Path, value: object) -> None:
    one = journal(tmp_path)
    one.record_damage((b"\xaa", 1))
    head = json.loads(one.path.read_text())
    with one.path.open("a") as file:
        file.write(json.dumps({**head, "frame": value}) + "\n")
    assert journal(tmp_path).suspects == {(b"\xaa", 1)}


@pytest.mark.parametrize(
    "other", [("glance http://elsewhere", ARCHIVE), (TARGET, bytes(16))], ids=["target", "archive"]
)
def test_each_target_and_each_archive_has_its_own(other: tuple[str, bytes], tmp_path: Path) -> None:
    own = journal(tmp_path)
    own.record(IMAGE, SHA256)
    assert not journal(tmp_path, *other).recalls(IMAGE, SHA256)
    shutil.copy(own.path, journal(tmp_path, *other).path)  # a foreign journal under the right name
    assert not journal(tmp_path, *other).recalls(IMAGE, SHA256)


def test_a_torn_line_costs_itself_only(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.record(IMAGE, SHA256)
    whole = first.path.read_bytes()
    other = Image(metadata(b"other"))
    for length in range(len(whole) - 1):  # the last byte is only the end of the line
        first.path.write_bytes(whole[:length])
        torn = journal(tmp_path)
        assert not torn.recalls(IMAGE, SHA256)
        torn.record(other, SHA256)  # appended to the torn line
        assert journal(tmp_path).recalls(other, SHA256)


@pytest.mark.parametrize(
    "junk",
    [
        b"\0" * 10_000,
        os.urandom(10_000),
        b"[" * 2000 + b"\n",
        b'{"target": 1, "archive": [], "data": {}, "digest": null}\n[]\n1\n"x"\nnull\n',
        b"x" * 1_000_000,
        b'{"target": "\xff\xfe"}\n',
    ],
    ids=["zeros", "noise", "deep", "other shapes", "one long line", "no UTF-8"],
)
def test_junk_is_passed_over(junk: bytes, tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.record(IMAGE, SHA256)
    first.path.write_bytes(junk + first.path.read_bytes())
    again = journal(tmp_path)
    assert again.recalls(IMAGE, SHA256)
    assert not again.recalls(Image(metadata(b"other")), SHA256)


def occupied(directory: Path) -> None:
    directory.write_text("a file")


def taken(directory: Path) -> None:
    journal(directory).path.mkdir(parents=True)


def piped(directory: Path) -> None:
    directory.mkdir()
    os.mkfifo(journal(directory).path)


def endless(directory: Path) -> None:
    directory.mkdir()
    journal(directory).path.symlink_to("/dev/zero")


def full(directory: Path) -> None:
    directory.mkdir()
    journal(directory).path.symlink_to("/dev/full")


@pytest.mark.parametrize("obstacle", [occupied, taken, piped, endless, full])
def test_where_none_can_be_kept_nothing_is_remembered(obstacle: Callable[[Path], None], tmp_path: Path) -> None:
    obstacle(tmp_path / "state")
    for _ in range(2):
        one = journal(tmp_path / "state")
        assert not one.recalls(IMAGE, SHA256)
        one.record(IMAGE, SHA256)


def test_a_disk_that_fills_up_in_the_middle_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [Image(metadata(b"%d" % number)) for number in range(3)]
    one = journal(tmp_path)
    one.record(images[0], SHA256)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: len(data) // 2]))
        one.record(images[1], SHA256)
        patch.setattr(os, "write", raising(OSError(errno.ENOSPC, "No space left on device")))
        one.record(images[2], SHA256)
    again = journal(tmp_path)
    assert [again.recalls(image, SHA256) for image in images] == [True, False, False]
    again.record(images[2], SHA256)
    assert journal(tmp_path).recalls(images[2], SHA256)


def test_two_loads_at_once_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    images = [Image(metadata(b"%d" % number)) for number in range(200)]
    journals = [journal(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        for number, image in enumerate(images):
            pool.submit(journals[number % 4].record, image, SHA256)
    again = journal(tmp_path)
    assert all(again.recalls(image, SHA256) for image in images)


def test_it_lies_in_the_users_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory() == tmp_path / "glancearchive" / "loads"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_directory() == tmp_path / ".local" / "state" / "glancearchive" / "loads"


# What a load makes of it.


@pytest.fixture(scope="module")
def sha256_glance(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Glance that hashes with another algorithm than the images' own."""
    with Glance(tmp_path_factory.mktemp("sha256"), hashing_algorithm="sha256") as glance:
        yield glance


def load(glance: Glance, image: Image, one: Journal | None, data: bytes = DATA) -> tuple[Outcome, int]:
    """The outcome, and how often the data were read."""
    source = Memory(data)
    outcome = GlanceTarget(api(glance.url), journal=one).receive(image, source, Counter())
    return outcome, source.reads


def test_data_that_were_verified_are_not_read_again(sha256_glance: Glance, tmp_path: Path) -> None:
    image = Image(metadata())
    outcome, _ = load(sha256_glance, image, journal(tmp_path))
    assert (outcome.action, outcome.verified) == (Action.COPIED, "sha256")
    outcome, reads = load(sha256_glance, image, journal(tmp_path))
    assert (outcome.action, outcome.verified, reads) == (Action.PRESENT, "sha256", 0)
    # From another machine it takes longer, and comes to the same.
    outcome, reads = load(sha256_glance, image, journal(tmp_path / "other"))
    assert (outcome.action, outcome.verified, reads) == (Action.PRESENT, "sha256", 1)


def test_a_load_killed_before_the_final_metadata_does_not_read_again(sha256_glance: Glance, tmp_path: Path) -> None:
    image = Image(metadata(visibility="public"))
    client = sha256_glance.client()
    client.create(**policy.creation_body(image, policy.mark_for(image)))
    client.upload(image.id, DATA)
    journal(tmp_path).record(image, SHA256)
    outcome, reads = load(sha256_glance, image, journal(tmp_path))
    assert (outcome.action, outcome.verified, reads) == (Action.COPIED, "sha256", 0)
    assert client.show(image.id)["visibility"] == "public"


def test_a_lie_does_not_make_other_data_the_right_ones(sha256_glance: Glance, tmp_path: Path) -> None:
    other = DATA[:-1] + b"!"
    image = Image(metadata(other))
    sha256_glance.client().add(DATA, id=image.id)
    journal(tmp_path).record(image, SHA256)  # as if the archive's data were those of the target
    outcome, _ = load(sha256_glance, image, journal(tmp_path), other)
    assert outcome.action is Action.CONFLICT
    assert "other data" in outcome.reason


def test_where_no_other_digest_can_vouch_for_it_it_is_not_believed(sha256_glance: Glance, tmp_path: Path) -> None:
    other = DATA[:-1] + b"!"
    image = Image(metadata(other, checksum=None))
    sha256_glance.client().add(DATA, id=image.id)
    journal(tmp_path).record(image, SHA256)
    outcome, reads = load(sha256_glance, image, journal(tmp_path), other)
    assert (outcome.action, reads) == (Action.CONFLICT, 1)


def test_an_entry_that_is_out_of_date_counts_for_nothing(sha256_glance: Glance, tmp_path: Path) -> None:
    image = Image(metadata())
    sha256_glance.client().add(DATA, id=image.id)
    journal(tmp_path).record(image, Digest("sha256", "0" * 64))
    outcome, reads = load(sha256_glance, image, journal(tmp_path))
    assert (outcome.action, outcome.verified, reads) == (Action.PRESENT, "sha256", 1)


def test_the_command_keeps_it_and_does_without_it(sha256_glance: Glance, tmp_path: Path) -> None:
    image = metadata()
    (tmp_path / "medium").mkdir()
    archive = write_archive(tmp_path / "medium" / "a.gla", (image, DATA))
    medium = contents(tmp_path / "medium")
    homes = [tmp_path / "home", tmp_path / "home", Path(os.devnull)]
    results = []
    for home in homes:
        done = run("load", sha256_glance.url, archive, "--json", env={"XDG_STATE_HOME": str(home)})
        assert (done.code, done.stderr) == (0, "")
        results.append(done.json["images"][0])
        assert contents(tmp_path / "medium") == medium
    assert [one["action"] for one in results] == ["copied", "present", "present"]
    assert results[1] == results[2]
    (journal_file,) = (tmp_path / "home").rglob("*.jsonl")
    assert image["id"] in journal_file.read_text()
