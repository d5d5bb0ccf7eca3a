"""What a writer has to know of the archive that an increment is based on (SPEC section 6.6)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from glancearchive.errors import ChainError, FormatError, LocalError, UsageError
from glancearchive.format.archiveheader import ArchiveHeader, BaseName
from glancearchive.format.blockindex import BlockIndex
from glancearchive.format.catalog import Catalog, Entry
from glancearchive.format.frameindex import Frame, FrameIndex
from glancearchive.format.growing import Room
from glancearchive.format.hashing import BLOCK_DIGEST_SIZE, Digests
from glancearchive.format.header import RecordHeader
from glancearchive.format.imageparts import COMPLETE, NO_DATA
from glancearchive.format.isolated import CommitRecord, is_isolated, read_isolated
from glancearchive.format.reader import MAX_BASES, Archive
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.schema import Checkpoint, End, FrameRun

log = logging.getLogger("glancearchive")

_MOST_UNKNOWN = 1 << 24  # blocks of a base that damaged checkpoints may have described: 64 GiB in the smallest blocks


class Base:
    """An archive as of its last end record; a context manager.

    `name` is what an increment calls it by. `needs` is what it is based on itself, and is not known. `frames` are its
    frames, as far as they can be read, with `read_frame`.
    """

    def __init__(
        self,
        name: BaseName,
        header: ArchiveHeader,
        entries: Iterable[Entry],
        runs: Callable[[], Iterator[FrameRun]],
        needs: BaseName | None,
        archive: Archive | None = None,
    ) -> None:
        self.name = name
        self.header = header
        self.archive = archive
        self.needs = needs
        self._runs = [runs]
        self._below: list[Base] = []
        self._entries = {entry.begin.id: entry for entry in entries if entry.begin is not None}

    @property
    def frames(self) -> FrameIndex | None:
        """Its frames; None where only its catalog is at hand."""
        return None if self.archive is None else self.archive.catalog.frames

    def read_frame(self, frame: Frame) -> bytes:
        """As `Archive.read_frame`."""
        assert self.archive is not None
        return self.archive.read_frame(frame)

    def entry(self, image_id: str) -> Entry | None:
        """The image with this id, if all that it consists of is known."""
        entry = self._entries.get(image_id)
        if entry is None or entry.end is None or entry.status not in (COMPLETE, NO_DATA):
            return None
        extents, gaps = entry.extents()
        needed = -(-(entry.end.size or 0) // self.header.block_size)
        return entry if not gaps and int(extents[:, 1].sum()) == needed else None

    def index(self, room: Room) -> BlockIndex:
        """A block index in `room` that has its blocks, and those of what it is based on.

        Raises ChainError when more of them are described nowhere than damaged checkpoints explain.
        """
        first = 0 if self.needs is None else self.needs.blocks
        index = BlockIndex(first, room)
        unknown = 0
        for run in chain.from_iterable(runs() for runs in self._runs):
            digests, at = run.block_digests, first + len(index)
            if digests is None or run.first_block < at or run.first_block + len(digests) > self.name.blocks:
                continue
            unknown += self._extend_unknown(index, run.first_block - at, unknown)
            index.extend(digests)
        unknown += self._extend_unknown(index, self.name.blocks - first - len(index), unknown)
        if first + unknown:
            log.warning(
                "%d of %d blocks of the base are not described; where they are needed they are stored again",
                first + unknown,
                self.name.blocks,
            )
        return index

    def _extend_unknown(self, index: BlockIndex, count: int, before: int) -> int:
        """Add `count` blocks whose digests are not known: random ones, which will never be met. Returns `count`.

        `before` so many were unknown.
        """
        if before + count > _MOST_UNKNOWN:
            message = f"the base, {self.name}, says that it has {self.name.blocks} blocks, of which {before + count}"
            raise ChainError(f"{message} are described nowhere: volumes of it are missing or damaged; use its catalog")
        for at in range(0, count, 1 << 16):
            index.extend(_digests(secrets.token_bytes(BLOCK_DIGEST_SIZE * min(count - at, 1 << 16))))
        return count

    def stand_on(self, below: Base) -> None:
        """`below`, which belongs to this one from then on, is what it needs."""
        self.needs, self._runs = below.needs, [*below._runs, *self._runs]
        self._below.append(below)

    def close(self) -> None:
        for below in self._below:
            below.close()
        if self.archive is not None:
            self.archive.close()

    def __enter__(self) -> Base:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _digests(data: bytes) -> Digests:
    return np.frombuffer(data, dtype="<u8").reshape(-1, 2)


def open_base(paths: Sequence[Path]) -> Base:
    """The archive whose volumes, or whose isolated catalog, is among `paths`, with those of what it is based on.

    Raises LocalError for one that is not finished, UsageError for what belongs to something else and for a repair
    archive, and a FormatError for what cannot be used.
    """
    catalogs = {path: is_isolated(path) for path in paths}
    volumes = [path for path in paths if not catalogs[path]]
    found = {path: _from_catalog(path) for path in paths if catalogs[path]}
    if volumes:
        found[volumes[0]] = _from_archive(volumes)
    needed = [one.needs for one in found.values()]
    place = next((path for path, one in found.items() if one.name not in needed), next(iter(found)))
    top = found.pop(place)
    while (path := next((path for path, one in found.items() if one.name == top.needs), None)) is not None:
        top.stand_on(found.pop(path))
    for path, one in found.items():
        one.close()
        top.close()
        raise UsageError(f"{path}: is nothing that {place} is based on")
    return top


def _from_archive(paths: Sequence[Path]) -> Base:
    archive = Archive(paths)
    try:
        end = None if archive.root_digest is None else archive.ends[max(archive.volumes)]
        if end is None or archive.root_digest is None:
            raise LocalError(f"{paths[0]}: is not finished, or its last volume is missing, and so can be no base")
        for one in archive.chain:
            _check_header(one.header, one.volumes[min(one.volumes)].path)
        _check_depth(len(archive.bases), paths[0])
        archive.load_extents()
        name = BaseName(archive.archive_id, archive.root_digest, end.frames, end.blocks)
        needs = archive.missing_base
        return Base(name, archive.header, archive.catalog.current(), lambda: _runs_of(archive), needs, archive)
    except BaseException:
        archive.close()
        raise


def _check_header(header: ArchiveHeader, path: Path) -> None:
    if header.repairs is not None:
        raise UsageError(f"{path}: is a repair archive, which can be no base: name the archive that it repairs")


def _check_depth(archives: int, path: Path) -> None:
    if archives > MAX_BASES:
        raise UsageError(f"{path}: stands on {archives - 1} others, and no more may follow: merge them first")


def _runs_of(archive: Archive) -> Iterator[FrameRun]:
    """The frames of `archive` and of what it is based on, with their block digests, in order of their blocks."""
    for later, one in [*pairwise(archive.bases)][::-1]:
        assert later.header.base is not None
        yield from (run for run in _own_runs(one) if run.first_block < later.header.base.blocks)
    yield from _own_runs(archive)


def _own_runs(archive: Archive) -> Iterator[FrameRun]:
    for number, volume in sorted(archive.volumes.items()):
        position = Position()
        position.forget()
        for step in VolumeScan(volume, archive.archive_id, number, archive.header, position):
            if isinstance(step.content, Checkpoint):
                yield step.content.frames


def _from_catalog(path: Path) -> Base:
    archives: dict[bytes, tuple[ArchiveHeader, Catalog]] = {}
    last: tuple[RecordHeader, CommitRecord] | None = None
    described = 0  # blocks so far
    for header, content in read_isolated(path):
        if isinstance(content, ArchiveHeader):
            _check_header(content, path)
            begin = content.origin[1] if header.volume == 1 else content.first_block
            described = begin if last is None else described
            if begin != described:
                message = f"volume {header.volume} begins at block {begin}, expected {described}"
                raise ChainError(message, volume=path.name)
            frames = FrameIndex(content.block_size, header.archive_id)
            archives.setdefault(header.archive_id, (content, Catalog(frames)))
        elif isinstance(content, End):
            if content.blocks != described:
                message = f"{content.blocks} blocks in the end record, {described} in the checkpoints"
                raise ChainError(message, volume=path.name)
        elif isinstance(content, Checkpoint):
            if content.frames.first_block != described:
                message = f"a checkpoint begins at block {content.frames.first_block}, expected {described}"
                raise ChainError(message, volume=path.name)
            assert content.frames.block_digests is not None  # a checkpoint has them
            described += len(content.frames.block_digests)
            for part in content.images:
                try:
                    archives[header.archive_id][1].add_part(part)
                except ValueError as error:
                    raise FormatError(str(error), volume=path.name) from None
        last = header, content
    assert last is not None  # an empty catalog is a fault
    record, end = last
    if not isinstance(end, End):
        raise FormatError("the last record is no end record", volume=path.name)
    name = BaseName(record.archive_id, record.record_digest, end.frames, end.blocks)
    known, catalog = archives[record.archive_id]
    _check_depth(len(archives), path)
    first, _ = next(iter(archives.values()))

    def runs() -> Iterator[FrameRun]:
        return (content.frames for _, content in read_isolated(path) if isinstance(content, Checkpoint))

    return Base(name, known, catalog.current(), runs, first.base)
