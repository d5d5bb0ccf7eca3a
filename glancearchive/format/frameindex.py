"""Which frame holds which block, as far as the volumes at hand tell."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.schema import FrameRows, FrameRun


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as the frame index knows it. `blocks` stored from block number `first_block` on."""

    number: int
    volume: int
    offset: int
    stored_size: int
    raw_size: int
    payload_digest: bytes
    first_block: int
    blocks: int

    def header(self, archive_id: bytes) -> RecordHeader:
        """The record header that stands before this frame, rebuilt from the index."""
        return RecordHeader(
            RecordType.FRAME,
            self.volume,
            archive_id,
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
    """Frames by number and by block number; there may be holes where volumes or records are missing."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._segments: list[_Segment] = []  # by first_frame, and so by first_block; no overlaps

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
        segment = self._segment_of(block)
        if segment is None:
            return None
        return self._frame(segment, int(np.searchsorted(segment.starts, np.uint64(block), side="right")) - 1)

    def _frame(self, segment: _Segment, row: int) -> Frame:
        offset, stored_size, raw_size, payload_digest = segment.rows[row].item()
        return Frame(
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
        while at < end:
            segment = self._segment_of(at)
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

    def __iter__(self) -> Iterator[Frame]:
        for segment in self._segments:
            for row in range(len(segment.rows)):
                yield self._frame(segment, row)

    def __len__(self) -> int:
        return sum(len(segment.rows) for segment in self._segments)
