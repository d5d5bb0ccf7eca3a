"""What some jobs work on, and no other job makes; made unmeasured, once in a run of the benchmarks."""

from __future__ import annotations

from benchmarks.jobs.model import Contender, Job

MATERIAL = Job(
    "material",
    "What jobs work on",
    (
        Contender(
            "archive that does not compress",
            "$PYTHON -m benchmarks.make noise $WORK/noise $LARGE"
            " && $GLANCEARCHIVE dump --level fast $WORK/noise $WORK/large/images.gla && rm -r $WORK/noise",
            outputs=("noise", "large"),
            prepare="mkdir $WORK/large",
            keep=True,
            warm=(),
        ),
        Contender(
            "many images",
            "$PYTHON -m benchmarks.make many $WORK/many $MANY",
            outputs=("many",),
            keep=True,
            warm=(),
        ),
        Contender(
            "restic of many images",
            "cd $WORK/many/files && restic --repo $WORK/many-restic backup --quiet .",
            outputs=("many-restic",),
            prepare="restic --repo $WORK/many-restic init --quiet",
            keep=True,
            warm=(),
            needs=("material/many images",),
        ),
        Contender(
            "borg of many images",
            "cd $WORK/many/files && borg create $WORK/many-borg::many .",
            outputs=("many-borg",),
            prepare="borg init -e none $WORK/many-borg",
            keep=True,
            warm=(),
            needs=("material/many images",),
        ),
        Contender(
            "copies",
            "$PYTHON -m benchmarks.make copies $WORK/copies $IMAGES/web.raw 8",
            outputs=("copies",),
            keep=True,
            warm=(),
        ),
    ),
)
