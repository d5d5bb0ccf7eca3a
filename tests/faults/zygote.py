"""Real processes of the program that start in milliseconds: a mother imports everything once and forks for each.

::

    with Zygote() as zygote:
        child = zygote.start("dump", url, path, interval=0.05)
        child.kill()
        done = child.wait()
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.command import Done, environ, finished

_longest_pause = float("inf")
_MOTHER = "from tests.faults.zygote import mother; mother()"
_mothers = ExitStack()
atexit.register(_mothers.close)


@dataclass
class Child:
    """One run of the program."""

    pid: int
    _mother: subprocess.Popen[str]
    _stdout: Path
    _stderr: Path
    done: bool = False  # whether it was waited for

    def signal(self, number: int) -> None:
        """Send a signal. That it may be too late is no error: until `wait` the id belongs to nobody else."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return self.state() not in "ZX"

    def state(self) -> str:
        """One letter, as proc(5) has it."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def stderr(self) -> str:
        """What it has said so far."""
        return self._stderr.read_text()

    def wait(self) -> Done | None:
        """How it ended, None: killed."""
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        self.done = True
        print("wait", file=self._mother.stdin, flush=True)
        code = os.waitstatus_to_exitcode(int(self._mother.stdout.readline()))
        if code == -signal.SIGKILL:
            return None
        return finished(code, self._stdout.read_bytes(), self._stderr.read_bytes())


class Zygote:
    """The mother; has one child at a time."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._child: Child | None = None
        self._mother = subprocess.Popen(
            [sys.executable, "-c", _MOTHER], env=environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *arguments: str | Path, env: Mapping[str, str] | None = None, **changes: Any) -> Child:
        """Run ``glancearchive ARGUMENTS``; `changes` as for `_change`."""
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        self._clear()
        stdout, stderr = Path(self._directory.name, "stdout"), Path(self._directory.name, "stderr")
        order = {
            "arguments": [str(argument) for argument in arguments],
            "env": environ(env),
            "changes": changes,
            "stdout": str(stdout),
            "stderr": str(stderr),
        }
        print(json.dumps(order), file=self._mother.stdin, flush=True)
        self._child = Child(int(self._mother.stdout.readline()), self._mother, stdout, stderr)
        return self._child

    def _clear(self) -> None:
        """End the child that a failed test has left."""
        if self._child is not None and not self._child.done:
            self._child.kill()
            self._child.wait()

    def run(self, *arguments: str | Path, **changes: Any) -> Done:
        """`start`, and to its end."""
        done = self.start(*arguments, **changes).wait()
        assert done is not None
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        self._mother.stdin.close()
        self._mother.stdout.close()
        self._mother.wait()
        self._directory.cleanup()


_idle: list[Zygote] = []


def forked(*arguments: str | Path, env: Mapping[str, str] | None = None, **changes: Any) -> Done:
    """`Zygote.run` by a mother that is kept for the next time; there are as many as run at a time."""
    try:
        zygote = _idle.pop()
    except IndexError:
        zygote = _mothers.enter_context(Zygote())
    done = zygote.run(*arguments, env=env, **changes)
    _idle.append(zygote)
    return done


def mother() -> None:
    """Reads orders and forks. One thread only, so that a fork is safe."""
    sleep = time.sleep
    # Before the imports: the default of a parameter is what a function was when it was defined.
    time.sleep = lambda seconds, /: sleep(min(float(seconds), _longest_pause))

    # What takes longest, so that no child has to.
    import glancearchive.endpoints.connect
    import glancearchive.operations.dump  # noqa: F401
    from glancearchive.cli import cli, main

    assert all(cli.commands.values())  # each is imported when it is looked up
    gc.collect()
    gc.freeze()  # that of the mother's memory which a child does not touch is not copied
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(order)
            _change(**order["changes"])
            main()
            os._exit(99)  # it does not return
        print(pid, flush=True)
        sys.stdin.readline()
        print(os.waitpid(pid, 0)[1], flush=True)


def _become(order: dict[str, Any]) -> None:
    """A process as a shell would have started it."""
    os.environ.clear()
    os.environ.update(order["env"])
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["glancearchive", *order["arguments"]]


def _change(
    interval: float | None = None,
    frame: int | None = None,
    wait: float | None = None,
    largest_file: int | None = None,
    timeout: float | None = None,
) -> None:
    """`interval`: seconds between checkpoints; `frame`: bytes of a frame; `wait`: the longest pause between attempts.

    `largest_file`: no file can be larger, as on a medium with such a limit. `timeout`: seconds of silence until
    a server is given up.

    The defaults suit images of gigabytes; with smaller ones all that matters happens to small images too.
    """
    global _longest_pause
    import glancearchive.operations.dump as dump_module
    from glancearchive.format.compression import LEVELS
    from glancearchive.format.writer import ArchiveWriter

    if frame is not None:
        LEVELS["default"] = replace(LEVELS["default"], frame_size=frame)
    if interval is not None:
        vars(dump_module)["ArchiveWriter"] = partial(ArchiveWriter, interval=interval)
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if wait is not None:
        _longest_pause = wait
    if timeout is not None:
        from glancearchive.endpoints import cloud

        vars(cloud).update(_READ=timeout, _BODY_TIMEOUT=(timeout, timeout))
