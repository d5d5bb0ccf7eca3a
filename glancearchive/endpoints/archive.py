"""An archive as the place where images come from or go to."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Iterator, Mapping
from threading import Lock
from typing import Any, Protocol

from glancearchive.errors import (
    AccessError,
    ConnectError,
    FormatError,
    HeldError,
    ImageFileError,
    NoDataError,
    ServerError,
)
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.catalog import PATCH, UNFINISHED, Entry
from glancearchive.format.content import Segment
from glancearchive.format.frameindex import FrameKey
from glancearchive.format.imageparts import COMPLETE, FAILED, IMAGE_ID, NO_DATA
from glancearchive.format.imagewriter import ImageWriter
from glancearchive.format.missing import FrameFaults, Missing, missing
from glancearchive.format.reader import Archive
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Buffer, Digest, Holding, Image, Outcome, Progress, Source
from glancearchive.streamhash import StreamHash, computable

log = logging.getLogger("glancearchive")

# They may hold credentials of the store (SPEC annex A).
_NEVER_ARCHIVED = ("locations", "direct_url")
_STRONGEST = "sha512"
_PLACES = 5  # damaged places that a message names
DEFINITIONS = "glancearchive-metadefs"
"""The id of the entry with metadata definitions, which is no image (SPEC annex A)."""
MAX_DEFINITIONS = 16 << 20
"""Bytes that they take at most (SPEC annex A)."""

_NO_IMAGES = "glancearchive-"  # what ids of entries begin with that are no images
NO_DIGEST = "the source states no digest to compare with"


class DamageMemory(Protocol):
    """What remembers which frames were found damaged."""

    @property
    def suspects(self) -> Collection[FrameKey]:
        """Those that once were: they have to be looked at again."""

    def record_damage(self, frame: FrameKey) -> None:
        """Remember one."""


class ArchiveSource:
    """The images of an archive that can be read with what is at hand; implements `glancearchive.image.Source`."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._by_id = {image.id: image for image in archive.images}
        self.held: dict[str, Missing] = {}  # what is missing of the images that could not be read, by id
        self._fault_of = FrameFaults(archive)
        self._suspects: set[FrameKey] = set()  # frames that are, or once were, damaged
        self._memory: DamageMemory | None = None
        self._lock = Lock()
        self.label = f"archive {archive.volumes[min(archive.volumes)].path}"

    def heed(self, memory: DamageMemory) -> None:
        """Look first at what `memory` knows to have been damaged, and tell it what is."""
        self._memory = memory
        self._suspects |= set(memory.suspects)

    @property
    def faults(self) -> list[str]:
        """What is wrong with the archive's own records, as far as was noticed, a line each."""
        return [str(fault) for fault in self.archive.faults]

    @property
    def stored(self) -> int:
        """Bytes of all its volumes that are at hand."""
        return sum(volume.size for volume in self.archive.volumes.values())

    def images(self) -> Iterator[Image]:
        """All images. Those whose data exist but are not in the archive fail when they are read."""
        for image in self.archive.images:
            if image.id and not image.id.startswith(_NO_IMAGES):
                absent = image.reason if image.status == NO_DATA else ""
                yield Image({**image.metadata, "id": image.id}, image.members, absent, _held(image))

    def definitions(self) -> bytes | None:
        """The JSON document with the metadata definitions, None without one.

        Raises FormatError where it is damaged, or too long.
        """
        image = self._by_id.get(DEFINITIONS)
        if image is None:
            return None
        if (image.size or 0) > MAX_DEFINITIONS:
            raise FormatError(
                f"the metadata definitions are {image.size} bytes, and at most {MAX_DEFINITIONS} are read"
            )
        return b"".join(image.content().chunks(0))

    @property
    def block_size(self) -> int:
        return self.archive.header.block_size

    def footprint(self, image_id: str) -> dict[int, tuple[int, int]]:
        """Of each frame that holds data of an image, by its first block: its stored bytes, and which blocks, as bits.

        No data are read.
        """
        found = dict[int, tuple[int, int]]()
        for frame, begin, count in self._by_id[image_id].frames():
            _, before = found.get(frame.first_block, (0, 0))
            blocks = ((1 << count) - 1) << (begin - frame.first_block)
            found[frame.first_block] = frame.stored_size, before | blocks
        return found

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        """As `Source.read`. Every byte was checked against the digest of its frame before it comes.

        Raises HeldError, which says all that is missing, for an image that is not all here; before the first byte
        where its damage is known, since another image was read or from an earlier load, and still there.
        """
        found = self._by_id[image.id]
        self._hold_suspect(image, found)
        try:
            yield from found.content().chunks(offset)
        except FormatError as error:
            self._hold(image, found)
            if image.id in error.message:
                raise
            # Another one: the same fault may be raised for other images, in other threads.
            message = f"image {image}: {error.message}"
            raise type(error)(message, volume=error.volume, begin=error.begin, end=error.end) from None

    def _hold_suspect(self, image: Image, found: ArchivedImage) -> None:
        """Raises as `_hold` when `image` needs a frame that was found damaged, and is."""
        with self._lock:
            needed = {frame.key: frame for frame, _, _ in found.frames()} if self._suspects else {}
            damaged = any(self._fault_of(needed[key]) is not None for key in self._suspects & needed.keys())
        if damaged:
            self._hold(image, found)

    def _hold(self, image: Image, found: ArchivedImage) -> None:
        """Raises HeldError when some of the data of `image` are damaged or not at hand, and says which."""
        if found.size is None:
            if found.status == UNFINISHED and found.reason:  # its end is in a volume that is not at hand
                raise HeldError(f"image {image} is not all here: {found.reason}")
            return
        with self._lock:
            lacking = missing(found, self.archive.catalog.frames, self._fault_of)
            if lacking:
                self.held[found.id] = lacking
            new, self._suspects = self._fault_of.damaged - self._suspects, self._suspects | self._fault_of.damaged
        if self._memory is not None:
            for frame in new:
                self._memory.record_damage(frame)
        if lacking:
            places = "; ".join(map(str, lacking.faults[:_PLACES]))
            more = f"; and {len(lacking.faults) - _PLACES} more" if len(lacking.faults) > _PLACES else ""
            raise HeldError(f"image {image} is not all here: {places}{more}")


def _held(image: ArchivedImage) -> Holding:
    if image.status in (FAILED, UNFINISHED):
        return Holding(lacking=image.reason or image.status, stored=0)
    digests = tuple(Digest(name, value) for name, value in image.hashes.items())
    # Of all that a Glance had a hash was computed; where there is none, the archive's own digests are all there can be.
    return Holding(digests, stored=image.stored, original=image.status == COMPLETE and not digests)


class ArchiveTarget:
    """Adds images to an archive being written; implements `glancearchive.image.Target`.

    What the archive holds already, from an earlier run, is not read again; an image that was
    interrupted goes on at the byte that was committed. Of images that no Glance ever had there is no hash to compare
    with; with `hash_originals` the one that a Glance would have is recorded all the same.
    """

    def __init__(self, writer: ArchiveWriter, *, hash_originals: bool = False) -> None:
        self._writer = writer
        self._hash_originals = hash_originals
        self.label = f"archive {writer.path}"

    def receive(self, image: Image, source: Source, progress: Progress) -> Outcome:
        """Take `image` in. An image that cannot be read is recorded as such; LocalError and ConnectError are raised."""
        entry = self._writer.recorded(image.id)
        if entry is not None:
            known = self._receive_known(image, entry)
            if known is not None:
                return known
        elif (based := self._writer.in_base(image.id)) is not None:
            known = self._receive_based(image, based)
            if known is not None:
                return known
        outcome = Outcome(image.id, image.name, Action.COPIED)
        if entry is not None and entry.status == UNFINISHED and not image.absent and _same_data(image, entry):
            try:
                if self._receive_data(image, source, progress, outcome, entry):
                    return outcome
            except FormatError as error:
                log.warning("image %s: what the archive has of it cannot be read (%s)", image, error)
            log.warning(
                "image %s: does not continue what the archive has of it; it is read again from its start", image
            )
            outcome = Outcome(image.id, image.name, Action.COPIED)
        self._receive_data(image, source, progress, outcome, None)
        return outcome

    def _receive_known(self, image: Image, entry: Entry) -> Outcome | None:
        """The outcome when all that is to be had of `image` is recorded already, else None."""
        outcome = recorded(image, entry)
        if outcome is not None and outcome.action is Action.UPDATED:
            assert entry.end is not None
            try:
                writer = self._writer.begin(image.id, archivable(image), list(image.members))
            except ValueError as error:
                outcome.action = Action.PRESENT
                outcome.reason = f"its changed metadata cannot be recorded: {error}"
                return outcome
            writer.repeat(entry.extents()[0], entry.end)
        return outcome

    def _receive_based(self, image: Image, entry: Entry) -> Outcome | None:
        """The outcome when the base has the data of `image`, as its `entry` there: it is described anew, else None."""
        outcome = recorded(image, entry)
        if outcome is None or outcome.action is Action.NO_DATA:
            return None
        try:
            writer = self._writer.begin(image.id, archivable(image), list(image.members))
        except ValueError:
            return None  # which is told when it is tried with its data
        assert entry.end is not None
        writer.repeat(entry.extents()[0], entry.end)
        return outcome

    def _receive_data(
        self, image: Image, source: Source, progress: Progress, outcome: Outcome, entry: Entry | None
    ) -> bool:
        """Record `image`, going on with `entry` if given; False when that turned out not to be the same image."""
        try:
            writer = self._begin(image, outcome) if entry is None else None
        except ValueError as error:
            outcome.action, outcome.reason = Action.FAILED, f"cannot be recorded: {error}"
            return True
        if writer is not None and outcome.action is Action.FAILED:
            writer.give_up(outcome.reason)
            return True
        if writer is not None and image.absent:
            return _without(writer, outcome, Action.NO_DATA, image.absent)
        stated = [digest for digest in image.digests if computable(digest.algorithm)][:1]
        algorithms = {digest.algorithm for digest in stated}
        if self._hash_originals or not image.held.original:
            # With only an old MD5 to go by, a strong hash is recorded beside it for those who come after.
            algorithms.add(_STRONGEST)
        with StreamHash(algorithms) as hashes:
            if writer is None:
                assert entry is not None

                def reread(segment: Segment) -> None:
                    _hash_segment(hashes, segment)
                    progress.start(image, segment.position + segment.length)

                writer = self._writer.go_on(entry, image.size, reread)
                log.info("image %s: going on at byte %d", image, writer.size)
            progress.start(image, writer.size)
            try:
                for piece in source.read(image, writer.size):
                    hashes.update(piece)
                    writer.write(piece)
                    progress.advance(image, len(piece))
            except NoDataError as error:
                return _without(writer, outcome, Action.REFUSED, str(error))
            except (ServerError, FormatError, ImageFileError) as error:
                if isinstance(error, ConnectError) or (isinstance(error, AccessError) and error.status == 401):
                    raise
                return _without(writer, outcome, Action.FAILED, str(error))
            found = hashes.hexdigests()
        wrong = _what_is_wrong(image, writer.size, stated, found)
        if wrong:
            _without(writer, outcome, Action.FAILED, wrong)
            return entry is None
        outcome.size = writer.size
        outcome.verified = stated[0].algorithm if stated else ""
        if not (stated or image.held.original):
            outcome.reason = NO_DIGEST
        writer.finish(found, outcome.verified)
        return True

    def _begin(self, image: Image, outcome: Outcome) -> ImageWriter:
        """Begin the entry; with its id alone when the metadata cannot be recorded. Raises ValueError for the id."""
        try:
            return self._writer.begin(image.id, archivable(image), list(image.members))
        except ValueError as error:
            if not IMAGE_ID.fullmatch(image.id):
                raise
            outcome.action, outcome.reason = Action.FAILED, f"its metadata cannot be recorded: {error}"
            return self._writer.begin(image.id, {"id": image.id})


def recorded(image: Image, entry: Entry) -> Outcome | None:
    """The outcome for an image of which `entry` has all that is to be had, if only with older metadata; else None."""
    begin, end = entry.begin, entry.end
    assert begin is not None
    if end is None or entry.status in (FAILED, PATCH):
        return None
    same_metadata = _without_order(begin.metadata) == _without_order(archivable(image))
    same_record = same_metadata and list(begin.members) == list(image.members)
    if end.status == NO_DATA:
        if not (image.absent and same_record):
            return None
        return Outcome(image.id, image.name, Action.NO_DATA, end.reason)
    if image.absent or not _same_data(image, entry):
        return None
    action = Action.PRESENT if same_record else Action.UPDATED
    outcome = Outcome(image.id, image.name, action, "", end.size or 0, end.verified)
    if not (end.verified or image.held.original):
        outcome.reason = NO_DIGEST
    return outcome


def _without_order(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """`metadata` with the tags in order: Glance has them in no order, and each of its processes in another one."""
    tags = metadata.get("tags")
    return {**metadata, "tags": sorted(map(str, tags)) if isinstance(tags, list | tuple) else tags}


def _without(writer: ImageWriter, outcome: Outcome, action: Action, reason: str) -> bool:
    writer.give_up(reason, NO_DATA if action is Action.NO_DATA else FAILED)
    outcome.action, outcome.reason = action, reason
    return True


def _what_is_wrong(image: Image, size: int, stated: list[Digest], found: dict[str, str]) -> str:
    if image.size is not None and size != image.size:
        return f"{size} bytes came, its record says {image.size}"
    for digest in stated:
        if found[digest.algorithm] != digest.value:
            return f"its {digest.algorithm} is {found[digest.algorithm]}, its record says {digest.value}"
    return ""


def _same_data(image: Image, entry: Entry) -> bool:
    """Whether what Glance says of `image` now is what it said of the data that `entry` holds."""
    assert entry.begin is not None
    then = Image(entry.begin.metadata)
    if image.digests and then.digests:
        return image.digests[0] == then.digests[0] and image.size == then.size
    # Without digests: data of an image never change once it is active, and every other change moves updated_at.
    return image.size == then.size and image.metadata.get("updated_at") == then.metadata.get("updated_at")


def _hash_segment(hashes: StreamHash, segment: Segment) -> None:
    if segment.data is not None:
        hashes.update(segment.data)
    else:
        hashes.update_zeros(segment.length)


def archivable(image: Image) -> dict[str, Any]:
    """The metadata of `image` as an archive records it: verbatim, but for what may hold credentials."""
    return {key: copy.copy(value) for key, value in image.metadata.items() if key not in _NEVER_ARCHIVED}
