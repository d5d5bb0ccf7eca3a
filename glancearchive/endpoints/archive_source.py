"""An archive as the place where images come from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from threading import Lock
from typing import Protocol

from glancearchive.errors import FormatError, HeldError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.catalog import UNFINISHED
from glancearchive.format.frameindex import FrameKey
from glancearchive.format.imageparts import COMPLETE, FAILED, NO_DATA
from glancearchive.format.missing import FrameFaults, Missing, missing
from glancearchive.format.reader import Archive
from glancearchive.image import Buffer, Digest, Holding, Image

_PLACES = 5  # damaged places that a message names
DEFINITIONS = "glancearchive-metadefs"
"""The id of the entry with metadata definitions, which is no image (SPEC annex A)."""
MAX_DEFINITIONS = 16 << 20
"""Bytes that they take at most (SPEC annex A)."""

_NO_IMAGES = "glancearchive-"  # what ids of entries begin with that are no images


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

    @property
    def has_definitions(self) -> bool:
        """Whether there are metadata definitions."""
        return DEFINITIONS in self._by_id

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

    def holds(self, image_id: str) -> str:
        """Why not all of an image's data can be had, "" as far as the records at hand tell. No data are read."""
        found = self._by_id[image_id]
        if found.size is None:
            return _no_end(found)
        return "; ".join(found.faults()[:_PLACES])

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
            if reason := _no_end(found):
                raise HeldError(f"{not_all_here(image)}: {reason}")
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
            texts = (str(fault).removeprefix(f"image {found.id}: ") for fault in lacking.faults[:_PLACES])
            places = "; ".join(texts)
            more = f"; and {len(lacking.faults) - _PLACES} more" if len(lacking.faults) > _PLACES else ""
            raise HeldError(f"{not_all_here(image)}: {places}{more}")


def not_all_here(image: Image) -> str:
    """How the reason begins for which an image is held."""
    return f"image {image} is not all here"


def _no_end(image: ArchivedImage) -> str:
    """Where the end of an unfinished image is, when it is in a volume that is not at hand; else ""."""
    return image.reason if image.status == UNFINISHED else ""


def _held(image: ArchivedImage) -> Holding:
    if image.status in (FAILED, UNFINISHED):
        return Holding(lacking=image.reason or image.status, stored=0)
    digests = tuple(Digest(name, value) for name, value in image.hashes.items())
    # Of all that a Glance had a hash was computed; where there is none, the archive's own digests are all there can be.
    return Holding(digests, stored=image.stored, original=image.status == COMPLETE and not digests)
