"""The volume under way: frames and checkpoints, and its end, never beyond its largest size (SPEC section 9)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

import numpy as np

from glancearchive.errors import ExistsError, LocalError
from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.compression import max_stored_size
from glancearchive.format.encoding import pack
from glancearchive.format.hashing import BLOCK_DIGEST_SIZE, Digests
from glancearchive.format.header import HEADER_SIZE, RecordHeader, RecordType
from glancearchive.format.imageparts import ImagePart
from glancearchive.format.packer import PackedFrame
from glancearchive.format.padding import padding, padding_bound
from glancearchive.format.places import Limit
from glancearchive.format.recordfile import RecordFile, create, reopen, sync_directory
from glancearchive.format.schema import FRAME_ROW, CatalogRow, Checkpoint, End, FrameRun
from glancearchive.format.state import State
from glancearchive.format.structured import record_bound
from glancearchive.format.volumes import part_of

_CATALOG_ROW = 136  # bytes of a row of an end record's catalog at most
_UNEVEN = 4096  # what rounding and the borders of records may cost beyond what is reckoned by the byte
_GROWTH = 4096  # bytes that headers have more after some hundreds of volumes
_LEAST_PARTS = 16 << 10  # bytes of what is said of images that have to go into any volume


class OpenVolume:
    """Writes the volume that `state` describes, in `file`; it gets the name `path` when it is finished.

    Nothing is written after which what has to follow would not fit: checkpoint, catalogs, end record. With `limit` the
    file so never has more bytes than that. Not safe in several threads.
    """

    def __init__(self, path: Path, file: RecordFile, state: State, limit: Limit) -> None:
        self.path = path
        self.part_path = file.path
        self.frames: list[RecordHeader] = []  # written since the last commit record
        self.written = state.blocks  # blocks of the archive in frames that are written
        self.used = False  # whether there is more in it than its header record
        self._frame_at = 0  # where the last frame begins
        self._file = file
        self._state = state
        self._limit = limit
        self._header_size = len(pack(state.header.to_map()))

    @classmethod
    def create(cls, path: Path, state: State, limit: Limit, file: FileIO | None = None) -> OpenVolume:
        """The first volume of a new archive, or the one after that which `state` says is finished.

        Its header record is durable. `file` is one under its name whose header record never became so.
        """
        header, number = state.header, 1
        if state.end is not None:
            header, number = state.next_header(), state.volume + 1
        part = part_of(path)
        opened = create(part) if file is None else file
        try:
            records = RecordFile(part, opened, number, state.archive_id, header.block_size, 0, state.numbers)
            record = records.write_structured(RecordType.HEADER, header.to_map())
            records.sync()
        except BaseException:
            opened.close()
            raise
        sync_directory(path.parent)
        state.open_volume(header, record)
        return cls(path, records, state, limit)

    @classmethod
    def reopen(cls, path: Path, state: State, limit: Limit, file: FileIO) -> OpenVolume:
        """The volume in `file` as its last good commit record left it; what follows that is cut off."""
        size = state.header.block_size
        records = RecordFile(part_of(path), file, state.volume, state.archive_id, size, state.offset, state.numbers)
        volume = cls(path, records, state, limit)
        volume.used = True
        return volume

    @property
    def offset(self) -> int:
        """Bytes written so far."""
        return self._file.offset

    def fits(self, frame: PackedFrame, parts: int) -> bool:
        """Whether `frame` fits, and after it what has to follow, with `parts` bytes of image parts."""
        most = self._limit(self.offset)
        if most is None:
            return True
        blocks = frame.raw_size // self._state.header.block_size
        spare = most - self._needed(self.offset + HEADER_SIZE + len(frame.stored), 1, blocks)
        return spare >= (_cost(parts) if parts else 0)

    def can_end(self) -> bool:
        """Whether what was committed still fits."""
        most = self._limit.most
        if most is None or self._state.end is not None:
            return True
        return self._needed(self.offset, 0, 0, padded=False) <= most

    def parts_room(self) -> int | None:
        """How many bytes of image parts the next checkpoint can have; None: any number. May be below zero."""
        most = self._limit(self.offset)
        return None if most is None else _affordable(most - self._needed(self.offset, 0, 0))

    def _needed(self, offset: int, frames: int, blocks: int, *, padded: bool = True) -> int:
        """Bytes of the volume at most, when all that has to follow stands after byte `offset`, with more `frames`."""
        frames, blocks = frames + len(self.frames), blocks + self.written - self._state.blocks
        rows = FRAME_ROW.itemsize * frames + BLOCK_DIGEST_SIZE * blocks
        size, records = self._state.session.bound(frames)
        end = record_bound(self._header_size + _CATALOG_ROW * (records + len(self._state.catalog_rows))) + HEADER_SIZE
        at = offset + record_bound(rows + self._header_size)
        return at + (padding_bound(at) if padded else 0) + size + end

    def write_frame(self, frame: PackedFrame) -> RecordHeader:
        """Append a frame. After NoSpaceError `retreat` helps, if there is room for the end of the volume."""
        self._frame_at = self.offset
        header = self._file.write_payload(RecordType.FRAME, frame.stored, frame.raw_size, frame.payload_digest)
        self.frames.append(header)
        self.used = True
        self.written += frame.raw_size // self._state.header.block_size
        return header

    def retreat(self) -> None:
        """Give up the frame that there was no space for."""
        self._file.retreat(self._frame_at)

    def sync(self) -> None:
        """Make all that was written durable."""
        self._file.sync()

    def checkpoint(self, parts: Sequence[ImagePart], digests: Digests) -> None:
        """Commit the frames written since the last checkpoint, whose blocks have these `digests`, and `parts`.

        What it refers to has to be durable already.
        """
        state = self._state
        rows = [(one.offset, one.stored_size, one.raw_size, one.payload_digest) for one in self.frames]
        first_frame = self._file.numbers[RecordType.FRAME] - len(rows)
        run = FrameRun(first_frame, state.blocks, np.array(rows, dtype=FRAME_ROW), digests)
        checkpoint = Checkpoint(state.previous, run, tuple(parts), state.header)
        record = self._file.write_structured(RecordType.CHECKPOINT, checkpoint.to_map())
        self._file.sync()
        self.frames, self.used = [], True
        state.blocks = self.written
        state.images = max([state.images, *(part.number + 1 for part in parts)])
        state.commit(record)
        state.session.learn(checkpoint)

    def end(self, *, final: bool) -> None:
        """Write catalogs, end record and its copy, durably. With `final` no volume follows."""
        state = self._state
        rows = list(state.catalog_rows)
        self._pad()
        for kind, encoded in state.session.catalogs():
            record = self._file.write_encoded(RecordType.CATALOG, encoded)
            row = (record.number, record.offset, record.stored_size, record.raw_size, record.payload_digest)
            rows.append(CatalogRow(kind, *row))
        end = End(
            previous=state.previous,
            header=state.header,
            catalog=tuple(rows),
            frames=self._file.numbers[RecordType.FRAME],
            blocks=state.blocks,
            images=state.images,
            final=final,
        )
        record = self._file.write_structured(RecordType.END, end.to_map())
        self._file.write_copy(record)
        self._file.sync()
        state.numbers = dict(self._file.numbers)
        state.end_session(record, end)

    def _pad(self) -> None:
        """Keep the catalogs, if there are any, away from what they repeat."""
        most = self._limit(self.offset)
        fits = most is None or self._needed(self.offset, 0, 0) <= most  # it may have been begun without a thought of it
        if self._state.session and fits:
            self._file.write_encoded(RecordType.PADDING, padding(self.offset))

    def give_back(self) -> None:
        """Cut off what is not committed, and give the finished volume its name again. Raises LocalError."""
        if not self._file.closed:
            self._file.cut(self._state.offset)
        self.give_name()

    def give_name(self) -> None:
        """The finished volume gets its name, and the file is closed. Its end has to be durable."""
        if os.name == "nt":
            self.close()  # an open file cannot be renamed there; elsewhere the lock lasts until it has its name
        _rename(self.part_path, self.path)
        self.close()

    def close(self) -> None:
        """Let go of the file as it is."""
        self._file.close()


def give_name(part: Path, path: Path) -> None:
    """The volume `part`, which an earlier run finished and may not have made durable, gets the name `path`."""
    file = reopen(part)
    try:
        os.fsync(file.fileno())
    except OSError as error:
        raise LocalError(f"{part}: cannot be made durable: {error.strerror}") from None
    finally:
        file.close()
    _rename(part, path)


def _rename(part: Path, path: Path) -> None:
    if path.exists():
        raise ExistsError(f"{path}: appeared meanwhile; the volume is complete as {part.name}")
    try:
        part.rename(path)
    except OSError as error:
        raise LocalError(f"{part}: cannot be renamed: {error.strerror}") from None
    sync_directory(path.parent)


def _cost(parts: int) -> int:
    """Bytes that `parts` bytes of image parts take at most: in a checkpoint, and once more in a catalog.

    The padding between these two grows with the checkpoint, by less than is reckoned for it here.
    """
    return 2 * parts + parts // 32 + _UNEVEN


def _affordable(spare: int) -> int:
    """How many bytes of image parts fit into `spare` bytes."""
    return (spare - _UNEVEN) * 32 // 65


def largest_part(header: ArchiveHeader, limit: int) -> int:
    """How many bytes may be said of an image for that and a frame to fit into any volume of `limit` bytes."""
    return _affordable(limit - _without_parts(header))


def least_limit(header: ArchiveHeader) -> int:
    """The size that volumes of an archive with `header` must at least be allowed to have."""
    return _without_parts(header) + _LEAST_PARTS * 65 // 32 + _UNEVEN + 1


def _without_parts(header: ArchiveHeader) -> int:
    """Bytes of a volume with one frame that nothing is said of images in, at most."""
    size = len(pack(header.to_map())) + _GROWTH
    rows = FRAME_ROW.itemsize + BLOCK_DIGEST_SIZE * (header.frame_size // header.block_size)
    frame = HEADER_SIZE + max_stored_size(header.frame_size)
    end = record_bound(size + 3 * _CATALOG_ROW) + HEADER_SIZE
    at = record_bound(size) + frame + record_bound(rows + size)
    return at + padding_bound(at) + record_bound(FRAME_ROW.itemsize) + end
