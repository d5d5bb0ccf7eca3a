"""How the program starts: with no threads and no work that nothing needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import environ


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list threads there")
def test_it_starts_no_threads_and_leaves_collecting_garbage_on() -> None:
    program = (
        "import gc, os, sys\n"
        "from glancearchive.__main__ import main\n"
        "sys.argv = ['glancearchive', '--version']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(len(os.listdir('/proc/self/task')), 'numpy' in sys.modules, end=' ')\n"
        "    print(gc.isenabled(), gc.get_freeze_count() > 0)\n"
    )
    env = {name: value for name, value in environ().items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["1 True True True"], done.stderr
