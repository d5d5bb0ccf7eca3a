"""Zeros that are known by their buffer: taken as holes, and never anything else."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

import glancearchive
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Buffer
from glancearchive.zeros import PIECE, are_zeros, known, zeros


def test_only_shared_zeros_are_known_by_their_buffer() -> None:
    assert are_zeros(zeros(PIECE))
    assert are_zeros(zeros(5)[1:])
    assert not are_zeros(bytes(5))
    assert not are_zeros(memoryview(bytes(PIECE)))
    assert zeros(7) == bytes(7)


@pytest.mark.parametrize("place", [0, PIECE // 2, PIECE - 1])
def test_whole_pieces_of_zeros_become_shared_ones(place: int) -> None:
    assert are_zeros(known(bytes(PIECE)))
    data = bytearray(PIECE)
    data[place] = 1
    piece = bytes(data)
    assert known(piece) is piece
    shorter = bytes(PIECE - 1)
    assert known(shorter) is shorter
    longer = bytes(PIECE + 1)
    assert known(longer) is longer


def written(path: Path, pieces: Iterable[Buffer]) -> tuple[bytes, list[list[int]]]:
    """An image of `pieces`: its bytes as they are read back, and its extents."""
    writer = ArchiveWriter(path)
    image = writer.begin("image", {"name": "image"})
    for piece in pieces:
        image.write(piece)
    image.finish({}, "")
    writer.finish()
    with glancearchive.open(path) as archive:
        archive.load_extents()
        [found] = archive
        extents, _ = found.entry.extents()
        return found.open().read(), extents.tolist()


@pytest.mark.parametrize("seed", range(8))
def test_an_image_is_the_same_however_its_zeros_come(tmp_path: Path, seed: int) -> None:
    """Pieces of any length, so that shared zeros also begin and end within blocks."""
    rng = random.Random(seed)
    pieces: list[Buffer] = []
    for _ in range(40):
        length = rng.choice([1, 4095, 4096, 4097, rng.randrange(1, 3 * 4096), PIECE])
        pieces.append(rng.choice([zeros(length), bytes(length), rng.randbytes(length)]))
    plain = [bytes(piece) for piece in pieces]
    assert written(tmp_path / "shared.gla", map(known, pieces)) == written(tmp_path / "plain.gla", plain)
    assert written(tmp_path / "again.gla", pieces)[0] == b"".join(plain)
