"""Writes an archive anew in other volumes, or in one piece: the same frames, byte for byte. No Glance is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from glancearchive.errors import FormatError, LocalError, UsageError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.blockindex import ABSENT
from glancearchive.format.catalog import UNFINISHED, Entry
from glancearchive.format.compression import LEVELS, decompress
from glancearchive.format.frameindex import Frame, FrameKey
from glancearchive.format.hashing import block_digests
from glancearchive.format.header import HEADER_SIZE
from glancearchive.format.imageparts import COMPLETE, FAILED, NO_DATA, ZEROS
from glancearchive.format.imagewriter import ImageWriter
from glancearchive.format.lookahead import look_ahead
from glancearchive.format.packer import PackedFrame
from glancearchive.format.places import Split
from glancearchive.format.reader import Archive
from glancearchive.format.state import Relation
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Outcome
from glancearchive.operations.transfer import Stop


@dataclass(slots=True)
class Reslice:
    """One under way: take all `outcomes`, one for each image, then look at the rest."""

    outcomes: Iterator[Outcome]
    writer: ArchiveWriter
    root_digest: bytes = field(default=b"")


def reslice(
    archive: Archive,
    path: Path,
    split: Split | None,
    *,
    progress: Callable[[int], None] = lambda _count: None,
    stop: Stop | None = None,
) -> Reslice:
    """Write the images of `archive` as the archive `path`, split as `split` says; None: in one piece.

    Every frame is checked before it is copied; images that need a damaged or missing one are recorded as failed.
    `progress` is told of stored bytes. Where an earlier run was interrupted it goes on. Raises UsageError for an
    archive that is read with others, LocalError when `path` was begun from another archive, else as `ArchiveWriter`.
    """
    header, level, relation = _kind(archive)
    writer = ArchiveWriter(
        path, source=header.source, level=level, block_size=header.block_size, split=split, relation=relation
    )
    try:
        check_begun(writer.header, relation, writer.part_path)
    except BaseException:
        writer.close()
        raise
    result = Reslice(iter(()), writer)

    def outcomes() -> Iterator[Outcome]:
        with writer.kept():
            copying = _Copying(archive, writer, progress)
            for image in archive:
                (stop or _NEVER).check()
                yield copying.image(image)
            result.root_digest = writer.finish()

    result.outcomes = outcomes()
    return result


_NEVER = Stop()


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would be written: `outcomes`, one for each image, and about `stored` bytes.

    Of the `volumes` of the archive those are told that there are already, and the one that would be begun.
    """

    outcomes: list[Outcome]
    stored: int
    volumes: list[Path]


def foresee(archive: Archive, path: Path, split: Split | None) -> Foreseen:
    """What `reslice` would write, as far as the records of `archive` say: no data are read.

    Raises as that does, as far as nothing would have been written by then.
    """
    header, level, relation = _kind(archive)
    begun = look_ahead(path, split, source=header.source, level=level, block_size=header.block_size, relation=relation)
    check_begun(begun.header, relation, begun.part_path)
    outcomes: list[Outcome] = []
    sizes: dict[FrameKey, int] = {}
    for image in archive:
        outcomes.append(known_outcome(image, begun.recorded.get(image.id)) or expected(image))
        if outcomes[-1].action in (Action.COPIED, Action.PRESENT):
            sizes.update((frame.key, frame.stored_size + HEADER_SIZE) for frame, _, _ in image.frames())
    return Foreseen(outcomes, sum(sizes.values()), begun.volumes)


def _kind(archive: Archive) -> tuple[ArchiveHeader, str, Relation]:
    """The header of `archive`, and with what level and relation it is written anew. Raises UsageError."""
    header = archive.header
    if header.base or header.repairs:
        raise UsageError("an archive that is read together with another one cannot be split anew; merge them first")
    return header, header.level if header.level in LEVELS else "default", Relation(header.hash_key)


def check_begun(header: ArchiveHeader, relation: Relation, part: Path) -> None:
    """Raises LocalError when the archive with this `header`, whose volume under way is `part`, is another one."""
    if header.hash_key != relation.hash_key:
        raise LocalError(f"{part}: was begun from something else; it has to go, or another name be given")


class _Copying:
    """Copies image by image, each with the frames that it is the first to need: so volumes have what they tell of."""

    def __init__(self, archive: Archive, writer: ArchiveWriter, progress: Callable[[int], None]) -> None:
        self._archive = archive
        self._writer = writer
        self._progress = progress
        self._first: dict[int, int] = {}  # by number of a frame: the number of its first block in the new archive

    def image(self, image: ArchivedImage) -> Outcome:
        known = known_outcome(image, self._writer.recorded(image.id))
        if known is not None:
            return known
        outcome = expected(image)
        begin, end = image.entry.begin, image.entry.end
        if begin is None:
            return outcome
        writer = self._writer.begin(begin.id, begin.metadata, begin.members)
        if outcome.action is not Action.COPIED:
            return _without(writer, outcome, outcome.action, outcome.reason)
        assert end is not None, "it is complete"
        try:
            self._copy(image, writer)
        except FormatError as error:
            return _without(writer, outcome, Action.FAILED, f"it is not all here: {error}")
        writer.stored = end.stored
        writer.repeat(np.empty((0, 2), dtype=np.uint64), end)
        return outcome

    def _copy(self, image: ArchivedImage, writer: ImageWriter) -> None:
        """Copy the frames of `image` and describe it by them. Raises FormatError when one cannot be used."""
        extents, _ = image.entry.extents()
        for start, count in extents.tolist():
            at, end = start, start + count
            if start == ZEROS:
                writer.describe(start, count)
                continue
            while at < end:
                frame = self._archive.catalog.frames.find(at)
                assert frame is not None, f"the extents of image {image.id} were checked"
                until = min(end, frame.first_block + frame.blocks)
                writer.describe(self._first_block(frame) + at - frame.first_block, until - at)
                at = until

    def _first_block(self, frame: Frame) -> int:
        """Where the blocks of `frame` begin in the new archive, which gets it if it does not have it."""
        known = self._first.get(frame.number)
        if known is not None:
            return known
        header = self._writer.header
        stored = bytes(self._archive.volume_of(frame).read_payload(frame.header()))
        try:
            raw = decompress(stored, frame.raw_size)
        except ValueError as error:
            name = self._archive.volume_name(frame.volume)
            raise FormatError(str(error), volume=name, begin=frame.offset, end=frame.header().end) from None
        digests = block_digests(header.hash_key, memoryview(raw), header.block_size)
        numbers = self._writer.find_blocks(digests)
        first = int(numbers[0])
        if first == ABSENT or not np.array_equal(numbers, np.arange(first, first + frame.blocks)):
            first = self._writer.copy_frame(PackedFrame(stored, frame.raw_size, frame.payload_digest, {}), digests)
        self._first[frame.number] = first
        self._progress(frame.stored_size)
        return first


def expected(image: ArchivedImage) -> Outcome:
    """What becomes of `image`, as far as the records say."""
    if image.entry.begin is None:
        return Outcome(image.id, "", Action.FAILED, "; ".join(image.faults()))
    end = image.entry.end
    if end is not None and end.status == NO_DATA:
        return Outcome(image.id, image.name, Action.NO_DATA, end.reason)
    if end is None or end.status != COMPLETE:
        return Outcome(image.id, image.name, Action.FAILED, image.reason or UNFINISHED)
    if faults := image.faults():
        return Outcome(image.id, image.name, Action.FAILED, f"it is not all here: {faults[0]}")
    return Outcome(image.id, image.name, Action.COPIED, "", image.size or 0, image.verified)


def known_outcome(image: ArchivedImage, entry: Entry | None) -> Outcome | None:
    """The outcome for `image` when `entry`, by an earlier run, is all that is to be had of it, else None."""
    if entry is None or entry.end is None or entry.end.status == FAILED:
        return None
    if entry.end.status == NO_DATA:
        return Outcome(image.id, image.name, Action.NO_DATA, entry.end.reason)
    return Outcome(image.id, image.name, Action.PRESENT, "", image.size or 0, image.verified)


def _without(writer: ImageWriter, outcome: Outcome, action: Action, reason: str) -> Outcome:
    writer.give_up(reason, NO_DATA if action is Action.NO_DATA else FAILED)
    outcome.action, outcome.reason, outcome.size, outcome.verified = action, reason, 0, ""
    return outcome
