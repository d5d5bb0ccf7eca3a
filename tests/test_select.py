"""Choosing images, without any server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from glancearchive.errors import UsageError
from glancearchive.image import Buffer, Image, ImageFault
from glancearchive.operations.select import KINDS, Selected, Selection

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
DEBIAN = {
    "id": "11111111-0000-4000-8000-000000000001",
    "name": "debian-12",
    "tags": ["lts", "stable"],
    "owner": "alpha",
    "visibility": "public",
    "status": "active",
    "os_distro": "debian",
    "min_disk": 10,
    "protected": True,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-06-14T12:00:00Z",
}
UBUNTU = {
    "id": "22222222-0000-4000-8000-000000000002",
    "name": "ubuntu [24.04]",
    "tags": ["lts"],
    "owner": "beta",
    "visibility": "shared",
    "status": "deactivated",
    "os_distro": "ubuntu",
    "hw:a*b": "x=y",
    "protected": False,
    "created_at": "2026-02-01T00:00:00Z",
    "updated_at": "2026-02-01T00:00:00Z",
}
NAMELESS = {
    "id": "33333333-0000-4000-8000-000000000003",
    "name": None,
    "tags": [],
    "owner": None,
    "visibility": "private",
    "status": "queued",
    "created_at": "2026-06-15T00:00:00Z",
}
ALL = {"debian": DEBIAN, "ubuntu": UBUNTU, "nameless": NAMELESS}


def chosen(*conditions: tuple[str, str], excluded: tuple[str, ...] = ()) -> set[str]:
    selection = Selection(conditions, excluded, now=NOW)
    return {name for name, metadata in ALL.items() if selection.chooses(metadata)}


def test_nothing_asked_for_is_everything() -> None:
    assert chosen() == set(ALL)
    assert not Selection()
    assert Selection([("tag", "x")])
    assert Selection(excluded=["x"])


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("image", "debian-12", "debian"),
        ("image", DEBIAN["id"], "debian"),
        ("image", "debian-*", "debian"),
        ("image", "2222*", "ubuntu"),
        ("image", "ubuntu [24.04]", "ubuntu"),  # as it is written, though it is a pattern as well
        ("image", "ubuntu ?24*", "ubuntu"),
        ("image", "Debian-12", ""),
        ("image", "debian", ""),
        ("image", "*", "debian ubuntu nameless"),
        ("name", "debian-12", "debian"),
        ("name", "*u*", "ubuntu"),
        ("name", DEBIAN["id"], ""),
        ("name", "", "nameless"),
        ("tag", "lts", "debian ubuntu"),
        ("tag", "st*", "debian"),
        ("tag", "lt", ""),
        ("property", "os_distro=debian", "debian"),
        ("property", "os_distro=*u*", "ubuntu"),
        ("property", "os_distro=", ""),
        ("property", "hw:a*b=x=y", "ubuntu"),
        ("property", "hw:aXb=x=y", ""),
        ("property", "os_*=debian", ""),  # patterns are for values
        ("property", "min_disk=10", "debian"),
        ("property", "protected=true", "debian"),
        ("property", "owner=null", "nameless"),
        ("owner", "alpha", "debian"),
        ("owner", "*a", "debian ubuntu"),
        ("visibility", "shared", "ubuntu"),
        ("status", "queued", "nameless"),
        ("status", "deactivated", "ubuntu"),
        ("since", "2026-06-14T12:00:00Z", "debian nameless"),
        ("since", "2026-06-14T12:00:01", "nameless"),  # UTC
        ("since", "2026-06-14T14:00:00+02:00", "debian nameless"),
        ("since", "2026-06-15", "nameless"),
        ("since", "24h", "debian nameless"),
        ("since", "1439m", "nameless"),
        ("since", "1d", "debian nameless"),
        ("since", "2w", "debian nameless"),
        ("since", "2027-01-01", ""),
    ],
)
def test_each_kind(kind: str, value: str, expected: str) -> None:
    assert chosen((kind, value)) == set(expected.split())
    # An exclusion is the opposite of the same condition.
    assert chosen(excluded=(f"{kind}={value}",)) == set(ALL) - set(expected.split())


def test_every_kind_is_tried() -> None:
    (marked,) = [mark for mark in test_each_kind.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert {kind for kind, _, _ in marked.args[1]} == set(KINDS)


def test_one_kind_is_or_and_several_are_and() -> None:
    assert chosen(("image", "debian-12"), ("image", "ubuntu*")) == {"debian", "ubuntu"}
    assert chosen(("owner", "alpha"), ("owner", "beta"), ("tag", "stable")) == {"debian"}
    assert chosen(("since", "2026-06-15"), ("since", "2026-01-01")) == set(ALL)
    assert chosen(("tag", "lts"), ("status", "queued")) == set()


def test_exclusions_win_and_one_is_enough() -> None:
    assert chosen(("tag", "lts"), excluded=("debian-12",)) == {"ubuntu"}
    assert chosen(excluded=("debian*", "status=queued")) == {"ubuntu"}
    assert chosen(("image", "debian-12"), excluded=("tag=lts",)) == set()
    assert chosen(excluded=(str(NAMELESS["id"]),)) == {"debian", "ubuntu"}


def test_an_image_without_times_is_in_any_time_and_never_excluded_by_it() -> None:
    metadata = {"id": "x", "created_at": "yesterday", "updated_at": 5}
    assert Selection([("since", "1d")], now=NOW).chooses(metadata)
    assert Selection([], ["since=1d"], now=NOW).chooses(metadata)


def test_metadata_of_odd_shapes() -> None:
    selection = Selection([("tag", "1"), ("name", "*"), ("property", "list=[1, 2]")])
    assert selection.chooses({"id": "x", "tags": [1], "name": None, "list": [1, 2]})
    assert not selection.chooses({"id": "x", "tags": "1", "list": [1, 2]})
    assert not selection.chooses({})


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("property", "os_distro", "KEY=VALUE"),
        ("property", "=debian", "KEY=VALUE"),
        ("property", "", "KEY=VALUE"),
        ("visibility", "pubic", "public, community, shared, private"),
        ("visibility", "", "public"),
        ("status", "complete", "queued, "),
        ("since", "yesterday", "2026-01-31"),
        ("since", "", "no time"),
        ("since", "7", "no time"),
        ("since", "7y", "no time"),
        ("since", "-7d", "no time"),
        ("since", "2026-13-01", "no time"),
        ("since", "2026-02-30T12:00", "no time"),
        ("since", "99999999999w", "no time"),
        pytest.param("since", "9" * 5000 + "d", "no time", id="more digits than int takes"),
        ("since", "٣d", "no time"),
    ],
)
def test_values_that_mean_nothing(kind: str, value: str, says: str) -> None:
    for conditions, excluded in (([(kind, value)], []), ([], [f"{kind}={value}"])):
        with pytest.raises(UsageError, match=f"--{kind}") as failure:
            Selection(conditions, excluded)
        assert says in str(failure.value)
        assert "\n" not in str(failure.value)


def test_a_mistyped_kind_excludes_nothing_in_silence() -> None:
    with pytest.raises(UsageError, match="'tags' is none of image, name, tag") as failure:
        Selection(excluded=["tags=lts"])
    assert "--exclude 'image=tags=lts'" in str(failure.value)
    selection = Selection(excluded=["image=tags=lts"])
    assert not selection.chooses({"id": "x", "name": "tags=lts"})
    assert selection.chooses({"id": "x", "name": "other"})
    # What cannot be a kind is an image: there are such names.
    assert not Selection(excluded=["Debian 12 (x=y)"]).chooses({"id": "x", "name": "Debian 12 (x=y)"})


def test_what_was_asked_for_and_is_nowhere_is_told() -> None:
    selection = Selection(
        [("image", "debian-12"), ("image", "none"), ("image", "fedora-*"), ("tag", "none")],
        ["status=killed", "tag=lts", "ubuntu*"],
    )
    assert [name for name, metadata in ALL.items() if selection.chooses(metadata)] == []
    # "debian-12" is there, though the tag leaves it out.
    assert selection.unknown() == ["fedora-*", "none"]
    assert selection.idle_exclusions() == ["status=killed"]
    assert (selection.seen, selection.chosen) == (3, 0)
    assert str(selection) == (
        "--image debian-12 --image none --image fedora-* --tag none "
        "--exclude status=killed --exclude tag=lts --exclude ubuntu*"
    )


def test_a_source_is_narrowed() -> None:
    class Three:
        label = "three"
        faults = ("one of them is odd",)

        def images(self) -> Iterator[Image]:
            return map(Image, ALL.values())

        def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
            yield f"{image.id}@{offset}".encode()

    selection = Selection([("tag", "lts")], ["ubuntu*"])
    source = Selected(Three(), selection)
    assert (source.label, source.faults) == ("three", ["one of them is odd"])
    (image,) = source.images()
    assert image.name == "debian-12"
    assert b"".join(map(bytes, source.read(image, 7))) == f"{DEBIAN['id']}@7".encode()
    assert (selection.seen, selection.chosen) == (3, 1)


def test_many_names_are_looked_up_and_not_compared_one_by_one() -> None:
    """50,000 names against 50,000 images: a comparison of each with each would not end within the test's time."""

    class Counted(str):
        comparisons = 0

        def __eq__(self, other: object) -> Any:
            Counted.comparisons += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    names = [f"image-{number}" for number in range(50_000)]
    selection = Selection([("name", name) for name in names])
    assert all(selection.chooses({"id": name, "name": name}) for name in names)
    assert selection.chooses({"id": "x", "name": Counted("image-7")})
    assert not selection.chooses({"id": "x", "name": Counted("image-50001")})
    assert Counted.comparisons < 50


def test_owners_are_told_where_none_was_chosen() -> None:
    selection = Selection([("owner", "alpha")])
    assert not any(selection.chooses({"id": str(number), "owner": f"p{number % 3}"}) for number in range(9))
    assert selection.hint.endswith("not their names; among those of these images are p0, p1, p2")
    assert Selection([("tag", "alpha")]).hint == ""


def test_faults_of_images_count_with_them() -> None:
    faults = ["of the place", ImageFault("1", "of one"), ImageFault("2", "of two")]
    assert Selection().faults(faults) == faults
    selection = Selection([("name", "one")])
    assert selection.chooses({"id": "1", "name": "one"})
    assert not selection.chooses({"id": "2", "name": "two"})
    assert selection.faults(faults) == faults[:2]
