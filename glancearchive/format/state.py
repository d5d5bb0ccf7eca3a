"""What a writer knows at a commit record: of the archive so far, and of the volume under way (SPEC section 9)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from glancearchive.format.archiveheader import INCREMENTAL, REPAIR, ArchiveHeader, BaseName, RepairedName
from glancearchive.format.blockindex import BlockIndex
from glancearchive.format.catalog import Catalog, Entry
from glancearchive.format.compression import LEVELS
from glancearchive.format.consolidate import Consolidator
from glancearchive.format.frameindex import FrameIndex
from glancearchive.format.header import HEADER_SIZE, RecordHeader, RecordType
from glancearchive.format.imageparts import ZEROS
from glancearchive.format.schema import CatalogRow, Checkpoint, End, FrameRun
from glancearchive.version import __version__


@dataclass(slots=True)
class State:
    """`header` is that of the volume under way, number `volume`.

    `offset` is the byte after the last commit record, where writing goes on; `previous` its record digest; `numbers`
    the next number of each record type. `catalog` holds all that was said up to where writing began in this run,
    `session` what was said since the last end record. Of the images without an end `began` tells how many
    blocks were committed before their first part, `said_in` the last volume that says what they are. `sessions` counts
    the end records of the volume under way; `end` is the last of them, when nothing follows it: then nothing is missing
    but perhaps the volume's name.
    """

    header: ArchiveHeader
    archive_id: bytes
    catalog: Catalog
    index: BlockIndex
    session: Consolidator
    blocks: int
    volume: int = 1
    offset: int = 0
    previous: bytes = b""
    numbers: dict[RecordType, int] = field(default_factory=lambda: dict.fromkeys(RecordType, 0))
    catalog_rows: tuple[CatalogRow, ...] = ()
    images: int = 0
    began: dict[int, int] = field(default_factory=dict)
    said_in: dict[int, int] = field(default_factory=dict)
    sessions: int = 0
    end: End | None = None

    @classmethod
    def begin(cls, header: ArchiveHeader, archive_id: bytes, index: BlockIndex) -> State:
        """That of an archive of which only `header` is known. `index` has the blocks of its base, if it has one."""
        catalog = Catalog(FrameIndex(header.block_size, archive_id))
        state = cls(header, archive_id, catalog, index, Consolidator(header.block_size), header.first_block)
        state.numbers[RecordType.FRAME] = header.first_frame
        return state

    def commit(self, record: RecordHeader) -> None:
        """`record` is a commit record."""
        self.offset, self.previous, self.end = record.end, record.record_digest, None

    def open_volume(self, header: ArchiveHeader, record: RecordHeader) -> None:
        """A volume begins with `header` in `record`."""
        self.header, self.volume, self.sessions = header, record.volume, 0
        self.session, self.catalog_rows = Consolidator(header.block_size), ()
        self.commit(record)

    def next_header(self) -> ArchiveHeader:
        """That of the volume after the one under way, which is finished."""
        frames = self.numbers[RecordType.FRAME]
        before = (*self.header.first_blocks, self.header.first_block)
        return replace(
            self.header, previous=self.previous, first_block=self.blocks, first_frame=frames, first_blocks=before
        )

    def learn(self, checkpoint: Checkpoint) -> None:
        """A checkpoint of an earlier run."""
        run = checkpoint.frames
        self.catalog.frames.add(self.volume, FrameRun(run.first_frame, run.first_block, run.rows))
        self.session.learn(checkpoint)
        for part in checkpoint.images:
            self.began.setdefault(part.number, self.blocks)
            if part.begin is not None:
                self.said_in[part.number] = self.volume
            self.images = max(self.images, part.number + 1)
            self.catalog.add_part(part)
            if part.end is not None:
                del self.began[part.number]
                self.said_in.pop(part.number, None)
        if run.block_digests is not None and len(run.block_digests):
            # A block may stand in an archive twice; the index then finds one of them.
            self.index.extend(run.block_digests)
            self.blocks += len(run.block_digests)

    def end_session(self, record: RecordHeader, end: End) -> None:
        """An end record, and its copy after it."""
        self.commit(record)
        self.offset += HEADER_SIZE
        self.sessions += 1
        self.catalog_rows, self.session, self.end = end.catalog, Consolidator(self.header.block_size), end

    def stored_bytes(self, entry: Entry) -> int:
        """About how many stored bytes an unfinished image has added: its share in the frames since it was begun."""
        extents, _ = entry.extents()
        began, total = self.began.get(entry.number, 0), 0
        for start, count in extents[(extents[:, 0] != ZEROS) & (extents[:, 0] >= np.uint64(began))].tolist():
            at, end = start, start + count
            while at < end and (frame := self.catalog.frames.find(at)) is not None:
                stop = min(end, frame.first_block + frame.blocks)
                total += (frame.stored_size + HEADER_SIZE) * (stop - at) // frame.blocks
                at = stop
        return total


@dataclass(frozen=True, slots=True)
class Relation:
    """What a new archive has to do with another, whose `hash_key` it has: that is its base, or it repairs that."""

    hash_key: bytes
    base: BaseName | None = None
    repairs: RepairedName | None = None


def new_state(source: str, level: str, block_size: int, index: BlockIndex, relation: Relation | None) -> State:
    """That of a new archive."""
    return State.begin(new_header(source, level, block_size, relation), secrets.token_bytes(16), index)


def new_header(source: str, level: str, block_size: int, relation: Relation | None) -> ArchiveHeader:
    """That of a new archive."""
    base, repairs = (relation.base, relation.repairs) if relation else (None, None)
    begin = base or repairs
    return ArchiveHeader(
        hash_key=relation.hash_key if relation else secrets.token_bytes(32),
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        source=source,
        writer=f"glancearchive {__version__}",
        level=level,
        block_size=block_size,
        frame_size=LEVELS[level].frame_size,
        first_block=begin.blocks if begin else 0,
        first_frame=begin.frames if begin else 0,
        incompatible=(INCREMENTAL,) if base else (REPAIR,) if repairs else (),
        base=base,
        repairs=repairs,
    )
