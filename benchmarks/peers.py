"""The tools that glancearchive is held against: installing them, and their versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

COMMANDS = {  # command: Debian package
    "restic": "restic",
    "borg": "borgbackup",
    "casync": "casync",
    "zstd": "zstd",
    "b3sum": "b3sum",
    "tar": "tar",
    "curl": "curl",
    "openssl": "openssl",
    "fallocate": "util-linux",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
}
CLIENTS = ("python-openstackclient", "python-glanceclient")
VERSIONS = {
    "glancearchive": "$GLANCEARCHIVE --version",
    "restic": "restic version",
    "borg": "borg --version",
    "casync": "casync --version",
    "zstd": "zstd --version",
    "b3sum": "b3sum --version",
    "GNU tar": "tar --version",
    "curl": "curl --version",
    "openssl": "openssl version",
    "sha512sum": "sha512sum --version",
    "python-openstackclient": "openstack --version",
    "python-glanceclient": "glance --version",
}


def install(directory: Path) -> Path:
    """Install what is missing: Debian packages as root, the OpenStack clients into a virtual environment.

    Returns the environment's directory of commands.
    """
    missing = sorted({package for command, package in COMMANDS.items() if shutil.which(command) is None})
    if missing:
        if os.geteuid() != 0:
            sys.exit(f"not installed, and only root can: apt-get install {' '.join(missing)}")
        subprocess.run(["apt-get", "update", "-q"], check=True, stdout=sys.stderr)
        options = ["-q", "-y", "--no-install-recommends"]
        subprocess.run(["apt-get", "install", *options, *missing], check=True, stdout=sys.stderr)
    commands = directory / "bin"
    if not all((commands / name).exists() for name in ("openstack", "glance")):
        venv.EnvBuilder(with_pip=True, clear=True).create(directory)
        # Twice quiet: only errors. Which index pip looks at is the machine's business.
        pip = [str(commands / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, *CLIENTS], check=True, stdout=sys.stderr)
    return commands


def versions(commands: Path, glancearchive: str) -> dict[str, str]:
    """The version each tool prints of itself."""
    found = {}
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{commands}", "GLANCEARCHIVE": glancearchive}
    for name, command in VERSIONS.items():
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment)
        printed = done.stdout + done.stderr
        # A dotted number before a plain one: some print "64-bit" or their own name with a digit first.
        match = re.search(r"\d+(\.\d+)+", printed) or re.search(r"\d+", printed)
        found[name] = match.group() if match and done.returncode == 0 else "missing"
    return found


def revision() -> str:
    """The commit of this tree, with "-dirty" where files differ from it; "" without git."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine(directory: Path) -> dict[str, str]:
    """What the figures were measured on; `directory` is where the measured tools write."""
    processor = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    kind = subprocess.run(
        ["findmnt", "-no", "FSTYPE", "-T", str(directory)], capture_output=True, text=True, check=True
    )
    return {
        "processor": processor.group(1) if processor else "unknown",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory.group(1)) / 2**20:.0f} GiB" if memory else "unknown",
        "kernel": os.uname().release.split("-")[0],
        "file system": kind.stdout.strip(),
        "Python": sys.version.split()[0],
    }
