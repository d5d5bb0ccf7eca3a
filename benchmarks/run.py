"""Measure glancearchive beside the tools people would use instead, and write RESULTS.md.

::

    python -m benchmarks.run [--quick] [--runs N] [--jobs dump,pack] [--again] [--peers-only | --ours-only] [--trial]

Builds the image set and installs the peers if need be. Contenders of a job run in turn, round after round,
so that a busy minute of the machine hits all of them. Every figure goes into a JSON file as soon as it is
there; a job whose figures are all in it is not run again. RESULTS.md is written from that file.
"""

from __future__ import annotations

import argparse
import compileall
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import glancearchive
from benchmarks import cloud, figures, images, jobs, peers, report
from benchmarks.bench import Bench, Scale, is_done
from benchmarks.jobs import Contender, Job

CACHE = report.HERE.parent / ".cache"
FULL = Scale(large=5 << 30, many=100_000)
TRIAL = Scale(large=16 << 20, many=300)


def parse() -> argparse.Namespace:
    names = [job.name for job in jobs.JOBS]
    default = f"{sys.executable} -m glancearchive"
    parser = argparse.ArgumentParser(description="Measure glancearchive beside its peers and write RESULTS.md.")
    parser.add_argument("--trial", action="store_true", help="with a few MB: shows that all works, measures nothing")
    parser.add_argument("--images", type=Path, help="directory of the image set, built where it is missing")
    parser.add_argument("--work", type=Path, help="needs 60 GB")
    parser.add_argument("--glancearchive", default=default, help="command that starts it (default: this interpreter's)")
    parser.add_argument("--jobs", default=",".join(names), help="default: %(default)s")
    parser.add_argument(
        "--runs", type=int, help="rounds; some contenders that take minutes run once or twice (default: 5)"
    )
    parser.add_argument("--quick", action="store_true", help="one run each, and the main contenders only")
    parser.add_argument("--again", action="store_true", help="run jobs, too, whose figures are there")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--peers-only", action="store_true", help="without glancearchive")
    only.add_argument("--ours-only", action="store_true", help="without the peers")
    parser.add_argument("--json", type=Path, help="where the figures go (default: a file in the work directory)")
    parser.add_argument(
        "--results", type=Path, help="directory of RESULTS.md (default: of a whole run here, else WORK)"
    )
    arguments = parser.parse_args()
    arguments.jobs = arguments.jobs.split(",")
    for name in arguments.jobs:
        if name not in names:
            parser.error(f"no job {name!r}; there are {', '.join(names)}")
    suffix = "-trial" if arguments.trial else ""
    for name, directory in (("images", "bench-images"), ("work", "bench")):
        chosen = getattr(arguments, name) or os.environ.get(f"BENCH_{name.upper()}") or CACHE / (directory + suffix)
        setattr(arguments, name, Path(chosen).resolve())
    arguments.runs = 1 if arguments.quick else arguments.runs or (1 if arguments.trial else 5)
    arguments.whole = not (arguments.quick or arguments.peers_only or arguments.ours_only or arguments.trial)
    arguments.json = arguments.json or arguments.work / ("figures.json" if arguments.whole else "partial.json")
    return arguments


def chosen(job: Job, arguments: argparse.Namespace) -> list[Contender]:
    """The contenders that are asked for."""
    return [
        contender
        for contender in job.contenders
        if not (arguments.peers_only and contender.ours)
        and not (arguments.ours_only and not contender.ours)
        and not (arguments.quick and not contender.quick)
    ]


def load(path: Path, circumstances: dict[str, Any]) -> dict[str, Any]:
    """The figures that are there; exits where they were measured in other circumstances."""
    if not path.exists():
        return {**circumstances, "jobs": {}}
    results = figures.load(path)
    for name, value in circumstances.items():
        if results.get(name) != value:
            sys.exit(f"{path} has figures with other {name}: remove it, or name another file with --json")
    return results


def main() -> None:
    arguments = parse()
    work, image_set = arguments.work, arguments.images
    work.mkdir(parents=True, exist_ok=True)
    commands = peers.install(work / "clients")
    # As pip leaves an installed program: in some environments nothing is compiled when it is first run.
    compileall.compile_dir(glancearchive.__path__[0], quiet=1)
    # A process of its own: counting the unique blocks takes memory.
    options = ["--trial"] if arguments.trial else []
    subprocess.run([sys.executable, "-m", "benchmarks.images", *options, image_set], check=True, stdout=sys.stderr)
    scale = TRIAL if arguments.trial else FULL
    circumstances = {
        "machine": peers.machine(work),
        "versions": peers.versions(commands, arguments.glancearchive),
        "images": images.load_statistics(image_set),
        "scale": vars(scale),
        "store_chunk_size": cloud.STORE_CHUNK_SIZE,
    }
    results = load(arguments.json, circumstances)

    with ExitStack() as stack:
        bench = Bench(work, image_set, scale, commands, arguments.glancearchive, stack)
        for job in jobs.JOBS:
            contenders = chosen(job, arguments)
            if job.name not in arguments.jobs or not contenders:
                continue
            if not arguments.again and is_done(results["jobs"].get(job.name, {}), contenders, arguments.runs):
                print(f"{job.name}: the figures are there (--again measures again)", file=sys.stderr, flush=True)
                continue

            def save(recorded: dict[str, Any], name: str = job.name) -> None:
                results["jobs"][name] = recorded
                figures.save(results, arguments.json)

            bench.run(job, contenders, arguments.runs, save)
    complete = arguments.whole and all(
        is_done(results["jobs"].get(job.name, {}), job.contenders, arguments.runs) for job in jobs.JOBS
    )
    target = arguments.results or (report.HERE if complete else work)
    report.write(results, target)
    print(f"wrote {target / 'RESULTS.md'}", file=sys.stderr)
    failed = [
        f"{name}: {contender}"
        for name, job in results["jobs"].items()
        for contender, row in job["contenders"].items()
        if "failed" in row
    ]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
