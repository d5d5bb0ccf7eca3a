"""Opens an archive for reading, with what it is read with: its base, what repairs it. Never writes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from types import TracebackType

from glancearchive.errors import FormatError, MissingError, UnsupportedError, VolumeError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.archiveheader import ArchiveHeader, BaseName
from glancearchive.format.catalog import Entry
from glancearchive.format.content import FrameCache
from glancearchive.format.extents import ExtentMap
from glancearchive.format.frameindex import Frame
from glancearchive.format.given import GivenVolumes
from glancearchive.format.inventory import Faults, Inventory
from glancearchive.format.overlay import StoredFaults, laid_over, mend
from glancearchive.format.volume import Volume

MAX_BASES = 64  # archives below an increment (SPEC section 8)


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
                self.faults.learn(given.faults)
                self.faults.learn(given.strangers(self.archive_id, self.header, self.missing_base))
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
        self.base: Archive | None = None
        self.repairs: list[Archive] = []
        self._above = above
        self.faults = Faults()
        volumes, misnamed = given.take(archive_id)
        self.faults.learn(misnamed)
        self._own = Inventory(archive_id, volumes, self.faults)
        self.header, self.catalog = self._own.header, self._own.catalog
        self.volumes, self.missing_volumes = self._own.volumes, self._own.missing_volumes
        self.ends, self.finished, self.root_digest = self._own.ends, self._own.finished, self._own.root_digest
        self.cache = FrameCache(self.read_frame)
        self.stored_faults = StoredFaults(self._read_stored)  # of the frames of repair archives
        try:
            if self.header.base is not None:
                self.base = self._open_base(given, self.header.base)
                frames = None if self.base is None else self.base.catalog.frames
                self.catalog.frames.continue_from(frames, self.header.base.blocks)
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
            self.faults.learn([MissingError(f"is an increment, and its base is not at hand: {name}", volume=mine)])
            return None
        if self._above >= MAX_BASES:
            message = f"stands on too many others: an increment may have {MAX_BASES} archives below it"
            self.faults.learn([VolumeError(message, volume=mine)])
            return None
        try:
            base = Archive.of(given, name.archive_id, self._above + 1)
        except UnsupportedError:
            raise
        except FormatError as error:
            self.faults.learn([error, MissingError(f"its base cannot be opened: {name}", volume=mine)])
            return None
        wrong = base.differs_from(name, self.header)
        if wrong:
            self.faults.learn([MissingError(f"is an increment of {name}: {wrong}", volume=mine)])
            base.close()
            return None
        self.faults.learn(base.faults)
        return base

    def _open_repair(self, given: GivenVolumes, archive_id: bytes) -> None:
        """Open one of the files given that repairs this archive; if it cannot, that is a fault of it."""
        try:
            repair = Archive.of(given, archive_id)
        except UnsupportedError:
            raise
        except FormatError as error:
            self.faults.learn([error])
            return
        if (repair.header.block_size, repair.header.hash_key) != (self.header.block_size, self.header.hash_key):
            message = "is to repair this archive, and has another block size or key"
            self.faults.learn([VolumeError(message, volume=repair.volumes[min(repair.volumes)].name)])
            repair.close()
            return
        self.faults.learn(repair.faults)
        self.repairs.append(repair)

    def differs_from(self, name: BaseName, increment: ArchiveHeader) -> str:
        """Why this archive cannot be the base that `increment` calls `name`; "" when it can."""
        mine, its = (self.header.block_size, self.header.hash_key), (increment.block_size, increment.hash_key)
        if mine != its:
            return "the one given has another block size or key"
        if self.root_digest is None:
            return ""  # its end is missing, which is a fault of its own
        end = self._own.end_as_of(name.root)
        if end is None:
            return f"the one given has root digest {self.root_digest.hex()} and never had that one"
        if (end.frames, end.blocks) != (name.frames, name.blocks):
            return f"that has {end.frames} frames and {end.blocks} blocks, not {name.frames} and {name.blocks}"
        return ""

    def load_extents(self) -> None:
        """Read the extents of all images, if that was put off. Damage is added to `faults`."""
        self._own.load_extents()
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
        """As `Inventory.volume_name`."""
        return self._own.volume_name(number)

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
        self.cache.close()
        self._own.close()
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
