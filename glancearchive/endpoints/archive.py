"""An archive as the place where images come from or go to."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from glancearchive.errors import (
    AccessError,
    ConnectError,
    FormatError,
    NoDataError,
    ServerError,
)
from glancearchive.format.imagewriter import ImageWriter
from glancearchive.format.reader import Archive, ArchivedImage
from glancearchive.format.schema import FAILED, IMAGE_ID, NO_DATA
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Buffer, Digest, Image, Outcome, Progress, Source
from glancearchive.streamhash import StreamHash, computable

# They may hold credentials of the store (SPEC annex A).
_NEVER_ARCHIVED = ("locations", "direct_url")
_STRONGEST = "sha512"


class ArchiveSource:
    """The images of an archive that can be read with what is at hand; implements `glancearchive.image.Source`."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._by_id = {image.id: image for image in archive.images}
        self.label = f"archive {archive.volumes[min(archive.volumes)].path}"

    def images(self) -> Iterator[Image]:
        """All images. Those whose data exist but are not in the archive fail when they are read."""
        for image in self._archive.images:
            if image.id:
                yield Image(dict(image.metadata), image.members, self._absent(image))

    @staticmethod
    def _absent(image: ArchivedImage) -> str:
        """Why the image has no data anywhere; "" when it has some, be they here or not."""
        had_data = image.metadata.get("status") in ("active", "deactivated") and image.metadata.get("size")
        return image.reason if image.status == NO_DATA and not had_data else ""

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        """As `Source.read`. Every byte was checked against the digest of its frame before it comes."""
        found = self._by_id[image.id]
        try:
            yield from found.content().chunks(offset)
        except FormatError as error:
            error.message = f"image {image}: {error.message}"
            raise


class ArchiveTarget:
    """Adds images to an archive being written; implements `glancearchive.image.Target`."""

    def __init__(self, writer: ArchiveWriter) -> None:
        self._writer = writer
        self.label = f"archive {writer.path}"

    def receive(self, image: Image, source: Source, progress: Progress) -> Outcome:
        """Take `image` in. An image that cannot be read is recorded as such; LocalError and ConnectError are raised."""
        outcome = Outcome(image.id, image.name, Action.COPIED)
        try:
            writer = self._begin(image, outcome)
        except ValueError as error:
            return Outcome(image.id, image.name, Action.FAILED, f"cannot be recorded: {error}")
        if outcome.action is Action.FAILED:
            writer.give_up(outcome.reason)
            return outcome
        if image.absent:
            return self._without(writer, outcome, Action.NO_DATA, image.absent)
        stated = [digest for digest in image.digests if computable(digest.algorithm)]
        # With only an old MD5 to go by, a strong hash is recorded beside it for those who come after.
        algorithms = {digest.algorithm for digest in stated[:1]} | {_STRONGEST}
        with StreamHash(algorithms) as hashes:
            try:
                for piece in source.read(image):
                    hashes.update(piece)
                    writer.write(piece)
                    progress.advance(image, len(piece))
            except NoDataError as error:
                return self._without(writer, outcome, Action.REFUSED, str(error))
            except (ServerError, FormatError) as error:
                if isinstance(error, ConnectError) or (isinstance(error, AccessError) and error.status == 401):
                    raise
                return self._without(writer, outcome, Action.FAILED, str(error))
            found = hashes.hexdigests()
        return self._finish(image, writer, outcome, stated[:1], found)

    def _finish(
        self, image: Image, writer: ImageWriter, outcome: Outcome, stated: list[Digest], found: dict[str, str]
    ) -> Outcome:
        if image.size is not None and writer.size != image.size:
            reason = f"{writer.size} bytes came, its record says {image.size}"
            return self._without(writer, outcome, Action.FAILED, reason)
        for digest in stated:
            if found[digest.algorithm] != digest.value:
                reason = f"its {digest.algorithm} is {found[digest.algorithm]}, its record says {digest.value}"
                return self._without(writer, outcome, Action.FAILED, reason)
            outcome.verified = digest.algorithm
        if not outcome.verified:
            outcome.reason = "the source states no digest to compare with"
        outcome.size = writer.size
        writer.finish(found, outcome.verified)
        return outcome

    def _begin(self, image: Image, outcome: Outcome) -> ImageWriter:
        """Begin the entry; with its id alone when the metadata cannot be recorded. Raises ValueError for the id."""
        metadata = archivable(image)
        try:
            return self._writer.begin(image.id, metadata, image.members)
        except ValueError as error:
            if not IMAGE_ID.fullmatch(image.id):
                raise
            outcome.action, outcome.reason = Action.FAILED, f"its metadata cannot be recorded: {error}"
            return self._writer.begin(image.id, {"id": image.id})

    @staticmethod
    def _without(writer: ImageWriter, outcome: Outcome, action: Action, reason: str) -> Outcome:
        writer.give_up(reason, FAILED if action is Action.FAILED else NO_DATA)
        outcome.action, outcome.reason = action, reason
        return outcome


def archivable(image: Image) -> dict[str, Any]:
    """The metadata of `image` as an archive records it: verbatim, but for what may hold credentials."""
    return {key: copy.copy(value) for key, value in image.metadata.items() if key not in _NEVER_ARCHIVED}
