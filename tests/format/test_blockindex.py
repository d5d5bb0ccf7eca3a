from __future__ import annotations

import logging
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glancearchive.errors import LocalError
from glancearchive.format import blockindex
from glancearchive.format.blockindex import ABSENT, BlockIndex
from glancearchive.format.growing import GrowingArray, Room


def random_digests(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, size=(count, 2), dtype=np.uint64)


@pytest.mark.parametrize("first", [0, 12345])
@pytest.mark.parametrize("limit", [1 << 30, 200_000, 0])
def test_agrees_with_a_dictionary(tmp_path: Path, first: int, limit: int) -> None:
    """In memory, half of the time in a file, and in files from the beginning."""
    digests = random_digests(50_000, 1)
    index = BlockIndex(first, Room(limit, tmp_path))
    known: dict[bytes, int] = {}
    rng = np.random.default_rng(2)
    at = 0
    while at < len(digests):
        count = int(rng.integers(1, 2000))
        asked = digests[rng.integers(0, min(len(digests), at + count), size=500)]
        expected = int(rng.integers(-2, first + at + 5))  # any guess: it must change nothing
        assert index.find(asked, expected).tolist() == [known.get(one.tobytes(), ABSENT) for one in asked]
        new = digests[at : at + count]
        assert index.extend(new) == first + at
        known.update((one.tobytes(), first + at + row) for row, one in enumerate(new))
        at += count
    assert len(index) == len(digests)
    assert index.find(digests).tolist() == list(range(first, first + len(digests)))
    assert (index.digests(first + 7, first + 9) == digests[7:9]).all()
    index.forget(first + 100, first + 200)
    assert index.find(digests[90:210]).tolist() == [
        *range(first + 90, first + 100), *[ABSENT] * 100, *range(first + 200, first + 210)
    ]  # fmt: skip
    assert index.room.held <= limit
    assert list(tmp_path.iterdir()) == []  # files without names are gone with the process, however that ends


def test_expected_blocks_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that resembles one before it: only what differs goes to the table."""
    digests, changed = random_digests(3000, 1), random_digests(10, 2)
    index = BlockIndex(50)
    index.extend(digests)
    looked_up = []
    look_up = BlockIndex._look_up
    monkeypatch.setattr(BlockIndex, "_look_up", lambda self, some: looked_up.append(len(some)) or look_up(self, some))
    sibling = digests[1000:2000].copy()
    sibling[500:510] = changed
    numbers = index.find(sibling, 1050)
    assert looked_up == [10]
    assert numbers.tolist() == [*range(1050, 1550), *[ABSENT] * 10, *range(1560, 2050)]
    assert index.find(digests[-5:], 3045).tolist() == [3045, 3046, 3047, 3048, 3049]
    assert index.find(digests[-1:], 3050).tolist() == [3049]  # no block has this number yet


def test_digests_that_share_their_tag_are_told_apart() -> None:
    digests = np.array([(9 << 32, low) for low in range(60)], dtype=np.uint64)
    index = BlockIndex()
    index.extend(random_digests(1000, 3))
    index.extend(digests[:50])
    assert index.find(digests).tolist() == [*range(1000, 1050), *[ABSENT] * 10]


def test_more_equal_tags_than_random_keys_have() -> None:
    """More equal tags than a bucket holds: some blocks are not found any more; none is found wrongly."""
    digests = np.array([(9 << 32, low) for low in range(1000)], dtype=np.uint64)
    others = random_digests(5000, 4)
    index = BlockIndex()
    index.extend(others[:2500])
    index.extend(digests)
    index.extend(others[2500:])
    found = index.find(digests)
    assert set((found[found != ABSENT] - 2500 - np.flatnonzero(found != ABSENT)).tolist()) == {0}
    assert 1 <= (found != ABSENT).sum() <= 63
    assert (index.find(others) == ABSENT).sum() < 10  # those that would share the full bucket
    assert index.nbytes < 40 * len(index) + (1 << 17)


def test_a_digest_that_is_all_zero_in_its_tag() -> None:
    index = BlockIndex()
    index.extend(np.array([(5, 7)], dtype=np.uint64))
    assert index.find(np.array([(5, 7), (5, 8), (0, 0)], dtype=np.uint64)).tolist() == [0, ABSENT, ABSENT]


def test_nothing_in_nothing() -> None:
    assert BlockIndex().find(np.empty((0, 2), dtype=np.uint64)).tolist() == []
    assert BlockIndex().find(random_digests(3, 1)).tolist() == [ABSENT] * 3


def test_blocks_beyond_the_most_that_it_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockindex, "MAX_INDEXED", 1000)
    digests = random_digests(3000, 1)
    index = BlockIndex()
    for at in range(0, 3000, 300):
        assert index.extend(digests[at : at + 300]) == at
    assert index.find(digests).tolist() == [*range(1000), *[ABSENT] * 2000]
    assert (index.digests(2990, 3000) == digests[-10:]).all()


def test_bytes_per_block_are_bounded() -> None:
    index = BlockIndex()
    most = 0.0
    for seed in range(200):
        index.extend(random_digests(5000, seed))
        if len(index) > 50_000:
            most = max(most, index.nbytes / len(index))
    assert 26 < most < 34
    assert index.room.held == index.nbytes - index._directory.nbytes


class Moves:
    """Which arrays have gone into files."""

    def __init__(self, index: BlockIndex) -> None:
        self.arrays = [index._digests, index._buckets]

    def count(self) -> int:
        return sum(array._file is not None for array in self.arrays)


def test_it_goes_into_the_named_directory(tmp_path: Path) -> None:
    index = BlockIndex(0, Room(1 << 20, tmp_path, apart_from=tmp_path))  # named: also beside the archive
    moves = Moves(index)
    index.extend(random_digests(10_000, 1))
    assert moves.count() == 0
    index.extend(random_digests(90_000, 2))
    assert moves.count() == 2
    assert index.room.held == 0


def test_it_goes_into_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    index = BlockIndex(0, Room(0, None, apart_from=tmp_path))
    assert Moves(index).count() == 1  # the digests come with the first block
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    assert Moves(BlockIndex(0, Room(0))).count() == 0


def test_not_onto_the_medium_of_the_archive_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr("glancearchive.format.growing._default_place", lambda: str(tmp_path))
    index = BlockIndex(0, Room(0, None, apart_from=tmp_path))
    digests = random_digests(20_000, 1)
    for at in range(0, 20_000, 1000):
        index.extend(digests[at : at + 1000])
    assert index.find(digests).tolist() == list(range(20_000))
    assert Moves(index).count() == 0
    assert [record.getMessage() for record in caplog.records] == [
        "what is known of blocks outgrows 0 MiB, and stays in memory "
        f"({tmp_path} is on the file system of the archive); set TMPDIR to another directory"
    ]


def test_a_directory_that_cannot_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = BlockIndex(0, Room(0, tmp_path / "none"))
    index.extend(random_digests(1000, 1))
    assert len(index.find(random_digests(1000, 1))) == 1000
    assert "stays in memory" in caplog.text
    assert "No such file or directory" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_a_file_that_cannot_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without space reserved for it a mapping would end the process by a signal."""
    index = BlockIndex(0, Room(0, tmp_path))
    index.extend(random_digests(10_000, 1))

    def full(_file: int, _begin: int, _length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(LocalError, match=r"no space in a temporary file for what is known of blocks .* No space left"):
        index.extend(random_digests(50_000, 2))


def unmappable(_file: int, _length: int) -> None:
    raise OSError(19, "No such device")


def test_a_directory_whose_files_cannot_be_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("glancearchive.format.growing.mmap.mmap", unmappable)
    index = BlockIndex(0, Room(0, tmp_path))
    digests = random_digests(20_000, 1)
    for at in range(0, 20_000, 1000):
        index.extend(digests[at : at + 1000])
    assert index.find(digests).tolist() == list(range(20_000))
    assert [record.getMessage() for record in caplog.records] == [
        f"what is known of blocks outgrows 0 MiB, and stays in memory ({tmp_path}: No such device); "
        "set TMPDIR to another directory"
    ]


def test_a_file_that_cannot_be_mapped_any_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = GrowingArray(("<u8", (2,)), Room(0, tmp_path))
    array.reserve(1)
    monkeypatch.setattr("glancearchive.format.growing.mmap.mmap", unmappable)
    with pytest.raises(LocalError, match=r"cannot map a temporary file for what is known of blocks .* No such device"):
        array.reserve(50_000)


class Hesitant(FileIO):
    """Writes a part of what it is given, as a file may."""

    def write(self, data: Any, /) -> int:
        return super().write(memoryview(data)[:1000])


class Broken(FileIO):
    def write(self, _data: Any, /) -> int:
        raise OSError(5, "Input/output error")


def opening(kind: type[FileIO], path: Path) -> Callable[..., FileIO]:
    return lambda **_options: kind(path / "file", "x+")


@pytest.mark.parametrize("fallocate", [True, False])
def test_writes_that_fall_short(fallocate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", opening(Hesitant, tmp_path))
    if not fallocate:
        monkeypatch.delattr(os, "posix_fallocate")
    array = GrowingArray(("<u8", (2,)), Room(100_000, tmp_path))
    array.reserve(5000)
    array.rows[:5000] = digests = random_digests(5000, 1)
    assert not any(tmp_path.iterdir())
    array.reserve(50_000)
    assert (tmp_path / "file").stat().st_size >= 50_000 * 16
    assert (array.rows[:5000] == digests).all()
    assert not array.rows[5000:].any()


def test_a_disk_that_fails_while_an_array_moves_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", opening(Broken, tmp_path))
    array = GrowingArray(("<u8", (2,)), Room(100_000, tmp_path))
    array.reserve(5000)
    with pytest.raises(LocalError, match=r"cannot write a temporary file for .* Input/output error; set TMPDIR"):
        array.reserve(50_000)


def test_systems_without_fallocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    array = GrowingArray(("<u8", (2,)), Room(0, tmp_path))
    for count in (1, 5000, 200_000):
        array.reserve(count)
        assert array.rows[count - 1].tolist() == [0, 0]
        array.rows[count - 1] = count
    assert [array.rows[count - 1, 1] for count in (1, 5000, 200_000)] == [1, 5000, 200_000]
