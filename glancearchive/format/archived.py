"""One image in an archive that is open: what is known of it, and its bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from glancearchive.errors import ImageError
from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.catalog import Catalog, Entry, check_extents
from glancearchive.format.content import Content, FrameCache, ImageFile
from glancearchive.format.frameindex import Frame
from glancearchive.format.header import MAX_VOLUMES
from glancearchive.format.imageparts import ZEROS, ImageEnd

_NO_END = ImageEnd("")


class OpenArchive(Protocol):
    """What an image needs of its archive."""

    header: ArchiveHeader
    catalog: Catalog
    cache: FrameCache

    def load_extents(self) -> None:
        """Read the extents of all images, if that was put off."""


class ArchivedImage:
    """One image in an archive. There may be very many: what is not asked for is not kept decoded."""

    __slots__ = ("_archive", "entry")

    def __init__(self, archive: OpenArchive, entry: Entry) -> None:
        self._archive = archive
        self.entry = entry

    @property
    def _end(self) -> ImageEnd:
        return self.entry.end or _NO_END

    @property
    def number(self) -> int:
        """Its number in the archive."""
        return self.entry.number

    @property
    def id(self) -> str:
        return self.entry.id

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The image's metadata, verbatim."""
        return self.entry.begin.metadata if self.entry.begin is not None else {}

    @property
    def members(self) -> tuple[Mapping[str, Any], ...]:
        """Its member records, verbatim."""
        return self.entry.begin.members if self.entry.begin is not None else ()

    @property
    def name(self) -> str:
        """The image's name, "" when it has none."""
        return str(self.metadata.get("name") or "")

    @property
    def status(self) -> str:
        """``complete``, ``no-data``, ``failed`` or ``unfinished``."""
        return self.entry.status

    @property
    def reason(self) -> str:
        """Why there is no data ("" when the status is ``complete``)."""
        frames = self._archive.catalog.frames
        if self.entry.end is None and (lacking := frames.elsewhere_within(self.entry.seen[1], MAX_VOLUMES)):
            return f"how it goes on is {lacking}"
        return self._end.reason

    @property
    def size(self) -> int | None:
        """Bytes of the image; None unless the status is ``complete``."""
        return self._end.size

    @property
    def digest(self) -> bytes | None:
        """The image digest, 32 bytes; None unless the status is ``complete``."""
        return self._end.digest

    @property
    def hashes(self) -> Mapping[str, str]:
        """Hashes of the whole image computed when it was archived: algorithm to lower-case hex."""
        return self._end.hashes

    @property
    def verified(self) -> str:
        """The algorithm whose value the source confirmed; "" when it had stated none."""
        return self._end.verified

    @property
    def stored(self) -> int:
        """Bytes this image added to the archive, compressed."""
        return self._end.stored

    @property
    def hash_key(self) -> bytes:
        """The key of the archive's block digests."""
        return self._archive.header.hash_key

    @property
    def block_size(self) -> int:
        """The size of the archive's blocks in bytes."""
        return self._archive.header.block_size

    def faults(self) -> list[str]:
        """What the volumes at hand do not say of the image, or say wrongly; nothing but extents is read to find out."""
        self._archive.load_extents()
        if self.entry.begin is None:
            return [f"what it is, is said {self._archive.catalog.frames.elsewhere}"]
        if self.entry.end is None and self.reason:
            return [self.reason]
        return check_extents(self.entry, self._archive.catalog.frames, self.block_size)

    def content(self) -> Content:
        """The image's bytes. Raises ImageError when the image has none, or not all of them."""
        if self.size is None:
            raise ImageError(f"image {self.id} has no data here: {self.reason or self.status}")
        faults = self.faults()
        if faults:
            raise ImageError(f"image {self.id} is not all here: {faults[0]}")
        extents, _ = self.entry.extents()
        return Content(self.size, extents, self._archive.catalog.frames, self._archive.cache, self.block_size)

    def frames(self) -> Iterator[tuple[Frame, int, int]]:
        """The frames at hand with data of it, each with the first of these blocks and how many; some more than once."""
        self._archive.load_extents()
        extents, _ = self.entry.extents()
        for start, count in extents[extents[:, 0] != ZEROS].tolist():
            at, end = start, start + count
            while at < end and (frame := self._archive.catalog.frames.find(at)) is not None:
                until = min(frame.first_block + frame.blocks, end)
                yield frame, at, until - at
                at = until

    def open(self) -> io.BufferedReader:
        """The image as a seekable binary file, checked as it is read. Raises as `content`."""
        return io.BufferedReader(ImageFile(self.content(), self.id), 1 << 18)
