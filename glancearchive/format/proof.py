"""Proves an image against its digest while its bytes pass by."""

from __future__ import annotations

from glancearchive.errors import ImageError
from glancearchive.format.content import Segment
from glancearchive.format.hashing import ImageDigest, block_digests
from glancearchive.format.reader import ArchivedImage


def digest_segment(digest: ImageDigest, segment: Segment, key: bytes, block_size: int) -> None:
    """Add `segment` to an image digest; all but an image's last segment must be whole blocks."""
    if segment.data is None:
        digest.zeros(-(-segment.length // block_size))
        return
    whole = segment.length - segment.length % block_size
    data = memoryview(segment.data)
    digest.data(block_digests(key, data[:whole], block_size))
    if whole < segment.length:
        last = bytes(data[whole:]).ljust(block_size, b"\0")
        digest.data(block_digests(key, memoryview(last), block_size))


class ImageProof:
    """Give it all segments of `image` in order, then `check`."""

    def __init__(self, image: ArchivedImage) -> None:
        self._image = image
        self._digest = ImageDigest()

    def add(self, segment: Segment) -> None:
        """The next segment, as they come from `Content.segments` from byte 0 on."""
        digest_segment(self._digest, segment, self._image.hash_key, self._image.block_size)

    def check(self) -> None:
        """Raises ImageError unless all that was added is the image that was archived."""
        assert self._image.size is not None
        found = self._digest.digest(self._image.size)
        if found != self._image.digest:
            expected = self._image.digest.hex() if self._image.digest else "none"
            raise ImageError(f"image {self._image.id}: its digest is {found.hex()}, recorded is {expected}")
