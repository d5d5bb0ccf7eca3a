"""What shall be otherwise at the target: fields, owners and members, stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glancearchive.endpoints.glance_stores import require_store
from glancearchive.endpoints.keystone import Projects, project_map
from glancearchive.endpoints.mapping import Changes, Mapped, owner_pairs, read_changes
from glancearchive.endpoints.policy import MARK, SOURCE_ID
from glancearchive.errors import UsageError
from glancearchive.image import Action, Image, Outcome
from glancearchive.operations.load import load
from tests.archives import write_archive
from tests.cloud.cloud import Cloud
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.command import Done
from tests.glances import Counter, Shelf, api, metadata

DATA = pattern(100_001)


def run(url: str, changes: Changes, *images: Image, **options: Any) -> list[Outcome]:
    source = Mapped(Shelf(*((image, DATA) for image in images)), changes)
    return list(load(source, api(url), progress=Counter(), **options))


def one(url: str, changes: Changes, image: Image, **options: Any) -> Outcome:
    (outcome,) = run(url, changes, image, **options)
    return outcome


# Pure.


def test_fields_are_set_with_their_types_and_left_out() -> None:
    settings = ["min_disk=7", "protected=true", "os_hidden=false", "visibility=shared", "tags=a,b", "x=a=b", "y="]
    changes = read_changes(settings, ["hw_disk_bus", "name", "min_ram", "owner", "not there"])
    before = Image(metadata(name="n", min_ram=5, owner="o", hw_disk_bus="ide", z="1"))
    after = changes.applied(before).metadata
    expected = {"min_disk": 7, "protected": True, "os_hidden": False, "visibility": "shared", "tags": ["a", "b"]}
    expected |= {"x": "a=b", "y": "", "name": None, "min_ram": 0}
    assert after == {key: v for key, v in before.metadata.items() if key not in ("hw_disk_bus", "owner")} | expected


def test_nothing_asked_for_changes_nothing() -> None:
    image = Image(metadata())
    assert Changes().applied(image) is image


@pytest.mark.parametrize(
    ("settings", "unset", "words"),
    [
        (["min_disk"], [], "expected KEY=VALUE"),
        (["=x"], [], "expected KEY=VALUE"),
        (["min_disk=x"], [], "expected a number"),
        (["min_ram=-1"], [], "expected a number"),
        (["protected=yes"], [], "expected true or false"),
        (["visibility=all"], [], "expected one of public, community, shared, private"),
        (["owner="], [], "expected a project's id"),
        (["disk_format="], [], "expected a format"),
        (["id=x"], [], "--id-policy"),
        (["checksum=x"], [], "cannot be chosen: Glance computes it"),
        (["os_hash_value=x"], [], "cannot be chosen"),
        (["os_glance_x=x"], [], "cannot be chosen"),
        ([f"{MARK}=x"], [], "cannot be chosen"),
        ([f"{SOURCE_ID}=x"], [], "cannot be chosen"),
        (["a=1", "a=2"], [], "given twice"),
        (["a=1"], ["a"], "is set as well"),
        ([], ["disk_format"], "--unset disk_format"),
        ([], ["id"], "--id-policy"),
        ([], ["size"], "cannot be chosen"),
    ],
)
def test_changes_that_make_no_sense(settings: list[str], unset: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=r"--(un)?set") as caught:
        read_changes(settings, unset)
    assert words in str(caught.value)


@pytest.mark.parametrize("texts", [["a"], ["=b"], ["a="], ["a=b", "a=c"]])
def test_owners_that_make_no_sense(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="--map owner"):
        owner_pairs(texts)


def test_members_follow_their_projects() -> None:
    members = [{"member_id": one, "status": "accepted"} for one in ("b", "c", "d", "e")]
    image = Image(metadata(owner="a", visibility="shared"), members)
    after = Changes(owners={"a": "A", "b": "B", "c": "A", "e": "B"}).applied(image)
    assert after.metadata["owner"] == "A"
    assert [(one["member_id"], one["status"]) for one in after.members] == [("B", "accepted"), ("d", "accepted")]


def test_a_project_that_nothing_belongs_to() -> None:
    image = Image(metadata(owner="a", visibility="shared"), [{"member_id": "b"}])
    shelf = Shelf((image, DATA))
    assert len(list(Mapped(shelf, Changes(owners={"a": "x", "b": "y"})).images())) == 1
    with pytest.raises(UsageError, match="no image to be copied belongs to project other or") as named:
        list(Mapped(shelf, Changes(owners={"a": "x", "other": "y"})).images())
    assert "where no Keystone knows its name, OLD has to be an id; the projects of these images are a, b" in str(
        named.value
    )
    with pytest.raises(UsageError, match="shared with it; the projects of these images are a, b"):
        list(Mapped(shelf, Changes(owners={"5f1a7c9e20b84d3fa6c1e58b90d2473f": "y"})).images())


# At a Glance.


def test_what_was_asked_for_is_no_finding(glance_b: Glance) -> None:
    image = Image(
        metadata(DATA, visibility="public", protected=True, hw_disk_bus="ide", number=5)
        | {"cinder_encryption_key_deletion_policy": "on_image_deletion"}
    )
    settings = ["visibility=private", "protected=false", "min_disk=3", "color=red", "name=other", "tags=new"]
    unset = ["hw_disk_bus", "number", "cinder_encryption_key_deletion_policy"]
    for action in (Action.COPIED, Action.PRESENT):
        outcome = one(glance_b.url, read_changes(settings, unset), image)
        assert (outcome.action, outcome.reason, outcome.dropped, outcome.differences) == (action, "", [], [])
        assert outcome.clean
    found = glance_b.client().show(image.id)
    expected = {"visibility": "private", "protected": False, "min_disk": 3, "color": "red", "name": "other"}
    assert found.items() >= (expected | {"tags": ["new"]}).items()
    assert not found.keys() & set(unset)
    other = one(glance_b.url, read_changes(["color=blue"], [*unset, "name", "min_disk"]), image, update_metadata=True)
    assert (other.action, other.clean) == (Action.UPDATED, True)
    found = glance_b.client().show(image.id)
    assert (found["color"], found["name"], found["min_disk"], found["protected"]) == ("blue", None, 0, True)


def test_a_wrong_format_can_be_put_right(glance_b: Glance) -> None:
    image = Image(metadata(DATA, disk_format="qcow2"))
    assert one(glance_b.url, Changes(), image).action is Action.FAILED
    outcome = one(glance_b.url, read_changes(["disk_format=raw"], []), image)
    assert (outcome.action, outcome.clean) == (Action.COPIED, True)
    assert glance_b.client().show(image.id)["disk_format"] == "raw"


def test_a_value_that_the_server_refuses_is_told(glance_b: Glance) -> None:
    outcome = one(glance_b.url, read_changes([f"name={'n' * 256}"], []), Image(metadata(DATA)))
    assert outcome.action is Action.COPIED
    assert [line.partition(":")[0] for line in outcome.dropped] == ["name"]


def test_stores(make_glance: Callable[..., Glance], tmp_path: Path) -> None:
    options = {
        "DEFAULT": {"enabled_backends": "main:file,fast:file,web:http"},
        "fast": {"filesystem_store_datadir": str(tmp_path / "fast")},
    }
    glance = make_glance(options=options)
    here = api(glance.url)
    require_store(here, "fast")
    with pytest.raises(UsageError, match=r"no such store; it has main \(default\), fast, web \(read-only\)$"):
        require_store(here, "slow")
    with pytest.raises(UsageError, match="only reads"):
        require_store(here, "web")
    first, second = Image(metadata(DATA)), Image(metadata(DATA))
    assert one(glance.url, Changes(), first, store="fast").clean
    assert one(glance.url, Changes(), second).clean
    stores = {image.id: glance.client().show(image.id)["stores"] for image in (first, second)}
    assert stores == {first.id: "fast", second.id: "main"}
    assert (tmp_path / "fast" / first.id).stat().st_size == len(DATA)


# Behind a Keystone, by the command line.


@pytest.fixture
def images(cloud: Cloud) -> list[dict[str, Any]]:
    """One of the project `gone`, shared with `partner`, and one of nobody."""
    return [metadata(DATA, owner="gone", visibility="shared"), metadata(b"second", owner="partner", x="1")]


@pytest.fixture
def archive(images: list[dict[str, Any]], tmp_path: Path) -> Path:
    members = {images[0]["id"]: [{"member_id": "partner", "status": "pending"}]}
    return write_archive(tmp_path / "a.gla", (images[0], DATA), (images[1], b"second"), members=members)


def test_owners_by_id_and_by_name(
    cloud: Cloud, user: Callable[..., Done], archive: Path, images: list[dict[str, Any]]
) -> None:
    alpha, beta = cloud.projects["alpha"], cloud.projects["beta"]
    maps = "--map", "owner", "gone=alpha", "--map", "owner", f"partner={beta}"
    for action in ("copied", "present"):
        done = user("load", "admin-b", archive, "--json", *maps)
        assert (done.code, {image["action"] for image in done.json["images"]}) == (0, {action}), done.stderr
    there = cloud.client(cloud.b)
    assert [there.show(image["id"])["owner"] for image in images] == [alpha, beta]
    assert [member["member_id"] for member in there.members(images[0]["id"])] == [beta]
    compared = user("load", "admin-b", archive, "--json")
    assert compared.code == 1  # without the map it is another owner
    hint = "--update-metadata brings metadata that differ into line"
    assert (hint in compared.stderr, hint in done.stderr) == (True, False)


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        (["gone=alpha", "typo=beta"], "; the projects of these images are gone, "),
        (["gone=nobody", "partner=neither"], "no such project at the target: neither, nobody"),
        (["gone=alpha", "typo=beta"], "no image to be copied belongs to project typo"),
        (["gone"], "expected OLD=NEW"),
    ],
)
def test_maps_with_unknown_projects(
    maps: list[str], words: str, cloud: Cloud, user: Callable[..., Done], archive: Path, images: list[dict[str, Any]]
) -> None:
    options = [part for pair in maps for part in ("--map", "owner", pair)]
    for mode in ([], ["--dry-run"]):
        done = user("load", "admin-b", archive, "--json", *options, *mode)
        assert (done.code, done.stdout) == (2, b"")
        assert words in done.error
    assert not cloud.client(cloud.b).images().keys() & {image["id"] for image in images}


def test_a_member_may_map_what_it_knows(
    cloud: Cloud, user: Callable[..., Done], archive: Path, images: list[dict[str, Any]]
) -> None:
    """It belongs to alpha, and nobody tells it of beta but by the id."""
    unknown = user("load", "member-b", archive, "--map", "owner", "partner=beta")
    assert (unknown.code, "no such project at the target: beta" in unknown.error) == (2, True)
    maps = "--map", "owner", "gone=alpha", "--map", "owner", f"partner={cloud.projects['beta']}"
    done = user("load", "member-b", archive, "--json", *maps)
    first, second = (done.images[image["id"]] for image in images)
    assert (first["action"], first["dropped"]) == ("copied", [])
    assert [line.partition(":")[0] for line in second["dropped"]] == ["owner"]
    members = cloud.client(cloud.b).members(images[0]["id"])
    assert [member["member_id"] for member in members] == [cloud.projects["beta"]]
    assert "is not for this user to ask; it is taken as it is" in done.stderr


def test_livecopy_knows_the_names_at_both_ends(cloud: Cloud, user: Callable[..., Done], tmp_path: Path) -> None:
    image = cloud.client(cloud.a, "other").add(DATA, tags=["mapped"])
    ids = tmp_path / "ids.json"
    changes = "--map", "owner", "beta=alpha", "--set", "tags=arrived", "--set", "visibility=public", "--store", "main"
    arguments = "livecopy", "admin-a", "admin-b", "--json", "--tag", "mapped", *changes, "--id-map-out", ids
    done = user(*arguments)
    assert (done.code, done.images[image["id"]]["action"]) == (0, "copied"), done.stderr
    found = cloud.client(cloud.b).show(image["id"])
    assert (found["owner"], found["visibility"], found["tags"]) == (cloud.projects["alpha"], "public", ["arrived"])
    assert json.loads(ids.read_text()) == {image["id"]: image["id"]}
    again = user(*arguments, "--dry-run")
    assert (again.code, again.images[image["id"]]["action"]) == (0, "present")
    none = user("livecopy", "admin-a", "admin-b", "--store", "nowhere")
    assert (none.code, "no such store; it has main (default)" in none.error) == (2, True)


def test_names_of_several_projects(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = cloud.keystone.call("POST", "/domains", {"domain": {"name": "another"}})["domain"]["id"]
    for where in ("default", domain):
        cloud.keystone.call("POST", "/projects", {"project": {"name": "twice", "domain_id": where}})
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    projects = Projects(api("admin-b").cloud)
    with pytest.raises(UsageError, match="2 projects are named 'twice'"):
        projects.find("twice")
    alpha = cloud.projects["alpha"]
    with pytest.raises(UsageError, match=f"project {alpha} is mapped twice"):
        project_map({"alpha": "beta", alpha: "beta"}, projects, projects)
