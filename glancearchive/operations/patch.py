"""Makes a repair archive: what a need-list asks for, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from glancearchive.endpoints.archive_source import DEFINITIONS
from glancearchive.endpoints.patches import NeededSource, PatchTarget, relation
from glancearchive.format.growing import DEFAULT_MEMORY
from glancearchive.format.needlist import NeedList
from glancearchive.format.places import Split
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Outcome, Progress, Source
from glancearchive.operations.bandwidth import Bandwidth
from glancearchive.operations.dump import Dump, with_left_behind
from glancearchive.operations.transfer import Outcomes, Stop, transfer


def patch(
    source: Source,
    path: Path,
    need: NeedList,
    *,
    progress: Progress,
    chooses: Callable[[Mapping[str, Any]], bool],
    prepared: Callable[[Source], Source] = lambda source: source,
    bandwidth: Bandwidth | None = None,
    level: str = "default",
    split: Split | None = None,
    index_memory: int = DEFAULT_MEMORY,
    index_directory: Path | None = None,
    jobs: int = 2,
    stop: Stop | None = None,
) -> Dump:
    """Copy what `need` asks for from `source` into the repair archive `path`.

    One that was interrupted goes on. `level`, `split`, `index_memory` and `index_directory` are as `ArchiveWriter`
    takes them. `chooses` tells which of the images are wanted that the far end has never heard
    of; `prepared` may wrap what whole images are read from, `bandwidth` limits the rest. Raises LocalError when `path`
    is something else; UsageError when it is in one piece and volumes are asked for, or the other way round.
    """
    entries, need = _with_definitions(source, need)
    needed = NeededSource(entries, need, chooses)
    belonging = relation(need, path, split)
    writer = ArchiveWriter(
        path,
        source=source.label,
        level=level,
        split=split,
        block_size=need.block_size,
        index_memory=index_memory,
        index_directory=index_directory,
        relation=belonging,
    )
    result = Dump(iter(()), writer)

    def outcomes() -> Outcomes:
        target = PatchTarget(writer, need, source, bandwidth.take if bandwidth else _unlimited)
        yield from transfer(prepared(needed), target, progress=progress, jobs=jobs, stop=stop)
        for image in needed.lacking:
            yield Outcome(image.id, image.name, Action.FAILED, "the source has no such image, or does not show it")

    def run() -> Iterator[Outcome]:
        with writer.kept():
            yield from with_left_behind(outcomes(), writer.all_recorded())
            result.root_digest = writer.finish()

    result.outcomes = run()
    return result


def _with_definitions(source: Source, need: NeedList) -> tuple[Source, NeedList]:
    """The images of `source`, and its metadata definitions where `need` asks for them; then as a whole: they are made
    anew, and have no ranges.
    """
    if not any(image.id == DEFINITIONS for image in need.images):
        return source, need
    # Imported only here, so that what needs no server does without OpenStack's libraries.
    from glancearchive.endpoints.glance_source import GlanceSource
    from glancearchive.operations.definitions import WithDefinitions

    if not isinstance(source, GlanceSource):
        return source, need
    images = (replace(one, ranges=None) if one.id == DEFINITIONS else one for one in need.images)
    return WithDefinitions(source, source), replace(need, images=tuple(images))


def _unlimited(_count: int) -> None:
    """No limit of bandwidth."""
