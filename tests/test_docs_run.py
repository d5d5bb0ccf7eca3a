"""The tutorial and the how-tos, done as they stand: each page against two Glances of its own images, from its top down.

What a page has in fences of ``sh`` is run, line by line; a fence of ``text`` right behind one has lines that must be
among what was printed. There ``…`` stands for anything, and ids, digests, times and ports may be others. A line exits
with 0, unless its comment says "exits with N"; one that says "Ctrl-C" is interrupted once it has committed something.
What stands in fences of ``console`` needs more than two Glances; that it is understood is seen in test_docs.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.practice import Practice, fill, practice
from tests.command import ROOT, TIMEOUT, environ

PAGES = [ROOT / "docs" / "tutorial.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
MEDIA = "/media/"  # where pages have their disks
# What differs from one run to another.
VARIABLE = re.compile(
    "|".join((r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"127\.0\.0\.1:\d+", "[0-9a-f]{64}", "…"))
)


@pytest.fixture(scope="module")
def clouds(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    with practice(tmp_path_factory.mktemp("practice")) as running:
        yield running


class Shell:
    """Types the lines of one page. `/media` lies in the directory that it works in."""

    def __init__(self, directory: Path, clouds_yaml: Path) -> None:
        self.directory = directory
        self.media = f"{directory}{MEDIA}"
        for name in ("disk", "blue", "red"):
            Path(self.media, name).mkdir(parents=True)
        program = directory / "bin" / "glancearchive"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m glancearchive "$@"\n')
        program.chmod(0o755)
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        state = str(directory / "state")
        self.env = environ({"OS_CLIENT_CONFIG_FILE": str(clouds_yaml), "XDG_STATE_HOME": state, "PATH": path})

    def type(self, line: str) -> str:
        """Runs a line to its end, which has to be the one that its comment says. Returns what it printed."""
        with subprocess.Popen(
            ["bash", "-c", line.replace(MEDIA, self.media)],
            cwd=self.directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                if "# Ctrl-C" in line and self._has_begun(process):
                    os.killpg(process.pid, signal.SIGINT)
                output = process.communicate(timeout=TIMEOUT)[0].decode()
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        expected = re.search(r"#.*exits with (\d+)", line)
        assert process.returncode == int(expected[1] if expected else 0), f"{line}\n{output}"
        return output.replace(self.media, MEDIA)

    def _has_begun(self, process: subprocess.Popen[bytes]) -> bool:
        """Waits until an archive has data; False if the process ends before that."""
        while not any(path.stat().st_size > 1 << 20 for path in Path(self.media).rglob("*.part")):
            if process.poll() is not None:
                return False
            time.sleep(0.05)
        return True


def fits(shown: str, printed: str) -> bool:
    """Whether a line of a page says what a line that was printed does; how many blanks there are is no matter."""
    parts = VARIABLE.split(" ".join(shown.split()))
    return re.fullmatch(".+".join(map(re.escape, parts)), " ".join(printed.split())) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_done_as_it_stands(page: Path, clouds: Practice, tmp_path: Path) -> None:
    fill(clouds.here.client())
    try:
        shell, output = Shell(tmp_path, clouds.clouds_yaml), ""
        for language, code in FENCE.findall(page.read_text(encoding="utf-8")):
            if language == "sh":
                lines = code.replace("\\\n", "").splitlines()
                output = "".join(shell.type(line) for line in lines)
            elif language == "text" and output:
                printed = output.splitlines()
                missing = [shown for shown in code.splitlines() if not any(fits(shown, line) for line in printed)]
                assert missing == [], output
            else:
                output = ""
    finally:
        clouds.here.client().purge()
        clouds.there.client().purge()


def test_there_are_commands_to_run() -> None:
    for page in PAGES:
        code = [code for language, code in FENCE.findall(page.read_text(encoding="utf-8")) if language == "sh"]
        assert "".join(code).count("glancearchive ") > 2, page.name


def test_what_fits() -> None:
    assert fits("copied: …, 17.0 MiB", "copied: x ('y'), 17.0 MiB")
    assert fits("into http://127.0.0.1:1", "into http://127.0.0.1:43201")
    assert not fits("4 images: 3 copied", "4 images: 2 copied")
    assert not fits("4 images", "14 images")
    assert fits("6efc8d84a0d877c753fd4175b7b03301d4dedf3f7db7dab04e94e473ff1cf206", "0" * 64)
