"""Random faults for as long as asked: ``python -m tests.faults.soak --minutes N --seed S``.

Each round prints its seed before it begins. A round is repeated by ``--seed`` with that number: its
faults are the same, as far as the instants of real processes can be.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.cloud.glance import Glance
from tests.faults.kills import killed_dumps, killed_loads
from tests.faults.storage import Disk, Recorder, after_kill, after_power_cut
from tests.faults.subject import BLOCK, Images, assert_well, assert_whole, dump
from tests.faults.world import Region, make_archive
from tests.faults.zygote import Zygote

Round = Callable[[random.Random], str]


class Soak:
    """All that the rounds need, once."""

    def __init__(self, directory: Path, zygote: Zygote, source: Glance, target: Glance) -> None:
        self.directory = directory
        self.zygote = zygote
        self.region = Region(source)
        self.region.fill()
        self.target = target
        self.archive = make_archive(zygote, self.region, directory / "region.gla")
        self.total = sum(map(len, self.region.data.values()))
        self.rounds: dict[str, Round] = {
            "kill dump": self.kill_dump,
            "kill load": self.kill_load,
            "kill load, new id": self.kill_renewing_load,
            "power cuts": self.power_cuts,
            "cuts": self.cuts,
        }

    def kill_dump(self, rng: random.Random) -> str:
        path = self.directory / "killed.gla"
        kills, received = killed_dumps(self.zygote, self.region, path, rng, most=rng.randint(1, 20))
        path.unlink()
        return f"{kills} kills, {received - self.total} bytes more than {self.total}"

    def kill_load(self, rng: random.Random, *, renew: bool = False) -> str:
        most = rng.randint(1, 8)
        kills, sent = killed_loads(self.zygote, self.region, self.archive, self.target, rng, most, renew=renew)
        return f"{kills} kills, {sent - self.total} bytes more than {self.total}"

    def kill_renewing_load(self, rng: random.Random) -> str:
        return self.kill_load(rng, renew=True)

    def power_cuts(self, rng: random.Random) -> str:
        """One cut after another in one dump of random images, each while going on after the one before."""
        data = random_images(rng)
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            place = Path(name)
            cuts = 0
            while True:
                before = {path.name: path.read_bytes() for path in place.iterdir()}
                recorder = Recorder()
                with recorder.recording():
                    assert_well(dump(place / "a.gla", Images(data)))
                assert_whole(place / "a.gla", data)
                if rng.random() < 0.1:
                    break
                count = rng.randint(0, len(recorder.steps))
                after_power_cut(before, recorder.steps[:count], rng).put(place)
                cuts += 1
                if (place / "a.gla").exists():
                    break
        return f"{cuts} power cuts"

    def cuts(self, rng: random.Random) -> str:
        """A volume cut at random bytes."""
        data = random_images(rng)
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            place = Path(name)
            recorder = Recorder()
            with recorder.recording():
                dump(place / "a.gla", Images(data))
            (whole,) = after_kill({}, recorder.steps).files.values()
            for _ in range(20):
                Disk({"a.gla.part": whole[: rng.randint(0, len(whole))]}).put(place)
                assert_well(dump(place / "a.gla", Images(data)))
                assert_whole(place / "a.gla", data)
        return "20 cuts"


def random_images(rng: random.Random) -> dict[str, bytes | None]:
    """A few images of zeros, fresh blocks and blocks of one another, some without data, most of odd sizes."""
    pool = rng.randbytes(20 * BLOCK)
    found: dict[str, bytes | None] = {}
    for number in range(rng.randint(1, 8)):
        data = bytearray()
        for _ in range(rng.randint(0, 6)):
            length = rng.choice([BLOCK * rng.randint(1, 12), rng.randint(1, 40_000)])
            begin = rng.randrange(20) * BLOCK
            data += rng.choice([bytes(length), rng.randbytes(length), pool[begin : begin + length]])
        found[f"image-{number}"] = None if rng.random() < 0.1 else bytes(data)
    return found


def main() -> int:
    """Runs rounds until the time is over, or one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", help="one kind of round")
    options = parser.parse_args()
    logging.getLogger("glancearchive").setLevel(logging.ERROR)  # each resume says that it is one
    end = time.monotonic() + 60 * options.minutes
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, Zygote() as zygote:
        directory = Path(name)
        with Glance(directory / "source") as source, Glance(directory / "target") as target:
            soak = Soak(directory, zygote, source, target)
            seed = options.seed
            while time.monotonic() < end:
                rng = random.Random(seed)
                kind = options.only or rng.choice(list(soak.rounds))
                print(f"seed {seed}: {kind}: ", end="", flush=True)
                try:
                    print(soak.rounds[kind](rng), flush=True)
                except Exception:  # noqa: BLE001  # whatever it is, it needs its seed
                    traceback.print_exc()
                    print(f"FAILED: repeat with --seed {seed}" + (f" --only '{kind}'" if options.only else ""))
                    return 1
                counts[kind] += 1
                seed += 1
    print(f"{counts.total()} rounds from seed {options.seed}: {dict(counts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
