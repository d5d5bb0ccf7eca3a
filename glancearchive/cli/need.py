"""``--need`` of verify and load: writes a need-list, which ``dump --for`` answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from glancearchive.cli.output import note, size_text
from glancearchive.format.needlist import NeedList
from glancearchive.operations.need import write_need

need_option = click.option(
    "--need",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write what is damaged or missing to FILE, for dump --for at the source.",
)


def tell_need(path: Path, needed: NeedList) -> dict[str, Any]:
    """Write the need-list, say so on stderr; what ``--json`` says of it."""
    needed = write_need(path, needed)
    blocks = sum(count for image in needed.images for _, count in image.ranges or ())
    whole = sum(image.ranges is None for image in needed.images)
    text = f"{len(needed.images)} images, {size_text(blocks * needed.block_size)} of parts, {whole} as a whole"
    more = "; and all images that are not known here" if needed.incomplete else ""
    note(f"glancearchive: {path}: needed are {text}{more}; take it to the source: glancearchive dump SERVER OUT --for")
    return {
        "file": str(path),
        "images": len(needed.images),
        "bytes": blocks * needed.block_size,
        "whole": whole,
        "incomplete": needed.incomplete,
    }
