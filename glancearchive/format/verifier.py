"""Checks an archive in all layers, names every fault and the images it costs (SPEC section 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from glancearchive.errors import FormatError, GlanceHashError, ImageError
from glancearchive.format.catalog import UNFINISHED, Entry
from glancearchive.format.framecheck import FrameCheck
from glancearchive.format.hashing import ImageDigest
from glancearchive.format.reader import Archive, ArchivedImage
from glancearchive.format.schema import COMPLETE, FAILED, ZEROS, Extents
from glancearchive.streamhash import StreamHash, computable

_DESCRIBING = ("volume", "header", "record", "chain")  # layers whose faults may hide what an image is
VALID, DAMAGED = "valid", "damaged"


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
    """What a verification says of one image: ``valid``, ``damaged``, ``no-data``, ``failed`` or ``unfinished``.

    `reason` is the first fault, or why the image has no data.
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
    report = Report(checked=check.checked)
    known: dict[tuple[str, int, int, str, str], Damage] = {}
    # What was found on opening the check found again, but for what concerns no place in a volume.
    opening = [fault for fault in archive.faults if not any(_covers(other, fault) for other in check.faults)]
    for fault in [*check.faults, *opening]:
        key = fault.volume, fault.begin, fault.end, fault.layer, fault.message
        if key not in known:
            known[key] = Damage(fault)
            report.damage.append(known[key])
    by_fault = {id(damage.fault): damage for damage in report.damage}
    # What is described nowhere may have been described where a record is damaged or missing.
    causes = [damage for damage in report.damage if damage.fault.layer in _DESCRIBING]
    checker = _ImageCheck(archive, check, depth, progress)
    with ThreadPoolExecutor(threads, "images") as pool, _stopping(checker):
        for image, found in zip(archive.images, pool.map(checker.check, archive.images), strict=True):
            missing, faults = found
            if missing and not causes:
                faults = [ImageError(f"image {image.id or image.number}: {line}") for line in missing] + faults
            for damage in causes if missing else ():
                damage.images.append(image.id)
            for fault in faults:
                damage = by_fault.setdefault(id(fault), Damage(fault))
                if damage not in report.damage:
                    report.damage.append(damage)
                damage.images.append(image.id)
            reasons = [*missing, *map(str, faults)]
            status = DAMAGED if reasons else VALID if image.status == COMPLETE else image.status
            report.images.append(ImageState(image.id, image.name, status, reasons[0] if reasons else image.reason))
    return report


def _covers(fault: FormatError, other: FormatError) -> bool:
    same = (fault.volume, fault.layer) == (other.volume, other.layer)
    return same and other.begin < other.end and fault.begin <= other.begin and other.end <= fault.end


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
        self._archive = archive
        self._check = check
        self._depth = depth
        self._progress = progress
        self.stopped = False  # another thread has asked for the end
        frames = archive.catalog.frames
        bad = [frame for frame in frames if frame.number in check.bad]
        self._bad = [(np.uint64(one.first_block), np.uint64(one.first_block + one.blocks), one.number) for one in bad]

    def check(self, image: ArchivedImage) -> tuple[list[str], list[FormatError]]:
        """What is described nowhere of `image`, and what is wrong with it or with the frames it needs."""
        missing = image.faults()
        return missing, [] if missing or image.status != COMPLETE else self._faults(image)

    def _faults(self, image: ArchivedImage) -> list[FormatError]:
        entry, faults = image.entry, list[FormatError]()
        extents, _ = entry.extents()
        data = extents[extents[:, 0] != ZEROS]
        for begin, end, number in self._bad:
            if np.any((data[:, 0] < end) & (data[:, 0] + data[:, 1] > begin)):
                faults.append(self._check.bad[number])
        if faults or self._depth < Depth.FULL:
            return faults
        assert image.size is not None
        if self._digest(entry, extents, image.size) != image.digest:
            return [ImageError(f"image {image.id}: the image digest does not match its blocks")]
        return self._hash_faults(image) if self._depth >= Depth.GLANCE else []

    def _digest(self, entry: Entry, extents: Extents, size: int) -> bytes:
        """The image digest, from the digests that were computed of its blocks."""
        digest = ImageDigest()
        for start, count in extents.tolist():
            if start == ZEROS:
                digest.zeros(count)
                continue
            at, end = start, start + count
            while at < end:
                frame = self._archive.catalog.frames.find(at)
                assert frame is not None, f"the extents of image {entry.number} were checked"
                stop = min(end, frame.first_block + frame.blocks)
                digest.data(self._check.digests[frame.number][at - frame.first_block : stop - frame.first_block])
                at = stop
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
