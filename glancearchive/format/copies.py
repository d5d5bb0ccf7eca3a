"""A volume that is at hand more than once: what is damaged in one copy is read from another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from glancearchive.errors import FormatError, StrangerError
from glancearchive.format.header import RecordHeader
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

    def end_header(self) -> RecordHeader | None:
        return self.copies[0].end_header()

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


def join_copies(copies: Sequence[Volume]) -> tuple[Volume, list[FormatError]]:
    """The files `copies`, each the same volume by its number and archive, as one, and what is wrong with them.

    A copy from before something was added, one that is cut short or unfinished serves as far as it goes. One that went
    another way after they were the same is closed, and is a fault.
    """
    first, *others = sorted(copies, key=lambda copy: (copy.end_header() is None, -copy.size))
    faults: list[FormatError] = []
    same = [first]
    for other in others:
        if _goes_another_way(other, first):
            message = f"is volume {_number(other)} of this archive too, and another one than {first.path}"
            message += ", which is used"
            faults.append(StrangerError(message, volume=str(other.path)))
            other.close()
        else:
            same.append(other)
    return CopiedVolume(same) if len(same) > 1 else first, faults


def _goes_another_way(other: Volume, first: Volume) -> bool:
    """Whether `other` ends in an end record that `first`, which is not shorter, does not have."""
    end = other.end_header()
    if end is None:
        return False
    if (mine := first.end_header()) is not None and mine.offset == end.offset:
        return mine != end
    for item in first.walk(end.archive_id):
        if isinstance(item, FormatError):
            if item.begin <= end.offset < item.end:
                return False  # nobody can tell, and what is taken from the other one has its digests
        elif item[1] == end:
            return False
    return True


def _number(volume: Volume) -> int:
    end = volume.end_header()
    assert end is not None
    return end.volume
