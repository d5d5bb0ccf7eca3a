"""Catalogs: what the checkpoints of a session say, gathered while they are written, in few records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from glancearchive.format.extents import join_extents
from glancearchive.format.header import HEADER_SIZE, RecordType
from glancearchive.format.imageparts import PART_BOUND, Extents, ImageBegin, ImagePart
from glancearchive.format.schema import FRAME_ROW, CatalogPart, Checkpoint, FrameRun
from glancearchive.format.structured import Encoded, encode, record_bound

_RECORD = 3 << 18  # about how many bytes a catalog record holds; up to 1 MiB no reader has to count the values in it
_FRAMES = 1 << 16  # frames in one record


@dataclass(slots=True)
class _Stretch:
    """Extents of one image that continue one another, from `position` to `end` (block indices of the image)."""

    position: int
    end: int
    pieces: list[Extents]


@dataclass(slots=True)
class _Kind:
    """Catalogs of one kind: those that are complete, as they will be stored, and the parts of the next one."""

    complete: list[Encoded] = field(default_factory=list)
    held: int = 0  # bytes that the next one has at most; of frames: how many
    stored: int = 0  # bytes of the records that are complete


class Consolidator:
    """Learns checkpoints in order, and gives their catalogs. Most of it is kept compressed, as it will be stored."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._frames, self._images, self._extents = _Kind(), _Kind(), _Kind()
        self._runs: list[FrameRun] = []  # frames of the next catalog
        self._begun: dict[int, ImageBegin] = {}  # images that have not ended
        self._begun_size = 0  # bytes that they take at most
        self._parts: dict[int, ImagePart] = {}  # of the next catalog, by number
        self._stretches: dict[int, _Stretch] = {}

    def learn(self, checkpoint: Checkpoint) -> None:
        """Take what `checkpoint` says, which follows those before it."""
        run = checkpoint.frames
        if len(run.rows):
            self._runs.append(FrameRun(run.first_frame, run.first_block, run.rows))
            self._frames.held += len(run.rows)
            if self._frames.held >= _FRAMES:
                self._close_frames()
        for part in checkpoint.images:
            if part.begin is not None:
                self._begun[part.number] = part.begin
                self._begun_size += PART_BOUND + len(part.begin.packed)
            if part.extents is not None and len(part.extents):
                self._learn_extents(part.number, part.position, part.extents)
            if part.end is not None:
                begin = self._begun.pop(part.number, None)
                self._begun_size -= 0 if begin is None else PART_BOUND + len(begin.packed)
                self._learn_image(ImagePart(part.number, begin, end=part.end))

    def __bool__(self) -> bool:
        """Whether there is anything to say."""
        kinds = (self._frames, self._images, self._extents)
        return bool(self._begun or any(kind.held or kind.complete for kind in kinds))

    def bound(self, frames: int) -> tuple[int, int]:
        """Bytes that the catalogs take at most, if `frames` more are learned, and how many records they are at most."""
        kinds = (self._frames, self._images, self._extents)
        size, records = sum(kind.stored for kind in kinds), sum(len(kind.complete) for kind in kinds)
        rows = (self._frames.held + frames) * FRAME_ROW.itemsize
        for raw in (rows, self._images.held + self._begun_size, self._extents.held):
            if raw:
                parts = 1 + 2 * raw // _RECORD  # any two that follow one another have more than _RECORD together
                size, records = size + record_bound(raw) + (parts - 1) * record_bound(0), records + parts
        return size, records

    def _learn_image(self, part: ImagePart) -> None:
        size = part.bound
        if self._images.held + size > _RECORD:
            self._close_images()
        self._parts[part.number] = part
        self._images.held += size

    def _learn_extents(self, number: int, position: int, rows: Extents) -> None:
        known = self._stretches.get(number)
        size = PART_BOUND + rows.nbytes
        if self._extents.held + size > _RECORD or (known is not None and known.end != position):
            self._close_extents()
            known = None
        if known is None:
            known = self._stretches[number] = _Stretch(position, position, [])
        known.pieces.append(rows)
        known.end += int(rows[:, 1].sum())
        self._extents.held += size

    def catalogs(self) -> Iterator[tuple[str, Encoded]]:
        """The catalogs of all that was learned, each with its kind. Nothing can be learned afterwards."""
        for number in sorted(self._begun):
            self._learn_image(ImagePart(number, self._begun[number]))
        self._begun_size = 0
        self._close_frames()
        self._close_images()
        self._close_extents()
        for name, kind in (("frames", self._frames), ("images", self._images), ("extents", self._extents)):
            for encoded in kind.complete:
                yield name, encoded

    def _close_frames(self) -> None:
        if self._runs:
            rows = np.concatenate([run.rows for run in self._runs])
            first = self._runs[0]
            self._close(self._frames, CatalogPart(FrameRun(first.first_frame, first.first_block, rows)))
            self._runs = []

    def _close_images(self) -> None:
        if self._parts:
            self._close(self._images, CatalogPart(images=tuple(self._parts[key] for key in sorted(self._parts))))
            self._parts = {}

    def _close_extents(self) -> None:
        if self._stretches:
            parts = []
            for number in sorted(self._stretches):
                stretch = self._stretches[number]
                rows = join_extents(np.concatenate(stretch.pieces))
                parts.append(ImagePart(number, None, stretch.position, rows))
            self._close(self._extents, CatalogPart(images=tuple(parts)))
            self._stretches = {}

    def _close(self, kind: _Kind, content: CatalogPart) -> None:
        encoded = encode(RecordType.CATALOG, content.to_map(), self._block_size)
        kind.complete.append(encoded)
        kind.stored += HEADER_SIZE + len(encoded.stored)
        kind.held = 0
