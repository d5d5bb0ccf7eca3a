"""The files that were given to be read together: volumes of one archive, and of others that it needs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from glancearchive.errors import FormatError, MisnamedError, StrangerError, UnsupportedError
from glancearchive.format.archiveheader import ArchiveHeader, BaseName
from glancearchive.format.copies import CopiedVolume, join_copies
from glancearchive.format.identity import IdentifiedVolume
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import volume_number


class GivenVolumes:
    """The volumes at `paths`, by archive; a context manager that closes those that nobody took.

    `asked` is the id of the archive that is meant: the first one given that no other one names as what it is read
    with. A volume that is there more than once is one, a `CopiedVolume`. `faults` are files that are no volumes, or are
    others than those of the same number. Raises the first fault when there is no volume at
    all, UnsupportedError for a volume of a newer version, LocalError for a file that cannot be opened.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        self.faults: list[FormatError] = []
        self._archives: dict[bytes, dict[int, IdentifiedVolume]] = {}
        opened: dict[tuple[bytes, int], list[IdentifiedVolume]] = {}
        self._repairs: list[tuple[bytes, bytes]] = []  # ids: of what is repaired, of what repairs it
        try:
            for path in paths:
                self._open(path, opened)
            if not opened:
                raise self.faults[0]
        except BaseException:
            for one in chain.from_iterable(opened.values()):
                one.volume.close()
            raise
        _tell_apart([one.volume for one in chain.from_iterable(opened.values())])
        for (archive_id, number), copies in opened.items():
            self._archives.setdefault(archive_id, {})[number], faults = join_copies(copies)
            self.faults += faults
        self.asked = self._find_asked()

    def _open(self, path: str | os.PathLike[str], opened: dict[tuple[bytes, int], list[IdentifiedVolume]]) -> None:
        volume = Volume(path)
        try:
            one = IdentifiedVolume(volume)
            opened.setdefault((one.archive_id, one.number), []).append(one)
        except FormatError as error:
            volume.close()
            if isinstance(error, UnsupportedError):
                raise
            self.faults.append(error)

    def _find_asked(self) -> bytes:
        needed: set[bytes] = set()
        if len(self._archives) > 1:
            for archive_id, volumes in self._archives.items():
                header = next(filter(None, (one.peek() for one in volumes.values())), None)
                if header is not None and header.base is not None and header.base.archive_id != archive_id:
                    needed.add(header.base.archive_id)
                if (
                    header is not None
                    and header.repairs is not None
                    and header.repairs.archive_id in self._archives
                    and header.repairs.archive_id != archive_id
                ):
                    self._repairs.append((header.repairs.archive_id, archive_id))
                    needed.add(archive_id)
        return next((one for one in self._archives if one not in needed), next(iter(self._archives)))

    @property
    def archive_ids(self) -> list[bytes]:
        """The archives whose volumes were not taken, in the order given."""
        return list(self._archives)

    def __contains__(self, archive_id: bytes) -> bool:
        return archive_id in self._archives

    def repairing(self, archive_id: bytes) -> list[bytes]:
        """The ids of the repair archives for this one, in the order they were given."""
        return [repair for repaired, repair in self._repairs if repaired == archive_id and repair in self._archives]

    def take(self, archive_id: bytes) -> tuple[dict[int, IdentifiedVolume], list[FormatError]]:
        """The volumes of an archive by number, which belong to the caller from then on, and what their names say wrong.

        Raises KeyError when there are none, or they were taken.
        """
        volumes, faults = self._archives.pop(archive_id), list[FormatError]()
        files = [
            (number, one)
            for number, known in volumes.items()
            for one in (known.volume.copies if isinstance(known.volume, CopiedVolume) else [known.volume])
        ]
        for number, one in files if len(files) > 1 else ():
            if volume_number(one.path) not in (None, number):
                faults.append(MisnamedError(f"is volume {number} by what it says", volume=one.name))
        return volumes, faults

    def left(self) -> Iterator[IdentifiedVolume]:
        """The volumes that were not taken."""
        return chain.from_iterable(volumes.values() for volumes in self._archives.values())

    def strangers(self, archive_id: bytes, header: ArchiveHeader, lacking: BaseName | None) -> list[FormatError]:
        """The volumes that nobody took, as faults, when what was asked for is `archive_id` with this `header`.

        Where its chain of bases breaks off since `lacking` is not at hand, those may be further down in it that have
        its key and begin below that one: they are no faults.
        """
        faults: list[FormatError] = []
        for one in self.left():
            other = one.peek() if lacking is not None else None
            if (
                lacking is not None
                and other is not None
                and (other.hash_key, other.block_size) == (header.hash_key, header.block_size)
                and other.origin[1] < lacking.blocks
            ):
                continue
            message = f"belongs to archive {one.archive_id.hex()}, the others to {archive_id.hex()}"
            faults.append(StrangerError(message, volume=one.volume.name))
        return faults

    def close(self) -> None:
        """Close what was not taken."""
        for one in self.left():
            one.volume.close()

    def __enter__(self) -> GivenVolumes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tell_apart(volumes: list[Volume]) -> None:
    """Different files may have the same name; messages then have the whole path."""
    names = Counter(volume.name for volume in volumes)
    for volume in volumes:
        if names[volume.name] > 1:
            volume.name = str(volume.path)
