"""A source whose data are checked on their way, for targets that keep what they were sent."""

from __future__ import annotations

from collections.abc import Iterator

from glancearchive.endpoints.location import LocatedSource
from glancearchive.errors import StreamError
from glancearchive.image import Buffer, Image
from glancearchive.streamhash import StreamHash, computable


class CheckedSource:
    """The images of `source`, whose bytes nobody checked yet; implements `LocatedSource`.

    The last piece of an image is handed out only when the whole has the digest that its Glance stated. So an upload of
    other data ends before it is whole: the target keeps nothing of it, and the image's id is not spent on it.
    """

    def __init__(self, source: LocatedSource) -> None:
        self._source = source
        self.label = source.label

    @property
    def faults(self) -> list[str]:
        return list(self._source.faults)

    def images(self) -> Iterator[Image]:
        return self._source.images()

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        """As `Source.read`. Raises StreamError before the end of data that are not what they should be.

        Where no digest is stated, or it begins within the image, there is nothing to compare with.
        """
        stated = next((digest for digest in image.digests if computable(digest.algorithm)), None)
        if stated is None or offset:
            yield from self._source.read(image, offset)
            return
        with StreamHash([stated.algorithm]) as hashes:
            last: Buffer = b""
            for piece in self._source.read(image):
                hashes.update(piece)
                if last:
                    yield last
                last = piece
            found = hashes.hexdigests()[stated.algorithm]
        if found != stated.value:
            raise StreamError(
                f"reading image {image} from {self.label}: its {stated.algorithm} is {found}, its record says "
                f"{stated.value}: its data are damaged there, or on the way"
            )
        if last:
            yield last
