"""How the program starts: with no threads, no work that nothing needs, nothing of what only other commands need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import environ


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list threads there")
@pytest.mark.parametrize(("command", "with_numpy"), [("verify", True), ("completion", False)])
def test_it_starts_no_threads_and_leaves_collecting_garbage_on(command: str, with_numpy: bool) -> None:
    program = (
        "import gc, os, sys\n"
        "from glancearchive.__main__ import main\n"
        "def look(code):\n"
        "    print(len(os.listdir('/proc/self/task')), 'numpy' in sys.modules, end=' ')\n"
        "    print(gc.isenabled(), gc.get_freeze_count() > 0, flush=True)\n"
        "    end(code)\n"
        "end, os._exit = os._exit, look\n"
        f"sys.argv = ['glancearchive', {command!r}, '--help']\n"
        "main()\n"
    )
    env = {name: value for name, value in environ().items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == [f"1 {with_numpy} True True"], done.stderr
