"""No more than so many bytes a second: by a clock that only sleeping moves."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glancearchive.errors import ConnectError
from glancearchive.image import Buffer, Image
from glancearchive.operations.bandwidth import LEAST, Bandwidth, Limited
from tests.archives import write_archive
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.command import Done, environ, finished, run
from tests.glances import Shelf, metadata

MB = 1_000_000
BURST = 0.25


class Clock:
    """Time passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def bandwidth(rate: int, clock: Clock) -> Bandwidth:
    return Bandwidth(rate, clock=clock, sleep=clock.sleep)


def image(data: bytes) -> Image:
    return Image(metadata(data))


@pytest.mark.parametrize("rate", [LEAST, 1 * MB, 10 * MB, 3_333_333])
@pytest.mark.parametrize("piece", [1, 5000, 1 << 20])
def test_the_rate_holds(rate: int, piece: int) -> None:
    clock = Clock()
    bucket = bandwidth(rate, clock)
    taken = 0
    while clock.now < 1002 and taken < 1000 * piece:
        bucket.take(piece)
        taken += piece
        # What was asked for last may begin at once, but not before all the rest has flowed off.
        assert taken - piece <= (clock.now - 1000) * rate + 1
    assert taken >= (clock.now - 1000) * rate


@pytest.mark.parametrize("pause", [0.1, 60.0])
def test_a_pause_is_caught_up_with_for_a_moment_only(pause: float) -> None:
    """A retry waits for seconds; what follows must not come in a flood."""
    clock = Clock()
    bucket = bandwidth(MB, clock)
    bucket.take(MB)
    clock.now += 1 + pause
    begun, taken = clock.now, 0
    while clock.now < begun + 2:
        bucket.take(10_000)
        taken += 10_000
    assert taken == pytest.approx((2 + min(pause, BURST)) * MB, abs=20_000)


def test_all_threads_share_it() -> None:
    """The clock stands still: each waits until all that was taken before has flowed off."""
    slept: list[float] = []
    bucket = Bandwidth(MB, clock=lambda: 0.0, sleep=slept.append)
    threads = [threading.Thread(target=lambda: [bucket.take(1000) for _ in range(250)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(slept) == pytest.approx([number / 1000 for number in range(1, 1000)])


@pytest.mark.parametrize("rate", [LEAST, 1 * MB, 1000 * MB])
def test_the_data_are_the_same_and_no_pause_is_long(rate: int) -> None:
    data = pattern(3 * MB + 17)
    clock = Clock()
    source = Limited(Shelf((one := image(data), data)), bandwidth(rate, clock))
    assert b"".join(source.read(one)) == data
    assert b"".join(source.read(one, 1_000_001)) == data[1_000_001:]
    assert max(clock.slept, default=0) <= 0.13  # Ctrl-C has to wait for it
    assert list(source.images()) == [one]
    assert source.label == "shelf"


def test_a_failing_source_fails_as_it_did() -> None:
    class Cut(Shelf):
        def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
            yield from super().read(image, offset)
            raise ConnectError("gone")

    data = pattern(200_000)
    source = Limited(Cut((one := image(data), data)), bandwidth(MB, Clock()))
    came: list[Buffer] = []
    with pytest.raises(ConnectError, match="gone"):
        came.extend(source.read(one))
    assert b"".join(came) == data


def test_no_time_passes_while_a_source_waits_for_its_server() -> None:
    """The wait is the source's own; the limit neither adds to it nor is filled up by it."""
    clock = Clock()

    class Waiting(Shelf):
        def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
            for at in range(0, len(data), MB):
                if at == MB:
                    clock.now += 60  # an attempt later
                yield data[at : at + MB]

    data = pattern(3 * MB)
    source = Limited(Waiting((one := image(data), data)), bandwidth(MB, clock))
    assert b"".join(source.read(one)) == data
    assert clock.now - 1000 == pytest.approx(63 - BURST, abs=0.11)


# The command line.


@pytest.mark.parametrize("rate", ["0", "32767", "-1", "fast", "10MB/s", ""])
@pytest.mark.parametrize("command", ["dump", "load", "livecopy"])
def test_a_rate_that_means_nothing(command: str, rate: str, tmp_path: Path) -> None:
    done = run(command, "127.0.0.1:1", tmp_path / "x.gla", "--bwlimit", rate)
    assert (done.code, done.stdout) == (2, b"")
    assert "--bwlimit" in done.stderr


# Nobody sleeps, and how long was asked for stands in a file afterwards.
SLEEPLESS = """
import time
record = open(FILE, "w", buffering=1)
time.sleep = lambda seconds: print(seconds, file=record)
from glancearchive.cli import main
main()
"""


def limited(directory: Path, *arguments: str | Path) -> tuple[Done, float]:
    """A command to its end, and the seconds that it would have slept."""
    slept = directory / "slept"
    program = SLEEPLESS.replace("FILE", repr(str(slept)))
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], env=environ(), capture_output=True, check=False
    )
    return finished(done.returncode, done.stdout, done.stderr), sum(map(float, slept.read_text().split()))


def test_every_transfer_is_limited_and_ends_as_others_do(glance_a: Glance, glance_b: Glance, tmp_path: Path) -> None:
    data = pattern(700_000, 3)
    described = metadata(data)
    archive = write_archive(tmp_path / "in.gla", (described, data))
    loaded, slept = limited(tmp_path, "load", glance_a.url, archive, "--bwlimit", "2M", "--json")
    assert (loaded.code, loaded.images[described["id"]]["verified"], slept > 0.1) == (0, "sha512", True), loaded.stderr
    chosen = ("--image", described["id"], "--json")
    copied, slept = limited(tmp_path, "livecopy", glance_a.url, glance_b.url, *chosen, "--bwlimit", "1MiB")
    assert (copied.code, copied.images[described["id"]]["action"], slept > 0.1) == (0, "copied", True), copied.stderr
    assert hashlib.sha512(glance_b.data_path(described["id"]).read_bytes()).hexdigest() == described["os_hash_value"]
    dumped, slept = limited(tmp_path, "dump", glance_a.url, tmp_path / "out.gla", *chosen, "--bwlimit", "1MiB")
    assert (dumped.code, dumped.images[described["id"]]["action"], slept > 0.1) == (0, "copied", True), dumped.stderr
    unlimited, slept = limited(tmp_path, "dump", glance_a.url, tmp_path / "again.gla", *chosen)
    assert (unlimited.code, slept) == (0, 0)
