"""An archive as the place where images go to."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from glancearchive.endpoints import policy
from glancearchive.errors import AccessError, ConnectError, FormatError, ImageFileError, NoDataError, ServerError
from glancearchive.format.catalog import PATCH, UNFINISHED, Entry
from glancearchive.format.content import Segment
from glancearchive.format.encoding import pack
from glancearchive.format.imageparts import FAILED, IMAGE_ID, NO_DATA
from glancearchive.format.imagewriter import ImageWriter
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Digest, Image, Outcome, Progress, Source
from glancearchive.streamhash import StreamHash, computable

log = logging.getLogger("glancearchive")

# They may hold credentials of the store (SPEC annex A).
_NEVER_ARCHIVED = ("locations", "direct_url")
_STRONGEST = "sha512"
NO_DIGEST = "the source states no digest to compare with"


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
        """Take `image` in. An image that cannot be read is recorded as such; LocalError and ConnectError are raised.

        Of metadata that an archive cannot have it is told; the rest are recorded without.
        """
        image, lost = recordable(image)
        outcome = self._receive(image, source, progress)
        outcome.dropped += lost
        return doubted(outcome, image)

    def _receive(self, image: Image, source: Source, progress: Progress) -> Outcome:
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
        """Begin the entry; with Glance's own fields alone, or its id, where all metadata are too much.

        Raises ValueError for the id.
        """
        try:
            return self._writer.begin(image.id, archivable(image), list(image.members))
        except ValueError as error:
            if not IMAGE_ID.fullmatch(image.id):
                raise
            outcome.action, outcome.reason = Action.FAILED, f"its metadata cannot be recorded: {error}"
            own = {key: value for key, value in archivable(image).items() if not policy.rule_for(key).custom}
            try:
                return self._writer.begin(image.id, own)
            except ValueError:
                return self._writer.begin(image.id, {"id": image.id})


def recordable(image: Image) -> tuple[Image, list[str]]:
    """`image` with what an archive can have of its metadata, and a line for each field that it cannot have.

    That is one broken property, as a rule: a string with half a surrogate pair.
    """
    if not _refusal(image.metadata):
        return image, []
    refusals = {key: _refusal({key: value}) for key, value in image.metadata.items() if key != "id"}
    metadata = {key: value for key, value in image.metadata.items() if not refusals.get(key)}
    lost = [f"{key}: cannot be recorded: {why}" for key, why in refusals.items() if why]
    return replace(image, metadata=metadata), lost


def doubted(outcome: Outcome, image: Image) -> Outcome:
    """`outcome`, with what is to be said of an `image` that is half-loaded where it comes from."""
    if doubt := policy.unfinished(image):
        outcome.reason = "; ".join(filter(None, (outcome.reason, doubt)))
        outcome.doubtful = True
    return outcome


def _refusal(metadata: Mapping[str, Any]) -> str:
    """Why the format cannot express them, "" when it can."""
    try:
        pack({"images": [{"begin": {"metadata": metadata}}]})  # as deep as it will be in the archive
    except ValueError as error:
        return str(error)
    return ""


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
