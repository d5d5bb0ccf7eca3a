"""The need-list of an archive: what of it is damaged or not at hand, for its source to send again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from glancearchive.errors import FormatError, LocalError, UsageError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.catalog import UNFINISHED
from glancearchive.format.imageparts import FAILED
from glancearchive.format.missing import FrameFaults, Missing, joined, missing
from glancearchive.format.needlist import MAX_SIZE, Damaged, NeededImage, NeedList
from glancearchive.format.reader import Archive
from glancearchive.format.verifier import DAMAGED, HELD, Report
from glancearchive.operations.outputs import check_replacing, write_output

_MOST_DAMAGE = 10_000  # places that a need-list names; they are for people, images say what is needed


def need_after_verify(archive: Archive, report: Report) -> NeedList:
    """What `archive` needs after the verification that gave `report`. The frames of damaged images are read again."""
    fault_of = FrameFaults(archive)
    damaged = {state.id for state in report.images if state.status in (DAMAGED, HELD)}
    held = {}
    for image in archive.images:
        if image.id in damaged or _never_came(image):
            # What is wrong with an image though all its blocks are whole, is wrong with all of it.
            held[image.id] = missing(image, archive.catalog.frames, fault_of) or Missing(None)
    return need(archive, held, [damage.fault for damage in report.damage])


def need_after_load(archive: Archive, held: Mapping[str, Missing]) -> NeedList:
    """What `archive` needs after a load that could not read the images `held`."""
    unread = {image.id: Missing(None) for image in archive.images if _never_came(image)}
    faults = [fault for one in held.values() for fault in one.faults]
    return need(archive, {**unread, **held}, [*archive.faults, *faults])


def _never_came(image: ArchivedImage) -> bool:
    return image.status in (FAILED, UNFINISHED)


def check_needs(archive: Archive) -> None:
    """Raise UsageError for an archive that no need-list can be made of."""
    if archive.header.repairs is not None:
        raise UsageError("a repair archive needs nothing itself: name the archive that it repairs first")


def need(archive: Archive, held: Mapping[str, Missing], faults: Sequence[FormatError]) -> NeedList:
    """The need-list for the images `held`, by id, when `faults` were found in `archive`."""
    check_needs(archive)
    images = [_needed(image, held[image.id]) for image in archive.images if image.id and image.id in held]
    incomplete = is_incomplete(archive)
    known = tuple(image.id for image in archive.images if image.id and image.id not in held) if incomplete else ()
    return NeedList(
        archive_id=archive.archive_id,
        hash_key=archive.header.hash_key,
        block_size=archive.header.block_size,
        images=tuple(images),
        root=archive.root_digest,
        source=archive.header.source,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        damage=tuple(islice(_damage(archive, faults), _MOST_DAMAGE)),
        incomplete=incomplete,
        known=known,
    )


def is_incomplete(archive: Archive) -> bool:
    """Whether there may be images in `archive` that no record at hand describes."""
    end = archive.ends.get(max(archive.volumes))
    if end is None or not end.final:
        return True
    described = sum(entry.begin is not None for entry in archive.catalog.entries.values())
    return described < end.images


def _needed(image: ArchivedImage, lacking: Missing) -> NeededImage:
    ranges = lacking.ranges or None
    return NeededImage(image.id, image.name, ranges, image.size, image.digest, dict(image.hashes), image.verified)


def _damage(archive: Archive, faults: Sequence[FormatError]) -> Iterator[Damaged]:
    """Where the damage lies, once each; faults of images are no places."""
    numbers = {volume.name: number for number, volume in archive.volumes.items()}
    frames = {(frame.volume, frame.header().payload_offset): frame.number for frame in archive.catalog.frames}
    seen = set()
    for fault in faults:
        number = numbers.get(fault.volume)
        frame = frames.get((number or 0, fault.begin)) if fault.layer in ("frame", "block") else None
        damaged = Damaged(number, fault.volume, fault.begin, fault.end, fault.layer, frame)
        if fault.volume and damaged not in seen:
            seen.add(damaged)
            yield damaged


def check_need_file(path: Path) -> None:
    """Raise unless a need-list can be written to `path`, as `check_replacing` says."""
    check_replacing(path, "need-list", read_need)


def write_need(path: Path, needed: NeedList) -> NeedList:
    """Write the file, and return what is in it: more of images than `needed`, where that would be too large.

    Raises LocalError.
    """
    fitting, data = _packed(needed)
    if len(data) > MAX_SIZE:
        raise LocalError(
            f"{path}: the need-list of {len(needed.images)} images has {len(data)} bytes, the limit is {MAX_SIZE}: "
            "load --need, with some of the images chosen at a time, makes several smaller ones"
        )
    write_output(path, data)
    return fitting


def _packed(needed: NeedList) -> tuple[NeedList, bytes]:
    """The file, if it can be no larger than it may: places of damage are left out, ranges joined to fewer."""
    data = needed.pack()
    if len(data) > MAX_SIZE:
        needed = replace(needed, damage=())
        data = needed.pack()
    most = max((len(image.ranges or ()) for image in needed.images), default=0)
    while len(data) > MAX_SIZE and most > 1:
        most = (most + 1) // 2
        images = (replace(one, ranges=one.ranges and joined(one.ranges, most)) for one in needed.images)
        needed = replace(needed, images=tuple(images))
        data = needed.pack()
    return needed, data


def read_need(path: Path) -> NeedList:
    """The need-list in the file `path`. Raises LocalError, UsageError for what is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from None
    try:
        return NeedList.unpack(data)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
