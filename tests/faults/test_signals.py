"""Ctrl-C, SIGTERM and readers that go away, in the middle of a real dump and a real load."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.glance import Glance
from tests.command import command, environ, finished
from tests.faults.kills import size_of
from tests.faults.wire import Wire
from tests.faults.world import Region, assert_archive, assert_innocent, assert_loaded
from tests.faults.zygote import Child, Zygote
from tests.scripted_http import Reply, Request, ScriptedHttp
from tests.terminal import Terminal

STEPS: dict[str, Any] = {"interval": 0.02, "frame": 1 << 18, "wait": 0.2}


@pytest.fixture
def slow(region: Region) -> Iterator[Wire]:
    """The source, at so many bytes a second that everything happens in the middle of an image."""
    with Wire(region.glance.port) as wire:
        wire.rate = 4e6
        yield wire


def until(child: Child, condition: Callable[[], bool]) -> None:
    while not condition():
        assert child.alive(), child.stderr()
        time.sleep(0.005)  # the server is a thread of this process, and has to get on


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_dump_commits_and_says_how_to_go_on(
    number: int, zygote: Zygote, region: Region, slow: Wire, tmp_path: Path
) -> None:
    path, part = tmp_path / "a.gla", tmp_path / "a.gla.part"
    # Nothing is committed but by the interruption: a checkpoint comes only after an hour.
    slow.rate = 2e6
    child = zygote.start("dump", slow.url, path, "--jobs", "1", interval=3600.0, frame=1 << 18)
    until(child, lambda: size_of(part) > 5 << 18)
    slow.rate = 1e5  # the image does not end before the signal comes, however busy the machine
    child.signal(number)
    done = child.wait()
    assert done is not None
    assert (done.code, done.stdout, done.error) == (130, b"", "interrupted")
    assert f"what was committed is in {part}; the same command goes on from there" in done.stderr
    slow.rate = 0
    before = slow.received
    again = zygote.run("dump", slow.url, path)
    assert again.code == 0, again.stderr
    assert f"going on with {part}, which an earlier run has begun" in again.stderr
    assert slow.received - before < sum(map(len, region.data.values())) - (1 << 20)
    assert_archive(path, region)


def test_a_dump_whose_terminal_has_gone_commits(zygote: Zygote, region: Region, slow: Wire, tmp_path: Path) -> None:
    path, part, log = tmp_path / "a.gla", tmp_path / "a.gla.part", tmp_path / "log"
    with Terminal("dump", slow.url, path, "--jobs", "1", "--log-file", log) as terminal:
        terminal.until(lambda text: size_of(part) > 1 << 20 and "%" in text)
        slow.rate = 1e5
        terminal.hang_up()
        assert terminal.process.wait(60) == 130
    text = log.read_text(encoding="utf-8")
    assert f"what was committed is in {part}; the same command goes on from there" in text
    assert "Traceback" not in text
    slow.rate = 0
    before = slow.received
    again = zygote.run("dump", slow.url, path)
    assert again.code == 0, again.stderr
    assert slow.received - before < sum(map(len, region.data.values())) - (1 << 19)
    assert_archive(path, region)


@pytest.mark.parametrize("gap", [0, 0.001, 0.02, 0.1])
@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGHUP), (signal.SIGHUP, signal.SIGTERM)])
def test_who_ends_a_session_may_send_two_signals(
    numbers: tuple[int, int], gap: float, zygote: Zygote, region: Region, slow: Wire, tmp_path: Path
) -> None:
    """The order in which they are seen is not that in which they were sent: only the kind of the second one counts."""
    path, part = tmp_path / "a.gla", tmp_path / "a.gla.part"
    slow.rate = 2e6
    child = zygote.start("dump", slow.url, path, "--jobs", "1", interval=3600.0, frame=1 << 18)
    until(child, lambda: size_of(part) > 5 << 18)
    slow.rate = 1e5
    child.signal(numbers[0])
    time.sleep(gap)
    child.signal(numbers[1])
    done = child.wait()
    assert done is not None
    assert (done.code, done.stdout, done.error) == (130, b"", "interrupted")
    assert f"what was committed is in {part}; the same command goes on from there" in done.stderr
    slow.rate = 0
    assert zygote.run("dump", slow.url, path).code == 0
    assert_archive(path, region)


@pytest.mark.parametrize("options", [[], ["--quiet"]])
def test_a_dump_goes_on_without_its_terminal(options: list[str], region: Region, slow: Wire, tmp_path: Path) -> None:
    """As after ``disown -h``: no signal says that the terminal is gone."""
    path, log = tmp_path / "a.gla", tmp_path / "log"
    arguments = command("dump", slow.url, path, "--log-file", log, *options)
    with Terminal(program=["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *arguments]) as terminal:
        while size_of(tmp_path / "a.gla.part") < 1 << 20:
            assert terminal.process.poll() is None
            time.sleep(0.005)
        slow.rate = 1e5
        terminal.hang_up()
        slow.rate = 0
        assert terminal.process.wait(60) == 0
    text = log.read_text(encoding="utf-8")
    assert "ended with exit code 0" in text
    assert "Traceback" not in text
    assert_archive(path, region)


def test_under_nohup_a_dump_goes_on(zygote: Zygote, region: Region, slow: Wire, tmp_path: Path) -> None:
    path, part = tmp_path / "a.gla", tmp_path / "a.gla.part"
    program = ["nohup", *command("dump", slow.url, path)]
    with subprocess.Popen(program, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not size_of(part):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGHUP)
        slow.rate = 0
        _, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    assert_archive(path, region)


def test_interrupted_twice_a_dump_stops_at_once(zygote: Zygote, region: Region, tmp_path: Path) -> None:
    """The server holds its answer back, and so the first interruption has something to wait for."""
    path = tmp_path / "a.gla"
    reached, release = threading.Event(), threading.Event()
    largest = max(region.data, key=lambda one: len(region.data[one]))
    with ScriptedHttp(region.glance.url) as proxy:

        def stall(_request: Request) -> Reply:
            reached.set()
            release.wait(60)
            return Reply(503, b"later")

        proxy.responders["GET", f"/v2/images/{largest}/file"] = stall
        child = zygote.start("dump", proxy.url, path, "--jobs", "1", **STEPS)
        until(child, reached.is_set)
        child.signal(signal.SIGINT)
        child.signal(signal.SIGINT)
        done = child.wait()
        release.set()
        assert done is not None
        assert (done.code, done.stdout) == (130, b"")
        del proxy.responders["GET", f"/v2/images/{largest}/file"]
        assert zygote.run("dump", proxy.url, path, **STEPS).code == 0
    assert_archive(path, region)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_load_goes_on(
    number: int, zygote: Zygote, region: Region, archive: Path, target: Glance
) -> None:
    with Wire(target.port) as wire:
        wire.rate = 8e6
        child = zygote.start("load", wire.url, archive, "--jobs", "1", **STEPS)
        until(child, lambda: wire.sent > 2 << 20)
        child.signal(number)
        done = child.wait()
        assert done is not None
        assert (done.code, done.stdout, done.error) == (130, b"", "interrupted")
        assert_innocent(target, region)
        wire.rate = 0
        assert zygote.run("load", wire.url, archive, **STEPS).code == 0
    assert_loaded(target, region)


def test_a_reader_of_stdout_that_has_gone_costs_no_image(region: Region, archive: Path, target: Glance) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        arguments = command("load", target.url, archive)
        done = subprocess.run(arguments, env=environ(), stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(write)
    assert finished(done.returncode, b"", done.stderr).code == 1
    assert_loaded(target, region)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_of_stdout_that_has_gone_costs_no_data(options: list[str], region: Region, tmp_path: Path) -> None:
    """As in ``glancearchive dump … | head -c 0``: the archive is finished all the same."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            command("dump", region.glance.url, tmp_path / "a.gla", *options),
            env=environ(),
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)
    ended = finished(done.returncode, b"", done.stderr)
    assert ended.code == 1
    assert_archive(tmp_path / "a.gla", region)
