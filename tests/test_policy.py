"""The table of what a load does with metadata, without any server."""

from __future__ import annotations

import pytest

from glancearchive.endpoints import policy
from glancearchive.endpoints.policy import MARK, SOURCE_ID, Treatment
from glancearchive.image import Image

ID = "11111111-2222-3333-4444-555555555555"
METADATA = {
    "id": ID,
    "name": "n",
    "status": "active",
    "visibility": "public",
    "protected": True,
    "os_hidden": True,
    "owner": "o",
    "tags": ["b", "a"],
    "disk_format": "qcow2",
    "container_format": "bare",
    "min_disk": 1,
    "min_ram": 2,
    "size": 3,
    "virtual_size": 4,
    "checksum": "c",
    "os_hash_algo": "sha512",
    "os_hash_value": "d",
    "created_at": "t",
    "updated_at": "t",
    "self": "/s",
    "file": "/f",
    "schema": "/x",
    "stores": "main",
    "direct_url": "rbd://secret",
    "locations": [],
    "os_glance_importing_to_stores": "",
    "img_signature": "s",
    "hw_x": "04",
    "a/b~c": "v",
}
IMAGE = Image(METADATA)
SENT = {"id", "name", "disk_format", "container_format", "min_disk", "min_ram", "tags", "owner", "protected"} | {
    "os_hidden",
    "visibility",
    "img_signature",
    "hw_x",
    "a/b~c",
}


def test_every_rule_says_why_and_the_last_one_catches_the_rest() -> None:
    assert all(rule.why for rule in policy.TABLE)
    assert policy.TABLE[-1].pattern == "*"
    assert len({rule.pattern for rule in policy.TABLE}) == len(policy.TABLE)


def test_only_allowed_fields_are_ever_sent() -> None:
    assert policy.wanted(IMAGE).keys() == SENT
    assert policy.creation_body(IMAGE, "m").keys() <= {*SENT, MARK}


def test_an_image_is_created_private_unprotected_and_marked() -> None:
    assert policy.creation_body(IMAGE, "m") == {
        "id": ID,
        "name": "n",
        "disk_format": "qcow2",
        "container_format": "bare",
        "min_disk": 1,
        "min_ram": 2,
        "visibility": "private",
        "protected": False,
        MARK: "m",
    }
    bare = policy.creation_body(IMAGE, "m", bare=True)
    assert bare.keys() == {"id", "disk_format", "container_format", "visibility", "protected", MARK}


def test_an_image_with_another_id_is_created_with_the_one_it_had() -> None:
    image = Image({**METADATA, SOURCE_ID: "old"})
    for bare in (False, True):
        assert policy.creation_body(image, "m", bare=bare)[SOURCE_ID] == "old"
    assert policy.final_patch({**METADATA, SOURCE_ID: "old", MARK: "m"}, image) == []
    assert policy.differences({**METADATA, SOURCE_ID: "old"}, image) == []
    assert SOURCE_ID not in policy.creation_body(Image({**METADATA, SOURCE_ID: 3}), "m")


def test_an_image_of_ours_is_known_by_its_own_id_and_data() -> None:
    image = Image({"id": ID, "os_hash_algo": "sha512", "os_hash_value": "ab"})
    mark, place = policy.mark_for(image), policy.mark_for(image, with_data=False)
    assert policy.is_ours({"status": "saving", MARK: mark}, image)
    assert policy.is_ours({"status": "queued", MARK: place}, image)
    assert not policy.is_ours({"status": "active", MARK: place}, image)
    for other in (mark.replace(ID, "a snapshot"), f"{ID} sha512:cd", "", None):
        assert not policy.is_ours({"status": "queued", MARK: other}, image)
    assert not policy.is_ours({"status": "queued"}, image)


def test_the_final_patch_sets_visibility_last_and_keeps_the_mark() -> None:
    current = {**policy.creation_body(IMAGE, "m"), "owner": "me", "tags": [], "os_hidden": False, "size": 3}
    patch = policy.final_patch(current, IMAGE)
    assert patch[-1] == {"op": "replace", "path": "/visibility", "value": "public"}
    assert {"op": "add", "path": "/a~1b~0c", "value": "v"} in patch
    fields = [policy.field_of(operation) for operation in patch]
    assert fields == ["a/b~c", "hw_x", "img_signature", "tags", "owner", "protected", "os_hidden", "visibility"]


def test_an_equal_image_needs_no_patch() -> None:
    current = {**METADATA, "tags": ["a", "b"], "updated_at": "later", "stores": "other", MARK: "m"}
    assert policy.final_patch(current, IMAGE) == []
    assert policy.differences(current, IMAGE) == []


def test_properties_that_only_the_target_has_are_removed_but_not_its_own_attributes() -> None:
    current = {**METADATA, "extra": "x", "os_glance_new": "y", "some_future_attribute": {"a": 1}}
    assert policy.final_patch(current, IMAGE) == [{"op": "remove", "path": "/extra"}]
    assert policy.differences(current, IMAGE) == ["extra: target has 'x', source has none"]


def test_fields_that_a_source_does_not_know_are_left_alone() -> None:
    assert policy.final_patch({"id": ID, "protected": True, "visibility": "public"}, Image({"id": ID})) == []


def test_defaults_are_no_difference() -> None:
    image = Image({"id": ID, "os_hidden": False, "min_disk": 0, "tags": [], "owner": None, "name": None})
    assert policy.differences({"id": ID, "owner": "me"}, image) == []


def test_an_encryption_keys_deletion_is_neutralised_and_reported() -> None:
    field = "cinder_encryption_key_deletion_policy"
    image = Image({"id": ID, field: "on_image_deletion"})
    assert policy.wanted(image)[field] == "do_not_delete"
    [line] = policy.reports(image)
    assert line.startswith(f"{field}: set to 'do_not_delete'")
    assert policy.reports(Image({"id": ID, field: "do_not_delete"})) == []
    assert policy.differences({"id": ID, field: "do_not_delete"}, image) == []


def test_what_is_no_string_is_dropped_and_reported() -> None:
    image = Image({"id": ID, "odd": None, "odder": ["x"]})
    assert policy.wanted(image) == {"id": ID}
    assert [line.split(":")[0] for line in policy.reports(image)] == ["odd", "odder"]


@pytest.mark.parametrize("field", ["os_hash_algo", "os_glance_failed_import", "locations", "direct_url", "size", MARK])
def test_never_means_never(field: str) -> None:
    assert policy.rule_for(field).treatment is Treatment.NEVER


def test_a_mark_names_the_image_and_its_data() -> None:
    image = Image({"id": ID, "os_hash_algo": "sha512", "os_hash_value": "AB", "checksum": "c"})
    assert policy.mark_for(image) == f"{ID} sha512:ab"
    assert policy.mark_for(Image({"id": ID, "size": 5})) == f"{ID} size:5"
    assert policy.mark_for(image, with_data=False) == f"{ID} no-data"
    longest = Image({"id": ID, "os_hash_algo": "sha512", "os_hash_value": "a" * 128})
    assert len(policy.mark_for(longest)) <= 255


def test_an_image_that_was_half_loaded_at_the_source_is_reported() -> None:
    described = {"id": ID, "status": "active", "os_hash_algo": "sha512", "os_hash_value": "ab"}
    right, wrong, kept = (
        Image({**described, **more})
        for more in (
            {MARK: f"{ID} sha512:ab"},
            {MARK: f"{ID} sha512:cd"},
            {MARK: f"{ID} no-data", "status": "queued", "os_hash_value": None},
        )
    )
    moved = Image({**right.metadata, "id": "another", SOURCE_ID: ID})
    assert "sha512:ab instead of sha512:cd" in policy.unfinished(wrong)
    for image in (right, kept, moved):
        assert "not finished" in policy.unfinished(image)
        assert "instead" not in policy.unfinished(image)
    for image in (right, wrong, kept, moved):
        assert policy.reports(image) == [f"{MARK}: dropped: {policy.unfinished(image)}"]
    for value in ("hi", "a snapshot sha512:ab", 3, None):
        foreign = Image({**described, MARK: value})
        assert policy.unfinished(foreign) == ""
        [line] = policy.reports(foreign)
        assert line.startswith(f"{MARK}: dropped: ")
        assert repr(value) in line
    assert policy.reports(Image(described)) == []


@pytest.mark.parametrize("known", ["checksum", "size"])
def test_data_of_a_half_loaded_image_are_compared_by_what_its_mark_has(known: str) -> None:
    """It was made of an image of which less was known than the Glance found out: an old one, or a file."""
    value = {"checksum": "ab", "size": 5}[known]
    there = {"id": ID, "status": "active", "size": 5, "checksum": "ab", "os_hash_algo": "sha512", "os_hash_value": "cd"}
    right = Image({**there, MARK: policy.mark_for(Image({"id": ID, known: value}))})
    wrong = Image({**right.metadata, known: {"checksum": "ef", "size": 6}[known]})
    unknown = Image({key: value for key, value in right.metadata.items() if key != known})
    for image in (right, unknown):
        assert policy.unfinished(image).endswith(f"(it has {MARK}); it is not to be used as it is")
    assert {"checksum": "md5:ef instead of md5:ab", "size": "6 bytes instead of 5"}[known] in policy.unfinished(wrong)
    for odd in (f"{ID} size:None", f"{ID} no-data", f"{ID} size:{'9' * 200}"):
        assert "instead" not in policy.unfinished(Image({**there, MARK: odd}))


def test_member_differences() -> None:
    image = Image({"id": ID, "visibility": "shared"}, [{"member_id": "a", "status": "accepted"}, {"member_id": "b"}])
    current = [{"member_id": "a", "status": "pending"}, {"member_id": "c", "status": "pending"}]
    assert [line.split(":")[0] for line in policy.member_differences(current, image)] == [
        "member a",
        "member b",
        "member c",
    ]
    assert policy.member_differences(current, Image({"id": ID, "visibility": "public"})) == []
