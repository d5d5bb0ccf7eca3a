"""How much images are, and what fits onto a medium."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from glancearchive.endpoints.archive_source import ArchiveSource
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Buffer, Holding, Image
from glancearchive.operations.select import Selection
from glancearchive.operations.size import Basis, Sizes, fill, measure, upper_bound
from tests.archives import write_archive
from tests.cloud.images import pattern
from tests.command import run, unchanged
from tests.fake_glance import DATA, GOOD, FakeGlance
from tests.glances import metadata

KEYS = [
    "location",
    "source",
    "ok",
    "faults",
    "not_found",
    "count",
    "size",
    "unknown",
    "stored",
    "needs",
    "basis",
    "medium",
    "taken",
]


class Place:
    """A source of images without data."""

    label = "place"

    def __init__(self, *images: Image) -> None:
        self._images = images

    def images(self) -> Iterator[Image]:
        return iter(self._images)

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        raise AssertionError("size reads no data")


def image(number: int, size: int | None, **more: Any) -> Image:
    """The one with the lowest number is the oldest."""
    created = f"2026-01-{number:02}T00:00:00Z"
    return Image(metadata(b"", id=f"{9 - number}", name=f"n{number}", created_at=created, size=size, **more))


def all_of(*images: Image) -> Sizes:
    return measure(Place(*images), Selection())


def fitting(sizes: Sizes) -> list[str]:
    return [image.name for image in sizes.images if image.fits]


def test_images_of_a_glance_are_as_large_as_it_says() -> None:
    sizes = all_of(image(1, 1000), image(2, 0), replace(image(3, None), absent="queued"), image(4, None))
    assert [(one.size, one.stored, one.needs) for one in sizes.images] == [
        (1000, None, upper_bound(1000)),
        (0, None, upper_bound(0)),
        (0, None, upper_bound(0)),
        (None, None, None),
    ]
    assert (sizes.size, sizes.unknown, sizes.stored, sizes.basis) == (1000, 1, None, Basis.BOUND)
    assert sizes.needs == upper_bound(1000) + 2 * upper_bound(0)


def test_a_place_that_knows_what_it_stores_says_so() -> None:
    held = [replace(image(number, 500), held=Holding(stored=number)) for number in (1, 2)]
    assert all_of(*held).stored == 3
    assert all_of(*held, image(3, 5)).stored is None
    assert all_of().stored == 0


def test_only_what_is_chosen_counts() -> None:
    place = Place(image(1, 10, tags=["t"]), image(2, 20))
    assert measure(place, Selection([("tag", "t")])).size == 10
    assert measure(place, Selection([("tag", "x")])).images == []


# Archives.


def test_an_archive_is_measured_to_the_byte(tmp_path: Path) -> None:
    shared = pattern(100_000)
    path = write_archive(
        tmp_path / "a.gla",
        *((metadata(data, id=name, name=name), data) for name, data in (("a", shared), ("b", shared))),
    )
    with glancearchive.open(path) as archive:
        source = ArchiveSource(archive)
        whole = measure(source, Selection(), source.stored)
        part = measure(source, Selection([("image", "b")]), source.stored)
        fill(whole, path.stat().st_size, source)
        assert fitting(whole) == ["a", "b"]
        # Without the first, the second has to bring all its data; and with the first, nothing.
        assert (fill(part, 90_000, source), fitting(part)) == (0, [])
        assert 100_000 < fill(part, 130_000, source) <= 130_000
        assert fitting(part) == ["b"]
        assert (fill(whole, 90_000, source), fitting(whole)) == (0, [])
    assert (whole.size, whole.stored, whole.needs, whole.basis) == (
        200_000,
        path.stat().st_size,
        path.stat().st_size,
        Basis.EXACT,
    )
    # The second shares all its data with the first.
    assert (part.size, part.stored, part.needs, part.basis) == (100_000, 0, 0, Basis.ADDED)


def test_what_images_share_is_counted_once(tmp_path: Path) -> None:
    shared, more = pattern(400_000), pattern(200_000, 7)
    images = [("a", shared), ("b", shared + more), ("c", pattern(900_000, 8))]
    path = write_archive(
        tmp_path / "a.gla",
        *((metadata(data, id=name, name=name), data) for name, data in images),
    )
    with glancearchive.open(path) as archive:
        source = ArchiveSource(archive)
        sizes = measure(source, Selection(), source.stored)
        taken = fill(sizes, 800_000, source)
    assert fitting(sizes) == ["a", "b"]
    assert 600_000 < taken <= 800_000


@pytest.mark.parametrize(("count", "size"), [(1, 3_000_000), (40, 4097), (200, 1), (100, 0)])
def test_the_upper_bound_is_one(count: int, size: int, tmp_path: Path) -> None:
    """Data that neither compress nor repeat, in images of all sizes, against the archive that they make."""
    writer = ArchiveWriter(tmp_path / "a.gla", source="a test")
    for number in range(count):
        data = pattern(size, number)
        described = metadata(data, **{f"property_{key}": "value" * 5 for key in range(30)})
        one = writer.begin(described["id"], described, [{"member_id": "m" * 32, "status": "accepted"}] * 5)
        one.write(data)
        one.finish({"sha512": str(described["os_hash_value"])}, "sha512")
        writer.commit()
    writer.finish()
    taken = (tmp_path / "a.gla").stat().st_size
    assert taken > count * size
    assert taken <= count * upper_bound(size)


# Media.


def test_the_oldest_that_fit_are_taken() -> None:
    needs = [upper_bound(size) for size in (5000, 90_000, 300)]
    sizes = all_of(image(3, 300), image(2, 90_000), image(1, 5000))
    assert fill(sizes, sum(needs)) == sum(needs)
    assert fitting(sizes) == ["n3", "n2", "n1"]
    assert fill(sizes, sum(needs) - 1) == needs[0] + needs[1]
    assert fitting(sizes) == ["n2", "n1"]
    # One that is too large does not keep later ones out.
    assert fill(sizes, needs[0] + needs[2]) == needs[0] + needs[2]
    assert fitting(sizes) == ["n3", "n1"]
    assert fill(sizes, 0) == 0
    assert [one.fits for one in sizes.images] == [False, False, False]


def test_an_image_of_unknown_size_is_not_promised_to_fit() -> None:
    sizes = all_of(image(1, None))
    assert (fill(sizes, 10**15), fitting(sizes)) == (0, [])


# The command.


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    images = [metadata(pattern(50_000, number), name=f"n{number}", id=f"i{number}") for number in range(3)]
    return write_archive(tmp_path / "a.gla", *((each, pattern(50_000, at)) for at, each in enumerate(images)))


def test_json_of_an_archive(archive: Path) -> None:
    with unchanged(archive.parent):
        done = run("size", archive, "--json", "--medium", "150K")
    assert (done.code, done.stderr) == (0, "")
    assert list(done.json) == [*KEYS, "images"]
    total = archive.stat().st_size
    expected = {"size": 150_000, "stored": total, "needs": total, "basis": "exact", "count": 3, "medium": 150_000}
    assert {key: done.json[key] for key in expected} == expected
    assert [one["fits"] for one in done.json["images"]] == [True, True, False]
    assert 100_000 < done.json["taken"] <= 150_000
    assert done.json["source"] == f"archive {archive}"


def test_text(archive: Path) -> None:
    done = run("size", archive, "--medium", "150KB")
    assert done.code == 0
    assert f"({archive.stat().st_size} bytes)" in done.text
    assert "2 of 3 images fit onto" in done.text
    assert "left out: i2 ('n2')" in done.text
    assert "fit onto 146.5 KiB (150000 bytes), at most " in done.text
    assert "about" in run("size", archive, "--name", "n1").text


def test_a_server_is_measured_without_reading_anything() -> None:
    with FakeGlance() as glance:
        done = run("size", glance.url, "--json")
        text = run("size", glance.url).text
        assert not [request for request in glance.requests if "/file" in request.path]
    assert done.code == 0
    assert (done.json["size"], done.json["stored"], done.json["basis"]) == (len(DATA) + len(GOOD), None, "bound")
    assert done.json["needs"] == upper_bound(len(DATA)) + upper_bound(len(GOOD))
    assert done.json["medium"] is done.json["taken"] is done.json["images"][0]["fits"] is None
    assert "at most" in text
    assert "stored" not in text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1", 1),
        ("64G", 64 * 10**9),
        ("64GB", 64 * 10**9),
        ("64GiB", 64 << 30),
        ("1.5M", 1_500_000),
        ("2TiB", 2 << 40),
        ("12B", 12),
        ("7KB", 7000),
    ],
)
def test_sizes_are_those_on_the_label(given: str, expected: int, archive: Path) -> None:
    assert run("size", archive, "--medium", given, "--json").json["medium"] == expected


@pytest.mark.parametrize("given", ["", "G", "64Q", "-1", "64 Gi", "1e9", "0x10", "64g", "1,5G", "9" * 20, "nan"])
def test_sizes_that_are_none(given: str, archive: Path) -> None:
    done = run("size", archive, "--medium", given)
    assert (done.code, done.text) == (2, "")
    assert "64GiB" in done.stderr


def test_what_fits_no_image_and_what_is_unknown(archive: Path) -> None:
    none = run("size", archive, "--tag", "none", "--json")
    assert (none.code, none.json["ok"], none.json["images"], none.json["size"]) == (1, False, [], 0)
    assert "none of 3 images fits --tag none" in none.stderr
    unknown = run("size", archive, "--image", "n1", "--image", "nope", "--json")
    assert (unknown.code, unknown.json["count"]) == (1, 1)
    assert "there is no image 'nope'" in unknown.stderr


def test_an_archive_that_is_not_finished(archive: Path) -> None:
    cut = archive.with_name("b.gla")
    cut.write_bytes(archive.read_bytes()[:-100])
    done = run("size", cut, "--json")
    assert (done.code, done.json["ok"], done.json["count"]) == (1, False, 3)
    assert done.json["faults"]


@pytest.mark.parametrize(
    ("location", "code", "says"),
    [
        ("none.gla", 3, "none.gla"),
        ("no/such/directory", 3, "no such file or directory"),
        ("nosuchcloud", 2, "unknown cloud 'nosuchcloud'"),
    ],
)
def test_places_that_are_none(location: str, code: int, says: str, tmp_path: Path) -> None:
    done = run("size", location, cwd=tmp_path)
    assert (done.code, done.text) == (code, "")
    assert says in done.error
