"""``dump --for``: answers a need-list with a repair archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from glancearchive.cli.outcomes import conclude, told
from glancearchive.cli.output import note, size_text
from glancearchive.cli.readback import ReadBacks
from glancearchive.cli.select import not_found, tell_choice
from glancearchive.cli.tally import Tally
from glancearchive.cli.transfers import Announced
from glancearchive.cli.volumes import telling_what_stays
from glancearchive.errors import UsageError
from glancearchive.format.places import Split
from glancearchive.operations.bandwidth import Bandwidth, Limited
from glancearchive.operations.need import read_need
from glancearchive.operations.select import Selection

if TYPE_CHECKING:
    from glancearchive.endpoints.location import LocatedSource
    from glancearchive.image import Source

for_option = click.option(
    "--for",
    "need",
    metavar="NEED",
    type=click.Path(path_type=Path, readable=False),
    help="Write a repair archive: only what this need-list asks for.",
)


def answer_need(
    source: LocatedSource,
    archive: Path,
    need: Path,
    selection: Selection,
    progress: Tally,
    reads: ReadBacks,
    *,
    level: str,
    split: Split | None,
    index_memory: int,
    index_directory: Path | None,
    jobs: int,
    bwlimit: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """``dump --for``: a repair archive for the need-list `need`, read back by `reads`. The exit code."""
    from glancearchive.operations.dump import Dump
    from glancearchive.operations.patch import patch

    bandwidth = Bandwidth(bwlimit) if bwlimit else None

    def prepared(images: Source) -> Source:
        announced = Announced(images, progress)
        return Limited(announced, bandwidth) if bandwidth else announced

    needed = read_need(need)
    if not (needed.images or needed.incomplete):
        raise UsageError(f"{need}: asks for nothing")
    if selection and not needed.incomplete:
        raise UsageError(f"{need}: names all images that are needed, there is nothing to choose among")
    result = Dump(iter(()))
    split = split and reads.before_leaving(split, lambda: result.volumes)
    result = patch(
        source,
        archive,
        needed,
        progress=progress,
        chooses=selection.chooses,
        prepared=prepared,
        bandwidth=bandwidth,
        level=level,
        split=split,
        index_memory=index_memory,
        index_directory=index_directory,
        jobs=jobs,
    )
    progress.stores(lambda: result.stored)
    with telling_what_stays(result.writer):
        outcomes = list(told(result.outcomes, progress, quiet or as_json))
    faults = selection.faults(source.faults)
    for fault in faults:
        note(f"glancearchive: {fault}")
    sound = not (faults or (selection and tell_choice(selection)))
    reads.read(result.volumes)
    document = {
        "archive": str(archive),
        "server": source.label,
        "need": str(need),
        "faults": faults,
        "repairs": needed.archive_id.hex(),
        "stored": result.stored,
        "volumes": [str(volume) for volume in result.volumes],
        "root_digest": result.root_digest.hex(),
        **not_found(selection),
        "read_back": reads.document(),
    }
    where = f", stored in {size_text(result.stored)}: {archive}"
    code = conclude(document, outcomes, as_json, where, sound=sound and reads.well, progress=progress)
    if not as_json:
        reads.tell()
    return code
