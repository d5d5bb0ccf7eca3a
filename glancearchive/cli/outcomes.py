"""What became of each image of a transfer: a line as each ends, and all of it at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from glancearchive.cli.output import SAID, emit_json, note, size_text, tell, time_text
from glancearchive.cli.tally import Tally
from glancearchive.image import Action, Outcome
from glancearchive.plural import counted

_FINDINGS = 20  # images that a summary names
_COLOURS = {
    Action.COPIED: "green",
    Action.UPDATED: "green",
    Action.PRESENT: "cyan",
    Action.CONVERTED: "yellow",
    Action.NO_DATA: "cyan",
    Action.REFUSED: "red",
    Action.CONFLICT: "red",
    Action.HELD: "red",
    Action.FAILED: "red",
}


def told(outcomes: Iterator[Outcome], progress: Tally, quiet: bool, *, dry_run: bool = False) -> Iterator[Outcome]:
    """Hand outcomes on, with a line on stderr for each, and tell `progress`."""
    for outcome in outcomes:
        progress.ended(outcome.id, str(outcome.action), 0 if dry_run else outcome.size)
        line = f"{'dry run: ' if dry_run else ''}{_line(outcome)}"
        if quiet and outcome.clean:
            SAID.info("%s", line)
        else:
            note(line, _colour(outcome))
        for field in outcome.dropped:
            note(f"  dropped: {field}", "yellow")
        for field in outcome.differences:
            note(f"  differs: {field}", "yellow")
        yield outcome


def _line(outcome: Outcome) -> str:
    """What became of an image."""
    how = f", {outcome.verified} verified" if outcome.verified else ""
    why = f": {outcome.reason}" if outcome.reason else ""
    what = f"{outcome.id} as {outcome.new_id}" if outcome.new_id else outcome.id
    return f"{outcome.action}: {what} ({outcome.name!r}), {size_text(outcome.size)}{how}{why}"


def _colour(outcome: Outcome) -> str:
    colour = _COLOURS[outcome.action]
    return colour if outcome.clean or colour == "red" else "yellow"


def conclude(
    document: dict[str, Any],
    outcomes: list[Outcome],
    as_json: bool,
    where: str,
    *,
    sound: bool,
    progress: Tally,
) -> int:
    """Render the result; the exit code. `sound` says that nothing was wrong besides the images."""
    ok = sound and bool(outcomes) and all(outcome.clean for outcome in outcomes)
    if as_json:
        images = [
            {
                "id": outcome.id,
                "new_id": outcome.new_id,
                "name": outcome.name,
                "action": str(outcome.action),
                "reason": outcome.reason,
                "size": outcome.size,
                "verified": outcome.verified,
                "dropped": outcome.dropped,
                "differences": outcome.differences,
            }
            for outcome in outcomes
        ]
        emit_json(document | {"ok": ok, "images": images})
    else:
        counts = Counter(outcome.action for outcome in outcomes)
        what = ", ".join(f"{counts[action]} {action}" for action in Action if counts[action]) or "nothing"
        for word, fields in (
            ("dropped", sum(len(outcome.dropped) for outcome in outcomes)),
            ("different", sum(len(outcome.differences) for outcome in outcomes)),
        ):
            what += f"; {counted(fields, 'metadata field')} {word}" if fields else ""
        total = size_text(sum(outcome.size for outcome in outcomes))
        dry_run = "dry run: " if document.get("dry_run") else ""
        tell(f"{dry_run}{counted(len(outcomes), 'image')}: {what}; {total}{where}")
        if not dry_run:
            _tell_effort(progress)
        _tell_findings([outcome for outcome in outcomes if not outcome.clean], dry_run)
    if not outcomes:
        note("glancearchive: there was no image to copy")
    return 0 if ok else 1


def _tell_effort(progress: Tally) -> None:
    """How long it took, and what for."""
    end = progress.snapshot()
    words = f"took {time_text(end.elapsed)}"
    if end.moved:
        words += f" for {size_text(end.moved)}, {size_text(end.moved / max(end.elapsed, 1e-3))}/s"
    if end.kept:
        words += f"; {size_text(end.kept)} were there already"
    if end.saved is not None and end.saved >= 0.01:
        words += f"; {end.saved:.0%} saved by deduplication and compression"
    tell(words)


def _tell_findings(outcomes: Sequence[Outcome], before: str) -> None:
    """Once more what an operator has to look at: the lines about it may be long gone from the screen."""
    for outcome in outcomes[:_FINDINGS]:
        lines = [
            f"{len(what)} {how}"
            for how, what in (("dropped", outcome.dropped), ("differ", outcome.differences))
            if what
        ]
        fields = f" (metadata fields: {', '.join(lines)})" if lines else ""
        tell(f"{before}{_line(outcome)}{fields}", _colour(outcome))
    if len(outcomes) > _FINDINGS:
        tell(f"{before}and {counted(len(outcomes) - _FINDINGS, 'more image')} to be looked at: see above, or --json")
