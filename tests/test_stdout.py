"""All of a result is written to stdout, whatever the system takes of it at once, or the code says that it is not."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.archives import write_archive
from tests.cloud.images import pattern
from tests.command import command, environ, finished, run
from tests.glances import MIB, metadata

LARGE = pattern(3 * MIB, 5)
ENOUGH = 200_000  # bytes: a pipe takes 64 KiB at once
LIMIT = 100_000  # bytes: less than each result

RESULTS = {
    "image": ["extract", "{}", "large", "-o", "-"],
    "json": ["list", "{}", "--json"],
    "lines": ["show", "{}", "large"],
}
both_buffers = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
each_result = pytest.mark.parametrize("arguments", RESULTS.values(), ids=RESULTS)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of which every result is too large for a pipe."""
    described = [(metadata(b"x", id=f"image-{number}", name="n" * 200), b"x") for number in range(600)]
    large = metadata(LARGE, id="large", comment="c" * ENOUGH)
    return write_archive(tmp_path_factory.mktemp("stdout") / "x.gla", (large, LARGE), *described)


def filled(arguments: list[str], archive: Path) -> list[str]:
    return [part.format(archive) for part in arguments]


def small_files() -> None:
    """As on a medium that becomes full: of a write that goes beyond the end only the first part is done."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


@both_buffers
@each_result
def test_a_file_that_takes_only_a_part(arguments: list[str], unbuffered: str, archive: Path, tmp_path: Path) -> None:
    env = {"PYTHONUNBUFFERED": unbuffered}
    with (tmp_path / "out").open("wb") as out:
        done = run(*filled(arguments, archive), env=env, stdout=out, preexec=small_files)
    assert (done.code, (tmp_path / "out").stat().st_size) == (3, LIMIT)
    assert "File too large" in done.error


@both_buffers
@each_result
def test_a_pipe_that_does_not_block_gets_all(arguments: list[str], unbuffered: str, archive: Path) -> None:
    expected = run(*filled(arguments, archive)).stdout
    assert len(expected) > ENOUGH
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    program: subprocess.Popen[bytes]
    with (
        os.fdopen(reading, "rb") as reader,
        subprocess.Popen(
            command(*filled(arguments, archive)),
            env=environ({"PYTHONUNBUFFERED": unbuffered}),
            stdout=writing,
            stderr=subprocess.PIPE,
        ) as program,
    ):
        os.close(writing)
        got = reader.read(1)  # so that it has begun to write
        time.sleep(0.3)  # and has filled the pipe
        got += reader.read()
        _, stderr = program.communicate(timeout=60)
    assert finished(program.returncode, got, stderr).code == 0
    assert got == expected


def test_messages_wait_for_a_reader_that_is_slow(archive: Path, tmp_path: Path) -> None:
    """More lines than a pipe takes at once, and a pipe that does not block."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    arguments = command("extract", archive, "-o", f"{tmp_path}/out/")
    with (
        os.fdopen(reading, "rb") as reader,
        subprocess.Popen(arguments, env=environ(), stdout=subprocess.DEVNULL, stderr=writing) as program,
    ):
        os.close(writing)
        got = reader.read(1)
        time.sleep(2)
        got += reader.read()
        program.wait(timeout=60)
    assert finished(program.returncode, b"", got).code == 0
    assert len(got) > ENOUGH // 2
    assert got.count(b"extracted: ") == 601
    assert b"601 of 601 images extracted" in got


@both_buffers
@each_result
def test_a_reader_that_goes_away_in_the_middle(arguments: list[str], unbuffered: str, archive: Path) -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(
        command(*filled(arguments, archive), *["-q"] * (arguments[0] == "extract")),
        env=environ({"PYTHONUNBUFFERED": unbuffered}),
        stdout=writing,
        stderr=subprocess.PIPE,
    ) as program:
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        _, stderr = program.communicate(timeout=60)
    done: Any = finished(program.returncode, b"", stderr)
    assert (done.code, done.stderr) == (1, "")


def test_the_samples_are_what_they_seem(archive: Path) -> None:
    assert run(*filled(RESULTS["image"], archive)).stdout == LARGE
    assert len(json.loads(run(*filled(RESULTS["json"], archive)).stdout)["images"]) == 601
