"""Dumps a source into an archive: a new one, one that an interruption left, or one to add to."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from glancearchive.endpoints.archive_target import ArchiveTarget, doubted
from glancearchive.endpoints.diskfile import LABEL
from glancearchive.errors import FormatError, LocalError, UsageError, VolumeError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.base import Base
from glancearchive.format.catalog import UNFINISHED, Entry
from glancearchive.format.growing import DEFAULT_MEMORY
from glancearchive.format.imageparts import COMPLETE, FAILED, NO_DATA
from glancearchive.format.places import Places, Split
from glancearchive.format.reader import Archive
from glancearchive.format.recordfile import sync_directory
from glancearchive.format.resume import check_header
from glancearchive.format.state import Relation
from glancearchive.format.volumes import is_part, part_of
from glancearchive.format.writer import INTERRUPTED, ArchiveWriter
from glancearchive.image import Action, Buffer, Image, Outcome, Progress, Source
from glancearchive.operations.transfer import Outcomes, Stop, transfer

log = logging.getLogger("glancearchive")


@dataclass(slots=True)
class Dump:
    """A dump under way: take all `outcomes`, then look at `root_digest`. `writer` is what writes it, if anything does.

    With `complete_before` the archive was finished already, as `before`, of `size` bytes, and nothing is done.
    """

    outcomes: Iterator[Outcome]
    writer: ArchiveWriter | None = None
    root_digest: bytes = b""
    before: Sequence[Path] = ()
    size: int = 0

    @property
    def complete_before(self) -> bool:
        return bool(self.before)

    @property
    def volumes(self) -> Sequence[Path]:
        """The volumes of the archive, none when there is none."""
        return self.before if self.writer is None else self.writer.volumes

    @property
    def stored(self) -> int:
        """Bytes that the archive has by now, 0 when there is none."""
        return self.size if self.writer is None else self.writer.stored


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
    split: Split | None = None,
    index_memory: int = DEFAULT_MEMORY,
    index_directory: Path | None = None,
    jobs: int = 2,
    append: bool = False,
    covering: bool = False,
    hash_originals: bool = False,
    base: Base | None = None,
    stop: Stop | None = None,
) -> Dump:
    """Copy every image of `source` into the archive `path`.

    `level`, `block_size`, `split`, `index_memory` and `index_directory` are as `ArchiveWriter` takes them,
    `hash_originals` as `ArchiveTarget` does.
    With `base`, which has to stay open, the archive becomes an increment of that.
    Where an earlier dump of the same source was interrupted, it goes on. Where one was finished nothing is done; with
    `append` the archive gets what is new. Nothing is created before the source has answered. When an error or an
    interruption ends the dump, what could be committed stays in ``path.part``, or in the volumes. Raises UsageError
    when `path` is written in volumes and none are asked for, or the other way round, and when volumes that are finished
    are to be added to. Raises LocalError when `path` is something else; with `covering` also when it is finished and
    lacks an image of `source`; and when it is finished and a volume of it is missing or cut short. With `covering`,
    nothing is created either when there are no images.
    """
    done = done_before(source, path, split, append=append, covering=covering)
    if done is not None:
        return done
    begun = _Begun(source)
    if covering and begun.empty:
        return Dump(iter(()))
    finished = path.exists()
    relation = Relation(base.header.hash_key, base.name) if base is not None else None
    keep = _reopen_finished(source, path, block_size, relation) if finished else 0
    try:
        writer = ArchiveWriter(
            path,
            source=source.label,
            level=level,
            block_size=block_size,
            split=split,
            index_memory=index_memory,
            index_directory=index_directory,
            base=base,
            keep=keep,
        )
    except BaseException:
        if finished:
            _give_back(path)
        raise
    if writer.header.source != source.label:
        writer.close()
        raise LocalError(f"{writer.part_path}: was begun from {writer.header.source}, not from {source.label}")
    if finished:
        log.info("adding to %s, which is %s meanwhile", path, writer.part_path)
    elif writer.resumed and writer.gone_on_with == writer.part_path:
        log.warning("going on with %s, which an earlier run has begun", writer.part_path)
    elif writer.resumed:
        log.warning("going on after %s, which is finished", writer.gone_on_with)
    result = Dump(iter(()), writer)

    def run() -> Iterator[Outcome]:
        try:
            target = ArchiveTarget(writer, hash_originals=hash_originals)
            outcomes = transfer(begun, target, progress=progress, jobs=jobs, stop=stop)
            if source.label == LABEL:
                outcomes = _superseding(outcomes, writer)
            yield from with_left_behind(outcomes, writer.all_recorded())
            result.root_digest = writer.finish()
        except LocalError:
            raise  # the medium failed; what it holds is in the last checkpoint
        except BaseException:
            with suppress(LocalError):  # one that was broken off in the middle of a record has no more to commit
                writer.commit()
            raise
        finally:
            if finished and writer.unchanged and not path.exists():
                with suppress(LocalError):  # it is readable under the name of an unfinished one too
                    writer.give_back()
            writer.close()

    result.outcomes = run()
    return result


def done_before(source: Source, path: Path, split: Split | None, *, append: bool, covering: bool) -> Dump | None:
    """What is to be said where the archive `path` is finished and is not to be added to; None: there is work to do.

    Raises as `dump`.
    """
    places = Places(path, split) if path.parent.is_dir() else None
    if places:
        places.check()
    volumes = places.paths if places and split else {}
    if volumes and _is_finished(volumes):
        if append:
            raise UsageError(f"{path}: is finished, and an archive in volumes cannot be added to: write another one")
        return _finished_before(source, path, [*volumes.values()], covering=covering)
    if path.exists() and not append:
        return _finished_before(source, path, [path], covering=covering)
    return None


def _is_finished(volumes: Mapping[int, Path]) -> bool:
    if is_part(volumes[max(volumes)]):
        return False
    try:
        with Archive(volumes.values()) as archive:
            return archive.finished
    except FormatError:
        return False  # whoever wants to go on will find out


def with_left_behind(outcomes: Outcomes, recorded: Iterable[Entry]) -> Iterator[Outcome]:
    """Hand on the `outcomes` of a run, then one for each image that an earlier run began and this one did not meet.

    `recorded` is what the archive held before. Such images are recorded as failed when it is finished.
    """
    seen: set[str] = set()
    with closing(outcomes):  # a transfer has to come to its end before what it wrote is committed
        for outcome in outcomes:
            seen.add(outcome.id)
            yield outcome
    for entry in recorded:
        if entry.status == UNFINISHED and entry.begin is not None and entry.id not in seen:
            yield Outcome(entry.id, Image(entry.begin.metadata).name, Action.FAILED, INTERRUPTED)


def _superseding(outcomes: Outcomes, writer: ArchiveWriter) -> Outcomes:
    """Hand on the outcomes of image files; then record what has become of earlier failures that are made good by them.

    A file that changed while it was read is another image afterwards, with another id, and nothing will ever be heard
    again of the one that failed. Where a file of its name is whole in the archive now, that one has no data any more.
    """
    seen: set[str] = set()
    whole: dict[str, str] = {}
    for outcome in outcomes:
        seen.add(outcome.id)
        if outcome.action in (Action.COPIED, Action.PRESENT, Action.UPDATED):
            whole[outcome.name] = outcome.id
        yield outcome
    for entry in writer.all_recorded():
        begin, end = entry.begin, entry.end
        if begin is None or end is None or end.status != FAILED or begin.id in seen:
            continue
        heir = whole.get(str(begin.metadata.get("name")))
        if heir is not None:
            log.info("image %s: superseded by %s", begin.id, heir)
            reason = f"superseded: the file of this name is here as {heir}; before: {end.reason}"
            writer.begin(begin.id, begin.metadata, begin.members).give_up(reason, NO_DATA)


def _give_back(path: Path) -> None:
    """A finished archive to which nothing was added gets its name again."""
    with suppress(OSError):
        part_of(path).rename(path)
        sync_directory(path.parent)


def _finding(image: ArchivedImage) -> Outcome | None:
    """What the run that finished the archive had to say of `image`, if that is to be looked at."""
    if image.status not in (COMPLETE, NO_DATA):
        return Outcome(image.id, image.name, Action.FAILED, image.reason or image.status)
    action = Action.PRESENT if image.status == COMPLETE else Action.NO_DATA
    outcome = doubted(Outcome(image.id, image.name, action, image.reason), Image(image.metadata))
    return outcome if outcome.doubtful else None


def _not_there(archive: Archive) -> FormatError | None:
    """What is wrong with the first volume, of those before the last, that is missing or does not end as one does."""
    for number in range(1, max(archive.volumes)):
        if number in archive.volumes and archive.volumes[number].end_header() is not None:
            continue
        name = archive.volume_name(number)
        told = [fault for fault in archive.faults if fault.volume == name]  # what is said of its end comes last
        return told[-1] if told else VolumeError("was changed meanwhile", volume=name)
    return None


def _finished_before(source: Source, path: Path, volumes: Sequence[Path], *, covering: bool) -> Dump:
    try:
        with Archive(volumes) as archive:
            if archive.header.repairs is not None:
                raise UsageError(f"{path}: is a repair of archive {archive.header.repairs.archive_id.hex()}, no dump")
            if archive.finished and archive.header.source == source.label and archive.root_digest is not None:
                fault = _not_there(archive)
                if fault is not None:
                    raise LocalError(
                        f"{path}: exists already, and is not all there: {fault}; verify tells what is wrong"
                    )
                known = {image.id for image in archive}
                lacking = [image for image in source.images() if image.id not in known] if covering else []
                if lacking:
                    raise LocalError(
                        f"{path}: is finished, and {len(lacking)} of the images are not in it, the first is "
                        f"{lacking[0]}{'; --append adds them' if volumes == [path] else ''}"
                    )
                findings = list(filter(None, map(_finding, archive)))
                size = sum(volume.size for volume in archive.volumes.values())
                root = archive.root_digest
                return Dump(iter(findings), root_digest=root, before=volumes, size=size)
            origin = archive.header.source
    except FormatError:
        raise LocalError(f"{path}: exists already, and is no archive") from None
    if origin == source.label:
        raise LocalError(
            f"{path}: exists already, and its end is damaged or missing; --append goes on after what was committed, "
            "and verify tells what is wrong"
        )
    raise LocalError(f"{path}: exists already: an archive of {origin}, not of {source.label}")


def _reopen_finished(source: Source, path: Path, block_size: int | None, relation: Relation | None) -> int:
    """Give a finished archive the name of an unfinished one: it stays readable under it, whatever happens.

    Returns its size in bytes, 0 where its end is damaged or missing.
    """
    part = part_of(path)
    if part.exists():
        raise LocalError(f"{path}: exists, and so does {part.name}; one of them has to go")
    with Archive([path]) as archive:  # raises unless it is an archive
        header = archive.header
        size = sum(volume.size for volume in archive.volumes.values()) if archive.finished else 0
    if header.source != source.label:
        raise LocalError(f"{path}: is an archive of {header.source}, not of {source.label}")
    check_header(path, header, block_size, relation)
    try:
        path.rename(part)
    except OSError as error:
        raise LocalError(f"{path}: cannot be renamed: {error.strerror}") from None
    return size
