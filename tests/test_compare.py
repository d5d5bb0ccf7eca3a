"""Comparing two places: what is found, what is not looked at, and what it costs."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from glancearchive.endpoints.archive_source import ArchiveSource
from glancearchive.endpoints.policy import MARK, SOURCE_ID, TABLE, Treatment
from glancearchive.errors import ConnectError, ImageFileError, InterruptedTransferError, NoDataError
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Buffer, Digest, Holding, Image
from glancearchive.operations.compare import Comparison, Finding, Kind, compare
from glancearchive.operations.likeness import field_differences
from glancearchive.operations.select import Selection
from tests.archives import write_archive
from tests.command import run
from tests.glances import Counter, metadata

DATA = b"some data" * 100
OTHER = b"other data of another size"


class Place:
    """A source of images that are made up; `data` by id, `reads` are the ids that were read."""

    label = "place"

    def __init__(self, *images: Image, data: dict[str, bytes | Exception] | None = None) -> None:
        self._images = images
        self._data = data or {}
        self.reads: list[str] = []

    def images(self) -> Iterator[Image]:
        return iter(self._images)

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        self.reads.append(image.id)
        data = self._data[image.id]
        if isinstance(data, Exception):
            raise data
        yield data[: len(data) // 2]
        yield data[len(data) // 2 :]


def image(number: int, data: bytes = DATA, **more: Any) -> Image:
    return Image(metadata(data, **{"id": f"{number:08}-0000-4000-8000-000000000000", **more}))


def without(given: Image, *fields: str) -> Image:
    return replace(given, metadata={key: value for key, value in given.metadata.items() if key not in fields})


def undigested(given: Image, *, md5: bool = False) -> Image:
    return without(given, "os_hash_algo", "os_hash_value", *([] if md5 else ["checksum"]))


def found(a: Place, b: Place, **options: Any) -> Comparison:
    return compare(a, b, Counter(), **options)


def kinds(comparison: Comparison) -> list[tuple[str, str]]:
    return [(str(finding.kind), finding.id[:8].lstrip("0")) for finding in comparison.findings]


def test_the_same_is_the_same_whatever_belongs_to_one_glance() -> None:
    a = image(1, tags=["x", "y"], os_distro="debian", owner=None)
    b = replace(
        a,
        metadata=without(a, "min_disk", "os_hidden").metadata
        | {
            "tags": ["y", "x"],
            "owner": "somebody",
            "created_at": "2024",
            "updated_at": "2025",
            "self": "/elsewhere",
            "file": "/elsewhere",
            "schema": "/elsewhere",
            "stores": "other",
            "virtual_size": 7,
            "direct_url": "rbd://x",
            "locations": [],
            "os_glance_failed_import": "",
            "new_attribute": {"of": "a newer Glance"},
            "unset": None,
            SOURCE_ID: "what a load noted",
        },
    )
    for one, other in ((a, b), (b, a)):
        assert found(Place(one), Place(other)) == Comparison((1, 1), 1, [])


def test_each_kind_of_finding() -> None:
    same, missing, extra, changed = image(1), image(2, b"2"), image(3, b"3"), image(4)
    renamed = replace(changed, metadata={**changed.metadata, "name": "n", "tags": ["t"]})
    a = Place(same, missing, changed, image(5), image(6, b"six"), image(8))
    b = Place(extra, renamed, image(5, OTHER), image(7, b"six"), replace(image(8), absent="queued"), same)
    result = found(a, b)
    assert kinds(result) == [
        ("missing", "2"),
        ("extra", "3"),
        ("metadata", "4"),
        ("other-data", "5"),
        ("other-id", "6"),
        ("data-missing", "8"),
    ]
    assert (result.images, result.same) == ((6, 6), 1)
    by_kind = {finding.kind: finding for finding in result.findings}
    assert by_kind[Kind.METADATA].fields == {"name": ("an image", "n"), "tags": ([], ["t"])}
    assert by_kind[Kind.OTHER_DATA].reason == f"{len(DATA)} bytes in A, {len(OTHER)} in B"
    assert by_kind[Kind.OTHER_ID].other == image(7).id
    assert by_kind[Kind.DATA_MISSING].reason == "B has none (queued)"
    assert (a.reads, b.reads) == ([], [])


def test_data_of_the_same_size_differ_by_digest() -> None:
    a, b = image(1, b"aaaa"), image(1, b"bbbb")
    (finding,) = found(Place(a), Place(b)).findings
    assert finding.kind is Kind.OTHER_DATA
    assert finding.reason == f"sha512:{a.digests[0].value} in A, {b.digests[0].value} in B"
    # One digest that differs is enough, whichever it is.
    mixed = replace(a, metadata={**a.metadata, "checksum": b.metadata["checksum"]})
    for one, other in ((a, mixed), (mixed, a), (mixed, b), (b, mixed)):
        assert kinds(found(Place(one), Place(other))) == [("other-data", "1")]


def test_other_data_do_not_hide_other_metadata() -> None:
    result = found(Place(image(1, b"a", name="x")), Place(image(1, b"b", name="y")))
    assert kinds(result) == [("other-data", "1"), ("metadata", "1")]
    assert result.same == 0


# Data.


def test_an_md5_will_do_and_so_will_a_hash_that_only_the_source_computed() -> None:
    whole = image(1)
    computed = replace(undigested(whole), held=Holding((Digest("sha512", whole.digests[0].value),)))
    for other in (undigested(whole, md5=True), computed):
        for a, b in ((whole, other), (other, whole)):
            assert found(Place(a), Place(b)).same == 1
    # Between these two there is none in common.
    assert kinds(found(Place(undigested(whole, md5=True)), Place(computed))) == [("no-digest", "1")]


def test_no_digest_to_compare_with_is_said() -> None:
    a, b = image(1), undigested(image(1))
    places = Place(a), Place(b)
    result = found(*places)
    assert kinds(result) == [("no-digest", "1")]
    assert result.findings[0].reason == "A has sha512, md5, B has no digest"
    assert result.same == 0
    assert places[0].reads == places[1].reads == []


@pytest.mark.parametrize("there", [DATA, DATA[:-1] + b"x"], ids=["same", "other"])
@pytest.mark.parametrize("swapped", [False, True])
def test_data_are_read_on_request_and_only_where_no_digest_will_do(there: bytes, swapped: bool) -> None:
    stated, silent = image(1), undigested(image(1))
    a = Place(stated, image(2), data={stated.id: DATA})
    b = Place(silent, image(2), data={silent.id: there})
    progress = Counter()
    result = compare(*((b, a) if swapped else (a, b)), progress, read_data=True)
    assert kinds(result) == ([] if there == DATA else [("other-data", "1")])
    assert (a.reads, b.reads) == ([], [silent.id])
    assert progress.total == len(DATA)


@pytest.mark.parametrize("there", [DATA, DATA[:-1] + b"x"], ids=["same", "other"])
def test_where_neither_states_a_digest_both_are_read(there: bytes) -> None:
    one = undigested(image(1))
    odd = replace(one, metadata={**one.metadata, "os_hash_algo": "whirlpool-9", "os_hash_value": "00"})
    for a_image in (one, odd):  # nobody can compute that one
        a, b = Place(a_image, data={one.id: DATA}), Place(one, data={one.id: there})
        result = found(a, b, read_data=True)
        assert kinds(result) == ([] if there == DATA else [("other-data", "1")])
        assert a.reads == b.reads == [one.id]
    if there != DATA:
        assert hashlib.sha512(there).hexdigest() in result.findings[0].reason


def test_a_digest_that_only_one_side_can_compute_is_computed_from_the_other_side() -> None:
    one = image(1)
    a = Place(undigested(one, md5=True), data={one.id: DATA})
    b = Place(without(one, "checksum"), data={one.id: DATA})
    assert found(a, b, read_data=True).same == 1
    assert (a.reads, b.reads) == ([one.id], [])


@pytest.mark.parametrize("error", [NoDataError("204: lost"), ImageFileError("cut short")])
def test_what_cannot_be_read_is_a_finding_of_its_own(error: Exception) -> None:
    a, b = Place(undigested(image(1)), image(2)), Place(image(1), image(2))
    a._data = {image(1).id: error}
    result = found(a, b, read_data=True)
    assert kinds(result) == [("unreadable", "1")]
    assert result.findings[0].reason == str(error)
    assert result.same == 1


@pytest.mark.parametrize("error", [ConnectError("gone"), InterruptedTransferError("interrupted")])
def test_what_concerns_all_images_ends_it(error: Exception) -> None:
    a = Place(undigested(image(1)), data={image(1).id: error})
    with pytest.raises(type(error)):
        found(a, Place(image(1)), read_data=True)


def test_images_without_data() -> None:
    queued = replace(undigested(image(1, status="queued", size=None)), absent="queued")
    saving = replace(queued, metadata={**queued.metadata, "status": "saving"}, absent="saving")
    assert found(Place(queued), Place(saving)).same == 1
    assert found(Place(queued), Place(image(1))).findings == [
        Finding(queued.id, "an image", Kind.DATA_MISSING, "A has none (queued)")
    ]
    # Data that are lost are lost, whoever else has none.
    lost = replace(image(1), held=Holding(lacking="403: not for you"))
    for other, reason in (
        (image(1), "A has none (403: not for you)"),
        (lost, "A has none (403: not for you), B has none (403: not for you)"),
        (queued, "A has none (403: not for you), B has none (queued)"),
    ):
        (finding,) = found(Place(lost), Place(other)).findings
        assert (finding.kind, finding.reason) == (Kind.DATA_MISSING, reason)
    # Zero bytes need no digest.
    empty = undigested(image(1, b""))
    assert found(Place(empty), Place(empty)).same == 1


# Metadata.


def test_every_field_that_a_load_sends_is_compared_and_no_other() -> None:
    values: dict[str, tuple[Any, Any]] = {"tags": (["a"], ["b"]), "protected": (True, False), "min_disk": (1, 2)}
    for rule in TABLE:
        name = rule.pattern.replace("*", "x")
        a, b = values.get(name, ("a", "b"))
        one, other = (image(1, **{name: value}) for value in (a, b))
        if name == "id":
            continue
        compared = name == MARK or (rule.treatment is not Treatment.NEVER and name != SOURCE_ID)
        assert field_differences(one, other) == ({name: (a, b)} if compared else {}), name


def test_tags_that_are_no_list() -> None:
    assert field_differences(image(1, tags=5), image(1, tags=5)) == {}
    assert field_differences(image(1, tags=5), image(1, tags=["x"])) == {"tags": (5, ["x"])}
    assert field_differences(image(1, tags="xy"), image(1, tags=["y", "x"])) == {"tags": ("xy", ["y", "x"])}
    assert field_differences(image(1, tags=0), image(1, tags=None)) == {"tags": (0, None)}
    (finding,) = found(Place(image(1, tags=5)), Place(image(1))).findings
    assert (finding.kind, finding.fields) == (Kind.METADATA, {"tags": (5, [])})


def test_defaults_are_equal_to_nothing() -> None:
    a = image(1, min_disk=0, protected=False, tags=[], visibility="private", os_hidden=False, name=None)
    assert field_differences(a, without(a, "min_disk", "protected", "tags", "visibility", "os_hidden", "name")) == {}
    b = without(a, "min_disk", "visibility")
    assert field_differences(image(1, min_disk=5, visibility="public", name="n"), b) == {
        "min_disk": (5, None),
        "visibility": ("public", None),
        "name": ("n", None),
    }


def test_deactivation_counts_and_other_moments_of_an_images_life_do_not() -> None:
    off = image(1, status="deactivated")
    assert field_differences(image(1), off) == {"status": ("active", "deactivated")}
    assert field_differences(off, off) == {}
    assert field_differences(replace(image(1, status="queued"), absent="queued"), off) == {}


def test_members_are_compared() -> None:
    def shared(*members: tuple[str, str]) -> Image:
        given = [{"member_id": project, "status": status, "created_at": "t"} for project, status in members]
        return replace(image(1, visibility="shared"), members=given)

    a = shared(("p", "accepted"), ("q", "pending"))
    assert found(Place(a), Place(shared(("q", "pending"), ("p", "accepted")))).same == 1
    for b in (shared(("p", "rejected"), ("q", "pending")), shared(("p", "accepted")), shared()):
        result = found(Place(a), Place(b))
        assert kinds(result) == [("metadata", "1")]
        assert result.findings[0].fields == {
            "members": (
                {"p": "accepted", "q": "pending"},
                {str(member["member_id"]): member["status"] for member in b.members},
            )
        }
        assert found(Place(a), Place(b), ignore=["members"]).same == 1


def test_fields_can_be_left_out() -> None:
    a, b = image(1, owner="o", hw_disk="x", hw_net="x", name="a"), image(1, owner="p", hw_disk="y", name="a")
    assert set(field_differences(a, b)) == {"owner", "hw_disk", "hw_net"}
    assert field_differences(a, b, ["owner", "hw_*"]) == {}
    assert found(Place(a), Place(b), ignore=["owner"]).findings[0].fields == {
        "hw_disk": ("x", "y"),
        "hw_net": ("x", None),
    }


# The same data under another id.


def test_twins_are_compared_like_one_image_and_may_be_accepted() -> None:
    a, b = image(1, name="n", tags=["x"]), image(2, name="n")
    result = found(Place(a), Place(b))
    assert kinds(result) == [("other-id", "1"), ("metadata", "1")]
    assert {finding.other for finding in result.findings} == {b.id}
    assert result.images == (1, 1)
    assert kinds(found(Place(a), Place(b), ignore=["id"])) == [("metadata", "1")]
    assert found(Place(a), Place(b), ignore=["id", "tags"]) == Comparison((1, 1), 1, [])


def test_a_note_of_a_load_and_a_name_say_which_of_several_is_meant() -> None:
    a = [image(number, name=f"n{number}") for number in (1, 2, 3, 4)]
    b = [image(11, name="x", **{SOURCE_ID: a[3].id}), image(12, name="n2"), image(13, name="n1"), image(14, name="n9")]
    result = found(Place(*a), Place(*b))
    other = {finding.id: finding.other for finding in result.findings if finding.kind is Kind.OTHER_ID}
    assert other == {a[0].id: b[2].id, a[1].id: b[1].id, a[2].id: b[3].id, a[3].id: b[0].id}
    assert not {Kind.EXTRA, Kind.MISSING} & {finding.kind for finding in result.findings}


def test_an_image_whose_id_was_taken_is_compared_with_what_a_load_made_of_it() -> None:
    a, taken = image(1), image(1, OTHER, tags=["x"])
    moved = image(2, **{SOURCE_ID: a.id})
    result = found(Place(a), Place(taken, moved))
    assert [(finding.kind, finding.id, finding.other) for finding in result.findings] == [
        (Kind.OTHER_ID, a.id, moved.id),
        (Kind.EXTRA, taken.id, ""),
    ]
    assert kinds(found(Place(a), Place(replace(taken, absent="queued"), moved), ignore=["id"])) == [("extra", "1")]
    # A copy that has other data is none: Nova's snapshots inherit properties.
    other = image(2, b"a snapshot", **{SOURCE_ID: a.id})
    assert kinds(found(Place(a), Place(image(1), other))) == [("extra", "2")]
    assert kinds(found(Place(a), Place(taken, other))) == [("other-data", "1"), ("metadata", "1"), ("extra", "2")]


def test_an_image_of_which_there_is_only_one_copy_left() -> None:
    """A has the same data twice, B once under one of the ids: the image is missing, its data are not."""
    result = found(Place(image(1), image(2)), Place(image(2)))
    assert [(finding.kind, finding.other) for finding in result.findings] == [(Kind.OTHER_ID, image(2).id)]
    assert kinds(found(Place(image(1), image(2)), Place(image(2)), ignore=["id"])) == [("other-id", "1")]
    for a in ([image(1), image(2), image(3)], [image(3), image(2), image(1)]):
        (finding,) = found(Place(*a), Place(image(3), image(2))).findings
        assert finding.other == image(2).id
    # The other way round, the one too many is extra.
    assert kinds(found(Place(image(2)), Place(image(1), image(2)))) == [("extra", "1")]


def test_an_equal_md5_does_not_make_other_data_the_same() -> None:
    a, b = image(1, b"aaaa"), image(2, b"bbbb")
    forged = replace(b, metadata={**b.metadata, "checksum": a.metadata["checksum"]})
    assert kinds(found(Place(a), Place(forged))) == [("missing", "1"), ("extra", "2")]
    assert kinds(found(Place(a, forged), Place(forged))) == [("missing", "1")]


def test_no_data_and_no_bytes_are_no_data_to_find_again() -> None:
    for one in (image(1, b""), replace(image(1), absent="queued"), replace(image(1), held=Holding(lacking="lost"))):
        other = replace(one, metadata={**one.metadata, "id": "another"})
        assert {kind for kind, _ in kinds(found(Place(one), Place(other)))} == {"missing", "extra"}


# Choosing, order, size.


def test_an_image_counts_when_it_is_chosen_on_either_side() -> None:
    tagged = image(1, tags=["t"])
    for a, b in ((tagged, image(1)), (image(1), tagged)):
        result = found(Place(a, image(2)), Place(b, image(3, b"3")), selection=Selection([("tag", "t")]))
        assert kinds(result) == [("metadata", "1")]
        assert result.images == (1, 1)
    result = found(Place(image(1)), Place(image(2, b"x", tags=["t"])), selection=Selection([("tag", "t")]))
    assert kinds(result) == [("extra", "2")]
    assert result.images == (0, 1)
    # A twin of a chosen image is no extra one, chosen or not.
    result = found(Place(image(1)), Place(image(2, tags=["t"])), selection=Selection([("tag", "t")]), ignore=["tags"])
    assert kinds(result) == [("other-id", "1")]


def test_the_order_of_the_places_does_not_matter() -> None:
    a = [image(number, f"{number % 40}".encode(), name=f"{number % 7}") for number in range(120)]
    b = [image(number, f"{number % 30}".encode(), name=f"{number % 5}") for number in range(60, 200)]
    first = found(Place(*a), Place(*b))
    assert len({finding.kind for finding in first.findings}) >= 5
    for seed in range(5):
        random.Random(seed).shuffle(a)
        random.Random(seed + 100).shuffle(b)
        assert found(Place(*a), Place(*b)) == first


def test_many_images() -> None:
    """Half of them under other ids, many with the same data: a step that compares each with each would not end."""
    count, sizes = 40_000, 1000
    known = [metadata(str(number).encode()) for number in range(sizes)]

    class Many(Place):
        def __init__(self, shift: int) -> None:
            super().__init__()
            self._shift = shift

        def images(self) -> Iterator[Image]:
            for number in range(self._shift, self._shift + count):
                yield Image({**known[number % sizes], "id": f"{number:08}"})

    result = found(Many(0), Many(count // 2), ignore=["id"])
    assert result == Comparison((count, count), count, [])


# Archives.


def test_an_archive_is_compared_by_what_it_computed_and_says_what_it_lacks(tmp_path: Path) -> None:
    one, two, three = image(1), image(2, b"22"), image(3, b"3")
    # The Glance said nothing of one; the archive has its sha512 all the same.
    path = write_archive(tmp_path / "a.gla", (undigested(one).metadata, DATA), (two.metadata, b"22"))
    writer = ArchiveWriter(tmp_path / "b.gla", source="a test")
    writer.begin(three.id, three.metadata).give_up("403: not for you", "failed")
    queued = replace(undigested(image(4, status="queued", size=None)), absent="queued")
    writer.begin(queued.id, queued.metadata).give_up("queued", "no-data")
    writer.finish()
    with glancearchive.open(path) as archive, glancearchive.open(tmp_path / "b.gla") as lacking:
        assert compare(ArchiveSource(archive), Place(one, two), Counter()).findings == []
        assert compare(ArchiveSource(archive), ArchiveSource(archive), Counter()).same == 2
        result = compare(Place(three, queued), ArchiveSource(lacking), Counter())
    assert kinds(result) == [("data-missing", "3")]
    assert result.findings[0].reason == "B has none (403: not for you)"
    assert result.same == 1


def unproven(given: Image) -> Image:
    return replace(given, held=Holding(unproven=True))


@pytest.mark.parametrize("there", [DATA, DATA[::-1]])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_digest_that_nobody_compared_with_the_data_is_not_believed(there: bytes, swapped: bool) -> None:
    """What a directory states was said of the data in a Glance; what it has now is read when data are read at all."""
    left, right = Place(image(1)), Place(unproven(image(1)), data={image(1).id: there})
    places = (right, left) if swapped else (left, right)
    assert found(*places).findings == []
    assert right.reads == []
    assert kinds(found(*places, read_data=True)) == ([] if there == DATA else [("other-data", "1")])
    assert (left.reads, right.reads) == ([], [image(1).id])


def test_of_two_such_sides_both_are_read() -> None:
    sides = [Place(unproven(image(1)), data={image(1).id: data}) for data in (DATA, OTHER)]
    assert kinds(found(*sides, read_data=True)) == [("other-data", "1")]
    assert [side.reads for side in sides] == [[image(1).id]] * 2


def test_data_of_a_directory_that_were_flipped(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.gla", (image(1).metadata, DATA))
    assert run("extract", archive, "-o", tmp_path / "out").code == 0
    data = tmp_path / "out" / f"{image(1).id}.img"
    damaged = bytearray(data.read_bytes())
    damaged[7] ^= 4
    data.write_bytes(damaged)
    assert run("compare", archive, tmp_path / "out", "--json").json["findings"] == []
    (finding,) = run("compare", archive, tmp_path / "out", "--read-data", "--json").json["findings"]
    assert finding["kind"] == "other-data"


def test_images_without_data_are_found_by_what_a_load_noted() -> None:
    queued = replace(undigested(image(1, status="queued", size=None)), absent="queued")
    copy = replace(queued, metadata={**queued.metadata, "id": image(2).id, SOURCE_ID: image(1).id})
    assert found(Place(queued), Place(copy), ignore=["id"]).findings == []
    (finding,) = found(Place(queued), Place(copy)).findings
    assert (finding.kind, finding.other) == (Kind.OTHER_ID, copy.id)
    # The id that it had may be that of something else there.
    other = image(1, OTHER)
    assert kinds(found(Place(queued), Place(other, copy), ignore=["id"])) == [("extra", "1")]


@pytest.mark.parametrize("swapped", [False, True])
def test_references_lead_to_images_under_other_ids(swapped: bool) -> None:
    kernel, disk, other = (image(number, b"%d" % number) for number in (1, 2, 3))
    moved = {kernel.id: image(11).id, disk.id: image(12).id}
    copies = [replace(one, metadata=one.metadata | {"id": moved[one.id], SOURCE_ID: one.id}) for one in (kernel, disk)]
    devices = [{"image_id": disk.id, "boot_index": 0}, {"volume_size": 1}]
    copied = json.dumps([devices[0] | {"image_id": moved[disk.id]}, devices[1]], indent=1)
    machine = image(4, kernel_id=kernel.id, ramdisk_id=other.id, block_device_mapping=json.dumps(devices))
    copy = image(4, kernel_id=moved[kernel.id], ramdisk_id=other.id, block_device_mapping=copied)
    # The kernel comes last: what a reference leads to is known when all images were seen.
    a, b = Place(machine, disk, other, kernel), Place(copy, copies[1], other, copies[0])
    if swapped:
        a, b = b, a
    result = found(a, b, ignore=["id"])
    assert (result.findings, result.same) == ([], 4)
    for field, wrong in (("kernel_id", other.id), ("ramdisk_id", moved[kernel.id])):
        astray = replace(copy, metadata=copy.metadata | {field: wrong})
        sides = Place(machine, disk, other, kernel), Place(astray, copies[1], other, copies[0])
        fields = [name for finding in found(*sides, ignore=["id"]).findings for name in finding.fields]
        assert fields == [field]


def test_an_image_that_refers_to_another_and_to_its_copy() -> None:
    """Either reference could be followed to the other; where both sides have both, there is nothing to follow."""
    disk = image(1)
    copy = replace(disk, metadata=disk.metadata | {"id": image(2).id, SOURCE_ID: disk.id})
    machine = image(3, kernel_id=disk.id, base_image_ref=copy.id)
    sides = [Place(disk, copy, machine) for _ in "ab"]
    assert found(*sides).findings == []
    crossed = replace(machine, metadata=machine.metadata | {"kernel_id": copy.id, "base_image_ref": disk.id})
    (finding,) = found(sides[0], Place(disk, copy, crossed)).findings
    assert finding.fields.keys() == {"kernel_id", "base_image_ref"}
