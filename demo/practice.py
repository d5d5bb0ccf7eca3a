"""Two Glances to practise on: ``here`` with images in it and ``there`` empty. Run by ``make practice``.

The tutorial and the how-tos in ``docs/`` name these two; the tests run their commands against them.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cloud.environment import environment
from tests.cloud.glance import MIB, Glance, GlanceClient
from tests.cloud.images import pattern

# A guest's files; what an update leaves of them comes first.
FILES = bytes(MIB) + pattern(16 * MIB)


@dataclass(frozen=True)
class Practice:
    """The two servers, and the file that names them."""

    here: Glance
    there: Glance
    clouds_yaml: Path


@contextmanager
def practice(directory: Path) -> Iterator[Practice]:
    """Both servers running, without images, and a clouds.yaml for them in `directory`; stopped at the end."""
    here, there = Glance(directory / "here"), Glance(directory / "there")
    with ExitStack() as stack:
        for glance in (here, there):
            stack.callback(glance.stop)
            glance.launch()
        clouds = {
            name: {"auth_type": "none", "image_endpoint_override": glance.url}
            for name, glance in (("here", here), ("there", there))
        }
        clouds_yaml = directory / "clouds.yaml"
        clouds_yaml.write_text(json.dumps({"clouds": clouds}, indent=2) + "\n", encoding="utf-8")  # JSON is YAML
        here.wait()
        there.wait()
        yield Practice(here, there, clouds_yaml)


def fill(client: GlanceClient) -> None:
    """Puts in what the pages speak of: a base image, its update, an image that nobody sees, and one without data."""
    base = {"visibility": "public", "os_distro": "debian", "hw_disk_bus": "virtio"}
    client.add(FILES, name="debian-12", tags=["lts"], min_ram=256, **base)
    client.add(FILES[: 14 * MIB] + pattern(4 * MIB, seed=1), name="debian-12-update", tags=["lts"], **base)
    client.add(pattern(4 * MIB, seed=2), name="rescue", os_hidden=True)
    client.create(name="not-uploaded-yet")


def main() -> int:
    """Runs until it is interrupted."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # or the directory would stay when a terminal is closed
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    environment()
    with tempfile.TemporaryDirectory(prefix="glancearchive-practice-") as scratch, practice(Path(scratch)) as running:
        fill(running.here.client())
        print("Two Glances run, until you press Ctrl-C. In another shell:\n")
        print(f"    export OS_CLIENT_CONFIG_FILE={shlex.quote(str(running.clouds_yaml))}")
        print(f"    export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH\n", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
