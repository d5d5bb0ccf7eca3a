"""Checks an archive in all layers, names every fault and the images it costs (SPEC section 10)."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate
from typing import TypeVar

import numpy as np

from glancearchive.errors import FormatError, GlanceHashError, ImageError, MissingError, StrangerError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.catalog import PATCH, UNFINISHED
from glancearchive.format.framecheck import FrameCheck
from glancearchive.format.framedigests import BlockDigests
from glancearchive.format.hashing import ImageDigest
from glancearchive.format.imageparts import COMPLETE, FAILED, ZEROS, Extents
from glancearchive.format.reader import Archive
from glancearchive.streamhash import StreamHash, computable

_DESCRIBING = ("volume", "header", "record", "chain")  # layers whose faults may hide what an image is
VALID, DAMAGED, HELD = "valid", "damaged", "held"
_NO_HASH = "no hash was recorded that could be recomputed"
_AHEAD = 64  # images checked ahead, for each thread

T = TypeVar("T")
R = TypeVar("R")


class Depth(IntEnum):
    """How much is checked; each includes those before it."""

    QUICK = 0  # stored bytes against their digests, and all that the structured records say
    FULL = 1  # every block and every image digest
    GLANCE = 2  # every image rebuilt, and hashed as its Glance did


@dataclass(slots=True)
class Damage:
    """One fault, and the ids of the images that it costs."""

    fault: FormatError
    images: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ImageState:
    """What a verification says of one image: ``valid``, ``held``, ``damaged``, or the status that it was archived with.

    A held one is undamaged as far as it is at hand, and needs a volume, or another archive, that is not.
    `reason` is the first fault, or why the image has no data; of a valid one at `Depth.GLANCE`, that it has no hash.
    """

    id: str
    name: str
    status: str
    reason: str = ""


@dataclass(slots=True)
class Report:
    """The result of a verification. `checked` counts stored bytes that were read."""

    damage: list[Damage] = field(default_factory=list)
    images: list[ImageState] = field(default_factory=list)
    checked: int = 0

    @property
    def lacking(self) -> list[ImageState]:
        """Images whose data the archive never got: ``failed`` and ``unfinished`` ones."""
        return [image for image in self.images if image.status in (FAILED, UNFINISHED)]

    @property
    def ok(self) -> bool:
        """Whether the archive is undamaged and lacks nothing that its source had."""
        return not self.damage and not self.lacking


def verify(
    archive: Archive,
    depth: Depth = Depth.FULL,
    progress: Callable[[int], None] = lambda _count: None,
    threads: int = 2,
) -> Report:
    """Check all of `archive`. Damage is reported, not raised. `progress` is told of bytes as they are checked."""
    archive.load_extents()
    check = FrameCheck(archive, depth >= Depth.FULL, progress, threads)
    check.run()
    if archive.repairs:
        archive.stored_faults.know_whole(check.whole)
    report = Report(checked=check.checked)
    known: dict[tuple[str, int, int, str, str], Damage] = {}
    # What was found on opening the check found again, but for what concerns no place in a volume.
    for fault in [*check.faults, *_uncovered(archive.faults, check.faults)]:
        key = fault.volume, fault.begin, fault.end, fault.layer, fault.message
        if key not in known:
            known[key] = Damage(fault)
            report.damage.append(known[key])
    by_fault = {id(damage.fault): damage for damage in report.damage}
    # What is described nowhere may have been described where a record is damaged or missing.
    describing = (damage for damage in report.damage if damage.fault.layer in _DESCRIBING)
    causes = [damage for damage in describing if not isinstance(damage.fault, StrangerError)]
    checker = _ImageCheck(archive, check, depth, progress)
    with ThreadPoolExecutor(threads, "images") as pool, _stopping(checker):
        for image, (missing, faults) in _in_order(pool, checker.check, archive.images, _AHEAD * threads):
            if missing and not causes:
                faults = [ImageError(f"image {image.id or image.number}: {line}") for line in missing] + faults
            for damage in causes if missing else ():
                damage.images.append(image.id)
            for fault in faults:
                if id(fault) not in by_fault:
                    by_fault[id(fault)] = Damage(fault)
                    report.damage.append(by_fault[id(fault)])
                by_fault[id(fault)].images.append(image.id)
            reasons = [*missing, *map(str, faults)]
            held = bool(missing) and not faults and all(isinstance(one.fault, MissingError) for one in causes)
            status = HELD if held and causes else DAMAGED if reasons else image.status
            status = VALID if status == COMPLETE else status
            unhashed = status == VALID and depth >= Depth.GLANCE and not any(map(computable, image.hashes))
            reason = reasons[0] if reasons else _NO_HASH if unhashed else image.reason
            report.images.append(ImageState(image.id, image.name, status, reason))
    return report


def _uncovered(faults: Iterable[FormatError], others: Iterable[FormatError]) -> Iterator[FormatError]:
    """Those of `faults` whose bytes no other fault of the same layer covers. There may be very many of both."""
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for other in others:
        spans.setdefault((other.volume, other.layer), []).append((other.begin, other.end))
    for span in spans.values():
        span.sort()
    # For each, the furthest byte that it or one that begins before it reaches.
    reach = {key: list(accumulate((end for _, end in span), max)) for key, span in spans.items()}
    for fault in faults:
        key = fault.volume, fault.layer
        before = bisect_right(spans.get(key, []), fault.begin, key=lambda span: span[0])
        if not (before and fault.begin < fault.end <= reach[key][before - 1]):
            yield fault


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[tuple[T, R]]:
    """Each item with its result. As `pool.map`, but never more than `ahead` of them are under way."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


@contextmanager
def _stopping(checker: _ImageCheck) -> Iterator[None]:
    """An interruption ends the checks that other threads are at."""
    try:
        yield
    except BaseException:
        checker.stopped = True
        raise


class _ImageCheck:
    """The layers ``image`` and ``glance``."""

    def __init__(self, archive: Archive, check: FrameCheck, depth: Depth, progress: Callable[[int], None]) -> None:
        self._depth = depth
        self._progress = progress
        self.stopped = False  # another thread has asked for the end
        frames = archive.catalog.frames.with_base()
        bad = [frame for frame in frames if frame.key in check.bad] if check.bad else []
        self._bad_frames = [check.bad[frame.key] for frame in bad]  # in order of their blocks
        self._bad_begins = np.array([frame.first_block for frame in bad], dtype=np.uint64)
        self._bad_ends = np.array([frame.first_block + frame.blocks for frame in bad], dtype=np.uint64)
        hashed = archive.catalog.frames.with_base() if depth >= Depth.FULL else ()
        self._digests = BlockDigests(check.digests, hashed)

    def check(self, image: ArchivedImage) -> tuple[list[str], list[FormatError]]:
        """What is described nowhere of `image`, and what is wrong with it or with the frames it needs."""
        if image.status == PATCH:  # a part of an image, as it should be
            return [], self._faults(image, whole=False)
        missing = image.faults()
        return missing, [] if image.status != COMPLETE else self._faults(image, whole=not missing)

    def _faults(self, image: ArchivedImage, *, whole: bool) -> list[FormatError]:
        """What is wrong with the frames it needs; where it is described as a `whole`, also with what they give."""
        faults = list[FormatError]()
        extents, _ = image.entry.extents()
        data = extents[extents[:, 0] != ZEROS]
        if self._bad_frames:
            # The bad frames from the first that ends after the extent begins, to the last that begins before it ends.
            firsts = np.searchsorted(self._bad_ends, data[:, 0], side="right")
            lasts = np.searchsorted(self._bad_begins, data[:, 0] + data[:, 1], side="left")
            hit = firsts < lasts
            spans = zip(firsts[hit].tolist(), lasts[hit].tolist(), strict=True)
            places = sorted({place for first, last in spans for place in range(first, last)})
            faults = [self._bad_frames[place] for place in places]
        if faults or not whole or self._depth < Depth.FULL:
            return faults
        assert image.size is not None
        if self._digest(extents, image.size) != image.digest:
            return [ImageError(f"image {image.id}: the image digest does not match its blocks")]
        return self._hash_faults(image) if self._depth >= Depth.GLANCE else []

    def _digest(self, extents: Extents, size: int) -> bytes:
        """The image digest, from the digests that were computed of its blocks."""
        digest = ImageDigest()
        for start, count in extents.tolist():
            if start == ZEROS:
                digest.zeros(count)
                continue
            for digests in self._digests.of(start, count):
                digest.data(digests)
        return digest.digest(size)

    def _hash_faults(self, image: ArchivedImage) -> list[FormatError]:
        """Rebuild the image and compare the hashes that were recorded when it was archived."""
        with StreamHash(filter(computable, image.hashes)) as hashes:
            try:
                for chunk in image.content().chunks():
                    if self.stopped:
                        return []
                    hashes.update(chunk)
                    self._progress(len(chunk))
            except FormatError as error:  # the frame index leads elsewhere than the records themselves
                return [error]
            found = hashes.hexdigests()
        return [
            GlanceHashError(f"image {image.id}: its {name} is {value}, recorded is {image.hashes[name]}")
            for name, value in found.items()
            if value != image.hashes[name]
        ]
