"""How ``reslice`` and ``salvage`` write an archive anew, and what is said of it when it is only looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from glancearchive.cli.outcomes import told
from glancearchive.cli.output import size_text
from glancearchive.cli.tally import Tally
from glancearchive.cli.volumes import no_directory, telling_what_stays
from glancearchive.format.places import Split
from glancearchive.format.reader import Archive
from glancearchive.image import Outcome
from glancearchive.operations.reslice import Foreseen, foresee, reslice


def rewrite(
    opened: Archive, out: Path, split: Split | None, progress: Tally, *, quiet: bool, dry_run: bool
) -> tuple[list[Outcome], dict[str, Any], str]:
    """Write `opened` anew as `out`: what became of the images, what the JSON has of OUT, and how the summary ends."""
    if dry_run:
        # Nobody is to put in a medium for a look.
        foreseen = foresee(opened, out, split and replace(split, another=no_directory))
        outcomes = list(told(iter(foreseen.outcomes), Tally(), quiet, dry_run=True))
        volumes, stored, digest, where = foreseen.volumes, foreseen.stored, "", foreseen_text(out, split, foreseen)
    else:
        progress.expect_bytes(sum(frame.stored_size for frame in opened.catalog.frames))
        result = reslice(opened, out, split, progress=progress.count)
        with telling_what_stays(result.writer):
            # What goes through are frames, and no image of its own.
            outcomes = list(told(result.outcomes, Tally(), quiet))
        writer = result.writer
        volumes, stored, digest, where = writer.volumes, writer.stored, result.root_digest.hex(), f" into {out}"
    document = {
        "volumes": [str(volume) for volume in volumes],
        "dry_run": dry_run,
        "stored": stored,
        "root_digest": digest,
    }
    return outcomes, document, where


def foreseen_text(out: Path, split: Split | None, foreseen: Foreseen) -> str:
    """Where it would go, how much it is, and what that is worth."""
    place = f"volumes, of which {foreseen.volumes[-1]} would be next," if split else str(out)
    return f" into {place} of about {size_text(foreseen.stored)}, as far as the records say: data were not read"
