"""The plots of RESULTS.md, as SVG. The same figures give the same bytes. The one module that imports matplotlib."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.figures import median, values
from benchmarks.jobs import FRONTIER, GROWTH, OURS
from benchmarks.jobs.local import DUMPS, RESTIC, TOOLS, VERIFIES, WORK, growth_name

# Text stays text; ids and metadata must not differ from run to run.
STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "glancearchive", "font.size": 9}
OURS_COLOUR, PEER_COLOUR, OTHER_COLOUR = "tab:blue", "tab:gray", "tab:orange"

Rows = Mapping[str, Mapping[str, Any]]


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _rows(results: Mapping[str, Any], job: str) -> Rows:
    rows: Rows = results["jobs"].get(job, {}).get("contenders", {})
    return {name: row for name, row in rows.items() if row["runs"]}


def frontier(results: Mapping[str, Any], path: Path) -> bool:
    """Stored size against time of those who pack the same files; returns whether there was anything to draw."""
    rows = _rows(results, FRONTIER.name)
    if not rows:
        return False
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.add_subplot()
        for tool, marker in zip(TOOLS, "osD^v", strict=True):
            found = {name: row for name, row in rows.items() if name.startswith(tool)}
            walls = [median(row, "wall") or 0.0 for row in found.values()]
            sizes = [(median(row, "stored") or 0.0) / 1e6 for row in found.values()]
            ours = tool.startswith(OURS)
            colour = OURS_COLOUR if ours else PEER_COLOUR
            axes.plot(walls, sizes, marker=marker, linestyle="-" if ours else "", color=colour, label=tool)
            for name, wall, size in zip(found, walls, sizes, strict=True):
                label = name.removeprefix(tool).strip()
                axes.annotate(label, (wall, size), (5, 5), textcoords="offset points", color=colour)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.15, y=0.1)
        axes.set_ylim(bottom=0)
        axes.set(xlabel="seconds (median)", ylabel="stored, MB")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="lower left")
        _save(figure, path)
    return True


def growth(results: Mapping[str, Any], path: Path) -> bool:
    """Time, memory and stored size against the work; returns whether there was anything to draw."""
    rows = _rows(results, GROWTH.name)
    if not rows:
        return False
    panels = (("wall", 1.0, "seconds"), ("memory", 2.0**20, "peak memory, MiB"), ("stored", 1e6, "stored, MB"))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 3.5), layout="constrained")
        for place, (what, unit, label) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), place + 1)
            for series, colour in ((DUMPS, OURS_COLOUR), (VERIFIES, OTHER_COLOUR), (RESTIC, PEER_COLOUR)):
                _line(axes, rows, series, what, unit, colour)
            axes.set(xlabel="times the work", ylabel=label, xticks=WORK)
            axes.set_ylim(bottom=0)
            axes.grid(visible=True, alpha=0.3)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        _save(figure, path)
    return True


def _line(axes: Axes, rows: Rows, series: str, what: str, unit: float, colour: str) -> None:
    """One contender's medians, with a bar from the least to the most."""
    measured = {work: values(rows.get(growth_name(series, work), {}), what) for work in WORK}
    points = {work: [value / unit for value in found] for work, found in measured.items() if found}
    if not points:
        return
    middle = [statistics.median(found) for found in points.values()]
    below = [value - min(found) for value, found in zip(middle, points.values(), strict=True)]
    above = [max(found) - value for value, found in zip(middle, points.values(), strict=True)]
    axes.errorbar(list(points), middle, [below, above], color=colour, marker="o", capsize=3, label=series)
