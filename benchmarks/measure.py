"""Run a shell command and say what it cost: wall time, CPU time and peak memory of it and all its children.

Run as a script, this is the small process that starts the command: a process
begins with the memory of the one that forked it, and the harness is large.
"""

from __future__ import annotations

import json
import os
import sys
import time

# Typing and pathlib are for the harness's side: the launcher must stay small, it is part of what it measures.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class CommandFailedError(Exception):
    """A measured command ended with a status other than 0; the text holds the end of its output."""


class Cost:
    """What one run took.

    `wall`, `user` and `system` are seconds. `memory` is the peak resident size in bytes of
    the largest single process, as wait4 reports it for a process and the children it waited
    for: for a pipeline the largest part, not the sum. It is never below the launcher's own, about 10 MB.
    """

    def __init__(self, wall: float, user: float, system: float, memory: int) -> None:
        self.wall = wall
        self.user = user
        self.system = system
        self.memory = memory


def measure(command: str, variables: Mapping[str, str], log: Path) -> Cost:
    """Run `command` in sh with `variables` added to the environment; its output goes to `log`."""
    import subprocess

    launcher = [sys.executable, "-I", "-S", __file__, str(log), command]
    with subprocess.Popen(launcher, stdout=subprocess.PIPE, env={**os.environ, **variables}) as process:
        output, _ = process.communicate()
    figures = json.loads(output)
    status = figures.pop("status")
    if status != 0:
        tail = log.read_bytes()[-2000:].decode(errors="replace")
        raise CommandFailedError(f"{command}\nended with status {status}:\n{tail}")
    return Cost(**figures)


def launch(log: str, command: str) -> None:
    """Run the command and print its cost."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    begin = time.perf_counter()
    child = os.posix_spawnp("sh", ["sh", "-ec", command], os.environ, file_actions=actions)
    # wait4 gives this child's usage, where getrusage sums up all children so far.
    _, status, usage = os.wait4(child, 0)
    figures = {
        "wall": time.perf_counter() - begin,
        "user": usage.ru_utime,
        "system": usage.ru_stime,
        "memory": usage.ru_maxrss * 1024,
        "status": os.waitstatus_to_exitcode(status),
    }
    print(json.dumps(figures))


def stored(path: Path) -> int:
    """Bytes in the file, or in all files of the directory, `path`."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


if __name__ == "__main__":
    launch(sys.argv[1], sys.argv[2])
