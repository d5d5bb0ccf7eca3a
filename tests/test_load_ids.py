"""Images whose ids cannot be had: other ids for them, found again, never twice; and references that follow."""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glancearchive.endpoints import policy
from glancearchive.endpoints.glance_listing import Listing
from glancearchive.endpoints.ids import IdPolicy, Ids, new_id
from glancearchive.endpoints.references import redirected, references
from glancearchive.errors import LocalError, UsageError
from glancearchive.image import Action, Image, Outcome
from glancearchive.operations.id_map import read_id_map, write_id_map
from glancearchive.operations.load import load
from glancearchive.operations.outputs import check_output
from tests.cloud.cloud import Cloud
from tests.cloud.glance import MIB, Glance
from tests.cloud.images import pattern
from tests.faults.world import forget
from tests.glances import IMPATIENT, Counter, Shelf, api, carried, metadata

DATA = pattern(300_001)
BRIEF = replace(IMPATIENT, polls=10)  # nobody else is at work
Spoil = Callable[[Glance, Image], None]


def run(url: str, source: Shelf, ids: Ids | None = None, **options: Any) -> list[Outcome]:
    ids = ids or Ids(IdPolicy.NEW)
    return list(load(source, api(url, BRIEF), progress=Counter(), ids=ids, **options))


def one(url: str, image: Image, ids: Ids | None = None, data: bytes = DATA, **options: Any) -> Outcome:
    (outcome,) = run(url, Shelf((image, data)), ids, **options)
    assert outcome.id == image.id
    return outcome


def burnt(glance: Glance, image: Image) -> None:
    glance.client().create(id=image.id)
    glance.client().delete(image.id)


def other_data(glance: Glance, image: Image) -> None:
    glance.client().add(b"other data", id=image.id)


def somebody_elses_queued(glance: Glance, image: Image) -> None:
    glance.client().create(id=image.id)


def another_transfer(glance: Glance, image: Image) -> None:
    glance.client().create(id=image.id, **{policy.MARK: f"{image.id} sha512:00"})


def ours(glance: Glance, image: Image, status: str, updated: str) -> None:
    """An image of ours that a dead server left behind a while ago."""
    glance.client().create(**policy.creation_body(image, policy.mark_for(image)))
    with closing(sqlite3.connect(glance.database, timeout=60)) as database, database:
        database.execute("UPDATE images SET status = ?, updated_at = ? WHERE id = ?", (status, updated, image.id))


def saving(glance: Glance, image: Image) -> None:
    ours(glance, image, "saving", "2020-01-01 00:00:00")


def importing(glance: Glance, image: Image) -> None:
    ours(glance, image, "importing", "2020-01-01 00:00:00")


def killed(glance: Glance, image: Image) -> None:
    ours(glance, image, "killed", "2020-01-01 00:00:00")


def spoilt(glance: Glance, image: Image) -> None:
    client = glance.client()
    client.create(**policy.creation_body(image, policy.mark_for(image)) | {"disk_format": "qcow2"})
    headers = {"Content-Type": "application/octet-stream"}
    assert client.call("PUT", f"/v2/images/{image.id}/file", data=DATA, headers=headers).status_code == 415


SPOILS = [burnt, other_data, somebody_elses_queued, another_transfer, saving, importing, killed, spoilt]
DELETED = (burnt, saving, importing, killed, spoilt)


@pytest.mark.parametrize("spoil", SPOILS)
def test_an_image_gets_a_new_id_and_is_found_under_it(
    spoil: Spoil, glance_b: Glance, caplog: pytest.LogCaptureFixture
) -> None:
    image = Image(metadata(DATA, visibility="public", color="red"))
    spoil(glance_b, image)
    client = glance_b.client()
    before = client.images()
    outcome = one(glance_b.url, image)
    assert (outcome.action, outcome.clean, outcome.size) == (Action.COPIED, True, len(DATA))
    assert outcome.new_id not in ("", image.id)
    found = client.show(outcome.new_id)
    assert client.download(outcome.new_id) == DATA
    assert carried(found) == carried(image.metadata) | {"id": outcome.new_id, policy.SOURCE_ID: image.id}
    assert policy.MARK not in found
    after = client.images()
    assert after.keys() - before.keys() == {outcome.new_id}
    assert (image.id in after) == (spoil not in DELETED)
    if spoil not in DELETED:
        assert after[image.id] == before[image.id]
    caplog.clear()
    again = one(glance_b.url, image)
    assert (again.action, again.new_id, again.clean) == (Action.PRESENT, outcome.new_id, True)
    assert client.images() == after
    assert caplog.text == ""  # it goes there at once


@pytest.mark.parametrize("spoil", SPOILS)
def test_without_being_asked_no_image_gets_a_new_id(spoil: Spoil, glance_b: Glance) -> None:
    image = Image(metadata(DATA))
    spoil(glance_b, image)
    before = glance_b.client().images()
    outcome = one(glance_b.url, image, Ids())
    assert outcome.action in (Action.CONFLICT, Action.FAILED)
    assert outcome.new_id == ""
    if spoil in (saving, importing, killed):
        assert outcome.reason.endswith("; --id-policy new deletes it and loads it under another id")
    else:
        assert outcome.reason.endswith("; --id-policy new loads it under another id")
    after = glance_b.client().images()
    assert after.keys() == before.keys() - ({image.id} if spoil is spoilt else set())


@pytest.mark.parametrize(("size", "seconds"), [(len(DATA), 3600), (1 << 40, 1 << 20)], ids=["small", "large"])
def test_an_upload_that_may_still_be_going_on_is_left_alone(size: int, seconds: int, glance_b: Glance) -> None:
    """The image has been `saving` for seconds, and an upload may take longer, on a slow line even one of few bytes."""
    image = Image(metadata(DATA) | {"size": size})
    glance_b.client().create(**policy.creation_body(image, policy.mark_for(image)))
    with closing(sqlite3.connect(glance_b.database, timeout=60)) as database, database:
        database.execute("UPDATE images SET status = 'saving' WHERE id = ?", (image.id,))
    outcome = one(glance_b.url, image)
    assert outcome.action is Action.FAILED
    assert f"--id-policy new does so once it has been so for {seconds} seconds;" in outcome.reason
    assert glance_b.client().show(image.id)["status"] == "saving"


def test_an_id_that_can_be_had_is_kept(glance_b: Glance) -> None:
    image = Image(metadata(DATA))
    for action in (Action.COPIED, Action.PRESENT):
        outcome = one(glance_b.url, image)
        assert (outcome.action, outcome.new_id) == (action, "")
    assert policy.SOURCE_ID not in glance_b.client().show(image.id)


def test_a_purge_does_not_make_a_second_copy(glance_b: Glance) -> None:
    """The old id can be had again, and the image has a new one by now."""
    image = Image(metadata(DATA))
    burnt(glance_b, image)
    first = one(glance_b.url, image)
    forget(glance_b, image.id)
    before = glance_b.client().images()
    again = one(glance_b.url, image)
    assert (again.action, again.new_id) == (Action.PRESENT, first.new_id)
    assert glance_b.client().images() == before


def test_a_new_id_that_is_burnt_too_is_passed_over(glance_b: Glance) -> None:
    image = Image(metadata(DATA))
    burnt(glance_b, image)
    first = one(glance_b.url, image)
    glance_b.client().delete(first.new_id)
    second = one(glance_b.url, image)
    assert second.action is Action.COPIED
    assert [first.new_id, second.new_id] == [new_id(image, 0), new_id(image, 1)]


def test_new_ids_come_to_an_end(glance_b: Glance) -> None:
    image = Image(metadata(DATA))
    for taken in (image.id, *(new_id(image, number) for number in range(16))):
        glance_b.client().create(id=taken)
    outcome = one(glance_b.url, image)
    assert (outcome.action, outcome.new_id) == (Action.CONFLICT, "")


@pytest.mark.parametrize("stage", ["created", "uploaded"])
def test_an_interrupted_load_under_a_new_id_is_finished(stage: str, glance_b: Glance) -> None:
    image = Image(metadata(DATA, visibility="public"))
    burnt(glance_b, image)
    ids = Ids(IdPolicy.NEW)
    place = new_id(image, 0)
    begun = ids.translated(image, place, Listing())
    client = glance_b.client()
    client.create(**policy.creation_body(begun, policy.mark_for(begun)))
    if stage == "uploaded":
        client.upload(place, DATA)
    forget(glance_b, image.id)  # even then it goes on where it was
    outcome = one(glance_b.url, image)
    assert (outcome.action, outcome.new_id, outcome.clean) == (Action.COPIED, place, True)
    assert client.show(place)["visibility"] == "public"
    assert image.id not in client.images()


def test_a_snapshot_with_copied_properties_is_not_taken_for_the_image(glance_b: Glance) -> None:
    image = Image(metadata(DATA))
    burnt(glance_b, image)
    client = glance_b.client()
    place = new_id(image, 0)
    client.add(b"a snapshot of it", name="snapshot", **{policy.SOURCE_ID: image.id})
    client.add(b"another", name="taken while it was loaded", **{policy.SOURCE_ID: image.id, policy.MARK: f"{place} x"})
    before = client.images()
    outcome = one(glance_b.url, image)
    assert (outcome.action, outcome.new_id) == (Action.COPIED, place)
    assert {key: value for key, value in client.images().items() if key != place} == before
    assert one(glance_b.url, image).new_id == place


@pytest.mark.parametrize("spoil", [burnt, saving])
def test_loads_at_the_same_time_make_one_image(spoil: Spoil, glance_b: Glance) -> None:
    many = 2 if spoil is burnt else 1  # which takes its time
    images = [(Image(metadata(data, visibility="public")), data) for data in (b"1" * MIB, b"2" * MIB)[:many]]
    for image, _ in images:
        spoil(glance_b, image)
    before = glance_b.client().images()
    gate = threading.Barrier(3)

    def go(_: int) -> list[Outcome]:
        client = api(glance_b.url, replace(IMPATIENT, polls=60))
        gate.wait()
        return list(load(Shelf(*images), client, progress=Counter(), ids=Ids(IdPolicy.NEW)))

    with ThreadPoolExecutor(3) as pool:
        outcomes = [outcome for found in pool.map(go, range(3)) for outcome in found]
    client = glance_b.client()
    made = client.images().keys() - before.keys()
    assert len(made) == len(images)
    assert {outcome.action for outcome in outcomes} <= {Action.COPIED, Action.PRESENT, Action.FAILED}
    final = run(glance_b.url, Shelf(*images))
    assert {outcome.new_id for outcome in final} == made
    assert all(outcome.clean for outcome in final)
    for (image, data), place in (
        (pair, outcome.new_id) for pair in images for outcome in final if outcome.id == pair[0].id
    ):
        assert client.download(place) == data
        assert client.show(place)["visibility"] == image.metadata["visibility"]


def test_images_without_data_get_new_ids_too(glance_b: Glance) -> None:
    image = Image(metadata(b"", status="queued", size=None, checksum=None, os_hash_value=None), absent="queued")
    burnt(glance_b, image)
    first, second = one(glance_b.url, image), one(glance_b.url, image)
    assert first.action is second.action is Action.NO_DATA
    assert first.new_id == second.new_id == new_id(image, 0)
    assert glance_b.client().show(first.new_id)["status"] == "queued"


def test_metadata_of_an_image_with_a_new_id_are_brought_into_line(glance_b: Glance) -> None:
    image = Image(metadata(DATA, color="red"))
    burnt(glance_b, image)
    place = one(glance_b.url, image).new_id
    client = glance_b.client()
    client.patch(place, {"op": "replace", "path": "/color", "value": "blue"})
    assert one(glance_b.url, image).differences == ["color: target has 'blue', source has 'red'"]
    outcome = one(glance_b.url, image, update_metadata=True)
    assert (outcome.action, outcome.new_id, outcome.clean) == (Action.UPDATED, place, True)
    assert (client.show(place)["color"], client.show(place)[policy.SOURCE_ID]) == ("red", image.id)


def test_an_id_of_another_project(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    image = Image(metadata(DATA, owner=cloud.projects["alpha"]))
    cloud.client(cloud.b, "other").create(id=image.id, visibility="private")
    outcome = one("member-b", image)
    assert (outcome.action, outcome.new_id, outcome.clean) == (Action.COPIED, new_id(image, 0), True)
    assert one("member-b", image).action is Action.PRESENT
    # What is the first's alone cannot be found by the second, which makes its own.
    theirs = one("other-b", image)
    assert (theirs.action, theirs.new_id) == (Action.COPIED, new_id(image, 1))


# Maps.


def test_a_map_says_which_ids_images_get(glance_b: Glance) -> None:
    images = [(Image(metadata(data)), data) for data in (b"1", b"2", b"3")]
    (first, _), (second, _), (third, _) = images
    mapping: dict[str, str | None] = {
        first.id: str(uuid.uuid4()),
        second.id: None,
        str(uuid.uuid4()): str(uuid.uuid4()),
    }
    for action in (Action.COPIED, Action.PRESENT):
        ids = Ids(IdPolicy.MAP, mapping)
        outcomes = {outcome.id: outcome for outcome in run(glance_b.url, Shelf(*images), ids)}
        assert {outcome.action for outcome in outcomes.values()} == {action}
        assert outcomes[first.id].new_id == mapping[first.id]
        assert outcomes[second.id].new_id == new_id(second, 0)
        assert outcomes[third.id].new_id == ""
        assert ids.settled == {first.id: mapping[first.id], second.id: new_id(second, 0), third.id: third.id}
        assert second.id not in glance_b.client().images()


def test_a_mapped_id_that_cannot_be_had_is_a_conflict(glance_b: Glance) -> None:
    image, wanted = Image(metadata(DATA)), Image(metadata(DATA))
    burnt(glance_b, wanted)
    outcome = one(glance_b.url, image, Ids(IdPolicy.MAP, {image.id: wanted.id}))
    assert (outcome.action, outcome.new_id) == (Action.CONFLICT, "")
    assert outcome.reason.endswith("or it belongs to another project")
    # A null leaves it to us.
    outcome = one(glance_b.url, image, Ids(IdPolicy.MAP, {image.id: None}))
    assert (outcome.action, outcome.new_id) == (Action.COPIED, new_id(image, 0))


def test_one_id_for_two_images_is_refused_before_anything_is_done(glance_b: Glance) -> None:
    first, second = Image(metadata(b"1")), Image(metadata(b"2"))
    before = glance_b.client().images()
    shelf = Shelf((first, b"1"), (second, b"2"))
    for mapping in ({first.id: second.id}, dict.fromkeys((first.id, second.id), str(uuid.uuid4()))):
        with pytest.raises(UsageError, match="to two images"):
            run(glance_b.url, shelf, Ids(IdPolicy.MAP, mapping))
    assert glance_b.client().images() == before
    swapped = run(glance_b.url, shelf, Ids(IdPolicy.MAP, {first.id: second.id, second.id: first.id}))
    assert {outcome.new_id for outcome in swapped} == {first.id, second.id}
    assert glance_b.client().download(second.id) == b"1"


# References.


def ami(kernel: str, ramdisk: str, **more: Any) -> Image:
    return Image(metadata(b"ami", kernel_id=kernel, ramdisk_id=ramdisk, created_at="2019-01-01T00:00:00Z", **more))


def test_references_follow_new_ids_whatever_the_order(glance_b: Glance) -> None:
    kernel, ramdisk = Image(metadata(b"kernel")), Image(metadata(b"ramdisk"))
    root = ami(kernel.id, ramdisk.id)
    devices = json.dumps([{"image_id": root.id, "boot_index": 0}, {"image_id": None}, {"snapshot_id": "s"}])
    snapshot = Image(metadata(b"snapshot", base_image_ref=root.id, block_device_mapping=devices))
    shelf = Shelf((snapshot, b"snapshot"), (root, b"ami"), (ramdisk, b"ramdisk"), (kernel, b"kernel"))
    burnt(glance_b, kernel)
    burnt(glance_b, root)
    client = glance_b.client()
    for action in (Action.COPIED, Action.PRESENT):
        outcomes = {outcome.id: outcome for outcome in run(glance_b.url, shelf)}
        assert {(outcome.action, outcome.clean) for outcome in outcomes.values()} == {(action, True)}
        new_root = outcomes[root.id].new_id
        found = client.show(new_root)
        assert (found["kernel_id"], found["ramdisk_id"]) == (outcomes[kernel.id].new_id, ramdisk.id)
        found = client.show(snapshot.id)
        assert found["base_image_ref"] == new_root
        moved = json.loads(found["block_device_mapping"])
        assert moved == [{"image_id": new_root, "boot_index": 0}, {"image_id": None}, {"snapshot_id": "s"}]


def test_references_follow_the_map_and_what_earlier_loads_did(glance_b: Glance) -> None:
    kernel, ramdisk, elsewhere = Image(metadata(b"kernel")), Image(metadata(b"ramdisk")), str(uuid.uuid4())
    burnt(glance_b, kernel)
    earlier = one(glance_b.url, kernel, data=b"kernel")
    root = ami(kernel.id, ramdisk.id)  # in an archive of its own
    found = glance_b.client().show(root.id if one(glance_b.url, root, data=b"ami") else "")
    assert (found["kernel_id"], found["ramdisk_id"]) == (earlier.new_id, ramdisk.id)
    root = ami(kernel.id, ramdisk.id)
    one(glance_b.url, root, Ids(IdPolicy.MAP, {ramdisk.id: elsewhere}), data=b"ami")
    found = glance_b.client().show(root.id)
    assert (found["kernel_id"], found["ramdisk_id"]) == (kernel.id, elsewhere)


def test_images_that_refer_to_each_other_are_loaded(glance_b: Glance) -> None:
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    images = [
        (Image(metadata(b"1", id=first, base_image_ref=second)), b"1"),
        (Image(metadata(b"2", id=second, base_image_ref=first, kernel_id=second)), b"2"),
    ]
    assert all(outcome.clean for outcome in run(glance_b.url, Shelf(*images)))


def test_what_counts_as_a_reference() -> None:
    devices = '[{"image_id": "d"}, {"image_id": 4}, {}]'
    found = {
        "kernel_id": "a",
        "ramdisk_id": "",
        "base_image_ref": "c",
        "image_id": "x",
        "block_device_mapping": devices,
    }
    assert references(found) == {"a", "c", "d"}
    assert redirected(found, lambda one: one) == found
    assert redirected(found, str.upper)["kernel_id"] == "A"
    for odd in ("", "[", "[1]", "{}", "null", "[" * 5000, None, 3):
        assert redirected({"block_device_mapping": odd, "kernel_id": None}, str.upper)["block_device_mapping"] == odd


# Files with maps.


def test_a_map_comes_back_as_it_was_written(tmp_path: Path) -> None:
    mapping = {str(uuid.uuid4()): str(uuid.uuid4()) for _ in range(3)}
    path = tmp_path / "ids.json"
    check_output(path)
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        write_id_map(path, mapping)
        assert read_id_map(path) == mapping
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a": 1}', '{"a": "not an id"}', '{"a": ""}', '{"a": {}}', "[" * 5000, '{"a": null, "a": null}'],
)
def test_what_is_no_map_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text(text)
    with pytest.raises(UsageError, match=r"ids\.json"):
        read_id_map(tmp_path / "ids.json")


def test_a_map_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="No such file"):
        read_id_map(tmp_path / "none.json")
    for path in (tmp_path / "none" / "ids.json", tmp_path):
        with pytest.raises(LocalError, match="cannot be written"):
            check_output(path)
    with pytest.raises(LocalError, match="cannot be written"):
        write_id_map(tmp_path / "none" / "ids.json", {})
