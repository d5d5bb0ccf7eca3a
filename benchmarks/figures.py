"""The figures that were measured: one JSON file, and what is taken from it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def values(row: Mapping[str, Any], figure: str) -> list[float]:
    """A figure (wall, cpu: seconds; memory, stored: bytes) in each run of a contender that has it."""
    found = [run["user"] + run["system"] if figure == "cpu" else run.get(figure) for run in row.get("runs", ())]
    return [value for value in found if value is not None]


def median(row: Mapping[str, Any], figure: str) -> float | None:
    """Its median; None where it was not measured."""
    found = values(row, figure)
    return statistics.median(found) if found else None


def save(results: Mapping[str, Any], path: Path) -> None:
    """Keep the figures; a file that is there is replaced as a whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def load(path: Path) -> dict[str, Any]:
    """The figures in a file."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
