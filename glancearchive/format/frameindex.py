"""Which frame holds which block, as far as the volumes at hand tell."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np
import numpy.typing as npt

from glancearchive.format.archiveheader import FIRST_REPAIR
from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.schema import FrameRows, FrameRun

_MOST_NAMED = 16  # volumes in a message

FrameKey = tuple[bytes, int]
"""The archive id and number of a frame."""


def not_at_hand(volumes: Mapping[int, str]) -> str:
    """That something is in these `volumes`, names by number; "" for none."""
    return f"in {_named(volumes)}, which is not at hand" if volumes else ""


def _named(volumes: Mapping[int, str]) -> str:
    names = [f"volume {number} ({volumes[number]})" for number in nsmallest(_MOST_NAMED, volumes)]
    if len(volumes) > len(names):
        names.append(f"one of {len(volumes) - len(names)} more")
    return " or ".join(names)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as the frame index knows it. `blocks` stored from block number `first_block` on."""

    archive_id: bytes
    number: int
    volume: int
    offset: int
    stored_size: int
    raw_size: int
    payload_digest: bytes
    first_block: int
    blocks: int

    @property
    def key(self) -> FrameKey:
        """What tells it from all other frames, those of other archives too."""
        return self.archive_id, self.number

    def header(self) -> RecordHeader:
        """The record header that stands before this frame, rebuilt from the index."""
        return RecordHeader(
            RecordType.FRAME,
            self.volume,
            self.archive_id,
            self.number,
            self.offset,
            self.stored_size,
            self.raw_size,
            self.payload_digest,
        )


@dataclass(frozen=True, slots=True)
class _Segment:
    volume: int
    first_frame: int
    rows: FrameRows
    starts: npt.NDArray[np.uint64]  # first block of each frame, and the block after the last: n + 1

    @property
    def first_block(self) -> int:
        return int(self.starts[0])

    @property
    def end_frame(self) -> int:
        return self.first_frame + len(self.rows)

    def continues(self, after: _Segment) -> bool:
        """Whether `after` begins where this one ends."""
        here = (self.volume, self.end_frame, int(self.starts[-1]))
        return here == (after.volume, after.first_frame, after.first_block)


class FrameIndex:
    """Frames of an archive by number and by block number; there may be holes where volumes or records are missing.

    Blocks that are its base's are looked up there, as far as the base is at hand; see `continue_from`.
    """

    def __init__(self, block_size: int, archive_id: bytes = b"") -> None:
        self._block_size = block_size
        self._archive_id = archive_id
        self._segments: list[_Segment] = []  # by first_frame, and so by first_block; no overlaps
        self._base: FrameIndex | None = None
        self._lacking: Mapping[int, str] = {}
        self._torn: Mapping[int, str] = {}
        self._first_blocks: Mapping[int, int] = {}
        self._base_blocks = 0  # blocks below this number are the base's
        self._repairs: list[FrameIndex] = []

    def continue_from(self, base: FrameIndex | None, blocks: int) -> None:
        """The blocks numbered below `blocks` are those of `base`, None when that is not at hand."""
        self._base, self._base_blocks = base, blocks

    def repaired_by(self, repairs: Iterable[FrameIndex]) -> None:
        """Blocks with the numbers of repair archives are looked up in those."""
        self._repairs = sorted(repairs, key=lambda index: index._segments[0].first_block if index._segments else 0)

    def _of(self, block: int) -> FrameIndex:
        """The index that knows block number `block`, if any does."""
        if block >= FIRST_REPAIR:
            return next((index for index in self._repairs if index._segment_of(block) is not None), self)
        return self

    def add(self, volume: int, run: FrameRun) -> None:
        """Learn `run`. What is known already is compared and left; raises ValueError when it differs."""
        blocks = run.rows["raw_size"].astype(np.uint64) // np.uint64(self._block_size)
        starts = np.concatenate([[np.uint64(run.first_block)], np.uint64(run.first_block) + np.cumsum(blocks)])
        new = _Segment(volume, run.first_frame, run.rows, starts.astype(np.uint64))
        at = new.first_frame
        while at < new.end_frame:
            place = bisect_right(self._segments, at, key=lambda segment: segment.first_frame)
            before = self._segments[place - 1] if place else None
            if before is not None and at < before.end_frame:
                until = min(before.end_frame, new.end_frame)
                self._compare(before, new, at, until)
            else:
                after = self._segments[place] if place < len(self._segments) else None
                until = new.end_frame if after is None else min(after.first_frame, new.end_frame)
                begin, end = at - new.first_frame, until - new.first_frame
                piece = _Segment(volume, at, new.rows[begin:end], new.starts[begin : end + 1])
                if (before is not None and int(before.starts[-1]) > piece.first_block) or (
                    after is not None and int(piece.starts[-1]) > after.first_block
                ):
                    raise ValueError(f"the blocks of frame {at} and after overlap those of other frames")
                self._segments.insert(place, piece)
            at = until

    @staticmethod
    def _compare(old: _Segment, new: _Segment, begin: int, end: int) -> None:
        a, b = (
            slice(begin - old.first_frame, end - old.first_frame),
            slice(begin - new.first_frame, end - new.first_frame),
        )
        same = old.volume == new.volume and old.rows[a].tobytes() == new.rows[b].tobytes()
        if not same or not np.array_equal(old.starts[a], new.starts[b]):
            raise ValueError(f"two records disagree about frames {begin} to {end - 1}")

    def _segment_of(self, block: int) -> _Segment | None:
        place = bisect_right(self._segments, block, key=lambda segment: segment.first_block)
        if place and block < int(self._segments[place - 1].starts[-1]):
            return self._segments[place - 1]
        return None

    def find(self, block: int) -> Frame | None:
        """The frame that holds block number `block`, or None when no record at hand describes it."""
        if block < self._base_blocks:
            return self._base.find(block) if self._base is not None else None
        index = self._of(block)
        if index is not self:
            return index.find(block)
        segment = self._segment_of(block)
        if segment is None:
            return None
        return self._frame(segment, int(np.searchsorted(segment.starts, np.uint64(block), side="right")) - 1)

    def _frame(self, segment: _Segment, row: int) -> Frame:
        offset, stored_size, raw_size, payload_digest = segment.rows[row].item()
        return Frame(
            archive_id=self._archive_id,
            number=segment.first_frame + row,
            volume=segment.volume,
            offset=offset,
            stored_size=stored_size,
            raw_size=raw_size,
            payload_digest=payload_digest,
            first_block=int(segment.starts[row]),
            blocks=raw_size // self._block_size,
        )

    def missing(self, start: int, count: int) -> Iterator[tuple[int, int]]:
        """The ranges ``(block, count)`` within a run of blocks that no frame at hand holds."""
        at, end = start, start + count
        if at < self._base_blocks:
            until = min(end, self._base_blocks)
            yield from [(at, until - at)] if self._base is None else self._base.missing(at, until - at)
            at = until
        while at < end:
            segment = self._of(at)._segment_of(at)
            if segment is not None:
                at = int(segment.starts[-1])
                continue
            place = bisect_right(self._segments, at, key=lambda segment: segment.first_block)
            until = min(end, self._segments[place].first_block) if place < len(self._segments) else end
            yield at, until - at
            at = until

    def says_same(self, other: FrameIndex) -> bool:
        """Whether both know the same frames, and say the same of them."""
        return self._joined() == other._joined()

    def _joined(self) -> list[tuple[int, int, int, bytes]]:
        """Each stretch without a hole: volume, first frame, first block, rows."""
        stretches: list[list[_Segment]] = []
        for segment in self._segments:
            if not stretches or not stretches[-1][-1].continues(segment):
                stretches.append([])
            stretches[-1].append(segment)
        return [
            (some[0].volume, some[0].first_frame, some[0].first_block, b"".join(one.rows.tobytes() for one in some))
            for some in stretches
        ]

    def with_base(self) -> Iterator[Frame]:
        """The frames of its base as far as they count here, its own, those that repair it: in order of their blocks."""
        for frame in self._base.with_base() if self._base is not None else ():
            if frame.first_block < self._base_blocks:
                yield frame
        yield from self
        for index in self._repairs:
            yield from index

    def lacks(self, volumes: Mapping[int, str], torn: Mapping[int, str], first_blocks: Mapping[int, int]) -> None:
        """Of the archive, `volumes` are not at hand, and the end of those in `torn`: their names by number.

        `first_blocks` are what is known of all.
        """
        self._lacking, self._torn, self._first_blocks = volumes, torn, first_blocks

    def whereabouts(self, block: int, count: int) -> str:
        """Where blocks are that `missing` gives."""
        if block < self._base_blocks:
            return "in its base, which is not at hand" if self._base is None else self._base.whereabouts(block, count)
        return self._among(lambda number: self._may_hold(number, block, block + count)) or "in no frame at hand"

    def _among(self, within: Callable[[int], bool]) -> str:
        """That something is in those volumes with a number `within` that are missing, or damaged; "" for none."""
        torn = {number: name for number, name in self._torn.items() if within(number)}
        missing = not_at_hand({number: name for number, name in self._lacking.items() if within(number)})
        damaged = f"in what is damaged of {_named(torn)}" if torn else ""
        return " or ".join(filter(None, (missing, damaged)))

    def _may_hold(self, volume: int, begin: int, end: int) -> bool:
        """Whether some of the blocks from `begin` to `end`, exclusive, may lie in `volume`."""
        known = self._first_blocks
        first = max((known[number] for number in known if number <= volume), default=0)
        after = min((known[number] for number in known if number > volume), default=end)
        return begin < after and first < end

    @property
    def lacking(self) -> bool:
        """Whether there are volumes that are not at hand, or not whole."""
        return bool(self._lacking or self._torn)

    def elsewhere_within(self, first: int, last: int) -> str:
        """Where what no record at hand says may be said: in one of the volumes from `first` to `last`; "" for none."""
        return self._among(lambda number: first <= number <= last)

    @property
    def elsewhere(self) -> str:
        """Where what no record at hand says may be said."""
        return self._among(lambda _number: True) or "nowhere"

    def __iter__(self) -> Iterator[Frame]:
        """The archive's own frames, in order."""
        for segment in self._segments:
            for row in range(len(segment.rows)):
                yield self._frame(segment, row)

    def __len__(self) -> int:
        return sum(len(segment.rows) for segment in self._segments)
