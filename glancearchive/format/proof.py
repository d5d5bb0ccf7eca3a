"""Proves an image against its digest while its bytes pass by."""

from __future__ import annotations

from glancearchive.errors import ImageError
from glancearchive.format.content import Segment
from glancearchive.format.hashing import ImageDigest, block_digests
from glancearchive.format.reader import ArchivedImage


class ImageProof:
    """Give it all segments of `image` in order, then `check`."""

    def __init__(self, image: ArchivedImage) -> None:
        self._image = image
        self._digest = ImageDigest()
        self._key = image.hash_key
        self._block_size = image.block_size

    def add(self, segment: Segment) -> None:
        """The next segment; all but the last are whole blocks, as they come from `Content.segments` from byte 0 on."""
        if segment.data is None:
            self._digest.zeros(-(-segment.length // self._block_size))
            return
        whole = segment.length - segment.length % self._block_size
        data = memoryview(segment.data)
        self._digest.data(block_digests(self._key, data[:whole], self._block_size))
        if whole < segment.length:
            last = bytes(data[whole:]).ljust(self._block_size, b"\0")
            self._digest.data(block_digests(self._key, memoryview(last), self._block_size))

    def check(self) -> None:
        """Raises ImageError unless all that was added is the image that was archived."""
        assert self._image.size is not None
        found = self._digest.digest(self._image.size)
        if found != self._image.digest:
            expected = self._image.digest.hex() if self._image.digest else "none"
            raise ImageError(f"image {self._image.id}: its digest is {found.hex()}, recorded is {expected}")
