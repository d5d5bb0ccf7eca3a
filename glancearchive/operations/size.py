"""How much the images of a place are: as Glance counts, as they are stored, and as an archive would take up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from glancearchive.endpoints.archive_source import ArchiveSource
from glancearchive.image import Image, Source
from glancearchive.operations.select import Selection


@dataclass(slots=True)
class ImageSize:
    """One image, in bytes.

    `size` is as Glance counts, 0 where there are no data, None where nobody says. `needs` is what it adds to an
    archive, or would add at most, None where `size` is.
    """

    id: str
    name: str
    created: str
    size: int | None
    stored: int | None
    needs: int | None
    fits: bool | None = None


class Basis(StrEnum):
    """What is known of the archive that images need."""

    EXACT = "exact"  # it is there
    ADDED = "added"  # what they added to the archive they are in; what images share counts for the first that had it
    BOUND = "bound"  # no more than that


@dataclass(slots=True)
class Sizes:
    """The images of a place. `overhead` is what an archive takes besides its images."""

    images: list[ImageSize]
    overhead: int
    basis: Basis

    @property
    def size(self) -> int:
        return sum(image.size or 0 for image in self.images)

    @property
    def unknown(self) -> int:
        """Images that have data, nobody says how much."""
        return sum(image.size is None for image in self.images)

    @property
    def stored(self) -> int | None:
        """Bytes at the place itself; None when it does not say so of each image."""
        known = [image.stored for image in self.images if image.stored is not None]
        return self.overhead + sum(known) if len(known) == len(self.images) else None

    @property
    def needs(self) -> int:
        """Bytes of an archive of these images."""
        return self.overhead + sum(image.needs or 0 for image in self.images)


def upper_bound(size: int) -> int:
    """Bytes that an archive takes at most for one image of `size` bytes, however little it compresses.

    Block digests make 0.4 percent, the rest are records; twice of both is taken. Metadata of the usual size are in it.
    """
    return size + size // 100 + (1 << 14)


def measure(source: Source, selection: Selection, archive: int | None = None) -> Sizes:
    """Measure the images that `selection` chooses. `archive` are the bytes of the archive that they are in, if any."""
    images: list[ImageSize] = []
    data = 0
    for image in source.images():
        data += image.held.stored or 0
        if selection.chooses(image.metadata):
            images.append(_measured(image, archived=archive is not None))
    if archive is None:
        return Sizes(images, 0, Basis.BOUND)
    if len(images) < selection.seen:
        return Sizes(images, 0, Basis.ADDED)
    return Sizes(images, archive - data, Basis.EXACT)


def fill(sizes: Sizes, medium: int, archive: ArchiveSource | None = None) -> int:
    """Say of each image whether it goes onto a medium of so many bytes; returns the bytes that those take at most.

    Oldest first. One that is too large is left out, and later ones may still fit. `archive` is what the images are in,
    if any: what one has added there says nothing of what it takes without the others that it shares data with.
    """
    if sizes.basis is Basis.EXACT and sizes.needs <= medium:
        for image in sizes.images:
            image.fits = True
        return sizes.needs
    taken, used = 0, _Used(archive) if archive else None
    for image in sorted(sizes.images, key=lambda image: (image.created, image.id)):
        needs = upper_bound(used.added_by(image.id)) if used else image.needs
        image.fits = needs is not None and taken + needs <= medium
        if image.fits:
            taken += needs or 0
            if used:
                used.add(image.id)
    return taken


class _Used:
    """Which blocks of which frames of an archive some images need.

    Of a frame that is all of it at most, and no more than these blocks, as if nothing compressed.
    """

    def __init__(self, archive: ArchiveSource) -> None:
        self._archive = archive
        self._blocks: dict[int, int] = {}

    def added_by(self, image_id: str) -> int:
        """Stored bytes that an image takes besides what is used already."""
        size, more = self._archive.block_size, 0
        for number, (stored, blocks) in self._archive.footprint(image_id).items():
            used = self._blocks.get(number, 0)
            more += min(stored, (used | blocks).bit_count() * size) - min(stored, used.bit_count() * size)
        return more

    def add(self, image_id: str) -> None:
        for number, (_, blocks) in self._archive.footprint(image_id).items():
            self._blocks[number] = self._blocks.get(number, 0) | blocks


def _measured(image: Image, *, archived: bool) -> ImageSize:
    size = 0 if image.absent else image.size
    stored = image.held.stored
    needs = stored if archived else None if size is None else upper_bound(size)
    return ImageSize(image.id, image.name, str(image.metadata.get("created_at") or ""), size, stored, needs)
