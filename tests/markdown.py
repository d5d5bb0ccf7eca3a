"""Takes Markdown documents apart: headings, tables, code."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

HEADING = re.compile(r"(#+) +(.*?) *")


def lines_outside_code(text: str) -> list[str]:
    """The lines of a document, those in fences blanked."""
    found, fence = [], ""
    for line in text.splitlines():
        mark = re.match(r" *(```+|~~~+)", line)
        if fence:
            fence = "" if line.strip() == fence else fence
            found.append("")
        elif mark:
            fence = mark[1]
            found.append("")
        else:
            found.append(line)
    return found


def section(path: Path, title: str) -> str:
    """What stands under a heading of this title, up to the next one of its level."""
    lines = path.read_text(encoding="utf-8").splitlines()
    prose = lines_outside_code(path.read_text(encoding="utf-8"))
    heads = [(at, head[1], head[2]) for at, line in enumerate(prose) if (head := HEADING.fullmatch(line))]
    (begin, level), *more = [(at, level) for at, level, text in heads if text == title]
    assert not more, f"{path.name}: {title} stands there twice"
    end = next((at for at, other, _ in heads if at > begin and len(other) <= len(level)), len(lines))
    return "\n".join(lines[begin + 1 : end])


def tables(text: str) -> list[tuple[list[str], list[list[str]]]]:
    """The tables in `text`, each as its head and its rows."""
    found: list[tuple[list[str], list[list[str]]]] = []
    inside = False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not inside:
            found.append((cells, []))
        elif not all(re.fullmatch(":?-+:?", cell) for cell in cells):
            assert len(cells) == len(found[-1][0]), line
            found[-1][1].append(cells)
        inside = True
    return found


def table(text: str, head: str) -> list[list[str]]:
    """The rows of the one table in `text` whose first column is called `head`."""
    (rows,) = [rows for cells, rows in tables(text) if cells[0] == head]
    return rows


def words(rows: Iterable[list[str]]) -> list[str]:
    """What stands in backticks in the first cells of `rows`."""
    return [word for row in rows for word in re.findall("`([^`]+)`", row[0])]


def fenced(text: str, language: str) -> list[str]:
    """The code in fences of this language, also within lists."""
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in blocks]


def indented(text: str) -> list[str]:
    """Blocks of code by indentation, also within lists."""
    prose = "\n".join(lines_outside_code(text))
    blocks = re.findall(r"(?:(?<=\n\n)|^)((?: {4,}\S.*\n(?:\n(?= {4}))*)+)", prose + "\n")
    return [textwrap.dedent(block) for block in blocks]
