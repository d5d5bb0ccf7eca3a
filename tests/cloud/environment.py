"""The virtual environment that Glance and Keystone run from.

It lies under `.cache/cloud-env` in the repository, or where the environment
variable ``GLANCEARCHIVE_CLOUD_ENV`` says. A directory named by the variable that
already holds the services is used as it is. Run as a module, this builds it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import uuid
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
VARIABLE = "GLANCEARCHIVE_CLOUD_ENV"
DEFAULT = HERE.parent.parent / ".cache" / "cloud-env"


class CloudError(Exception):
    """A test server, or the environment for it, could not be had; the message says what to look at."""


class Environment:
    """A virtual environment with glance, keystone and gunicorn in it; see :func:`environment`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.python = root / "bin" / "python"

    def script(self, name: str) -> Path:
        """The path of an installed command such as ``glance-manage``."""
        return self.root / "bin" / name

    def run(self, *command: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Runs one command and returns its stdout; raises CloudError with its output when it fails."""
        done = subprocess.run(
            [str(part) for part in command], env=clean_environ(env or {}), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CloudError(f"{Path(command[0]).name} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def template(self, name: str, make: Callable[[Path], None]) -> Path:
        """The directory `name` of things that are slow to make, made by `make(directory)` if it is not there.

        A template appears under its name only once it is whole. Never write into one: copy it.
        """
        final = self.root / "templates" / name
        if final.is_dir():
            return final
        final.parent.mkdir(exist_ok=True)
        with locked(final.parent / f"{name}.lock"):
            if not final.is_dir():
                partial = final.parent / f"{name}.{uuid.uuid4().hex}"
                partial.mkdir()
                try:
                    make(partial)
                    partial.rename(final)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
        return final


@cache
def environment() -> Environment:
    """The environment, built first if there is none; safe with many callers at once and after an interrupted build.

    Building takes about a minute and needs a package index. Raises CloudError when it fails.
    """
    chosen = os.environ.get(VARIABLE)
    root = Path(chosen).resolve() if chosen else DEFAULT
    marker = root / ".complete"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()

    def usable() -> bool:
        if marker.is_file():
            return marker.read_text() == wanted
        foreign = bool(chosen) and not (root / ".building").exists()
        return foreign and all((root / "bin" / name).exists() for name in ("gunicorn", "glance-manage"))

    if not usable():
        root.parent.mkdir(parents=True, exist_ok=True)
        with locked(root.with_name(root.name + ".lock")):
            if not usable():
                _build(root)
                marker.write_text(wanted)
    return Environment(root)


def clean_environ(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment for a server process: ours, without what would change the behaviour of Python or OpenStack."""
    ours = ("OS_", "PYTHON", "GUNICORN", "VIRTUAL_ENV", "COV_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    # Everything a server talks to is on loopback.
    return {key: value for key, value in kept.items() if not key.lower().endswith("_proxy")} | {
        "PYTHONNOUSERSITE": "1",
        **extra,
    }


def _build(root: Path) -> None:
    if root.exists():
        if any(root.iterdir()) and not (root / "pyvenv.cfg").exists() and not (root / ".building").exists():
            raise CloudError(f"{root} is not empty and no virtual environment: point {VARIABLE} elsewhere")
        shutil.rmtree(root)
    root.mkdir()
    (root / ".building").touch()
    print(f"building the environment of the test servers in {root} (about a minute)", file=sys.stderr, flush=True)
    # The interpreter below any virtual environment we run in, so that the new one outlives it.
    venv.EnvBuilder(with_pip=True, symlinks=True).create(root)
    # pip keeps its proxy settings: unlike the servers, it has to reach an index.
    pip = [str(root / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "-r", str(REQUIREMENTS)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CloudError(f"pip could not install {REQUIREMENTS.name}:\n{done.stdout}{done.stderr}")
    (root / ".building").unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; `path` is a file for nothing else."""
    # The lock is the kernel's, so it ends with its process; the file stays, because removing it would race.
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    print(environment().root)
