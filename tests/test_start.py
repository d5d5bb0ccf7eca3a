"""How the program starts: with no threads, no work that nothing needs, nothing of what only other commands need."""

from __future__ import annotations

import ctypes
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


def test_a_system_without_hang_ups_will_do(tmp_path: Path) -> None:
    program = "import signal\ndel signal.SIGHUP\nfrom glancearchive.__main__ import main\nmain()"
    arguments = [sys.executable, "-c", program, "list", str(tmp_path / "none.gla")]
    done = subprocess.run(arguments, env=environ(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr


@pytest.mark.parametrize(("arguments", "code"), [(["list", "none.gla"], 3), (["list", "--none"], 2), (["show"], 2)])
def test_an_error_that_cannot_be_told_still_has_its_code(arguments: list[str], code: int, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "glancearchive", *arguments]
    with Path("/dev/full").open("wb") as full:
        assert subprocess.run(program, env=environ(), cwd=tmp_path, stderr=full, check=False).returncode == code


_ARENAS = """
import ctypes, os, sys, threading

def look(code):
    threads = [threading.Thread(target=lambda: held.append(bytearray(200_000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(libc.fopen(sys.argv[-1].encode(), b"w"))
    libc.malloc_info(0, file)
    libc.fclose(file)
    end(code)

held = []
end, os._exit = os._exit, look
if sys.argv[1] == "program":
    from glancearchive.__main__ import main
    sys.argv[1:] = ["completion", "--help", sys.argv[-1]]
    main()
look(0)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="this is not the allocator of glibc")
def test_all_threads_take_memory_from_one_place(tmp_path: Path) -> None:
    arenas = {}
    for which in ("program", "python"):
        file = tmp_path / which
        arguments = [sys.executable, "-c", _ARENAS, which, str(file)]
        done = subprocess.run(arguments, env=environ(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        arenas[which] = file.read_text(encoding="ascii").count("<heap nr=")
    assert arenas["program"] == 1 < arenas["python"]
