"""Choosing images, and dry runs, on the command line; against real Glances where one is involved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from glancearchive.cli import cli
from glancearchive.operations.select import KINDS
from tests.archives import write_archive
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.command import contents, unchanged
from tests.fake_glance import FakeGlance
from tests.faults.zygote import Zygote
from tests.glances import metadata
from tests.scripted_http import Reply, ScriptedHttp

DATA = pattern(50_001)
CHOOSING = ("dump", "plan", "load", "livecopy", "compare", "size", "list")
WRITING = (
    *("dump", "load", "livecopy", "extract"),
    *("catalog", "merge", "protect", "repair", "reslice", "salvage"),
)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as running:
        yield running


@pytest.fixture(scope="module")
def pair(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Glance, Glance]]:
    """Two Glances; the first has the images one, two, three and queued, with their names as tags, and `all`."""
    with Glance(tmp_path_factory.mktemp("from")) as a, Glance(tmp_path_factory.mktemp("to")) as b:
        client = a.client()
        for number, name in enumerate(("one", "two", "three")):
            data = DATA + bytes([number])
            client.add(data, name=name, tags=[name, "all"], visibility="public" if number else "private", n=str(number))
        client.create(name="queued", tags=["queued"])
        yield a, b


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    made = [metadata(DATA, name=name, tags=[name], id=f"{name}-id") for name in ("one", "two", "three")]
    return write_archive(tmp_path / "a.gla", *((each, DATA) for each in made))


def names(document: Any) -> list[str]:
    return sorted(image["name"] for image in document["images"])


def by_name(glance: Glance) -> dict[str, str]:
    return {image["name"]: image_id for image_id, image in glance.client().images().items()}


def writes(proxy: ScriptedHttp) -> list[str]:
    return [f"{request.method} {request.path}" for request in proxy.requests if request.method != "GET"]


# Alike everywhere.


def test_the_options_are_alike_everywhere() -> None:
    def options(command: str, known: set[str]) -> dict[str, Any]:
        found = [option for option in cli.commands[command].params if option.name in known]
        return {
            str(option.name): (option.opts, option.multiple, option.help)
            for option in found
            if isinstance(option, click.Option)
        }

    for known, commands in ((({*KINDS, "exclude"}), CHOOSING), ({"dry_run"}, WRITING)):
        for command in commands:
            assert options(command, known) == options(commands[0], known)
            assert len(options(command, known)) == len(known)
        for command in set(cli.commands) - set(commands):
            assert options(command, known) == {}


# Lists.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["one", "three", "two"]),
        (["--image", "one-id", "--image", "tw*"], ["one", "two"]),
        (["--tag", "one", "--tag", "two", "--exclude", "two"], ["one"]),
        (["--name", "t*", "--property", "disk_format=raw"], ["three", "two"]),
        (["--exclude", "name=t*"], ["one"]),
    ],
)
def test_list(options: list[str], expected: list[str], archive: Path, zygote: Zygote) -> None:
    done = zygote.run("list", archive, "--json", *options)
    assert (done.code, done.stderr, names(done.json)) == (0, "", expected)
    rows = zygote.run("list", archive, *options).text.splitlines()[1:]
    assert sorted(row.split()[1] for row in rows) == expected


def test_nothing_fits(archive: Path, zygote: Zygote) -> None:
    done = zygote.run("list", archive, "--tag", "none", "--status", "active", "--json")
    assert (done.code, done.json["images"]) == (1, [])
    assert "none of 3 images fits --tag none --status active" in done.stderr
    assert "--owner" not in done.stderr
    owned = zygote.run("list", archive, "--owner", "alpha")
    assert owned.code == 1
    assert "--owner takes ids of projects, not their names" in owned.stderr
    unknown = zygote.run("list", archive, "--image", "one", "--image", "fedora*", "--json")
    assert (unknown.code, names(unknown.json)) == (1, ["one"])
    assert unknown.stderr == "glancearchive: there is no image 'fedora*'\n"
    # An exclusion that leaves out nothing is no finding, but perhaps a slip.
    idle = zygote.run("list", archive, "--exclude", "tag=tow", "--json")
    assert (idle.code, len(idle.json["images"])) == (0, 3)
    assert "--exclude tag=tow leaves out no image" in idle.stderr


@pytest.mark.parametrize("command", CHOOSING)
def test_slips_are_usage_errors_before_anything_is_looked_at(command: str, zygote: Zygote, tmp_path: Path) -> None:
    places = {"size": ["none.gla"], "list": ["none.gla"]}.get(command, ["127.0.0.1:1", f"{tmp_path}/none.gla"])
    for options, says in (
        (["--since", "2026-13-01"], "--since '2026-13-01'"),
        (["--property", "os_distro"], "KEY=VALUE"),
        (["--visibility", "pubic"], "public, community, shared, private"),
        (["--exclude", "state=active"], "--exclude 'image=state=active'"),
    ):
        done = zygote.run(command, *places, *options)
        assert (done.code, done.text) == (2, "")
        assert says in done.error
    assert contents(tmp_path) == {}


# Dumps.


def test_a_dump_records_what_was_chosen_and_more_can_be_added(
    pair: tuple[Glance, Glance], zygote: Zygote, tmp_path: Path
) -> None:
    path = tmp_path / "a.gla"
    first = zygote.run("dump", pair[0].url, path, "--tag", "one", "--tag", "two", "--exclude", "two", "--json")
    assert (first.code, names(first.json)) == (0, ["one"])
    assert names(zygote.run("list", path, "--json").json) == ["one"]
    again = zygote.run("dump", pair[0].url, path, "--tag", "one", "--json")
    assert (again.code, again.json["complete_before"], again.json["images"]) == (0, True, [])
    # That it is finished does not mean that it has what is asked for now.
    with unchanged(tmp_path):
        more = zygote.run("dump", pair[0].url, path, "--tag", "three", "--json")
        assert more.code == 3
        assert "--append" in more.error
        assert by_name(pair[0])["three"] in more.error
    added = zygote.run("dump", pair[0].url, path, "--tag", "three", "--append", "--json")
    assert (added.code, names(added.json)) == (0, ["three"])
    assert names(zygote.run("list", path, "--json").json) == ["one", "three"]
    assert zygote.run("verify", path).code == 0


def test_a_dump_of_nothing_makes_nothing(
    pair: tuple[Glance, Glance], zygote: Zygote, archive: Path, tmp_path: Path
) -> None:
    done = zygote.run("dump", pair[0].url, tmp_path / "new.gla", "--since", "2999-01-01", "--json")
    assert (done.code, done.json["ok"], done.json["images"]) == (1, False, [])
    assert "none of 4 images fits --since 2999-01-01" in done.stderr
    assert contents(tmp_path).keys() == {"a.gla"}
    own = tmp_path / "own.gla"
    assert zygote.run("dump", pair[0].url, own, "--tag", "one").code == 0
    with unchanged(tmp_path):
        assert zygote.run("dump", pair[0].url, own, "--append", "--tag", "none").code == 1
    partly = zygote.run("dump", pair[0].url, tmp_path / "partly.gla", "--image", "one", "--image", "nope", "--json")
    assert (partly.code, partly.json["ok"], names(partly.json)) == (1, False, ["one"])
    assert "there is no image 'nope'" in partly.stderr


def test_a_dry_dump(pair: tuple[Glance, Glance], zygote: Zygote, archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.gla"
    with ScriptedHttp(pair[0].url) as proxy, unchanged(tmp_path):
        done = zygote.run("dump", proxy.url, path, "--dry-run", "--json")
        assert [request.path for request in proxy.requests if "/file" in request.path] == []
    assert (done.code, done.json["dry_run"], done.json["root_digest"]) == (0, True, "")
    assert {image["name"]: image["action"] for image in done.json["images"]} == {
        "one": "copied",
        "two": "copied",
        "three": "copied",
        "queued": "no-data",
    }
    assert {image["size"] for image in done.json["images"]} == {0, len(DATA) + 1}
    # Beside what is there already.
    assert zygote.run("dump", pair[0].url, path, "--tag", "one", "--status", "active").code == 0
    with unchanged(tmp_path):
        added = zygote.run("dump", pair[0].url, path, "--append", "--tag", "all", "--dry-run", "--json")
        actions = {image["name"]: image["action"] for image in added.json["images"]}
        assert actions == {"one": "present", "two": "copied", "three": "copied"}
        assert added.code == 0
        text = zygote.run("dump", pair[0].url, path, "--append", "--dry-run")
        assert text.text.startswith("dry run: 4 images: 2 copied, 1 present, 1 no-data")
        finished = zygote.run("dump", pair[0].url, path, "--dry-run", "--json")
        assert (finished.code, finished.json["complete_before"]) == (0, True)
        foreign = zygote.run("dump", pair[0].url, archive, "--append", "--dry-run")
        assert (foreign.code, "a test" in foreign.error) == (3, True)
    # A change of metadata is foreseen, and so is what an interruption left.
    client, image_id = pair[0].client(), by_name(pair[0])["one"]
    client.patch(image_id, {"op": "replace", "path": "/min_disk", "value": 1})
    path.rename(f"{path}.part")
    with unchanged(tmp_path):
        again = zygote.run("dump", pair[0].url, path, "--tag", "one", "--dry-run", "--json")
    assert again.images[image_id]["action"] == "updated"
    done = zygote.run("dump", pair[0].url, path, "--tag", "one", "--json")
    assert (done.code, done.images[image_id]["action"]) == (0, "updated")


def test_tags_in_another_order_are_no_change(zygote: Zygote, tmp_path: Path) -> None:
    with FakeGlance(tags=["a", "b"]) as glance:
        assert zygote.run("dump", glance.url, tmp_path / "a.gla").code == 0
        for tags, action in ((["b", "a"], "present"), (["b", "c"], "updated")):
            glance.on("GET", "/v2/images", Reply.json({"images": [glance.bad | {"tags": tags}]}))
            done = zygote.run("dump", glance.url, tmp_path / "a.gla", "--append", "--json")
            assert done.images[glance.bad["id"]]["action"] == action


# Loads.


def test_a_load_takes_what_is_chosen(pair: tuple[Glance, Glance], zygote: Zygote, tmp_path: Path) -> None:
    made = [metadata(DATA, name=f"load {number}", tags=["load", f"load-{number}"]) for number in range(3)]
    path = write_archive(tmp_path / "a.gla", *((each, DATA) for each in made))
    with ScriptedHttp(pair[1].url) as proxy:
        foreseen = zygote.run("load", proxy.url, path, "--tag", "load-[01]", "--dry-run", "--json")
        assert writes(proxy) == []
    actions = {made[0]["id"]: "copied", made[1]["id"]: "copied"}
    assert {one: image["action"] for one, image in foreseen.images.items()} == actions
    assert (foreseen.code, foreseen.json["dry_run"]) == (0, True)
    done = zygote.run("load", pair[1].url, path, "--tag", "load-[01]", "--json")
    assert {one: image["action"] for one, image in done.images.items()} == actions
    assert made[2]["id"] not in pair[1].client().images()
    none = zygote.run("load", pair[1].url, path, "--tag", "unload", "--json")
    assert (none.code, none.json["images"], none.json["ok"]) == (1, [], False)
    assert "none of 3 images fits --tag unload" in none.stderr


def test_a_dry_load_under_new_ids(pair: tuple[Glance, Glance], zygote: Zygote, tmp_path: Path) -> None:
    """One id has other data there: where ids may be new, it is foreseen under which, and that comes true."""
    taken, free = (metadata(DATA, name=name, tags=["renew"]) for name in ("taken", "free"))
    pair[1].client().add(b"other data", id=taken["id"])
    path = write_archive(tmp_path / "a.gla", (taken, DATA), (free, DATA))
    kept = zygote.run("load", pair[1].url, path, "--dry-run", "--json")
    assert (kept.code, kept.images[taken["id"]]["action"], kept.images[free["id"]]["action"]) == (
        1,
        "conflict",
        "copied",
    )
    options = ["--id-policy", "new", "--id-map-out", f"{tmp_path}/ids.json", "--json"]
    with ScriptedHttp(pair[1].url) as proxy, unchanged(tmp_path):
        renewed = zygote.run("load", proxy.url, path, *options, "--dry-run")
        assert writes(proxy) == []
    assert renewed.code == 0
    assert renewed.images[free["id"]]["new_id"] == ""
    assert renewed.images[taken["id"]]["new_id"]
    done = zygote.run("load", pair[1].url, path, *options)
    assert {one: image["new_id"] for one, image in done.images.items()} == {
        one: image["new_id"] for one, image in renewed.images.items()
    }
    compared = zygote.run("compare", path, pair[1].url, "--tag", "renew", "--ignore", "id", "--json")
    assert compared.json["findings"] == []  # what has taken the id is not tagged, and not meant


def test_a_dry_load_of_what_cannot_be_loaded(pair: tuple[Glance, Glance], zygote: Zygote, tmp_path: Path) -> None:
    source, lost = tmp_path / "images", metadata(DATA, name="lost", tags=["lost"])
    archive = write_archive(tmp_path / "a.gla", (lost, DATA))
    assert zygote.run("extract", archive, "-o", source).code == 0
    (source / f"{lost['id']}.img").unlink()
    done = zygote.run("livecopy", source, pair[1].url, "--dry-run", "--json")
    (outcome,) = done.json["images"]
    assert (done.code, outcome["action"]) == (1, "failed")
    assert "no such file" in outcome["reason"]


# Extracting.


def test_a_dry_extract(archive: Path, zygote: Zygote, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with unchanged(tmp_path):
        done = zygote.run("extract", archive, "-o", target, "--dry-run", "--json")
        assert not target.exists()
    assert (done.code, done.json["dry_run"]) == (0, True)
    assert {image["status"] for image in done.json["images"]} == {"extracted"}
    assert zygote.run("extract", archive, "-o", f"{target}/", "one", "two").code == 0
    (target / "two-id.img").write_bytes(b"something else")
    (target / "three-id").write_text("something else")
    with unchanged(tmp_path):
        again = zygote.run("extract", archive, "-o", target, "--dry-run", "--json")
        single = zygote.run("extract", archive, "two", "-o", target / "two-id.img", "--dry-run", "--json")
        to_stdout = zygote.run("extract", archive, "one", "-o", "-", "--dry-run")
    states = {image["name"]: image["status"] for image in again.json["images"]}
    assert states == {"one": "present", "two": "failed", "three": "failed"}
    assert (again.code, single.code, to_stdout.code, to_stdout.stdout) == (1, 1, 0, b"")
    assert "exists already" in single.json["images"][0]["reason"]
    # What was said comes true.
    done = zygote.run("extract", archive, "-o", target, "--json")
    assert {image["name"]: image["status"] for image in done.json["images"]} == states


# Comparing.


def test_compare_in_text_and_json(zygote: Zygote, tmp_path: Path) -> None:
    one, two = (metadata(DATA, id=f"{number}", name=f"n\u202e{number}", tags=["x"]) for number in (1, 2))
    a = write_archive(tmp_path / "a.gla", (one, DATA), (two, DATA))
    b = write_archive(tmp_path / "b.gla", (one | {"tags": ["y"], "os_distro": "debian"}, DATA))
    with unchanged(tmp_path):
        done = zygote.run("compare", a, b, "--json")
        text = zygote.run("compare", a, b)
        ignoring = zygote.run("compare", a, b, "--image", "1", "--ignore", "tags", "--ignore", "os_*")
    assert done.code == text.code == 1
    assert done.json == {
        "a": {"location": str(a), "source": f"archive {a}", "images": 2, "faults": []},
        "b": {"location": str(b), "source": f"archive {b}", "images": 1, "faults": []},
        "ok": False,
        "same": 0,
        "findings": [
            {
                "id": "1",
                "name": "n\u202e1",
                "kind": "metadata",
                "reason": "",
                "other": "",
                "fields": {"os_distro": {"a": None, "b": "debian"}, "tags": {"a": ["x"], "b": ["y"]}},
            },
            {"id": "2", "name": "n\u202e2", "kind": "other-id", "reason": "", "other": "1", "fields": {}},
        ],
        "definitions": [],
        "not_found": [],
    }
    assert text.text.splitlines() == [
        "metadata: 1 ('n\\u202e1')",
        "  os_distro: none in A, 'debian' in B",
        "  tags: ['x'] in A, ['y'] in B",
        "other-id: 2 ('n\\u202e2') as 1 in B",
        f"A: 2 images, archive {a}",
        f"B: 1 image, archive {b}",
        "NOT OK: 1 other-id, 1 metadata, 0 the same",
    ]
    assert (ignoring.code, ignoring.text.splitlines()[-1]) == (0, "ok: 1 the same")


def test_compare_with_what_is_broken(archive: Path, zygote: Zygote, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gla"
    cut.write_bytes(archive.read_bytes()[:-100])
    done = zygote.run("compare", archive, cut, "--json")
    assert (done.code, done.json["findings"], done.json["same"], done.json["ok"]) == (1, [], 3, False)
    assert done.json["b"]["faults"] != []
    assert "NOT OK" in zygote.run("compare", archive, cut).text
    empty = write_archive(tmp_path / "empty.gla"), write_archive(tmp_path / "empty2.gla")
    nothing = zygote.run("compare", *empty, "--json")
    assert (nothing.code, nothing.json["ok"]) == (1, False)
    assert "there was no image to compare" in nothing.stderr


def test_a_directory_against_its_archive(zygote: Zygote, tmp_path: Path) -> None:
    directory = tmp_path / "images"
    one, two = (metadata(DATA, name=name, id=f"{name * 8}-0000-4000-8000-000000000000") for name in "12")
    archive = write_archive(tmp_path / "a.gla", (one, DATA), (two, DATA))
    assert zygote.run("extract", archive, "-o", directory).code == 0
    assert zygote.run("compare", archive, directory).code == 0
    (directory / f"{one['id']}.img").write_bytes(DATA[:-1])
    (directory / two["id"]).write_text(json.dumps(two | {"os_distro": "debian"}))
    done = zygote.run("compare", archive, directory, "--json")
    assert [(one["name"], one["kind"]) for one in done.json["findings"]] == [
        ("1", "data-missing"),
        ("2", "metadata"),
    ]


@pytest.mark.parametrize(
    ("a", "b", "code", "says"),
    [
        ("a.gla", "a.gla", 2, "A and B are the same"),
        ("a.gla", "none.gla", 3, "none.gla"),
        ("a.gla", "nosuchcloud", 2, "unknown cloud 'nosuchcloud'"),
        ("URL", "a.gla", 3, "no Glance v2 there"),
        ("a.gla", "URL", 3, "no Glance v2 there"),
        ("a.gla", "127.0.0.1:1", 3, "127.0.0.1"),
    ],
)
def test_places_that_cannot_be_compared(
    a: str, b: str, code: int, says: str, archive: Path, zygote: Zygote, tmp_path: Path
) -> None:
    with ScriptedHttp() as page:
        page.on("GET", "/v2/images", Reply(200, b"<html>Welcome</html>", {"Content-Type": "text/html"}))
        places = {"URL": page.url, "a.gla": str(archive), "none.gla": f"{tmp_path}/none.gla"}
        done = zygote.run("compare", places.get(a, a), places.get(b, b), wait=0.02)
    assert (done.code, done.text) == (code, "")
    assert says in done.error


def test_one_place_by_two_names(archive: Path, zygote: Zygote) -> None:
    place = archive.parent
    (place / "link.gla").symlink_to(archive)
    (place / "images").mkdir()
    (place / "images" / "a.img").write_bytes(DATA)
    for a, b in (
        (archive, f"{place}/images/../{archive.name}"),
        (archive, place / "link.gla"),
        (f"{place}/images", f"{place}/images/"),
    ):
        done = zygote.run("compare", a, b)
        assert (done.code, done.text) == (2, "")
        assert f"A and B are the same by two names: {a} and {b}" in done.error


def test_members_are_asked_for_only_where_they_are_needed(
    pair: tuple[Glance, Glance], zygote: Zygote, tmp_path: Path
) -> None:
    """It takes a request for each shared image, and shared is what most images are."""
    client = pair[0].client()
    shared = [client.add(DATA, name=f"shared {number}", visibility="shared", tags=["shared"]) for number in range(3)]
    client.add_member(shared[1]["id"], "somebody")
    with ScriptedHttp(pair[0].url) as proxy:

        def asked() -> int:
            found = sum(request.path.endswith("/members") for request in proxy.requests)
            proxy.requests.clear()
            return found

        assert zygote.run("size", proxy.url).code == 0
        assert asked() == 0
        assert zygote.run("dump", proxy.url, tmp_path / "a.gla", "--image", "shared 1").code == 0
        assert asked() == 1
        assert zygote.run("compare", proxy.url, tmp_path / "a.gla", "--image", "shared 1").code == 0
    (image,) = zygote.run("list", tmp_path / "a.gla", "--json").json["images"]
    document = zygote.run("show", tmp_path / "a.gla", image["id"], "--json").json
    assert [member["member_id"] for member in document["members"]] == ["somebody"]
