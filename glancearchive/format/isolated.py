"""Isolated catalogs: the commit records of an archive without its data (SPEC section 6.7)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from glancearchive.errors import (
    ArchiveError,
    ChainError,
    FormatError,
    LocalError,
    MissingError,
    RecordError,
    VolumeError,
)
from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.compression import LEVELS, compress
from glancearchive.format.encoding import pack, unpack
from glancearchive.format.fields import Fields
from glancearchive.format.hashing import digest
from glancearchive.format.header import HEADER_SIZE, ISOLATED, RecordHeader, RecordType
from glancearchive.format.reader import Archive
from glancearchive.format.recordfile import obstacle, sync_directory
from glancearchive.format.scan import Position, VolumeScan
from glancearchive.format.schema import Checkpoint, End
from glancearchive.format.structured import check_supported, read_structured
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import part_of

SUFFIX = ".glacat"
CommitRecord = ArchiveHeader | Checkpoint | End


def commit_records(archive: Archive, root: bytes) -> Iterator[tuple[Volume, RecordHeader, CommitRecord]]:
    """The commit records of `archive` alone, up to its end record with the digest `root`.

    Raises the first fault among them, and MissingError when a volume is not at hand.
    """
    position = Position()
    for number in range(1, max(archive.volumes) + 1):
        if number not in archive.volumes:
            raise MissingError(f"volume {number} is missing", volume=archive.volume_name(number))
        volume = archive.volumes[number]
        scan = VolumeScan(volume, archive.archive_id, number, archive.header, position)
        for step in scan:
            for fault in step.faults:
                raise fault
            if step.header is None or not isinstance(step.content, CommitRecord):
                continue
            yield volume, step.header, step.content
            if isinstance(step.content, End) and step.header.record_digest == root:
                return


def write_isolated(archive: Archive, path: Path) -> int:
    """Write the catalog of `archive`, and of what it is based on as far as that is at hand. Returns its size in bytes.

    Raises LocalError when `path` exists or cannot be written, or `archive` is not finished; a FormatError when one of
    the records is damaged.
    """
    pieces = _pieces(archive, path)
    part = part_of(path)
    try:
        part.unlink(missing_ok=True)  # of an attempt that was interrupted
        with part.open("xb") as file:
            size = sum(map(file.write, pieces))
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise LocalError(f"{path}: cannot be written: {error.strerror}") from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return size


def measure_isolated(archive: Archive, path: Path) -> int:
    """The size that `write_isolated` would return. Raises as that does, and writes nothing."""
    pieces = _pieces(archive, path)
    if why := obstacle(path.parent):
        raise LocalError(f"{path}: cannot be written: {why}")
    return sum(map(len, pieces))


def _pieces(archive: Archive, path: Path) -> Iterator[bytes | memoryview]:
    """What is written to `path`, once that is known to be free and `archive` to be finished. Raises as above."""
    root = archive.root_digest
    if root is None:
        raise LocalError(
            f"{archive.volumes[min(archive.volumes)].path}: is not finished, or its last volume is missing"
        )
    if path.exists():
        raise LocalError(f"{path}: exists already")
    chain = archive.bases[::-1]
    names = [later.header.base for _, later in pairwise(chain)]
    roots = [*(name.root for name in names if name is not None), root]

    def pieces() -> Iterator[bytes | memoryview]:
        raw = pack({"root": root})
        stored = compress(raw, LEVELS["default"])
        yield RecordHeader(ISOLATED, 1, archive.archive_id, 0, 0, len(stored), len(raw), digest(stored)).pack()
        yield stored
        for one, last in zip(chain, roots, strict=True):
            for volume, header, _ in commit_records(one, last):
                yield header.pack()
                yield volume.read_payload(header)

    return pieces()


def is_isolated(path: Path) -> bool:
    """Whether the file `path` is an isolated catalog, whole or not. Raises LocalError when it cannot be opened."""
    volume = Volume(path)
    try:
        return volume.read_header(0).type == ISOLATED
    except FormatError:
        return False
    finally:
        volume.close()


def read_isolated(path: Path) -> Iterator[tuple[RecordHeader, CommitRecord]]:
    """The commit records in the isolated catalog `path`, in order, each checked to follow the one before it.

    Raises a FormatError for the first that is not right, and at the end when it is not the one that the file is for.
    """
    volume = Volume(path)
    try:
        first = volume.read_header(0)
        if first.type != ISOLATED:
            raise ArchiveError("is no isolated catalog", volume=volume.name)
        try:
            root = Fields(unpack(volume.read_raw(first)), "isolated").binary("root", 32)
        except ValueError as error:
            raise RecordError(str(error), volume=volume.name, begin=HEADER_SIZE, end=first.end) from None
        yield from _follow(volume, first, root)
    finally:
        volume.close()


def _follow(volume: Volume, first: RecordHeader, root: bytes) -> Iterator[tuple[RecordHeader, CommitRecord]]:
    at, block_size, before = first.end, 0, None
    while at < volume.size:
        header = volume.read_header(at)
        here = replace(header, offset=at)  # it says where it stood in its volume
        begun = before is not None or header.type == RecordType.HEADER  # else it cannot be decoded
        content = read_structured(volume, here, block_size) if begun else None
        if not isinstance(content, CommitRecord) or not _follows(before, header, content):
            message = "no commit record, or one that does not follow the one before it"
            raise ChainError(message, volume=volume.name, begin=at, end=here.end)
        if isinstance(content, ArchiveHeader):
            check_supported(content, {"volume": volume.name})
            block_size = content.block_size
        yield header, content
        at, before = here.end, header
    if before is None or (before.archive_id, before.record_digest) != (first.archive_id, root):
        message = "the catalog ends before the record that it is for: it was cut short"
        raise VolumeError(message, volume=volume.name, begin=at, end=volume.size)


def _follows(before: RecordHeader | None, header: RecordHeader, content: CommitRecord) -> bool:
    if isinstance(content, ArchiveHeader) and header.volume == 1:
        if before is None:
            return True  # what it is based on need not be there
        name = content.base
        return name is not None and (name.archive_id, name.root) == (before.archive_id, before.record_digest)
    if before is None or header.archive_id != before.archive_id:
        return False
    return content.previous == before.record_digest
