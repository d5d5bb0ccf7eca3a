"""The ratios that are aimed at; report.py says of each whether it was met."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.jobs import DUMP, EXTRACT, HASH, LOAD, MEMORY, OURS, PACK, QUICK, VERIFY


@dataclass(frozen=True)
class Aim:
    """A ratio of two figures, `ours` over `other`, that should be at most `limit`; each is (job, contender, figure)."""

    text: str
    ours: tuple[str, str, str]
    other: tuple[str, str, str]
    limit: float


CURL_OUT, SAVE = (contender.name for contender in DUMP.contenders[1:3])
RESTIC, _, TAR = (contender.name for contender in PACK.contenders[:3])
_, ZSTD, CHECK = (contender.name for contender in VERIFY.contenders[:3])
B3SUM, SHA512SUM, RESTORE, CURL_IN = (job.contenders[1].name for job in (QUICK, HASH, EXTRACT, LOAD))
ONE_2G, ONE_8G = (contender.name for contender in MEMORY.contenders)

AIMS = (
    Aim("dump, time of openstack image save", ("dump", OURS, "wall"), ("dump", SAVE, "wall"), 0.2),
    Aim("dump, time of curl | openssl", ("dump", OURS, "wall"), ("dump", CURL_OUT, "wall"), 1.0),
    Aim("stored, size of restic's", ("dump", OURS, "stored"), ("pack", RESTIC, "stored"), 0.69),
    Aim("stored, size of tar | zstd -3", ("dump", OURS, "stored"), ("pack", TAR, "stored"), 0.49),
    Aim("packing files, time of restic", ("pack", OURS, "wall"), ("pack", RESTIC, "wall"), 0.25),
    Aim("packing files, time of tar | zstd -3 -T2", ("pack", OURS, "wall"), ("pack", TAR, "wall"), 0.45),
    Aim("verify, time of zstd -t", ("verify", OURS, "wall"), ("verify", ZSTD, "wall"), 1.2),
    Aim("verify, time of restic check", ("verify", OURS, "wall"), ("verify", CHECK, "wall"), 0.5),
    Aim("verify --quick, time of b3sum", ("quick", OURS, "wall"), ("quick", B3SUM, "wall"), 1 / 0.7),
    Aim(
        "verify --glance-hash, time of sha512sum",
        ("hash", OURS, "wall"),
        ("hash", SHA512SUM, "wall"),
        1.2,
    ),
    Aim("extract, time of restic restore", ("extract", OURS, "wall"), ("extract", RESTORE, "wall"), 0.5),
    Aim("load, time of curl uploads", ("load", OURS, "wall"), ("load", CURL_IN, "wall"), 1.1),
    Aim("memory, 8 GiB against 2 GiB", ("memory", ONE_8G, "memory"), ("memory", ONE_2G, "memory"), 1.1),
)
MEMORY_LIMIT = 300 * 2**20
