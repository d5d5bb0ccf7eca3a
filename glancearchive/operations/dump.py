"""Dumps a source into a new archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from glancearchive.endpoints.archive import ArchiveTarget
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Buffer, Image, Outcome, Progress, Source
from glancearchive.operations.transfer import Stop, transfer


@dataclass(slots=True)
class Dump:
    """A dump under way: take all `outcomes`, then look at `stored` (bytes) and `root_digest`."""

    outcomes: Iterator[Outcome]
    stored: int = 0
    root_digest: bytes = field(default=b"")


class _Begun:
    """A source whose first image was asked for already."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.label = source.label
        images = source.images()
        first = next(images, None)
        self._images = images if first is None else chain((first,), images)

    def images(self) -> Iterator[Image]:
        yield from self._images

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        return self._source.read(image, offset)


def dump(
    source: Source, path: Path, *, progress: Progress, level: str = "default", jobs: int = 2, stop: Stop | None = None
) -> Dump:
    """Copy every image of `source` into a new archive at `path`. Raises LocalError when `path` exists.

    Nothing is created before the source has answered. When an error or an interruption ends the
    dump, what was committed stays in ``path.part``.
    """
    begun = _Begun(source)
    writer = ArchiveWriter(path, source=source.label, level=level)
    result = Dump(iter(()))

    def run() -> Iterator[Outcome]:
        try:
            yield from transfer(begun, ArchiveTarget(writer), progress=progress, jobs=jobs, stop=stop)
            result.root_digest = writer.finish()
            result.stored = writer.stored
        finally:
            writer.close()

    result.outcomes = run()
    return result
