"""The ratios that are aimed at; report.py says of each whether it was met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import median
from benchmarks.jobs import DUMP, EXTRACT, HASH, LOAD, MEMORY, OURS, QUICK, VERIFY
from benchmarks.jobs.local import RESTIC, TAR, level_name


@dataclass(frozen=True)
class Aim:
    """A ratio of two figures, `ours` over `other`, that should be at most `limit`; each is (job, contender, figure).

    Those with `first` are the ones that the README has.
    """

    text: str
    ours: tuple[str, str, str]
    other: tuple[str, str, str]
    limit: float
    first: bool = False

    def ratio(self, results: Mapping[str, Any]) -> float | None:
        """What was measured; None where one of the figures is not there."""
        ours, other = (
            median(results["jobs"].get(job, {}).get("contenders", {}).get(contender, {}), figure)
            for job, contender, figure in (self.ours, self.other)
        )
        return ours / other if ours is not None and other else None


CURL_OUT, SAVE = (contender.name for contender in DUMP.contenders[1:3])
_, ZSTD, CHECK = (contender.name for contender in VERIFY.contenders[:3])
RESTORE = EXTRACT.contenders[2].name
B3SUM, SHA512SUM, CURL_IN = (job.contenders[1].name for job in (QUICK, HASH, LOAD))
ONE_2G, ONE_8G = (contender.name for contender in MEMORY.contenders)
DEFAULT, SMALL, SMALLEST = map(level_name, ("default", "small", "smallest"))


def time(text: str, job: str, other: str, limit: float, *, first: bool = False) -> Aim:
    """An aim for the wall time within one job."""
    return Aim(text, (job, OURS, "wall"), (job, other, "wall"), limit, first)


AIMS = (
    time("dump, time of `openstack image save`", "dump", SAVE, 0.2, first=True),
    time(
        "dump, time of downloading and hashing alone (two parallel `curl | openssl dgst -sha512`)",
        "dump",
        CURL_OUT,
        1.0,
        first=True,
    ),
    Aim("stored, size of a restic repository", ("pack", OURS, "stored"), ("pack", RESTIC, "stored"), 0.69, first=True),
    Aim(
        "stored, size of a sparse `tar | zstd -3`",
        ("pack", OURS, "stored"),
        ("pack", TAR, "stored"),
        0.49,
        first=True,
    ),
    Aim("stored, `--level small` to default", ("frontier", SMALL, "stored"), ("frontier", DEFAULT, "stored"), 1.0),
    Aim("stored, `--level smallest` to small", ("frontier", SMALLEST, "stored"), ("frontier", SMALL, "stored"), 1.0),
    time("packing files, time of `restic backup`", "pack", RESTIC, 0.25, first=True),
    time("packing files, time of a sparse `tar | zstd -3 -T2`", "pack", TAR, 0.45, first=True),
    time("verify, time of `zstd -t`", "verify", ZSTD, 1.2),
    time("verify, time of `restic check --read-data`", "verify", CHECK, 0.5, first=True),
    time("verify --quick, time of `b3sum`", "quick", B3SUM, 1 / 0.7),
    time("verify --glance-hash, time of two parallel `sha512sum`", "hash", SHA512SUM, 1.2),
    time("extract, time of `restic restore`", "extract", RESTORE, 0.5, first=True),
    time("load, time of two parallel `curl` uploads", "load", CURL_IN, 1.1, first=True),
    Aim("memory, 8 GiB image to 2 GiB image", ("memory", ONE_8G, "memory"), ("memory", ONE_2G, "memory"), 1.1),
)
MEMORY_LIMIT = 250 * 2**20


def highest_memory(results: Mapping[str, Any]) -> tuple[float, str] | None:
    """The highest peak of any run of ours, and where it was; None where nothing was measured."""
    peaks = [
        (run["memory"], f"{job}: {name}")
        for job, recorded in results["jobs"].items()
        for name, row in recorded["contenders"].items()
        if OURS in row["command"].lower()
        for run in row["runs"]
    ]
    return max(peaks, default=None)
