"""The deduplication index: from block digest to block number, in a bounded number of bytes per block.

Open addressing with linear probing over u64 slots, each a 28-bit tag of the
digest and a 36-bit block number, beside an append-only array of the digests in
block order. Look-ups and insertions take whole batches through numpy. Per block:
16 bytes of digest, and 8 to 16 bytes of slots (the table is at most half full
when it grows, at least a quarter afterwards): with growth at most 48 bytes.

The digests are keyed (SPEC section 5), so their bits can be used as they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glancearchive.format.hashing import Digests

_NUMBER_BITS = np.uint64(36)
_NUMBER_MASK = np.uint64((1 << 36) - 1)
_ONE = np.uint64(1)
MAX_INDEXED = (1 << 36) - 2
ABSENT = -1


class BlockIndex:
    """Digests of blocks ``first``, ``first + 1``, … Not safe in several threads."""

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self._count = 0
        self._digests = np.empty((1 << 12, 2), dtype="<u8")
        self._slots = np.zeros(1 << 13, dtype=np.uint64)  # 0: empty, else tag and number + 1

    def __len__(self) -> int:
        return self._count

    def digests(self, begin: int, end: int) -> Digests:
        """Digests of the blocks numbered `begin` to `end`, exclusive. A copy: `extend` moves the array."""
        return self._digests[begin - self.first : end - self.first].copy()

    def find(self, wanted: Digests) -> npt.NDArray[np.int64]:
        """The block number of each digest, ABSENT where there is none; shape (n,)."""
        numbers = np.full(len(wanted), ABSENT, dtype=np.int64)
        mask = np.uint64(len(self._slots) - 1)
        pending = np.arange(len(wanted))
        places = wanted[:, 0] & mask
        tags = wanted[:, 1] >> _NUMBER_BITS
        while len(pending):
            slots = self._slots[places]
            candidates = (slots & _NUMBER_MASK).astype(np.int64) - 1
            same = (slots != 0) & (slots >> _NUMBER_BITS == tags)
            # The tag has only 28 bits: compare the digests before believing it.
            same[same] = (self._digests[candidates[same]] == wanted[pending[same]]).all(axis=1)
            numbers[pending[same]] = candidates[same] + self.first
            going_on = (slots != 0) & ~same
            pending, tags = pending[going_on], tags[going_on]
            places = (places[going_on] + _ONE) & mask
        return numbers

    def forget(self, begin: int, end: int) -> None:
        """Find the blocks numbered `begin` to `end`, exclusive, no more. Their numbers stay taken."""
        # No digest is all zero but by an accident that nobody will see: the slots may stay, they match nothing now.
        self._digests[begin - self.first : end - self.first] = 0

    def extend(self, new: Digests) -> int:
        """Add blocks with these digests, best all absent and different; returns the first's number."""
        begin, end = self._count, self._count + len(new)
        if end > MAX_INDEXED:
            raise OverflowError(f"more than {MAX_INDEXED} blocks in one index")
        if end > len(self._digests):
            # In place where the allocator can: the old and the new array need not exist side by side.
            self._digests.resize((max(end, len(self._digests) * 5 // 4), 2), refcheck=False)
        self._digests[begin:end] = new
        self._count = end
        if end * 2 > len(self._slots):
            size = len(self._slots)
            while end * 2 > size:
                size *= 2
            self._slots = np.zeros(size, dtype=np.uint64)
            begin = 0
        for at in range(begin, end, 1 << 16):
            self._insert(np.arange(at, min(end, at + (1 << 16))))
        return self.first + self._count - len(new)

    def _insert(self, rows: npt.NDArray[np.int64]) -> None:
        mask = np.uint64(len(self._slots) - 1)
        rows = rows[self._digests[rows].any(axis=1)]  # not those that were forgotten
        digests = self._digests[rows]
        places = digests[:, 0] & mask
        values = (digests[:, 1] >> _NUMBER_BITS << _NUMBER_BITS) | (rows.astype(np.uint64) + _ONE)
        while len(values):
            free = self._slots[places] == 0
            self._slots[places[free]] = values[free]
            # Of several that wanted one slot the last one got it; the others go on.
            left = self._slots[places] != values
            values, places = values[left], (places[left] + _ONE) & mask
