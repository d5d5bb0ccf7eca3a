"""Loading into real Glances, through faults where it says so."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from glancearchive.endpoints import policy
from glancearchive.endpoints.glance_import import ImportMethod
from glancearchive.endpoints.glance_source import GlanceSource
from glancearchive.endpoints.glance_target import GlanceTarget
from glancearchive.endpoints.ids import IdPolicy, Ids
from glancearchive.errors import (
    AccessError,
    ConnectError,
    FrameError,
    InterruptedTransferError,
    LocalError,
    NoDataError,
)
from glancearchive.image import Action, Digest, Holding, Image, Outcome
from glancearchive.operations.plan import plan_load
from tests.cloud.cloud import Cloud
from tests.cloud.glance import MIB, Glance
from tests.cloud.images import pattern
from tests.glances import DATA, IMPATIENT, Counter, Memory, Shelf, api, carried, metadata, receive
from tests.scripted_http import FORWARD, Reply, Request, ScriptedHttp


def load(url: str, image: Image, source: Memory | None = None, **options: Any) -> Outcome:
    return receive(GlanceTarget(api(url), **options), image, source or Memory(DATA))


def foresee(url: str, image: Image, **options: Any) -> Outcome:
    """What a dry run says of it."""
    [outcome] = plan_load(Shelf((image, b"")), api(url), progress=Counter(), **options)
    return outcome


def test_an_image_arrives_with_everything(glance_b: Glance) -> None:
    image = Image(
        metadata(
            name="Grüße ≠ 你好",
            visibility="shared",
            protected=True,
            os_hidden=True,
            tags=["b", "a"],
            min_disk=7,
            min_ram=64,
            hw_disk_bus="scsi",
            os_version="04",
            img_signature="s",
        )
        | {"a/b~c": "odd key", "owner_specified.openstack.md5": "x"},
        [{"member_id": "p1", "status": "accepted"}, {"member_id": "p2", "status": "pending"}],
    )
    progress = Counter()
    outcome = GlanceTarget(api(glance_b.url)).receive(image, Memory(DATA), progress)
    assert outcome.action is Action.COPIED
    assert outcome.clean
    assert outcome.verified == "sha512"
    assert progress.total == outcome.size == len(DATA)
    client = glance_b.client()
    found = client.show(image.id)
    assert set(found.pop("tags")) == {"a", "b"}
    assert carried(found) == {key: value for key, value in carried(image.metadata).items() if key != "tags"}
    assert client.download(image.id) == DATA
    members = {member["member_id"]: member["status"] for member in client.members(image.id)}
    assert members == {"p1": "accepted", "p2": "pending"}


def test_a_second_load_finds_it_and_reads_nothing(glance_b: Glance) -> None:
    image = Image(metadata())
    load(glance_b.url, image)
    source = Memory(DATA)
    outcome = load(glance_b.url, image, source)
    assert (outcome.action, outcome.clean, source.reads) == (Action.PRESENT, True, 0)


def test_changed_metadata_are_reported_and_updated_on_request(glance_b: Glance) -> None:
    image = Image(metadata(color="red", visibility="shared"), [{"member_id": "p1", "status": "accepted"}])
    load(glance_b.url, image)
    client = glance_b.client()
    client.patch(
        image.id,
        {"op": "replace", "path": "/color", "value": "blue"},
        {"op": "add", "path": "/extra", "value": "x"},
        {"op": "replace", "path": "/name", "value": "renamed"},
    )
    client.add_member(image.id, "p2")
    outcome = load(glance_b.url, image)
    assert outcome.action is Action.PRESENT
    assert outcome.differences == [
        "color: target has 'blue', source has 'red'",
        "extra: target has 'x', source has none",
        "name: target has 'renamed', source has 'an image'",
        "member p2: target has pending, source has none",
    ]
    outcome = load(glance_b.url, image, update_metadata=True)
    assert (outcome.action, outcome.clean) == (Action.UPDATED, True)
    found = client.show(image.id)
    assert (found["color"], found["name"], "extra" in found) == ("red", "an image", False)
    assert [member["member_id"] for member in client.members(image.id)] == ["p1"]


def test_other_data_under_the_id_are_left_alone(glance_b: Glance) -> None:
    image = Image(metadata())
    glance_b.client().add(b"other data", id=image.id)
    before = glance_b.client().show(image.id)
    outcome = load(glance_b.url, image, update_metadata=True)
    assert outcome.action is Action.CONFLICT
    assert "10 bytes instead of 5244114" in outcome.reason
    assert glance_b.client().show(image.id) == before


def test_somebody_elses_queued_image_is_left_alone(glance_b: Glance) -> None:
    image = Image(metadata())
    glance_b.client().create(id=image.id)
    outcome = load(glance_b.url, image)
    assert outcome.action is Action.CONFLICT
    assert "queued, and not ours" in outcome.reason


def test_a_load_of_other_data_under_the_id_is_left_alone(glance_b: Glance) -> None:
    image, other = Image(metadata()), Image(metadata(b"other"))
    glance_b.client().create(id=image.id, **{policy.MARK: policy.mark_for(other).replace(other.id, image.id)})
    outcome = load(glance_b.url, image)
    assert outcome.action is Action.CONFLICT
    assert "another transfer" in outcome.reason


def test_a_burnt_id_is_a_conflict_that_is_explained(glance_b: Glance) -> None:
    image = Image(metadata())
    client = glance_b.client()
    client.create(id=image.id)
    client.delete(image.id)
    outcome = load(glance_b.url, image)
    assert outcome.action is Action.CONFLICT
    assert "purges" in outcome.reason


@pytest.mark.parametrize("stage", ["created", "uploaded", "half finished"])
def test_an_interrupted_load_is_finished(glance_b: Glance, stage: str) -> None:
    image = Image(metadata(color="red", visibility="public", os_hidden=True))
    client = glance_b.client()
    client.create(**policy.creation_body(image, policy.mark_for(image)))
    if stage != "created":
        client.upload(image.id, DATA)
    if stage == "half finished":
        client.patch(image.id, {"op": "replace", "path": "/visibility", "value": "public"})
    source = Memory(DATA)
    outcome = load(glance_b.url, image, source)
    assert (outcome.action, outcome.clean) == (Action.COPIED, True)
    assert bool(source.reads) == (stage == "created")
    assert carried(client.show(image.id)) == carried(image.metadata)


def test_wrong_data_of_an_interrupted_load_do_not_stay(glance_b: Glance) -> None:
    image = Image(metadata())
    client = glance_b.client()
    client.create(**policy.creation_body(image, policy.mark_for(image)))
    client.upload(image.id, DATA[:-1])
    outcome = load(glance_b.url, image)
    assert outcome.action is Action.FAILED
    assert "stored something else" in outcome.reason
    assert image.id not in client.images()


def test_what_an_interrupted_import_has_converted_is_not_deleted(glance_b: Glance) -> None:
    image = Image(metadata(disk_format="qcow2", virtual_size=len(DATA) - 1))
    client = glance_b.client()
    client.create(**policy.creation_body(image, policy.mark_for(image)) | {"disk_format": "raw"})
    client.upload(image.id, DATA[:-1])
    for options in ({}, {"ids": Ids(IdPolicy.NEW)}):
        outcome = load(glance_b.url, image, **options)
        assert outcome.action is Action.FAILED
        assert "converted by an import (disk_format qcow2 to raw); go on with --import-method" in outcome.reason
        assert client.download(image.id) == DATA[:-1]
    assert load(glance_b.url, image, method=ImportMethod.GLANCE_DIRECT).action is Action.CONVERTED


def test_a_source_with_other_data_than_it_says_leaves_nothing_active(glance_b: Glance) -> None:
    image = Image(metadata())
    outcome = load(glance_b.url, image, Memory(DATA[:-1] + b"!"))
    assert outcome.action is Action.FAILED
    assert image.id not in glance_b.client().images()


@pytest.mark.parametrize("change", [-1, 1])
def test_a_source_with_more_or_fewer_bytes_than_it_says_leaves_nothing_active(glance_b: Glance, change: int) -> None:
    image = Image(metadata())
    outcome = load(glance_b.url, image, Memory(DATA[:-1] if change < 0 else DATA + b"!"))
    assert outcome.action is Action.FAILED
    assert "5244114 bytes" in outcome.reason
    assert glance_b.client().show(image.id)["status"] in ("queued", "saving")


def test_damage_in_the_source_fails_the_image_and_a_later_load_finishes_it(glance_b: Glance) -> None:
    image = Image(metadata())
    damage = FrameError("frame 3 is damaged", volume="a.gla", begin=10, end=20)
    outcome = load(glance_b.url, image, Memory(DATA, damage, at=3 * MIB))
    assert (outcome.action, outcome.reason) == (Action.FAILED, str(damage))
    assert load(glance_b.url, image).action is Action.COPIED
    assert glance_b.client().download(image.id) == DATA


def test_another_hash_algorithm_at_the_target_is_recomputed(make_glance: Any) -> None:
    glance = make_glance(hashing_algorithm="sha256")
    image = Image(metadata())
    outcome = load(glance.url, image)
    assert outcome.action is Action.COPIED
    assert outcome.verified == "sha256"
    wrong = Image(metadata(id=image.id))
    outcome = load(glance.url, wrong, Memory(DATA[:-1] + b"!"))
    assert outcome.action is Action.CONFLICT


def test_a_hash_that_the_source_has_of_its_own_need_not_be_computed(glance_b: Glance) -> None:
    held = Holding((Digest("sha512", hashlib.sha512(DATA).hexdigest()),))
    source = Memory(DATA)
    image = Image(metadata(os_hash_algo=None, os_hash_value=None), held=held)
    outcome = load(glance_b.url, image, source)
    assert (outcome.action, outcome.verified) == (Action.COPIED, "sha512")
    assert source.reads == 2  # its head and the upload
    outcome = load(glance_b.url, image, source)
    assert (outcome.action, outcome.verified, source.reads) == (Action.PRESENT, "sha512", 2)
    wrong = Image(image.metadata, held=Holding((Digest("sha512", "0" * 128),)))
    assert load(glance_b.url, wrong, source).action is Action.CONFLICT


def test_an_image_without_digests_is_checked_by_its_data(glance_b: Glance) -> None:
    image = Image(metadata(checksum=None, os_hash_algo=None, os_hash_value=None, size=None))
    outcome = load(glance_b.url, image)
    assert outcome.action is Action.COPIED
    assert outcome.verified == "sha512"


def test_an_empty_image_is_an_image(glance_b: Glance) -> None:
    image = Image(metadata(b""))
    assert load(glance_b.url, image, Memory(b"")).clean
    found = glance_b.client().show(image.id)
    assert (found["status"], found["size"]) == ("active", 0)


def test_images_without_data(glance_b: Glance) -> None:
    client = glance_b.client()
    queued = Image(
        metadata(status="queued", size=None, checksum=None, os_hash_value=None, color="red"), absent="queued"
    )
    volume = Image(metadata(b"", block_device_mapping="[]"), absent="volume-backed")
    refused = Image(metadata(color="red"), absent="refused")
    for image in (queued, volume, refused):
        outcome = load(glance_b.url, image, Memory(b"", NoDataError("none")))
        assert outcome.action is Action.NO_DATA
        assert outcome.reason.startswith(image.absent)
    found = client.show(queued.id)
    assert (found["status"], found["color"], policy.MARK in found) == ("queued", "red", False)
    found = client.show(volume.id)
    assert (found["status"], found["block_device_mapping"], policy.MARK in found) == ("active", "[]", False)
    assert client.show(refused.id)["status"] == "queued"
    for image in (queued, volume):
        again = load(glance_b.url, image, Memory(b"", NoDataError("none")))
        assert (again.action, again.differences) == (Action.NO_DATA, [])
    later = load(glance_b.url, Image(refused.metadata))
    assert (later.action, later.clean) == (Action.COPIED, True)
    assert carried(client.show(refused.id)) == carried(refused.metadata)


@pytest.mark.parametrize("status", ["queued", "saving"])
def test_data_of_an_image_that_has_none_are_a_conflict(glance_b: Glance, status: str) -> None:
    image = Image(metadata(status=status, size=None, checksum=None, os_hash_value=None), absent=status)
    glance_b.client().add(b"xy", id=image.id)
    before = glance_b.client().show(image.id)
    outcome = load(glance_b.url, image, Memory(b""), update_metadata=True)
    assert (outcome.action, outcome.clean) == (Action.CONFLICT, False)
    assert f"has data under this id, 2 bytes; the source has none: {status}" in outcome.reason
    foreseen = foresee(glance_b.url, image)
    assert (foreseen.action, foreseen.reason) == (outcome.action, outcome.reason)
    assert glance_b.client().show(image.id) == before


def test_data_that_turn_out_to_be_missing(glance_b: Glance) -> None:
    image = Image(metadata())
    outcome = load(glance_b.url, image, Memory(b"", NoDataError("the server has lost them")))
    assert (outcome.action, outcome.reason) == (Action.REFUSED, "the server has lost them")
    assert image.id not in glance_b.client().images()


def test_a_deactivated_image_is_deactivated_before_anybody_sees_it(glance_b: Glance) -> None:
    image = Image(metadata(status="deactivated", visibility="public"))
    assert load(glance_b.url, image).clean
    found = glance_b.client().show(image.id)
    assert (found["status"], found["visibility"]) == ("deactivated", "public")


def test_an_image_that_is_deactivated_there_alone_is_not_reactivated(glance_b: Glance) -> None:
    """And nothing is called updated that was not."""
    image, client = Image(metadata(color="red")), glance_b.client()
    load(glance_b.url, image)
    api(glance_b.url).deactivate(image.id)
    line = "status: target has 'deactivated', source has 'active'"
    for action in (Action.PRESENT, Action.UPDATED):
        if action is Action.UPDATED:
            client.patch(image.id, {"op": "replace", "path": "/color", "value": "blue"})
        foreseen = foresee(glance_b.url, image, update_metadata=True)
        outcome = load(glance_b.url, image, update_metadata=True)
        assert (outcome.action, outcome.differences) == (action, [line])
        assert (foreseen.action, foreseen.differences) == (action, [line])
    assert client.show(image.id)["status"] == "deactivated"


REFUSED_MARK = [(409, b"{}"), (403, b"{}"), (413, b'{"message": "too much"}'), (500, b"{}")]


@pytest.mark.parametrize(("status", "body"), REFUSED_MARK)
def test_a_mark_that_stays_is_a_failure(glance_b: Glance, status: int, body: bytes) -> None:
    image = Image(metadata(color="red", refused="yes"))
    with ScriptedHttp(glance_b.url) as proxy:

        def patch(request: Request) -> Reply:
            no = policy.MARK.encode() in request.body or b"/refused" in request.body
            return Reply(status, body) if no else FORWARD

        proxy.responders["PATCH", f"/v2/images/{image.id}"] = patch
        outcomes = [load(proxy.url, image), load(proxy.url, image)]
    for outcome in outcomes:
        assert outcome.action is Action.FAILED
        assert outcome.reason.startswith(
            "its data are right, but it is still marked as being loaded: the target refuses"
        )
        assert str(status) in outcome.reason
        assert [line.split(":")[0] for line in outcome.dropped] == ["refused"]
    assert glance_b.client().show(image.id)["color"] == "red"
    assert load(glance_b.url, image).clean
    assert policy.MARK not in glance_b.client().show(image.id)


def test_a_mark_that_stays_on_an_image_without_data(glance_b: Glance) -> None:
    described = metadata(status="queued", size=None, checksum=None, os_hash_value=None)
    with ScriptedHttp(glance_b.url) as proxy:
        proxy.on("PATCH", f"/v2/images/{described['id']}", Reply(403, b"{}"))
        outcome = load(proxy.url, Image(described, absent="queued"))
    assert outcome.action is Action.FAILED
    assert outcome.reason.startswith("all else is done, but it is still marked as being loaded: ")


def test_a_mark_that_another_load_has_removed_is_gone(glance_b: Glance) -> None:
    image = Image(metadata(color="red"))
    client = glance_b.client()
    with ScriptedHttp(glance_b.url) as proxy:

        def patch(request: Request) -> Reply:
            if policy.MARK in client.show(image.id):
                client.patch(image.id, policy.REMOVE_MARK)
            return FORWARD

        proxy.responders["PATCH", f"/v2/images/{image.id}"] = patch
        outcome = load(proxy.url, image)
    assert (outcome.action, outcome.clean) == (Action.COPIED, True)


def test_an_encryption_key_survives_the_deletion_of_the_copy(glance_b: Glance) -> None:
    image = Image(metadata(cinder_encryption_key_id="k", cinder_encryption_key_deletion_policy="on_image_deletion"))
    outcome = load(glance_b.url, image)
    assert outcome.action is Action.COPIED
    assert [line.split(":")[0] for line in outcome.dropped] == ["cinder_encryption_key_deletion_policy"]
    assert glance_b.client().show(image.id)["cinder_encryption_key_deletion_policy"] == "do_not_delete"
    assert load(glance_b.url, image).differences == []


def test_refused_properties_are_dropped_one_by_one(glance_b: Glance) -> None:
    image = Image(metadata(good="1", other="2", locations=[{"url": "file:///secret"}], os_glance_x="3", number=4))
    refused = Image({**image.metadata, "name": "a penguin: 🐧", "tags": ["t" * 256]})
    outcome = load(glance_b.url, refused)
    assert outcome.action is Action.COPIED
    assert [line.split(":")[0] for line in outcome.dropped] == ["number", "name", "tags"]
    found = glance_b.client().show(image.id)
    assert (found["good"], found["other"], found["tags"]) == ("1", "2", [])
    assert "os_glance_x" not in found


def test_the_mark_costs_no_property_at_the_quota(make_glance: Any) -> None:
    glance = make_glance(options={"DEFAULT": {"image_property_quota": 10}})
    image = Image(metadata() | {f"p{number}": "x" for number in range(10)})
    outcome = load(glance.url, image)
    assert (outcome.action, outcome.dropped) == (Action.COPIED, [])
    more = Image(metadata() | {f"p{number}": "x" for number in range(12)})
    outcome = load(glance.url, more)
    assert (outcome.action, len(outcome.dropped)) == (Action.COPIED, 2)
    many = Image(metadata(visibility="public") | {f"p{number:03}": "x" for number in range(400)})
    with ScriptedHttp(glance.url) as proxy:
        outcome = load(proxy.url, many)
        # Not one or two for each property, but those that it takes to find where the quota ends, before and after the
        # mark has gone.
        assert proxy.count("PATCH", f"/v2/images/{many.id}") < 40
    assert (outcome.action, len(outcome.dropped)) == (Action.COPIED, 390)
    assert all("Maximum: 10" in line for line in outcome.dropped)
    found = glance.client().show(many.id)
    assert [field for field in sorted(found) if field.startswith("p") and field[1:].isdecimal()] == [
        f"p{number:03}" for number in range(10)
    ]
    assert found["visibility"] == "public"


def test_a_format_that_the_target_would_refuse_costs_no_id(glance_b: Glance) -> None:
    data = bytearray(MIB)
    data[510:512] = b"\x55\xaa"
    image = Image(metadata(bytes(data)))
    before = glance_b.client().images().keys()
    outcome = load(glance_b.url, image, Memory(bytes(data)))
    assert outcome.action is Action.FAILED
    assert "nothing was created" in outcome.reason
    assert glance_b.client().images().keys() == before
    assert glance_b.client().create(id=image.id)["id"] == image.id


def test_a_target_that_does_not_look_at_formats_takes_all(make_glance: Any) -> None:
    glance = make_glance(options={"image_format": {"require_image_format_match": False}})
    image = Image(metadata(disk_format="qcow2"))
    assert load(glance.url, image).clean
    assert list(glance.client().images()) == [image.id]


def trial(glance: Glance, name: str, **more: Any) -> str:
    """An image as a load leaves it that was killed in the middle of a trial."""
    return str(glance.client().create(**({"name": name, policy.MARK: name} | more))["id"])


def test_trial_images_that_a_killed_load_has_left_are_deleted(make_glance: Any) -> None:
    glance = make_glance(options={"image_format": {"require_image_format_match": False}})
    image = Image(metadata(disk_format="qcow2"))
    name = f"glancearchive trial for {image.id}"
    client = glance.client()
    trial(glance, name)
    client.upload(trial(glance, name, os_hidden=True), DATA[:MIB])
    others = [
        trial(glance, "a snapshot", **{policy.MARK: name}),  # Nova has copied the property
        trial(glance, name, **{policy.MARK: "x"}),
        trial(glance, "glancearchive trial for another"),
        trial(glance, name),
    ]
    client.upload(others[-1], DATA)  # too large
    assert load(glance.url, image).clean
    assert client.images().keys() == {image.id, *others}


def test_a_trial_that_another_load_ends_is_made_again(make_glance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    glance = make_glance(options={"image_format": {"require_image_format_match": False}})
    image = Image(metadata(disk_format="qcow2"))
    client = api(glance.url)
    upload, vanished = client.upload, []

    def hit(image_id: str, body: Any, **options: Any) -> None:
        if not vanished:
            vanished.append(image_id)
            client.delete(image_id)
        upload(image_id, body, **options)

    monkeypatch.setattr(client, "upload", hit)
    assert GlanceTarget(client).receive(image, Memory(DATA), Counter()).clean
    assert vanished != [image.id]
    assert list(glance.client().images()) == [image.id]


def test_an_unusable_image_of_ours_is_deleted_and_said_so(glance_b: Glance) -> None:
    image = Image(metadata(disk_format="qcow2"))
    client = glance_b.client()
    client.create(**policy.creation_body(image, policy.mark_for(image)))
    response = client.call(
        "PUT", f"/v2/images/{image.id}/file", data=DATA, headers={"Content-Type": "application/octet-stream"}
    )
    assert response.status_code == 415
    assert client.show(image.id)["checksum"]
    outcome = load(glance_b.url, image)
    assert outcome.action is Action.FAILED
    assert "unusable" in outcome.reason
    assert image.id not in client.images()


# Faults on the way.


def test_a_401_in_the_upload_never_makes_an_empty_image(glance_b: Glance) -> None:
    image = Image(metadata())
    with ScriptedHttp(glance_b.url) as proxy:
        path = f"/v2/images/{image.id}/file"
        proxy.on("PUT", path, Reply(401, b"expired"), FORWARD)
        outcome = load(proxy.url, image)
        assert [len(request.body) for request in proxy.requests if request.method == "PUT"] == [len(DATA)] * 2
    assert (outcome.action, outcome.clean) == (Action.COPIED, True)
    assert glance_b.client().download(image.id) == DATA


@pytest.mark.parametrize(
    "fault",
    [
        Reply(503, b"busy", {"Retry-After": "7"}),
        Reply(500, b"<html><body><h1>oops</h1></body></html>", hasty=True),
        Reply(401, b"no", hasty=True),
        Reply(drop=True),
        Reply(cut_request=2 * MIB),
        Reply(lose=True),
    ],
    ids=["503", "hasty 500", "hasty 401", "drop", "cut", "answer lost"],
)
def test_an_upload_that_fails_once_is_made_again(glance_b: Glance, fault: Reply) -> None:
    image = Image(metadata(visibility="public"))
    progress = Counter()
    with ScriptedHttp(glance_b.url) as proxy:
        proxy.on("PUT", f"/v2/images/{image.id}/file", fault, FORWARD)
        outcome = GlanceTarget(api(proxy.url)).receive(image, Memory(DATA), progress)
    assert (outcome.action, outcome.clean) == (Action.COPIED, True)
    assert progress.total == len(DATA)
    assert carried(glance_b.client().show(image.id)) == carried(image.metadata)


@pytest.mark.parametrize("method", ["POST", "PATCH", "GET"])
@pytest.mark.parametrize(
    "fault", [Reply(503, b"busy"), Reply(drop=True), Reply(lose=True)], ids=["503", "drop", "lost"]
)
def test_a_call_that_fails_once_is_made_again(glance_b: Glance, method: str, fault: Reply) -> None:
    image = Image(metadata(visibility="public"))
    path = "/v2/images" if method == "POST" else f"/v2/images/{image.id}"
    with ScriptedHttp(glance_b.url) as proxy:
        proxy.on(method, path, fault, FORWARD)
        outcome = load(proxy.url, image)
    assert (outcome.action, outcome.clean) == (Action.COPIED, True)
    assert carried(glance_b.client().show(image.id)) == carried(image.metadata)


def test_a_refused_upload_fails_this_image_only_and_can_be_resumed(glance_b: Glance) -> None:
    image = Image(metadata())
    with ScriptedHttp(glance_b.url) as proxy:
        refusal = Reply.json({"message": "Image exceeds the storage quota", "code": "413"}, 413)
        proxy.on("PUT", f"/v2/images/{image.id}/file", refusal)
        outcome = load(proxy.url, image)
    assert outcome.action is Action.FAILED
    assert "413" in outcome.reason
    assert "Image exceeds the storage quota" in outcome.reason
    assert load(glance_b.url, image).action is Action.COPIED


def test_a_server_that_is_gone_ends_it_all(glance_b: Glance) -> None:
    image = Image(metadata())
    with ScriptedHttp(glance_b.url) as proxy:
        target = GlanceTarget(api(proxy.url))
        for path in ("/v2/images", f"/v2/images/{image.id}", f"/v2/images/{image.id}/file"):
            for method in ("GET", "POST", "PUT", "PATCH"):
                proxy.on(method, path, Reply(drop=True))
        with pytest.raises(ConnectError):
            target.receive(image, Memory(DATA), Counter())


def test_an_upload_that_never_works_fails_this_image_only(glance_b: Glance) -> None:
    image = Image(metadata())
    with ScriptedHttp(glance_b.url) as proxy:
        proxy.on("PUT", f"/v2/images/{image.id}/file", Reply(502, b"<html>bad gateway</html>"))
        outcome = load(proxy.url, image)
        assert proxy.count("PUT", f"/v2/images/{image.id}/file") == IMPATIENT.attempts
    assert outcome.action is Action.FAILED
    assert "502 Bad Gateway: bad gateway" in outcome.reason


def test_a_source_that_is_gone_ends_it_all(glance_b: Glance) -> None:
    for error in (ConnectError("gone"), LocalError("unplugged"), AccessError("token", status=401)):
        with pytest.raises(type(error)):
            load(glance_b.url, Image(metadata()), Memory(DATA, error, at=2 * MIB))


def test_an_image_that_stays_in_saving_is_reported(glance_b: Glance) -> None:
    image = Image(metadata())
    with ScriptedHttp(glance_b.url) as proxy:
        saving = {**image.metadata, "status": "saving", "size": None, policy.MARK: policy.mark_for(image)}
        proxy.on("GET", f"/v2/images/{image.id}", Reply.json(saving))
        outcome = load(proxy.url, image)
        assert proxy.count("GET", f"/v2/images/{image.id}") > IMPATIENT.polls
    assert outcome.action is Action.FAILED
    assert "stays saving" in outcome.reason


def test_an_interruption_by_the_operator_comes_through_and_can_be_resumed(glance_b: Glance) -> None:
    class Interrupting(Counter):
        def advance(self, image: Image, count: int) -> None:
            super().advance(image, count)
            if self.total > 2 * MIB:
                raise InterruptedTransferError("interrupted")

    image = Image(metadata(visibility="public"))
    with pytest.raises(InterruptedTransferError):
        GlanceTarget(api(glance_b.url)).receive(image, Memory(DATA), Interrupting())
    assert glance_b.client().show(image.id)["visibility"] == "private"
    assert load(glance_b.url, image).clean


@pytest.mark.parametrize("loads", [2, 4])
def test_loads_at_the_same_time_do_not_disturb_each_other(glance_b: Glance, loads: int) -> None:
    data = [pattern(MIB + number, seed=number) for number in range(6)]
    images = [Image(metadata(one, visibility="public", color="red")) for one in data]
    gate = threading.Barrier(loads)

    def run(_: int) -> list[Outcome]:
        target = GlanceTarget(api(glance_b.url))
        gate.wait()
        return [receive(target, image, Memory(one)) for image, one in zip(images, data, strict=True)]

    with ThreadPoolExecutor(loads) as pool:
        outcomes = [outcome for found in pool.map(run, range(loads)) for outcome in found]
    assert {(outcome.action, outcome.reason) for outcome in outcomes} <= {(Action.COPIED, ""), (Action.PRESENT, "")}
    client = glance_b.client()
    for image, one in zip(images, data, strict=True):
        assert client.download(image.id) == one
        assert carried(client.show(image.id)) == carried(image.metadata)


def test_several_images_at_once(glance_b: Glance) -> None:
    data = {image.id: b"%d" % number * MIB for number, image in enumerate(Image(metadata()) for _ in range(8))}
    images = [Image(metadata(one, id=image_id)) for image_id, one in data.items()]
    target = GlanceTarget(api(glance_b.url))
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda image: target.receive(image, Memory(data[image.id]), Counter()), images))
    assert all(outcome.clean for outcome in outcomes)
    assert all(glance_b.client().download(image_id) == one for image_id, one in data.items())


# Behind a Keystone.


def test_an_admin_restores_owners_and_memberships(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    alpha, beta = cloud.projects["alpha"], cloud.projects["beta"]
    image = Image(
        metadata(owner=alpha, visibility="shared", protected=True),
        [{"member_id": beta, "status": "accepted"}],
    )
    assert load("admin-b", image).clean
    found = cloud.client(cloud.b, "member").show(image.id)
    assert (found["owner"], found["visibility"], found["protected"]) == (alpha, "shared", True)
    assert cloud.client(cloud.b, "other").download(image.id) == DATA


def test_a_member_loads_what_a_member_may(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    alpha, beta = cloud.projects["alpha"], cloud.projects["beta"]
    public = Image(metadata(owner=beta, visibility="public", color="red"))
    outcome = load("member-b", public)
    assert outcome.action is Action.COPIED
    assert [line.split(":")[0] for line in outcome.dropped] == ["owner", "visibility"]
    found = cloud.client(cloud.b, "member").show(public.id)
    assert (found["owner"], found["visibility"], found["color"]) == (alpha, "private", "red")
    assert policy.MARK not in found
    shared = Image(metadata(owner=alpha, visibility="shared"), [{"member_id": beta, "status": "accepted"}])
    outcome = load("appcred-b", shared)
    assert outcome.action is Action.COPIED
    assert [line.split(":")[0] for line in outcome.dropped] == [f"member {beta} accepted"]


def test_a_reader_may_not_load(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    outcome = load("reader-b", Image(metadata()))
    assert outcome.action is Action.FAILED
    assert "403" in outcome.reason


def test_an_id_of_another_project_is_a_conflict(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    image = Image(metadata())
    cloud.client(cloud.b, "other").create(id=image.id, visibility="private")
    outcome = load("member-b", image)
    assert outcome.action is Action.CONFLICT
    assert "belongs to another project" in outcome.reason


def test_tokens_that_live_shorter_than_an_upload_is_prepared(
    cloud_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = 15  # seconds: a busy machine has so long between the Keystone's answer and the Glance's look at the token
    with Cloud(tmp_path, token_seconds=life) as cloud:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
        target = GlanceTarget(api("admin-b"))
        time.sleep(life + 1)  # the token of the first request is dead by now
        assert target.receive(Image(metadata(visibility="public")), Memory(DATA), Counter()).clean


def test_from_one_glance_into_another(glance_a: Glance, glance_b: Glance) -> None:
    client = glance_a.client()
    image_id = client.add(DATA, name="a copy", visibility="public", color="red")["id"]
    lost = client.add(DATA)["id"]
    glance_a.data_path(lost).unlink()
    source = GlanceSource(api(glance_a.url))
    images = {image.id: image for image in source.images()}
    target = GlanceTarget(api(glance_b.url))
    assert target.receive(images[image_id], source, Counter()).clean
    assert carried(glance_b.client().show(image_id)) == carried(client.show(image_id))
    assert glance_b.client().download(image_id) == DATA
    assert target.receive(images[lost], source, Counter()).action is Action.REFUSED
