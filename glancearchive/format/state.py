"""What a writer begins with: a new volume, or one to go on with after its last good commit record (SPEC section 9)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

import numpy as np

from glancearchive.errors import FormatError, LocalError, UsageError
from glancearchive.format.blockindex import BlockIndex
from glancearchive.format.catalog import Catalog, Entry
from glancearchive.format.compression import LEVELS
from glancearchive.format.consolidate import Consolidator
from glancearchive.format.frameindex import FrameIndex
from glancearchive.format.growing import Room
from glancearchive.format.header import BEGINNING, HEADER_SIZE, RecordHeader, RecordType
from glancearchive.format.imageparts import ZEROS
from glancearchive.format.reader import identify
from glancearchive.format.recordfile import RecordFile, create, reopen, sync_directory
from glancearchive.format.scan import Position, Step, VolumeScan
from glancearchive.format.schema import DEFAULT_BLOCK_SIZE, ArchiveHeader, CatalogRow, Checkpoint, End, FrameRun
from glancearchive.format.structured import read_structured
from glancearchive.format.volume import Volume
from glancearchive.version import __version__

_MOST_UNBORN = 1 << 16  # bytes; a header record is far smaller


@dataclass(slots=True)
class State:
    """What a writer knows at a commit record.

    `offset` is the byte after it, where writing goes on; `previous` its record digest; `numbers` the next number of
    each record type. `catalog` holds all that was said up to where writing began in this run, `session` what was said
    since the last end record. `began` tells for each image without an end how many blocks were committed before its
    first part.
    """

    header: ArchiveHeader
    archive_id: bytes
    volume: int
    offset: int
    previous: bytes
    numbers: dict[RecordType, int]
    catalog: Catalog
    session: Consolidator
    index: BlockIndex
    catalog_rows: tuple[CatalogRow, ...] = ()
    blocks: int = 0
    images: int = 0
    began: dict[int, int] = field(default_factory=dict)
    finished: bool = False  # nothing is missing but perhaps the name


def stored_bytes(state: State, entry: Entry) -> int:
    """About how many stored bytes an unfinished image has added: its share in the frames since it was begun."""
    extents, _ = entry.extents()
    began, total = state.began.get(entry.number, 0), 0
    for start, count in extents[(extents[:, 0] != ZEROS) & (extents[:, 0] >= np.uint64(began))].tolist():
        at, end = start, start + count
        while at < end and (frame := state.catalog.frames.find(at)) is not None:
            stop = min(end, frame.first_block + frame.blocks)
            total += (frame.stored_size + HEADER_SIZE) * (stop - at) // frame.blocks
            at = stop
    return total


def find_state(volume: Volume, room: Room) -> State:
    """The state at the last good commit record of `volume`, with a block index in `room`.

    Raises FormatError when there is none, that is, when not even the header record is whole.
    """
    number, archive_id = identify(volume)
    state: State | None = None
    pending: dict[RecordType, int] = {}  # numbers of records that no commit record has covered yet
    end: tuple[RecordHeader, End] | None = None  # an end record whose copy has not been met
    fault: FormatError | None = None  # what follows the last good commit record, when that is not simply the end
    for step in VolumeScan(volume, archive_id, number, None, Position()):
        header, content = step.header, step.content
        if fault is not None or step.faults or header is None:
            fault = fault or next(iter(step.faults), None)
            if fault is not None and fault.unreadable:
                raise LocalError(f"{fault}; going on would cut off what stands there, if it is there")
            if fault is not None and state is not None and _was_committed(step, state):
                fault.message += "; what follows it was committed, and going on would cut it off: keep this file, "
                fault.message += "take from it what can be read, and begin a new archive"
                raise fault
            continue
        kind = RecordType(header.type) if header.type in RecordType.__members__.values() else None
        if kind is not None:
            pending[kind] = header.number + 1
        if isinstance(content, ArchiveHeader):
            state = _begin_state(content, archive_id, number, room)
            _commit(state, header, pending)
        elif state is None:
            break
        elif isinstance(content, Checkpoint):
            _apply(state, content)
            _commit(state, header, pending)
        elif isinstance(content, End):
            end = header, content
        elif kind is RecordType.END and end is not None:  # the copy: only now the end record counts
            state.catalog_rows = end[1].catalog
            state.session = Consolidator(state.header.block_size)
            _commit(state, end[0], pending)
            state.offset += HEADER_SIZE
            state.finished = True
    if state is None:
        raise fault or FormatError("has no header record to go on from", volume=volume.name)
    return state


def _was_committed(step: Step, state: State) -> bool:
    """Whether `step`, which stands after a fault, proves that the fault is damage and not what an interruption left.

    What makes data durable comes before the checkpoint that commits it, so that no interruption leaves a whole
    checkpoint after a torn record; and an end record names the last checkpoint.
    """
    if isinstance(step.content, End):
        return step.content.previous != state.previous
    return isinstance(step.content, Checkpoint)


def _commit(state: State, header: RecordHeader, pending: dict[RecordType, int]) -> None:
    state.offset, state.previous, state.finished = header.end, header.record_digest, False
    state.numbers.update(pending)
    pending.clear()


def _begin_state(header: ArchiveHeader, archive_id: bytes, volume: int, room: Room) -> State:
    catalog = Catalog(FrameIndex(header.block_size))
    numbers = dict.fromkeys(RecordType, 0)
    session, index = Consolidator(header.block_size), BlockIndex(header.first_block, room)
    return State(header, archive_id, volume, 0, b"", numbers, catalog, session, index, blocks=header.first_block)


def _apply(state: State, content: Checkpoint) -> None:
    run = content.frames
    state.catalog.frames.add(state.volume, FrameRun(run.first_frame, run.first_block, run.rows))
    state.session.learn(content)
    for part in content.images:
        state.began.setdefault(part.number, state.blocks)
        state.images = max(state.images, part.number + 1)
        state.catalog.add_part(part)
        if part.end is not None:
            del state.began[part.number]
    if run.block_digests is not None and len(run.block_digests):
        # A block may stand in an archive twice; the index then finds one of them.
        state.index.extend(run.block_digests)
        state.blocks += len(run.block_digests)


def create_volume(path: Path, source: str, level: str, block_size: int, room: Room) -> tuple[State, RecordFile]:
    """A new volume with its header record, durable."""
    file = create(path)
    try:
        return _begin_volume(path, file, source, level, block_size, room)
    except BaseException:
        file.close()
        raise


def _begin_volume(
    path: Path, opened: FileIO, source: str, level: str, block_size: int, room: Room
) -> tuple[State, RecordFile]:
    header = ArchiveHeader(
        hash_key=secrets.token_bytes(32),
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        source=source,
        writer=f"glancearchive {__version__}",
        level=level,
        block_size=block_size,
        frame_size=LEVELS[level].frame_size,
    )
    archive_id = secrets.token_bytes(16)
    state = _begin_state(header, archive_id, 1, room)
    file = RecordFile(path, opened, 1, archive_id, block_size, 0, state.numbers)
    record = file.write_structured(RecordType.HEADER, header.to_map())
    file.sync()
    sync_directory(path.parent)
    state.offset, state.previous = record.end, record.record_digest
    return state, file


def reopen_volume(path: Path, source: str, level: str, block_size: int | None, room: Room) -> tuple[State, RecordFile]:
    """The volume as its last good commit record left it; what follows that is cut off.

    Only its records are read, no data. Where not even the header record became durable, the volume is begun anew, as
    `create_volume` does it. Raises FormatError when it is no archive, or is damaged before the last thing that was
    committed; UsageError when `block_size` is not that of the archive, which cannot be changed.
    """
    file = reopen(path)
    try:
        volume = Volume(path)
        try:
            if _is_unborn(volume):
                return _begin_volume(path, file, source, level, block_size or DEFAULT_BLOCK_SIZE, room)
            state = find_state(volume, room)
        finally:
            volume.close()
        if block_size not in (None, state.header.block_size):
            message = f"{path}: has blocks of {state.header.block_size} bytes, and cannot be gone on with in blocks of"
            raise UsageError(f"{message} {block_size}: leave out the block size, or begin another archive")
        return state, RecordFile(
            path, file, state.volume, state.archive_id, state.header.block_size, state.offset, state.numbers
        )
    except BaseException:
        file.close()
        raise


def _is_unborn(volume: Volume) -> bool:
    """Whether it is what an interruption leaves of the first record: its beginning, and zeros where data are missing.

    Anything else that is no archive is somebody's file, and not to be overwritten.
    """
    if volume.size > _MOST_UNBORN:
        return False
    try:
        data = volume.read_at(0, volume.size)
    except OSError:
        return False
    known = data.rstrip(b"\0")
    if known[: len(BEGINNING)] != BEGINNING[: len(known)]:
        return False
    try:
        read_structured(volume, volume.read_header(0), 0)
    except FormatError:
        return True
    return False
