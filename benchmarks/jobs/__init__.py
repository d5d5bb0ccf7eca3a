"""What is measured: jobs, each with contenders that do the same work.

Commands are what an operator types, in these variables: $GLANCEARCHIVE (how to start it), $PYTHON, $WORK
(everything written), $IMAGES (the directory of the set), $GLANCE and $TARGET (URLs of the Glance that holds the set and
of a fresh one), $IDS, $PATHS and $UPLOADS (image ids, files, and "id path" pairs; largest first), $ONE (the id of
db.raw), $LARGE and $MANY (sizes of what make.py makes).
Each gets the settings its own manual recommends or has as default.
"""

from __future__ import annotations

from benchmarks.jobs.glance import DUMP, LOAD, MEMORY, RESUME
from benchmarks.jobs.local import FRONTIER, GROWTH, PACK
from benchmarks.jobs.material import MATERIAL
from benchmarks.jobs.model import OURS, Contender, Job
from benchmarks.jobs.reading import EXTRACT, HASH, LIST, ONE, QUICK, VERIFY

JOBS = (DUMP, PACK, FRONTIER, VERIFY, QUICK, HASH, EXTRACT, ONE, LOAD, RESUME, LIST, MEMORY, GROWTH)


def find(need: str) -> Contender:
    """The contender that makes what another one needs, by "job/name"."""
    job, name = need.split("/", 1)
    return next(c for j in (*JOBS, MATERIAL) if j.name == job for c in j.contenders if c.name == name)


__all__ = [
    "DUMP",
    "EXTRACT",
    "FRONTIER",
    "GROWTH",
    "HASH",
    "JOBS",
    "LIST",
    "LOAD",
    "MATERIAL",
    "MEMORY",
    "ONE",
    "OURS",
    "PACK",
    "QUICK",
    "RESUME",
    "VERIFY",
    "Contender",
    "Job",
    "find",
]
