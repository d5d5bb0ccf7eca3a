"""Kills and power cuts at every step that a writer takes: the same calls again, and the result is the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from glancearchive.errors import FormatError, LocalError
from tests.faults import subject
from tests.faults.storage import Disk, Recorder, Step, after_kill, after_power_cut
from tests.faults.subject import Images, assert_well, assert_whole, dump

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
    assert sum(step.kind == "sync" for step in steps) > 20  # else this would test little
    for count in range(len(steps) + 1):
        assert_resumes(after_kill({}, steps[:count]), memory, subject.several())


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_a_kill_in_the_middle_of_every_write(steps: list[Step], memory: Path, part: float) -> None:
    for count, step in enumerate(steps):
        if step.kind == "write":
            assert_resumes(after_kill({}, steps[: count + 1], part), memory, subject.several())


@pytest.mark.parametrize("seed", range(3))
def test_a_power_cut_at_every_step(steps: list[Step], memory: Path, seed: int) -> None:
    for count in range(len(steps) + 1):
        rng = random.Random(f"{seed} {count}")
        assert_resumes(after_power_cut({}, steps[:count], rng), memory, subject.several())


def test_a_resumed_dump_reads_again_only_what_no_checkpoint_had(steps: list[Step], memory: Path) -> None:
    """At most what two frames hold and what stands between two checkpoints, here a piece of the source."""
    total = {image_id: len(data) for image_id, data in subject.several().items() if data}
    committed = 0
    for count in range(len(steps) + 1):
        given = assert_resumes(after_kill({}, steps[:count]), memory, subject.several()).given
        left = sum(given.values())
        assert all(given.get(image_id, 0) <= size for image_id, size in total.items())
        assert left <= sum(total.values()) - committed
        if count < len(steps) and steps[count].kind == "sync":
            committed = max(committed, sum(total.values()) - left)
    assert left == 0


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
        for disk in (
            after_kill(before, steps[:count]),
            after_power_cut(before, steps[:count], random.Random(f"append {count}")),
        ):
            (content,) = disk.files.values()
            assert content.startswith(before[NAME])  # the finished archive is whole below what was added
            source = assert_resumes(disk, memory, new, append=True)
            assert not source.given.keys() & old.keys()


def test_a_cut_at_every_byte(memory: Path) -> None:
    steps = record(memory, subject.few())
    whole = next(iter(after_kill({}, steps[:-2]).files.values()))
    assert len(whole) < 8192
    # In steps that miss no offset over four runs, as the soak does; every byte where records begin.
    for size in range(len(whole) + 1):
        if size % 4 == 0 or size < 600:
            assert_resumes(Disk({PART: whole[:size]}), memory, subject.few())


# Damage is not an interruption.


def checkpoints(steps: list[Step]) -> list[int]:
    """How large the volume was at each sync."""
    sizes, size = [], 0
    for step in steps:
        if step.kind == "write":
            size = step.at + len(step.data)
        elif step.kind == "sync":
            sizes.append(size)
    return sizes


def test_damage_before_the_last_checkpoint_loses_nothing_that_was_committed(memory: Path) -> None:
    """A flipped byte in the middle: either the dump goes on with all that was committed, or it refuses to cut."""
    steps = record(memory, subject.few())
    unfinished = next(iter(after_kill({}, steps[:-8]).files.values()))
    outcomes = {"whole": 0, "refused": 0}
    for at in range(0, checkpoints(steps[:-8])[-1], 7):
        damaged = bytearray(unfinished)
        damaged[at] ^= 0x40
        disk = Disk({PART: damaged})
        disk.put(memory)
        try:
            dump(memory / NAME, Images(subject.few()))
        except FormatError:
            outcomes["refused"] += 1
            assert (memory / PART).read_bytes() == damaged
        else:
            outcomes["whole"] += 1
    assert outcomes["refused"]
