"""Makes what some jobs work on, the same in each run.

::

    python -m benchmarks.make noise DIR BYTES          files that do not compress
    python -m benchmarks.make many DIR COUNT           an archive of tiny images, and the same data as files
    python -m benchmarks.make copies DIR FILE COUNT    copies of an image that share no blocks
"""

from __future__ import annotations

import hashlib
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.images import NAMESPACE
from benchmarks.sparse import BLOCK, READ, pieces
from glancearchive.format.writer import ArchiveWriter

NOISE_FILES = 4


def noise(directory: Path, size: int) -> None:
    """Files of noise, `size` bytes together."""
    directory.mkdir()
    for number in range(NOISE_FILES):
        generator = np.random.default_rng(number)
        left = size // NOISE_FILES
        with (directory / f"noise-{number + 1}.raw").open("wb") as file:
            while left:
                piece = generator.bytes(min(READ, left))
                left -= file.write(piece)


def many(directory: Path, count: int) -> None:
    """An archive, images.gla, of `count` images of one block each; files/ holds the same data."""
    files = directory / "files"
    files.mkdir(parents=True)
    generator = np.random.default_rng(0)
    writer = ArchiveWriter(directory / "images.gla", source="made for the benchmarks")
    for number in range(count):
        data = generator.bytes(BLOCK)
        metadata = described(f"image-{number:06}", data)
        image = writer.begin(metadata["id"], metadata)
        image.write(data)
        image.finish({"sha512": metadata["os_hash_value"]}, "sha512")
        (files / f"{metadata['name']}.raw").write_bytes(data)
    writer.finish()


def described(name: str, data: bytes) -> dict[str, Any]:
    """What a Glance would say of an image."""
    identity = str(uuid.uuid5(NAMESPACE, name))
    return {
        "id": identity,
        "name": name,
        "status": "active",
        "visibility": "private",
        "protected": False,
        "os_hidden": False,
        "owner": uuid.uuid5(NAMESPACE, "owner").hex,
        "tags": ["benchmark"],
        "disk_format": "raw",
        "container_format": "bare",
        "min_disk": 0,
        "min_ram": 0,
        "size": len(data),
        "virtual_size": len(data),
        "checksum": hashlib.md5(data).hexdigest(),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(data).hexdigest(),
        "created_at": "2026-01-31T12:00:00Z",
        "updated_at": "2026-01-31T12:00:00Z",
        "file": f"/v2/images/{identity}/file",
        "self": f"/v2/images/{identity}",
        "schema": "/v2/schemas/image",
        "os_distro": "debian",
        "os_version": "12",
        "hw_disk_bus": "virtio",
    }


def copies(directory: Path, source: Path, count: int) -> None:
    """`count` images like `source`, zero blocks where it has them; the first is the same, no block of the others is."""
    directory.mkdir()
    for number in range(count):
        with (directory / f"copy-{number + 1}.raw").open("wb") as file:
            file.truncate(source.stat().st_size)
            for position, piece in pieces(source):
                blocks = np.frombuffer(piece, np.uint8).reshape(-1, BLOCK)
                used = blocks.any(axis=1, keepdims=True)
                file.seek(position)
                file.write((blocks ^ (used * np.uint8(number))).tobytes())


def main() -> None:
    what, directory, *rest = sys.argv[1:]
    if what == "noise":
        noise(Path(directory), int(rest[0]))
    elif what == "many":
        many(Path(directory), int(rest[0]))
    elif what == "copies":
        copies(Path(directory), Path(rest[0]), int(rest[1]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
