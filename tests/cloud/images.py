"""Disk images of real file systems, made on the spot from directories of this machine.

What is in them depends on the machine; made twice they differ in little but the times in the inodes. Where a tool is
missing, what needs it is left out and the reason is told; raw images are always there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
BLOCK = 4096
# Fixed, so that a file system is the same however often it is made.
UUID = "5a1ad000-0000-4000-8000-000000000000"
TIME = "1700000000"


@dataclass(frozen=True)
class DiskImage:
    """One image file. `disk_format` is Glance's word for it."""

    name: str
    path: Path
    disk_format: str


@dataclass(frozen=True)
class ImageSet:
    """The images that could be made, and a sentence for each that could not."""

    images: tuple[DiskImage, ...]
    skipped: tuple[str, ...]

    def __getitem__(self, name: str) -> DiskImage:
        return next(image for image in self.images if image.name == name)

    def __iter__(self) -> Iterator[DiskImage]:
        return iter(self.images)

    @property
    def size(self) -> int:
        """Bytes of all of them, as Glance counts: holes included."""
        return sum(image.path.stat().st_size for image in self.images)


def make_images(directory: Path, *, megabytes: int = 8, sources: Sequence[Path] = ()) -> ImageSet:
    """Makes up to five related images into `directory`, each with about `megabytes` MiB of files in it.

    ``base`` and ``sibling`` are raw file systems, twice as large as their files, that share nine files in ten;
    ``sparse`` is a raw one, eight times as large as `base`; ``qcow2`` and ``qcow2-compressed`` hold the same disk as
    `sibling`. Files come from `sources`, by default from Python's own library and from where a machine has programs.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tree = directory / "tree"
    skipped: list[str] = []
    formatter = _tool("mkfs.ext4")
    if formatter is None:
        skipped.append("no mkfs.ext4 (e2fsprogs): raw images hold the files one after the other, not a file system")
    images = []

    def raw(name: str, size: int) -> None:
        path = directory / f"{name}.raw"
        if formatter is None:
            _pack(tree, path, size)
        else:
            _format(formatter, tree, path, size)
        images.append(DiskImage(name, path, "raw"))

    try:
        _fill(tree, sources or _default_sources(), megabytes * MIB)
        raw("base", 2 * megabytes * MIB)
        _age(tree)
        raw("sibling", 2 * megabytes * MIB)
        raw("sparse", 16 * megabytes * MIB)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    converter = _tool("qemu-img")
    if converter is None:
        skipped.append("no qemu-img (qemu-utils): no qcow2 images")
    else:
        for name, options in (("qcow2", []), ("qcow2-compressed", ["-c"])):
            path = directory / f"{name}.qcow2"
            source = str(directory / "sibling.raw")
            _run([converter, "convert", "-f", "raw", "-O", "qcow2", *options, source, str(path)])
            images.append(DiskImage(name, path, "qcow2"))
    return ImageSet(tuple(images), tuple(skipped))


def pattern(size: int, seed: int = 0) -> bytes:
    """`size` bytes that do not compress and are the same each time: for images whose content does not matter."""
    import random

    return random.Random(seed).randbytes(size)


def _default_sources() -> list[Path]:
    library = Path(sysconfig.get_path("stdlib"))
    return [library, Path("/usr/bin"), Path("/usr/share"), Path("/usr/lib")]


def _files(sources: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Regular files below `sources` in a fixed order, with the name each gets."""
    for source in sources:
        for parent, directories, names in os.walk(source):
            # Caches come and go between two runs, and installed packages may be huge single files.
            directories[:] = sorted(set(directories) - {"__pycache__", "site-packages", "dist-packages"})
            for name in sorted(names):
                path = Path(parent, name)
                if not path.is_symlink() and path.is_file() and not name.endswith(".pyc"):
                    yield path, f"{source.name}/{path.relative_to(source)}"


def _fill(tree: Path, sources: Sequence[Path], budget: int) -> None:
    """Copies files until they hold `budget` bytes in whole blocks."""
    left = budget
    for path, name in _files(sources):
        try:
            size = path.stat().st_size
            taken = -(-size // BLOCK) * BLOCK + BLOCK  # the inode and the directory entry have a share too
            if taken > left or taken > budget // 4:
                continue
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        except OSError:  # unreadable, or gone since it was listed
            continue
        left -= taken
        if left < 4 * BLOCK:
            break
    _settle(tree)


def _age(tree: Path) -> None:
    """Makes the tree what it might be after an upgrade: some files changed, some new, a few gone."""
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        lot = zlib.crc32(str(path.relative_to(tree)).encode()) % 20
        if lot == 0:
            path.unlink()
        elif lot == 1:
            path.write_bytes(path.read_bytes() + b"\n# changed\n")
        elif lot == 2:
            path.with_name(f"new-{path.name}").write_bytes(path.read_bytes()[::-1])
    _settle(tree)


def _settle(tree: Path) -> None:
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (int(TIME), int(TIME)))


def _format(formatter: str, tree: Path, path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
    shape = ["-b", str(BLOCK), "-m", "0", "-O", "^has_journal", "-N", str(size // BLOCK)]
    fixed = ["-U", UUID, "-E", f"hash_seed={UUID},root_owner=0:0"]
    _run(
        [formatter, "-q", "-F", *shape, *fixed, "-d", str(tree), str(path)],
        # Both names, for old and new e2fsprogs.
        E2FSPROGS_FAKE_TIME=TIME,
        SOURCE_DATE_EPOCH=TIME,
    )


def _pack(tree: Path, path: Path, size: int) -> None:
    """The files one after the other, each at the start of a block, after a table of their names: like a simple disk."""
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    table = "".join(f"{file.relative_to(tree)}\t{file.stat().st_size}\n" for file in files).encode()
    with path.open("wb") as out:
        out.seek(BLOCK)  # an empty boot block, so that nothing takes it for another format
        out.write(table)
        for file in files:
            out.seek(-(-out.tell() // BLOCK) * BLOCK)
            out.write(file.read_bytes())
        out.truncate(max(size, out.tell()))


def _tool(name: str) -> str | None:
    # Debian's users have no sbin in their path.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _run(command: list[str], **environ: str) -> None:
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    made = make_images(Path(sys.argv[1]), megabytes=int(sys.argv[2]))
    print(*made.images, *made.skipped, sep="\n")
