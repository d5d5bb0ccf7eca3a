"""What the volumes of one archive hold, by catalog or by scan: of that archive alone, not of what it is read with."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping

from glancearchive.errors import (
    ArchiveError,
    ChainError,
    FormatError,
    ImageError,
    MissingError,
    UnsupportedError,
    VolumeError,
)
from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.catalog import Catalog
from glancearchive.format.frameindex import FrameIndex
from glancearchive.format.header import RecordHeader
from glancearchive.format.identity import IdentifiedVolume
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.schema import CatalogPart, CatalogRow, Checkpoint, End
from glancearchive.format.structured import check_supported, find_end, read_catalog, read_structured
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import absent_name

_UNKNOWN = "; it and those that may follow it may have images that are not known here"
_MOST_MISSING = 100  # volumes in a row, each with a fault of its own


class Faults(list[FormatError]):
    """What was found wrong, each once: a scan meets again what was found when opening."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def learn(self, faults: Iterable[FormatError]) -> None:
        """Add those of `faults` that are new."""
        for fault in faults:
            if str(fault) not in self._told:
                self._told.add(str(fault))
                self.append(fault)


class Inventory:
    """What `volumes`, those of archive `archive_id` by number, hold. They belong to it from then on.

    `volumes` are those that are read, `missing_volumes` the names of those not at hand. `header` is the archive's,
    `catalog` what is known of its images and frames. `ends` are the end records that end volumes; `finished` says
    whether the last volume ends the archive, and `root_digest` is then the archive's, else None. What is found wrong
    is added to `faults`.

    Raises UnsupportedError, or another FormatError when there is no readable header; the volumes are closed then.
    """

    def __init__(self, archive_id: bytes, volumes: Mapping[int, IdentifiedVolume], faults: Faults) -> None:
        self.volumes: dict[int, Volume] = {number: one.volume for number, one in volumes.items()}
        self.missing_volumes: dict[int, str] = {}
        self.ends: dict[int, End] = {}
        self.finished = False
        self.root_digest: bytes | None = None
        self._archive_id = archive_id
        self._faults = faults
        self._first_blocks: dict[int, int] = {}  # of each volume, as far as known
        self._lock = threading.Lock()
        self._extents: list[tuple[int, CatalogRow]] = []  # catalogs of kind extents that are not read yet
        self._position = Position()  # after the volumes that were opened
        self._before: dict[int, Position] = {}  # and before each of them
        try:
            self._open(volumes)
        except BaseException:
            self.close()
            raise

    def _open(self, volumes: Mapping[int, IdentifiedVolume]) -> None:
        header: ArchiveHeader | None = None
        for number in sorted(volumes):
            header = self._find_header(volumes[number], header)
        if header is None:
            volume = self.volumes[min(self.volumes)]
            raise self._faults[0] if self._faults else ArchiveError("has no readable header", volume=volume.name)
        self.header = header
        self.catalog = Catalog(FrameIndex(header.block_size, self._archive_id))
        for number in range(1, max(self.volumes) + 1):
            if number in self.volumes:
                self._open_volume(volumes[number])
            else:
                self._pass_over(number)
        self._check_end(volumes[max(self.volumes)].end_copy)
        self._first_blocks |= {number + 1: end.blocks for number, end in self.ends.items()}
        # Those before the last were finished once. What the last one lacks may never have been written.
        torn = {one: self.volumes[one].name for one in set(self.volumes) - {*self.ends, max(self.volumes)}}
        self.catalog.frames.lacks(self.missing_volumes, torn, self._first_blocks)

    def _find_header(self, one: IdentifiedVolume, known: ArchiveHeader | None) -> ArchiveHeader | None:
        """The archive's header, from this volume or `known` from those before it."""
        number, volume = one.number, one.volume
        found, end, faults = one.told
        self._faults.learn(faults)
        if end is not None:
            self.ends[number] = end
        if found is None:
            return known
        check_supported(found, {"volume": volume.name})
        self._first_blocks |= {**dict(enumerate(found.first_blocks, 1)), number: found.first_block}
        if known is not None and known.shared() != found.shared():
            self._faults.learn([VolumeError("its header differs from that of the volumes before", volume=volume.name)])
            self.volumes.pop(number).close()
            self.ends.pop(number, None)
        return known or found

    def _pass_over(self, number: int) -> None:
        """Go on behind volume `number`, which is not at hand."""
        if number - 1 not in self.missing_volumes:
            self._miss(number, min(one for one in self.volumes if one > number))
            self._position.forget()

    def _open_volume(self, one: IdentifiedVolume) -> None:
        number, volume = one.number, one.volume
        self._before[number] = copy.deepcopy(self._position)
        end = self.ends.get(number)
        if end is None:
            self._scan(number)
            return
        try:
            front = read_structured(volume, one.front, 0)
            if front != end.header:
                self._faults.learn([ChainError("its header record and its end record differ", volume=volume.name)])
            if isinstance(front, ArchiveHeader):
                check_supported(front, {"volume": volume.name})
        except UnsupportedError:
            raise
        except FormatError as error:  # the end record says the same
            self._faults.learn([error])
        try:
            for row in end.catalog:
                if row.kind == "extents":
                    self._extents.append((number, row))
                else:
                    self._apply(number, self._read_catalog(number, row))
            assert one.end_copy is not None  # it led to the end record
            self._position.follow(end, one.end_copy.record_digest)
        except FormatError as error:
            self._faults.learn([error])
            self._scan(number)

    def _read_catalog(self, number: int, row: CatalogRow) -> CatalogPart:
        return read_catalog(self.volumes[number], number, self._archive_id, row, self.header.block_size)

    def _apply(self, number: int, content: CatalogPart | Checkpoint) -> None:
        """Learn what a record says; what contradicts other records becomes a fault, the rest counts."""
        volume = self.volumes[number].name
        if content.frames is not None:
            try:
                self.catalog.frames.add(number, content.frames)
            except ValueError as error:
                self._faults.learn([ChainError(str(error), volume=volume)])
        for part in content.images or ():
            try:
                self.catalog.add_part(part, number)
            except ValueError as error:
                self._faults.learn([ImageError(str(error), volume=volume)])

    def _scan(self, number: int) -> None:
        """Learn what volume `number` holds from its checkpoints and whatever catalogs are whole."""
        position = copy.deepcopy(self._before[number])
        scan = VolumeScan(self.volumes[number], self._archive_id, number, self.header, position)
        for step in scan:
            self._faults.learn(step.faults)
            for fault in step.faults:
                if isinstance(fault, UnsupportedError):
                    raise fault
            if isinstance(step.content, CatalogPart | Checkpoint):
                self._apply(number, step.content)
        if not scan.ended:
            position.forget()
        self._position = position
        if scan.ended and scan.end is not None:
            self.ends[number] = scan.end
        else:
            self.ends.pop(number, None)

    def _check_end(self, end_copy: RecordHeader | None) -> None:
        """Whether the last volume at hand, which has this end copy, ends the archive."""
        last = max(self.volumes)
        for number, one in self.ends.items():
            if one.final and number < last:
                message = "ends the archive, but there are more volumes"
                self._faults.learn([VolumeError(message, volume=self.volume_name(number))])
        end = self.ends.get(last)
        if end is not None and not end.final:
            self._miss(last + 1, last + 2)
        if end is not None and end.final:
            self.finished = True
            self.root_digest = end_copy.record_digest if end_copy is not None else None

    def _miss(self, begin: int, end: int) -> None:
        """The volumes from number `begin` to `end`, exclusive, are not at hand."""
        names = {number: self.volume_name(number) for number in range(begin, end)}
        self.missing_volumes |= names
        if len(names) > _MOST_MISSING:
            message = f"volumes {begin} to {end - 1} are missing"
            self._faults.learn([MissingError(message, volume=names[begin])])
            return
        more = _UNKNOWN if begin > max(self.volumes) else ""
        faults = [MissingError(f"volume {one} is missing{more}", volume=name) for one, name in names.items()]
        self._faults.learn([*faults])

    def load_extents(self) -> None:
        """Read the extents of all images, if that was put off. Damage is added to `faults`."""
        with self._lock:
            waiting, self._extents = self._extents, []
            damaged: set[int] = set()
            for number, row in waiting:
                try:
                    self._apply(number, self._read_catalog(number, row))
                except FormatError as error:
                    self._faults.learn([error])
                    damaged.add(number)
            for number in sorted(damaged):
                self._scan(number)

    def end_as_of(self, root: bytes) -> End | None:
        """The end record with the record digest `root`: the archive's own, or one from before it was added to."""
        if root == self.root_digest:
            return self.ends[max(self.volumes)]
        found = (find_end(one, self._archive_id, self.header.block_size, root) for one in self.volumes.values())
        return next(filter(None, found), None)

    def volume_name(self, number: int) -> str:
        """The file name of volume `number`, guessed from the others' when it is not at hand."""
        if number in self.volumes:
            return self.volumes[number].name
        return absent_name(number, [self.volumes[one].path for one in sorted(self.volumes)])

    def close(self) -> None:
        """Close the volume files."""
        for volume in self.volumes.values():
            volume.close()
