"""Build the image set of the benchmarks: six real Debian disk images, about 17 GB logical.

::

    python -m benchmarks.images DIR        (or BENCH_IMAGES=DIR)
    python -m benchmarks.images --trial DIR

Three sibling raws share a base and differ in what is installed on top, as a
family of cloud images does; each is bootstrapped on its own, so that equal
files lie at different places and generated files (initrd, caches, keys)
differ, as they do in life. What is already in DIR is kept, so the set is built
once. Needs root, mmdebstrap, mkfs.ext4 and qemu-img. The trial set has the same
names and forms, but a few MB of made-up data: with it all of the benchmarks can
be seen to work, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sparse import BLOCK, pieces

SUITE = "bookworm"
GIB = 1 << 30
TRIAL = 128  # how many times smaller the images of the trial set are
STATS = "images.json"
NAMESPACE = uuid.UUID("6d1b9a36-6d0f-4f43-9f0b-3f5a3a5e0b51")

BASE = """
    systemd-sysv linux-image-cloud-amd64 initramfs-tools zstd dbus openssh-server cloud-init cloud-guest-utils sudo
    locales python3 python3-apt unattended-upgrades ca-certificates curl wget rsync vim-tiny less man-db bash-completion
    iproute2 iputils-ping netbase ifupdown isc-dhcp-client tcpdump nftables chrony rsyslog logrotate cron e2fsprogs
    parted lsof strace screen htop qemu-guest-agent apt-transport-https gnupg pciutils usbutils
"""


@dataclass(frozen=True)
class Tree:
    """A Debian installation: the base and `extra`, in an ext4 file system of `size` bytes."""

    name: str
    size: int
    extra: str


@dataclass(frozen=True)
class Derived:
    """A qcow2 of one of the trees; of a tree of its own, or a second form of a raw that is in the set."""

    name: str
    tree: str
    compressed: bool


TREES = (
    Tree("web", 2 * GIB, "nginx certbot"),
    Tree("db", 2 * GIB, "mariadb-server redis-server"),
    Tree("build", 2 * GIB, "gcc make git python3-dev"),
    Tree("worker", 8 * GIB, "haproxy keepalived memcached prometheus-node-exporter"),
    Tree("java", 4 * GIB, "default-jre-headless"),
)
RAWS = ("web", "db", "build", "worker")
QCOW2S = (Derived("java", "java", compressed=False), Derived("web-compressed", "web", compressed=True))
FILES = tuple(f"{name}.raw" for name in RAWS) + tuple(f"{derived.name}.qcow2" for derived in QCOW2S)


def disk_format(path: Path) -> str:
    """Glance's disk_format of an image of the set."""
    return path.suffix[1:]


def images(directory: Path) -> list[Path]:
    """The six files, smallest first; `FileNotFoundError` if the set is not complete."""
    paths = [directory / name for name in FILES]
    return sorted(paths, key=lambda path: path.stat().st_size)


def run(*command: str | Path, nice: int = 0) -> None:
    """Run a step of the build; its output is shown only when it fails."""
    words = ["nice", "-n", str(nice), *map(str, command)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stdout[-4000:]}")


def sources() -> list[Path]:
    """The machine's own apt sources when they serve the suite; otherwise mmdebstrap's default is used."""
    candidates = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    return [path for path in candidates if path.is_file() and SUITE in path.read_text(encoding="utf-8")][:1]


def bootstrap(tree: Tree, target: Path, nice: int) -> None:
    """Install the packages of `tree` into the directory `target`."""
    packages = ",".join((BASE + tree.extra).split())
    # Services must not start in the build, and the machine's name must not leak into the images.
    policy = 'printf "#!/bin/sh\\nexit 101\\n" > "$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"'
    tidy = f'rm "$1/usr/sbin/policy-rc.d"; echo {tree.name} > "$1/etc/hostname"; : > "$1/etc/resolv.conf"'
    hooks = ["--essential-hook=" + policy, "--customize-hook=" + tidy]
    run("mmdebstrap", "--variant=minbase", f"--include={packages}", *hooks, SUITE, target, *sources(), nice=nice)


def make_raw(tree: Tree, target: Path, nice: int) -> None:
    """Write the file system of `tree` to `target`, a sparse raw image."""
    partial = target.with_name(target.name + ".partial")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="root-") as root:
        Path(root).chmod(0o755)
        bootstrap(tree, Path(root), nice)
        partial.unlink(missing_ok=True)
        with partial.open("wb") as file:
            file.truncate(tree.size)
        identity = str(uuid.uuid5(NAMESPACE, tree.name))
        run("mkfs.ext4", "-q", "-F", "-L", tree.name, "-U", identity, "-d", root, partial, nice=nice)
    partial.rename(target)


def make_qcow2(derived: Derived, raw: Path, target: Path, nice: int) -> None:
    """Convert `raw` to a qcow2 as `qemu-img` makes it by default."""
    partial = target.with_name(target.name + ".partial")
    options = ["-c"] if derived.compressed else []
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, partial, nice=nice)
    partial.rename(target)


def make_trial_raw(tree: Tree, target: Path, _nice: int) -> None:
    """Write a small stand-in for the raw of `tree`: some noise that all of them have, some of its own, text, holes."""
    size = tree.size // TRIAL
    own = random.Random(tree.name)
    text = b"".join(b"%s %d\n" % (tree.name.encode(), own.getrandbits(20)) for _ in range(size // 64))
    partial = target.with_name(target.name + ".partial")
    with partial.open("wb") as file:
        file.truncate(size)
        for place, data in enumerate((random.Random(0).randbytes(size // 8), own.randbytes(size // 4), text)):
            file.seek(place * size // 3)
            file.write(data)
    partial.rename(target)


def check_tools(trial: bool) -> None:
    """Exit with a message where the set cannot be built."""
    tools = ("qemu-img",) if trial else ("mmdebstrap", "mkfs.ext4", "qemu-img")
    for tool in tools:
        if shutil.which(tool) is None and not Path("/sbin", tool).exists():
            sys.exit(f"{tool} is missing: apt install mmdebstrap e2fsprogs qemu-utils")
    if os.geteuid() != 0 and not trial:
        sys.exit("the image set is built as root (mmdebstrap keeps owners and devices)")


def build(directory: Path, nice: int = 0, *, trial: bool = False) -> None:
    """Make what is missing of the set in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    missing = [name for name in FILES if not (directory / name).exists()]
    if not missing:
        return
    check_tools(trial)
    make: Callable[[Tree, Path, int], None] = make_trial_raw if trial else make_raw
    needed = {derived.tree for derived in QCOW2S if f"{derived.name}.qcow2" in missing}
    for tree in TREES:
        raw = directory / f"{tree.name}.raw"
        if not raw.exists() and (raw.name in missing or tree.name in needed):
            print(f"building {raw.name}", file=sys.stderr, flush=True)
            make(tree, raw, nice)
    for derived in QCOW2S:
        target = directory / f"{derived.name}.qcow2"
        if not target.exists():
            print(f"building {target.name}", file=sys.stderr, flush=True)
            make_qcow2(derived, directory / f"{derived.tree}.raw", target, nice)
        if derived.tree not in RAWS:
            (directory / f"{derived.tree}.raw").unlink(missing_ok=True)


def data_blocks(path: Path) -> Iterator[bytes]:
    """The blocks of a file that are not zero; holes are not read."""
    zeros = bytes(BLOCK)
    for _, piece in pieces(path):
        for begin in range(0, len(piece), BLOCK):
            block = piece[begin : begin + BLOCK]
            if block != zeros:
                yield block


def statistics(directory: Path) -> dict[str, dict[str, int]]:
    """Sizes in bytes per file and for the set: logical, not zero, and unique at 4 KiB (new in the order of FILES)."""
    seen: set[bytes] = set()
    result: dict[str, dict[str, int]] = {}
    for name in FILES:
        path = directory / name
        nonzero = unique = 0
        for block in data_blocks(path):
            nonzero += len(block)
            digest = hashlib.blake2b(block, digest_size=16).digest()
            if digest not in seen:
                seen.add(digest)
                unique += len(block)
        result[name] = {"logical": path.stat().st_size, "nonzero": nonzero, "unique": unique}
    keys = ("logical", "nonzero", "unique")
    result["total"] = {key: sum(row[key] for row in result.values()) for key in keys}
    return result


def load_statistics(directory: Path) -> dict[str, dict[str, int]]:
    """The statistics of the set, counted at most once."""
    path = directory / STATS
    if not path.exists():
        path.write_text(json.dumps(statistics(directory), indent=1) + "\n", encoding="utf-8")
    loaded: dict[str, dict[str, int]] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the image set of the benchmarks.")
    parser.add_argument("directory", nargs="?", type=Path, default=os.environ.get("BENCH_IMAGES"))
    parser.add_argument("--trial", action="store_true", help="the set with a few MB of made-up data")
    parser.add_argument("--nice", type=int, default=0, help="niceness of the build's steps")
    arguments = parser.parse_args()
    if arguments.directory is None:
        parser.error("give a directory, or set BENCH_IMAGES")
    build(Path(arguments.directory), arguments.nice, trial=arguments.trial)
    for name, row in load_statistics(Path(arguments.directory)).items():
        print(f"{name:24}" + "".join(f"  {key} {value / 1e6:9.1f} MB" for key, value in row.items()))


if __name__ == "__main__":
    main()
