"""Runs the program as users do, in a process of its own, and looks at what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.cloud.environment import clean_environ

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 240  # seconds; a command that takes so long hangs
_SHORT = 0.02  # seconds
_ASKED_LATE = {"OS_CLIENT_CONFIG_FILE", "OS_CLOUD", "XDG_STATE_HOME"}  # variables, each time that they matter
# Waits between attempts as always, but short ones.
_IMPATIENT = f"""
import time
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, {_SHORT}))
from glancearchive.cli import main
main()
"""
_ERROR = "glancearchive: error: "


@dataclass(frozen=True)
class Done:
    """What came of one command. That it printed no traceback was asserted already."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def json(self) -> Any:
        """The one JSON document that stdout holds."""
        return json.loads(self.stdout)

    @property
    def images(self) -> dict[str, dict[str, Any]]:
        """The images of the JSON document by id."""
        images = self.json["images"]
        found = {image["id"]: image for image in images}
        assert len(found) == len(images)
        return found

    @property
    def error(self) -> str:
        """The error that ended the command: the last line of stderr, all others being warnings of ours."""
        *before, last = filter(None, self.stderr.splitlines())  # after ^C there is an empty one
        assert last.startswith(_ERROR), self.stderr
        assert not [line for line in before if not line.startswith("glancearchive: ") or line.startswith(_ERROR)]
        assert len(last) < 700
        return last.removeprefix(_ERROR)


def run(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | IO[Any] = subprocess.PIPE,
    impatient: bool = False,
    preexec: Callable[[], None] | None = None,
) -> Done:
    """``glancearchive ARGUMENTS`` by a user without any OpenStack configuration but `env`, to its end.

    `impatient` makes the waits between attempts short; `preexec` runs in the process before the program does.
    The process is forked from one that has imported everything, which takes a tenth of the time, unless the test has
    to do with what a program looks at when it begins, or imports: then it is begun as a shell does it.
    """
    begins = stdout != subprocess.PIPE or cwd or preexec or not set(env or ()) <= _ASKED_LATE or Path.cwd() != ROOT
    if not begins:
        from tests.faults.zygote import forked  # which builds on this module

        return forked(*arguments, env=env, **({"wait": _SHORT} if impatient else {}))
    done = subprocess.run(
        command(*arguments, impatient=impatient),
        env=environ(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT,
        preexec_fn=preexec,
        check=False,
    )
    return finished(done.returncode, done.stdout or b"", done.stderr)


def finished(code: int, stdout: bytes, stderr: bytes) -> Done:
    """The end of a command as a `Done`: whatever a user or a server does, there is no traceback and no warning."""
    text = stderr.decode()
    assert "Traceback" not in text, text
    assert "Warning" not in text, text
    assert code in (0, 1, 2, 3, 130), (code, text)
    return Done(code, stdout, text)


def command(*arguments: str | Path, impatient: bool = False) -> list[str]:
    """The command line, for tests that have to do with the process while it runs."""
    program = ["-c", _IMPATIENT] if impatient else ["-m", "glancearchive"]
    return [sys.executable, *program, *map(str, arguments)]


def environ(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a user without any OpenStack configuration."""
    found = clean_environ({"HOME": os.devnull, "XDG_CONFIG_HOME": os.devnull, "PYTHONPATH": str(ROOT)})
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "COLUMNS", "LINES"):
        found.pop(name, None)
    return found | dict(extra or {})


@contextmanager
def unchanged(directory: Path) -> Iterator[None]:
    """Asserts that a directory holds the same files with the same bytes afterwards."""
    before = contents(directory)
    yield
    assert contents(directory) == before


def contents(directory: Path) -> dict[str, bytes]:
    """The files below a directory, by their relative names."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def assert_harmless(output: bytes | str) -> None:
    """Nothing that a terminal would act on: no control characters but line ends, no reordering of text."""
    text = output if isinstance(output, str) else output.decode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text), ascii(text)
