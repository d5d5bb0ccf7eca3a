"""What recovery data could do for an archive, in words and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glancearchive.cli.output import note, size_text, tell
from glancearchive.cli.progress import showing_progress
from glancearchive.errors import LocalError
from glancearchive.plural import counted
from glancearchive.recovery.assessment import Assessment, assess, find_protected, find_set, recovery_files

_REMAINS = "what is whole can be loaded; a need-list brings the rest from the source, salvage what else is left"


def hint_at_repair(archive: Path) -> None:
    """Of an archive that cannot be opened at all: say so if there are recovery data."""
    if recovery_files(archive):
        note(f"glancearchive: there are recovery data of {archive}: repair tells whether they are enough", "yellow")


def assessing(archive: Path, *more: Path, damaged: bool, quiet: bool) -> Assessment | None:
    """What the recovery data beside `archive` can do for it, None when there are none.

    Only of a `damaged` archive all blocks are read; else its volumes are taken for what the recovery data are of when
    they have the size and the beginning.
    """
    try:
        found = find_set(archive, *more)
        if found is None:
            return None
        states = find_protected(found, archive, *more)
        if not damaged and all(state.fits for state in states):
            return Assessment(found, states)
        with showing_progress("compared with its recovery data", quiet=quiet) as progress:
            progress.expect_bytes(sum(state.protected.size for state in states))
            return assess(found, states, progress.count)
    except LocalError as error:
        note(f"glancearchive: recovery data: {error}", "yellow")
        return None


def assessment_document(found: Assessment) -> dict[str, Any]:
    """What ``--json`` says of it."""
    return {
        "repairable": found.repairable,
        "outdated": found.outdated,
        "block_size": found.set.block_size,
        "needed": found.needed,
        "available": found.available,
        "made": found.made,
    }


def tell_assessment(found: Assessment | None, archive: Path, before: str = "") -> None:
    """What is said of it on stdout, after `before`."""
    if found is None:
        return
    head = f"{before}recovery:"
    there = f"{found.available} of {found.made} blocks of recovery data are whole"
    if found.available == found.made:
        there = f"{counted(found.available, 'block')} of recovery data, all whole"
    if found.outdated:
        names = ", ".join(state.protected.name for state in found.volumes if state.outdated)
        tell(
            f"{head} out of date, {names} is not what they were made of: make them again (see protect)",
            "yellow",
        )
    elif found.whole:
        colour = "green" if found.available == found.made else "yellow"
        tell(f"{head} {there}; each can make good {size_text(found.set.block_size)} of damage", colour)
    elif found.repairable:
        tell(
            f"{head} can be repaired: {counted(found.needed, 'block')} needed, {there}: repair {archive}",
            "green",
        )
    else:
        lacking = counted(found.needed - found.available, "block")
        tell(
            f"{head} too much is damaged: {lacking} more needed ({found.needed} in all, {there}); {_REMAINS}",
            "red",
        )
