"""Two real Glances on this machine, real images in one of them, and the way over into the other.

Run by ``make demo``. ``IMAGES=DIR make demo`` takes the disk images in DIR instead of making some.
Exits with 0 if the second Glance ends up with the same as the first, and with 1 if not.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from demo.comparison import compare, render
from demo.subjects import choose, put
from tests.cloud.environment import environment
from tests.cloud.glance import Glance

MEGABYTES = 32  # of files in each of the images made here
# Zeros written to a Glance cost no space on this machine's disk.
OPTIONS = {"main": {"filesystem_thin_provisioning": True}}


def heading(text: str) -> None:
    """Prints what comes next."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def glancearchive(*arguments: str, may_find: bool = False) -> float:
    """Runs the program as a user does and returns the seconds it took.

    Exit code 1 means that it finished and has something to tell; only where `may_find` is set is that no failure.
    """
    program = Path(sys.executable).with_name("glancearchive")
    print(f"\n$ {shlex.join(('glancearchive', *arguments))}", flush=True)
    begin = time.monotonic()
    code = subprocess.run([str(program), *arguments], check=False).returncode
    seconds = time.monotonic() - begin
    print(f"[exit code {code}, {seconds:.1f} s]", flush=True)
    if code not in ((0, 1) if may_find else (0,)):
        raise SystemExit(f"glancearchive {arguments[0]} ended with exit code {code}")
    return seconds


def show(scratch: Path, own: Path | None) -> bool:
    """The whole demo in the directory `scratch`; true if both Glances hold the same at its end."""
    with Glance(scratch / "here", options=OPTIONS) as here, Glance(scratch / "there", options=OPTIONS) as there:
        heading(f"Two Glances run: {here.address} with images, {there.address} empty")
        logical = sum(put(here.client(), subject) for subject in choose(own, scratch / "disks", MEGABYTES))

        heading("Dump the first one into an archive")
        # The name the file would have on the medium; it is read back from there.
        archive = Path("images.gla")
        dump = glancearchive("dump", here.address, str(archive), may_find=True)
        stored = archive.stat().st_size

        heading("On the far side: is the archive whole, and what is in it?")
        verify = glancearchive("verify", str(archive))
        glancearchive("list", str(archive))

        heading("Load it into the second Glance")
        load = glancearchive("load", there.address, str(archive), may_find=True)

        heading("Compare the two Glances, by their own word")
        rows = compare(here.client(), there.client())
        print(render(rows))
        different = sum(not row.same for row in rows)

        heading("In figures")
        print(f"images   {len(rows)}, of which {different} differ")
        print(f"logical  {logical:>13,} bytes")
        print(f"stored   {stored:>13,} bytes, {stored / max(logical, 1):.1%} of that")
        print(f"time     dump {dump:.1f} s, verify {verify:.1f} s, load {load:.1f} s")
        return not different


def main() -> int:
    """Runs the demo in a directory of its own and returns the exit code."""
    # So that a terminated demo stops its servers and removes its files too.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))
    given = os.environ.get("IMAGES")
    own = Path(given).resolve() if given else None
    if own is not None and not own.is_dir():
        raise SystemExit(f"IMAGES={given} is no directory")
    environment()
    with tempfile.TemporaryDirectory(prefix="glancearchive-demo-") as scratch:
        os.chdir(scratch)
        try:
            same = show(Path(scratch), own)
        finally:
            os.chdir("/")
    heading("The second Glance holds what the first one does." if same else "THE TWO GLANCES DIFFER.")
    return 0 if same else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
