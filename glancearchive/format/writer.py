"""Writes an archive: images in, volumes out, checkpoints in between (SPEC section 9).

`ArchiveWriter` is safe in several threads; each of its images is for one thread at a time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glancearchive.errors import LocalError, UsageError
from glancearchive.format.allornothing import AllOrNothing
from glancearchive.format.base import Base
from glancearchive.format.blockindex import ABSENT, BlockIndex
from glancearchive.format.blockstore import BlockStore, Stretch
from glancearchive.format.catalog import Entry
from glancearchive.format.compression import LEVELS
from glancearchive.format.content import Segment
from glancearchive.format.growing import DEFAULT_MEMORY, Room
from glancearchive.format.hashing import Digests
from glancearchive.format.imageparts import ZEROS, ImageBegin
from glancearchive.format.imagewriter import ImageWriter
from glancearchive.format.openvolume import largest_part
from glancearchive.format.packer import FramePacker, PackedFrame
from glancearchive.format.places import Places, Split
from glancearchive.format.resume import open_archive
from glancearchive.format.state import Relation
from glancearchive.format.volumechain import MOST_SAID, VolumeChain
from glancearchive.format.writtenframes import WrittenFrames

_MAX_BEGIN = 4 << 20  # bytes of metadata of one image: several must fit into a checkpoint
_BESIDES = 12 << 10  # bytes that an image's end and an extent take at most, and what is besides
# Bytes of an image that are stored together: frames of two images at once must not alternate between them. Of large
# frames half: each takes much memory itself.
_BATCH = 16 << 20
_COMMIT_UNIQUE = 256 << 20  # bytes of new blocks between checkpoints
_COMMIT_IMAGE = 32 << 20  # the same, when an image has just been finished
_NOBODY = -1  # as the number of an image that blocks belong to

INTERRUPTED = "the dump was interrupted, and the image was gone, or not chosen, when it went on"
"""Why an image failed that an earlier run left unfinished, and the one that finished the archive did not meet."""


class ArchiveWriter:
    """Writes the archive `path`, which stands under ``path.part`` until `finish`.

    With `split` it is written as volumes, ``NAME.001.gla``, …, each of which has its name once it is finished.

    Where there is something of it, writing goes on at the last commit record, and `level` and the block
    size are those of that archive: see `recorded` for what it holds. `source`
    tells where the images come from. `interval` is the time in seconds after which frames
    are committed, finished images after a fifth of it. The index of blocks takes up to `index_memory` bytes of
    memory, and beyond that a temporary file in `index_directory`: see `Room`.

    With `base` a new archive is an increment of that, and does not store again what it has; to go on with an increment
    takes the same one. It must stay open. `relation` is for a new archive that repairs another.
    `keep` is the size that the archive had when it was finished: nothing of that is cut off.

    Raises LocalError when `path` exists or another process writes it, and for every failure of the medium;
    after such a failure only `close` is of use. Raises FormatError when what is there is no archive, or a volume is
    missing; UsageError when its blocks, or those of `base`, are not of `block_size`, when it was begun as an increment
    of something else, or volumes would be too small.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        source: str = "",
        level: str = "default",
        block_size: int | None = None,
        split: Split | None = None,
        threads: int = 2,
        interval: float = 5.0,
        index_memory: int = DEFAULT_MEMORY,
        index_directory: Path | None = None,
        base: Base | None = None,
        relation: Relation | None = None,
        keep: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path)
        room = Room(index_memory, index_directory, apart_from=self.path.parent)
        self._places = Places(self.path, split)
        self._base = base
        index = BlockIndex(relation.repairs.blocks if relation is not None and relation.repairs else 0, room)
        if base is not None:
            size = base.header.block_size
            if block_size not in (None, size):
                raise UsageError(f"{path}: an increment has blocks of {size} bytes as its base, not of {block_size}")
            block_size = size
            index, relation = base.index(room), Relation(base.header.hash_key, base.name)
        state, volume, self.resumed = open_archive(self._places, source, level, block_size, index, relation, keep)
        if base is not None:
            state.catalog.frames.continue_from(base.frames, base.name.blocks)
        self._chain = VolumeChain(self._places, state, volume)
        self._written = WrittenFrames(self._places, state, base)
        self.header = state.header
        level = state.header.level if state.header.level in LEVELS else level
        self._lock = threading.RLock()
        self._whole = AllOrNothing(self._lock, lambda: self.part_path)
        self._packer = FramePacker(
            LEVELS[level], self.header.block_size, threads, state.blocks, self._chain.write_frame
        )
        self._batch = _BATCH if LEVELS[level].frame_size < _BATCH else _BATCH // 2
        self._blocks = BlockStore(self._packer, self.header.block_size, state.index, self._written.check)
        self._state = state
        self._most_said = _MAX_BEGIN if split is None or split.size is None else largest_part(self.header, split.size)
        self._images = state.images  # begun so far
        self._gone_on: set[int] = set()  # unfinished images of earlier runs that this one has taken up
        self._pending = 0  # about how many bytes of metadata and extents no checkpoint has yet
        self._interval = interval
        self._clock = clock
        self._last_commit = clock()
        self._recorded = {entry.begin.id: entry for entry in state.catalog.current() if entry.begin is not None}

    @property
    def part_path(self) -> Path:
        """The volume under way."""
        return self._chain.part_path

    @property
    def volumes(self) -> list[Path]:
        """The volumes of the archive, by number, each with the name that it has when it is finished."""
        return [self._places.of(number) for number in range(1, self._state.volume + 1)]

    @property
    def gone_on_with(self) -> Path:
        """The last file that an earlier run has written something to, or finished."""
        return self.part_path if self._chain.begun else self.volumes[-2]

    @property
    def unchanged(self) -> bool:
        """Whether the archive is finished as it was when it was opened for going on."""
        return self._state.end is not None

    @property
    def empty(self) -> bool:
        """Whether the archive has no image, not even a part of one."""
        return not self._state.images

    @property
    def stored(self) -> int:
        """Bytes written so far."""
        return self._chain.stored

    def recorded(self, image_id: str) -> Entry | None:
        """What the archive held of this image when it was opened for going on."""
        return self._recorded.get(image_id)

    def all_recorded(self) -> list[Entry]:
        """What the archive held of all images when it was opened for going on, of each as `recorded` says it."""
        return list(self._recorded.values())

    def in_base(self, image_id: str) -> Entry | None:
        """What the base has of this image, if it is described whole there."""
        return None if self._base is None else self._base.entry(image_id)

    def go_on(self, entry: Entry, size: int | None, progress: Callable[[Segment], None]) -> ImageWriter:
        """Continue the unfinished image `entry`, of `size` bytes where that is known, after what checkpoints describe.

        `progress` is given these bytes, as they are read back. Raises FormatError when they cannot be read.
        """
        assert entry.begin is not None
        content = self._written.content(entry, size)
        image = self._image(entry.number, entry.begin)
        image.go_on(content, progress)
        image.stored, image.said_in = self._state.stored_bytes(entry), self._state.said_in[entry.number]
        with self._lock:
            self._chain.live[entry.number] = image
            self._gone_on.add(entry.number)
        return image

    def begin(
        self, image_id: str, metadata: Mapping[str, Any], members: Sequence[Mapping[str, Any]] = ()
    ) -> ImageWriter:
        """Begin an image. Raises ValueError when its id or metadata cannot be recorded."""
        begin = ImageBegin.of(image_id, metadata, members)
        size = len(begin.packed)
        most = min(_MAX_BEGIN, self._most_said - _BESIDES)
        if size > most:
            raise ValueError(f"{size} bytes of metadata, the limit is {most}")
        with self._lock:
            image = self._image(self._images, begin)
            self._images += 1
            self._chain.live[image.number] = image
            self._pending += size
            self._maybe_commit()
            return image

    def find_blocks(self, digests: Digests) -> npt.NDArray[np.int64]:
        """The numbers of the blocks with these digests, ABSENT where there is none; shape (n,)."""
        with self._whole():
            return self._blocks.find(digests)

    def store_blocks(self, blocks: Stretch) -> npt.NDArray[np.int64]:
        """The numbers of blocks that are no image's yet, stored as far as they are new."""
        with self._whole():
            numbers = self._blocks.store([blocks], _NOBODY, ABSENT)
            self._maybe_commit()
            return numbers

    def copy_frame(self, frame: PackedFrame, digests: Digests) -> int:
        """Store a frame as another archive has it, whose blocks have these `digests`; the number of the first."""
        with self._whole():
            first = self._blocks.copy_frame(frame, digests)
            self._maybe_commit()
            return first

    def _image(self, number: int, begin: ImageBegin) -> ImageWriter:
        key, block_size = self.header.hash_key, self.header.block_size
        return ImageWriter(
            number, begin, self._lock, key, block_size, self._batch, self._store, self._taken, self._image_ended
        )

    def _store(self, image: ImageWriter, stretches: Sequence[Stretch]) -> npt.NDArray[np.int64]:
        """The numbers of the stretches' blocks, stored as far as they are new."""
        with self._whole():
            expected = next((start + count for start, count in image.rows[:-3:-1] if start != ZEROS), ABSENT)
            return self._blocks.store(stretches, image.number, expected)

    def _taken(self, extents: int) -> None:
        with self._lock:
            self._pending += 16 * extents
            self._maybe_commit()

    def _image_ended(self, _image: ImageWriter) -> None:
        # A frame cut short costs compression, so there is not one checkpoint after every tiny image.
        self._maybe_commit(_COMMIT_IMAGE, self._interval / 5)

    def _maybe_commit(self, unique: int = _COMMIT_UNIQUE, interval: float | None = None) -> None:
        """Commit when there are `unique` bytes of new blocks, much to describe, or `interval` seconds have gone by."""
        interval = self._interval if interval is None else interval
        with self._lock:
            new = (self._packer.taken - self._state.blocks) * self.header.block_size
            waited = self._clock() - self._last_commit
            if new >= unique or self._pending >= MOST_SAID or waited >= interval:
                self.commit()

    def commit(self) -> None:
        """Write a checkpoint: what was taken so far, to the last whole block, counts and is durable."""
        with self._whole():
            for image in list(self._chain.live.values()):  # a volume that gets full on the way forgets what it has said
                image.flush()
            self._packer.drain()
            self._last_commit, self._pending = self._clock(), 0
            self._chain.commit()

    def finish(self) -> bytes:
        """Commit, write catalogs and end record, give the archive its name. Returns the root digest.

        All images that were begun must have ended. Those that an earlier run left unfinished are recorded as failed.
        """
        with self._lock:
            for entry in self._state.catalog.entries.values():
                if entry.end is None and entry.number not in self._gone_on:
                    self.go_on_without(entry)
            self.commit()
            if self._chain.live:
                raise ValueError(f"images that have not ended: {sorted(self._chain.live)}")
            with self._whole():
                self._chain.finish()
            self.close()
            return self._state.previous

    def go_on_without(self, entry: Entry) -> None:
        """End an image that an earlier run left unfinished and that this one did not meet."""
        assert entry.begin is not None
        image = self._image(entry.number, entry.begin)
        image.said_in = self._state.said_in[entry.number]
        self._chain.live[entry.number] = image
        image.give_up(INTERRUPTED)

    def give_back(self) -> None:
        """Let go of an archive that is `unchanged`: what is not committed is cut off, and it has its name again.

        Raises LocalError when that fails; then it stays as it is.
        """
        self._packer.close()
        self._chain.give_back()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Closes it in the end, having committed what was taken where that is broken off, unless the medium failed."""
        try:
            yield
        except LocalError:
            raise
        except BaseException:
            with suppress(LocalError):
                self.commit()
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file as it is. What was committed can be read and gone on from; the rest is lost."""
        self._packer.close()
        self._written.close()
        self._chain.close()
