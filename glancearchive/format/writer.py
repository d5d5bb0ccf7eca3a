"""Writes an archive: images in, volumes out, checkpoints in between (SPEC section 9).

`ArchiveWriter` is safe in several threads; each of its images is for one thread at a time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glancearchive.errors import ExistsError, FormatError, ImageError, LocalError
from glancearchive.format.blockindex import ABSENT
from glancearchive.format.blockstore import BlockStore, Stretch
from glancearchive.format.catalog import Entry
from glancearchive.format.compression import LEVELS
from glancearchive.format.content import Content, FrameCache, Segment
from glancearchive.format.encoding import MAX_VALUES, count_values
from glancearchive.format.frameindex import Frame
from glancearchive.format.growing import DEFAULT_MEMORY, Room
from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.imageparts import ZEROS, ImageBegin, ImagePart
from glancearchive.format.imagewriter import ImageWriter
from glancearchive.format.packer import FramePacker
from glancearchive.format.recordfile import sync_directory
from glancearchive.format.schema import DEFAULT_BLOCK_SIZE, FRAME_ROW, CatalogRow, Checkpoint, End, FrameRun
from glancearchive.format.state import create_volume, reopen_volume, stored_bytes
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import part_of

log = logging.getLogger("glancearchive")

_MAX_BEGIN = 4 << 20  # bytes of metadata of one image: several must fit into a checkpoint
_COMMIT_UNIQUE = 256 << 20  # bytes of new blocks between checkpoints
_COMMIT_IMAGE = 32 << 20  # the same, when an image has just been finished
_RECORD = 4 << 20  # about how many bytes a checkpoint says of images
_ROWS = 1 << 16  # extents of one image in one checkpoint


class ArchiveWriter:
    """Writes the archive `path`, which stands under ``path.part`` until `finish`.

    Where ``path.part`` exists, writing goes on at its last commit record, and `level` and the block
    size are those of that archive: see `recorded` for what it holds. `source`
    tells where the images come from. `interval` is the time in seconds after which frames
    are committed, finished images after a fifth of it. The index of blocks takes up to `index_memory` bytes of
    memory, and beyond that a temporary file in `index_directory`: see `Room`.

    Raises LocalError when `path` exists or another process writes it, and for every failure of the medium;
    after such a failure only `close` is of use. Raises FormatError when ``path.part`` is no archive, UsageError when
    its blocks are not of `block_size`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        source: str = "",
        level: str = "default",
        block_size: int | None = None,
        threads: int = 2,
        interval: float = 5.0,
        index_memory: int = DEFAULT_MEMORY,
        index_directory: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path)
        self.part_path = part_of(self.path)
        if self.path.exists():
            raise ExistsError(f"{self.path}: exists already")
        self.resumed = self.part_path.exists()
        room = Room(index_memory, index_directory, apart_from=self.path.parent)
        if self.resumed:
            state, self._file = reopen_volume(self.part_path, source, level, block_size, room)
        else:
            state, self._file = create_volume(self.part_path, source, level, block_size or DEFAULT_BLOCK_SIZE, room)
        self.header = state.header
        level = state.header.level if state.header.level in LEVELS else level
        self._lock = threading.RLock()
        self._packer = FramePacker(
            self._file, LEVELS[level], self.header.block_size, threads, state.blocks, self._frame_written
        )
        self._blocks = BlockStore(self._packer, self.header.block_size, state.index, self._check_frame_of)
        self._state = state
        self._live: dict[int, ImageWriter] = {}  # images that checkpoints have not said everything about
        self._gone_on: set[int] = set()  # unfinished images of earlier runs that this one has taken up
        self._frames: list[RecordHeader] = []  # written since the last checkpoint
        self._pending = 0  # about how many bytes of metadata and extents no checkpoint has yet
        self._interval = interval
        self._clock = clock
        self._last_commit = clock()
        self._volume: Volume | None = None
        self._volume_lock = threading.Lock()
        self._failure: BaseException | None = None
        self._cache = FrameCache(self._read_back)
        self._recorded = {entry.begin.id: entry for entry in state.catalog.current() if entry.begin is not None}

    @property
    def unchanged(self) -> bool:
        """Whether the archive is finished as it was when it was opened for going on."""
        return self._state.finished

    @property
    def stored(self) -> int:
        """Bytes written so far."""
        return self._file.offset

    def recorded(self, image_id: str) -> Entry | None:
        """What the archive held of this image when it was opened for going on."""
        return self._recorded.get(image_id)

    def go_on(self, entry: Entry, size: int | None, progress: Callable[[Segment], None]) -> ImageWriter:
        """Continue the unfinished image `entry`, of `size` bytes where that is known, after what checkpoints describe.

        `progress` is given these bytes, as they are read back. Raises FormatError when they cannot be read.
        """
        assert entry.begin is not None
        extents, gaps = entry.extents()
        if gaps:
            raise ImageError(f"image {entry.begin.id}: {len(gaps)} parts of it are described nowhere")
        described = int(extents[:, 1].sum()) * self.header.block_size
        if size is not None and described - self.header.block_size < size < described:
            described = size  # all of it, the last block filled up with zeros; only its end was not committed
        content = Content(described, extents, self._state.catalog.frames, self._cache, self.header.block_size)
        image = self._image(entry.number, entry.begin)
        image.go_on(content, progress)
        image.stored = stored_bytes(self._state, entry)
        with self._lock:
            self._live[entry.number] = image
            self._gone_on.add(entry.number)
        return image

    def _check_frame_of(self, block: int) -> tuple[int, int, bool]:
        """Whether the frame that an earlier run put `block` into is whole as stored; see `BlockStore`."""
        frame = self._state.catalog.frames.find(block)
        assert frame is not None  # the digests came with the frames
        try:
            self._opened().read_payload(frame.header(self._state.archive_id))
        except FormatError as error:
            log.warning("%s; its blocks are stored again where they are needed", error)
            return frame.first_block, frame.first_block + frame.blocks, False
        return frame.first_block, frame.first_block + frame.blocks, True

    def _opened(self) -> Volume:
        with self._volume_lock:  # not the other one: whoever holds that may wait for the threads that read
            if self._volume is None:
                self._volume = Volume(self.part_path)
            return self._volume

    def _read_back(self, frame: Frame) -> bytes:
        return self._opened().read_raw(frame.header(self._state.archive_id))

    def begin(
        self, image_id: str, metadata: Mapping[str, Any], members: Sequence[Mapping[str, Any]] = ()
    ) -> ImageWriter:
        """Begin an image. Raises ValueError when its id or metadata cannot be recorded."""
        begin = ImageBegin.of(image_id, metadata, members)
        size = len(begin.packed)
        if size > _MAX_BEGIN:
            raise ValueError(f"{size} bytes of metadata, the limit is {_MAX_BEGIN}")
        with self._lock:
            image = self._image(self._state.images, begin)
            self._state.images += 1
            self._live[image.number] = image
            self._pending += size
            self._maybe_commit()
            return image

    def _image(self, number: int, begin: ImageBegin) -> ImageWriter:
        key, block_size = self.header.hash_key, self.header.block_size
        return ImageWriter(number, begin, self._lock, key, block_size, self._store, self._taken, self._image_ended)

    def _store(self, image: ImageWriter, stretches: Sequence[Stretch]) -> npt.NDArray[np.int64]:
        """The numbers of the stretches' blocks, stored as far as they are new."""
        with self._whole():
            expected = next((start + count for start, count in image.rows[:-3:-1] if start != ZEROS), ABSENT)
            return self._blocks.store(stretches, image.number, expected)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """All or nothing, with the lock held: what fails in here leaves a writer that refuses to go on.

        Otherwise another thread would commit what was done by halves. Raises LocalError.
        """
        with self._lock:
            if self._failure is not None:
                raise LocalError(f"{self.part_path}: cannot be gone on with: {self._failure}")
            try:
                yield
            except LocalError as error:
                self._failure = error
                raise
            except Exception as error:
                self._failure = error
                message = f"{self.part_path}: cannot be written: {type(error).__name__}: {error}"
                raise LocalError(message) from error
            except BaseException as error:
                self._failure = error
                raise

    def _taken(self, extents: int) -> None:
        with self._lock:
            self._pending += 16 * extents
            self._maybe_commit()

    def _frame_written(self, header: RecordHeader, owners: dict[int, int]) -> None:
        self._frames.append(header)
        blocks = header.raw_size // self.header.block_size
        for number, brought in owners.items():
            if number in self._live:
                self._live[number].stored += (header.end - header.offset) * brought // blocks

    def _image_ended(self, _image: ImageWriter) -> None:
        # A frame cut short costs compression, so there is not one checkpoint after every tiny image.
        self._maybe_commit(_COMMIT_IMAGE, self._interval / 5)

    def _maybe_commit(self, unique: int = _COMMIT_UNIQUE, interval: float | None = None) -> None:
        """Commit when there are `unique` bytes of new blocks, much to describe, or `interval` seconds have gone by."""
        interval = self._interval if interval is None else interval
        with self._lock:
            new = (self._packer.taken - self._state.blocks) * self.header.block_size
            waited = self._clock() - self._last_commit
            if new >= unique or self._pending >= _RECORD or waited >= interval:
                self.commit()

    def commit(self) -> None:
        """Write a checkpoint: what was taken so far, to the last whole block, counts and is durable."""
        with self._whole():
            for image in self._live.values():
                image.flush()
            self._packer.drain()
            self._last_commit, self._pending = self._clock(), 0
            synced = False
            while (parts := self._parts()) or self._frames:
                if not synced:  # the frames must be durable before the record that commits them is even begun
                    self._file.sync()
                    synced = True
                self._write_checkpoint(parts)

    def _parts(self) -> list[ImagePart]:
        """What is new of the images, as much as goes into one checkpoint; what has been said of all is forgotten."""
        parts: list[ImagePart] = []
        size = values = 0
        for number in sorted(self._live):
            part = self._live[number].take_part(_ROWS)
            if part is not None:
                parts.append(part)
                size += 0 if part.extents is None else part.extents.nbytes
                if part.begin is not None:
                    size += len(part.begin.packed)
                    values += count_values(part.begin.packed)
                if part.end is not None:
                    del self._live[number]
            if size >= _RECORD or values >= MAX_VALUES // 2:
                break
        return parts

    def _write_checkpoint(self, parts: list[ImagePart]) -> None:
        rows = [(one.offset, one.stored_size, one.raw_size, one.payload_digest) for one in self._frames]
        run = FrameRun(
            self._file.numbers[RecordType.FRAME] - len(rows),
            self._state.blocks,
            np.array(rows, dtype=FRAME_ROW),
            self._blocks.digests(self._state.blocks, self._packer.taken),
        )
        checkpoint = Checkpoint(self._state.previous, run, tuple(parts))
        record = self._file.write_structured(RecordType.CHECKPOINT, checkpoint.to_map())
        self._file.sync()
        self._frames = []
        self._state.previous, self._state.blocks, self._state.finished = record.record_digest, self._packer.taken, False
        self._state.session.learn(checkpoint)

    def finish(self) -> bytes:
        """Commit, write catalogs and end record, give the archive its name. Returns the root digest.

        All images that were begun must have ended. Those that an earlier run left unfinished are recorded as failed.
        """
        with self._lock:
            for entry in self._state.catalog.entries.values():
                if entry.end is None and entry.number not in self._gone_on:
                    self.go_on_without(entry)
            self.commit()
            if self._live:
                raise ValueError(f"images that have not ended: {sorted(self._live)}")
            if not self._state.finished:
                with self._whole():
                    self._write_end()
            self._file.sync()  # also of an end that an earlier run wrote and did not live to sync
            if os.name == "nt":
                self.close()  # an open file cannot be renamed there; elsewhere the lock lasts until it has its name
            if self.path.exists():
                message = f"{self.path}: appeared meanwhile; the archive is complete as {self.part_path.name}"
                raise ExistsError(message)
            try:
                self.part_path.rename(self.path)
            except OSError as error:
                raise LocalError(f"{self.part_path}: cannot be renamed: {error.strerror}") from None
            sync_directory(self.path.parent)
            self.close()
            return self._state.previous

    def go_on_without(self, entry: Entry) -> None:
        """End an image that an earlier run left unfinished and that is not to be had any more."""
        assert entry.begin is not None
        image = self._image(entry.number, entry.begin)
        image.begin_committed = True
        self._live[entry.number] = image
        image.give_up("the dump was interrupted, and the image was gone when it went on")

    def _write_end(self) -> None:
        rows = list(self._state.catalog_rows)
        for kind, encoded in self._state.session.catalogs():
            record = self._file.write_encoded(RecordType.CATALOG, encoded)
            row = (record.number, record.offset, record.stored_size, record.raw_size, record.payload_digest)
            rows.append(CatalogRow(kind, *row))
        end = End(
            previous=self._state.previous,
            header=self.header,
            catalog=tuple(rows),
            frames=self._file.numbers[RecordType.FRAME],
            blocks=self._state.blocks,
            images=self._state.images,
        )
        record = self._file.write_structured(RecordType.END, end.to_map())
        self._file.write_copy(record)
        self._state.previous = record.record_digest

    def close(self) -> None:
        """Let go of the file as it is. What was committed can be read and gone on from; the rest is lost."""
        self._packer.close()
        self._cache.close()
        if self._volume is not None:
            self._volume.close()
        self._file.close()
