"""Stores each block once: asks the index, packs what is new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from glancearchive.format.blockindex import ABSENT, BlockIndex
from glancearchive.format.growing import GrowingArray
from glancearchive.format.hashing import Digests
from glancearchive.format.packer import FramePacker, PackedFrame


@dataclass(frozen=True, slots=True)
class Stretch:
    """`count` blocks of an image in a row: the whole bytes, which blocks are not zero, and the digests of these."""

    data: memoryview
    places: npt.NDArray[np.int64]
    digests: Digests
    count: int


class BlockStore:
    """Hands new blocks to `packer`. `index` has the blocks stored so far, by earlier runs.

    Before a block that an earlier run stored is used again, `check` is asked, once for each frame, whether the
    frame that holds it is still whole: given a block number, it returns the frame's first block, the block after its
    last, and the answer. Not safe in several threads.
    """

    def __init__(
        self,
        packer: FramePacker,
        block_size: int,
        index: BlockIndex,
        check: Callable[[int], tuple[int, int, bool]],
    ) -> None:
        self._packer = packer
        self._check = check
        self._block_size = block_size
        self._index = index
        self._earlier = len(index)  # blocks of earlier runs
        self._checked = GrowingArray(np.bool_, index.room)  # for each of them
        self._checked.reserve(self._earlier)

    def find(self, digests: Digests, expected: int = ABSENT) -> npt.NDArray[np.int64]:
        """The numbers of the blocks with these digests that can be used, ABSENT where there is none.

        `expected` is the number of the first of them when they go on as another image does; a wrong guess costs
        nothing.
        """
        numbers = self._index.find(digests, expected)
        first = self._index.first
        while len(unchecked := self._not_checked(numbers)):
            begin, end, whole = self._check(unchecked[0])
            begin = max(begin, first)  # a base is answered for as a whole; its own base may not be known
            if not begin <= unchecked[0] < end:
                raise ValueError(f"asked about block {unchecked[0]}, the answer is about {begin} to {end}")
            self._checked.rows[begin - first : end - first] = True
            if not whole:
                self._index.forget(begin, end)
                numbers = self._index.find(digests)
        return numbers

    def copy_frame(self, frame: PackedFrame, digests: Digests) -> int:
        """Store a frame as it is, whose blocks have these `digests`; the number of the first of them."""
        first = self._index.extend(digests)
        self._packer.add_frame(frame)
        return first

    def store(self, stretches: Sequence[Stretch], image: int, expected: int) -> npt.NDArray[np.int64]:
        """The numbers of the non-zero blocks of all `stretches`, in order.

        What is new is stored, for image number `image`. `expected` is as in `find`.
        """
        digests = np.concatenate([stretch.digests for stretch in stretches])
        numbers = self.find(digests, expected)
        absent = np.flatnonzero(numbers == ABSENT)
        if len(absent):
            joined = digests[absent].tobytes()
            fresh: dict[bytes, int] = {}  # digest to ordinal: the stretches may repeat themselves
            ordinals = np.array(
                [fresh.setdefault(joined[at : at + 16], len(fresh)) for at in range(0, len(joined), 16)]
            )
            _, firsts = np.unique(ordinals, return_index=True)
            new = absent[firsts]
            numbers[absent] = self._index.extend(digests[new]) + ordinals
            self._pack(stretches, new, image)
        return numbers

    def _pack(self, stretches: Sequence[Stretch], new: npt.NDArray[np.int64], image: int) -> None:
        """Hand on the bytes of the blocks `new`, counted over the non-zero blocks of all `stretches`."""
        borders = np.cumsum([0, *(len(stretch.places) for stretch in stretches)])
        cuts = np.searchsorted(new, borders).tolist()
        for stretch, border, (first, last) in zip(stretches, borders.tolist(), pairwise(cuts), strict=False):
            if first < last:
                for begin, end in _runs(stretch.places[new[first:last] - border]):
                    self._packer.add(stretch.data[begin * self._block_size : end * self._block_size], image)

    def _not_checked(self, numbers: npt.NDArray[np.int64]) -> list[int]:
        if not self._earlier:
            return []
        earlier = numbers[(numbers != ABSENT) & (numbers < self._index.first + self._earlier)]
        found: list[int] = earlier[~self._checked.rows[earlier - self._index.first]].tolist()
        return found


def _runs(places: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """The maximal runs ``begin, end`` of consecutive numbers in `places`."""
    breaks = (np.flatnonzero(np.diff(places) != 1) + 1).tolist()
    for first, last in zip([0, *breaks], [*breaks, len(places)], strict=True):
        yield int(places[first]), int(places[last - 1]) + 1
