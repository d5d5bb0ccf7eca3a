"""Copying from Glance to Glance, with two real ones, and what a dry run of it says."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from glancearchive.endpoints.policy import MARK
from tests.archives import write_archive
from tests.cloud.glance import MIB, Glance
from tests.cloud.images import pattern
from tests.command import Done, contents
from tests.fake_glance import DATA as FAKED
from tests.fake_glance import FakeGlance
from tests.faults.wire import Wire
from tests.faults.zygote import Zygote
from tests.glances import carried, metadata
from tests.scripted_http import FORWARD, Reply, ScriptedHttp

BIG = pattern(6 * MIB + 4321)
SMALL = pattern(200_001, 1)


@pytest.fixture(scope="module")
def pair(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Glance, Glance]]:
    """Two Glances of this module's own. Each test has a tag for its images."""
    with Glance(tmp_path_factory.mktemp("from")) as a, Glance(tmp_path_factory.mktemp("to")) as b:
        yield a, b


@pytest.fixture
def proxies(pair: tuple[Glance, Glance]) -> Iterator[tuple[ScriptedHttp, ScriptedHttp]]:
    """Something in front of each that counts, and can be told to misbehave."""
    with ScriptedHttp(pair[0].url) as a, ScriptedHttp(pair[1].url) as b:
        yield a, b


def data_path(image_id: str) -> str:
    return f"/v2/images/{image_id}/file"


def data_requests(proxy: ScriptedHttp) -> list[str]:
    return [request.method for request in proxy.requests if request.path.endswith("/file")]


def writes(proxy: ScriptedHttp) -> list[str]:
    return [f"{request.method} {request.path}" for request in proxy.requests if request.method != "GET"]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as running:
        yield running


Copy = Callable[..., Done]


@pytest.fixture
def copy(zygote: Zygote) -> Copy:
    def go(a: Any, b: Any, *options: str | Path, **changes: Any) -> Done:
        return zygote.run("livecopy", a.url, b.url, "--json", *options, wait=0.02, **changes)

    return go


def test_everything_arrives_on_the_wire(
    pair: tuple[Glance, Glance], proxies: tuple[ScriptedHttp, ScriptedHttp], tmp_path: Path, copy: Copy, zygote: Zygote
) -> None:
    here, there = (glance.client() for glance in pair)
    made = [
        here.add(
            BIG, name="big", visibility="public", protected=True, tags=["all", "lts"], os_distro="debian", hw="04"
        ),
        here.add(SMALL, name="small", visibility="shared", os_hidden=True, tags=["all"], min_disk=3),
        here.add(b"", name="empty", tags=["all"]),
        here.create(name="queued", tags=["all"]),
    ]
    here.add_member(made[1]["id"], "somebody", "accepted")
    here.add_member(made[1]["id"], "another")

    # There is room for the result, and for nothing else: nothing lies in between.
    env = {"TMPDIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    done = copy(*pair, env=env, largest_file=1 << 16)
    assert done.code == 0, done.stderr
    assert contents(tmp_path) == {}
    assert {image["name"]: image["action"] for image in done.json["images"]} == {
        "big": "copied",
        "small": "copied",
        "empty": "copied",
        "queued": "no-data",
    }
    assert (done.json["from"], done.json["to"]) == tuple(f"glance {glance.url}" for glance in pair)
    for image in made:
        found, original = (carried(client.show(image["id"])) for client in (there, here))
        for each in (found, original):
            each["tags"] = sorted(each["tags"])  # Glance has them in no order
        assert found == original
    assert there.download(made[0]["id"]) == BIG
    members = {one["member_id"]: one["status"] for one in there.members(made[1]["id"])}
    assert members == {"somebody": "accepted", "another": "pending"}

    compared = zygote.run("compare", pair[0].url, pair[1].url, "--json")
    assert (compared.code, compared.json["findings"], compared.json["same"]) == (0, [], 4)

    again = copy(*proxies)
    assert (again.code, {image["action"] for image in again.json["images"]}) == (0, {"present", "no-data"})
    assert data_requests(proxies[0]) == []
    assert writes(proxies[1]) == []


def test_a_source_that_is_cut_goes_on_within_the_same_upload(
    pair: tuple[Glance, Glance], proxies: tuple[ScriptedHttp, ScriptedHttp], copy: Copy
) -> None:
    image = pair[0].client().add(BIG, tags=["cut"])
    # The first request is for the image's head only.
    cuts = [Reply(forward=True, cut=at) for at in (2 * MIB + 17, MIB, 1)]
    proxies[0].on("GET", data_path(image["id"]), FORWARD, *cuts, FORWARD)
    done = copy(*proxies, "--tag", "cut")
    assert (done.code, done.images[image["id"]]["verified"]) == (0, "sha512")
    assert "attempt" in done.stderr
    assert data_requests(proxies[1]) == ["PUT"]
    ranges = [request.headers.get("Range") for request in proxies[0].requests if request.path.endswith("/file")]
    assert ranges[:2] == [None, None]
    assert len(ranges) == 5
    assert all(ranges[2:])
    assert pair[1].client().download(image["id"]) == BIG


def test_a_target_that_is_cut_gets_the_image_again(
    pair: tuple[Glance, Glance], proxies: tuple[ScriptedHttp, ScriptedHttp], copy: Copy
) -> None:
    image = pair[0].client().add(BIG, tags=["torn"])
    proxies[1].on("PUT", data_path(image["id"]), Reply(cut_request=3 * MIB), Reply(lose=True), FORWARD)
    done = copy(*proxies, "--tag", "torn")
    assert (done.code, done.images[image["id"]]["action"]) == (0, "copied")
    assert pair[1].client().download(image["id"]) == BIG


def test_damaged_data_are_not_let_through_and_do_not_spend_the_id(
    pair: tuple[Glance, Glance], copy: Copy, zygote: Zygote
) -> None:
    """The source has other data than it says: it does not notice, and its target must never have them whole."""
    here, there = (glance.client() for glance in pair)
    images = {size: here.add(pattern(size, size), tags=["damaged"]) for size in (100, MIB, 3 * MIB + 1)}
    for size, image in images.items():
        path = pair[0].data_path(image["id"])
        data = bytearray(path.read_bytes())
        data[size // 2] ^= 1
        path.write_bytes(data)
    done = copy(*pair, "--tag", "damaged")
    assert done.code == 1
    for image in images.values():
        outcome = done.images[image["id"]]
        assert outcome["action"] == "failed"
        assert "its sha512 is" in outcome["reason"]
        assert str(image["os_hash_value"]) in outcome["reason"]
    # Nothing was created for those that the first MiB, which is looked at before, holds whole.
    large = images.pop(3 * MIB + 1)
    for image in images.values():
        assert there.call("GET", f"/v2/images/{image['id']}").status_code == 404
    for _ in range(200):
        found = there.show(large["id"])
        if found["status"] == "queued":
            break
        time.sleep(0.05)
    assert (found["status"], found["size"], found["visibility"], MARK in found) == ("queued", None, "private", True)
    images[3 * MIB + 1] = large
    for size, image in images.items():
        pair[0].data_path(image["id"]).write_bytes(pattern(size, size))
    mended = copy(*pair, "--tag", "damaged")
    assert (mended.code, {image["action"] for image in mended.json["images"]}) == (0, {"copied"})
    for size, image in images.items():
        assert there.download(image["id"]) == pattern(size, size)


def test_lost_data_are_refused_and_nothing_is_created(pair: tuple[Glance, Glance], copy: Copy) -> None:
    image = pair[0].client().add(SMALL, tags=["lost"])
    pair[0].data_path(image["id"]).unlink()
    done = copy(*pair, "--tag", "lost")
    (outcome,) = done.json["images"]
    assert (done.code, outcome["action"]) == (1, "refused")
    assert pair[1].client().call("GET", f"/v2/images/{image['id']}").status_code == 404


def test_killed_and_interrupted(pair: tuple[Glance, Glance], zygote: Zygote) -> None:
    image = pair[0].client().add(BIG, tags=["killed"])
    there = pair[1].client()
    for sent, code in ((signal.SIGKILL, None), (signal.SIGINT, 130)):
        with Wire(pair[0].port) as wire:
            wire.rate = 4 * MIB
            child = zygote.start("livecopy", wire.url, pair[1].url, "--tag", "killed")
            while there.call("GET", f"/v2/images/{image['id']}").json().get("status") != "saving":
                assert child.alive(), child.stderr()
                time.sleep(0.02)
            child.signal(sent)
            done = child.wait()
        assert (done.code if done else None) == code
        found = there.show(image["id"])
        assert (found["visibility"], MARK in found) == ("private", True)
    done = zygote.run("livecopy", pair[0].url, pair[1].url, "--tag", "killed", "--json")
    assert (done.code, done.images[image["id"]]["action"]) == (0, "copied")
    assert there.download(image["id"]) == BIG


def test_an_old_glance_with_md5_only_is_read_once(pair: tuple[Glance, Glance], copy: Copy) -> None:
    """The target has a SHA-512 to compare with. It is computed in passing, not by reading everything again."""
    with FakeGlance(os_hash_algo=None, os_hash_value=None) as old:
        done = copy(old, pair[1], "--name", "the bad image")
        (outcome,) = done.json["images"]
        assert (outcome["action"], outcome["verified"]) == ("copied", "sha512")
        assert old.count("GET", old.data_path(old.bad)) == 2  # its head, and all of it
    assert pair[1].client().download(str(outcome["id"])) == FAKED


def test_an_image_that_nobody_has_a_digest_of_is_a_finding(
    pair: tuple[Glance, Glance], copy: Copy, zygote: Zygote
) -> None:
    with FakeGlance(os_hash_algo=None, os_hash_value=None, checksum=None) as old:
        done = copy(old, pair[1], "--name", "the bad image")
        (outcome,) = done.json["images"]
        compared = zygote.run("compare", old.url, pair[1].url, "--json", "--name", "the bad image")
        read = zygote.run("compare", old.url, pair[1].url, "--json", "--name", "the bad image", "--read-data")
    # That the target has what was sent is sure; that this was what the source once had is not.
    assert (done.code, outcome["action"], outcome["verified"]) == (1, "copied", "sha512")
    assert "no digest to compare with" in outcome["reason"]
    (finding,) = [one for one in compared.json["findings"] if one["id"] == outcome["id"]]
    assert (finding["kind"], finding["reason"]) == ("no-digest", "A has no digest, B has sha512, md5")
    assert [one for one in read.json["findings"] if one["id"] == outcome["id"]] == []


# From elsewhere.


def test_from_an_archive(pair: tuple[Glance, Glance], tmp_path: Path, zygote: Zygote) -> None:
    image = metadata(SMALL)
    path = write_archive(tmp_path / "a.gla", (image, SMALL))
    done = zygote.run("livecopy", path, pair[1].url, "--json")
    assert (done.code, done.json["from"]) == (0, f"archive {path}")
    assert pair[1].client().download(image["id"]) == SMALL


def test_from_a_directory_whose_data_are_checked(pair: tuple[Glance, Glance], tmp_path: Path, zygote: Zygote) -> None:
    good, bad = metadata(SMALL), metadata(SMALL)
    archive = write_archive(tmp_path / "a.gla", (good, SMALL), (bad, SMALL))
    assert zygote.run("extract", archive, "-o", tmp_path / "images/").code == 0
    damaged = tmp_path / "images" / f"{bad['id']}.img"
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    done = zygote.run("livecopy", tmp_path / "images", pair[1].url, "--json")
    assert {one: image["action"] for one, image in done.images.items()} == {good["id"]: "copied", bad["id"]: "failed"}
    assert pair[1].client().call("GET", f"/v2/images/{bad['id']}").status_code == 404


# Dry runs.


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    pair: tuple[Glance, Glance], proxies: tuple[ScriptedHttp, ScriptedHttp], copy: Copy
) -> None:
    here, there = (glance.client() for glance in pair)
    new, queued = here.add(SMALL, tags=["dry"]), here.create(tags=["dry"])
    same, changed, other = (here.add(SMALL, name=name, tags=["dry"]) for name in ("same", "changed", "other"))
    for image in (same, changed, other):
        name = "renamed" if image is changed else image["name"]
        data = BIG if image is other else SMALL
        there.add(data, id=image["id"], name=name, tags=["dry"], visibility=image["visibility"])
    foreseen = copy(*proxies, "--tag", "dry", "--dry-run")
    assert writes(proxies[0]) == writes(proxies[1]) == []
    assert data_requests(proxies[0]) == data_requests(proxies[1]) == []
    actions = {one: image["action"] for one, image in foreseen.images.items()}
    assert actions == {
        new["id"]: "copied",
        queued["id"]: "no-data",
        same["id"]: "present",
        changed["id"]: "present",
        other["id"]: "conflict",
    }
    assert foreseen.images[changed["id"]]["differences"] == ["name: target has 'renamed', source has 'changed'"]
    assert foreseen.images[new["id"]]["size"] == len(SMALL)
    assert (foreseen.code, foreseen.json["dry_run"], foreseen.json["ok"]) == (1, True, False)
    brought = copy(*proxies, "--tag", "dry", "--dry-run", "--update-metadata")
    assert (brought.images[changed["id"]]["action"], brought.images[changed["id"]]["differences"]) == ("updated", [])
    assert writes(proxies[1]) == []

    done = copy(*pair, "--tag", "dry")
    assert {one: image["action"] for one, image in done.images.items()} == actions
    assert done.json["dry_run"] is False
    without = copy(*pair, "--tag", "dry", "--exclude", "other", "--exclude", "changed", "--dry-run")
    assert (without.code, {image["action"] for image in without.json["images"]}) == (0, {"present", "no-data"})


def test_a_dry_run_says_in_words_that_it_is_one(pair: tuple[Glance, Glance], zygote: Zygote) -> None:
    pair[0].client().add(SMALL, tags=["words"])
    done = zygote.run("livecopy", pair[0].url, pair[1].url, "--tag", "words", "--dry-run")
    assert done.text.startswith("dry run: 1 image: 1 copied")
    assert all(line.startswith("dry run: copied") for line in done.stderr.splitlines())


def test_a_copy_made_within_the_second_of_its_original_is_another_image(
    pair: tuple[Glance, Glance], zygote: Zygote
) -> None:
    image = pair[0].client().add(SMALL, tags=["second"])
    for action in ("copied", "present"):
        done = zygote.run("livecopy", pair[0].url, pair[1].url, "--tag", "second", "--json")
        assert (done.code, done.stderr) == (0, "")
        assert done.images[image["id"]]["action"] == action
        for glance in pair:
            with closing(sqlite3.connect(glance.database)) as database, database:
                times = ["2026-01-01 00:00:00.000000"] * 2
                database.execute("UPDATE images SET created_at = ?, updated_at = ? WHERE id = ?", (*times, image["id"]))


# What cannot be.


def test_the_same_glance_twice_by_whatever_name(pair: tuple[Glance, Glance], tmp_path: Path, zygote: Zygote) -> None:
    client = pair[0].client()
    image = client.add(SMALL)
    time.sleep(1)  # one that was made within a second tells nothing
    client.patch(image["id"], {"op": "add", "path": "/changed", "value": "later"})
    url = pair[0].url
    other = url.replace("127.0.0.1", "localhost")
    for arguments in ((url, url), (url, f"{url}/v2/"), (url, pair[0].address), (url, other), (other, pair[0].address)):
        done = zygote.run("livecopy", *arguments)
        assert (done.code, done.text) == (2, "")
        assert "FROM and TO are the same" in done.error
    # One address, and images of one second only: they are at both ends as they are in one.
    with closing(sqlite3.connect(pair[0].database, isolation_level=None)) as database:
        database.execute("UPDATE images SET updated_at = created_at")
    done = zygote.run("livecopy", url, other)
    assert (done.code, "FROM and TO are the same by two names" in done.error) == (2, True), done.error
    # An archive of the same Glance is another matter: that is how images come back.
    path = tmp_path / "a.gla"
    assert (
        zygote.run("dump", url, path, "--status", "active", "--exclude", "tag=damaged", "--exclude", "tag=lost").code
        == 0
    )
    assert zygote.run("livecopy", path, url).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nosuchcloud", "URL"], 2, "unknown cloud 'nosuchcloud'"),
        (["URL", "nosuchcloud"], 2, "unknown cloud 'nosuchcloud'"),
        (["HTML", "URL"], 3, "glance http://HTML: no Glance v2 there"),
        (["URL", "HTML"], 3, "glance http://HTML: no Glance v2 there"),
        (["URL", "a.gla"], 2, "a server is needed"),
        (["URL", "images/"], 2, "a server is needed"),
        (["URL", "new.gla"], 2, "a server is needed"),
        (["none.gla", "URL"], 3, "none.gla"),
        (["nothing", "URL"], 3, "no such file"),
        (["URL"], 2, "Missing argument 'TO'"),
        (["URL", "URL2", "--since", "yesterday"], 2, "'yesterday' is no time"),
        (["URL", "URL2", "--property", "x"], 2, "KEY=VALUE"),
        (["URL", "URL2", "--visibility", "secret"], 2, "--visibility 'secret'"),
        (["URL", "URL2", "--status", "complete"], 2, "--status 'complete'"),
        (["URL", "URL2", "--exclude", "tags=x"], 2, "--exclude 'tags=x'"),
        (["URL", "URL2", "--to-region", "x", "--jobs", "0"], 2, "--jobs"),
    ],
)
def test_bad_input(
    arguments: list[str], code: int, says: str, pair: tuple[Glance, Glance], zygote: Zygote, tmp_path: Path
) -> None:
    write_archive(tmp_path / "a.gla")
    (tmp_path / "images").mkdir()
    with ScriptedHttp() as page:
        for path in ("/v2/images", "/"):
            page.on("GET", path, Reply(200, b"<html><body>Welcome</body></html>", {"Content-Type": "text/html"}))
        places = {"URL": pair[0].url, "URL2": pair[1].url, "HTML": page.url.removeprefix("http://")}
        for name in ("a.gla", "none.gla", "images/", "nothing"):
            places[name] = f"{tmp_path}/{name}"
        done = zygote.run("livecopy", *(places.get(one, one) for one in arguments), wait=0.02)
    assert (done.code, done.text) == (code, "")
    assert says.replace("HTML", places["HTML"]) in done.stderr
    assert contents(tmp_path).keys() == {"a.gla"}


def test_filters_that_fit_nothing(
    pair: tuple[Glance, Glance], proxies: tuple[ScriptedHttp, ScriptedHttp], copy: Copy
) -> None:
    image = pair[0].client().add(SMALL, tags=["few"])
    done = copy(*proxies, "--tag", "no such tag")
    assert (done.code, done.json["images"], done.json["ok"]) == (1, [], False)
    assert "--tag no such tag" in done.stderr
    assert writes(proxies[1]) == []
    partly = copy(*pair, "--image", image["id"], "--image", "no such image")
    assert (partly.code, partly.json["ok"], list(partly.images)) == (1, False, [image["id"]])
    assert "there is no image 'no such image'" in partly.stderr
