"""Frames that a writer finds written when it goes on: whether they are whole, and the data of images in them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager

from glancearchive.errors import FormatError, ImageError, LocalError
from glancearchive.format.base import Base
from glancearchive.format.catalog import Entry
from glancearchive.format.content import Content, FrameCache
from glancearchive.format.frameindex import Frame
from glancearchive.format.places import Places
from glancearchive.format.state import State
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import part_of

log = logging.getLogger("glancearchive")

_READ_BACK = 24 << 20  # bytes of frames kept at hand to go on with an image: all else that a dump needs comes besides


class WrittenFrames:
    """The frames in the volumes at `places`, as `state` knows them, and in `base`. Safe in several threads.

    Nothing here waits for the writer, who may be waiting for what is read.
    """

    def __init__(self, places: Places, state: State, base: Base | None) -> None:
        self._places = places
        self._state = state
        self._base = base
        self._cache = FrameCache(self.read, _READ_BACK)

    def check(self, block: int) -> tuple[int, int, bool]:
        """Whether the frame that an earlier run put `block` into is whole as stored; see `BlockStore`."""
        if self._base is not None and block < self._base.name.blocks:
            return 0, self._base.name.blocks, True  # whoever reads the increment may have another copy of the base
        frame = self._state.catalog.frames.find(block)
        assert frame is not None  # the digests came with the frames
        try:
            with self._opened(frame) as volume:
                volume.read_payload(frame.header())
        except (FormatError, LocalError) as error:
            log.warning("%s; its blocks are stored again where they are needed", error)
            return frame.first_block, frame.first_block + frame.blocks, False
        return frame.first_block, frame.first_block + frame.blocks, True

    def read(self, frame: Frame) -> bytes:
        """The blocks of a frame, checked. Raises a FormatError."""
        if self._base is not None and frame.archive_id != self._state.archive_id:
            return self._base.read_frame(frame)
        with self._opened(frame) as volume:
            return volume.read_raw(frame.header())

    @contextmanager
    def _opened(self, frame: Frame) -> Iterator[Volume]:
        """The volume that `frame` is in, for as long as it is needed: its medium may have to leave."""
        path = self._places.of(frame.volume)
        try:
            volume = Volume(part_of(path))
        except LocalError:
            volume = Volume(path)  # it has, or has just got, its name
        with closing(volume):
            yield volume

    def content(self, entry: Entry, size: int | None) -> Content:
        """What checkpoints describe of the unfinished image `entry`, of `size` bytes where that is known.

        Raises ImageError when it is not all that comes before what they do not.
        """
        extents, gaps = entry.extents()
        if gaps:
            raise ImageError(f"image {entry.id}: {len(gaps)} parts of it are described nowhere")
        block_size = self._state.header.block_size
        described = int(extents[:, 1].sum()) * block_size
        if size is not None and described - block_size < size < described:
            described = size  # all of it, the last block filled up with zeros; only its end was not committed
        return Content(described, extents, self._state.catalog.frames, self._cache, block_size)

    def close(self) -> None:
        """Nothing can be read any more."""
        self._cache.close()
