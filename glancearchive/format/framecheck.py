"""Checks volumes, records, frames and blocks of an archive: all of SPEC section 10 below the layer ``image``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import TypedDict

import numpy as np

from glancearchive.errors import BlockError, FormatError, FrameError
from glancearchive.format.compression import decompress
from glancearchive.format.framedigests import FrameDigests
from glancearchive.format.frameindex import FrameKey
from glancearchive.format.hashing import Digests, block_digests
from glancearchive.format.header import HEADER_SIZE, RecordHeader, RecordType
from glancearchive.format.reader import Archive
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.schema import Checkpoint
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import is_part

_STRETCH = 32 << 20  # bytes of a volume that a thread takes at a time where nothing is decompressed


class _Where(TypedDict):
    volume: str
    begin: int
    end: int


class FrameCheck:
    """One pass over all volumes of `archive`, and of what it is read with; call `run` once.

    Then look at `faults`, `bad` and `digests`.

    Without `blocks` the stored bytes are compared with their digests and not decompressed.
    `progress` is told of stored bytes as they are checked.
    """

    def __init__(self, archive: Archive, blocks: bool, progress: Callable[[int], None], threads: int) -> None:
        self.faults: list[FormatError] = []
        self.bad: dict[FrameKey, FormatError] = {}  # what is wrong with frames
        self.digests = FrameDigests(archive.volumes[min(archive.volumes)].path.parent)  # computed from the blocks
        self.checked = 0  # stored bytes
        self._archive = archive
        self._block_size = archive.header.block_size
        self._blocks = blocks
        self._progress = progress
        self._pool = ThreadPoolExecutor(threads, "verify")
        self._most_waiting = 4 * threads
        self._stopped = Event()
        self._waiting: deque[Callable[[], None]] = deque()  # in the order of the volume: frames, and comparisons
        self._stretch: list[tuple[Volume, RecordHeader]] = []  # frames of one volume that no thread has taken yet
        self._met: set[FrameKey] = set()  # frames that were checked
        self._zero = block_digests(archive.header.hash_key, memoryview(bytes(self._block_size)), self._block_size)

    @property
    def whole(self) -> set[FrameKey]:
        """The frames that were found without a fault."""
        return self._met - self.bad.keys()

    def run(self) -> None:
        """Check everything; collects faults and raises none, but for an archive that must be refused."""
        with self._pool:
            try:
                for archive in self._archive.chain:
                    self._check_archive(archive)
            except BaseException:
                self._stopped.set()
                self._pool.shutdown(wait=False, cancel_futures=True)  # an interruption waits for no more than is begun
                raise

    def _check_archive(self, archive: Archive) -> None:
        position = Position()
        for number in range(1, max(archive.volumes) + 1):
            if number in archive.volumes:
                self._check_volume(archive, number, position)
            else:
                position.forget()
        # Frames that the index knows but the scan did not meet: their record header is damaged or gone.
        for frame in archive.catalog.frames:
            if frame.key not in self._met:
                self._submit(archive.volumes[frame.volume], frame.header())
        self._hand_over()
        self._drain(0)

    def _check_volume(self, archive: Archive, number: int, position: Position) -> None:
        volume = archive.volumes[number]
        scan = VolumeScan(volume, archive.archive_id, number, archive.header, position)
        for step in scan:
            self.faults += step.faults
            header = step.header
            if header is None:
                continue
            if header.type == RecordType.FRAME:
                if header.end <= volume.size:
                    self._submit(volume, header)
                continue
            if self._blocks and isinstance(step.content, Checkpoint):
                self._waiting.append(partial(self._compare, archive, volume, step.content))  # after its frames
                self._drain(self._most_waiting)
            self._count(header)
        if not scan.ended:
            position.forget()

    def _submit(self, volume: Volume, header: RecordHeader) -> None:
        self._met.add(_key(header))
        if self._stretch:
            (current, first), (_, last) = self._stretch[0], self._stretch[-1]
            if volume is not current or header.offset < last.end or header.end - first.offset > _STRETCH:
                self._hand_over()
        self._stretch.append((volume, header))
        if self._blocks:  # each is work enough, and its digests are waited for
            self._hand_over()

    def _hand_over(self) -> None:
        """Have a thread check the frames that are gathered. For each alone that takes a tenth of its time."""
        if self._stretch:
            volume, headers = self._stretch[0][0], [header for _, header in self._stretch]
            self._stretch = []
            future = self._pool.submit(self._check_frames, volume, headers)
            self._waiting.append(partial(self._learn, headers, future))
            self._drain(self._most_waiting)

    def _check_frames(self, volume: Volume, headers: Sequence[RecordHeader]) -> list[Digests | FormatError | None]:
        """Of each frame the digests of its blocks, or what is wrong with it; None for a good one without `blocks`."""
        whole = [False] * len(headers)
        # An unfinished volume may be cut by who goes on with it, also when it has a name of finished ones.
        if not self._blocks and not is_part(volume.path) and volume.end_header() is not None:
            whole = volume.find_whole(headers, self._stopped.is_set)
        found: list[Digests | FormatError | None] = []
        for header, seen in zip(headers, whole, strict=True):
            if self._stopped.is_set():
                break  # nobody asks any more
            try:
                found.append(self._check_frame(volume, header, seen))
            except FormatError as error:
                found.append(error)
        return found

    def _check_frame(self, volume: Volume, header: RecordHeader, whole: bool) -> Digests | None:
        where = _Where(volume=volume.name, begin=header.payload_offset, end=header.end)
        stored = memoryview(b"") if whole else volume.read_payload(header)  # a whole one is not looked into
        if header.raw_size % self._block_size:
            message = f"frame {header.number} has {header.raw_size} bytes, not a multiple of {self._block_size}"
            raise FrameError(message, **where)
        if not self._blocks:
            return None
        try:
            raw = decompress(stored, header.raw_size)
        except ValueError as error:
            raise FrameError(f"frame {header.number}: {error}", **where) from None
        return block_digests(self._archive.header.hash_key, memoryview(raw), self._block_size)

    def _drain(self, most: int) -> None:
        while len(self._waiting) > most:
            self._waiting.popleft()()

    def _learn(self, headers: Sequence[RecordHeader], future: Future[list[Digests | FormatError | None]]) -> None:
        """What became of the check of some frames."""
        for header, found in zip(headers, future.result(), strict=True):
            if isinstance(found, FormatError):
                self._add(_key(header), found)
            elif found is not None:
                self.digests[_key(header)] = found
            self._count(header)

    def _count(self, header: RecordHeader) -> None:
        self.checked += header.end - header.offset
        self._progress(header.end - header.offset)

    def _add(self, frame: FrameKey, fault: FormatError) -> None:
        self.faults.append(fault)
        self.bad.setdefault(frame, fault)

    def _compare(self, archive: Archive, volume: Volume, checkpoint: Checkpoint) -> None:
        """Hold the blocks of the frames that `checkpoint` commits against the digests it lists."""
        run, listed = checkpoint.frames, checkpoint.frames.block_digests
        assert listed is not None
        at = 0
        for number, (offset, stored_size, raw_size, _) in enumerate(run.rows.tolist(), run.first_frame):
            count = raw_size // self._block_size
            key = archive.archive_id, number
            expected, found = listed[at : at + count], self.digests.get(key)
            first_block, at = run.first_block + at, at + count
            if found is None or len(found) != count:
                continue  # reported when the frame was checked, or as a frame index that differs
            begin = offset + HEADER_SIZE
            for wrong, what in (
                ((expected != found).any(axis=1), "do not match their digest"),
                ((found == self._zero).all(axis=1), "are all zero, which must not be stored"),
            ):
                if wrong.any():
                    first = first_block + int(np.flatnonzero(wrong)[0])
                    message = f"frame {number}: {int(wrong.sum())} of {count} blocks, from block {first} on, {what}"
                    where = _Where(volume=volume.name, begin=begin, end=begin + stored_size)
                    self._add(key, BlockError(message, **where))


def _key(header: RecordHeader) -> FrameKey:
    """`Frame.key` of the frame with this record header."""
    return header.archive_id, header.number
