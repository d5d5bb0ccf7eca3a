"""The deduplication index: from block digest to block number, in a bounded number of bytes per block.

An array of the digests in block order, 16 bytes each, and a hash table that leads to it: extendible
hashing (Fagin and others, 1979) with buckets of 63 blocks, of which the digest's first 32 bits, the
tag, and the number are kept. A bucket that is full is split by the next bit of the tags; neither does
that need the digests, nor is the table ever rebuilt. Buckets are 62 to 78% full: 10.5 to 13.1 bytes a block.
With what is reserved ahead and the table's directory that is at most 34 bytes a block.

The digests are keyed (SPEC section 5), so their bits can be used as they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glancearchive.format.growing import GrowingArray, Room
from glancearchive.format.hashing import Digests

ABSENT = -1
MAX_INDEXED = 2**32 - 1
_BATCH = 1 << 13  # digests looked up at once: a whole bucket is gathered for each
# A bucket, 128 u32: how many of its slots are taken, how many bits its tags share; tags; numbers + 1 (0: not taken).
_SLOTS = 63
_USED, _DEPTH, _TAGS, _NUMBERS = 0, 1, slice(2, 2 + _SLOTS), slice(2 + _SLOTS, 2 + 2 * _SLOTS)


class BlockIndex:
    """Digests of blocks ``first``, ``first + 1``, … Not safe in several threads.

    What it holds is in `room`. It finds at most MAX_INDEXED blocks: those that come later are absent for ever.
    """

    def __init__(self, first: int = 0, room: Room | None = None) -> None:
        self.first = first
        self.room = room or Room()
        self._count = 0
        self._digests = GrowingArray(("<u8", (2,)), self.room)
        self._buckets = GrowingArray(("<u4", (2 + 2 * _SLOTS,)), self.room)
        self._buckets.reserve(1)
        self._bucket_count = 1
        self._directory = np.zeros(1, dtype=np.uint32)  # bucket by the first `_depth` bits of a tag
        self._depth = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, in memory and in files, with what is reserved ahead."""
        return self._digests.rows.nbytes + self._buckets.rows.nbytes + self._directory.nbytes

    def digests(self, begin: int, end: int) -> Digests:
        """Digests of the blocks numbered `begin` to `end`, exclusive. A copy: `extend` moves the array."""
        return self._digests.rows[begin - self.first : end - self.first].copy()

    def find(self, wanted: Digests, expected: int = ABSENT) -> npt.NDArray[np.int64]:
        """The block number of each digest, ABSENT where there is none; shape (n,).

        `expected` is the number that the first of them may have, the others following it, as in an image that
        resembles one before it; what is so needs no look-up.
        """
        numbers = np.full(len(wanted), ABSENT, dtype=np.int64)
        begin = expected - self.first
        if 0 <= begin < self._count:
            run = self._digests.rows[begin : min(begin + len(wanted), self._count)]
            same = np.flatnonzero((run[:, 0] == wanted[: len(run), 0]) & (run[:, 1] == wanted[: len(run), 1]))
            numbers[same] = expected + same
            pending = np.flatnonzero(numbers == ABSENT)
        else:
            pending = np.arange(len(wanted))
        for at in range(0, len(pending), _BATCH):
            some = pending[at : at + _BATCH]
            numbers[some] = self._look_up(wanted[some])
        return numbers

    def _look_up(self, wanted: Digests) -> npt.NDArray[np.int64]:
        numbers = np.full(len(wanted), ABSENT, dtype=np.int64)
        tags = _tags(wanted)
        buckets = self._buckets_of(tags)
        gathered = self._buckets.rows.take(buckets, axis=0)
        rows, slots = np.divmod(np.flatnonzero(gathered[:, _TAGS] == tags[:, np.newaxis]), _SLOTS)
        candidates = gathered[rows, _NUMBERS.start + slots].astype(np.int64) - 1
        found = self._digests.rows[candidates]
        same = (candidates >= 0) & (found[:, 0] == wanted[rows, 0]) & (found[:, 1] == wanted[rows, 1])
        numbers[rows[same]] = candidates[same] + self.first
        return numbers

    def _buckets_of(self, tags: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        buckets: npt.NDArray[np.uint32] = self._directory[tags.astype(np.uint64) >> np.uint64(32 - self._depth)]
        return buckets

    def forget(self, begin: int, end: int) -> None:
        """Find the blocks numbered `begin` to `end`, exclusive, no more. Their numbers stay taken."""
        # No digest is all zero but by an accident that nobody will see.
        self._digests.rows[begin - self.first : end - self.first] = 0

    def extend(self, new: Digests) -> int:
        """Add blocks with these digests, best all absent and different; returns the first's number.

        Raises LocalError when there is no space for the index.
        """
        begin, end = self._count, self._count + len(new)
        self._digests.reserve(end)
        self._digests.rows[begin:end] = new
        self._count = end
        for at in range(begin, min(end, MAX_INDEXED), _BATCH):
            self._insert(np.arange(at, min(at + _BATCH, end, MAX_INDEXED), dtype=np.uint32))
        return self.first + begin

    def _insert(self, numbers: npt.NDArray[np.uint32]) -> None:
        tags = _tags(self._digests.rows[numbers[0] : int(numbers[-1]) + 1])
        while len(numbers):
            buckets = self._buckets_of(tags)
            order = np.argsort(buckets, kind="stable")
            buckets, tags, numbers = buckets[order], tags[order], numbers[order]
            heads = np.flatnonzero(np.concatenate([[True], buckets[1:] != buckets[:-1]]))
            sizes = np.diff(np.append(heads, len(buckets)))
            table = self._buckets.rows
            used = table[buckets[heads], _USED].astype(np.int64)
            # The slot of each: as many as the bucket has, and those before it in this batch.
            slots = np.arange(len(buckets)) + np.repeat(used - heads, sizes)
            fits = slots < _SLOTS
            table[buckets[fits], _TAGS.start + slots[fits]] = tags[fits]
            table[buckets[fits], _NUMBERS.start + slots[fits]] = numbers[fits] + np.uint32(1)
            table[buckets[heads], _USED] = np.minimum(used + sizes, _SLOTS)
            over = ~fits
            if not over.any():
                return
            full = buckets[heads[used + sizes > _SLOTS]]
            divisible = full[table[full, _DEPTH] < self._most_depth()]
            if len(divisible):
                self._split(divisible)
            if len(divisible) < len(full):
                # More blocks than a bucket holds whose tags are alike: they are not found again, and stored once more
                # when they are met again.
                over &= np.isin(buckets, divisible)
            tags, numbers = tags[over], numbers[over]

    def _most_depth(self) -> int:
        """Splitting further would not help: that many bits leave a random tag 4 blocks to share them with."""
        return min(32, max(1, self._count.bit_length() - 2))

    def _split(self, full: npt.NDArray[np.uint32]) -> None:
        """Move the half of each of these buckets whose next bit is 1 into a new one."""
        count = self._bucket_count
        self._buckets.reserve(count + len(full))
        self._bucket_count += len(full)
        old = self._buckets.rows[full]
        depths, tags, numbers = old[:, _DEPTH].astype(np.int64), old[:, _TAGS], old[:, _NUMBERS]
        upper = (tags >> (31 - depths).astype(np.uint32)[:, np.newaxis]) & np.uint32(1)
        fresh = np.arange(count, count + len(full), dtype=np.uint32)
        for bit, buckets in enumerate((full, fresh)):
            order = np.argsort(upper != bit, axis=1, kind="stable")
            taken = (upper == bit).sum(axis=1)
            beyond = np.arange(_SLOTS) >= taken[:, np.newaxis]
            new = np.empty_like(old)
            new[:, _USED], new[:, _DEPTH] = taken, depths + 1
            for part, values in ((_TAGS, tags), (_NUMBERS, numbers)):
                new[:, part] = np.where(beyond, 0, np.take_along_axis(values, order, axis=1))
            self._buckets.rows[buckets] = new
        # In the directory a bucket has the places of its prefix; the upper half of them is the new one's now.
        grown = max(0, int(depths.max(initial=0)) + 1 - self._depth)
        self._directory = np.repeat(self._directory, 1 << grown) if grown else self._directory
        self._depth += grown
        spans = np.left_shift(1, self._depth - depths - 1)
        firsts = ((tags[:, 0].astype(np.int64) >> (32 - depths)) * 2 + 1) * spans
        places = np.arange(spans.sum()) + np.repeat(firsts - (np.cumsum(spans) - spans), spans)
        self._directory[places] = np.repeat(fresh, spans)


def _tags(digests: Digests) -> npt.NDArray[np.uint32]:
    return (digests[:, 0] >> np.uint64(32)).astype(np.uint32)
