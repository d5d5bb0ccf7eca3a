"""Makes a repair archive: what a need-list asks for, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from glancearchive.endpoints.patches import NeededSource, PatchTarget, relation
from glancearchive.errors import LocalError
from glancearchive.format.needlist import NeedList
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Outcome, Progress, Source
from glancearchive.operations.bandwidth import Bandwidth
from glancearchive.operations.dump import Dump
from glancearchive.operations.transfer import Stop, transfer


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
    jobs: int = 2,
    stop: Stop | None = None,
) -> Dump:
    """Copy what `need` asks for from `source` into the repair archive `path`.

    One that was interrupted goes on. `chooses` tells which of the images are wanted that the far end has never heard
    of; `prepared` may wrap what whole images are read from, `bandwidth` limits the rest. Raises LocalError when `path`
    is something else.
    """
    needed = NeededSource(source, need, chooses)
    belonging = relation(need, path)
    writer = ArchiveWriter(path, source=source.label, level=level, block_size=need.block_size, relation=belonging)
    result = Dump(iter(()), lambda: writer.stored)

    def run() -> Iterator[Outcome]:
        try:
            target = PatchTarget(writer, need, source, bandwidth.take if bandwidth else _unlimited)
            yield from transfer(prepared(needed), target, progress=progress, jobs=jobs, stop=stop)
            for image in needed.lacking:
                yield Outcome(image.id, image.name, Action.FAILED, "the source has no such image, or does not show it")
            result.root_digest = writer.finish()
        except LocalError:
            raise
        except BaseException:
            with suppress(LocalError):
                writer.commit()
            raise
        finally:
            writer.close()

    result.outcomes = run()
    return result


def _unlimited(_count: int) -> None:
    """No limit of bandwidth."""
