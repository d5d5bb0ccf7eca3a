"""A load plans by a listing: what it saves, and that what is out of date in it does no harm."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from glancearchive.endpoints import glance_listing, policy
from glancearchive.endpoints.glance_listing import Listing, take_listing
from glancearchive.endpoints.glance_target import GlanceTarget
from glancearchive.errors import ConnectError, UnavailableError
from glancearchive.image import Action, Image, Outcome
from glancearchive.operations.load import load
from tests.cloud.glance import Glance
from tests.glances import DATA, Counter, Memory, Shelf, api, metadata
from tests.scripted_http import Reply, ScriptedHttp

PAGE = 10


@pytest.fixture(scope="module")
def paged(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Glance that gives ten images at a time."""
    with Glance(tmp_path_factory.mktemp("paged"), options={"DEFAULT": {"api_limit_max": PAGE}}) as glance:
        yield glance


def shelf(number: int) -> Shelf:
    """Images of some bytes; the first is shared, the second hidden, the third has no data."""
    more: list[dict[str, Any]] = [{"visibility": "shared"}, {"os_hidden": True}, {}]
    images = []
    for index in range(number):
        data = b"%d" % index
        if index == 2:
            images.append((Image(metadata(b"", status="queued", size=None, checksum=None), absent="queued"), b""))
            continue
        members = [{"member_id": "p1", "status": "accepted"}] if index == 0 else []
        images.append((Image(metadata(data, **(more[index] if index < len(more) else {})), members), data))
    return Shelf(*images)


def run(url: str, source: Shelf, **options: Any) -> dict[str, Outcome]:
    return {one.id: one for one in load(source, api(url), progress=Counter(), **options)}


def test_loading_again_asks_for_the_listing_and_the_members_only(paged: Glance) -> None:
    source = shelf(40)
    run(paged.url, source)
    before = paged.client().images()
    source.reads.clear()
    with ScriptedHttp(paged.url) as proxy:
        outcomes = run(proxy.url, source)
        asked = [f"{one.method} {one.path}" for one in proxy.requests]
    assert {one.action for one in outcomes.values()} == {Action.PRESENT, Action.NO_DATA}
    assert all(one.clean for one in outcomes.values())
    assert source.reads == {}
    listings = [one for one in asked if one.startswith("GET /v2/images?")]
    members = [one for one in asked if one.endswith("/members")]
    assert len(listings) + len(members) == len(asked)
    assert len(members) == 1
    assert len(listings) <= 1 + len(before) // PAGE + 1 + 1  # the first contact, the visible ones, the hidden ones
    assert paged.client().images() == before


def test_a_first_load_does_not_look_for_what_is_not_there(glance_b: Glance) -> None:
    image = Image(metadata(b"1"))
    with ScriptedHttp(glance_b.url) as proxy:
        outcomes = run(proxy.url, Shelf((image, b"1")))
        first = next(one for one in proxy.requests if not one.path.startswith("/v2/images?"))
    assert outcomes[image.id].action is Action.COPIED
    assert (first.method, first.path) == ("POST", "/v2/images")


def receive(glance: Glance, image: Image, listing: Listing, **options: Any) -> Outcome:
    return GlanceTarget(api(glance.url), listing=listing, **options).receive(image, Memory(DATA), Counter())


def listed(glance: Glance, image: Image) -> Listing:
    found = take_listing(api(glance.url), {image.id}, needed=True)
    assert found.complete
    return found


def test_an_image_that_came_after_the_listing_is_found(glance_b: Glance) -> None:
    image = Image(metadata())
    listing = listed(glance_b, image)
    glance_b.client().add(DATA, id=image.id, name=image.name)
    assert receive(glance_b, image, listing).action is Action.PRESENT


def test_an_image_that_another_load_began_after_the_listing_is_finished(glance_b: Glance) -> None:
    image = Image(metadata(visibility="public"))
    listing = listed(glance_b, image)
    glance_b.client().create(**policy.creation_body(image, policy.mark_for(image)))
    assert receive(glance_b, image, listing).action is Action.COPIED
    assert glance_b.client().show(image.id)["visibility"] == "public"


def test_an_image_that_was_finished_after_the_listing_is_not_begun_again(glance_b: Glance) -> None:
    image = Image(metadata())
    client = glance_b.client()
    client.create(**policy.creation_body(image, policy.mark_for(image)))
    listing = listed(glance_b, image)
    GlanceTarget(api(glance_b.url)).receive(image, Memory(DATA), Counter())
    source = Memory(DATA)
    outcome = GlanceTarget(api(glance_b.url), listing=listing).receive(image, source, Counter())
    assert (outcome.action, source.reads) == (Action.PRESENT, 0)


def test_metadata_that_changed_after_the_listing_are_updated_as_they_are_now(glance_b: Glance) -> None:
    image = Image(metadata(color="red"))
    client = glance_b.client()
    client.add(DATA, id=image.id, name=image.name)
    listing = listed(glance_b, image)
    client.patch(image.id, {"op": "add", "path": "/color", "value": "blue"}, {"op": "add", "path": "/x", "value": "y"})
    outcome = receive(glance_b, image, listing, update_metadata=True)
    assert (outcome.action, outcome.clean) == (Action.UPDATED, True)
    assert client.show(image.id)["color"] == "red"
    assert "x" not in client.show(image.id)


@pytest.mark.parametrize("update", [False, True])
def test_an_image_that_was_deleted_after_the_listing(glance_b: Glance, update: bool) -> None:
    """It had other data, or other metadata: whatever is said of it is said after another look."""
    for image in (Image(metadata()), Image(metadata(b"other"))):
        client = glance_b.client()
        client.add(DATA, id=image.id, name="renamed")
        listing = listed(glance_b, image)
        client.delete(image.id)
        outcome = receive(glance_b, image, listing, update_metadata=update)
        if image.size == len(DATA) and not update:
            assert outcome.action is Action.PRESENT  # it was, when the load began
        else:
            assert outcome.action in (Action.CONFLICT, Action.FAILED)
        assert image.id not in client.images()


def test_a_small_archive_is_not_the_reason_to_list_a_large_glance(
    paged: Glance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paged.url, shelf(30))
    monkeypatch.setattr(glance_listing, "PAGE", PAGE)
    last = Image(metadata())  # created last, and so it is listed last
    paged.client().add(DATA, id=last.id, name=last.name)
    with ScriptedHttp(paged.url) as proxy:
        outcomes = run(proxy.url, Shelf((last, DATA)))
        asked = [one.path for one in proxy.requests]
    assert outcomes[last.id].action is Action.PRESENT
    assert len(asked) <= 5
    assert f"/v2/images/{last.id}" in asked  # looked up by itself


def test_a_listing_that_fails_costs_requests_only(glance_b: Glance, caplog: pytest.LogCaptureFixture) -> None:
    source = shelf(4)
    run(glance_b.url, source)
    with ScriptedHttp(glance_b.url) as proxy:
        client = api(proxy.url)
        proxy.on("GET", "/v2/images", Reply(500, b"a row that cannot be shown"))
        with caplog.at_level(logging.WARNING):
            outcomes = list(load(source, client, progress=Counter()))
        assert "looked up by itself" in caplog.text
        assert {one.action for one in outcomes} == {Action.PRESENT, Action.NO_DATA}
        with pytest.raises(UnavailableError):
            take_listing(client, set(), needed=True)
        proxy.on("GET", "/v2/images", Reply(drop=True))
        with pytest.raises(ConnectError):
            list(load(source, client, progress=Counter()))
