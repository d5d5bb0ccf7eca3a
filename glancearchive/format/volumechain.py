"""Frames and what is said of images, into one volume after another (SPEC section 9)."""

from __future__ import annotations

import logging
from pathlib import Path

from glancearchive.errors import LocalError, NoSpaceError
from glancearchive.format.encoding import MAX_VALUES, count_values
from glancearchive.format.imageparts import MAX_BLOCKS, PART_BOUND, ImagePart
from glancearchive.format.imagewriter import ImageWriter
from glancearchive.format.openvolume import OpenVolume, least_limit
from glancearchive.format.packer import PackedFrame
from glancearchive.format.places import Places
from glancearchive.format.state import State

log = logging.getLogger("glancearchive")

MOST_SAID = 4 << 20  # about how many bytes a checkpoint says of images
_ROWS = 1 << 16  # extents of one image in one checkpoint
_LARGEST = 4 * MOST_SAID  # bytes of an image part: more than any has
_ROOMY = 4  # a new volume is begun where there is room for so many of the least size


class VolumeChain:
    """Writes into `volume`, which `state` describes, and into those after it at `places`.

    `live` are the images, by number, that checkpoints have not said everything about. Not safe in several threads.
    """

    def __init__(self, places: Places, state: State, volume: OpenVolume) -> None:
        self.live: dict[int, ImageWriter] = {}
        self._places = places
        self._state = state
        self._volume = volume
        self._finished = sum(places.of(number).stat().st_size for number in range(1, state.volume))  # bytes
        self._forget_before()

    @property
    def part_path(self) -> Path:
        """The volume under way."""
        return self._volume.part_path

    @property
    def begun(self) -> bool:
        """Whether the volume under way has more than its header record, or is the first."""
        return self._volume.used or self._state.volume == 1

    @property
    def stored(self) -> int:
        """Bytes of all volumes so far."""
        return self._finished + self._volume.offset

    def write_frame(self, frame: PackedFrame) -> None:
        """Into the volume under way, or into the next one where it does not fit any more."""
        while not self._volume.fits(frame, self._unsaid(MAX_BLOCKS)):
            self._checkpoint()  # room may have been kept for what can be said already
            if self._volume.fits(frame, self._unsaid(MAX_BLOCKS) if self._volume.used else 0):
                break
            if not self._volume.used:
                raise LocalError(f"{self.part_path}: no room for a frame of {len(frame.stored)} bytes")
            self._next_volume()
        try:
            header = self._volume.write_frame(frame)
        except NoSpaceError as error:
            if not self._places.spread:
                raise
            log.warning("%s; the next volume goes to another medium", error)  # others write there too
            self._volume.retreat()
            self._next_volume()
            header = self._volume.write_frame(frame)
        blocks = header.raw_size // self._state.header.block_size
        for number, brought in frame.owners.items():
            if number in self.live:
                self.live[number].stored += (header.end - header.offset) * brought // blocks

    def _unsaid(self, written: int) -> int:
        """About how many bytes are to be said of images, of blocks below number `written`."""
        if self._places.split is None:
            return 0
        return sum(image.unsaid(self._state.volume, written) for image in self.live.values())

    def commit(self) -> None:
        """Write checkpoints: all that was written and described counts, and is durable."""
        while self._checkpoint():
            if not self._volume.used:
                raise LocalError(f"{self.part_path}: volumes are too small for what is to be said of an image")
            self._next_volume()

    def _checkpoint(self) -> bool:
        """Commit the frames that are written and what can be said of images. Returns whether there was no room for all.

        The medium has to make the frames durable before the record that commits them is even begun.
        """
        synced = False
        while (parts := self._parts()) or self._volume.frames:
            if not synced:
                self._volume.sync()
                synced = True
            self._volume.checkpoint(parts, self._state.index.digests(self._state.blocks, self._volume.written))
        return self._unsaid(self._volume.written) > 0

    def _parts(self) -> list[ImagePart]:
        """What is new of the images, as much as goes into one checkpoint; what has been said of all is forgotten."""
        parts: list[ImagePart] = []
        size = values = 0
        most = self._volume.parts_room()
        for number in sorted(self.live):
            image = self.live[number]
            known, room = bool(image.said_in), _LARGEST if most is None else most - size
            part = image.take_part(self._state.volume, self._volume.written, _ROWS, room)
            if part is None and not known:
                break  # for want of room; numbers are given without gaps
            if part is not None:
                parts.append(part)
                size += PART_BOUND + part.bound  # in a catalog it may be two
                if part.begin is not None:
                    values += count_values(part.begin.packed)
                if part.end is not None:
                    del self.live[number]
            if size >= MOST_SAID or values >= MAX_VALUES // 2:
                break
        return parts

    def _next_volume(self) -> None:
        """Finish the volume under way and begin the one after it."""
        if self._state.sessions:
            raise LocalError(f"{self.part_path}: the archive was finished, so that no volume can follow this one")
        self._checkpoint()
        self._volume.end(final=False)
        self._volume.give_name()
        self._finished += self._volume.offset
        place = self._places.choose(self._state.volume + 1, _ROOMY * least_limit(self._state.header))
        self._volume = OpenVolume.create(place, self._state, self._places.limit(place))
        self._forget_before()

    def _forget_before(self) -> None:
        """With local deduplication nothing is found that lies before the volume under way."""
        if self._places.split is not None and self._places.split.local_dedup:
            header = self._state.header
            self._state.index.forget(header.origin[1], header.first_block)

    def finish(self) -> None:
        """End the last volume, if that is not done yet, and give it its name."""
        if self._state.end is None:
            self._volume.end(final=True)
        else:
            self._volume.sync()  # an earlier run wrote the end, and may not have lived to do it
        self._volume.give_name()

    def give_back(self) -> None:
        """As `OpenVolume.give_back`, of the volume under way."""
        self._volume.give_back()

    def close(self) -> None:
        """Let go of the volume under way as it is."""
        self._volume.close()
