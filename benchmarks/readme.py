"""The figures in the README, between two marks, from those that were measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.aims import AIMS, highest_memory
from benchmarks.jobs import OURS
from benchmarks.markdown import table

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"


def summary(results: Mapping[str, Any]) -> str:
    """A sentence and a table."""
    runs = {len(row["runs"]) for job in results["jobs"].values() for row in job["contenders"].values()}
    gigabytes = results["images"]["total"]["logical"] / 1e9
    rows = [[aim.text, f"{ratio:.2f}"] for aim in AIMS if aim.first and (ratio := aim.ratio(results)) is not None]
    highest = highest_memory(results)
    if highest is not None:
        rows.append([f"peak memory of any run ({highest[1]})", f"{highest[0] / 2**20:.0f} MiB"])
    return "\n".join(
        [
            f"Measured on {results['machine']['cores']} cores with six real Debian images, {gigabytes:.0f} GB logical,"
            f" medians of up to {max(runs)} runs;",
            "all of it, with what was missed, is in [benchmarks/RESULTS.md](benchmarks/RESULTS.md), and `make bench`"
            " measures it again:",
            "",
            *table(["", f"{OURS} ÷ the other"], rows)[:-1],
        ]
    )


def update(results: Mapping[str, Any]) -> None:
    """Put the figures where the README has its marks; nothing, where it has none."""
    text = README.read_text(encoding="utf-8")
    marked = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    README.write_text(marked.sub(lambda _: f"{BEGIN}\n{summary(results)}\n{END}", text), encoding="utf-8")
