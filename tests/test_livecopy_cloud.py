"""Copying and comparing between two Glances behind one Keystone: owners, members, roles and regions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cloud.cloud import Cloud
from tests.cloud.images import pattern
from tests.command import Done
from tests.faults.zygote import Zygote

SMALL = pattern(200_001, 1)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as running:
        yield running


@pytest.fixture
def user(cloud: Cloud, zygote: Zygote) -> Callable[..., Done]:
    def go(*arguments: str) -> Done:
        return zygote.run(*arguments, env={"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml)})

    return go


def test_an_admin_carries_owners_and_members(cloud: Cloud, user: Callable[..., Done]) -> None:
    alpha, beta = cloud.projects["alpha"], cloud.projects["beta"]
    theirs = cloud.client(cloud.a, "other")
    shared = theirs.add(SMALL, name="live shared", visibility="shared", tags=["live"])
    theirs.add_member(shared["id"], alpha)
    private = cloud.client(cloud.a, "member").add(SMALL, name="live private", visibility="private", tags=["live"])
    done = user("livecopy", "admin-a", "admin-b", "--json", "--tag", "live")
    assert (done.code, done.stderr) == (0, "")
    there = cloud.client(cloud.b)
    assert {there.show(image["id"])["owner"] for image in (shared, private)} == {alpha, beta}
    assert [one["member_id"] for one in there.members(shared["id"])] == [alpha]
    compared = user("compare", "admin-a", "admin-b", "--json", "--tag", "live")
    assert (compared.code, compared.json["same"]) == (0, 2)
    sizes = user("size", "admin-a", "--tag", "live", "--owner", beta, "--json")
    assert [image["id"] for image in sizes.json["images"]] == [shared["id"]]


def test_two_regions_of_one_cloud(cloud: Cloud, zygote: Zygote, tmp_path: Path) -> None:
    image = cloud.client(cloud.a).add(SMALL, tags=["regions"])
    document = json.loads(cloud.clouds_yaml.read_text())
    document["clouds"] = {"both": document["clouds"]["admin-a"]}
    del document["clouds"]["both"]["region_name"]
    document["clouds"]["both"]["regions"] = ["RegionA", "RegionB"]
    (tmp_path / "clouds.yaml").write_text(json.dumps(document))
    env = {"OS_CLIENT_CONFIG_FILE": f"{tmp_path}/clouds.yaml"}
    ends = "--from-region", "RegionA", "--to-region", "RegionB"
    done = zygote.run("livecopy", "both", "both", "--json", "--tag", "regions", *ends, env=env)
    assert (done.code, done.images[image["id"]]["action"]) == (0, "copied")
    sides = "--a-region", "RegionA", "--b-region", "RegionB"
    compared = zygote.run("compare", "both", "both", "--json", "--tag", "regions", *sides, env=env)
    assert (compared.code, compared.json["same"]) == (0, 1)
    assert [compared.json[side]["source"] for side in "ab"] == [f"glance {one.url}" for one in (cloud.a, cloud.b)]
    for arguments in (["livecopy", "both", "both"], ["livecopy", "both", "both", "--region", "RegionA"]):
        same = zygote.run(*arguments, env=env)
        assert (same.code, "FROM and TO are the same" in same.error) == (2, True)
    same = zygote.run("compare", "both", "both", "--region", "RegionB", env=env)
    assert (same.code, same.error) == (2, "A and B are the same: both")


def test_a_member_copies_what_it_may_and_is_told_the_rest(cloud: Cloud, user: Callable[..., Done]) -> None:
    public = cloud.client(cloud.a).add(SMALL, visibility="public", tags=["mine"])
    mine = cloud.client(cloud.a, "member").add(SMALL, tags=["mine"])
    foreseen = user("livecopy", "member-a", "member-b", "--json", "--tag", "mine", "--dry-run")
    assert {image["action"] for image in foreseen.json["images"]} == {"copied"}
    done = user("livecopy", "member-a", "member-b", "--json", "--tag", "mine")
    assert done.code == 1
    assert done.images[mine["id"]]["dropped"] == []
    dropped = done.images[public["id"]]["dropped"]
    assert [line.partition(":")[0] for line in dropped] == ["owner", "visibility"]
    compared = user("compare", "member-a", "member-b", "--json", "--tag", "mine")
    (finding,) = compared.json["findings"]
    assert (finding["id"], finding["kind"], set(finding["fields"])) == (
        public["id"],
        "metadata",
        {"owner", "visibility"},
    )
    ignoring = user("compare", "member-a", "member-b", "--tag", "mine", "--ignore", "owner", "--ignore", "visib*")
    assert ignoring.code == 0
    # One cloud seen by two people is worth a comparison.
    views = user("compare", "admin-a", "member-a", "--json", "--tag", "mine")
    assert (views.code, views.json["same"]) == (0, 2)
