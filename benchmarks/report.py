"""RESULTS.md from the figures that run.py keeps: ``python -m benchmarks.report FIGURES.json > RESULTS.md``."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.aims import AIMS, MEMORY_LIMIT
from benchmarks.jobs import OURS

INTRODUCTION = """\
# What it costs, beside what people would use instead

Written by `make bench` from measured runs; nothing here is typed in by hand. Contenders of a job ran in turn, in
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
"""


def median(row: dict[str, Any], figure: str) -> float | None:
    """The median of a figure over the runs of a contender; None where it was not measured."""
    values = [run["user"] + run["system"] if figure == "cpu" else run.get(figure) for run in row.get("runs", ())]
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None


def seconds(row: dict[str, Any]) -> str:
    walls = [run["wall"] for run in row["runs"]]
    middle = f"{statistics.median(walls):.2f}"
    return middle if len(walls) == 1 else f"{middle} ({min(walls):.2f} to {max(walls):.2f})"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table, all columns but the first to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in (header, rule, *rows)]
    return [f"| {' | '.join(cells)} |" for cells in escaped] + [""]


def job_section(job: dict[str, Any]) -> list[str]:
    """One job: a table of its contenders, their commands below."""
    contenders = job["contenders"]
    reference = median(contenders[OURS], "wall") if OURS in contenders else None
    rows = []
    for name, row in contenders.items():
        if not row["runs"]:
            rows.append([name, "failed" if "failed" in row else "not run", *[""] * 5])
            continue
        wall, cpu, memory = (median(row, figure) or 0.0 for figure in ("wall", "cpu", "memory"))
        size = median(row, "stored")
        rows.append(
            [
                name,
                str(len(row["runs"])),
                seconds(row),
                f"{cpu:.1f}",
                f"{memory / 2**20:.0f}",
                f"{size / 1e6:.1f}" if size is not None else "",
                f"{reference / wall:.2f}" if reference is not None and wall else "",
            ]
        )
    header = ["", "runs", "seconds", "CPU s", "memory MiB", "stored MB", f"time of {OURS} ÷ this"]
    commands = [f"- {name}: `{row['command']}`" for name, row in contenders.items()]
    note = [job["note"], ""] if job["note"] else []
    return [f"## {job['title']}", "", *note, *table(header, rows), *commands, ""]


def aims_section(results: dict[str, Any]) -> list[str]:
    """The ratios aimed at, met or missed; those whose figures this run does not have are left out."""
    rows = []
    for aim in AIMS:
        pair = []
        for job, contender, figure in (aim.ours, aim.other):
            row = results["jobs"].get(job, {}).get("contenders", {}).get(contender)
            pair.append(median(row, figure) if row else None)
        ours, other = pair
        if ours is not None and other:
            ratio = ours / other
            rows.append([aim.text, f"{ratio:.3f}", f"{aim.limit:.2f}", "met" if ratio <= aim.limit else "missed"])
    peaks = [
        run["memory"]
        for job in results["jobs"].values()
        for row in job["contenders"].values()
        if "$GLANCEARCHIVE" in row["command"]
        for run in row["runs"]
    ]
    if peaks:
        verdict = "met" if max(peaks) <= MEMORY_LIMIT else "missed"
        rows.append(
            ["highest memory of any run", f"{max(peaks) / 2**20:.0f} MiB", f"{MEMORY_LIMIT / 2**20:.0f} MiB", verdict]
        )
    return ["## Aims", "", *table([f"{OURS} ÷ other", "measured", "at most", ""], rows)] if rows else []


def render(results: dict[str, Any]) -> str:
    """The whole page."""
    lines = INTRODUCTION.format(chunk=results["store_chunk_size"]).splitlines()
    machine = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines += ["", f"Measured on {results['date']}: {machine}.", "", f"Versions: {versions}.", ""]
    lines += [*aims_section(results), "## The images", ""]
    sizes = [
        [name, *(f"{row[key] / 1e6:.1f}" for key in ("logical", "nonzero", "unique"))]
        for name, row in results["images"].items()
    ]
    lines += ["Made by `benchmarks/images.py`. Unique: blocks of 4 KiB not seen before, in this order.", ""]
    lines += table(["", "logical MB", "not zero MB", "unique MB"], sizes)
    for job in results["jobs"].values():
        if job["contenders"]:
            lines += job_section(job)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(render(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
