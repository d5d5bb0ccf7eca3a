"""Increments: archives that use blocks of another one; isolated catalogs; merging."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import glancearchive
from glancearchive import Depth
from glancearchive.errors import (
    ChainError,
    FormatError,
    LocalError,
    MissingError,
    StrangerError,
    UsageError,
    VolumeError,
)
from glancearchive.format.archiveheader import BaseName, RepairedName
from glancearchive.format.base import open_base
from glancearchive.format.compression import LEVELS, compress, decompress
from glancearchive.format.encoding import pack, unpack
from glancearchive.format.growing import Room
from glancearchive.format.hashing import digest
from glancearchive.format.header import HEADER_SIZE, ISOLATED, RecordHeader, RecordType
from glancearchive.format.isolated import read_isolated, write_isolated
from glancearchive.format.padding import padding_bound
from glancearchive.format.places import Split
from glancearchive.format.volume import Volume
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action
from glancearchive.operations.merge import Merger
from tests.spec_readers import second_reader, spec_reader

BLOCK = 4096
Images = dict[str, bytes]


def noise(blocks: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(blocks * BLOCK)


A, B, C = noise(1500, 1), noise(700, 2), noise(300, 3)
FIRST: Images = {"a": A, "b": B, "zeros": bytes(9 * BLOCK + 5)}
# `b` changed in its middle, `c` is new and begins as `a` does, `d` needs nothing that was there before, `a` is gone.
SECOND: Images = {"b": B[: 300 * BLOCK] + C[: 20 * BLOCK] + B[320 * BLOCK :] + b"x", "c": A[: 100 * BLOCK], "d": C}
THIRD: Images = {"b": SECOND["b"], "e": A[: 50 * BLOCK] + C[: 50 * BLOCK] + noise(10, 4)}


def add(writer: ArchiveWriter, images: Images) -> None:
    for image_id, data in images.items():
        image = writer.begin(image_id, {"id": image_id, "name": image_id})
        image.write(data)
        image.finish({"sha512": hashlib.sha512(data).hexdigest()}, "sha512")


def write(path: Path, images: Images, base: Path | None = None) -> Path:
    if base is None:
        writer = ArchiveWriter(path)
        add(writer, images)
        writer.finish()
        return path
    with open_base([base]) as opened:
        writer = ArchiveWriter(path, base=opened)
        add(writer, images)
        writer.finish()
    return path


def append(path: Path, images: Images) -> None:
    path.rename(f"{path}.part")
    writer = ArchiveWriter(path)
    add(writer, images)
    writer.finish()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, an increment of it, one of that, and a sibling of the first."""
    directory = tmp_path_factory.mktemp("made")
    write(directory / "first.gla", FIRST)
    write(directory / "second.gla", SECOND, directory / "first.gla")
    with glancearchive.open(directory / "second.gla", directory / "first.gla") as archive:
        write_isolated(archive, directory / "second.glacat")
    write(directory / "third.gla", THIRD, directory / "second.glacat")
    write(directory / "sibling.gla", {"s": C + A[:BLOCK]}, directory / "first.gla")
    return directory


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def states(*paths: Path, depth: Depth = Depth.GLANCE) -> dict[str, str]:
    """What a verification says of each image; all that it calls valid has to be what it was."""
    known = FIRST | SECOND | THIRD | {"s": C + A[:BLOCK]}
    with glancearchive.open(*paths) as archive:
        report = glancearchive.verify(archive, depth)
        for image in archive:
            status = next(state.status for state in report.images if state.id == image.id)
            if status == "valid":
                with image.open() as file:
                    data = file.read()
                assert data == known[image.id] or data == FIRST[image.id]
            else:
                with pytest.raises(FormatError), image.open() as file:
                    file.read()
        assert not report.ok or set(states_of(report)) == {"valid"}
        return {state.id: state.status for state in report.images}


def states_of(report: glancearchive.Report) -> list[str]:
    return [state.status for state in report.images]


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def records(path: Path, kind: RecordType) -> list[tuple[int, int]]:
    """Where the payloads of the records of a type are: begin and end."""
    with glancearchive.open(path) as archive:
        volume = archive.volumes[1]
        found = [item for item in volume.walk(archive.archive_id) if not isinstance(item, FormatError)]
        return [(one.payload_offset, one.end) for at, one in found if one.type == kind and one.offset == at]


ALL_VALID = dict.fromkeys(SECOND, "valid")


@pytest.mark.parametrize("order", [("second", "first"), ("first", "second")])
def test_an_increment_is_read_with_its_base_in_any_order(made: Path, order: tuple[str, str]) -> None:
    assert states(*(made / f"{name}.gla" for name in order)) == ALL_VALID


@pytest.mark.parametrize(
    "order", [("third", "second", "first"), ("first", "second", "third"), ("second", "third", "first")]
)
def test_a_chain_is_read_with_all_of_it_in_any_order(made: Path, order: tuple[str, ...]) -> None:
    paths = [made / f"{name}.gla" for name in order]
    assert states(*paths) == dict.fromkeys(THIRD, "valid")
    reading = second_reader(paths)
    assert reading.layers == set()
    assert reading.sha256 == {image_id: hashlib.sha256(data).hexdigest() for image_id, data in THIRD.items()}


def test_it_stores_what_the_base_does_not_have_alone(made: Path) -> None:
    new = len(C) + BLOCK  # of `b` 20 blocks that `d` has too, and one with its last byte
    assert new < (made / "second.gla").stat().st_size < new + 20_000


def test_an_increment_alone_gives_what_needs_no_base_and_names_the_one_that_is_missing(made: Path) -> None:
    assert states(made / "second.gla") == {"b": "held", "c": "held", "d": "valid"}
    with glancearchive.open(made / "first.gla") as base, glancearchive.open(made / "second.gla") as archive:
        assert base.root_digest is not None
        assert archive.missing_base is not None
        assert archive.missing_base.root == base.root_digest
        assert [base.root_digest.hex() in str(fault) for fault in archive.faults] == [True]
        report = glancearchive.verify(archive)
        assert [damage.images for damage in report.damage] == [["b", "c"]]


def test_of_a_chain_the_link_that_is_missing_is_named(made: Path, tmp_path: Path) -> None:
    with glancearchive.open(made / "third.gla", made / "second.gla") as archive:
        assert archive.base is not None
        assert archive.missing_base == archive.base.header.base
    assert states(made / "third.gla", made / "second.gla") == {"b": "held", "e": "held"}
    # Without the link between, the first may well belong to it.
    with glancearchive.open(made / "third.gla", made / "first.gla") as archive:
        assert [type(fault) for fault in archive.faults] == [MissingError]
        report = glancearchive.verify(archive)
        assert [damage.fault for damage in report.damage] == archive.faults
    # What begins where the missing one ends cannot be below it, and what has another key neither.
    other = write(tmp_path / "other.gla", {"a": A[:BLOCK]})
    for stranger in (made / "sibling.gla", other):
        with glancearchive.open(made / "second.gla", stranger) as archive:
            assert {type(fault) for fault in archive.faults} == {MissingError, StrangerError}


def test_a_sibling_stands_in_for_nothing(made: Path) -> None:
    assert states(made / "third.gla", made / "sibling.gla", made / "first.gla") == {"b": "held", "e": "held"}


@pytest.mark.parametrize("depth", [Depth.QUICK, Depth.FULL])
def test_damage_to_the_base_costs_the_images_that_need_it(copy: Path, depth: Depth) -> None:
    begin, _ = records(copy / "first.gla", RecordType.FRAME)[0]  # of `a`, of which `c` has the beginning
    flip(copy / "first.gla", begin + 100)
    assert states(copy / "second.gla", copy / "first.gla", depth=depth) == {"b": "valid", "c": "damaged", "d": "valid"}


def test_damage_to_the_increment_is_found_without_the_base_too(copy: Path) -> None:
    begin, _ = records(copy / "second.gla", RecordType.FRAME)[0]
    flip(copy / "second.gla", begin + 100)
    assert states(copy / "second.gla") == {"b": "damaged", "c": "held", "d": "damaged"}


@pytest.mark.parametrize("kind", [RecordType.HEADER, RecordType.END])
def test_with_either_place_that_names_the_base_damaged_the_other_does(copy: Path, kind: RecordType) -> None:
    begin, _ = records(copy / "second.gla", kind)[0]
    flip(copy / "second.gla", begin + 20)
    found = states(copy / "second.gla", copy / "first.gla")
    assert found == ALL_VALID


def test_with_the_end_of_the_base_cut_off_it_is_used_as_it_is(copy: Path) -> None:
    data = (copy / "first.gla").read_bytes()
    (copy / "first.gla").write_bytes(data[:-50])
    assert states(copy / "second.gla", copy / "first.gla") == ALL_VALID


def test_a_base_that_was_added_to_since_is_used_as_it_was(copy: Path) -> None:
    append(copy / "first.gla", {"later": noise(400, 9)})
    assert states(copy / "second.gla", copy / "first.gla") == ALL_VALID
    assert states(copy / "third.gla", copy / "second.gla", copy / "first.gla") == dict.fromkeys(THIRD, "valid")


def test_a_copy_of_the_base_from_before_something_was_added_is_refused(copy: Path) -> None:
    older = Path(shutil.copy(copy / "first.gla", copy / "older.gla"))
    append(copy / "first.gla", {"later": noise(400, 9)})
    increment = write(copy / "increment.gla", {"a": A}, copy / "first.gla")
    assert states(increment, older) == {"a": "held"}
    with glancearchive.open(increment, older) as archive:
        assert "never had that one" in str(archive.faults[0])
    assert states(increment, copy / "first.gla") == {"a": "valid"}


def test_with_a_checkpoint_of_the_base_damaged_its_blocks_are_stored_again(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begin, _ = records(copy / "first.gla", RecordType.CHECKPOINT)[0]
    flip(copy / "first.gla", begin + 10)
    increment = write(copy / "increment.gla", {"a": A}, copy / "first.gla")
    assert "stored again" in caplog.text
    assert increment.stat().st_size > len(A)
    assert states(increment, copy / "first.gla") == {"a": "valid"}


def test_from_the_catalog_the_same_increment_comes_as_from_the_archive(copy: Path) -> None:
    with glancearchive.open(copy / "first.gla") as archive:
        size = write_isolated(archive, copy / "first.glacat")
    assert size == (copy / "first.glacat").stat().st_size < 60_000
    increment = write(copy / "again.gla", SECOND, copy / "first.glacat")
    assert abs(increment.stat().st_size - (copy / "second.gla").stat().st_size) < 1000
    assert states(increment, copy / "first.gla") == ALL_VALID


def test_a_catalog_has_the_whole_chain(made: Path) -> None:
    found = {header.archive_id for header, _ in read_isolated(made / "second.glacat")}
    assert len(found) == 2
    assert len(spec_reader.read_isolated(made / "second.glacat")) == len(list(read_isolated(made / "second.glacat")))
    assert (made / "third.gla").stat().st_size < 11 * BLOCK + 20_000  # neither `b` nor what `e` has of `a` and `d`


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("of_the_second", ["second.gla", "alone.glacat"])
def test_the_catalogs_of_a_chain_may_be_several_files(copy: Path, order: tuple[int, int], of_the_second: str) -> None:
    with glancearchive.open(copy / "first.gla") as archive:
        write_isolated(archive, copy / "first.glacat")
    with glancearchive.open(copy / "second.gla") as archive:
        write_isolated(archive, copy / "alone.glacat")
    paths = copy / "first.glacat", copy / of_the_second
    with open_base([paths[at] for at in order]) as base:
        writer = ArchiveWriter(copy / "new.gla", base=base)
        add(writer, THIRD)
        writer.finish()
    assert abs((copy / "new.gla").stat().st_size - (copy / "third.gla").stat().st_size) < 1000
    assert states(*(copy / f"{name}.gla" for name in ("new", "second", "first"))) == dict.fromkeys(THIRD, "valid")


def test_a_catalog_of_something_else_is_refused(copy: Path) -> None:
    with glancearchive.open(copy / "sibling.gla") as archive:
        write_isolated(archive, copy / "sibling.glacat")
    with pytest.raises(UsageError, match="is nothing that"):
        open_base([copy / "second.glacat", copy / "sibling.glacat"])


def test_a_catalog_that_was_cut_anywhere_is_refused(made: Path, tmp_path: Path) -> None:
    data, ends = (made / "second.glacat").read_bytes(), []
    volume, at = Volume(made / "second.glacat"), 0
    while at < len(data):
        header = volume.read_header(at)
        at += header.end - header.offset
        ends.append(at)
    volume.close()
    assert ends.pop() == len(data)
    for size in [*ends, *(end + 60 for end in ends), len(data) - 1]:
        (tmp_path / "cut.glacat").write_bytes(data[:size])
        with pytest.raises(FormatError):
            list(read_isolated(tmp_path / "cut.glacat"))


def test_a_catalog_with_a_flipped_bit_is_refused(made: Path, tmp_path: Path) -> None:
    size = (made / "second.glacat").stat().st_size
    for offset in random.Random(5).sample(range(size), 60):
        shutil.copy(made / "second.glacat", tmp_path / "flipped.glacat")
        flip(tmp_path / "flipped.glacat", offset)
        with pytest.raises(FormatError):
            list(read_isolated(tmp_path / "flipped.glacat"))


def test_a_catalog_without_one_of_its_records_is_refused(made: Path, tmp_path: Path) -> None:
    data, volume = (made / "second.glacat").read_bytes(), Volume(made / "second.glacat")
    first = volume.read_header(0)
    second = volume.read_header(first.end)
    volume.close()
    at = first.end + second.end - second.offset
    volume = Volume(made / "second.glacat")
    third = volume.read_header(at)
    volume.close()
    (tmp_path / "less.glacat").write_bytes(data[:at] + data[at + third.end - third.offset :])
    with pytest.raises(ChainError):
        list(read_isolated(tmp_path / "less.glacat"))


def test_of_an_archive_that_is_not_finished_there_is_no_catalog(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla")
    add(writer, {"d": C})
    writer.commit()
    writer.close()
    with glancearchive.open(tmp_path / "a.gla.part") as archive, pytest.raises(LocalError, match="not finished"):
        write_isolated(archive, tmp_path / "a.glacat")
    with pytest.raises(LocalError, match="can be no base"):
        open_base([tmp_path / "a.gla.part"])


def test_of_an_archive_with_a_damaged_record_there_is_no_catalog_and_no_file(copy: Path) -> None:
    begin, _ = records(copy / "first.gla", RecordType.CHECKPOINT)[0]
    flip(copy / "first.gla", begin + 10)
    with glancearchive.open(copy / "first.gla") as archive, pytest.raises(FormatError):
        write_isolated(archive, copy / "first.glacat")
    assert not list(copy.glob("first.glacat*"))


def test_a_catalog_is_never_written_over(made: Path) -> None:
    with glancearchive.open(made / "first.gla") as archive, pytest.raises(LocalError, match="exists already"):
        write_isolated(archive, made / "second.glacat")


def test_an_increment_that_was_interrupted_goes_on_with_the_same_base_alone(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "increment.gla"
    with open_base([made / "first.gla"]) as base:
        writer = ArchiveWriter(path, base=base)
        add(writer, {"b": SECOND["b"]})
        image = writer.begin("c", {"id": "c", "name": "c"})
        image.write(SECOND["c"][: 60 * BLOCK])
        writer.commit()
        writer.close()
        with pytest.raises(UsageError, match="increment"):
            ArchiveWriter(path)
        with open_base([made / "second.glacat"]) as other, pytest.raises(UsageError, match="increment"):
            ArchiveWriter(path, base=other)
        writer = ArchiveWriter(path, base=base)
        entry = writer.recorded("c")
        assert entry is not None
        image = writer.go_on(entry, len(SECOND["c"]), lambda _segment: None)
        assert image.size == 60 * BLOCK  # read back from the base
        image.write(SECOND["c"][60 * BLOCK :])
        image.finish({}, "")
        add(writer, {"d": SECOND["d"]})
        writer.finish()
    assert states(path, made / "first.gla") == ALL_VALID


def rewritten(path: Path, change: Callable[[RecordType, bytes], bytes]) -> None:
    """Write the isolated catalog anew, with other payloads, and with digests that fit."""
    data, at, out, before, new_root = path.read_bytes(), 0, [], b"", b""
    while at < len(data):
        header = RecordHeader.unpack(data[at : at + HEADER_SIZE])
        raw = decompress(data[at + HEADER_SIZE : at + HEADER_SIZE + header.stored_size], header.raw_size)
        if header.type != ISOLATED:
            document = unpack(raw)
            if header.type != RecordType.HEADER:
                document["previous"] = before
            raw = change(RecordType(header.type), pack(document))
        stored = compress(raw, LEVELS["default"])
        fresh = replace(header, stored_size=len(stored), raw_size=len(raw), payload_digest=digest(stored))
        before = new_root = fresh.record_digest
        out.append((fresh, stored))
        at += HEADER_SIZE + header.stored_size
    stored = compress(pack({"root": new_root}), LEVELS["default"])
    raw_size = len(pack({"root": new_root}))
    out[0] = (replace(out[0][0], stored_size=len(stored), raw_size=raw_size, payload_digest=digest(stored)), stored)
    path.write_bytes(b"".join(header.pack() + stored for header, stored in out))


@pytest.mark.parametrize("more", [0, 1, 2**61])
def test_a_catalog_that_claims_more_blocks_than_it_describes_is_refused(more: int, made: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.glacat"
    with glancearchive.open(made / "first.gla") as archive:
        write_isolated(archive, path)

    def claim(kind: RecordType, raw: bytes) -> bytes:
        document = unpack(raw)
        if kind == RecordType.END:
            document["blocks"] += more
        return pack(document)

    rewritten(path, claim)
    if more:
        with pytest.raises(ChainError, match="blocks in the end record"):
            open_base([path])
    else:
        with open_base([path]) as base:
            assert base.name.blocks == len(base.index(Room()))


def test_a_base_that_claims_very_many_blocks_is_refused(made: Path) -> None:
    with open_base([made / "first.gla"]) as base:
        base.name = replace(base.name, blocks=2**61)
        with pytest.raises(ChainError, match="described nowhere"):
            base.index(Room())


def test_of_a_chain_without_its_beginning_the_index_begins_later(made: Path) -> None:
    with glancearchive.open(made / "first.gla") as archive:
        before = archive.ends[1].blocks
    with open_base([made / "second.gla"]) as base:
        index = base.index(Room())
        assert (index.first, index.first + len(index)) == (before, base.name.blocks)


@pytest.mark.parametrize("name", ["second.gla", "alone.glacat"])
def test_an_increment_of_a_chain_without_its_beginning_stores_again_what_only_that_has(
    name: str, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with glancearchive.open(copy / "second.gla") as archive:
        write_isolated(archive, copy / "alone.glacat")
    write(copy / "fourth.gla", THIRD | {"d2": C[BLOCK:]}, copy / name)
    assert "where they are needed they are stored again" in caplog.text
    with glancearchive.open(copy / "fourth.gla") as archive:
        assert archive.header.base is not None
        begin = archive.header.base.blocks
        archive.load_extents()
        starts = {image.id: image.entry.extents()[0][:, 0].tolist() for image in archive}
    assert max(starts["d2"]) < begin, "what the middle one has is not stored again"
    assert min(starts["e"]) < begin <= max(starts["e"]), "what is in the first one only is"
    order = [copy / "first.gla", copy / "fourth.gla", copy / "second.gla"]
    with glancearchive.open(*order) as archive:
        assert glancearchive.verify(archive).ok
        with archive.find("e")[0].open() as file:
            assert file.read() == THIRD["e"]


@pytest.mark.parametrize("key", ["frames", "blocks"])
def test_numbers_that_an_archive_begins_with_are_below_two_to_the_62(key: str) -> None:
    for kind, value in (
        (BaseName, {"archive_id": bytes(16), "root": bytes(32), "frames": 2**62 - 1, "blocks": 2**62 - 1}),
        (RepairedName, {"archive_id": bytes(16), "frames": 2**62 - 1, "blocks": 2**62 - 1}),
    ):
        assert getattr(kind.from_map(value), key) == 2**62 - 1
        with pytest.raises(ValueError, match=key):
            kind.from_map(value | {key: 2**62})


def test_with_another_block_size_there_is_no_increment(made: Path, tmp_path: Path) -> None:
    with open_base([made / "first.gla"]) as base, pytest.raises(UsageError, match="4096"):
        ArchiveWriter(tmp_path / "increment.gla", base=base, block_size=8192)


def test_an_increment_in_volumes(made: Path, tmp_path: Path) -> None:
    with open_base([made / "first.gla"]) as base:
        writer = ArchiveWriter(tmp_path / "increment.gla", base=base, split=Split(9_000_000))
        images = {"d": noise(4000, 7), "c": SECOND["c"]}
        add(writer, images)
        writer.finish()
    volumes = sorted(tmp_path.glob("increment.*.gla"))
    assert len(volumes) > 1
    with glancearchive.open(volumes[0], made / "first.gla") as archive:
        assert glancearchive.verify(archive, Depth.GLANCE).ok
    # `c` is all the base's, and described in the first volume; of the last one it is known all the same whose it is.
    with glancearchive.Archive([made / "first.gla", volumes[0]]) as archive:
        found = {state.id: state.status for state in glancearchive.verify(archive).images}
        assert found["c"] == "valid"
    with glancearchive.Archive([made / "first.gla", volumes[-1]]) as archive:
        assert archive.base is not None
        assert {state.id: state.status for state in glancearchive.verify(archive).images} == {"d": "held"}


# -- merging


def merged(path: Path, *paths: Path) -> dict[str, Action]:
    with Merger(paths) as merger:
        result = merger.run(path, level="default")
        outcomes = {outcome.id: outcome.action for outcome in result.outcomes}
        assert result.root_digest
    return outcomes


def test_merging_a_chain_and_a_sibling(made: Path, tmp_path: Path) -> None:
    paths = [made / f"{name}.gla" for name in ("sibling", "third", "first", "second")]
    outcomes = merged(tmp_path / "merged.gla", *paths)
    assert outcomes == dict.fromkeys(FIRST | SECOND | THIRD | {"s": b""}, Action.COPIED)
    assert set(states(tmp_path / "merged.gla").values()) == {"valid"}
    with glancearchive.open(tmp_path / "merged.gla") as archive, glancearchive.open(paths[2]) as first:
        assert archive.header.base is None
        digests = {frame.payload_digest for frame in archive.catalog.frames}
        assert next(iter(first.catalog.frames)).payload_digest in digests  # all of it is needed: as it was
        with archive.find("b")[0].open() as file:
            assert file.read() == SECOND["b"]
    # The sibling has the blocks of `d` too, which are stored once now.
    needed = len(A) + len(B) + len(C) + 11 * BLOCK
    assert (tmp_path / "merged.gla").stat().st_size < needed + 60_000 + padding_bound(needed)


def test_merging_leaves_out_blocks_that_no_image_needs_any_more(tmp_path: Path) -> None:
    base = write(tmp_path / "base.gla", {"a": A, "b": B})
    increment = write(tmp_path / "increment.gla", {"a": C, "b": B[: 10 * BLOCK]}, base)
    merged(tmp_path / "merged.gla", base, increment)
    assert (tmp_path / "merged.gla").stat().st_size < len(C) + 10 * BLOCK + 20_000
    with glancearchive.open(tmp_path / "merged.gla") as archive:
        assert glancearchive.verify(archive, Depth.GLANCE).ok
        assert {image.id: image.size for image in archive} == {"a": len(C), "b": 10 * BLOCK}


def test_merging_without_the_base_says_which_images_are_not_whole(made: Path, tmp_path: Path) -> None:
    outcomes = merged(tmp_path / "merged.gla", made / "second.gla")
    assert outcomes == {"b": Action.FAILED, "c": Action.FAILED, "d": Action.COPIED}
    with glancearchive.open(tmp_path / "merged.gla") as archive:
        assert {image.id: image.status for image in archive} == {"b": "failed", "c": "failed", "d": "complete"}


def test_merging_with_a_damaged_frame_costs_the_images_that_need_it(copy: Path) -> None:
    begin, _ = records(copy / "first.gla", RecordType.FRAME)[0]
    flip(copy / "first.gla", begin + 100)
    outcomes = merged(copy / "merged.gla", copy / "first.gla", copy / "second.gla")
    assert outcomes == {
        "a": Action.FAILED, "b": Action.COPIED, "zeros": Action.COPIED, "c": Action.FAILED, "d": Action.COPIED,
    }  # fmt: skip


def test_a_merge_that_was_interrupted_goes_on(made: Path, tmp_path: Path) -> None:
    paths = [made / f"{name}.gla" for name in ("first", "second")]
    with Merger(paths) as merger:
        outcomes = merger.run(tmp_path / "merged.gla", level="default").outcomes
        next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]  # a generator
    size = (tmp_path / "merged.gla.part").stat().st_size
    assert size > len(A)
    found = merged(tmp_path / "merged.gla", *paths)
    assert found.pop("a") == Action.PRESENT
    assert set(found.values()) == {Action.COPIED}
    assert (tmp_path / "merged.gla").stat().st_size < size + 20_000 + padding_bound(size)  # no frame again
    assert set(states(tmp_path / "merged.gla").values()) == {"valid"}


def test_what_has_no_base_in_common_cannot_be_merged(made: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.gla", {"d": C})
    with pytest.raises(UsageError, match="no base in common"):
        Merger([made / "first.gla", other])


def test_a_merge_never_writes_over_an_archive(made: Path, copy: Path) -> None:
    with Merger([made / "first.gla"]) as merger, pytest.raises(LocalError, match="exists already"):
        merger.run(copy / "second.gla", level="default")


def test_a_volume_error_names_the_increment(made: Path) -> None:
    with glancearchive.open(made / "second.gla") as archive:
        assert isinstance(archive.faults[0], VolumeError)
        assert archive.faults[0].volume == "second.gla"


@pytest.mark.parametrize(
    ("names", "count"), [(("third", "first"), 1), (("second", "sibling"), 2)], ids=["below", "beside"]
)
def test_the_second_reader_knows_what_may_be_below_the_missing_link(
    names: tuple[str, str], count: int, made: Path
) -> None:
    faults = spec_reader.read_archive([made / f"{name}.gla" for name in names]).faults
    assert len([fault for fault in faults if fault.layer == "volume"]) == count, faults
