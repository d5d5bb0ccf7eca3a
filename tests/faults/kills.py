"""Runs that are killed at random instants until one comes through; the tests and the soak call these."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glancearchive.endpoints.ids import new_id
from glancearchive.endpoints.policy import SOURCE_ID
from glancearchive.image import Image
from tests.cloud.glance import Glance
from tests.faults.wire import Wire
from tests.faults.world import Region, assert_archive, assert_innocent, assert_loaded, reset
from tests.faults.zygote import Child, Zygote

STEPS: dict[str, Any] = {"interval": 0.02, "frame": 1 << 18, "wait": 0.2}


def size_of(path: Path) -> int:
    """Bytes of a file; 0 when it is not there, or not any more."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def kill_when(child: Child, condition: Callable[[], bool]) -> bool:
    """Kill the process once `condition` holds, in case it gets there."""
    while child.alive():
        if condition():
            child.kill()
            return child.wait() is None
        time.sleep(0.0005)
    done = child.wait()
    assert done is not None
    assert done.code == 0, done.stderr
    return False


def killed_dumps(zygote: Zygote, region: Region, path: Path, rng: random.Random, most: int) -> tuple[int, int]:
    """A dump killed up to `most` times, then finished: the number of kills, and the bytes it took from the server."""
    kills = 0
    part = path.with_name(path.name + ".part")
    total = sum(map(len, region.data.values()))
    with Wire(region.glance.port) as wire:
        # Equal names are the same server, so all runs have to go through the one proxy.
        while kills < most:
            child = zygote.start("dump", wire.url, path, "--json", "--jobs", str(rng.randint(1, 3)), **STEPS)
            begin = wire.received + rng.randint(0, total // 3) if rng.random() < 0.5 else 0
            size = size_of(part) + rng.randint(0, total // 6)

            def condition(begin: int = begin, size: int = size) -> bool:
                return wire.received >= begin if begin else 0 < size <= size_of(part)

            if not kill_when(child, condition):
                break
            kills += 1
        if not path.exists():
            done = zygote.run("dump", wire.url, path, "--json")
            assert done.code == 0, done.stderr
        received = wire.received
    assert not part.exists()
    assert_archive(path, region)
    return kills, received


def burn(region: Region, target: Glance, image_id: str) -> Region:
    """Make an id unusable in `target`; what is to be there once the image has a new one."""
    target.client().create(id=image_id)
    target.client().delete(image_id)
    place = new_id(Image(region.metadata[image_id]), 0)
    renamed = region.metadata[image_id] | {"id": place, SOURCE_ID: image_id}
    data = {place if one == image_id else one: data for one, data in region.data.items()}
    metadata = {
        one["id"]: one for one in (renamed if one["id"] == image_id else one for one in region.metadata.values())
    }
    return Region(region.glance, data, metadata)


def killed_loads(
    zygote: Zygote, region: Region, archive: Path, target: Glance, rng: random.Random, most: int, *, renew: bool = False
) -> tuple[int, int]:
    """A load killed up to `most` times, then finished: the number of kills, and the bytes sent to the server.

    With `renew` the id of an image is burnt, and it has to get a new one.
    """
    options = ["--json"]
    if renew:
        options += ["--id-policy", "new"]
        region = burn(region, target, rng.choice(list(region.data)))
    kills = 0
    total = sum(map(len, region.data.values()))
    with Wire(target.port) as wire, tempfile.TemporaryDirectory() as state:
        # From this machine or from another, which has no journal.
        machines = [{"XDG_STATE_HOME": state}, {"XDG_STATE_HOME": os.devnull}]
        while kills < most:
            jobs = str(rng.randint(1, 3))
            child = zygote.start("load", wire.url, archive, *options, "--jobs", jobs, env=rng.choice(machines), **STEPS)
            begin, more = wire.sent, rng.choice([rng.randint(0, 20_000), rng.randint(0, total)])
            if not kill_when(child, lambda begin=begin, more=more: wire.sent >= begin + more):  # type: ignore[misc]
                break
            kills += 1
            assert_innocent(target, region)
        done = zygote.run("load", wire.url, archive, *options, env=rng.choice(machines), **STEPS)
        assert done.code == 0, done.stderr
        sent = wire.sent
    assert_loaded(target, region)
    reset(target)
    return kills, sent
