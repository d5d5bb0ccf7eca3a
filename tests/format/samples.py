"""Small archives for tests, and what is in them."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

from glancearchive.format.writer import ArchiveWriter

BLOCK = 4096


@dataclass
class Sample:
    """An archive at `path`; `data` are the bytes of its images by id."""

    path: Path
    data: dict[str, bytes] = field(default_factory=dict)
    root: bytes = b""


def add(writer: ArchiveWriter, image_id: str, data: bytes, step: int = 1 << 20, **metadata: object) -> None:
    image = writer.begin(image_id, {"id": image_id, "name": f"name of {image_id}", **metadata})
    for at in range(0, len(data), step):
        image.write(data[at : at + step])
    image.finish({"sha512": hashlib.sha512(data).hexdigest()}, "sha512")


def tiny_archive(directory: Path) -> Sample:
    """About 2 KiB: two images that share a block, an empty one, one without data."""
    sample = Sample(directory / "tiny.gla")
    writer = ArchiveWriter(sample.path, source="test")
    shared = b"shared " * 700
    sample.data = {
        "one": shared[:BLOCK] + bytes(2 * BLOCK) + b"tail",
        "two": b"2" * BLOCK + shared[:BLOCK],
        "empty": b"",
    }
    for image_id, data in sample.data.items():
        add(writer, image_id, data)
    writer.begin("queued", {"id": "queued", "status": "queued"}).give_up("queued", "no-data")
    sample.root = writer.finish()
    return sample


def random_image(rng: random.Random, pool: bytes, pieces: int) -> bytes:
    """Zeros, fresh bytes and pieces of `pool`, some aligned to blocks and some not."""
    data = bytearray()
    for _ in range(pieces):
        match rng.randrange(4):
            case 0:
                data += bytes(rng.choice([BLOCK * rng.randrange(40), rng.randrange(100_000)]))
            case 1:
                data += rng.randbytes(rng.choice([BLOCK * rng.randrange(40), rng.randrange(100_000)]))
            case 2:
                begin = rng.randrange(len(pool) // BLOCK) * BLOCK
                data += pool[begin : begin + BLOCK * rng.randrange(60)]
            case _:
                data += bytes([rng.randrange(256)]) * BLOCK * rng.randrange(20)
    return bytes(data)
