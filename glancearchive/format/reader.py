"""Opens an archive for reading: finds what its volumes hold, by catalog or by scan, and never writes."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType

from glancearchive.errors import (
    ArchiveError,
    ChainError,
    FormatError,
    ImageError,
    MissingError,
    UnsupportedError,
    VolumeError,
)
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.catalog import Catalog, Entry
from glancearchive.format.content import FrameCache
from glancearchive.format.extents import ExtentMap
from glancearchive.format.frameindex import Frame, FrameIndex
from glancearchive.format.given import GivenVolumes
from glancearchive.format.header import RecordHeader
from glancearchive.format.identity import IdentifiedVolume
from glancearchive.format.overlay import StoredFaults, laid_over, mend
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.schema import ArchiveHeader, BaseName, CatalogPart, CatalogRow, Checkpoint, End
from glancearchive.format.structured import check_supported, find_end, read_catalog, read_structured
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import absent_name

MAX_BASES = 64  # archives below an increment (SPEC section 8)
_UNKNOWN = "; it and those that may follow it may have images that are not known here"
_MOST_MISSING = 100  # volumes in a row, each with a fault of its own


class Archive:
    """An archive opened for reading, with what it is read with; a context manager.

    `paths` are files in any order. Besides the volumes of one archive there may be those of its base, of the base
    of that, and of archives that repair it: which one is meant is decided as `GivenVolumes` says. `base` is the base,
    None when there is none or it is not at hand; `missing_base` says which is lacking. `repairs` are what repairs it.

    `images` are the images that count, in the order they were archived.
    `faults` are what was found wrong while opening; a finished and undamaged archive has
    none. `finished` says whether the last volume ends in an end record; `root_digest` is then the archive's, else None.
    `missing_volumes` are the names of those not at hand, by number. `archive_id` is the same in all its volumes;
    `header` says where the images came from, and when.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        with GivenVolumes(paths) as given:
            self._open(given, given.asked)
            try:
                self._add_faults(given.faults)
                self._add_faults(given.strangers(self.archive_id, self.header, self.missing_base))
            except BaseException:
                self.close()
                raise

    @classmethod
    def of(cls, given: GivenVolumes, archive_id: bytes, above: int = 0) -> Archive:
        """An archive that another one is read with; `above` it are so many increments."""
        archive = cls.__new__(cls)
        archive._open(given, archive_id, above)
        return archive

    def _open(self, given: GivenVolumes, archive_id: bytes, above: int = 0) -> None:
        self.archive_id = archive_id
        self._above = above
        self.faults: list[FormatError] = []
        self._told: set[str] = set()  # what they say, for a scan meets what was found when opening once more
        self.volumes: dict[int, Volume] = {}
        self.missing_volumes: dict[int, str] = {}
        self._first_blocks: dict[int, int] = {}  # of each volume, as far as known
        self.base: Archive | None = None
        self.repairs: list[Archive] = []
        self.stored_faults = StoredFaults(self._read_stored)  # of the frames of repair archives
        self.root_digest: bytes | None = None
        self.finished = False
        self.ends: dict[int, End] = {}
        self._lock = threading.Lock()
        self._extents: list[tuple[int, CatalogRow]] = []  # catalogs of kind extents that are not read yet
        self._position = Position()  # after the volumes that were opened
        self._before: dict[int, Position] = {}  # and before each of them
        header: ArchiveHeader | None = None
        try:
            identified, faults = given.take(archive_id)
            self.volumes = {number: one.volume for number, one in identified.items()}
            self._add_faults(faults)
            for number in sorted(identified):
                header = self._find_header(identified[number], header)
            if header is None:
                volume = self.volumes[min(self.volumes)]
                raise self.faults[0] if self.faults else ArchiveError("has no readable header", volume=volume.name)
            self.header = header
            self.catalog = Catalog(FrameIndex(header.block_size, self.archive_id))
            self.cache = FrameCache(self.read_frame)
            for number in range(1, max(self.volumes) + 1):
                if number in self.volumes:
                    self._open_volume(identified[number])
                else:
                    self._pass_over(number)
            self._check_end(identified[max(self.volumes)].end_copy)
            self._first_blocks |= {number + 1: end.blocks for number, end in self.ends.items()}
            # Those before the last were finished once. What the last one lacks may never have been written.
            torn = {one: self.volumes[one].name for one in set(self.volumes) - {*self.ends, max(self.volumes)}}
            self.catalog.frames.lacks(self.missing_volumes, torn, self._first_blocks)
            if header.base is not None:
                self.base = self._open_base(given, header.base)
                frames = None if self.base is None else self.base.catalog.frames
                self.catalog.frames.continue_from(frames, header.base.blocks)
            for repair_id in given.repairing(archive_id):
                self._open_repair(given, repair_id)
        except BaseException:
            self.close()
            raise
        entries = self.catalog.current()
        if self.repairs:
            self.catalog.frames.repaired_by(repair.catalog.frames for repair in self.repairs)
            patches = [image.entry for repair in self.repairs for image in repair]
            entries = mend(entries, patches, max(self.catalog.entries, default=-1) + 1, self._lay_over)
        self.images = [ArchivedImage(self, entry) for entry in entries]
        self._by_id: dict[str, ArchivedImage] | None = None  # both made when they are first asked for
        self._by_name: dict[str, list[ArchivedImage]] | None = None

    def _open_base(self, given: GivenVolumes, name: BaseName) -> Archive | None:
        """The base, if it is among the files given and is what it has to be; else it is a fault that it is missing."""
        mine = self.volumes[min(self.volumes)].name
        if name.archive_id not in given:
            self._add_faults([MissingError(f"is an increment, and its base is not at hand: {name}", volume=mine)])
            return None
        if self._above >= MAX_BASES:
            message = f"stands on too many others: an increment may have {MAX_BASES} archives below it"
            self._add_faults([VolumeError(message, volume=mine)])
            return None
        try:
            base = Archive.of(given, name.archive_id, self._above + 1)
        except UnsupportedError:
            raise
        except FormatError as error:
            self._add_faults([error, MissingError(f"its base cannot be opened: {name}", volume=mine)])
            return None
        wrong = base.differs_from(name, self.header)
        if wrong:
            self._add_faults([MissingError(f"is an increment of {name}: {wrong}", volume=mine)])
            base.close()
            return None
        self._add_faults(base.faults)
        return base

    def _open_repair(self, given: GivenVolumes, archive_id: bytes) -> None:
        """Open one of the files given that repairs this archive; if it cannot, that is a fault of it."""
        try:
            repair = Archive.of(given, archive_id)
        except UnsupportedError:
            raise
        except FormatError as error:
            self._add_faults([error])
            return
        if (repair.header.block_size, repair.header.hash_key) != (self.header.block_size, self.header.hash_key):
            message = "is to repair this archive, and has another block size or key"
            self._add_faults([VolumeError(message, volume=repair.volumes[min(repair.volumes)].name)])
            repair.close()
            return
        self._add_faults(repair.faults)
        self.repairs.append(repair)

    def differs_from(self, name: BaseName, increment: ArchiveHeader) -> str:
        """Why this archive cannot be the base that `increment` calls `name`; "" when it can."""
        mine, its = (self.header.block_size, self.header.hash_key), (increment.block_size, increment.hash_key)
        if mine != its:
            return "the one given has another block size or key"
        if self.root_digest is None:
            return ""  # its end is missing, which is a fault of its own
        end = self.end_as_of(name.root)
        if end is None:
            return f"the one given has root digest {self.root_digest.hex()} and never had that one"
        if (end.frames, end.blocks) != (name.frames, name.blocks):
            return f"that has {end.frames} frames and {end.blocks} blocks, not {name.frames} and {name.blocks}"
        return ""

    def end_as_of(self, root: bytes) -> End | None:
        """The end record with the record digest `root`: the archive's own, or one from before it was added to."""
        if root == self.root_digest:
            return self.ends[max(self.volumes)]
        found = (find_end(one, self.archive_id, self.header.block_size, root) for one in self.volumes.values())
        return next(filter(None, found), None)

    def _find_header(self, one: IdentifiedVolume, known: ArchiveHeader | None) -> ArchiveHeader | None:
        """The archive's header, from this volume or `known` from those before it."""
        number, volume = one.number, one.volume
        found, end, faults = one.told
        self._add_faults(faults)
        if end is not None:
            self.ends[number] = end
        if found is None:
            return known
        check_supported(found, {"volume": volume.name})
        self._first_blocks |= {**dict(enumerate(found.first_blocks, 1)), number: found.first_block}
        if known is not None and known.shared() != found.shared():
            self._add_faults([VolumeError("its header differs from that of the volumes before", volume=volume.name)])
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
                self._add_faults([ChainError("its header record and its end record differ", volume=volume.name)])
            if isinstance(front, ArchiveHeader):
                check_supported(front, {"volume": volume.name})
        except UnsupportedError:
            raise
        except FormatError as error:  # the end record says the same
            self._add_faults([error])
        try:
            for row in end.catalog:
                if row.kind == "extents":
                    self._extents.append((number, row))
                else:
                    self._apply(number, self._read_catalog(number, row))
            assert one.end_copy is not None  # it led to the end record
            self._position.follow(end, one.end_copy.record_digest)
        except FormatError as error:
            self._add_faults([error])
            self._scan(number)

    def _read_catalog(self, number: int, row: CatalogRow) -> CatalogPart:
        return read_catalog(self.volumes[number], number, self.archive_id, row, self.header.block_size)

    def _apply(self, number: int, content: CatalogPart | Checkpoint) -> None:
        """Learn what a record says; what contradicts other records becomes a fault, the rest counts."""
        volume = self.volumes[number].name
        if content.frames is not None:
            try:
                self.catalog.frames.add(number, content.frames)
            except ValueError as error:
                self._add_faults([ChainError(str(error), volume=volume)])
        for part in content.images or ():
            try:
                self.catalog.add_part(part, number)
            except ValueError as error:
                self._add_faults([ImageError(str(error), volume=volume)])

    def _scan(self, number: int) -> None:
        """Learn what volume `number` holds from its checkpoints and whatever catalogs are whole."""
        position = copy.deepcopy(self._before[number])
        scan = VolumeScan(self.volumes[number], self.archive_id, number, self.header, position)
        for step in scan:
            self._add_faults(step.faults)
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

    def _add_faults(self, faults: list[FormatError]) -> None:
        for fault in faults:
            if str(fault) not in self._told:
                self._told.add(str(fault))
                self.faults.append(fault)

    def _check_end(self, copy: RecordHeader | None) -> None:
        """Whether the last volume at hand, which has this end `copy`, ends the archive."""
        last = max(self.volumes)
        for number, one in self.ends.items():
            if one.final and number < last:
                message = "ends the archive, but there are more volumes"
                self._add_faults([VolumeError(message, volume=self.volume_name(number))])
        end = self.ends.get(last)
        if end is not None and not end.final:
            self._miss(last + 1, last + 2)
        if end is not None and end.final:
            self.finished = True
            self.root_digest = copy.record_digest if copy is not None else None

    def _miss(self, begin: int, end: int) -> None:
        """The volumes from number `begin` to `end`, exclusive, are not at hand."""
        names = {number: self.volume_name(number) for number in range(begin, end)}
        self.missing_volumes |= names
        if len(names) > _MOST_MISSING:
            message = f"volumes {begin} to {end - 1} are missing"
            self._add_faults([MissingError(message, volume=names[begin])])
            return
        more = _UNKNOWN if begin > max(self.volumes) else ""
        faults = [MissingError(f"volume {one} is missing{more}", volume=name) for one, name in names.items()]
        self._add_faults([*faults])

    def load_extents(self) -> None:
        """Read the extents of all images, if that was put off. Damage is added to `faults`."""
        with self._lock:
            waiting, self._extents = self._extents, []
            damaged: set[int] = set()
            for number, row in waiting:
                try:
                    self._apply(number, self._read_catalog(number, row))
                except FormatError as error:
                    self._add_faults([error])
                    damaged.add(number)
            for number in sorted(damaged):
                self._scan(number)
        for repair in self.repairs:
            repair.load_extents()

    def _lay_over(self, original: Entry | None, patch: Entry) -> ExtentMap:
        self.load_extents()
        return laid_over(original, patch, self.catalog.frames, self.stored_faults)

    def read_frame(self, frame: Frame) -> bytes:
        """The blocks of a frame, checked. Raises a FormatError."""
        return self.volume_of(frame).read_raw(frame.header())

    def _read_stored(self, frame: Frame) -> None:
        """Raises the FormatError that keeps a frame from being used, as it is stored."""
        self.volume_of(frame).read_payload(frame.header())

    def volume_of(self, frame: Frame) -> Volume:
        """The volume that `frame` lies in, one of this archive or of one that it is read with."""
        archive = next(one for one in self.chain if one.archive_id == frame.archive_id)
        return archive.volumes[frame.volume]

    @property
    def chain(self) -> list[Archive]:
        """The archive itself, those that repair it, its base, the base of that, …, as far as they are at hand."""
        return [part for one in self.bases for part in (one, *one.repairs)]

    @property
    def bases(self) -> list[Archive]:
        """The archive itself, its base, the base of that, …, as far as they are at hand."""
        bases = [self]
        while (base := bases[-1].base) is not None:
            bases.append(base)
        return bases

    @property
    def missing_base(self) -> BaseName | None:
        """The archive that this one, or its base, needs, and that is not at hand."""
        return self.bases[-1].header.base

    def volume_name(self, number: int) -> str:
        """The file name of volume `number`, guessed from the others' when it is not at hand."""
        if number in self.volumes:
            return self.volumes[number].name
        return absent_name(number, [self.volumes[one].path for one in sorted(self.volumes)])

    def find(self, name: str) -> list[ArchivedImage]:
        """The image with this id, else all images with this name."""
        if self._by_id is None:
            self._by_id = {image.id: image for image in self.images if image.id}
        if name in self._by_id:
            return [self._by_id[name]]
        if self._by_name is None:
            self._by_name = {}
            for image in self.images:
                self._by_name.setdefault(image.name, []).append(image)
        return list(self._by_name.get(name, ()))

    def __iter__(self) -> Iterator[ArchivedImage]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def close(self) -> None:
        """Close the volume files. Images opened from the archive can no longer be read."""
        if hasattr(self, "cache"):
            self.cache.close()
        for volume in self.volumes.values():
            volume.close()
        for repair in self.repairs:
            repair.close()
        if self.base is not None:
            self.base.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
