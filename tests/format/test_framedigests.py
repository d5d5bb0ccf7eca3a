"""Digests of blocks by their numbers, from those of the frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glancearchive.format.framedigests import BlockDigests, FrameDigests
from glancearchive.format.frameindex import Frame
from glancearchive.format.hashing import Digests

BLOCK = 4096
ARCHIVE = bytes(16)


def frame(number: int, first_block: int, blocks: int) -> Frame:
    return Frame(ARCHIVE, number, 1, 0, 0, blocks * BLOCK, bytes(32), first_block, blocks)


def rows(first: int, count: int) -> Digests:
    """Digests that tell the number of their block."""
    return np.arange(2 * first, 2 * (first + count), dtype=np.uint64).reshape(-1, 2)


def found(digests: BlockDigests, start: int, count: int) -> list[int]:
    return [int(row) // 2 for piece in digests.of(start, count) for row in piece[:, 0]]


def test_blocks_are_found_by_number(tmp_path: Path) -> None:
    """Frames that were learnt in another order, a hole between them, one without digests, one with too few."""
    frames = [frame(0, 0, 5), frame(1, 5, 7), frame(2, 12, 4), frame(3, 20, 6), frame(4, 26, 3), frame(5, 29, 2)]
    known = FrameDigests(tmp_path)
    for number in (0, 1, 3, 2):
        known[frames[number].key] = rows(frames[number].first_block, frames[number].blocks)
    known[frames[5].key] = rows(29, 1)
    digests = BlockDigests(known, [*frames[3:], *frames[:3]])  # of two repair archives
    there = [*range(16), *range(20, 26), 29]
    for start in range(32):
        for count in range(33 - start):
            assert found(digests, start, count) == [block for block in there if start <= block < start + count]


def test_what_goes_on_alike_is_one_piece(tmp_path: Path) -> None:
    frames = [frame(number, 3 * number, 3) for number in range(50)]
    known = FrameDigests(tmp_path)
    for one in frames:
        known[one.key] = rows(one.first_block, one.blocks)
    assert len(list(BlockDigests(known, frames).of(1, 140))) == 1
