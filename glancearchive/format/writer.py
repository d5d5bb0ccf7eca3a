"""Writes an archive: images in, volumes out, checkpoints in between (SPEC section 9).

`ArchiveWriter` is safe in several threads; each of its images is for one thread at a time.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glancearchive.errors import LocalError
from glancearchive.format.blockindex import ABSENT, BlockIndex
from glancearchive.format.catalog import Catalog
from glancearchive.format.compression import LEVELS
from glancearchive.format.encoding import pack
from glancearchive.format.frameindex import FrameIndex
from glancearchive.format.hashing import Digests
from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.imagewriter import ImageWriter
from glancearchive.format.packer import FramePacker
from glancearchive.format.recordfile import RecordFile, sync_directory
from glancearchive.format.schema import (
    FRAME_ROW,
    IMAGE_ID,
    NO_DATA,
    ZEROS,
    ArchiveHeader,
    CatalogPart,
    CatalogRow,
    Checkpoint,
    End,
    FrameRun,
    ImageBegin,
    ImagePart,
)
from glancearchive.format.volumes import PART_SUFFIX
from glancearchive.version import __version__

_MAX_BEGIN = 4 << 20  # bytes of metadata of one image: several must fit into a checkpoint
_COMMIT_UNIQUE = 256 << 20  # bytes of new blocks between checkpoints
_COMMIT_RECORD = 4 << 20  # about how large a checkpoint's or catalog's payload may grow
_CATALOG_ROWS = 1 << 16


class ArchiveWriter:
    """Creates the archive `path`; it stands under ``path.part`` until `finish`.

    `source` tells where the images come from. `interval` is the time in seconds
    after which finished images and frames are committed. Raises LocalError when
    `path` or its ``.part`` exists, and for every failure of the medium; after
    such a failure only `close` is of use.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        source: str = "",
        level: str = "default",
        block_size: int = 4096,
        threads: int = 2,
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path)
        self.part_path = self.path.with_name(self.path.name + PART_SUFFIX)
        if self.path.exists():
            raise LocalError(f"{self.path}: exists already")
        self._header = ArchiveHeader(
            hash_key=secrets.token_bytes(32),
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            source=source,
            writer=f"glancearchive {__version__}",
            level=level,
            block_size=block_size,
            frame_size=LEVELS[level].frame_size,
        )
        self._file = RecordFile(self.part_path, 1, secrets.token_bytes(16))
        self._lock = threading.RLock()
        self._index = BlockIndex()
        self._packer = FramePacker(self._file, LEVELS[level], block_size, threads, self._frame_written)
        self._catalog = Catalog(FrameIndex(block_size))
        self._live: dict[int, ImageWriter] = {}  # images that checkpoints have not said everything about
        self._images = 0
        self._frames: list[RecordHeader] = []  # written since the last checkpoint
        self._written_blocks = self._committed_blocks = 0
        self._pending_metadata = 0
        self._interval = interval
        self._clock = clock
        self._last_commit = clock()
        self._catalog_rows: list[CatalogRow] = []
        record = self._file.write_structured(RecordType.HEADER, self._header.to_map())
        self._previous = record.record_digest
        self._file.sync()
        sync_directory(self.part_path.parent)

    @property
    def stored(self) -> int:
        """Bytes written so far."""
        return self._file.offset

    def begin(
        self, image_id: str, metadata: Mapping[str, Any], members: Sequence[Mapping[str, Any]] = ()
    ) -> ImageWriter:
        """Begin an image. Raises ValueError when its id or metadata cannot be recorded."""
        if not IMAGE_ID.fullmatch(image_id):
            raise ValueError(f"{image_id[:140]!r} is not allowed as an id")
        begin = ImageBegin(image_id, metadata, tuple(members))
        size = len(pack(begin.to_map()))
        if size > _MAX_BEGIN:
            raise ValueError(f"{size} bytes of metadata, the limit is {_MAX_BEGIN}")
        with self._lock:
            image = ImageWriter(
                self._images, begin, self._header.hash_key, self._header.block_size, self._store, self._image_ended
            )
            self._images += 1
            self._live[image.number] = image
            self._pending_metadata += size
            return image

    def add_without_data(
        self, image_id: str, metadata: Mapping[str, Any], members: Sequence[Mapping[str, Any]], reason: str
    ) -> None:
        """Record an image that has no data, with the reason. Raises as `begin`."""
        self.begin(image_id, metadata, members).give_up(reason, NO_DATA)

    def _store(self, image: ImageWriter, digests: Digests, view: memoryview, places: npt.NDArray[np.int64]) -> None:
        """Store the blocks at `places` of `view` as far as they are new, and describe the stretch by extents."""
        size = self._header.block_size
        with self._lock:
            numbers = self._index.find(digests)
            absent = np.flatnonzero(numbers == ABSENT)
            if len(absent):
                fresh: dict[bytes, int] = {}  # digest to place among the new blocks
                joined = digests[absent].tobytes()
                ordinals = [fresh.setdefault(joined[at : at + 16], len(fresh)) for at in range(0, len(joined), 16)]
                order = np.array(ordinals, dtype=np.int64)
                _, firsts = np.unique(order, return_index=True)
                numbers[absent] = self._index.extend(digests[absent[firsts]]) + order
                for begin, end in _runs(places[absent[firsts]]):
                    self._packer.add(view[begin * size : end * size], image.number)
            self._describe(image, places, numbers, len(view) // size)
            self._maybe_commit()

    @staticmethod
    def _describe(
        image: ImageWriter, places: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64], total: int
    ) -> None:
        at = 0
        breaks = np.flatnonzero((np.diff(places) != 1) | (np.diff(numbers) != 1)) + 1
        for first, last in zip([0, *breaks.tolist()], [*breaks.tolist(), len(places)], strict=True):
            begin = int(places[first])
            if begin > at:
                image.append(ZEROS, begin - at)
            image.append(int(numbers[first]), last - first)
            at = begin + last - first
        if total > at:
            image.append(ZEROS, total - at)

    def _frame_written(self, header: RecordHeader, owners: dict[int, int]) -> None:
        self._frames.append(header)
        blocks = header.raw_size // self._header.block_size
        self._written_blocks += blocks
        for number, brought in owners.items():
            if number in self._live:
                self._live[number].stored += (header.end - header.offset) * brought // blocks

    def _image_ended(self, _image: ImageWriter) -> None:
        with self._lock:
            # A frame cut short costs compression, so it is only done when nothing was committed for a while.
            self._maybe_commit(flush=self._clock() - self._last_commit >= self._interval)

    def _maybe_commit(self, flush: bool = False) -> None:
        unique = (self._written_blocks - self._committed_blocks) * self._header.block_size
        rows = sum(len(image.rows) for image in self._live.values()) if len(self._live) < 64 else 0
        if (
            flush
            or unique >= _COMMIT_UNIQUE
            or self._pending_metadata + rows * 16 >= _COMMIT_RECORD
            or (unique and self._clock() - self._last_commit >= self._interval)
        ):
            self.commit(flush=flush)

    def commit(self, *, flush: bool = True) -> None:
        """Write a checkpoint: what was taken so far counts, with `flush` to the last whole block, and is durable."""
        with self._lock:
            self._packer.drain(partial=flush)
            parts = []
            for image in list(self._live.values()):
                part = image.take_part(self._written_blocks)
                if part is not None:
                    parts.append(part)
                if part is not None and part.end is not None:
                    del self._live[image.number]
            self._last_commit = self._clock()
            self._pending_metadata = 0
            if not parts and not self._frames:
                return
            run = FrameRun(
                self._file.numbers[RecordType.FRAME] - len(self._frames),
                self._committed_blocks,
                np.array(
                    [(one.offset, one.stored_size, one.raw_size, one.payload_digest) for one in self._frames],
                    dtype=FRAME_ROW,
                ),
                self._index.digests(self._committed_blocks, self._written_blocks),
            )
            parts.sort(key=lambda part: part.number)
            # The frames must be durable before the record that commits them is even begun.
            self._file.sync()
            checkpoint = Checkpoint(self._previous, run, tuple(parts))
            record = self._file.write_structured(RecordType.CHECKPOINT, checkpoint.to_map())
            self._file.sync()
            self._previous = record.record_digest
            self._frames = []
            self._committed_blocks = self._written_blocks
            self._catalog.frames.add(self._file.volume, FrameRun(run.first_frame, run.first_block, run.rows))
            for part in parts:
                self._catalog.add_part(part)

    def finish(self) -> bytes:
        """Commit, write catalogs and end record, give the archive its name. Returns the root digest.

        All images must have ended.
        """
        with self._lock:
            self.commit()
            if self._live:
                raise ValueError(f"images that have not ended: {sorted(self._live)}")
            for content in self._catalogs():
                record = self._file.write_structured(RecordType.CATALOG, content.to_map())
                row = (record.number, record.offset, record.stored_size, record.raw_size, record.payload_digest)
                self._catalog_rows.append(CatalogRow(content.kind, *row))
            end = End(
                self._previous,
                self._header,
                tuple(self._catalog_rows),
                self._file.numbers[RecordType.FRAME],
                self._committed_blocks,
                self._images,
            )
            record = self._file.write_structured(RecordType.END, end.to_map())
            self._file.write_copy(record)
            self._file.sync()
            self.close()
            if self.path.exists():
                raise LocalError(f"{self.path}: appeared meanwhile; the archive is complete as {self.part_path.name}")
            try:
                self.part_path.rename(self.path)
            except OSError as error:
                raise LocalError(f"{self.part_path}: cannot be renamed: {error.strerror}") from None
            sync_directory(self.path.parent)
            return record.record_digest

    def _catalogs(self) -> Iterator[CatalogPart]:
        for run in self._catalog.frames.runs(self._file.volume, _CATALOG_ROWS):
            yield CatalogPart(frames=run)
        entries = [self._catalog.entries[number] for number in sorted(self._catalog.entries)]
        about = (ImagePart(entry.number, entry.begin, end=entry.end) for entry in entries)
        yield from _split(about, lambda part: len(pack(part.to_map())))
        pieces = (
            ImagePart(entry.number, None, position + int(rows[:at, 1].sum()), rows[at : at + _CATALOG_ROWS])
            for entry in entries
            for position, rows in [(0, entry.extents()[0])]
            for at in range(0, len(rows), _CATALOG_ROWS)
        )
        # Parts in one record are of different images, in ascending order.
        yield from _split(pieces, lambda part: 32 + (0 if part.extents is None else part.extents.nbytes))

    def close(self) -> None:
        """Let go of the file as it is. What was committed can be read; the rest is lost."""
        self._packer.close()
        self._file.close()


def _runs(places: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """The maximal runs ``begin, end`` of consecutive numbers in `places`."""
    breaks = (np.flatnonzero(np.diff(places) != 1) + 1).tolist()
    for first, last in zip([0, *breaks], [*breaks, len(places)], strict=True):
        yield int(places[first]), int(places[last - 1]) + 1


def _split(parts: Iterator[ImagePart], size: Callable[[ImagePart], int]) -> Iterator[CatalogPart]:
    """Catalogs of about _COMMIT_RECORD bytes each; no image twice in one."""
    held: list[ImagePart] = []
    total = 0
    for part in parts:
        if held and (total + size(part) > _COMMIT_RECORD or held[-1].number == part.number):
            yield CatalogPart(images=tuple(held))
            held, total = [], 0
        held.append(part)
        total += size(part)
    if held:
        yield CatalogPart(images=tuple(held))
