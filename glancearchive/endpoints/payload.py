"""The data of one image on their way into a Glance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property

from glancearchive.errors import GlanceArchiveError, StreamError
from glancearchive.image import Buffer, Image, Progress, Source
from glancearchive.streamhash import StreamHash

_USUAL = "sha512"


class SourceError(Exception):
    """`error` came from the source, not from the Glance that we were talking to."""

    def __init__(self, error: GlanceArchiveError) -> None:
        super().__init__(str(error))
        self.error = error


class Payload:
    """The data of `image`, to be read from `source` as often as it takes, always exactly `size` bytes.

    Whatever the source raises comes out as `SourceError`. `progress` is told of what is
    sent, and of each new start. With `empty` there are none, and the source is not asked.
    """

    def __init__(self, image: Image, source: Source, progress: Progress, *, empty: bool = False) -> None:
        self._image = image
        self._source = source
        self._progress = progress
        self._empty = empty
        self._digests: dict[str, str] = {}

    @cached_property
    def size(self) -> int:
        """Its size; where Glance had not recorded any, the data have to be counted, since an upload declares it."""
        if self._empty:
            return 0
        return sum(len(piece) for piece in self._read()) if self._image.size is None else self._image.size

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Buffer]:
        """The pieces of one upload. Fails before the end rather than let a wrong number of bytes be complete.

        Where nobody knows the digest that a Glance of today will have, it is computed in passing.
        """
        known = {digest.algorithm for digest in (*self._image.digests, *self._image.held.digests)}
        done = 0
        self._progress.start(self._image, 0)
        with StreamHash({_USUAL} - known) as hashes:
            for piece in self._read():
                done += len(piece)
                if done > self.size:
                    break
                self._progress.advance(self._image, len(piece))
                hashes.update(piece)
                yield piece
            found = hashes.hexdigests()
        if done != self.size:
            amount = "more than" if done > self.size else f"{done} of"
            raise SourceError(StreamError(f"{self._source.label} gave {amount} the {self.size} bytes of {self._image}"))
        self._digests |= found

    def head(self, length: int) -> bytes:
        """The first `length` bytes, or all there are."""
        head = bytearray()
        for piece in self._read():
            head += piece[: length - len(head)]
            if len(head) == length:
                break
        return bytes(head)

    def digest(self, algorithm: str) -> str:
        """The data's digest in hex; they are read for it once."""
        if algorithm not in self._digests:
            found = hashlib.new(algorithm, usedforsecurity=False)
            for piece in self._read():
                found.update(piece)
            self._digests[algorithm] = found.hexdigest()
        return self._digests[algorithm]

    def _read(self) -> Iterator[Buffer]:
        if self._empty:
            return
        try:
            yield from self._source.read(self._image)
        except GlanceArchiveError as error:
            raise SourceError(error) from error
