"""Metadata definitions: archived beside the images, brought into another Glance, compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from glancearchive.endpoints.archive_source import DEFINITIONS, MAX_DEFINITIONS
from glancearchive.endpoints.glance_source import GlanceSource
from glancearchive.endpoints.metadefs import carried, namespace_differences, parsed, read_namespace, replace_namespace
from glancearchive.errors import AccessError, FormatError
from glancearchive.operations.definitions import WithDefinitions
from tests.archives import write_archive
from tests.cloud.cloud import Cloud
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.command import Done, run
from tests.glances import api, metadata
from tests.scripted_http import Reply, ScriptedHttp

DATA = pattern(50_001)
PATH = "/v2/metadefs/namespaces"
# Where there is no Keystone somebody has to be named.
RICH = {
    "namespace": "OS::Compute::Test",
    "owner": "somebody",
    "display_name": "Prüfung",
    "description": "all that a namespace can have",
    "visibility": "public",
    "protected": True,
    "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_", "properties_target": "image"}],
    "properties": {
        "owner": {"title": "Owner", "type": "string", "enum": ["a", "b"], "default": "a"},
        "schema": {"title": "Schema", "type": "integer", "minimum": 0, "maximum": 9},
    },
    "objects": [
        {"name": "thing", "description": "d", "required": ["x"], "properties": {"x": {"title": "X", "type": "boolean"}}}
    ],
    "tags": [{"name": "fast"}, {"name": "slow"}],
}
PLAIN = {"namespace": "a b", "owner": "somebody", "visibility": "private", "protected": False}


@pytest.fixture
def pair(make_glance: Callable[..., Glance]) -> tuple[Glance, Glance]:
    """Two Glances; the first has one image, and both namespaces."""
    here, there = make_glance(), make_glance()
    client = here.client()
    client.add(DATA, name="an image")
    for namespace in (RICH, PLAIN):
        client.call("POST", PATH, json=namespace).raise_for_status()
    return here, there


def fates(done: Done) -> dict[str, str]:
    return {one["namespace"]: one["fate"] for one in done.json["definitions"]}


def at(glance: Glance, name: str) -> dict[str, Any]:
    found: dict[str, Any] = glance.client().call("GET", f"{PATH}/{name}").json()
    return found


def test_through_an_archive(pair: tuple[Glance, Glance], tmp_path: Path) -> None:
    here, there = pair
    path = tmp_path / "a.gla"
    done = run("dump", here.url, path, "--metadefs", "--json")
    assert (done.code, done.images[DEFINITIONS]["verified"]) == (0, "sha512"), done.stderr
    assert run("verify", "--glance-hash", path).code == 0
    with glancearchive.open(path) as archive, archive.find(DEFINITIONS)[0].open() as file:
        namespaces = {one["namespace"]: one for one in json.load(file)["namespaces"]}
    assert namespace_differences(namespaces[RICH["namespace"]], RICH) == []
    assert namespaces[RICH["namespace"]]["properties"] == RICH["properties"]
    # Without being asked for, nothing is done with them, and they are no image.
    plain = run("load", there.url, path, "--json")
    assert (plain.code, len(plain.json["images"]), plain.json["definitions"]) == (0, 1, [])
    assert there.client().call("GET", PATH).json()["namespaces"] == []
    assert len(run("size", path, "--json").json["images"]) == 1
    both = dict.fromkeys((RICH["namespace"], PLAIN["namespace"]), "created")
    for command in (["plan", path, there.url], ["load", there.url, path, "--dry-run"]):
        assert fates(run(*command, "--metadefs", "--json")) == both
    assert there.client().call("GET", PATH).json()["namespaces"] == []
    done = run("load", there.url, path, "--metadefs", "--json")
    assert (done.code, fates(done)) == (0, both)
    assert namespace_differences(carried(at(there, RICH["namespace"])), carried(at(here, RICH["namespace"]))) == []
    again = run("load", there.url, path, "--metadefs", "--json")
    assert (again.code, set(fates(again).values())) == (0, {"present"})
    for a, b in ((here.url, there.url), (path, there.url), (here.url, path)):
        assert (done := run("compare", a, b, "--metadefs", "--json")).code == 0, done.text
        assert done.json["definitions"] == []


def test_damaged_ones_are_sent_again(pair: tuple[Glance, Glance], tmp_path: Path) -> None:
    here, there = pair
    path, need, repair = tmp_path / "a.gla", tmp_path / "need", tmp_path / "repair.gla"
    assert run("dump", here.url, path, "--metadefs", "--jobs", "1").code == 0
    with glancearchive.open(path) as archive:
        frames = {frame.header().payload_offset for frame, _, _ in archive.find(DEFINITIONS)[0].frames()}
    data = bytearray(path.read_bytes())
    for offset in frames:
        data[offset + 40] ^= 0x10
    path.write_bytes(data)
    assert run("verify", path, "--need", need).code == 1
    assert DEFINITIONS in {image["id"] for image in json.loads(need.read_text())["images"]}
    done = run("dump", here.url, repair, "--for", need, "--json")
    assert (done.code, done.images[DEFINITIONS]["action"]) == (0, "copied"), done.text
    done = run("load", there.url, path, "--with", repair, "--metadefs", "--json")
    assert fates(done) == dict.fromkeys((RICH["namespace"], PLAIN["namespace"]), "created"), done.stderr
    here.client().call("DELETE", f"{PATH}/a%20b").raise_for_status()
    done = run("dump", here.url, tmp_path / "other.gla", "--for", need, "--json")
    assert (done.code, done.images[DEFINITIONS]["action"]) == (1, "failed")
    assert "the source has" in done.images[DEFINITIONS]["reason"]


def test_one_that_differs_is_left_alone_unless_asked(pair: tuple[Glance, Glance]) -> None:
    here, there = pair
    changed = {
        **RICH,
        "description": "another",
        "tags": [{"name": "fast"}],
        "properties": {
            **RICH["properties"],
            "schema": {"title": "Schema", "type": "string"},
            "more": {"title": "M", "type": "string"},
        },
    }
    there.client().call("POST", PATH, json=changed).raise_for_status()
    name = RICH["namespace"]
    before = at(there, name)
    done = run("livecopy", here.url, there.url, "--metadefs", "--json")
    assert (done.code, fates(done)) == (1, {name: "differs", PLAIN["namespace"]: "created"})
    (one,) = [one for one in done.json["definitions"] if one["namespace"] == name]
    assert one["differences"] == [
        "description: target has 'another', source has 'all that a namespace can have'",
        "property more: only the target has it",
        "property schema: differs",
        "tag slow: only the source has it",
    ]
    assert at(there, name) == before
    compared = run("compare", here.url, there.url, "--metadefs", "--json")
    assert (compared.code, fates(compared)) == (1, {name: "differs"})
    assert compared.json["definitions"][0]["differences"] == one["differences"]
    updated = run("livecopy", here.url, there.url, "--metadefs", "--update-metadata", "--json")
    assert updated.code == 0, updated.stderr
    assert fates(updated) == {name: "updated", PLAIN["namespace"]: "present"}
    assert namespace_differences(carried(at(there, name)), carried(at(here, name))) == []


def test_one_that_cannot_be_replaced_stays(pair: tuple[Glance, Glance]) -> None:
    here, there = pair
    there.client().call("POST", PATH, json={**PLAIN, "description": "old"}).raise_for_status()
    with ScriptedHttp(there.url) as proxy:
        forward = Reply(forward=True)
        # Of two creations of it the first is refused; the second brings back what was there.
        proxy.on("POST", PATH, forward, Reply(400, b"no"), forward)
        done = run("livecopy", here.url, proxy.url, "--metadefs", "--update-metadata", "--json")
    assert (done.code, fates(done)[PLAIN["namespace"]]) == (1, "failed")
    assert at(there, "a%20b")["description"] == "old"


def test_one_that_may_not_be_deleted_is_protected_again(make_glance: Callable[..., Glance]) -> None:
    there = make_glance()
    there.client().call("POST", PATH, json={**PLAIN, "protected": True}).raise_for_status()
    with ScriptedHttp(there.url) as proxy:
        proxy.on("DELETE", f"{PATH}/a%20b", Reply(403, b"no"))
        server = api(proxy.url)
        with pytest.raises(AccessError):
            replace_namespace(server, read_namespace(server, "a b"), PLAIN)
    assert at(there, "a%20b")["protected"] is True


@pytest.mark.parametrize("part", ["properties", "objects", "resource_type_associations", "tags"])
@pytest.mark.parametrize("wrong", [5, "x", [5]])
def test_parts_of_another_shape(part: str, wrong: object) -> None:
    with pytest.raises(FormatError, match=f"not what they should be: the {part} of 'a b' are no"):
        parsed(json.dumps({"namespaces": [{**PLAIN, part: wrong}]}).encode())


def test_appended_when_they_change(pair: tuple[Glance, Glance], tmp_path: Path) -> None:
    here, _ = pair
    path = tmp_path / "a.gla"
    assert run("dump", here.url, path).code == 0
    lacking = run("dump", here.url, path, "--metadefs")
    assert (lacking.code, "--append adds them" in lacking.error) == (3, True)
    assert (
        "has no metadata definitions; dump --metadefs archives them" in run("load", here.url, path, "--metadefs").error
    )
    for expected in ("copied", "present"):
        done = run("dump", here.url, path, "--metadefs", "--append", "--json")
        assert (done.code, done.images[DEFINITIONS]["action"]) == (0, expected)
    here.client().call("DELETE", f"{PATH}/a%20b").raise_for_status()
    done = run("dump", here.url, path, "--metadefs", "--append", "--json")
    assert (done.code, done.images[DEFINITIONS]["action"]) == (0, "copied")
    assert fates(run("compare", path, here.url, "--metadefs", "--json")) == {}


def test_where_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(DATA)
    done = run("dump", tmp_path / "disk.img", tmp_path / "a.gla", "--metadefs")
    assert (done.code, "--metadefs: files has no metadata definitions" in done.error) == (2, True)


def test_definitions_that_are_damaged(make_glance: Callable[..., Glance], tmp_path: Path) -> None:
    text = json.dumps({"namespaces": [PLAIN]}).encode()
    path = write_archive(tmp_path / "a.gla", (metadata(DATA), DATA), (metadata(text, id=DEFINITIONS), text))
    there = make_glance()
    assert fates(run("load", there.url, path, "--metadefs", "--json")) == {PLAIN["namespace"]: "created"}
    for number, wrong in enumerate(
        (b"{", b"{}", b'{"namespaces": [{}]}', b"[]", b'{"namespaces": [{"namespace": 5}]}')
    ):
        path = write_archive(
            tmp_path / f"{number}.gla", (metadata(DATA), DATA), (metadata(wrong, id=DEFINITIONS), wrong)
        )
        with pytest.raises(FormatError, match="the metadata definitions are not what they should be"):
            parsed(wrong)
        done = run("load", there.url, path, "--metadefs", "--json")
        assert (done.code, done.json["ok"], done.json["definitions"]) == (1, False, [])
        assert "the metadata definitions are not what they should be" in done.stderr


def test_those_that_extract_wrote(pair: tuple[Glance, Glance], tmp_path: Path) -> None:
    """A directory has them as an archive has."""
    here, there = pair
    path, directory, again = tmp_path / "a.gla", tmp_path / "out", tmp_path / "again.gla"
    assert run("dump", here.url, path, "--metadefs").code == 0
    assert run("extract", path, "-o", directory).code == 0
    wanted = [RICH["namespace"], PLAIN["namespace"]]
    plan = run("load", there.url, directory, "--metadefs", "--dry-run", "--json")
    assert (plan.code, fates(plan)) == (0, dict.fromkeys(wanted, "created"))
    assert fates(run("plan", directory, there.url, "--metadefs", "--json")) == fates(plan)
    done = run("load", there.url, directory, "--metadefs", "--json")
    assert (done.code, fates(done), done.json["faults"]) == (0, dict.fromkeys(wanted, "created"), [])
    assert run("compare", directory, there.url, "--metadefs", "--ignore", "owner").code == 0
    copied = run("livecopy", directory, there.url, "--metadefs", "--json")
    assert (copied.code, fates(copied)) == (0, dict.fromkeys(wanted, "present"))
    done = run("dump", directory, again, "--metadefs", "--json")
    assert (done.code, done.images[DEFINITIONS]["action"]) == (0, "copied")
    assert run("compare", path, again, "--metadefs").code == 0
    # Not asked for, they are neither an image nor in the way.
    for command in (["load", there.url, directory, "--dry-run"], ["size", directory]):
        done = run(*command, "--json")
        assert (done.code, done.stderr, done.json["faults"]) == (0, "", [])


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("changed", "the metadata definitions are damaged: the sha512 of "),
        ("lost", "the metadata definitions cannot be read: "),
        ("undescribed", "the metadata definitions cannot be read: "),
        ("undigested", "states no digest of them"),
        ("too long", f"and at most {MAX_DEFINITIONS} are read"),
    ],
)
def test_those_that_extract_wrote_and_that_are_damaged(
    broken: str, words: str, make_glance: Callable[..., Glance], tmp_path: Path
) -> None:
    text = json.dumps({"namespaces": [PLAIN]}).encode()
    directory, again = tmp_path / "out", tmp_path / "again.gla"
    path = write_archive(tmp_path / "a.gla", (metadata(DATA), DATA), (metadata(text, id=DEFINITIONS), text))
    assert run("extract", path, "-o", directory).code == 0
    described, data = directory / DEFINITIONS, directory / f"{DEFINITIONS}.img"
    if broken == "changed":
        data.write_bytes(text.replace(b"private", b"Private"))
    elif broken == "lost":
        data.unlink()
    elif broken == "undescribed":
        described.unlink()
    elif broken == "undigested":
        described.write_text("{}")
    else:
        data.write_bytes(text + b" " * MAX_DEFINITIONS)
    there = make_glance()
    done = run("load", there.url, directory, "--metadefs", "--json")
    assert (done.code, done.json["definitions"], words in done.stderr) == (1, [], True)
    assert [image["action"] for image in done.json["images"]] == ["copied"]
    done = run("dump", directory, again, "--metadefs", "--json")
    assert (done.code, len(done.json["images"]), words in done.json["faults"][0]) == (1, 1, True)


def test_wrong_usage_brings_none(pair: tuple[Glance, Glance], tmp_path: Path) -> None:
    here, there = pair
    path, ids = tmp_path / "a.gla", tmp_path / "ids"
    here.client().add(DATA, name="another")
    assert run("dump", here.url, path, "--metadefs").code == 0
    one = "11111111-2222-3333-4444-555555555555"
    ids.write_text(json.dumps(dict.fromkeys(here.client().images(), one)))
    for wrong in (["--store", "none"], ["--id-policy", "map", "--id-map", ids]):
        for command in (["load", there.url, path], ["livecopy", here.url, there.url]):
            done = run(*command, "--metadefs", *wrong)
            assert done.code == 2, done.text
            assert there.client().call("GET", PATH).json()["namespaces"] == []


def test_too_long_ones(pair: tuple[Glance, Glance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = pair
    path = tmp_path / "a.gla"
    text = json.dumps({"namespaces": [PLAIN]}).encode() + b" " * MAX_DEFINITIONS
    write_archive(path, (metadata(DATA), DATA), (metadata(text, id=DEFINITIONS), text))
    done = run("load", there.url, path, "--metadefs", "--json")
    assert (done.code, done.json["definitions"]) == (1, [])
    assert f"the metadata definitions are {len(text)} bytes, and at most" in done.stderr
    monkeypatch.setattr("glancearchive.operations.definitions.MAX_DEFINITIONS", 100)
    source = WithDefinitions(GlanceSource(api(here.url)), GlanceSource(api(here.url)))
    assert DEFINITIONS not in {image.id for image in source.images()}
    assert ["and at most 100 are archived" in fault for fault in source.faults] == [True]


def test_a_member_may_read_and_not_write(cloud: Cloud, tmp_path: Path) -> None:
    admin = cloud.client(cloud.a)
    admin.call("POST", PATH, json={**PLAIN, "namespace": "seen", "visibility": "public"}).raise_for_status()
    admin.call("POST", PATH, json={**PLAIN, "namespace": "hidden"}).raise_for_status()
    env = {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml)}
    path = tmp_path / "a.gla"
    run("dump", "member-a", path, "--metadefs", env=env)
    done = run("load", "member-b", path, "--metadefs", "--json", env=env)
    assert (done.code, fates(done)) == (1, {"seen": "failed"})
    assert "403" in done.json["definitions"][0]["reason"]
    done = run("load", "admin-b", path, "--metadefs", "--json", env=env)
    assert fates(done) == {"seen": "created"}


def test_many_namespaces(make_glance: Callable[..., Glance]) -> None:
    """More than are on one page."""
    from glancearchive.endpoints.metadefs import read_namespaces

    glance = make_glance()
    names = [f"n{number:03}" for number in range(130)]
    for name in names:
        glance.client().call("POST", PATH, json={"namespace": name, "owner": "o"}).raise_for_status()
    assert [one["namespace"] for one in read_namespaces(api(glance.url))] == names


def test_a_namespace_that_glance_itself_does_not_find(make_glance: Callable[..., Glance], tmp_path: Path) -> None:
    """It is listed, and there is no way to ask for it: that is said, and nothing is taken for all there is."""
    glance = make_glance()
    glance.client().add(DATA, name="an image")
    glance.client().call("POST", PATH, json={**PLAIN, "namespace": "a/b"}).raise_for_status()
    done = run("dump", glance.url, tmp_path / "a.gla", "--metadefs", "--json")
    assert (done.code, [image["name"] for image in done.json["images"]]) == (1, ["an image"])
    assert ["'a/b' cannot be read" in fault for fault in done.json["faults"]] == [True]
