"""Local Glances for the benchmarks: one that holds the whole set, some that hold one image, fresh ones to load into."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.images import NAMESPACE, disk_format
from tests.cloud.glance import Glance, GlanceClient

STORE_CHUNK_SIZE = 1 << 20
UPLOADS = 2


def image_id(path: Path) -> str:
    """The id an image of the set has in every Glance, the same in each run."""
    return str(uuid.uuid5(NAMESPACE, f"image {path.name}"))


def create(glance: Glance, path: Path) -> None:
    """Make the image without its data."""
    glance.client().create(id=image_id(path), name=path.name, disk_format=disk_format(path), visibility="private")


def holds(glance: Glance, paths: Sequence[Path]) -> bool:
    """Whether the Glance holds exactly these images, whole."""
    found = {key: (image["status"], image["size"]) for key, image in glance.client().images().items()}
    return found == {image_id(path): ("active", path.stat().st_size) for path in paths}


def hashes(url: str) -> list[str]:
    """Glance's own hashes of all the images at `url`."""
    return sorted(str(image["os_hash_value"]) for image in GlanceClient(url).images().values())


def fill(glance: Glance, paths: Sequence[Path]) -> None:
    """Upload the images, two at a time."""

    def add(path: Path) -> None:
        create(glance, path)
        glance.client().upload(image_id(path), path)

    with ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(add, sorted(paths, key=lambda path: -path.stat().st_size)))
    for path in paths:
        # Glance writes zeros out. As holes they read the same, and the set stays in the page cache of a small machine.
        subprocess.run(["fallocate", "--dig-holes", str(glance.data_path(image_id(path)))], check=True)


@contextmanager
def holding(directory: Path, paths: Sequence[Path]) -> Iterator[Glance]:
    """A running Glance with exactly these images; its data stay in `directory` for the next time."""
    kept = directory.exists()
    with Glance(directory, store_chunk_size=STORE_CHUNK_SIZE) as glance:
        if kept and holds(glance, paths):
            yield glance
            return
    shutil.rmtree(directory)
    with Glance(directory, store_chunk_size=STORE_CHUNK_SIZE) as glance:
        fill(glance, paths)
        yield glance


@contextmanager
def fresh(directory: Path, queued: Sequence[Path] = ()) -> Iterator[Glance]:
    """A running Glance without images, or with these in the state before their upload; its data are deleted after."""
    shutil.rmtree(directory, ignore_errors=True)
    try:
        with Glance(directory, store_chunk_size=STORE_CHUNK_SIZE) as glance:
            for path in queued:
                create(glance, path)
            yield glance
    finally:
        shutil.rmtree(directory, ignore_errors=True)
