"""One image on its way into an archive: cut into blocks, zeros found, digests computed, extents kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from glancearchive.format.blockstore import Stretch
from glancearchive.format.content import Content, Segment
from glancearchive.format.hashing import ImageDigest, scan_blocks
from glancearchive.format.imageparts import (
    COMPLETE,
    EXTENT_SIZE,
    FAILED,
    PART_BOUND,
    ZEROS,
    Extents,
    ImageBegin,
    ImageEnd,
    ImagePart,
)
from glancearchive.format.proof import digest_segment
from glancearchive.image import Buffer
from glancearchive.zeros import are_zeros

_STEP = 1 << 20  # bytes looked at together; a multiple of every block size
_LONGEST_REASON = 1000  # characters


class ImageWriter:
    """Takes the bytes of one image in order; `finish` or `give_up` ends it. For one thread at a time.

    `lock` guards what is waiting for the store and the extents, which checkpoints take while other threads bring
    images in. With it held, `store` gives the non-zero blocks of stretches their numbers, of `batch` bytes and more at
    a time, at most twice as many. `on_taken` is told after every stretch how many extents there are more, `on_end` is
    called once, when the image ends.
    """

    def __init__(
        self,
        number: int,
        begin: ImageBegin,
        lock: threading.RLock,
        key: bytes,
        block_size: int,
        batch: int,
        store: Callable[[ImageWriter, Sequence[Stretch]], npt.NDArray[np.int64]],
        on_taken: Callable[[int], None],
        on_end: Callable[[ImageWriter], None],
    ) -> None:
        self.number = number
        self.begin = begin
        self.size = 0  # bytes taken so far
        self.stored = 0  # bytes this image added to the archive, of frames that are written
        self.end: ImageEnd | None = None
        self.committed = 0  # blocks that checkpoints describe
        self.said_in = 0  # the volume in which a checkpoint last said what the image is
        self.rows: list[list[int]] = []  # extents that no checkpoint has yet: [start, count]
        self._lock = lock
        self._key = key
        self._block_size = block_size
        self._store = store
        self._batch = batch
        self._on_taken = on_taken
        self._on_end = on_end
        # What was looked at; a number stands for so many zero blocks. Whoever has the lock takes from its front.
        self._looked_at: list[Stretch | int] = []
        self._waiting: list[Stretch | int] = []  # for the store, before what was looked at since
        self._waiting_size = 0  # bytes
        self._digest = ImageDigest()
        self._rest = bytearray()  # the beginning of a block

    def go_on(self, committed: Content, progress: Callable[[Segment], None]) -> None:
        """Continue where checkpoints left off: `committed` are the image's bytes so far, whole blocks but at its end.

        They are read back for the digests; `progress` is given each segment. To be called before any `write`.
        """
        for segment in committed.segments():
            digest_segment(self._digest, segment, self._key, self._block_size)
            progress(segment)
        self.size = committed.size
        self.committed = -(-committed.size // self._block_size)

    def repeat(self, extents: Extents, end: ImageEnd) -> None:
        """The image has the same bytes as one that is in the archive already, which ended as `end`."""
        with self._lock:
            for start, count in extents.tolist():
                self.append(start, count)
            self.end = replace(end, stored=0)
        self._on_end(self)

    def write(self, data: Buffer) -> None:
        """Take the next bytes. The buffer must not change any more."""
        if are_zeros(data):
            self.write_zeros(len(data))
            return
        view = memoryview(data).cast("B")
        self.size += len(view)
        if self._rest:
            missing = min(self._block_size - len(self._rest), len(view))
            self._rest += view[:missing]
            view = view[missing:]
            if len(self._rest) == self._block_size:
                self._take(memoryview(bytes(self._rest)))
                self._rest.clear()
        whole = len(view) - len(view) % self._block_size
        for at in range(0, whole, _STEP):
            self._take(view[at : min(at + _STEP, whole)])
        self._rest += view[whole:]

    def write_zeros(self, count: int) -> None:
        """Take `count` zero bytes, in next to no time."""
        missing = min(-len(self._rest) % self._block_size, count)
        if missing:
            self.write(bytes(missing))
        blocks, rest = divmod(count - missing, self._block_size)
        self.size += blocks * self._block_size
        if blocks:
            self._digest.zeros(blocks)
            self._hand_over(blocks)
        if rest:
            self.write(bytes(rest))

    def _take(self, data: memoryview) -> None:
        """Whole blocks, at most _STEP bytes of them."""
        wanted, digests = scan_blocks(self._key, data, self._block_size)
        self._digest.blocks(wanted, digests)
        if len(digests):
            self._hand_over(Stretch(data, np.flatnonzero(wanted), digests, len(wanted)))
        else:
            self._hand_over(len(wanted))

    def _hand_over(self, item: Stretch | int) -> None:
        """`item` goes to the store, later where others have the lock: meanwhile the next batch can be looked at."""
        self._looked_at.append(item)
        if not self._lock.acquire(blocking=len(self._looked_at) * _STEP >= self._batch):
            return
        try:
            self._gather()
            rows = len(self.rows)
            if self._waiting_size >= self._batch:
                self.flush()
            rows = len(self.rows) - rows
        finally:
            self._lock.release()
        self._on_taken(rows)

    def _gather(self) -> None:
        """With the lock held, have what was looked at wait for the store."""
        while self._looked_at:
            item = self._looked_at.pop(0)
            last = self._waiting[-1] if self._waiting else None
            if isinstance(item, int) and isinstance(last, int):
                self._waiting[-1] = last + item
                continue
            self._waiting.append(item)
            if not isinstance(item, int):
                self._waiting_size += len(item.data)

    def flush(self) -> None:
        """With the lock held, store what waits and describe it by extents."""
        self._gather()
        stretches = [stretch for stretch in self._waiting if not isinstance(stretch, int)]
        numbers = self._store(self, stretches) if stretches else None
        at = 0
        for stretch in self._waiting:
            if isinstance(stretch, int):
                self.append(ZEROS, stretch)
            else:
                assert numbers is not None
                self._describe(stretch.places, numbers[at : at + len(stretch.places)], stretch.count)
                at += len(stretch.places)
        self._waiting.clear()
        self._waiting_size = 0

    def describe(self, start: int, count: int) -> None:
        """The image goes on with `count` blocks that are stored already, from number `start` on, or with zeros."""
        with self._lock:
            rows = len(self.rows)
            self.append(start, count)
            rows = len(self.rows) - rows
        self._on_taken(rows)

    def append(self, start: int, count: int) -> None:
        """With the lock held, describe the next `count` blocks: zeros, or stored blocks from number `start` on."""
        if self.rows:
            last = self.rows[-1]
            if start == ZEROS == last[0] or (ZEROS not in (start, last[0]) and last[0] + last[1] == start):
                last[1] += count
                return
        self.rows.append([start, count])

    def _describe(self, places: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64], total: int) -> None:
        """With the lock held, describe `total` blocks: those at `places` are stored as `numbers`, the others zeros."""
        at = 0
        breaks = np.flatnonzero((np.diff(places) != 1) | (np.diff(numbers) != 1)) + 1
        for first, last in zip([0, *breaks.tolist()], [*breaks.tolist(), len(places)], strict=True):
            begin = int(places[first])
            if begin > at:
                self.append(ZEROS, begin - at)
            self.append(int(numbers[first]), last - first)
            at = begin + last - first
        if total > at:
            self.append(ZEROS, total - at)

    def finish(self, hashes: Mapping[str, str], verified: str) -> None:
        """All bytes were taken. `hashes` and `verified` as in SPEC section 6.3, ``end``."""
        if verified and verified not in hashes:
            raise ValueError(f"verified by {verified}, which is not among the hashes")
        self._take_rest()
        with self._lock:
            self.flush()
            self.end = ImageEnd(COMPLETE, "", self.size, self._digest.digest(self.size), dict(hashes), verified)
        self._on_end(self)

    def finish_patch(self, end: ImageEnd) -> None:
        """All was taken of what is a part of an image: zeros stand for the rest, and the whole ends with `end`."""
        assert end.patch is not None
        assert self.size == end.size
        self._take_rest()
        with self._lock:
            self.flush()
            self.end = end
        self._on_end(self)

    def _take_rest(self) -> None:
        if self._rest:
            self._take(memoryview(bytes(self._rest.ljust(self._block_size, b"\0"))))
            self._rest.clear()

    def give_up(self, reason: str, status: str = FAILED) -> None:
        """The image is recorded as failed, or as having no data, with `reason`, which must say something.

        Of a long one its beginning: it has to go into any volume.
        """
        if not reason:
            raise ValueError("no reason was given")
        with self._lock:
            self._looked_at.clear()
            self._waiting.clear()
            self.rows.clear()
            # What has extents in a checkpoint cannot be said to have no data.
            self.end = ImageEnd(FAILED if self.committed else status, reason[:_LONGEST_REASON])
        self._rest.clear()
        self._on_end(self)

    def unsaid(self, volume: int, written: int) -> int:
        """With the lock held, about how many bytes a checkpoint in `volume` can say of this image; 0: nothing.

        `written` is the number of the first block whose frame is not written yet: extents wait for theirs.
        """
        ready = bool(self.rows) and _ready(self.rows[0], written) > 0
        if not ready and (self.rows or self.end is None) and self.said_in:
            return 0
        return self._bound(volume) + (self.end.bound if self.end else 0) + EXTENT_SIZE * len(self.rows)

    def _bound(self, volume: int) -> int:
        """Bytes of a part without extents and end; in a catalog it is two."""
        return 2 * PART_BOUND + (len(self.begin.packed) if self.said_in != volume else 0)

    def take_part(self, volume: int, written: int, limit: int, room: int) -> ImagePart | None:
        """With the lock held, what a checkpoint in `volume` has to say of this image, or None.

        That is at most `limit` extents, of blocks below `written`, and at most `room` bytes.
        """
        room -= self._bound(volume)
        if room < 0 or not self.unsaid(volume, written):
            return None
        part = ImagePart(self.number)
        part.extents = self._take_extents(written, min(limit, room // EXTENT_SIZE))
        if part.extents is not None:
            part.position = self.committed
            self.committed += int(part.extents[:, 1].sum())
            room -= part.extents.nbytes
        if self.end is not None and not self.rows and self.end.bound <= room:
            # Only now is it known how much its last frames took.
            part.end = replace(self.end, stored=self.stored)
            if self.end.size is not None and self.committed != -(-self.end.size // self._block_size):
                raise AssertionError(f"image {self.number}: {self.committed} blocks for {self.end.size} bytes")
        if self.said_in and not part.end and part.extents is None:
            return None
        if self.said_in != volume:
            part.begin, self.said_in = self.begin, volume
        return part

    def _take_extents(self, written: int, limit: int) -> Extents | None:
        """The next extents, at most `limit`, of blocks below `written`; None when there are none."""
        taken: list[list[int]] = []
        rest: list[int] | None = None
        for row in self.rows[:limit]:
            count = _ready(row, written)
            if count:
                taken.append([row[0], count])
            if count < row[1]:
                rest = [row[0] + count, row[1] - count] if count else None
                break
        self.rows = ([rest] if rest else []) + self.rows[len(taken) :]
        return np.array(taken, dtype=np.uint64).reshape(-1, 2) if taken else None


def _ready(row: list[int], written: int) -> int:
    """How many blocks of the extent `row` are zeros, or lie below `written`."""
    start, count = row
    return count if start == ZEROS else max(0, min(count, written - start))
