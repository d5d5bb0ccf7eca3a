"""Faults on the way to a real Glance, and a real Glance that dies and comes back."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.glance import MIB, Glance
from tests.cloud.images import pattern
from tests.faults.wire import Wire
from tests.faults.world import Region, assert_archive, assert_innocent, assert_loaded, forget, reset
from tests.faults.zygote import Zygote
from tests.scripted_http import FORWARD, Reply, Request, ScriptedHttp

STEPS: dict[str, Any] = {"interval": 0.02, "frame": 1 << 18, "wait": 0.05}
REFUSED = Reply.json({"message": "Getting images randomly from this store is not supported."}, 400)


@pytest.fixture
def proxy(region: Region) -> Iterator[ScriptedHttp]:
    with ScriptedHttp(region.glance.url) as running:
        yield running


def largest(region: Region) -> str:
    return max(region.data, key=lambda one: len(region.data[one]))


def data_path(image_id: str) -> str:
    return f"/v2/images/{image_id}/file"


def dump(zygote: Zygote, url: str, path: Path, region: Region) -> str:
    """A dump that comes through in one run; what it said."""
    done = zygote.run("dump", url, path, "--json", "--jobs", "1", **STEPS)
    assert done.code == 0, done.stderr
    assert_archive(path, region)
    return done.stderr


@pytest.mark.parametrize("at", [1, MIB + 1])
def test_a_connection_cut_at_a_byte(at: int, zygote: Zygote, region: Region, tmp_path: Path) -> None:
    total = sum(map(len, region.data.values()))
    with Wire(region.glance.port) as wire:
        done = zygote.run("dump", wire.url, tmp_path / "whole.gla", "--jobs", "1")
        assert done.code == 0
        undisturbed, wire.received = wire.received, 0
        wire.cuts = [at + 300] * (4 if at < MIB else 12)
        said = dump(zygote, wire.url, tmp_path / "a.gla", region)
        again = wire.received - undisturbed
    cuts = len(re.findall(r"attempt \d of 7", said))
    print(f"{cuts} cuts after {at} bytes: {again} of {total} bytes came again, {again // max(cuts, 1)} for each cut")
    assert again <= cuts * 8 * MIB  # the file store serves ranges


@pytest.mark.parametrize(("rate", "delay"), [(16e6, 0.0), (0.0, 0.004)], ids=["throttled", "delayed"])
def test_a_slow_network_costs_time_only(
    rate: float, delay: float, zygote: Zygote, region: Region, archive: Path, target: Glance, tmp_path: Path
) -> None:
    carried = []
    for name in ("fast", "slow"):
        with Wire(region.glance.port) as source, Wire(target.port) as sink:
            if name == "slow":
                source.rate, source.delay, sink.rate, sink.delay = rate, delay, rate, delay
            said = dump(zygote, source.url, tmp_path / f"{name}.gla", region)
            done = zygote.run("load", sink.url, archive, "--jobs", "1", **STEPS)
            assert done.code == 0, done.stderr
            assert "attempt" not in said + done.stderr
            carried.append((source.received, sink.sent))
        assert_loaded(target, region)
        reset(target)
    again = [slow - fast for fast, slow in zip(*carried, strict=True)]
    print(f"again: {again[0]} bytes of a dump, {again[1]} bytes of a load")
    assert all(abs(one) < 4096 for one in again)  # heads of requests and answers


def test_a_connection_that_falls_silent(
    zygote: Zygote, region: Region, archive: Path, target: Glance, tmp_path: Path
) -> None:
    """After a timeout it is as if it had been cut: a dump goes on at its byte, a load sends the image again."""
    total = sum(map(len, region.data.values()))
    with Wire(region.glance.port) as wire:
        wire.stalls = [MIB] * 3
        done = zygote.run("dump", wire.url, tmp_path / "a.gla", "--jobs", "1", timeout=0.5, **STEPS)
        assert done.code == 0, done.stderr
        assert_archive(tmp_path / "a.gla", region)
        tries = len(re.findall(r"attempt \d of 7", done.stderr))
        again = wire.received - total
    print(f"silent after 1 MiB, {tries} times: {again} bytes of a dump came again")
    assert tries == 3
    assert again <= tries * (MIB + MIB // 4)  # the piece of 1 MiB that it was in, and the overlap
    with Wire(target.port) as wire:
        wire.stalls = [MIB]
        done = zygote.run("load", wire.url, archive, "--jobs", "1", timeout=0.5, **STEPS)
        assert done.code == 0, done.stderr
        assert "attempt 2 of 7" in done.stderr
        print(f"silent after 1 MiB of an upload: {wire.sent - total} bytes of a load were sent again")
    assert_loaded(target, region)


FAULTS: dict[str, list[Reply]] = {
    "429": [Reply(429, b"slow down", {"Retry-After": "1"}), FORWARD],
    "500": [Reply(500, b"database is locked"), FORWARD],
    "502": [Reply(502, b"<html>bad gateway</html>"), FORWARD],
    "503": [Reply(503, b"", {"Retry-After": "2"}), FORWARD],
    "504": [Reply(504, b""), FORWARD],
    "cut, then 504, 429": [Reply(forward=True, cut=MIB), Reply(504, b""), Reply(429, b""), FORWARD],
    "no answer": [Reply(drop=True), FORWARD],
    "answer lost": [Reply(lose=True), FORWARD],
    "cut, then ranges refused": [Reply(forward=True, cut=3 * MIB), REFUSED, FORWARD],
    "cut at each range": [*[Reply(forward=True, cut=MIB)] * 6, FORWARD],
}


def groups(faults: dict[str, list[Reply]], region: Region) -> list[dict[str, tuple[str, list[Reply]]]]:
    """The faults by image id, as many at a time as there are images that are large enough."""
    images = [image_id for image_id, data in region.data.items() if len(data) > MIB]
    named = list(faults.items())
    return [dict(zip(images, named[at : at + len(images)], strict=False)) for at in range(0, len(named), len(images))]


def test_trouble_within_one_run(zygote: Zygote, region: Region, proxy: ScriptedHttp, tmp_path: Path) -> None:
    for number, group in enumerate(groups(FAULTS, region)):
        for image_id, (_, replies) in group.items():
            proxy.on("GET", data_path(image_id), *replies)
        said = dump(zygote, proxy.url, tmp_path / f"{number}.gla", region)
        for image_id, (name, _) in group.items():
            told = [line for line in said.splitlines() if image_id in line and re.search(r"attempt 2 of [37] in", line)]
            assert told, (name, said)  # retries are bounded and shown


def interrupted(zygote: Zygote, region: Region, proxy: ScriptedHttp, path: Path) -> None:
    """A dump whose server is gone in the middle of the largest image, for good."""
    proxy.on("GET", data_path(largest(region)), Reply(forward=True, cut=5 * MIB), Reply(drop=True))
    done = zygote.run("dump", proxy.url, path, "--jobs", "1", **STEPS)
    assert (done.code, done.stdout) == (3, b"")
    assert "the same command goes on from there" in done.stderr
    assert not path.exists()


def everything(region: Region, cut: int | None = None) -> Callable[[Request], Reply]:
    """A server that promises a range and sends the whole image."""
    data = region.data[largest(region)]

    def answer(request: Request) -> Reply:
        begin = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if not begin:
            return Reply(200, data)
        return Reply(206, data, {"Content-Range": f"bytes {begin[1]}-{len(data) - 1}/{len(data)}"})

    return answer


def wrong_place(region: Region) -> Callable[[Request], Reply]:
    """A server that sends the beginning as if it were the rest, once; then it is well."""
    data = region.data[largest(region)]
    lies = [True]

    def answer(request: Request) -> Reply:
        begin = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if begin and lies:
            lies.clear()
            rest = len(data) - int(begin[1])
            return Reply(206, data[:rest], {"Content-Range": f"bytes {begin[1]}-{len(data) - 1}/{len(data)}"})
        return FORWARD

    return answer


RESUMES: dict[str, Callable[[Region], Callable[[Request], Reply]]] = {
    "ranges served": lambda region: lambda request: FORWARD,
    "ranges refused with 400": lambda region: lambda request: REFUSED if "Range" in request.headers else FORWARD,
    "200 instead of 206": lambda region: lambda request: Reply(200, region.data[largest(region)]),
    "206 with everything": everything,
    "206 with the wrong bytes": wrong_place,
}


@pytest.mark.parametrize("how", RESUMES)
def test_a_dump_goes_on_whatever_the_store_makes_of_ranges(
    how: str, zygote: Zygote, region: Region, proxy: ScriptedHttp, tmp_path: Path
) -> None:
    path = tmp_path / "a.gla"
    interrupted(zygote, region, proxy, path)
    stored = (tmp_path / "a.gla.part").stat().st_size
    proxy.on("GET", data_path(largest(region)), FORWARD)
    proxy.responders["GET", data_path(largest(region))] = RESUMES[how](region)
    proxy.requests.clear()
    said = dump(zygote, proxy.url, path, region)
    ranges = [one.headers.get("Range") for one in proxy.requests if one.path == data_path(largest(region))]
    print(f"{how}: asked for {ranges} of {len(region.data[largest(region)])}")
    assert ranges[0] is not None
    begin = int(ranges[0].removeprefix("bytes=").removesuffix("-"))
    assert begin >= 4 * MIB  # of the five that came
    if how != "206 with the wrong bytes":
        assert "read again" not in said
        # What was stored is not stored again, even where it had to be sent again.
        assert path.stat().st_size - stored < sum(map(len, region.data.values())) - 5 * MIB


def test_an_image_that_changed_meanwhile_is_begun_again(
    zygote: Zygote, region: Region, proxy: ScriptedHttp, tmp_path: Path
) -> None:
    """The id is the same and the data are others, as no Glance does it, but a restored one may."""
    path = tmp_path / "a.gla"
    image_id = largest(region)
    data = pattern(len(region.data[image_id]), 99)
    interrupted(zygote, region, proxy, path)
    proxy.on("GET", data_path(image_id), Reply(200, data))
    done = zygote.run("dump", proxy.url, path, "--json", **STEPS)
    # Its record still states the digest of the old data.
    assert done.code == 1
    outcome = done.images[image_id]
    assert (outcome["action"], outcome["reason"].split(" is ")[0]) == ("failed", "its sha512")
    assert "does not continue what the archive has of it" in done.stderr


def test_a_server_that_dies_and_comes_back(zygote: Zygote, make_glance: Callable[..., Glance], tmp_path: Path) -> None:
    """kill -9 in the middle of a GET: within one run when it is back soon, else by the same command."""
    own = Region(make_glance())
    own.fill(scale=1)
    total = sum(map(len, own.data.values()))
    with Wire(own.glance.port) as wire:
        wire.rate = 16e6
        child = zygote.start("dump", wire.url, tmp_path / "a.gla", "--jobs", "1", interval=0.02, frame=1 << 18)
        while wire.received < 3 * MIB:
            assert child.alive(), child.stderr()
        own.glance.kill()
        wire.drop()
        while "attempt" not in child.stderr():
            assert child.alive(), child.stderr()
        own.glance.start()
        wire.rate = 0
        done = child.wait()
        received = wire.received
    assert done is not None
    assert done.code == 0, done.stderr
    assert_archive(tmp_path / "a.gla", own)
    print(f"server killed in a GET: {received - total} bytes more than the {total} of the images")
    assert received - total <= 8 * MIB


def test_a_server_that_dies_for_good_and_is_there_again_later(
    zygote: Zygote, make_glance: Callable[..., Glance], tmp_path: Path
) -> None:
    own = Region(make_glance())
    own.fill(scale=1)
    with Wire(own.glance.port) as wire:
        wire.rate = 16e6
        child = zygote.start("dump", wire.url, tmp_path / "a.gla", "--jobs", "1", **STEPS)
        while wire.received < 3 * MIB:
            assert child.alive(), child.stderr()
        own.glance.kill()
        wire.drop()
        done = child.wait()
        assert done is not None
        assert (done.code, done.stdout) == (3, b"")
        own.glance.start()
        wire.rate, before = 0, wire.received
        dump(zygote, wire.url, tmp_path / "a.gla", own)
        print(f"the second run received {wire.received - before} bytes, the first {before}")


def test_a_target_that_is_out_of_reach_for_a_while(
    zygote: Zygote, region: Region, archive: Path, target: Glance
) -> None:
    """In the middle of an upload, and soon enough for the same run."""
    total = sum(map(len, region.data.values()))
    with Wire(target.port) as wire:
        wire.rate = 16e6
        child = zygote.start("load", wire.url, archive, "--json", "--jobs", "1", **STEPS)
        while wire.sent < 2 * MIB:
            assert child.alive(), child.stderr()
        wire.away = True
        wire.drop()
        while "attempt" not in child.stderr():
            assert child.alive(), child.stderr()
        assert_innocent(target, region)
        wire.away, wire.rate = False, 0
        done = child.wait()
        again = wire.sent - total
    assert done is not None
    assert done.code == 0, done.stderr
    print(f"out of reach in an upload: {again} bytes more than the {total} of the images")
    assert again <= max(map(len, region.data.values())) + (1 << 16)
    assert_loaded(target, region)


def test_a_target_that_dies_in_an_upload(
    zygote: Zygote, region: Region, archive: Path, make_glance: Callable[..., Glance]
) -> None:
    """That leaves `saving` for ever, as Glance has no way back: it is reported, or replaced where that is asked for."""
    target = make_glance()
    with Wire(target.port) as wire:
        wire.rate = 16e6
        child = zygote.start("load", wire.url, archive, "--jobs", "1", **STEPS)
        while wire.sent < 2 * MIB:
            assert child.alive(), child.stderr()
        target.kill()
        wire.drop()
        done = child.wait()
        assert done is not None
        assert (done.code, done.stdout) == (3, b"")
        target.start()
        assert_innocent(target, region)
        wire.rate = 0
        again = zygote.run("load", wire.url, archive, "--json", "--jobs", "4", **STEPS)
    stuck = [image for image in again.images.values() if image["action"] == "failed"]
    assert again.code == 1
    assert [("saving" in image["reason"]) for image in stuck] == [True]
    assert all(image["action"] in ("copied", "present") or image in stuck for image in again.images.values())
    assert_innocent(target, region)
    assert "; --id-policy new does so once it has been so for 3600 seconds; now it is " in stuck[0]["reason"]
    with closing(sqlite3.connect(target.database, timeout=60)) as database, database:  # more than an hour later
        database.execute("UPDATE images SET updated_at = '2020-01-01 00:00:00' WHERE id = ?", (stuck[0]["id"],))
    later = zygote.run("load", target.url, archive, "--json", **STEPS)
    assert later.images[stuck[0]["id"]]["reason"].endswith("; --id-policy new deletes it and loads it under another id")
    with Wire(target.port) as wire:
        renewed = zygote.run("load", wire.url, archive, "--json", "--id-policy", "new", **STEPS)
        print(f"a new id: {wire.sent} bytes were sent for an image of {len(region.data[stuck[0]['id']])}")
    assert renewed.code == 0, renewed.stderr
    assert {one["id"] for one in renewed.images.values() if one["new_id"]} == {stuck[0]["id"]}
    new_id = renewed.images[stuck[0]["id"]]["new_id"]
    assert target.client().images().keys() == region.data.keys() - {stuck[0]["id"]} | {new_id}
    assert target.client().download(new_id) == region.data[stuck[0]["id"]]
    # An operator who wants the old id purges the database instead; then the same command loads it under that.
    target.client().delete(new_id)
    forget(target, stuck[0]["id"])
    forget(target, new_id)
    assert zygote.run("load", target.url, archive, **STEPS).code == 0
    assert_loaded(target, region)


UPLOADS: dict[str, list[Reply]] = {
    "cut in the body": [Reply(cut_request=MIB), FORWARD],
    "answer lost": [Reply(lose=True), FORWARD],
    "429": [Reply(429, b"later", {"Retry-After": "1"}), FORWARD],
    "500": [Reply(500, b""), FORWARD],
    "502, 504": [Reply(502, b""), Reply(504, b""), FORWARD],
    "401 before the body is read": [Reply(401, b"", hasty=True), FORWARD],
    "401 after the body was read": [Reply(401, b""), FORWARD],
}


def test_trouble_in_an_upload(zygote: Zygote, region: Region, archive: Path, target: Glance) -> None:
    for group in groups(UPLOADS, region):
        with ScriptedHttp(target.url) as proxy:
            for image_id, (_, replies) in group.items():
                proxy.on("PUT", data_path(image_id), *replies)
            done = zygote.run("load", proxy.url, archive, "--json", "--jobs", "1", **STEPS)
        assert_innocent(target, region)
        assert done.code == 0, (group, done.stderr)
        assert_loaded(target, region)
        reset(target)
