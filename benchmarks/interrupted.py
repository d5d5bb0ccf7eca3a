"""Run a command, kill it when a file has grown to a size, and run it again, to its end.

::

    python -m benchmarks.interrupted FILE BYTES COMMAND...
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

POLL = 0.005  # seconds


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def main() -> None:
    path, limit, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    with subprocess.Popen(command) as process:
        while process.poll() is None and size(path) < limit:
            time.sleep(POLL)
        process.kill()
        status = process.wait()
    if status >= 0:
        sys.exit(f"ended with {status} before it could be killed at {limit} bytes")
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
