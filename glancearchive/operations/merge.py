"""Merges archives that go back to one base into one archive that needs no other; no Glance is asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glancearchive.errors import FormatError, UsageError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.blockindex import ABSENT
from glancearchive.format.blockstore import Stretch
from glancearchive.format.compression import decompress
from glancearchive.format.extents import join_extents
from glancearchive.format.family import open_each
from glancearchive.format.frameindex import Frame, FrameKey
from glancearchive.format.hashing import block_digests
from glancearchive.format.header import HEADER_SIZE
from glancearchive.format.imageparts import COMPLETE, FAILED, NO_DATA, ZEROS, Extents
from glancearchive.format.lookahead import look_ahead
from glancearchive.format.packer import PackedFrame
from glancearchive.format.reader import Archive
from glancearchive.format.state import Relation
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Outcome
from glancearchive.operations.reslice import Foreseen, check_begun, known_outcome
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
        header, relation = self._kind()
        writer = ArchiveWriter(path, source=header.source, level=level, block_size=header.block_size, relation=relation)
        try:
            check_begun(writer.header, relation, writer.part_path)
        except BaseException:
            writer.close()
            raise
        result = Merge(iter(()), self.faults, lambda: writer.stored)

        def outcomes() -> Iterator[Outcome]:
            with writer.kept():
                yield from _Writing(writer, self.images, progress, stop or Stop()).run()
                result.root_digest = writer.finish()

        result.outcomes = outcomes()
        return result

    def foresee(self, path: Path, *, level: str) -> Foreseen:
        """What `run` would write, as far as the records say: no data are read.

        Raises as that does, as far as nothing would have been written by then.
        """
        header, relation = self._kind()
        begun = look_ahead(
            path, None, source=header.source, level=level, block_size=header.block_size, relation=relation
        )
        check_begun(begun.header, relation, begun.part_path)
        used = _find_used(self.images)
        outcomes = [
            known_outcome(image, begun.recorded.get(image.id)) or _expected(archive, image, used)
            for archive, image in self.images
        ]
        # Of what is packed anew, a part goes.
        stored = sum(
            HEADER_SIZE + one.frame.stored_size * int(one.blocks.sum()) // len(one.blocks) for one in used.values()
        )
        return Foreseen(outcomes, stored, begun.volumes)

    def _kind(self) -> tuple[ArchiveHeader, Relation]:
        """The header that the merged archive goes by, and its relation."""
        header = self.archives[-1].header
        return header, Relation(header.hash_key)

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
        known = known_outcome(image, self._writer.recorded(image.id))
        if known is not None:
            return known
        outcome = _expected(archive, image, self._used)
        begin, end = image.entry.begin, image.entry.end
        assert begin is not None
        writer = self._writer.begin(begin.id, begin.metadata, begin.members)
        if outcome.action is not Action.COPIED:
            writer.give_up(outcome.reason, NO_DATA if outcome.action is Action.NO_DATA else FAILED)
            return outcome
        assert end is not None, "it is complete"
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


def _expected(archive: Archive, image: ArchivedImage, used: Mapping[FrameKey, _Used]) -> Outcome:
    """What becomes of `image` of `archive`, as far as is known of its frames, which are `used`."""
    if image.status != COMPLETE:
        action = Action.NO_DATA if image.status == NO_DATA else Action.FAILED
        return Outcome(image.id, image.name, action, image.reason or image.status)
    faults = image.faults()
    if not faults:
        faults = [str(fault) for frame, _, _ in image.frames() if (fault := used[frame.key].fault)]
    if faults:
        return Outcome(image.id, image.name, Action.FAILED, f"in {_path(archive)} it is not whole: {faults[0]}")
    return Outcome(image.id, image.name, Action.COPIED, "", image.size or 0, image.verified)


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
