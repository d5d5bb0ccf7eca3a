"""Servers that are none, refuse, break off or lie, through the command line."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from glancearchive.endpoints.glance_listing import take_listing
from glancearchive.errors import NotGlanceError
from tests.archives import write_archive
from tests.cloud.glance import Glance
from tests.command import Done, assert_harmless, command, contents, environ, finished, run
from tests.fake_glance import DATA, GOOD, FakeGlance
from tests.glances import api, metadata
from tests.scripted_http import FORWARD, Reply, Request, ScriptedHttp
from tests.test_cli_bad_input import EVIL

HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/json"}
NO_SERVER: dict[str, tuple[Reply, str]] = {
    "a web page": (Reply(200, b"<html><body><h1>It works</h1></body></html>", HTML), "no Glance v2"),
    "other JSON": (Reply.json({"servers": []}), "no list of images"),
    "no object": (Reply.json([1]), "no list of images"),
    "deep JSON": (Reply(200, b'{"images":[' + b"[" * 200_000, JSON), "no Glance v2"),
    "deep JSON of an error": (Reply(500, b"[" * 200_000, JSON), "500"),
    "a number of 5000 digits": (Reply(200, b'{"images":[], "x":' + b"9" * 5000 + b"}", JSON), "no Glance v2"),
    "no JSON": (Reply(200, b"\xff\xfe\x00", {"Content-Type": "application/json"}), "no Glance v2"),
    "a login page": (Reply(302, b"", {"Location": "/login"}), "redirects to /login"),
    "closed at once": (Reply(drop=True), "."),
    "401": (Reply(401, b"{}"), "401"),
    "403": (Reply(403, b"{}"), "403"),
    "404": (Reply(404, b"<html><body>Not Found</body></html>", HTML), "404"),
    "409": (Reply(409, b"{}"), "409"),
    "413": (Reply(413, b"{}"), "413"),
    "500": (Reply(500, b"<html><body>A <b>defect</b></body></html>", HTML), "500.*A defect"),
    "503": (Reply(503, b"Down for maintenance"), "503.*Down for maintenance"),
    "control characters": (Reply(500, EVIL.encode()), "500"),
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of two images, of which the first is the one that servers are made to refuse."""
    bad, good = metadata(DATA, name="the bad image"), metadata(GOOD, name="the good image")
    return write_archive(tmp_path / "load.gla", (bad, DATA), (good, GOOD))


def assert_stopped(done: Done, message: str) -> None:
    assert (done.code, done.stdout) == (3, b"")
    assert re.search(message, done.error), done.error
    assert_harmless(done.stderr)


@pytest.mark.parametrize(
    ("direction", "name"), [("dump", name) for name in NO_SERVER] + [("load", name) for name in ("a web page", "503")]
)
def test_a_server_that_is_of_no_use(direction: str, name: str, archive: Path, tmp_path: Path) -> None:
    reply, message = NO_SERVER[name]
    before = contents(tmp_path)
    with ScriptedHttp() as server:
        server.on("GET", "/v2/images", reply)
        target = archive if direction == "load" else tmp_path / "x.gla"
        assert_stopped(run(direction, server.url, target, impatient=True), message)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("server", "code", "message"),
    [
        ("127.0.0.1:1", 3, "Connection refused"),
        ("http://nobody.invalid:9292", 3, "nobody.invalid"),
        ("no-such-cloud", 2, "unknown cloud"),
        ("envvars", 2, "none are set"),
        ("ftp://x/", 2, "not a usable URL"),
        ("http://user:secret@x/", 2, "takes no user name"),
        ("http://user:secret@x:9292/", 2, "query or fragment: http://x:9292/"),
        ("", 2, "."),
    ],
)
def test_no_server(server: str, code: int, message: str, tmp_path: Path) -> None:
    before = contents(tmp_path)
    done = run("dump", server, tmp_path / "x.gla", impatient=True)
    assert (done.code, message in done.error or message == ".") == (code, True), done.error
    assert "secret" not in done.stderr
    assert contents(tmp_path) == before


OTHER_DATA = bytes(len(DATA))
BAD_DATA: dict[str, tuple[list[Reply], str, str]] = {
    "403": ([Reply(403, b"{}")], "refused", "403"),
    "404": ([Reply(404, b"{}")], "refused", "404"),
    "409": ([Reply(409, b"{}")], "failed", "409"),
    "413": ([Reply(413, b"{}")], "refused", "413"),
    "500": ([Reply(500, b"{}")], "failed", "500"),
    "503": ([Reply(503, b"{}")], "failed", "503"),
    "lost data": ([Reply(204)], "refused", "204"),
    "cut each time": ([Reply(200, DATA, cut=1_000_000)], "failed", "byte 1000000"),
    "fewer bytes announced": ([Reply(200, DATA[:-1])], "failed", "announces 3000000 bytes, its record says 3000001"),
    "more bytes announced": ([Reply(200, DATA + b"x")], "failed", "announces 3000002 bytes, its record says 3000001"),
    "other bytes": ([Reply(200, OTHER_DATA)], "failed", "sha512"),
    "other bytes after a cut": ([Reply(200, DATA, cut=2_000_000), Reply(200, OTHER_DATA)], "failed", "not those sent"),
}


@pytest.fixture(scope="module")
def partial_dump(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """A dump of one image for each row of `BAD_DATA`, named so, and of a good one after them all."""
    archive = tmp_path_factory.mktemp("partial") / "x.gla"
    with FakeGlance() as server:
        images = [metadata(DATA, name=name, created_at="2020-01-01T00:00:00Z") for name in BAD_DATA]
        for image in images:
            server.on("GET", server.data_path(image), *BAD_DATA[image["name"]][0])
        server.on("GET", "/v2/images", Reply.json({"images": [*images, server.good]}))
        return run("dump", server.url, archive, "--json", "--jobs", "4", impatient=True), archive


def named(done: Done) -> dict[str, dict[str, Any]]:
    return {image["name"]: image for image in done.json["images"]}


@pytest.mark.parametrize("name", BAD_DATA)
def test_an_image_that_cannot_be_read_is_recorded_with_the_reason(name: str, partial_dump: tuple[Done, Path]) -> None:
    done, archive = partial_dump
    _, action, message = BAD_DATA[name]
    outcome = named(done)[name]
    assert (done.code, outcome["action"], outcome["verified"]) == (1, action, "")
    assert message in outcome["reason"]
    with glancearchive.open(archive) as opened:
        (image,) = opened.find(name)
    assert (image.status, image.reason) == ("failed", outcome["reason"])


def test_it_stops_no_other(partial_dump: tuple[Done, Path]) -> None:
    done, archive = partial_dump
    assert named(done).keys() == {*BAD_DATA, "the good image"}
    assert named(done)["the good image"]["action"] == "copied"
    assert contents(archive.parent).keys() == {"x.gla"}
    assert run("verify", archive, "--json").json["damage"] == []
    assert run("extract", archive, "the good image", "-o", "-").stdout == GOOD


@pytest.mark.parametrize(
    "replies",
    [
        [Reply(200, DATA, cut=1_000_000), Reply(200, DATA)],
        [Reply(200, DATA, {"Content-Length": ""}, cut=1_000_000), Reply(200, DATA)],
        [Reply(503), Reply(drop=True), Reply(200, DATA)],
        [Reply(200, DATA, cut=0), Reply(502), Reply(200, DATA, cut=70_000), Reply(200, DATA)],
    ],
    ids=["cut", "cut, length unannounced", "in trouble", "all of it"],
)
def test_trouble_that_passes(replies: list[Reply], tmp_path: Path) -> None:
    with FakeGlance(*replies) as server:
        done = run("dump", server.url, tmp_path / "x.gla", "--json", impatient=True)
    assert (done.code, done.images[server.bad["id"]]["action"]) == (0, "copied")
    extracted = run("extract", tmp_path / "x.gla", server.bad["id"], "-o", "-")
    assert extracted.stdout == DATA


def test_a_digest_that_nobody_states_is_told(tmp_path: Path) -> None:
    with FakeGlance(os_hash_algo=None, os_hash_value=None, checksum=None) as server:
        done = run("dump", server.url, tmp_path / "x.gla", "--json")
    image = done.images[server.bad["id"]]
    assert (done.code, image["action"], image["verified"]) == (1, "copied", "")
    assert "no digest to compare with" in image["reason"]


@pytest.mark.parametrize("replies", [[Reply(401, b"{}")], [Reply(200, DATA, cut=9), Reply(401, b"{}")]])
def test_a_login_that_ends_stops_the_dump(replies: list[Reply], tmp_path: Path) -> None:
    with FakeGlance(*replies) as server:
        done = run("dump", server.url, tmp_path / "x.gla", "--json", "--jobs", "1", impatient=True)
    assert_stopped(done, "401")
    assert "x.gla" not in contents(tmp_path)


def test_metadata_that_are_hostile(tmp_path: Path) -> None:
    """Ids that are paths, lone surrogates, huge numbers, control characters: recorded or told, never harmful."""
    with FakeGlance(name=EVIL) as server:
        odd: list[Any] = [
            server.bad,
            {**server.bad, "id": "../x"},
            {**server.bad, "id": "a\x1b[31m"},
            {**server.bad, "id": "surrogate", "name": "\ud800"},
            {**server.bad, "id": "number", "huge": 2**80},
            {**server.bad, "id": "negative", "size": -5},
            {**server.bad, "id": "types", "name": 7, "size": "9", "tags": 5, "status": None, "created_at": 3},
        ]
        server.on("GET", "/v2/images", Reply.json({"images": [*odd, server.good]}))
        done = run("dump", server.url, tmp_path / "x.gla", "--json", impatient=True)
        told = run("dump", server.url, tmp_path / "y.gla", impatient=True)
    assert (done.code, told.code) == (1, 1)
    for output in (done.stdout, done.stderr, told.stdout, told.stderr):
        assert_harmless(output)
    assert done.images.keys() == {image["id"] for image in [*odd, server.good]}
    assert done.images["../x"]["action"] == "failed"
    assert done.images[server.good["id"]]["action"] == "copied"
    # One field that cannot be recorded costs nothing but itself.
    for image_id, field in (("surrogate", "name"), ("number", "huge")):
        assert [line.partition(":")[0] for line in done.images[image_id]["dropped"]] == [field]
        shown = run("show", tmp_path / "x.gla", image_id, "--json").json
        lost = {"name": ""} if field == "name" else {}
        assert shown["name"] == lost.get("name", EVIL)
        assert shown["metadata"].keys() == server.bad.keys() - ({"name"} if lost else set())
    extracted = run("extract", tmp_path / "x.gla", "-o", "out/", cwd=tmp_path)
    assert extracted.code == 1
    assert {path.name for path in tmp_path.iterdir()} == {"x.gla", "y.gla", "out"}


def test_one_field_that_cannot_be_recorded(tmp_path: Path) -> None:
    with FakeGlance() as server:
        server.on("GET", "/v2/images", Reply.json({"images": [{**server.good, "note": "\ud800"}]}))
        for options, action in ((["--dry-run"], "copied"), ([], "copied"), (["--append"], "present")):
            done = run("dump", server.url, tmp_path / "x.gla", "--json", *options, impatient=True)
            image = done.images[server.good["id"]]
            assert (done.code, image["action"]) == (1, action), done.stderr
            assert [line.partition(": cannot be recorded: ")[0] for line in image["dropped"]] == ["note"]
    shown = run("show", tmp_path / "x.gla", server.good["id"], "--json").json
    assert (shown["status"], shown["metadata"].keys()) == ("complete", server.good.keys())


@pytest.mark.parametrize("listing", [{}, {"images": [{}]}, {"images": [7]}, {"images": [{"id": None}]}])
def test_a_listing_that_makes_no_sense(listing: Any, tmp_path: Path) -> None:
    with FakeGlance() as server:
        server.on("GET", "/v2/images", Reply.json({"images": [server.good]}), Reply.json(listing))
        done = run("dump", server.url, tmp_path / "x.gla", impatient=True)
    assert_stopped(done, "listing images")
    assert "x.gla" not in contents(tmp_path)


def test_a_listing_that_is_nested_too_deeply_later_on(tmp_path: Path) -> None:
    with FakeGlance() as server:
        server.on("GET", "/v2/images", Reply.json({"images": [server.good]}), Reply(200, b'{"images":' * 50_000, JSON))
        assert_stopped(run("dump", server.url, tmp_path / "x.gla", impatient=True), "listing images")


@pytest.mark.parametrize("command", ["dump", "size", "compare"])
def test_a_listing_that_leads_back_is_not_taken_for_all(command: str, archive: Path, tmp_path: Path) -> None:
    with FakeGlance() as server:
        server.on("GET", "/v2/images", Reply.json({"images": [server.bad, server.good], "next": "/v2/images?marker=x"}))
        more = {"dump": [tmp_path / "x.gla"], "size": [], "compare": [archive]}[command]
        done = run(command, server.url, *more, "--json", impatient=True)
    assert done.code == 1
    said = f"after image {server.good['id']} the same ones come again; whether these are all is not known"
    assert done.stderr.count(said) == 1
    assert said in done.text
    if command == "dump":
        assert [image["action"] for image in done.json["images"]] == ["copied", "copied"]


def test_a_listing_that_leads_back_may_have_left_out_an_image_under_its_new_id() -> None:
    """Where new ids may be given all of it is needed, or an image is loaded once more."""
    with FakeGlance() as server:
        server.on("GET", "/v2/images", Reply.json({"images": [server.bad, server.good], "next": "/v2/images?marker=x"}))
        with pytest.raises(NotGlanceError, match="the same ones come again"):
            take_listing(api(server.url), {server.good["id"]}, needed=True)
        assert not take_listing(api(server.url), {server.good["id"]}, needed=False).complete


def test_an_id_that_no_entry_can_have_is_told_and_left_out(tmp_path: Path) -> None:
    with FakeGlance() as server:
        ids = ["../../../tmp/evil", "a/b", "x" * 129]
        server.on("GET", "/v2/images", Reply.json({"images": [{**server.bad, "id": name} for name in ids]}))
        done = run("dump", server.url, tmp_path / "x.gla", "--json")
    assert {name: one["action"] for name, one in done.images.items()} == dict.fromkeys(ids, "failed")
    assert all("cannot be recorded" in one["reason"] for one in done.images.values())
    assert done.code == 1
    assert run("list", tmp_path / "x.gla", "--json").json["images"] == []


REFUSALS: dict[str, tuple[str, Reply, str, str]] = {
    "create 403": ("POST", Reply(403, b"{}"), "failed", "403"),
    "create 409": ("POST", Reply(409, b"{}"), "conflict", "refuses its id"),
    "create 413": ("POST", Reply(413, b"{}"), "failed", "413"),
    "create 500": ("POST", Reply(500, b"{}"), "failed", "500"),
    "upload 403": ("PUT", Reply(403, b"{}"), "failed", "403"),
    "upload 413": ("PUT", Reply(413, b'{"message": "quota"}'), "failed", "413.*quota"),
    "upload 415": ("PUT", Reply(415, b"{}"), "failed", "415"),
    "upload 500": ("PUT", Reply(500, b"{}"), "failed", "500"),
    "upload 503": ("PUT", Reply(503, b"{}"), "failed", "503"),
    "upload cut each time": ("PUT", Reply(cut_request=1_000_000), "failed", "."),
    "update 500": ("PATCH", Reply(503, b"{}"), "failed", "503"),
}


@pytest.fixture(scope="module")
def partial_load(glance_b: Glance, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Done]:
    """Loads of an image for each row of `REFUSALS`, named so, and of a good one: through refusals, and without."""
    images = [metadata(DATA, name=name) for name in REFUSALS]
    good = metadata(GOOD, name="the good image")
    described = [*((image, DATA) for image in images), (good, GOOD)]
    archive = write_archive(tmp_path_factory.mktemp("partial") / "load.gla", *described)
    refused = {image["id"].encode(): REFUSALS[image["name"]] for image in images}

    def create(request: Request) -> Reply:
        rules = [rule for image_id, rule in refused.items() if image_id in request.body and rule[0] == "POST"]
        return rules[0][1] if rules else FORWARD

    with ScriptedHttp(glance_b.url) as server:
        server.responders["POST", "/v2/images"] = create
        for image in images:
            method, reply, _, _ = REFUSALS[image["name"]]
            server.on(method, f"/v2/images/{image['id']}{'/file' * (method == 'PUT')}", reply)
        first = run("load", server.url, archive, "--json", impatient=True)
    return first, run("load", glance_b.url, archive, "--json")


@pytest.mark.parametrize("name", REFUSALS)
def test_an_image_that_the_server_will_not_take(name: str, partial_load: tuple[Done, Done], glance_b: Glance) -> None:
    first, again = partial_load
    _, _, action, message = REFUSALS[name]
    outcome = named(first)[name]
    assert (first.code, outcome["action"]) == (1, action)
    assert re.search(message, outcome["reason"]), outcome["reason"]
    if name == "upload 415":
        assert "deleted" in outcome["reason"]  # a Glance that said so has spoilt the image
        assert named(again)[name]["action"] == "conflict"
    else:
        assert named(again)[name]["action"] == "copied"
        assert glance_b.client().download(outcome["id"]) == DATA


def test_it_stops_no_other_at_the_target(partial_load: tuple[Done, Done], glance_b: Glance) -> None:
    good = named(partial_load[0])["the good image"]
    assert (good["action"], good["verified"]) == ("copied", "sha512")
    assert glance_b.client().download(good["id"]) == GOOD


@pytest.mark.parametrize(("number", "option"), [(signal.SIGINT, "--quiet"), (signal.SIGTERM, "--json")])
def test_a_silent_server_does_not_keep_the_program_from_ending(
    number: signal.Signals, option: str, tmp_path: Path
) -> None:
    reached, release = threading.Event(), threading.Event()
    with FakeGlance() as server:

        def stall(_request: Request) -> Reply:
            reached.set()
            release.wait(60)
            return Reply(200, DATA)

        server.responders["GET", server.data_path(server.bad)] = stall
        with subprocess.Popen(
            command("dump", server.url, tmp_path / "x.gla", option),
            env=environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                assert reached.wait(60)
                process.send_signal(number)
                stdout, stderr = process.communicate(timeout=20)
            finally:
                process.kill()
                release.set()
    done = finished(process.returncode, stdout, stderr)
    assert (done.code, done.stdout, done.error) == (130, b"", "interrupted")
    assert "x.gla" not in contents(tmp_path)


def test_images_that_are_half_loaded_there_are_told(tmp_path: Path) -> None:
    with FakeGlance() as server:
        ids = {name: f"{name}-id" for name in ("right", "wrong", "queued", "foreign")}
        marks = {"right": server.bad["os_hash_value"], "wrong": "ab" * 64, "queued": "ab" * 64}
        images = []
        for name, image_id in ids.items():
            value = f"{image_id} sha512:{marks[name]}" if name in marks else "hi"
            image = server.bad | {"id": image_id, "glancearchive_transfer": value}
            if name == "queued":
                image |= {"status": "queued", "size": None, "os_hash_value": None, "checksum": None}
            images.append(image)
            server.on("GET", server.data_path(image), Reply(200, DATA))
        server.on("GET", "/v2/images", Reply.json({"images": images}))
        done = run("dump", server.url, tmp_path / "x.gla", "--json")
        again = run("dump", server.url, tmp_path / "x.gla", "--json")
        server.on("GET", "/v2/images", Reply.json({"images": images[2:3]}))
        alone = run("dump", server.url, tmp_path / "y.gla", "--json")
    found = {name: done.images[image_id] for name, image_id in ids.items()}
    assert [found[name]["action"] for name in ids] == ["copied", "copied", "no-data", "copied"]
    assert [bool(re.search("was not finished", found[name]["reason"])) for name in ids] == [True, True, True, False]
    assert f"instead of sha512:{'ab' * 64}" in found["wrong"]["reason"]
    assert (done.code, again.code, alone.code) == (1, 1, 1)
    told = {image_id: image["reason"] for image_id, image in again.images.items()}
    assert {ids[name]: found[name]["reason"] for name in ("right", "wrong", "queued")} == told


@pytest.mark.parametrize("listens", [False, True], ids=["nobody", "a Glance"])
def test_a_keystone_that_is_none_costs_one_line(listens: bool, tmp_path: Path) -> None:
    with FakeGlance() as server:
        links = [{"rel": "self", "href": f"{server.url}/v2/"}]
        versions = Reply.json({"versions": [{"id": "v2.9", "status": "CURRENT", "links": links}]})
        for path in ("/", ""):
            server.on("GET", path, versions)
        url = server.url if listens else "http://127.0.0.1:1"
        auth = {"auth_url": url, "username": "u", "password": "p", "project_name": "p"}
        auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
        (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"x": {"auth": auth}}}))
        env = {"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")}
        done = run("size", "x", env=env, impatient=True)
    assert (done.code, len(done.stderr.splitlines())) == (3, 1), done.stderr
    assert "no Keystone v3 at its auth_url" in done.error
    assert ("v2 authentication" if listens else "Connection refused") in done.error
