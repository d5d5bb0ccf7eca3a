"""RESULTS.md and its plots from the figures that run.py keeps, without measuring anything.

::

    python -m benchmarks.report [--figures FILE] [--output DIR]

By default both are this directory: the page is made again from the figures that lie beside it. ANALYSIS.md in DIR, if
there is one, is written by hand, and becomes a part of the page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import figures, plots, readme
from benchmarks.aims import AIMS, MEMORY_LIMIT, highest_memory
from benchmarks.figures import median, values
from benchmarks.jobs import JOBS, OURS
from benchmarks.markdown import table

HERE = Path(__file__).resolve().parent
FIGURES = "figures.json"
ANALYSIS = "ANALYSIS.md"
PLOTS = {"frontier": plots.frontier, "growth": plots.growth}
INTRODUCTION = """\
# What it costs, beside what people would use instead

Written by `make bench` from measured runs; no figure here is typed in by hand. Contenders of a job ran in turn, in
the same run, on the same machine; times are medians with the fastest and the slowest run in brackets, ratios are of
medians.

- CPU is user and system time of the command and its children, without the Glance it talks to, which runs on the
  same cores.
- Memory is the peak of the largest single process of the command.
- The page cache is warm: what a command reads was read before. Writes are not waited for (no fsync but a tool's own).
- Glance 33 under gunicorn on loopback, no authentication, SQLite, file store with
  `filesystem_store_chunk_size = {chunk}` instead of its default of 65536, which makes everybody's uploads slower.
- The store's files of the Glance that is read have been made sparse (`fallocate --dig-holes`), so that the set stays
  in memory; what Glance sends is the same.
- The commands are those that ran, with variables: `$GLANCEARCHIVE` starts the program, `$IMAGES` is the directory of
  the images, `$WORK` that of all else, `$GLANCE` the URL of the Glance that holds the images, `$TARGET` that of a fresh
  one; `$IDS`, `$PATHS` and `$UPLOADS` are the images' ids, files, and both in pairs, largest first; `$ONE` is one id.
"""


def seconds(row: Mapping[str, Any]) -> str:
    walls = values(row, "wall")
    middle = f"{median(row, 'wall'):.2f}"
    return middle if len(walls) == 1 else f"{middle} ({min(walls):.2f} to {max(walls):.2f})"


def job_section(job: Mapping[str, Any]) -> list[str]:
    """One job: a table of its contenders, their commands below."""
    contenders, reference = job["contenders"], job["reference"]
    reference_wall = median(contenders.get(reference, {}), "wall")
    rows = []
    for name, row in contenders.items():
        if not row["runs"]:
            rows.append([name, "failed" if "failed" in row else "not run", *[""] * (4 + bool(reference_wall))])
            continue
        wall, cpu, memory = (median(row, figure) or 0.0 for figure in ("wall", "cpu", "memory"))
        size = median(row, "stored")
        rows.append(
            [
                name,
                f"{len(row['runs'])}{', then failed' if 'failed' in row else ''}",
                seconds(row),
                f"{cpu:.1f}",
                f"{memory / 2**20:.0f}",
                f"{size / 1e6:.1f}" if size is not None else "",
                *([f"{reference_wall / wall:.2f}"] if reference_wall else []),
            ]
        )
    header = ["", "runs", "seconds", "CPU s", "memory MiB", "stored MB"]
    header += [f"time of {reference} ÷ this"] if reference_wall else []
    commands = [f"- {name}: `{row['command']}`" for name, row in contenders.items()]
    commands += [f"- made before, {name}: `{command}`" for name, command in job["made"].items()]
    note = [job["note"], ""] if job["note"] else []
    return [f"## {job['title']}", "", *note, *table(header, rows), *commands, ""]


def aims_section(results: Mapping[str, Any]) -> list[str]:
    """The ratios aimed at, met or missed; those whose figures are not there are left out."""
    ratios = [(aim, aim.ratio(results)) for aim in AIMS]
    rows = [
        [aim.text, f"{ratio:.3f}", f"{aim.limit:.2f}", "met" if ratio <= aim.limit else "missed"]
        for aim, ratio in ratios
        if ratio is not None
    ]
    highest = highest_memory(results)
    if highest is not None:
        memory, where = highest
        verdict = "met" if memory <= MEMORY_LIMIT else "missed"
        limit = f"{MEMORY_LIMIT / 2**20:.0f} MiB"
        rows.append([f"highest memory of any run ({where})", f"{memory / 2**20:.0f} MiB", limit, verdict])
    return ["## Aims", "", *table([f"{OURS} ÷ other", "measured", "at most", ""], rows)] if rows else []


def circumstances(results: Mapping[str, Any]) -> list[str]:
    """When and on what this was measured."""
    jobs = results["jobs"].values()
    dates = " and ".join(sorted({job["date"] for job in jobs}))
    revisions = ", ".join(sorted({job["revision"] for job in jobs if job["revision"]}))
    machine = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    commit = f" at commit {revisions}" if revisions else ""
    return ["", f"Measured on {dates}{commit}: {machine}.", "", f"Versions: {versions}.", ""]


def images_section(results: Mapping[str, Any]) -> list[str]:
    sizes = [
        [name, *(f"{row[key] / 1e6:.1f}" for key in ("logical", "nonzero", "unique"))]
        for name, row in results["images"].items()
    ]
    return [
        "## The images",
        "",
        "Made by `benchmarks/images.py`. Unique: blocks of 4 KiB not seen before, in this order.",
        "",
        *table(["", "logical MB", "not zero MB", "unique MB"], sizes),
    ]


def render(results: Mapping[str, Any], drawn: set[str], analysis: str) -> str:
    """The whole page; `drawn` are the jobs that have a plot, `analysis` is what is written by hand."""
    lines = INTRODUCTION.format(chunk=results["store_chunk_size"]).splitlines()
    lines += [*circumstances(results), *aims_section(results)]
    lines += [*analysis.strip().splitlines(), ""] if analysis.strip() else []
    lines += images_section(results)
    for job in JOBS:
        recorded = results["jobs"].get(job.name)
        if recorded:
            lines += job_section(recorded)
            lines += [f"![{recorded['title']}]({job.name}.svg)", ""] if job.name in drawn else []
    return "\n".join(lines).rstrip() + "\n"


def write(results: Mapping[str, Any], directory: Path) -> None:
    """RESULTS.md, its plots and the figures they were made from, in `directory`; in this one, the README's as well."""
    drawn = {name for name, draw in PLOTS.items() if draw(results, directory / f"{name}.svg")}
    written = directory / ANALYSIS
    analysis = written.read_text(encoding="utf-8") if written.exists() else ""
    (directory / "RESULTS.md").write_text(render(results, drawn, analysis), encoding="utf-8")
    if directory == HERE:
        figures.save(results, directory / FIGURES)
        readme.update(results)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write RESULTS.md and its plots from figures that were measured.")
    parser.add_argument("--figures", type=Path, default=HERE / FIGURES, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=HERE, help="default: %(default)s")
    arguments = parser.parse_args()
    if not arguments.figures.exists():
        sys.exit(f"{arguments.figures}: no such file; make bench measures")
    write(figures.load(arguments.figures), arguments.output.resolve())


if __name__ == "__main__":
    main()
