"""Need-lists as files: what is written is read again, and nothing else is."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glancearchive.errors import LocalError
from glancearchive.format.hashing import digest
from glancearchive.format.imageparts import MAX_RANGES
from glancearchive.format.missing import joined
from glancearchive.format.needlist import MAX_SIZE, Damaged, NeededImage, NeedList
from glancearchive.operations.need import read_need, write_need

PART = NeededImage("a", "näme\n", ((0, 1), (5, 7)), 12 * 4096 - 1, bytes(32), {"sha512": "00"}, "sha512")
NEED = NeedList(
    archive_id=bytes(range(16)),
    hash_key=bytes(range(32)),
    block_size=4096,
    images=(PART, NeededImage("b")),
    root=bytes(32),
    source="glance http://here",
    damage=(Damaged(1, "a.gla", 5, 9, "frame", 3), Damaged(None, "b.002.gla", 0, 0, "volume")),
    incomplete=True,
    known=("c", "d"),
)


def signed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The file with a change, and a digest that fits it."""
    document = json.loads(NEED.pack())
    change(document)
    del document["digest"]
    document["digest"] = digest(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hex()
    return json.dumps(document).encode()


def test_what_is_written_is_read_again() -> None:
    packed = NEED.pack()
    assert NeedList.unpack(packed) == NEED
    assert packed.isascii()
    assert NeedList.unpack(packed.replace(b"\n", b"\r\n")) == NEED  # as mail may leave it
    assert NeedList.unpack(packed).pack() == packed


def test_every_changed_byte_is_found() -> None:
    packed = NEED.pack()
    for at in range(len(packed)):
        if packed[at : at + 1].isspace():
            continue  # what is between the tokens says nothing
        changed = bytearray(packed)
        changed[at] ^= 1
        with pytest.raises(ValueError, match=r"need-list|damaged|digest"):
            NeedList.unpack(bytes(changed))


def test_every_cut_is_found() -> None:
    packed = NEED.pack().rstrip()
    for size in range(len(packed)):
        with pytest.raises(ValueError, match="is no need-list"):
            NeedList.unpack(packed[:size])


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("version", lambda d: d.update(version=2)),
        ("is no need-list", lambda d: d.update(format="something")),
        ("block size", lambda d: d.update(block_size=5)),
        ("hex", lambda d: d.update(archive_id="AA" * 16)),
        ("hex", lambda d: d.update(archive_id="aa" * 15)),
        ("hex", lambda d: d.update(hash_key="xx" * 32)),
        ("missing", lambda d: d.pop("images")),
        ("type", lambda d: d.update(images={})),
        ("map", lambda d: d.update(images=[1])),
        ("id", lambda d: d["images"][0].update(id="../x")),
        ("id", lambda d: d["known"].append("a b")),
        ("twice", lambda d: d["known"].append("a")),
        ("twice", lambda d: d["images"].append(d["images"][0])),
        ("order", lambda d: d["images"][0].update(ranges=[[5, 7], [0, 1]])),
        ("order", lambda d: d["images"][0].update(ranges=[[0, 5], [5, 1]])),
        ("order", lambda d: d["images"][0].update(ranges=[[0, 0]])),
        ("order", lambda d: d["images"][0].update(ranges=[[-1, 2]])),
        ("order", lambda d: d["images"][0].update(ranges=[[2**70, 1]])),
        ("ranges", lambda d: d["images"][0].update(ranges=[])),
        ("pairs", lambda d: d["images"][0].update(ranges=[[1]])),
        ("pairs", lambda d: d["images"][0].update(ranges=[[True, 1]])),
        ("exceed", lambda d: d["images"][0].update(ranges=[[0, 13]])),
        ("without", lambda d: d["images"][0].update(size=None)),
        ("without", lambda d: d["images"][0].update(digest=None)),
        ("size", lambda d: d["images"][0].update(size=-1)),
        ("allowed", lambda d: d["images"][0].update(ranges=[[2 * n, 1] for n in range(MAX_RANGES + 1)], size=2**40)),
        ("volume", lambda d: d["damage"][0].update(volume=70000)),
        ("expected a str", lambda d: d["images"][0].update(hashes={"sha512": 1})),
    ],
)
def test_hostile_ones_are_refused(why: str, change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ValueError, match=why):
        NeedList.unpack(signed(change))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": 1.5}',
        b'{"version": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b" " * (MAX_SIZE + 1),
    ],
    ids=range(10),
)
def test_what_is_no_need_list(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"is no need-list|the limit is"):
        NeedList.unpack(data)


def test_ranges_are_joined_and_bounded() -> None:
    assert joined([(5, 2), (0, 3), (3, 1), (9, 0), (6, 1)]) == ((0, 4), (5, 2))
    rng = random.Random(5)
    rows, at = [], 0
    for _ in range(MAX_RANGES + 1000):
        at += rng.randrange(2, 50)
        rows.append((at, 1))
    found = joined(rows)
    assert MAX_RANGES - 10_000 < len(found) <= MAX_RANGES
    covered = {block for position, count in found for block in range(position, position + count)}
    assert covered >= {position for position, _ in rows}


def test_one_that_would_be_too_large_asks_for_more_in_fewer_ranges(tmp_path: Path) -> None:
    ranges = tuple((3 * number, 1 + number % 2) for number in range(MAX_RANGES))
    images = [NeededImage(f"i{number}", "", ranges, 4 * MAX_RANGES * 4096, bytes(32)) for number in range(8)]
    needed = replace(NEED, images=(*images, PART, NeededImage("b")))
    assert len(needed.pack()) > MAX_SIZE
    written = write_need(tmp_path / "need", needed)
    assert (tmp_path / "need").stat().st_size <= MAX_SIZE
    assert read_need(tmp_path / "need") == written
    assert written == replace(needed, images=written.images, damage=())
    for asked, got in zip(needed.images, written.images, strict=True):
        assert got == replace(asked, ranges=got.ranges)
        assert (got.ranges is None) == (asked.ranges is None)
        covered = {block for first, count in got.ranges or () for block in range(first, first + count)}
        assert all(first in covered and first + count - 1 in covered for first, count in asked.ranges or ())
    assert written.images[0].ranges is not None
    assert 1 < len(written.images[0].ranges) < MAX_RANGES


def test_one_that_cannot_be_made_smaller_is_not_written(tmp_path: Path) -> None:
    needed = replace(NEED, images=tuple(NeededImage(f"i{number}", "n" * 900) for number in range(MAX_SIZE // 1000)))
    with pytest.raises(LocalError, match="the limit is"):
        write_need(tmp_path / "need", needed)
    assert not list(tmp_path.iterdir())
