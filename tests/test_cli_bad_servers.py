"""Servers that are none, refuse, break off or lie, through the command line."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from tests.archives import write_archive
from tests.cloud.glance import Glance
from tests.command import Done, assert_harmless, command, contents, environ, finished, run
from tests.fake_glance import DATA, GOOD, FakeGlance
from tests.glances import metadata
from tests.scripted_http import FORWARD, Reply, Request, ScriptedHttp
from tests.test_cli_bad_input import EVIL

HTML = {"Content-Type": "text/html"}
NO_SERVER: dict[str, tuple[Reply, str]] = {
    "a web page": (Reply(200, b"<html><body><h1>It works</h1></body></html>", HTML), "no Glance v2"),
    "other JSON": (Reply.json({"servers": []}), "no list of images"),
    "no object": (Reply.json([1]), "no list of images"),
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


@pytest.mark.parametrize("name", BAD_DATA)
def test_an_image_that_cannot_be_read_is_recorded_and_stops_no_other(name: str, tmp_path: Path) -> None:
    replies, action, message = BAD_DATA[name]
    with FakeGlance(*replies) as server:
        done = run("dump", server.url, tmp_path / "x.gla", "--json", impatient=True)
    assert done.code == 1
    bad, good = done.images[server.bad["id"]], done.images[server.good["id"]]
    assert (bad["action"], good["action"], good["verified"]) == (action, "copied", "sha512")
    assert message in bad["reason"]
    assert contents(tmp_path).keys() == {"x.gla"}
    with glancearchive.open(tmp_path / "x.gla") as opened:
        assert glancearchive.verify(opened).ok
        recorded = {image.id: (image.status, image.reason) for image in opened}
    status = "no-data" if action == "refused" else "failed"
    assert recorded == {server.bad["id"]: (status, bad["reason"]), server.good["id"]: ("complete", "")}


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
    extracted = run("extract", tmp_path / "x.gla", "-o", "out/", cwd=tmp_path)
    assert extracted.code == 1
    assert {path.name for path in tmp_path.iterdir()} == {"x.gla", "y.gla", "out"}


@pytest.mark.parametrize("listing", [{}, {"images": [{}]}, {"images": [7]}, {"images": [{"id": None}]}])
def test_a_listing_that_makes_no_sense(listing: Any, tmp_path: Path) -> None:
    with FakeGlance() as server:
        server.on("GET", "/v2/images", Reply.json({"images": [server.good]}), Reply.json(listing))
        done = run("dump", server.url, tmp_path / "x.gla", impatient=True)
    assert_stopped(done, "listing images")
    assert "x.gla" not in contents(tmp_path)


REFUSALS: dict[str, tuple[str, list[Reply], str, str]] = {
    "create 403": ("POST", [Reply(403, b"{}")], "failed", "403"),
    "create 409": ("POST", [Reply(409, b"{}")], "conflict", "refuses its id"),
    "create 413": ("POST", [Reply(413, b"{}")], "failed", "413"),
    "create 500": ("POST", [Reply(500, b"{}")], "failed", "500"),
    "upload 403": ("PUT", [Reply(403, b"{}")], "failed", "403"),
    "upload 413": ("PUT", [Reply(413, b'{"message": "quota"}')], "failed", "413.*quota"),
    "upload 415": ("PUT", [Reply(415, b"{}")], "failed", "415"),
    "upload 500": ("PUT", [Reply(500, b"{}")], "failed", "500"),
    "upload 503": ("PUT", [Reply(503, b"{}")], "failed", "503"),
    "upload cut each time": ("PUT", [Reply(cut_request=1_000_000)], "failed", "."),
    "update 500": ("PATCH", [Reply(503, b"{}")], "failed", "503"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_an_image_that_the_server_will_not_take_stops_no_other(name: str, archive: Path, glance_b: Glance) -> None:
    method, replies, action, message = REFUSALS[name]
    with glancearchive.open(archive) as opened:
        bad, good = (image.id for image in opened)
    path = {"POST": "/v2/images", "PUT": f"/v2/images/{bad}/file", "PATCH": f"/v2/images/{bad}"}[method]
    with ScriptedHttp(glance_b.url) as server:
        if method == "POST":

            def create(request: Request) -> Reply:
                return replies[0] if bad.encode() in request.body else FORWARD

            server.responders[method, path] = create
        else:
            server.on(method, path, *replies)
        done = run("load", server.url, archive, "--json", impatient=True)
    assert done.code == 1
    outcome = done.images[bad]
    assert (outcome["action"], done.images[good]["action"]) == (action, "copied")
    assert re.search(message, outcome["reason"]), outcome["reason"]
    assert glance_b.client().download(good) == GOOD
    left = glance_b.client().images().get(bad)
    assert left is None or left["visibility"] == "private"
    if left is not None:
        # Nothing stands in the way of another attempt.
        again = run("load", glance_b.url, archive, "--json")
        assert (again.code, again.images[bad]["action"]) == (0, "copied"), again.stderr
        assert glance_b.client().download(bad) == DATA


def test_an_interrupted_dump_ends_at_once(tmp_path: Path) -> None:
    interrupted(tmp_path, signal.SIGINT, lambda server: ["dump", server.url, tmp_path / "x.gla", "-q"])


def test_a_terminated_dump_ends_at_once(tmp_path: Path) -> None:
    interrupted(tmp_path, signal.SIGTERM, lambda server: ["dump", server.url, tmp_path / "x.gla", "--json"])


def interrupted(directory: Path, number: signal.Signals, arguments: Callable[[FakeGlance], list[Any]]) -> None:
    """A server that stops answering in the middle of an image must not keep the program from ending."""
    reached, release = threading.Event(), threading.Event()
    with FakeGlance() as server:

        def stall(_request: Request) -> Reply:
            reached.set()
            release.wait(60)
            return Reply(200, DATA)

        server.responders["GET", server.data_path(server.bad)] = stall
        with subprocess.Popen(
            command(*arguments(server)), env=environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
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
    assert "x.gla" not in contents(directory)
