"""Kills and power cuts at every step that a writer takes: the same calls again, and the result is the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import glancearchive
from glancearchive.errors import FormatError, LocalError
from glancearchive.format.header import HEADER_SIZE, RecordHeader, RecordType
from tests.faults import subject
from tests.faults.storage import Disk, Recorder, Step, after_kill, after_power_cut
from tests.faults.subject import BLOCK, Images, assert_well, assert_whole, dump

NAME = "a.gla"
PART = "a.gla.part"


class Stopped(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    """The steps of an uninterrupted dump."""
    return record(tmp_path_factory.mktemp("uninterrupted"), subject.several())


def record(directory: Path, data: dict[str, bytes | None], *, append: bool = False) -> list[Step]:
    recorder = Recorder()
    with recorder.recording():
        assert_well(dump(directory / NAME, Images(data), append=append))
    assert_whole(directory / NAME, data)
    return recorder.steps


def assert_resumes(disk: Disk, place: Path, data: dict[str, bytes | None], *, append: bool = False) -> Images:
    """The same command again, after which everything is as if nothing had happened."""
    disk.put(place)
    source = Images(data)
    again = append and not (place / PART).exists()
    assert_well(dump(place / NAME, source, append=again))
    assert_whole(place / NAME, data)
    assert [path.name for path in place.iterdir()] == [NAME]
    return source


def test_a_kill_at_every_step(steps: list[Step], memory: Path) -> None:
    """And what a checkpoint has is not read again: with every step there is less left to read."""
    assert sum(step.kind == "sync" for step in steps) > 20  # else this would test little
    left = sum(len(data) for data in subject.several().values() if data)
    interval = 0
    for count in range(len(steps) + 1):
        given = sum(assert_resumes(after_kill({}, steps[:count]), memory, subject.several()).given.values())
        assert given <= left
        left, interval = given, max(interval, left - given)
    assert left == 0
    # Three frames are under way between two checkpoints, and here one image has as much in duplicates and zeros.
    assert interval <= 2 * 3 * 2 * BLOCK + 6 * BLOCK + 8 * BLOCK


@pytest.mark.parametrize("part", [0.5])
def test_a_kill_in_the_middle_of_a_write(steps: list[Step], memory: Path, part: float) -> None:
    for count, step in enumerate(steps):
        if step.kind == "write" and count % 3 == 0:  # which meets headers and payloads of all types in turn
            assert_resumes(after_kill({}, steps[: count + 1], part), memory, subject.several())


@pytest.mark.parametrize("seed", range(1))
def test_a_power_cut_at_every_step(steps: list[Step], memory: Path, seed: int) -> None:
    for count in range(len(steps) + 1):
        rng = random.Random(f"{seed} {count}")
        assert_resumes(after_power_cut({}, steps[:count], rng), memory, subject.several())


def test_a_dump_that_fails_at_every_step_in_turn(memory: Path) -> None:
    """Each run comes one step further than the one before, over what that left; the last one finishes."""
    runs = 0
    while not (memory / NAME).exists():
        left = runs + 1
        runs += 1

        def one_more(_step: Step) -> None:
            nonlocal left
            if not left:
                raise Stopped
            left -= 1

        recorder = Recorder(one_more)
        try:
            with recorder.recording():
                dump(memory / NAME, Images(subject.several()))
        except (Stopped, LocalError):
            pass
        assert runs < 200
    assert_whole(memory / NAME, subject.several())


def test_a_kill_at_every_step_of_adding_to_a_finished_archive(memory: Path) -> None:
    """Nothing of the finished archive is lost, whatever happens to what is added."""
    old = {key: data for key, data in subject.several().items() if key in ("first", "queued", "zeros")}
    new = old | {key: data for key, data in subject.several().items() if key not in old}
    record(memory, old)
    before = {NAME: (memory / NAME).read_bytes()}
    steps = record(memory, new, append=True)
    for count in range(len(steps) + 1):
        if count % 2:
            disk = after_kill(before, steps[:count])
        else:
            disk = after_power_cut(before, steps[:count], random.Random(f"append {count}"))
        (content,) = disk.files.values()
        assert content.startswith(before[NAME])  # the finished archive is whole below what was added
        source = assert_resumes(disk, memory, new, append=True)
        assert not source.given.keys() & old.keys()


def test_a_cut_at_many_bytes(memory: Path) -> None:
    steps = record(memory, subject.few())
    whole = next(iter(after_kill({}, steps[:-2]).files.values()))
    assert len(whole) < 1 << 14
    # All take a minute, which is for the soak; the beginning of the file and the headers are the odd places.
    headers = [step.at for step in steps if len(step.data) == HEADER_SIZE]
    for size in range(len(whole) + 1):
        if size % 32 == 0 or size < 16 or any(-2 <= size - at <= 2 or size - at == HEADER_SIZE for at in headers):
            assert_resumes(Disk({PART: whole[:size]}), memory, subject.few())


# Damage is not an interruption.


def test_damage_in_what_was_committed_is_never_cut_off(memory: Path) -> None:
    """A flipped byte: the dump goes on with all that was committed, or it refuses and leaves the volume alone."""
    steps = record(memory, subject.several())
    syncs = [count for count, step in enumerate(steps) if step.kind == "sync"]
    unfinished = next(iter(after_kill({}, steps[: syncs[-2]]).files.values()))
    (memory / NAME).unlink()
    (memory / PART).write_bytes(unfinished)
    with glancearchive.open(memory / PART) as archive:
        assert {image.id for image in archive} == subject.several().keys()
    said: list[str] = []
    records = [step.at for step in steps if len(step.data) == HEADER_SIZE and step.at < len(unfinished)]
    for at in [place for begin in records for place in (begin + 9, begin + 60, begin + HEADER_SIZE + 20)]:
        damaged = bytearray(unfinished)
        damaged[at] ^= 0x40
        Disk({PART: damaged}).put(memory)
        source = Images(subject.several())
        try:
            dump(memory / NAME, source)
        except FormatError as error:
            assert (memory / PART).read_bytes() == damaged
            said.append(str(error))
        else:
            # In a frame, which resuming does not read, or in the very last checkpoint, which counts as torn.
            assert (memory / NAME).exists()
            with glancearchive.open(memory / NAME) as archive:
                assert {image.id for image in archive} == subject.several().keys()
                damage = glancearchive.verify(archive).damage
                assert all(one.fault.layer == "frame" for one in damage)
                assert damage or at > records[-2] or source.given
    assert len(said) > len(records) / 2
    assert sum("what follows it was committed" in one for one in said) >= len(said) - 3  # but for the header record


def test_nothing_is_added_to_a_damaged_archive(memory: Path) -> None:
    """Its catalog still tells all; going on from the last good checkpoint would cut the rest off."""
    old = {key: data for key, data in subject.several().items() if key in ("first", "queued", "shares")}
    steps = record(memory, old)
    whole = (memory / NAME).read_bytes()
    headers = [RecordHeader.unpack(step.data) for step in steps if len(step.data) == HEADER_SIZE]
    checkpoints = [header.offset for header in headers if header.type == RecordType.CHECKPOINT]
    assert len(checkpoints) > 5
    for at in checkpoints:
        damaged = bytearray(whole)
        damaged[at + HEADER_SIZE + 20] ^= 0x40
        Disk({NAME: damaged}).put(memory)
        with pytest.raises(FormatError):
            dump(memory / NAME, Images(subject.several()), append=True)
        assert [path.name for path in memory.iterdir()] == [NAME]
        assert (memory / NAME).read_bytes() == damaged
