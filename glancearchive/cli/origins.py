"""Where ``load``, ``plan`` and ``livecopy`` take images from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import glancearchive
from glancearchive.cli.output import note
from glancearchive.cli.reading import tell_faults
from glancearchive.errors import UsageError
from glancearchive.format.volumes import has_volumes
from glancearchive.operations.select import Selection

if TYPE_CHECKING:
    from glancearchive.endpoints.location import LocatedSource


@dataclass(frozen=True, slots=True)
class Origin:
    """`images` are those of `source`, checked on their way unless the source does that itself.

    `archive_id` is that of an archive, None for other places. `holds` says what is known to be missing of an image's
    data, by its id.
    """

    source: LocatedSource
    images: LocatedSource
    archive_id: bytes | None
    holds: Callable[[str], str]

    @classmethod
    def of(cls, source: LocatedSource) -> Origin:
        from glancearchive.endpoints.archive_source import ArchiveSource
        from glancearchive.operations.checked import CheckedSource

        if isinstance(source, ArchiveSource):
            return cls(source, source, source.archive.archive_id, source.holds)
        return cls(source, CheckedSource(source), None, lambda _image_id: "")


@contextmanager
def opened_origin(archive: Path, others: Sequence[Path], selection: Selection) -> Iterator[Origin]:
    """The images of an archive, or of a directory in glance-replicator's layout. What is wrong there is told, but
    for directories not of images that `selection` leaves out.

    Raises UsageError for anything else, and for a directory that is both.
    """
    from glancearchive.endpoints.archive_source import ArchiveSource
    from glancearchive.endpoints.directory import is_replicated
    from glancearchive.endpoints.location import Kind, locate

    if not archive.is_dir() or (has_volumes(archive) and not is_replicated(archive)):
        with glancearchive.open(archive, *others) as opened:
            tell_faults(opened)
            yield Origin.of(ArchiveSource(opened))
        return
    location = locate(f"{archive}{os.sep}")
    if location.kind is not Kind.REPLICATOR:
        raise UsageError(f"{archive}: is neither an archive nor {Kind.REPLICATOR.value}; dump image files first")
    with location.open(others) as source:
        yield Origin.of(source)
        for fault in selection.faults(source.faults):
            note(f"glancearchive: {fault}")
