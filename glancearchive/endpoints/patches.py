"""The parts of images that a need-list names, out of a source and into a repair archive."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from glancearchive.endpoints.archive_target import ArchiveTarget, archivable, recordable
from glancearchive.errors import (
    AccessError,
    ConnectError,
    FormatError,
    ImageFileError,
    LocalError,
    NoDataError,
    ServerError,
    StreamError,
)
from glancearchive.format.archiveheader import FIRST_REPAIR, RepairedName
from glancearchive.format.catalog import PATCH, Entry
from glancearchive.format.identity import peek_header
from glancearchive.format.imageparts import COMPLETE, ImageEnd
from glancearchive.format.needlist import NeededImage, NeedList
from glancearchive.format.places import Places, Split
from glancearchive.format.state import Relation
from glancearchive.format.volume import Volume
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Buffer, Image, Outcome, Progress, Source

_BRIDGED = 1 << 20  # bytes between two ranges that are read along with them


@runtime_checkable
class RangeSource(Protocol):
    """A source that can read a part of an image."""

    serves_ranges: bool
    """Whether that costs less than reading up to it, as far as is known."""

    def read_range(self, image: Image, begin: int, end: int | None) -> Iterator[Buffer]:
        """As `Source.read`, from byte `begin` up to byte `end`."""
        ...


def relation(need: NeedList, path: Path, split: Split | None = None) -> Relation:
    """How the repair archive `path` belongs to the archive that needs it: as it was begun, or as a new one.

    The numbers of a new one begin where neither that archive's nor those of another one that repairs it can be met.
    Raises LocalError when `path`, or a volume of it where it is `split`, was begun as something else.
    """
    for begun in Places(path, split).paths.values():
        with closing(Volume(begun)) as volume:
            header = peek_header(volume)
        if header is not None and (header.repairs is None or header.repairs.archive_id != need.archive_id):
            raise LocalError(f"{begun}: was begun as something else than a repair of archive {need.archive_id.hex()}")
        if header is not None:
            return Relation(header.hash_key, repairs=header.repairs)
    begin = FIRST_REPAIR + (secrets.randbits(26) << 34)
    return Relation(need.hash_key, repairs=RepairedName(need.archive_id, frames=begin, blocks=begin))


class NeededSource:
    """The images of `source` that `need` asks for; implements `Source`.

    Where the far end may not have heard of all images, those come too that it does not name, if `chooses` says so of
    their metadata. Once `images` has come to its end, `lacking` are the images that `source` does not have.
    """

    def __init__(self, source: Source, need: NeedList, chooses: Callable[[Mapping[str, Any]], bool]) -> None:
        self._source = source
        self._need = need
        self._chooses = chooses
        self.lacking: list[NeededImage] = []
        self.label = source.label

    def images(self) -> Iterator[Image]:
        needed = {image.id: image for image in self._need.images}
        known = set(self._need.known)
        for image in self._source.images():
            # All are looked at, for the choice has to know which images there are.
            chosen = self._need.incomplete and self._chooses(image.metadata)
            if needed.pop(image.id, None) is not None or (chosen and image.id not in known):
                yield image
        self.lacking = list(needed.values())

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        return self._source.read(image, offset)


class PatchTarget:
    """Adds to a repair archive what `need` asks for of each image; implements `glancearchive.image.Target`.

    `source` serves the ranges; `wait` is told of the bytes that come, and may take its time. What an earlier run has
    brought in is not read again.
    """

    def __init__(self, writer: ArchiveWriter, need: NeedList, source: Source, wait: Callable[[int], None]) -> None:
        self._writer = writer
        self._needed = {image.id: image for image in need.images}
        self._block_size = need.block_size
        self._source = source
        self._wait = wait
        self._whole = ArchiveTarget(writer, hash_originals=True)
        self.label = f"archive {writer.path}"

    def receive(self, image: Image, source: Source, progress: Progress) -> Outcome:
        """Take `image` in, or what is needed of it. Raises as `ArchiveTarget.receive`."""
        needed = self._needed.get(image.id)
        entry = self._writer.recorded(image.id)
        if entry is not None and _answers(entry, needed):
            return Outcome(image.id, image.name, Action.PRESENT, size=_size(needed, image, self._block_size))
        wrong = "" if needed is None else _difference(image, needed)
        if wrong:
            return Outcome(image.id, image.name, Action.FAILED, wrong)
        if needed is None or needed.ranges is None:
            return self._whole.receive(image, source, progress)
        try:
            return self._patch(image, needed, progress)
        except NoDataError as error:
            return Outcome(image.id, image.name, Action.REFUSED, str(error))
        except (ServerError, FormatError, ImageFileError) as error:
            if isinstance(error, ConnectError) or (isinstance(error, AccessError) and error.status == 401):
                raise
            return Outcome(image.id, image.name, Action.FAILED, str(error))

    def _patch(self, image: Image, needed: NeededImage, progress: Progress) -> Outcome:
        """Record the ranges that are needed. An image that fails is given up."""
        assert needed.ranges is not None
        assert needed.size is not None
        size, block_size = needed.size, self._block_size
        ranges = [(first * block_size, min((first + count) * block_size, size)) for first, count in needed.ranges]
        writer = self._writer.begin(image.id, archivable(recordable(image)[0]), list(image.members))
        try:
            progress.start(image, 0)
            done = 0
            for begin, piece in self._parts(image, ranges):
                self._wait(len(piece))
                writer.write_zeros(begin - writer.size)
                writer.write(piece)
                progress.advance(image, len(piece))
                done += len(piece)
            if done != sum(end - begin for begin, end in ranges):
                raise StreamError(f"reading image {image}: {done} bytes of it came, which is not what was asked for")
            writer.write_zeros(size - writer.size)
        except BaseException as error:
            writer.give_up(str(error) or type(error).__name__)
            raise
        hashes = {name: needed.hashes[name] for name in sorted(needed.hashes)}
        end_map = ImageEnd(COMPLETE, "", size, needed.digest, hashes, needed.verified, patch=needed.ranges)
        writer.finish_patch(end_map)
        return Outcome(image.id, image.name, Action.COPIED, size=sum(end - begin for begin, end in ranges))

    def _parts(self, image: Image, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, Buffer]]:
        """The bytes of `image` in `ranges`, in pieces, each with where it begins."""
        while ranges:
            count = 1
            while count < len(ranges) and self._along(ranges[count][0] - ranges[count - 1][1]):
                count += 1
            wanted, ranges = deque(ranges[:count]), ranges[count:]
            at = wanted[0][0]
            for piece in self._pieces(image, at, wanted[-1][1]):
                stop = at + len(piece)
                while wanted and wanted[0][0] < stop:
                    begin, end = max(wanted[0][0], at), min(wanted[0][1], stop)
                    yield begin, memoryview(piece)[begin - at : end - at]
                    if wanted[0][1] > stop:
                        break
                    wanted.popleft()
                at = stop

    def _along(self, gap: int) -> bool:
        """Whether what is between two ranges is read along with them."""
        return gap <= _BRIDGED or (isinstance(self._source, RangeSource) and not self._source.serves_ranges)

    def _pieces(self, image: Image, begin: int, end: int) -> Iterator[Buffer]:
        """Bytes `begin` to `end` of `image`."""
        if isinstance(self._source, RangeSource):
            yield from self._source.read_range(image, begin, end)
            return
        at = begin
        for piece in self._source.read(image, begin):
            yield memoryview(piece)[: end - at]
            at += len(piece)
            if at >= end:
                return


def _answers(entry: Entry, needed: NeededImage | None) -> bool:
    """Whether what was recorded of an image is what is needed of it, or all of it."""
    if entry.status != PATCH:
        return entry.status == COMPLETE
    return entry.end is not None and needed is not None and entry.end.patch == needed.ranges


def _size(needed: NeededImage | None, image: Image, block_size: int) -> int:
    if needed is None or needed.ranges is None:
        return image.size or 0
    return sum(count for _, count in needed.ranges) * block_size


def _difference(image: Image, needed: NeededImage) -> str:
    """Why the image's data here cannot be those that the archive lacks; "" when nothing is known against it."""
    if image.absent and needed.digest is not None:
        return f"the source has no data of it: {image.absent}"
    if needed.size is not None and image.size not in (None, needed.size):
        return f"the source has {image.size} bytes of it now, the archive had {needed.size}"
    for digest in (*image.digests, *image.held.digests):
        recorded = needed.hashes.get(digest.algorithm)
        if recorded not in (None, digest.value):
            return f"the source has other data now: its {digest} is not the archive's {recorded}"
    return ""
