"""Dumps a source into an archive: a new one, one that an interruption left, or one to add to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from glancearchive.endpoints.archive import ArchiveTarget
from glancearchive.errors import FormatError, LocalError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.growing import DEFAULT_MEMORY
from glancearchive.format.imageparts import COMPLETE, NO_DATA
from glancearchive.format.reader import Archive
from glancearchive.format.recordfile import sync_directory
from glancearchive.format.volumes import part_of
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Buffer, Image, Outcome, Progress, Source
from glancearchive.operations.transfer import Stop, transfer

log = logging.getLogger("glancearchive")


@dataclass(slots=True)
class Dump:
    """A dump under way: take all `outcomes`, then look at `root_digest`."""

    outcomes: Iterator[Outcome]
    written: Callable[[], int] = int
    root_digest: bytes = field(default=b"")
    complete_before: bool = False  # the archive was finished already, and nothing was done

    @property
    def stored(self) -> int:
        """Bytes that the archive has by now, 0 when there is none."""
        return self.written()


class _Begun:
    """A source whose first image was asked for already."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.label = source.label
        images = source.images()
        first = next(images, None)
        self.empty = first is None
        self._images = images if first is None else chain((first,), images)

    def images(self) -> Iterator[Image]:
        yield from self._images

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        return self._source.read(image, offset)


def dump(
    source: Source,
    path: Path,
    *,
    progress: Progress,
    level: str = "default",
    block_size: int | None = None,
    index_memory: int = DEFAULT_MEMORY,
    index_directory: Path | None = None,
    jobs: int = 2,
    append: bool = False,
    covering: bool = False,
    hash_originals: bool = False,
    stop: Stop | None = None,
) -> Dump:
    """Copy every image of `source` into the archive `path`.

    `level`, `block_size`, `index_memory` and `index_directory` are as `ArchiveWriter` takes them, `hash_originals` as
    `ArchiveTarget` does.
    Where an earlier dump of the same source was interrupted, it goes on. Where one was finished nothing is done; with
    `append` the archive gets what is new. Nothing is created before the source has answered. When an error or an
    interruption ends the dump, what could be committed stays in ``path.part``. Raises LocalError when `path` is
    something else; with `covering` also when it is finished and lacks an image of `source`. With that, nothing is
    created either when there are no images.
    """
    if path.exists() and not append:
        return _finished_before(source, path, covering=covering)
    begun = _Begun(source)
    if covering and begun.empty:
        return Dump(iter(()))
    finished = path.exists()
    if finished:
        _reopen_finished(source, path)
    try:
        writer = ArchiveWriter(
            path,
            source=source.label,
            level=level,
            block_size=block_size,
            index_memory=index_memory,
            index_directory=index_directory,
        )
    except BaseException:
        if finished:
            _give_back(path)
        raise
    if writer.header.source != source.label:
        writer.close()
        raise LocalError(f"{writer.part_path}: was begun from {writer.header.source}, not from {source.label}")
    if writer.resumed:
        log.warning("going on with %s at byte %d", writer.part_path, writer.stored)
    result = Dump(iter(()), lambda: writer.stored)

    def run() -> Iterator[Outcome]:
        try:
            target = ArchiveTarget(writer, hash_originals=hash_originals)
            yield from transfer(begun, target, progress=progress, jobs=jobs, stop=stop)
            result.root_digest = writer.finish()
        except LocalError:
            raise  # the medium failed; what it holds is in the last checkpoint
        except BaseException:
            with suppress(LocalError):  # one that was broken off in the middle of a record has no more to commit
                writer.commit()
            raise
        finally:
            writer.close()
            if finished and writer.unchanged and not path.exists():
                _give_back(path)

    result.outcomes = run()
    return result


def _give_back(path: Path) -> None:
    """A finished archive to which nothing was added gets its name again."""
    with suppress(OSError):
        part_of(path).rename(path)
        sync_directory(path.parent)


def _finding(image: ArchivedImage) -> Outcome | None:
    """What the run that finished the archive had to say of `image`, if that is to be looked at."""
    if image.status in (COMPLETE, NO_DATA):
        return None
    return Outcome(image.id, image.name, Action.FAILED, image.reason or image.status)


def _finished_before(source: Source, path: Path, *, covering: bool) -> Dump:
    try:
        with Archive([path]) as archive:
            if archive.finished and archive.header.source == source.label and archive.root_digest is not None:
                known = {image.id for image in archive}
                lacking = [image for image in source.images() if image.id not in known] if covering else []
                if lacking:
                    raise LocalError(
                        f"{path}: is finished, and {len(lacking)} of the images are not in it, the first is "
                        f"{lacking[0]}; --append adds them"
                    )
                findings = list(filter(None, map(_finding, archive)))
                size = sum(volume.size for volume in archive.volumes.values())
                return Dump(iter(findings), lambda: size, archive.root_digest, complete_before=True)
            origin = archive.header.source
    except FormatError:
        raise LocalError(f"{path}: exists already, and is no archive") from None
    if origin == source.label:
        raise LocalError(
            f"{path}: exists already, and its end is damaged or missing; --append goes on after what was committed, "
            "and verify tells what is wrong"
        )
    raise LocalError(f"{path}: exists already: an archive of {origin}, not of {source.label}")


def _reopen_finished(source: Source, path: Path) -> None:
    """Give a finished archive the name of an unfinished one: it stays readable under it, whatever happens."""
    part = part_of(path)
    if part.exists():
        raise LocalError(f"{path}: exists, and so does {part.name}; one of them has to go")
    with Archive([path]) as archive:  # raises unless it is an archive
        origin = archive.header.source
    if origin != source.label:
        raise LocalError(f"{path}: is an archive of {origin}, not of {source.label}")
    try:
        path.rename(part)
    except OSError as error:
        raise LocalError(f"{path}: cannot be renamed: {error.strerror}") from None
