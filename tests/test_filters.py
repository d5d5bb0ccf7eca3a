"""What is chosen is asked of the Glance, as far as it filters as we do; what comes of it is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from glancearchive.endpoints.glance_source import GlanceSource
from glancearchive.operations.select import Selection
from tests.cloud.cloud import Cloud
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.command import run
from tests.glances import api
from tests.scripted_http import Reply, ScriptedHttp

DATA = pattern(10_001)
PROPERTY = {"os_distro": "debian", "n": "1", "sort": "up", "limit": "x", "colon": "in:a", "blank": "a ", "ä": "ö, ü"}


@pytest.fixture(scope="module")
def glance(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """One image with every property above, one with none, one queued, one hidden, one deactivated, one deleted."""
    with Glance(tmp_path_factory.mktemp("filtered")) as running:
        client = running.client()
        full = client.add(DATA, name="full", tags=["a", "b c"], visibility="public", owner="p1", **PROPERTY)
        client.add(DATA, name="plain", tags=["a"], visibility="shared", owner="p2", os_distro="Debian")
        client.create(name="queued", visibility="community", os_distro="debian", owner="p1")
        client.add(DATA, name="hidden", os_hidden=True, os_distro="debian", tags=["b c"], visibility="private")
        off = client.add(DATA, name="off", os_distro="debian", n="2")
        client.call("POST", f"/v2/images/{off['id']}/actions/deactivate").raise_for_status()
        client.delete(client.add(DATA, name="gone", os_distro="debian")["id"])
        assert full["status"] == "active"
        yield running


CONDITIONS = [
    [("name", "full")],
    [("name", "f*")],
    [("tag", "a")],
    [("tag", "b c")],
    [("tag", "a"), ("tag", "b c")],
    [("owner", "p1")],
    *([("visibility", word)] for word in ("public", "community", "shared", "private")),
    *([("status", word)] for word in ("active", "queued", "deactivated", "deleted", "killed")),
    *([("property", f"{key}={value}")] for key, value in PROPERTY.items()),
    [("property", "disk_format=raw")],
    [("property", "protected=false")],
    [("property", "min_disk=0")],
    [("property", "os_distro=debian"), ("property", "os_distro=Debian")],
    [("property", "os_distro=debian"), ("property", "n=1")],
    [("tag", "a"), ("owner", "p1"), ("status", "active")],
    [("image", "full"), ("tag", "b")],
    [],
]


@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_the_choice_is_the_same(conditions: list[tuple[str, str]], glance: Glance) -> None:
    def chosen(wanted: dict[str, str]) -> list[str]:
        selection = Selection(conditions)
        images = GlanceSource(api(glance.url), wanted).images()
        return [image.name for image in images if selection.chooses(image.metadata)]

    assert chosen(Selection(conditions).filters) == chosen({})


def test_what_is_asked_for() -> None:
    conditions = [("tag", "lts"), ("owner", "p"), ("property", "os_distro=debian"), ("visibility", "public")]
    expected = {"tag": "lts", "owner": "p", "os_distro": "debian", "visibility": "public"}
    assert Selection(conditions).filters == expected
    assert Selection([*conditions, ("since", "7d")], ["tag=old"]).filters == expected
    assert Selection([*conditions, ("image", "x")]).filters == {}
    unfit = [("tag", "l*"), ("status", "deleted"), ("property", "sort=up"), ("property", "n=in:a"), ("name", " a")]
    assert Selection(unfit).filters == {}


def test_the_server_lists_what_is_asked_for(glance: Glance, tmp_path: Path) -> None:
    with ScriptedHttp(glance.url) as proxy:
        done = run("dump", proxy.url, tmp_path / "a.gla", "--json", "--tag", "b c", "--property", "os_distro=debian")
        assert (done.code, sorted(image["name"] for image in done.json["images"])) == (0, ["full", "hidden"])
        listings = [request.path for request in proxy.requests if "sort=created_at" in request.path]
    assert listings
    assert all("tag=b+c" in path and "os_distro=debian" in path for path in listings)


class Refusing(ScriptedHttp):
    """A server that takes no filter by owner."""

    def take(self, method: str, path: str) -> Reply:
        return Reply(400, b"no such filter") if "owner=" in path else super().take(method, path)


def test_a_server_that_refuses_a_filter_is_asked_for_all(glance: Glance) -> None:
    """As an old one may; the choice is made here in any case."""
    with Refusing(glance.url) as proxy:
        images = list(GlanceSource(api(proxy.url), {"owner": "p1"}).images())
    assert {"full", "plain", "hidden"} < {image.name for image in images}


def test_a_member_chooses_among_what_it_sees(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    client = cloud.client(cloud.a, "member")
    names = ("private", "shared", "community")
    for word in names:
        client.add(DATA, name=word, visibility=word, mine="1")
    other = cloud.client(cloud.a, "other").add(DATA, name="theirs", visibility="shared", mine="1")
    cloud.client(cloud.a, "other").add_member(other["id"], cloud.projects["alpha"])
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    for word in names:
        conditions = [("visibility", word), ("property", "mine=1")]
        selections = [Selection(conditions) for _ in range(2)]
        sources = [GlanceSource(api("member-a"), wanted) for wanted in (selections[0].filters, {})]
        found = [
            sorted(image.name for image in source.images() if selection.chooses(image.metadata))
            for source, selection in zip(sources, selections, strict=True)
        ]
        assert found[0] == found[1]
        assert word in found[0]
