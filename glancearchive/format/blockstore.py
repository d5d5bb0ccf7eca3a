"""Stores each block once: asks the index, packs what is new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from glancearchive.format.blockindex import ABSENT, BlockIndex
from glancearchive.format.hashing import Digests
from glancearchive.format.packer import FramePacker


class BlockStore:
    """Hands new blocks to `packer`. `known` are the digests of the blocks stored so far, from number `first` on.

    Not safe in several threads.
    """

    def __init__(self, packer: FramePacker, block_size: int, first: int, known: Iterable[Digests]) -> None:
        self._packer = packer
        self._block_size = block_size
        self._index = BlockIndex(first)
        for digests in known:
            # A block may stand in an archive twice; the index then finds one of them.
            self._index.extend(digests)

    def digests(self, begin: int, end: int) -> Digests:
        """Digests of the blocks numbered `begin` to `end`, exclusive."""
        return self._index.digests(begin, end)

    def store(
        self, digests: Digests, view: memoryview, places: npt.NDArray[np.int64], image: int
    ) -> npt.NDArray[np.int64]:
        """The numbers of the blocks at `places` (block indices) of `view`, whose digests are given.

        What is new is stored, for image number `image`.
        """
        numbers = self._index.find(digests)
        absent = np.flatnonzero(numbers == ABSENT)
        if len(absent):
            joined = digests[absent].tobytes()
            fresh: dict[bytes, int] = {}  # digest to ordinal: the stretch may repeat itself
            ordinals = np.array(
                [fresh.setdefault(joined[at : at + 16], len(fresh)) for at in range(0, len(joined), 16)]
            )
            _, firsts = np.unique(ordinals, return_index=True)
            numbers[absent] = self._index.extend(digests[absent[firsts]]) + ordinals
            for begin, end in _runs(places[absent[firsts]]):
                self._packer.add(view[begin * self._block_size : end * self._block_size], image)
        return numbers


def _runs(places: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """The maximal runs ``begin, end`` of consecutive numbers in `places`."""
    breaks = (np.flatnonzero(np.diff(places) != 1) + 1).tolist()
    for first, last in zip([0, *breaks], [*breaks, len(places)], strict=True):
        yield int(places[first]), int(places[last - 1]) + 1
