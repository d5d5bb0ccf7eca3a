"""Proves an image against its digest while its bytes pass by."""

from __future__ import annotations

from typing import BinaryIO

from glancearchive.errors import ImageError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.content import Segment
from glancearchive.format.hashing import ImageDigest, block_digests, scan_blocks

_PIECE = 1 << 20  # bytes read at once; a multiple of every block size


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


def is_image(image: ArchivedImage, file: BinaryIO) -> bool:
    """Whether what is to be read from `file` are the bytes of `image`, by its digest. Raises OSError."""
    digest = ImageDigest()
    size, piece = 0, memoryview(bytearray(_PIECE))
    while count := _fill(file, piece):
        size += count
        whole = -(-count // image.block_size) * image.block_size
        piece[count:whole] = bytes(whole - count)
        digest.blocks(*scan_blocks(image.hash_key, piece[:whole], image.block_size))
    return size == image.size and digest.digest(size) == image.digest


def _fill(file: BinaryIO, piece: memoryview) -> int:
    """Read until `piece` is full or the file ends."""
    at = 0
    while at < len(piece) and (count := file.readinto(piece[at:])):  # type: ignore[attr-defined]
        at += count
    return at
