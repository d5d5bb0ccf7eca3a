"""Real processes, killed with SIGKILL in front of a real Glance at random instants, and started again."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import write_archive
from tests.cloud.glance import Glance
from tests.faults.kills import STEPS, kill_when, killed_dumps, killed_loads, size_of
from tests.faults.wire import Wire
from tests.faults.world import Region, assert_archive, assert_innocent, assert_loaded, common
from tests.faults.zygote import Child, Zygote
from tests.glances import DATA, metadata
from tests.scripted_http import FORWARD, Reply, Request, ScriptedHttp

SEED = int(os.environ.get("FAULTS_SEED", "1"))


@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
def test_dumps_killed_at_random_instants(seed: int, zygote: Zygote, region: Region, tmp_path: Path) -> None:
    kills, received = killed_dumps(zygote, region, tmp_path / "a.gla", random.Random(seed), most=8)
    total = sum(map(len, region.data.values()))
    print(f"seed {seed}: {kills} kills, {received - total} bytes more than the {total} of the images")


@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
def test_loads_killed_at_random_instants(
    seed: int, zygote: Zygote, region: Region, archive: Path, target: Glance
) -> None:
    kills, sent = killed_loads(zygote, region, archive, target, random.Random(seed), most=8)
    total = sum(map(len, region.data.values()))
    print(f"seed {seed}: {kills} kills, {sent - total} bytes more than the {total} of the images")


def test_loads_with_a_new_id_killed_at_random_instants(
    zygote: Zygote, region: Region, archive: Path, target: Glance
) -> None:
    """Whatever is killed when, the image is there once."""
    kills, sent = killed_loads(zygote, region, archive, target, random.Random(SEED), most=8, renew=True)
    print(f"{kills} kills, {sent - sum(map(len, region.data.values()))} bytes more than those of the images")


class KillingProxy(ScriptedHttp):
    """Kills `child` when its request number `fatal` comes, or a `deadly` one, which then never reaches the server."""

    def __init__(self, upstream: str, fatal: int = 0, deadly: str = "") -> None:
        super().__init__(upstream)
        self.fatal = fatal
        self.deadly = deadly
        self.seen = 0
        self.child: Child | None = None

    def take(self, method: str, path: str) -> Reply:
        self.seen += 1
        if self.seen == self.fatal or method == self.deadly:
            assert self.child is not None
            self.child.kill()
            return Reply(drop=True)
        return super().take(method, path)


def test_a_load_killed_before_each_of_its_requests(
    zygote: Zygote, region: Region, archive: Path, target: Glance
) -> None:
    """Each run goes on where the one before was killed, and may do one request more."""
    for fatal in range(1, 200):
        with KillingProxy(target.url, fatal) as proxy:
            child = zygote.start("load", proxy.url, archive, "--json", "--jobs", "1", **STEPS)
            proxy.child = child
            done = child.wait()
        assert_innocent(target, region)
        if done is not None:
            break
    assert fatal > len(region.data)
    assert done is not None
    assert done.code == 0, done.stderr
    assert_loaded(target, region)


INSTANTS = {
    "before create": ("POST", False),
    "after create": ("POST", True),
    "before the upload": ("PUT", False),
    "after the upload": ("PUT", True),
    "before the final metadata": ("PATCH", False),
    "after the final metadata": ("PATCH", True),
}
STATES = {"POST": (None, "queued"), "PUT": ("queued", "active"), "PATCH": ("active", "active")}


def one_image(region: Region, directory: Path) -> tuple[str, Path]:
    """The largest image, which is to be hidden and for everybody, in an archive of its own."""
    image_id = max(region.data, key=lambda one: len(region.data[one]))
    return image_id, write_archive(directory / "one.gla", (region.metadata[image_id], region.data[image_id]))


def assert_finished(target: Glance, region: Region, image_id: str) -> None:
    (found,) = target.client().images().values()
    assert common(found) == common(region.metadata[image_id])
    assert target.client().download(image_id) == region.data[image_id]


@pytest.mark.parametrize("instant", INSTANTS)
def test_a_load_killed_at_an_instant_is_finished_from_another_machine(
    instant: str, zygote: Zygote, region: Region, target: Glance, tmp_path: Path
) -> None:
    method, served = INSTANTS[instant]
    image_id, one = one_image(region, tmp_path)
    path = {"POST": "/v2/images", "PUT": f"/v2/images/{image_id}/file", "PATCH": f"/v2/images/{image_id}"}[method]
    with ScriptedHttp(target.url) as proxy:
        children: list[Child] = []

        def kill(request: Request) -> Reply:
            """All of the request has come by now; the answer goes nowhere."""
            if served:
                kind = {"Content-Type": request.headers["Content-Type"]}
                assert target.client().call(method, path, data=request.body, headers=kind).ok
            children.pop().kill()
            return Reply(503, b"")

        proxy.responders[method, path] = kill
        proxy.on(method, path, FORWARD)
        child = zygote.start("load", proxy.url, one, env={"XDG_STATE_HOME": str(tmp_path / "here")}, **STEPS)
        children.append(child)
        assert child.wait() is None
        assert not children
    assert_innocent(target, region)
    found = target.client().images().get(image_id)
    assert (found["status"] if found else None) == STATES[method][served]
    again = zygote.run("load", target.url, one, "--json", env={"XDG_STATE_HOME": str(tmp_path / "there")}, **STEPS)
    assert again.code == 0, again.stderr
    finished = instant == "after the final metadata"
    assert again.images[image_id]["action"] == ("present" if finished else "copied")
    assert_finished(target, region, image_id)


def test_a_load_killed_in_the_middle_of_an_upload_is_finished_from_another_machine(
    zygote: Zygote, region: Region, target: Glance, tmp_path: Path
) -> None:
    image_id, one = one_image(region, tmp_path)
    with Wire(target.port) as wire:
        wire.rate = 16e6
        child = zygote.start("load", wire.url, one, env={"XDG_STATE_HOME": str(tmp_path / "here")}, **STEPS)
        assert kill_when(child, lambda: wire.sent > 2 << 20)
    assert_innocent(target, region)
    again = zygote.run("load", target.url, one, "--json", env={"XDG_STATE_HOME": str(tmp_path / "there")}, **STEPS)
    assert (again.code, again.images[image_id]["action"]) == (0, "copied"), again.stderr
    assert_finished(target, region, image_id)


def test_a_load_killed_in_a_trial_leaves_nothing_behind(
    zygote: Zygote, make_glance: Callable[..., Glance], tmp_path: Path
) -> None:
    """A trial is made where the image does not look like what its record says."""
    target = make_glance(options={"image_format": {"require_image_format_match": False}})
    image = metadata(DATA, disk_format="qcow2")
    one = write_archive(tmp_path / "one.gla", (image, DATA))
    with KillingProxy(target.url, deadly="PUT") as proxy:
        child = proxy.child = zygote.start("load", proxy.url, one, **STEPS)
        assert child.wait() is None
    (left,) = target.client().images().values()
    assert left["name"] == f"glancearchive trial for {image['id']}"
    assert zygote.run("load", target.url, one, **STEPS).code == 0
    assert target.client().images().keys() == {image["id"]}


def test_two_loads_at_once(zygote: Zygote, other_zygote: Zygote, region: Region, archive: Path, target: Glance) -> None:
    children = [one.start("load", target.url, archive, "--json", **STEPS) for one in (zygote, other_zygote)]
    ends = [child.wait() for child in children]
    assert_innocent(target, region)
    for end in ends:
        assert end is not None
        assert end.code in (0, 1), end.stderr
        assert {image["action"] for image in end.images.values()} <= {"copied", "present", "failed"}
    again = zygote.run("load", target.url, archive, "--json", **STEPS)
    assert again.code == 0, again.stderr
    assert_loaded(target, region)


def test_two_dumps_into_one_archive(zygote: Zygote, other_zygote: Zygote, region: Region, tmp_path: Path) -> None:
    """The second is told so and touches nothing; the lock of a killed process is gone with it."""
    path = tmp_path / "a.gla"
    part = tmp_path / "a.gla.part"
    with ScriptedHttp(region.glance.url) as proxy:
        largest = max(region.data, key=lambda one: len(region.data[one]))
        proxy.on("GET", f"/v2/images/{largest}/file", Reply(503, b"later"))
        first = zygote.start("dump", proxy.url, path, "--json", interval=0.02, frame=1 << 18)
        while size_of(part) <= 1000:
            assert first.alive()
        second = other_zygote.run("dump", proxy.url, path)
        assert (second.code, second.stdout) == (3, b"")
        assert "another process is writing it" in second.error
        assert first.alive()
        first.kill()
        assert first.wait() is None
        proxy.on("GET", f"/v2/images/{largest}/file", Reply(forward=True))
        assert other_zygote.run("dump", proxy.url, path).code == 0
    assert_archive(path, region)
