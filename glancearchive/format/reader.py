"""Opens an archive for reading: finds what its volumes hold, by catalog or by scan, and never writes."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType

from glancearchive.errors import ArchiveError, ChainError, FormatError, ImageError, UnsupportedError, VolumeError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.catalog import Catalog
from glancearchive.format.content import FrameCache
from glancearchive.format.frameindex import Frame, FrameIndex
from glancearchive.format.header import HEADER_SIZE, RecordHeader, RecordType
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.schema import ArchiveHeader, CatalogPart, CatalogRow, Checkpoint, End
from glancearchive.format.structured import check_supported, read_structured
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import volume_number


class Archive:
    """An archive opened for reading; a context manager.

    `images` are the images that count, in the order they were archived.
    `faults` are what was found wrong while opening; a finished and undamaged archive has
    none. `finished` says whether the last volume ends in an end record;
    `root_digest` is then the archive's, else None.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        self.faults: list[FormatError] = []
        self._told: set[str] = set()  # what they say, for a scan meets what was found when opening once more
        self.volumes: dict[int, Volume] = {}
        self.root_digest: bytes | None = None
        self.finished = False
        self.ends: dict[int, End] = {}
        self._lock = threading.Lock()
        self._extents: list[tuple[int, CatalogRow]] = []  # catalogs of kind extents that are not read yet
        self._position = Position()  # after the volumes that were opened
        self._before: dict[int, Position] = {}  # and before each of them
        header: ArchiveHeader | None = None
        try:
            self.archive_id = self._open_files(paths)
            for number in sorted(self.volumes):
                header = self._find_header(number, header)
            if header is None:
                volume = self.volumes[min(self.volumes)]
                raise self.faults[0] if self.faults else ArchiveError("has no readable header", volume=volume.name)
            self.header = header
            self.catalog = Catalog(FrameIndex(header.block_size))
            self.cache = FrameCache(self._load_frame)
            for number in range(1, max(self.volumes) + 1):
                self._open_volume(number)
            self._check_end()
        except BaseException:
            self.close()
            raise
        self.images = [ArchivedImage(self, entry) for entry in self.catalog.current()]
        self._by_id: dict[str, ArchivedImage] | None = None  # both made when they are first asked for
        self._by_name: dict[str, list[ArchivedImage]] | None = None

    def _open_files(self, paths: Iterable[str | os.PathLike[str]]) -> bytes:
        """Open the volumes; files that are none of this archive's become faults. Returns the archive id."""
        archive_id = b""
        for path in paths:
            volume = Volume(path)
            try:
                number, found = identify(volume)
                if archive_id and found != archive_id:
                    message = f"belongs to archive {found.hex()}, the others to {archive_id.hex()}"
                    raise VolumeError(message, volume=volume.name)
                if number in self.volumes:
                    raise VolumeError(f"is volume {number}, and so is {self.volumes[number].name}", volume=volume.name)
            except UnsupportedError:
                volume.close()
                raise
            except FormatError as error:
                volume.close()
                self._add_faults([error])
                continue
            archive_id = found
            self.volumes[number] = volume
        if not self.volumes:
            raise self.faults[0]
        for number, volume in self.volumes.items():
            claimed = volume_number(volume.path)
            if len(self.volumes) > 1 and claimed not in (None, number):
                self._add_faults([VolumeError(f"is volume {number} by what it says", volume=volume.name)])
        return archive_id

    def _find_header(self, number: int, known: ArchiveHeader | None) -> ArchiveHeader | None:
        """The archive's header from volume `number`: from its end record, else from its front."""
        volume, found = self.volumes[number], None
        for header in (volume.end_header(), None):
            try:
                content = read_structured(volume, header or volume.read_header(0), 0)
                if isinstance(content, End):
                    self.ends[number], found = content, content.header
                elif isinstance(content, ArchiveHeader):
                    found = content
            except UnsupportedError:
                raise
            except FormatError as error:
                self._add_faults([error])
                continue
            if found is not None:
                break
        if found is None:
            return known
        check_supported(found, {"volume": volume.name})
        if known is not None and known.shared() != found.shared():
            self._add_faults([VolumeError("its header differs from that of the volumes before", volume=volume.name)])
            self.volumes.pop(number).close()
            self.ends.pop(number, None)
        return known or found

    def _open_volume(self, number: int) -> None:
        volume = self.volumes.get(number)
        self._before[number] = copy.deepcopy(self._position)
        if volume is None:
            self._add_faults([VolumeError(f"volume {number} is missing", volume=self.volume_name(number))])
            self._position.forget()
            return
        end = self.ends.get(number)
        if end is None:
            self._scan(number)
            return
        try:
            front = read_structured(volume, volume.read_header(0), 0)
            if front != end.header:
                self._add_faults([ChainError("its header record and its end record differ", volume=volume.name)])
        except FormatError as error:  # the end record says the same
            self._add_faults([error])
        try:
            for row in end.catalog:
                if row.kind == "extents":
                    self._extents.append((number, row))
                else:
                    self._apply(number, self._read_catalog(number, row))
            last = volume.end_header()
            assert last is not None
            self._position.follow(end, last.record_digest)
        except FormatError as error:
            self._add_faults([error])
            self._scan(number)

    def _read_catalog(self, number: int, row: CatalogRow) -> CatalogPart:
        header = RecordHeader(
            RecordType.CATALOG,
            number,
            self.archive_id,
            row.number,
            row.offset,
            row.stored_size,
            row.raw_size,
            row.payload_digest,
        )
        volume = self.volumes[number]
        try:
            header = RecordHeader.unpack(header.pack())  # applies the limits of a record header to the row
        except ValueError as error:
            raise ChainError(f"the end record lists a catalog with {error}", volume=volume.name) from None
        content = read_structured(volume, header, self.header.block_size)
        if not isinstance(content, CatalogPart) or content.kind != row.kind:
            message = f"a catalog that is not of the kind {row.kind}"
            raise ChainError(message, volume=volume.name, begin=header.offset, end=header.end)
        return content

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
                self.catalog.add_part(part)
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

    def _check_end(self) -> None:
        last = max(self.volumes)
        for number, one in self.ends.items():
            if one.final and number < last:
                message = "ends the archive, but there are more volumes"
                self._add_faults([VolumeError(message, volume=self.volume_name(number))])
        end = self.ends.get(last)
        if end is not None and not end.final:
            self._add_faults([VolumeError(f"volume {last + 1} is missing", volume=self.volume_name(last + 1))])
        header = self.volumes[last].end_header()
        if end is not None and end.final:
            self.finished = True
            self.root_digest = header.record_digest if header is not None else None

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

    def _load_frame(self, frame: Frame) -> bytes:
        return self.volumes[frame.volume].read_raw(frame.header(self.archive_id))

    def volume_name(self, number: int) -> str:
        """The file name of volume `number`, guessed from the others' when it is not at hand."""
        if number in self.volumes:
            return self.volumes[number].name
        known = min(self.volumes)
        return self.volumes[known].name.replace(f".{known:03}.", f".{number:03}.")

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

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def identify(volume: Volume) -> tuple[int, bytes]:
    """Number and archive id of a volume. Raises ArchiveError when it is none."""
    if volume.size == 0:
        raise ArchiveError("is empty", volume=volume.name)
    if volume.size < HEADER_SIZE:
        raise ArchiveError(f"is no glancearchive: it has {volume.size} bytes only", volume=volume.name)
    try:
        header = volume.read_header(0)
        if header.type != RecordType.HEADER or header.offset != 0:
            raise ArchiveError("is no glancearchive: it does not begin with a header record", volume=volume.name)
    except ArchiveError:
        raise
    except FormatError:
        last = volume.end_header()
        if last is None:
            raise ArchiveError("is no glancearchive (no record header at either end)", volume=volume.name) from None
        header = last
    return header.volume, header.archive_id
