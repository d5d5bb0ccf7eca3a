"""The thin client: listings of all kinds of servers, calls and their errors."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from glancearchive.endpoints import image_list
from glancearchive.errors import (
    AccessError,
    ConflictError,
    NotFoundError,
    NotGlanceError,
    RefusedError,
    UnavailableError,
)
from tests.cloud.glance import Glance
from tests.glances import api
from tests.scripted_http import Reply, Request, ScriptedHttp


@pytest.fixture(scope="module")
def crowded(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Glance with 23 images of all kinds, some of the same second."""
    with Glance(tmp_path_factory.mktemp("crowded")) as glance:
        client = glance.client()
        for number in range(23):
            client.create(
                name=f"image {number}",
                visibility=("public", "community", "private", "shared")[number % 4],
                os_hidden=number % 5 == 0,
            )
        yield glance


def test_a_listing_is_complete_and_in_order(crowded: Glance, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = crowded.client().images()
    for page in (1000, 23, 7, 1):
        monkeypatch.setattr(image_list, "PAGE", page)
        found = list(api(crowded.url).images())
        assert len(found) == 23
        assert {image["id"]: image for image in found} == expected
        assert found == sorted(found, key=lambda image: image["created_at"])


class OldGlance:
    """Answers listings like a Glance that knows fewer parameters than today's."""

    def __init__(
        self, server: ScriptedHttp, refused: Callable[[dict[str, str]], bool], images: list[dict[str, Any]]
    ) -> None:
        self.images = images
        self.refused = refused
        server.responders["GET", "/v2/images"] = self.answer

    def answer(self, request: Request) -> Reply:
        query = {key: values[0] for key, values in parse_qs(urlsplit(request.path).query).items()}
        if self.refused(query):
            return Reply.json({"message": "Invalid value"}, 400)
        if "os_hidden" in query:
            return Reply.json({"images": []})  # taken for a property
        community = query.get("visibility") == "community"
        ids = [image["id"] for image in self.images]
        begin = ids.index(query["marker"]) + 1 if "marker" in query else 0
        limit = min(int(query["limit"]), 3)
        page = self.images[begin : begin + limit]
        answer: dict[str, Any] = {
            "images": [image for image in page if community == (image["visibility"] == "community")]
        }
        if len(page) == limit:
            answer["next"] = "/v2/images?marker=wrong"
        return Reply.json(answer)


@pytest.mark.parametrize(
    "refused",
    [
        lambda query: query.get("visibility") == "all",
        lambda query: bool({"visibility", "sort", "member_status"} & query.keys()),
    ],
    ids=["without visibility=all", "ancient"],
)
def test_older_servers(refused: Callable[[dict[str, str]], bool]) -> None:
    images = [
        {"id": str(uuid.UUID(int=number)), "created_at": f"2020-01-{number + 1:02}", "visibility": "public"}
        for number in range(10)
    ]
    with ScriptedHttp() as server:
        OldGlance(server, refused, images)
        assert list(api(server.url).images()) == images


def test_an_image_deleted_while_the_page_is_turned(
    monkeypatch: pytest.MonkeyPatch, make_glance: Callable[..., Glance]
) -> None:
    glance = make_glance()
    client = glance.client()
    ids = [client.create(id=str(uuid.UUID(int=number)))["id"] for number in range(1, 10)]
    monkeypatch.setattr(image_list, "PAGE", 3)
    listing = api(glance.url).images()
    found = [next(listing)["id"] for _ in range(3)]
    # The page's last two, one of which is the marker, vanish for good.
    for image in found[1:]:
        client.delete(image)
    found += [image["id"] for image in listing]
    assert sorted(found) == sorted(ids)


def test_a_marker_that_the_server_no_longer_knows() -> None:
    images = [{"id": name, "created_at": name, "visibility": "public"} for name in "abcdefgh"]
    with ScriptedHttp() as server:
        old = OldGlance(server, lambda query: query.get("marker") == "c", images)
        assert [image["id"] for image in api(server.url).images()] == list("abcdefgh")
        assert old.images


def test_a_server_that_refuses_every_listing_or_gives_nonsense() -> None:
    with ScriptedHttp() as server:
        server.on("GET", "/v2/images", Reply.json({"images": []}), Reply.json({"message": "no"}, 400))
        with pytest.raises(RefusedError, match="listing images: 400 Bad Request: no"):
            list(api(server.url).images())
        for nonsense in (
            Reply(200, b"<html>"),
            Reply.json([]),
            Reply.json({}),
            Reply.json({"images": [{"name": "x"}]}),
        ):
            server.on("GET", "/v2/images", Reply.json({"images": []}), nonsense)
            with pytest.raises(NotGlanceError):
                list(api(server.url).images())
            server.on("GET", "/v2/images", Reply.json({"images": []}))
            server.on("GET", "/v2/images/x", nonsense)
            with pytest.raises(NotGlanceError):
                api(server.url).get("x")


def test_errors_say_what_was_done_and_what_the_server_said(glance_a: Glance) -> None:
    client = api(glance_a.url)
    image_id = str(uuid.uuid4())
    with pytest.raises(NotFoundError, match=f"looking up image {image_id}: 404 Not Found: No image found") as caught:
        client.get(image_id)
    assert caught.value.request_id.startswith("req-")
    assert str(caught.value).endswith(f"[{caught.value.request_id}]")
    client.create({"id": image_id})
    with pytest.raises(ConflictError, match=r"409 Conflict: .* already exists"):
        client.create({"id": image_id})
    with pytest.raises(AccessError, match="Attribute 'size' is read-only"):
        client.create({"size": 3})
    with pytest.raises(RefusedError, match="400"):
        client.create({"name": 3})


def test_calls(glance_a: Glance) -> None:
    client = api(glance_a.url)
    image_id = client.create({"name": "Grüße", "visibility": "shared"})["id"]
    assert client.find(str(uuid.uuid4())) is None
    assert client.patch(image_id, [{"op": "add", "path": "/x", "value": "ÿ"}])["x"] == "ÿ"
    client.add_member(image_id, "p")
    client.set_member_status(image_id, "p", "rejected")
    assert [(member["member_id"], member["status"]) for member in client.members(image_id)] == [("p", "rejected")]
    client.remove_member(image_id, "p")
    assert client.members(image_id) == []
    client.delete(image_id)
    assert client.find(image_id) is None


def test_bounded_repetition_of_calls() -> None:
    with ScriptedHttp() as server:
        server.on("GET", "/v2/images", Reply.json({"images": []}))
        client = api(server.url)
        server.on("GET", "/v2/images/x", Reply(503, b"busy"))
        with pytest.raises(UnavailableError, match="busy"):
            client.get("x")
        assert server.count("GET", "/v2/images/x") == 4
        server.on("GET", "/v2/images/x", Reply(404, b"no"))
        with pytest.raises(NotFoundError):
            client.get("x")
        assert server.count("GET", "/v2/images/x") == 5


def test_errors_of_all_shapes_become_one_line() -> None:
    with ScriptedHttp() as server:
        server.on("GET", "/v2/images", Reply.json({"images": []}))
        client = api(server.url)
        for body, expected in (
            (b'{"message": "one<br /><br />\\n\\ntwo"}', "one two"),
            (b'{"error": {"message": "nested", "code": 409}}', "nested"),
            (b"<html><head><style>x{}</style></head><body>a &amp; b</body></html>", "a & b"),
            (b"", ""),
            (b"x" * 100_000, "x…"),
        ):
            server.on("GET", "/v2/images/x", Reply(409, body))
            with pytest.raises(ConflictError) as caught:
                client.get("x")
            assert str(caught.value).endswith(expected)
            assert len(str(caught.value)) < 500
