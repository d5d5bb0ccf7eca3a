"""A volume that is at hand more than once: what is damaged in one copy is read from another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from glancearchive.errors import FormatError, StrangerError
from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.identity import IdentifiedVolume
from glancearchive.format.volume import Volume

log = logging.getLogger("glancearchive")

T = TypeVar("T")


class CopiedVolume(Volume):
    """The copies of one volume as one volume, which they belong to from then on. Safe in several threads.

    The first of them is meant wherever one file has to be; the others serve where it is damaged, cut, or not to be
    read. Each time a copy has made good another one that is told in the log, once.
    """

    def __init__(self, copies: Sequence[Volume]) -> None:
        self.copies = copies
        self.path, self.name, self.size = copies[0].path, copies[0].name, copies[0].size
        self._told: set[str] = set()

    def close(self) -> None:
        for copy in self.copies:
            copy.close()

    def read_at(self, offset: int, size: int) -> bytes:
        return self._first_whole(lambda copy: copy.read_at(offset, size))

    def read_header(self, offset: int) -> RecordHeader:
        return self._first_whole(lambda copy: copy.read_header(offset))

    def read_payload(self, header: RecordHeader) -> memoryview:
        return self._first_whole(lambda copy: copy.read_payload(header))

    def find_whole(self, headers: Sequence[RecordHeader], stopped: Callable[[], bool]) -> list[bool]:
        return self.copies[0].find_whole(headers, stopped)  # the others are asked for what was not seen in this one

    def end_header(self) -> RecordHeader | None:
        return self.copies[0].end_header()

    def find_header(self, begin: int, archive_id: bytes | None, end: int | None = None) -> int:
        end = self.size if end is None else min(end, self.size)
        found = ((copy.find_header(begin, archive_id, end), copy.size) for copy in self.copies)
        return min((at for at, size in found if at < size), default=self.size)

    def _first_whole(self, read: Callable[[Volume], T]) -> T:
        """What the first copy gives that gives anything; else the error of the first of all is raised."""
        first: FormatError | OSError | None = None
        for copy in self.copies:
            try:
                found = read(copy)
            except (FormatError, OSError) as error:
                first = first or error
                continue
            if isinstance(first, FormatError) and str(first) not in self._told:
                self._told.add(str(first))
                log.warning("%s [%s]; read from %s", first, first.layer, copy.path)
            return found
        assert first is not None
        raise first


def join_copies(copies: Sequence[IdentifiedVolume]) -> tuple[IdentifiedVolume, list[FormatError]]:
    """The files `copies`, each the same volume of the same archive, as one, and what is wrong with them.

    A copy from before something was added, one that is cut short or unfinished serves as far as it goes. One that went
    another way after they were the same is closed, and is a fault.
    """
    if len(copies) == 1:
        return copies[0], []
    first, *others = _in_order(copies)
    faults: list[FormatError] = []
    same = [first.volume]
    for other in others:
        if _goes_another_way(other, first.volume):
            message = f"is volume {first.number} of this archive too, and another one than {first.volume.path}"
            message += ", which is used"
            faults.append(StrangerError(message, volume=str(other.volume.path)))
            other.volume.close()
        else:
            same.append(other.volume)
    if len(same) > 1:
        first.volume = CopiedVolume(same)  # what is found damaged in it from now on is made good
    return first, faults


def _in_order(copies: Sequence[IdentifiedVolume]) -> list[IdentifiedVolume]:
    """The one that is meant first: the longest that is finished, or one that goes on behind it with more records."""
    ordered = sorted(copies, key=lambda copy: (copy.end_copy is None, -copy.volume.size))
    finished = ordered[0]
    if finished.end_copy is None:
        return ordered
    for copy in ordered:
        volume = copy.volume
        if copy.end_copy is None and volume.find_header(finished.volume.size, copy.archive_id) < volume.size:
            return [copy, *(one for one in ordered if one is not copy)]
    return ordered


def _goes_another_way(other: IdentifiedVolume, first: Volume) -> bool:
    """Whether the last that `other` commits is not in `first`: its last end record, or checkpoint if it is unfinished.

    An end record without its copy commits nothing that the checkpoint before it does not, and is written anew.
    """
    last = other.end_copy or _last_checkpoint(other.volume, other.archive_id)
    if last is None:
        return False
    with suppress(FormatError):
        if first.read_header(last.offset) == last:
            return False
    for item in first.walk(other.archive_id):
        if isinstance(item, FormatError) and item.begin <= last.offset < item.end:
            return False  # nobody can tell, and what is taken from the other one has its digests
    return True


def _last_checkpoint(volume: Volume, archive_id: bytes) -> RecordHeader | None:
    """The last checkpoint of `volume` that is whole."""
    last: RecordHeader | None = None
    for item in volume.walk(archive_id):
        if isinstance(item, FormatError) or item[1].type != RecordType.CHECKPOINT:
            continue
        with suppress(FormatError):
            volume.read_payload(item[1])
            last = item[1]
    return last
