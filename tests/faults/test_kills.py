"""Real processes, killed with SIGKILL in front of a real Glance at random instants, and started again."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.cloud.glance import Glance
from tests.faults.kills import STEPS, killed_dumps, killed_loads
from tests.faults.world import Region, assert_archive, assert_innocent, assert_loaded
from tests.faults.zygote import Child, Zygote
from tests.scripted_http import Reply, ScriptedHttp

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


class KillingProxy(ScriptedHttp):
    """Kills `child` when its request number `fatal` comes, which then never reaches the server."""

    def __init__(self, upstream: str, fatal: int) -> None:
        super().__init__(upstream)
        self.fatal = fatal
        self.seen: list[str] = []
        self.child: Child | None = None

    def take(self, method: str, path: str) -> Reply:
        self.seen.append(f"{method} {path}")
        if len(self.seen) == self.fatal:
            assert self.child is not None
            self.child.kill()
            return Reply(drop=True)
        return super().take(method, path)


def test_a_load_killed_before_each_of_its_requests(
    zygote: Zygote, region: Region, archive: Path, target: Glance
) -> None:
    """Before create, after it, before the upload and after it, before each step of the final metadata."""
    kinds: set[str] = set()
    for fatal in range(1, 200):
        with KillingProxy(target.url, fatal) as proxy:
            child = zygote.start("load", proxy.url, archive, "--json", "--jobs", "1", **STEPS)
            proxy.child = child
            done = child.wait()
        assert_innocent(target, region)
        if done is not None:
            break
        # Each run goes on where the one before was killed, and so it gets further, or not.
        kinds.add(proxy.seen[-1].split(" ")[0])
    assert done is not None
    assert done.code == 0, done.stderr
    assert {"GET", "POST", "PUT", "PATCH"} <= kinds
    assert_loaded(target, region)


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
        while not (part.exists() and part.stat().st_size > 1000):
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
