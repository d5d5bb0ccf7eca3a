"""Measure glancearchive beside the tools people would use instead, and write RESULTS.md.

::

    python -m benchmarks.run [--quick] [--runs N] [--jobs dump,pack] [--peers-only | --ours-only]

Builds the image set and installs the peers if need be. Contenders of a job run in turn, round after round,
so that a busy minute of the machine hits all of them. Every figure goes into a JSON file as soon as it is
there; RESULTS.md is written from that file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import cloud, images, jobs, measure, peers, report

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache"
SINGLES = {"GLANCE_2G": ("single-2g", "web.raw"), "GLANCE_8G": ("single-8g", "worker.raw")}


class Bench:
    """One run of the benchmarks in the directory `work`; `results` is what the JSON file holds."""

    def __init__(self, work: Path, image_set: Path, commands: Path, glancearchive: str, stack: ExitStack) -> None:
        self.work = work
        self.images = image_set
        self.stack = stack
        self.paths = images.images(image_set)[::-1]
        self.results: dict[str, Any] = {"jobs": {}}
        self.produced: set[str] = set()
        self.checked: set[str] = set()
        self.variables = {
            "PATH": f"{os.environ['PATH']}:{commands}",
            "GLANCEARCHIVE": glancearchive,
            "WORK": str(work),
            "IMAGES": str(image_set),
            "IDS": " ".join(map(cloud.image_id, self.paths)),
            "PATHS": " ".join(map(str, self.paths)),
            "UPLOADS": " ".join(f"{cloud.image_id(path)} {path}" for path in self.paths),
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

    def once(self, contender: jobs.Contender) -> dict[str, float]:
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

    def prepare(self, contender: jobs.Contender, around: ExitStack) -> dict[str, str]:
        """All that comes before the measured command, and the variables it gets; ends what it starts with `around`."""
        variables = dict(self.variables)
        if contender.target:
            queued = self.paths if contender.target == "queued" else []
            glance = around.enter_context(cloud.fresh(self.work / "target", queued))
            variables["TARGET"] = glance.url
        if contender.prepare:
            environment = {**os.environ, **variables}
            subprocess.run(["sh", "-ec", contender.prepare], check=True, env=environment, stdout=sys.stderr)
        for name in contender.warm:
            measure.warm(self.images if name == "images" else self.work / name)
        os.sync()  # no writes of the run before may be left for this one to wait on
        return variables

    def check(self, contender: jobs.Contender, variables: Mapping[str, str]) -> None:
        """Raise `CommandFailedError` if the run did not do what it was to do."""
        if contender.target and cloud.hashes(variables["TARGET"]) != cloud.hashes(variables["GLANCE"]):
            raise measure.CommandFailedError(f"{contender.command}\nleft other images than those of the source")
        if contender.check and contender.command not in self.checked:
            measure.measure(contender.check, variables, self.work / "output.log")
            self.checked.add(contender.command)

    def clean(self, contender: jobs.Contender) -> None:
        for name in contender.outputs:
            path = self.work / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def provide(self, contender: jobs.Contender) -> None:
        """Make what the contender works on, unmeasured, if no job of this run has made it."""
        for need in contender.needs:
            if need not in self.produced:
                job, name = need.split("/", 1)
                producer = next(c for j in jobs.JOBS if j.name == job for c in j.contenders if c.name == name)
                print(f"making what {contender.name!r} needs: {need}", file=sys.stderr, flush=True)
                self.servers(producer)
                self.once(producer)
                self.produced.add(need)

    def servers(self, contender: jobs.Contender) -> None:
        words = contender.command.replace("/", " ").split()
        if "$GLANCE" in words or contender.target:
            self.start("GLANCE", "source", self.paths)
        for variable, (directory, name) in SINGLES.items():
            if "$" + variable in words:
                self.start(variable, directory, [self.images / name])

    def job(self, job: jobs.Job, contenders: list[jobs.Contender], runs: int, slow_runs: int, save: Any) -> None:
        """All runs of a job, the contenders in turn. One that fails is recorded as failed and left out from then on."""
        rows: dict[str, dict[str, Any]] = {c.name: {"command": c.command, "runs": []} for c in contenders}
        self.results["jobs"][job.name] = {"title": job.title, "note": job.note, "contenders": rows}
        for number in range(runs):
            for contender in contenders:
                row = rows[contender.name]
                if "failed" in row or (contender.slow and number >= slow_runs):
                    continue
                try:
                    self.provide(contender)
                    self.servers(contender)
                    figures = self.once(contender)
                except measure.CommandFailedError as error:
                    row["failed"] = str(error)
                    print(f"{job.name:8} {contender.name}: {error}", file=sys.stderr, flush=True)
                else:
                    row["runs"].append(figures)
                    if contender.keep:
                        self.produced.add(f"{job.name}/{contender.name}")
                    size = f"  {figures['stored'] / 1e6:9.1f} MB stored" if "stored" in figures else ""
                    cpu = figures["user"] + figures["system"]
                    print(
                        f"{job.name:8} {contender.name:42} {figures['wall']:8.2f} s  {cpu:7.2f} s CPU"
                        f"  {figures['memory'] / 2**20:6.0f} MiB{size}",
                        file=sys.stderr,
                        flush=True,
                    )
                save(self.results)


def parse() -> argparse.Namespace:
    default = f"{sys.executable} -m glancearchive"
    parser = argparse.ArgumentParser(description="Measure glancearchive beside its peers and write RESULTS.md.")
    parser.add_argument("--images", type=Path, default=os.environ.get("BENCH_IMAGES", CACHE / "bench-images"))
    parser.add_argument("--work", type=Path, default=os.environ.get("BENCH_WORK", CACHE / "bench"), help="needs 60 GB")
    parser.add_argument("--glancearchive", default=default, help="command that starts it (default: this interpreter's)")
    parser.add_argument("--jobs", default=",".join(job.name for job in jobs.JOBS), help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slow-runs", type=int, default=2, help="of contenders that take minutes")
    parser.add_argument("--quick", action="store_true", help="one run each, and the main contenders only")
    parser.add_argument("--peers-only", action="store_true", help="without glancearchive")
    parser.add_argument("--ours-only", action="store_true", help="without the peers")
    parser.add_argument("--pack-ours", action="store_true", help="glancearchive packs local files, too")
    parser.add_argument("--json", type=Path, help="where the figures go (default: figures.json in the work directory)")
    parser.add_argument(
        "--results", type=Path, help="default: RESULTS.md here; of a partial run, in the work directory"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    work, image_set = Path(arguments.work).resolve(), Path(arguments.images).resolve()
    work.mkdir(parents=True, exist_ok=True)
    figures = arguments.json or work / "figures.json"
    commands = peers.install(work / "clients")
    # A process of its own: counting the unique blocks takes memory.
    subprocess.run([sys.executable, HERE / "images.py", image_set], check=True, stdout=sys.stderr)

    def save(results: dict[str, Any]) -> None:
        figures.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    with ExitStack() as stack:
        bench = Bench(work, image_set, commands, arguments.glancearchive, stack)
        bench.results.update(
            date=datetime.date.today().isoformat(),
            machine=peers.machine(work),
            versions=peers.versions(commands),
            images=images.load_statistics(image_set),
            store_chunk_size=cloud.STORE_CHUNK_SIZE,
        )
        for job in jobs.JOBS:
            if job.name not in arguments.jobs.split(","):
                continue
            contenders = [c for c in job.contenders if not (arguments.peers_only if c.ours else arguments.ours_only)]
            if job is jobs.PACK and arguments.pack_ours and not arguments.peers_only:
                contenders.insert(0, jobs.PACK_OURS)
            if arguments.quick:
                contenders = [c for c in contenders if c.quick]
            runs = 1 if arguments.quick else arguments.runs
            bench.job(job, contenders, runs, arguments.slow_runs, save)
    partial = (
        arguments.quick or arguments.peers_only or arguments.ours_only or len(bench.results["jobs"]) < len(jobs.JOBS)
    )
    target = arguments.results or (work if partial else HERE) / "RESULTS.md"
    target.write_text(report.render(bench.results), encoding="utf-8")
    print(f"wrote {target}", file=sys.stderr)
    if any("failed" in row for job in bench.results["jobs"].values() for row in job["contenders"].values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
