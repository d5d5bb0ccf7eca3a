"""Kills and power cuts at every step of writing several volumes: the same call again, and the result is the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from glancearchive.errors import LocalError
from tests.faults import subject
from tests.faults.storage import Disk, Recorder, Step, after_kill, after_power_cut
from tests.faults.subject import Images, assert_well, assert_whole, dump

NAME = "a.gla"
SIZE = 90_000  # bytes of a volume: an image goes through several


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    """The steps of an uninterrupted dump."""
    directory = tmp_path_factory.mktemp("uninterrupted")
    recorder = Recorder()
    with recorder.recording():
        assert_well(dump(directory / NAME, Images(subject.several()), volume_size=SIZE))
    assert_volumes(directory)
    assert len(list(directory.iterdir())) > 3
    return recorder.steps


def assert_volumes(directory: Path) -> None:
    assert_whole(directory / NAME, subject.several())
    names = sorted(path.name for path in directory.iterdir())
    assert names == [f"a.{number:03}.gla" for number in range(1, len(names) + 1)]
    assert all(path.stat().st_size <= SIZE for path in directory.iterdir())


def assert_resumes(disk: Disk, place: Path) -> Images:
    disk.put(place)
    source = Images(subject.several())
    assert_well(dump(place / NAME, source, volume_size=SIZE))
    assert_volumes(place)
    return source


def chosen(steps: list[Step], every: int) -> list[int]:
    """Numbers of steps: those about the borders of volumes, and of the others some; all of them take minutes."""
    border = {place for place, step in enumerate(steps) if step.kind in ("create", "rename")}
    near = {place + shift for place in border for shift in range(-3, 6)}
    return sorted({*range(0, len(steps), every), *(near & {*range(len(steps) + 1)}), len(steps)})


def test_a_kill_at_every_step(steps: list[Step], memory: Path) -> None:
    """And what a checkpoint has is not read again."""
    left = sum(len(data) for data in subject.several().values() if data)
    for count in chosen(steps, 5):
        given = sum(assert_resumes(after_kill({}, steps[:count]), memory).given.values())
        assert given <= left
        left = given
    assert left == 0


@pytest.mark.parametrize("part", [0.5])
def test_a_kill_in_the_middle_of_a_write(steps: list[Step], memory: Path, part: float) -> None:
    for count, step in enumerate(steps):
        if step.kind == "write" and count % 17 == 0:
            assert_resumes(after_kill({}, steps[: count + 1], part), memory)


def test_a_power_cut_at_every_step(steps: list[Step], memory: Path) -> None:
    for count in chosen(steps, 5):
        assert_resumes(after_power_cut({}, steps[:count], random.Random(count)), memory)


class Stopped(BaseException):
    """The process is gone."""


def test_a_dump_that_fails_at_every_step_in_turn(memory: Path) -> None:
    """Each run comes some steps further than the one before, over what that left; the last one finishes."""
    for run in range(400):
        left = 5 * run + 1

        def one_more(_step: Step) -> None:
            nonlocal left
            if not left:
                raise Stopped
            left -= 1

        recorder = Recorder(one_more)
        try:
            with recorder.recording():
                dump(memory / NAME, Images(subject.several()), volume_size=SIZE)
        except (Stopped, LocalError):
            pass
        else:
            break
    assert_volumes(memory)
