"""The largest file of FAT, for real: 4 GiB - 1, which more than 4 GiB of data have to cross. Part of ``make soak``."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import glancearchive
from glancearchive.errors import LocalError
from glancearchive.format.places import Split
from glancearchive.image import Action, Buffer, Image
from glancearchive.operations.dump import dump
from tests.glances import Counter

LARGEST = 2**32 - 1
PIECE = 16 << 20
SIZE = LARGEST + 20 * PIECE

pytestmark = pytest.mark.skipif("GLANCEARCHIVE_SOAK" not in os.environ, reason="writes 9 GB: part of make soak")


class Noise:
    """One image that does not compress, larger than any file may be; implements `glancearchive.image.Source`."""

    label = "noise"

    def images(self) -> Iterator[Image]:
        yield Image({"id": "noise", "name": "noise", "status": "active", "size": SIZE})

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        while offset < SIZE:
            piece = np.random.default_rng(offset // PIECE).bytes(PIECE)[offset % PIECE :]
            yield piece[: SIZE - offset]
            offset += len(piece)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file can be larger: a write that crosses the limit is short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_volumes_keep_below_it(tmp_path: Path) -> None:
    path = tmp_path / "a.gla"
    with largest_file(LARGEST):
        run = dump(Noise(), path, progress=Counter(), level="fast", split=Split(LARGEST))
        assert [outcome.action for outcome in run.outcomes] == [Action.COPIED]
    volumes = sorted(tmp_path.iterdir())
    assert [volume.name for volume in volumes] == ["a.001.gla", "a.002.gla"]
    first, second = (volume.stat().st_size for volume in volumes)
    assert LARGEST - 3 * PIECE < first <= LARGEST
    assert second > 18 * PIECE
    with glancearchive.open(volumes[0]) as archive:
        assert archive.finished
        assert glancearchive.verify(archive, glancearchive.Depth.QUICK).ok


def test_one_volume_cannot_cross_it(tmp_path: Path) -> None:
    """It ends with one line; where there is no such limit, it is gone on with."""
    path = tmp_path / "a.gla"
    with largest_file(LARGEST):
        run = dump(Noise(), path, progress=Counter(), level="fast")
        with pytest.raises(LocalError, match="cannot be written at byte 4294967295: File too large"):
            list(run.outcomes)
    assert LARGEST - 20 * PIECE < (tmp_path / "a.gla.part").stat().st_size <= LARGEST
    run = dump(Noise(), path, progress=Counter(), level="fast")
    assert [outcome.action for outcome in run.outcomes] == [Action.COPIED]
    with glancearchive.open(path) as archive:
        assert glancearchive.verify(archive, glancearchive.Depth.QUICK).ok
