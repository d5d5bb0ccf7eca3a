"""Very many small encoded maps in little memory: compressed, some dozens together, until one of them is asked for."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right

from glancearchive.format.compression import LEVELS, compress, decompress

_CHUNK = 1 << 16  # bytes that are compressed together
_RECENT = 8  # maps that are kept at hand: few, for one may have megabytes
_OPEN = 4  # chunks that are kept decompressed: as many threads may go through them
_LEVEL = LEVELS["default"]


class PackedMaps:
    """Encoded maps by number, in the order in which they were added. Safe in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stored: list[bytes] = []
        self._sizes = array("Q")  # of these, decompressed
        self._firsts = array("Q", [0])  # the number of the first map in each, and in the one that is being filled
        self._begins = array("Q")  # where each map begins in its chunk
        self._filling = bytearray()
        self._recent: dict[int, bytes] = {}  # by number: of one image several things are asked for in a row
        self._open: dict[int, bytes] = {}  # decompressed, by place in `_stored`; the oldest first

    def add(self, packed: bytes) -> int:
        """Keep `packed`; its number."""
        with self._lock:
            if len(self._filling) >= _CHUNK:
                self._stored.append(compress(self._filling, _LEVEL))
                self._sizes.append(len(self._filling))
                self._firsts.append(len(self._begins))
                self._filling = bytearray()
            self._begins.append(len(self._filling))
            self._filling += packed
            return len(self._begins) - 1

    def __getitem__(self, number: int) -> bytes:
        found = self._recent.get(number)
        if found is None:
            with self._lock:
                place = bisect_right(self._firsts, number) - 1
                last = place + 1 < len(self._firsts) and number + 1 == self._firsts[place + 1]
                end = None if last or number + 1 == len(self._begins) else self._begins[number + 1]
                found = bytes(self._chunk(place)[self._begins[number] : end])
                if len(self._recent) == _RECENT:
                    self._recent.clear()
                self._recent[number] = found
        return found

    def _chunk(self, place: int) -> bytes | bytearray:
        if place == len(self._stored):
            return self._filling
        raw = self._open.get(place)
        if raw is None:
            if len(self._open) == _OPEN:
                del self._open[next(iter(self._open))]
            raw = self._open[place] = decompress(self._stored[place], self._sizes[place])
        return raw
