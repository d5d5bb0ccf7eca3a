from __future__ import annotations

import numpy as np
import pytest

from glancearchive.format.blockindex import ABSENT, BlockIndex


def random_digests(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, size=(count, 2), dtype=np.uint64)


@pytest.mark.parametrize("first", [0, 12345])
def test_agrees_with_a_dictionary(first: int) -> None:
    digests = random_digests(50_000, 1)
    index = BlockIndex(first)
    known: dict[bytes, int] = {}
    rng = np.random.default_rng(2)
    at = 0
    while at < len(digests):
        count = int(rng.integers(1, 2000))
        asked = digests[rng.integers(0, min(len(digests), at + count), size=500)]
        assert index.find(asked).tolist() == [known.get(one.tobytes(), ABSENT) for one in asked]
        new = digests[at : at + count]
        assert index.extend(new) == first + at
        known.update((one.tobytes(), first + at + row) for row, one in enumerate(new))
        at += count
    assert len(index) == len(digests)
    assert index.find(digests).tolist() == list(range(first, first + len(digests)))
    assert (index.digests(first + 7, first + 9) == digests[7:9]).all()


def test_digests_that_share_place_and_tag_are_told_apart() -> None:
    digests = np.array([(5, (9 << 36) | low) for low in range(300)], dtype=np.uint64)
    index = BlockIndex()
    index.extend(digests[:200])
    assert index.find(digests).tolist() == [*range(200), *[ABSENT] * 100]


def test_nothing_in_nothing() -> None:
    assert BlockIndex().find(np.empty((0, 2), dtype=np.uint64)).tolist() == []


def test_bytes_per_block_are_bounded() -> None:
    index = BlockIndex()
    for seed in range(40):
        index.extend(random_digests(10_000, seed))
        held = index._digests.nbytes + index._slots.nbytes
        assert held <= 52 * len(index) + (1 << 18)
