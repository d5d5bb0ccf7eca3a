"""Runs jobs: what comes before, the measured commands in turn, what comes after."""

from __future__ import annotations

import datetime
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import cloud, images, jobs, measure, peers, sparse
from benchmarks.jobs import Contender, Job

SINGLES = {"GLANCE_2G": ("single-2g", "web.raw"), "GLANCE_8G": ("single-8g", "worker.raw")}


@dataclass(frozen=True)
class Scale:
    """How much the jobs with made-up material work on: `large`, bytes of noise, and `many`, images."""

    large: int
    many: int


class Bench:
    """The benchmarks in the directory `work`."""

    def __init__(
        self, work: Path, image_set: Path, scale: Scale, commands: Path, glancearchive: str, stack: ExitStack
    ) -> None:
        self.work = work
        self.images = image_set
        self.scale = vars(scale)
        self.stack = stack
        self.paths = images.images(image_set)[::-1]
        self.produced: set[str] = set()
        self.checked: set[str] = set()
        self.variables = {
            "PATH": f"{os.environ['PATH']}:{commands}",
            "PYTHON": sys.executable,
            "GLANCEARCHIVE": glancearchive,
            "WORK": str(work),
            "IMAGES": str(image_set),
            "IDS": " ".join(map(cloud.image_id, self.paths)),
            "PATHS": " ".join(map(str, self.paths)),
            "UPLOADS": " ".join(f"{cloud.image_id(path)} {path}" for path in self.paths),
            "ONE": cloud.image_id(image_set / "db.raw"),
            "LARGE": str(scale.large),
            "MANY": str(scale.many),
            "RESTIC_REPOSITORY": str(work / "restic"),
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(work / "restic-cache"),
            "BORG_REPO": str(work / "borg"),
            "BORG_BASE_DIR": str(work / "borg-home"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }

    def start(self, variable: str, directory: str, paths: list[Path]) -> None:
        """Have a Glance with these images at $`variable`, started at most once."""
        if variable not in self.variables:
            print(f"starting a Glance with {len(paths)} images", file=sys.stderr, flush=True)
            glance = self.stack.enter_context(cloud.holding(self.work / directory, paths))
            self.variables[variable] = glance.url

    def once(self, contender: Contender) -> dict[str, float]:
        """One measured run, with everything around it."""
        self.clean(contender)
        kept = False
        try:
            with ExitStack() as around:
                variables = self.prepare(contender, around)
                cost = measure.measure(contender.command, variables, self.work / "output.log")
                self.check(contender, variables)
            kept = contender.keep
            figures: dict[str, float] = {**vars(cost)}
            if contender.stored:
                figures["stored"] = measure.stored(self.work / contender.stored)
            return figures
        finally:
            if not kept:
                self.clean(contender)

    def prepare(self, contender: Contender, around: ExitStack) -> dict[str, str]:
        """All that comes before the measured command, and the variables it gets; ends what it starts with `around`."""
        variables = dict(self.variables)
        if contender.target:
            queued = self.paths if contender.target == "queued" else []
            glance = around.enter_context(cloud.fresh(self.work / "target", queued))
            variables["TARGET"] = glance.url
        if contender.prepare:
            measure.measure(contender.prepare, variables, self.work / "output.log")
        for name in contender.warm:
            sparse.warm(self.images if name == "images" else self.work / name)
        os.sync()  # no writes of the run before may be left for this one to wait on
        return variables

    def check(self, contender: Contender, variables: Mapping[str, str]) -> None:
        """Raise `CommandFailedError` if the run did not do what it was to do."""
        if contender.target and cloud.hashes(variables["TARGET"]) != cloud.hashes(variables["GLANCE"]):
            raise measure.CommandFailedError(f"{contender.command}\nleft other images than those of the source")
        if contender.check and contender.command not in self.checked:
            measure.measure(contender.check, variables, self.work / "output.log")
            self.checked.add(contender.command)

    def clean(self, contender: Contender) -> None:
        for name in contender.outputs:
            path = self.work / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def provide(self, contender: Contender) -> None:
        """Make what the contender works on, unmeasured, if no job of this run has made it, and start its servers."""
        for need in contender.needs:
            if need not in self.produced:
                producer = jobs.find(need)
                self.provide(producer)
                print(f"making what {contender.name!r} needs: {need}", file=sys.stderr, flush=True)
                self.once(producer)
                self.produced.add(need)
        words = contender.command.replace("/", " ").split()
        if "$GLANCE" in words or contender.target:
            self.start("GLANCE", "source", self.paths)
        for variable, (directory, name) in SINGLES.items():
            if "$" + variable in words:
                self.start(variable, directory, [self.images / name])

    def run(self, job: Job, contenders: Sequence[Contender], runs: int, save: Callable[[dict[str, Any]], None]) -> None:
        """All runs of a job, the contenders in turn. One that fails is recorded as failed and left out from then on.

        After each run `save` gets all there is of the job.
        """
        rows: dict[str, dict[str, Any]] = {c.name: {"command": c.command, "runs": []} for c in contenders}
        made = {need: jobs.find(need) for c in contenders for need in c.needs if need.startswith(jobs.MATERIAL.name)}
        recorded = {
            "title": job.title.format(**self.scale),
            "note": job.note.format(**self.scale),
            "reference": job.reference,
            "made": {producer.name: producer.command for producer in made.values()},
            "date": datetime.date.today().isoformat(),
            "revision": peers.revision(),
            "contenders": rows,
        }
        for number in range(runs):
            for contender in contenders:
                row = rows[contender.name]
                if "failed" in row or number >= contender.runs(runs):
                    continue
                try:
                    self.provide(contender)
                    row["runs"].append(self.once(contender))
                except measure.CommandFailedError as error:
                    row["failed"] = str(error)
                    self.produced.discard(f"{job.name}/{contender.name}")
                    print(f"{job.name:8} {contender.name}: {error}", file=sys.stderr, flush=True)
                else:
                    if contender.keep:
                        self.produced.add(f"{job.name}/{contender.name}")
                    tell(job, contender, row["runs"][-1])
                save(recorded)


def tell(job: Job, contender: Contender, figures: Mapping[str, float]) -> None:
    """A line on stderr about one run."""
    size = f"  {figures['stored'] / 1e6:9.1f} MB stored" if "stored" in figures else ""
    cpu = figures["user"] + figures["system"]
    print(
        f"{job.name:8} {contender.name:42} {figures['wall']:8.2f} s  {cpu:7.2f} s CPU"
        f"  {figures['memory'] / 2**20:6.0f} MiB{size}",
        file=sys.stderr,
        flush=True,
    )


def is_done(recorded: Mapping[str, Any], contenders: Sequence[Contender], runs: int) -> bool:
    """Whether all figures of a job are there, of the same commands as now."""
    rows = recorded.get("contenders", {})
    return all(
        contender.name in rows
        and rows[contender.name]["command"] == contender.command
        and len(rows[contender.name]["runs"]) >= contender.runs(runs)
        for contender in contenders
    )
