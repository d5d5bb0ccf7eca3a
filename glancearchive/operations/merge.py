"""Merges archives that go back to one base into one archive that needs no other; no Glance is asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glancearchive.errors import FormatError, LocalError, UsageError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.blockindex import ABSENT
from glancearchive.format.blockstore import Stretch
from glancearchive.format.compression import decompress
from glancearchive.format.extents import join_extents
from glancearchive.format.family import open_each
from glancearchive.format.frameindex import Frame, FrameKey
from glancearchive.format.hashing import block_digests
from glancearchive.format.imageparts import COMPLETE, FAILED, NO_DATA, ZEROS, Extents
from glancearchive.format.packer import PackedFrame
from glancearchive.format.reader import Archive
from glancearchive.format.state import Relation
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Outcome
from glancearchive.operations.reslice import known_outcome
from glancearchive.operations.transfer import Stop

log = logging.getLogger("glancearchive")

_MOST = 0.75  # a frame of which so much is needed is copied as it is; of others the blocks are packed anew


@dataclass(slots=True)
class _Used:
    """A frame, the archive to read it by, and which of its blocks are needed. `fault`: why it cannot be used."""

    archive: Archive
    frame: Frame
    blocks: npt.NDArray[np.bool_]
    numbers: npt.NDArray[np.int64] | int = ABSENT  # in the new archive: of each block, or of the first when all follow
    fault: FormatError | None = None


@dataclass(slots=True)
class Merge:
    """A merge under way: take all `outcomes`, one for each image, then look at `root_digest`."""

    outcomes: Iterator[Outcome]
    faults: list[str]
    written: Callable[[], int]
    root_digest: bytes = field(default=b"")

    @property
    def stored(self) -> int:
        """Bytes that the new archive has by now."""
        return self.written()


class Merger:
    """The archives at `paths`, each with its base; a context manager.

    Of several images with one id that of the later archive counts: increments after what they are based on, else in the
    order given; but one that has no data never hides one that is there. Raises UsageError for archives that do not go
    back to one base, and as opening each of them does.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        with ExitStack() as stack:
            self.archives = [stack.enter_context(archive) for archive in open_each(paths)]
            first = self.archives[0]
            for archive in self.archives:
                if (archive.header.hash_key, archive.header.block_size) != (
                    first.header.hash_key,
                    first.header.block_size,
                ):
                    raise UsageError(f"{_path(archive)} and {_path(first)} have no base in common")
            self._close = stack.pop_all()
        self.faults = list(dict.fromkeys(str(fault) for archive in self.archives for fault in archive.faults))
        self.images = self._chosen()

    def _chosen(self) -> list[tuple[Archive, ArchivedImage]]:
        chosen: dict[str, tuple[Archive, ArchivedImage]] = {}
        for archive in self.archives:
            for image in archive.images:
                known = chosen.get(image.id)
                if known is None or image.status == COMPLETE or known[1].status != COMPLETE:
                    chosen[image.id] = archive, image
        return [one for image_id, one in chosen.items() if image_id]

    def __enter__(self) -> Merger:
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()

    def run(
        self, path: Path, *, level: str, progress: Callable[[int], None] = lambda _count: None, stop: Stop | None = None
    ) -> Merge:
        """Write the archive `path`. `progress` is told of stored bytes that were dealt with.

        Where an earlier merge was interrupted it goes on. Raises as `ArchiveWriter`.
        """
        header = self.archives[-1].header
        writer = ArchiveWriter(
            path,
            source=header.source,
            level=level,
            block_size=header.block_size,
            relation=Relation(header.hash_key),
        )
        if writer.header.hash_key != header.hash_key:
            writer.close()
            raise LocalError(
                f"{writer.part_path}: was begun from something else; it has to go, or another name be given"
            )
        result = Merge(iter(()), self.faults, lambda: writer.stored)

        def outcomes() -> Iterator[Outcome]:
            with writer.kept():
                yield from _Writing(writer, self.images, progress, stop or Stop()).run()
                result.root_digest = writer.finish()

        result.outcomes = outcomes()
        return result

    def stored_bytes(self) -> int:
        """Stored bytes of the frames that are needed."""
        return sum(used.frame.stored_size for used in _find_used(self.images).values())


class _Writing:
    """One merge: frames first, then the images with the numbers that their blocks have now."""

    def __init__(
        self,
        writer: ArchiveWriter,
        images: Sequence[tuple[Archive, ArchivedImage]],
        progress: Callable[[int], None],
        stop: Stop,
    ) -> None:
        self._writer = writer
        self._images = images
        self._progress = progress
        self._stop = stop
        self._used: dict[FrameKey, _Used] = {}

    def run(self) -> Iterator[Outcome]:
        self._used = _find_used(self._images)
        order = {archive.archive_id: place for place, (archive, _) in reversed(list(enumerate(self._images)))}
        every = sorted(self._used.values(), key=lambda used: (order.get(used.frame.archive_id, -1), used.frame.number))
        later = [used for used in every if not self._deal_with(used, whole=True)]
        for used in later:  # after those that are copied, for each change from one to the other cuts a frame short
            self._deal_with(used, whole=False)
        for archive, image in self._images:
            self._stop.check()
            yield self._record(archive, image)

    def _deal_with(self, used: _Used, *, whole: bool) -> bool:
        """Store the needed blocks of a frame; False when `whole` and that is better done later, by blocks."""
        self._stop.check()
        frame, header = used.frame, self._writer.header
        try:
            stored = bytes(used.archive.volume_of(frame).read_payload(frame.header()))
            raw = memoryview(decompress(stored, frame.raw_size))
        except (FormatError, ValueError) as error:
            used.fault = error if isinstance(error, FormatError) else FormatError(str(error))
            return True
        digests = block_digests(header.hash_key, raw, header.block_size)
        places = np.flatnonzero(used.blocks)
        if whole:
            lacking = np.count_nonzero(self._writer.find_blocks(digests[places]) == ABSENT)
            if lacking < _MOST * frame.blocks:
                return False
            copy = PackedFrame(stored, frame.raw_size, frame.payload_digest, {})
            used.numbers = self._writer.copy_frame(copy, digests)
        else:
            used.numbers = np.full(frame.blocks, ABSENT, dtype=np.int64)
            used.numbers[places] = self._writer.store_blocks(Stretch(raw, places, digests[places], frame.blocks))
        self._progress(frame.stored_size)
        return True

    def _record(self, archive: Archive, image: ArchivedImage) -> Outcome:
        known = known_outcome(image, self._writer)
        if known is not None:
            return known
        outcome = Outcome(image.id, image.name, Action.COPIED, "", image.size or 0, image.verified)
        begin = image.entry.begin
        assert begin is not None
        writer = self._writer.begin(begin.id, begin.metadata, begin.members)
        end = image.entry.end
        if end is None or end.status != COMPLETE:
            nothing = image.status == NO_DATA
            outcome.action, outcome.reason = Action.NO_DATA if nothing else Action.FAILED, image.reason or image.status
            writer.give_up(outcome.reason, NO_DATA if nothing else FAILED)
            return outcome
        faults = image.faults()
        faults += (
            [str(fault) for frame, _, _ in image.frames() if (fault := self._used[frame.key].fault)]
            if not faults
            else []
        )
        if faults:
            outcome.action, outcome.size, outcome.verified = Action.FAILED, 0, ""
            outcome.reason = f"in {_path(archive)} it is not whole: {faults[0]}"
            writer.give_up(outcome.reason)
            return outcome
        writer.stored = end.stored
        writer.repeat(self._renumbered(archive, image), end)
        return outcome

    def _renumbered(self, archive: Archive, image: ArchivedImage) -> Extents:
        """The extents of `image` in the numbers of the new archive."""
        extents, _ = image.entry.extents()
        rows: list[tuple[int, int]] = []
        for start, count in extents.tolist():
            at, end = start, start + count
            if start == ZEROS:
                rows.append((start, count))
                continue
            while at < end:
                frame = archive.catalog.frames.find(at)
                assert frame is not None, f"the extents of image {image.id} were checked"
                until = min(end, frame.first_block + frame.blocks)
                rows += _runs(self._used[frame.key].numbers, at - frame.first_block, until - frame.first_block)
                at = until
        return join_extents(np.array(rows, dtype=np.uint64).reshape(-1, 2))


def _runs(numbers: npt.NDArray[np.int64] | int, begin: int, end: int) -> list[tuple[int, int]]:
    """The extents ``start, count`` of the blocks `begin` to `end` of a frame."""
    if isinstance(numbers, int):
        return [(numbers + begin, end - begin)]
    some = numbers[begin:end]
    heads = np.flatnonzero(np.concatenate([[True], np.diff(some) != 1]))
    counts = np.diff(np.append(heads, len(some)))
    return list(zip(some[heads].tolist(), counts.tolist(), strict=True))


def _find_used(images: Sequence[tuple[Archive, ArchivedImage]]) -> dict[FrameKey, _Used]:
    """The frames that complete images need, with the blocks of them that are needed."""
    found: dict[FrameKey, _Used] = {}
    for archive, image in images:
        for frame, block, count in image.frames() if image.status == COMPLETE else ():
            used = found.get(frame.key)
            if used is None:
                used = found[frame.key] = _Used(archive, frame, np.zeros(frame.blocks, dtype=np.bool_))
            used.blocks[block - frame.first_block : block - frame.first_block + count] = True
    return found


def _path(archive: Archive) -> Path:
    return archive.volumes[min(archive.volumes)].path
