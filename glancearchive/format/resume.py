"""Where a writer begins, or goes on: after the last good commit record of an archive's volumes (SPEC section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from glancearchive.errors import ExistsError, FormatError, LocalError, MissingError, UsageError, VolumeError
from glancearchive.format.archiveheader import DEFAULT_BLOCK_SIZE, ArchiveHeader
from glancearchive.format.blockindex import BlockIndex
from glancearchive.format.header import BEGINNING, RecordHeader, RecordType, is_ancillary
from glancearchive.format.identity import has_records, identify
from glancearchive.format.openvolume import OpenVolume, give_name, least_limit
from glancearchive.format.places import Places
from glancearchive.format.recordfile import reopen
from glancearchive.format.scan import Position, Step, VolumeScan
from glancearchive.format.schema import Checkpoint, End
from glancearchive.format.state import Relation, State, new_state
from glancearchive.format.structured import read_structured
from glancearchive.format.volume import Volume
from glancearchive.format.volumes import is_part, sibling

_MOST_UNBORN = 1 << 16  # bytes; a header record is far smaller
_SECTOR = 512  # bytes that arrive as a whole


def open_archive(
    places: Places,
    source: str,
    level: str,
    block_size: int | None,
    index: BlockIndex,
    relation: Relation | None = None,
    keep: int = 0,
) -> tuple[State, OpenVolume, bool]:
    """The archive at `places` for writing, its volume under way, and whether there was something to go on with.

    What follows the last good commit record is cut off, but nothing of the first `keep` bytes: FormatError where damage
    in them hides the end with which it was finished. Raises ExistsError when it is finished; UsageError for another
    `block_size` than it has, which cannot be changed, and when the volumes could not hold what they must; else as
    `find_state`.
    """
    check_absent(places)
    path, paths = places.path, dict(places.paths)
    last = max(paths, default=0)
    file = reopen(paths[last]) if last and is_part(paths[last]) else None  # nobody else writes it from now on
    try:
        state = find_state(paths, index) if last else None
        resumed = state is not None or last > 0
        if keep and (state is None or state.offset < keep):
            what = f"going on from byte {state.offset if state else 0} would cut off the end with which it was finished"
            raise VolumeError(f"is damaged; {what}: repair it first", volume=paths[last].name, end=keep)
        for number, one in sorted(paths.items()):
            if is_part(one) and number < last:  # it is whole, or there were no state
                places.paths[number] = places.of(number)
                give_name(one, places.paths[number])
        if state is None:
            state = new_state(source, level, block_size or DEFAULT_BLOCK_SIZE, index, relation)
        header = state.header
        check_header(path, header, block_size, relation)
        least = check_limit(places, header)

        check_unfinished(paths, state)
        unborn = state.offset == 0
        if file is None or unborn or state.volume < last:
            number = 1 if unborn else state.volume + 1
            place = places.choose(number, least) if file is None else places.of(number)
            return state, OpenVolume.create(place, state, places.limit(place), file), resumed
        volume = OpenVolume.reopen(places.of(last), state, places.limit(places.of(last)), file)
    except BaseException:
        if file is not None:
            file.close()
        raise
    if state.end is not None and not state.end.final:
        volume.sync()  # the run that wrote the end may not have lived to do it
        volume.give_name()
        place = places.choose(last + 1, least)
        volume = OpenVolume.create(place, state, places.limit(place))
    elif not volume.can_end():
        volume.close()
        raise UsageError(f"{volume.part_path}: has {volume.offset} bytes already: volumes have to be larger than that")
    return state, volume, resumed


def check_absent(places: Places) -> None:
    """Raises as `Places.check`, and ExistsError when the archive is there, finished and in one piece."""
    places.check()
    if places.split is None and places.path.exists():
        raise ExistsError(f"{places.path}: exists already")


def check_unfinished(paths: Mapping[int, Path], state: State) -> None:
    """Raises ExistsError when `state`, that of the volumes at `paths`, is that of a finished archive."""
    last = max(paths, default=0)
    if last and not is_part(paths[last]) and state.end is not None and state.end.final:
        raise ExistsError(f"{paths[last]}: exists already")


def check_header(path: Path, header: ArchiveHeader, block_size: int | None, relation: Relation | None) -> None:
    """Raises UsageError unless the archive `path`, which has this `header`, can be gone on with as what is wanted.

    None as `block_size` is what it has; `relation` is to be the one that it was begun with.
    """
    if block_size not in (None, header.block_size):
        message = f"{path}: has blocks of {header.block_size} bytes, and cannot be gone on with in blocks of"
        raise UsageError(f"{message} {block_size}: leave out the block size, or begin another archive")
    base, repairs = (relation.base, relation.repairs) if relation else (None, None)
    if (base, repairs) == (header.base, header.repairs):
        return
    if header.repairs is not None:
        what = f"a repair of archive {header.repairs.archive_id.hex()} (dump --for)"
    else:
        what = f"an increment of {header.base}" if header.base else "no increment"
    raise UsageError(f"{path}: was begun as {what}: go on with it so, or begin another archive")


def check_limit(places: Places, header: ArchiveHeader) -> int:
    """The least size of a volume with this `header`. Raises UsageError when those at `places` are to be smaller."""
    size, least = places.split.size if places.split else None, least_limit(header)
    if size is not None and size < least:
        raise UsageError(f"{places.path}: volumes of {size} bytes are too small: the least is {least} bytes")
    return least


def find_state(paths: Mapping[int, Path], index: BlockIndex) -> State | None:
    """The state at the last good commit record of the volumes at `paths` by number, with `index` for its blocks.

    Only their records are read, no data. None when not even the header record of the one volume became durable. Raises
    FormatError for what is no archive, and for damage before the last thing that was committed; MissingError when a
    volume before another one is not there.
    """
    state: State | None = None
    position = Position()
    last = max(paths)
    for number in range(1, last + 1):
        if number not in paths:
            name = sibling(paths[last], number).name
            raise MissingError(f"volume {number} is missing: what it has is needed for going on", volume=name)
        volume = Volume(paths[number])
        try:
            if number == last and is_unborn(volume):
                return state
            state = _read_volume(volume, number, state, index, position, last=number == last)
        finally:
            volume.close()
        if number < last and (state.end is None or state.end.final):
            what = "is not finished" if is_part(paths[number]) else "has no volume after it"
            raise VolumeError(f"{what}, and yet there is volume {last}: {paths[last]}", volume=volume.name)
    return state


def _read_volume(
    volume: Volume, number: int, state: State | None, index: BlockIndex, position: Position, *, last: bool
) -> State:
    """Go through one volume, the one after what `state` tells, None for the first one."""
    claimed, archive_id = identify(volume)
    if claimed != number or (state is not None and state.archive_id != archive_id):
        what = f"is volume {claimed} of archive {archive_id.hex()}"
        raise VolumeError(f"{what}, and no volume {number} that could be gone on with", volume=volume.name)
    opened = False  # whether the header record has been met
    pending: dict[RecordType, int] = {}  # numbers of records that no commit record has covered yet
    end: tuple[RecordHeader, End] | None = None  # an end record whose copy has not been met
    fault: FormatError | None = None  # what follows the last good commit record, when that is not simply the end
    for step in VolumeScan(volume, archive_id, number, None, position):
        header, content = step.header, step.content
        if header is not None and is_ancillary(header.type) and fault is None:
            if header.type == RecordType.PADDING:
                pending[RecordType.PADDING] = header.number + 1
            continue  # whatever is wrong with it: nothing depends on it
        if fault is not None or step.faults or header is None:
            fault = fault or next(iter(step.faults), None)
            if fault is not None and fault.unreadable:
                raise LocalError(f"{fault}; going on would cut off what stands there, if it is there")
            if fault is not None and opened and state is not None and (not last or _was_committed(step, state)):
                raise _refused(fault)
            continue
        kind = RecordType(header.type) if header.type in RecordType.__members__.values() else None
        if kind is not None:
            pending[kind] = header.number + 1
        if isinstance(content, ArchiveHeader):
            state = state or State.begin(content, archive_id, index)
            state.open_volume(content, header)
            opened = True
        elif not opened or state is None:
            break
        elif isinstance(content, Checkpoint):
            state.learn(content)
            state.commit(header)
        elif isinstance(content, End):
            end = header, content
            continue
        elif kind is RecordType.END and end is not None:  # the copy: only now the end record counts
            state.end_session(*end)
        else:
            continue
        state.numbers.update(pending)
        pending.clear()
    if fault is not None and not opened:
        raise _refused(fault, certain=_has_commit(volume, archive_id))
    if not opened or state is None:
        raise FormatError("has no header record to go on from", volume=volume.name)
    return state


def _refused(fault: FormatError, *, certain: bool = True) -> FormatError:
    """`fault`, which something committed follows, or may follow if not `certain`, with what is to be done."""
    was = "was committed, and going on would cut it off" if certain else "may have been committed"
    fault.message += f"; what follows it {was}: keep this file, "
    fault.message += "take from it what can be read, and begin a new archive"
    return fault


def _has_commit(volume: Volume, archive_id: bytes) -> bool:
    kinds = (RecordType.CHECKPOINT, RecordType.END)
    return any(not isinstance(item, FormatError) and item[1].type in kinds for item in volume.walk(archive_id))


def _was_committed(step: Step, state: State) -> bool:
    """Whether `step`, which stands after a fault, proves that the fault is damage and not what an interruption left.

    What makes data durable comes before the checkpoint that commits it, so that no interruption leaves a whole
    checkpoint after a torn record; and an end record names the last checkpoint.
    """
    if isinstance(step.content, End):
        return step.content.previous != state.previous
    return isinstance(step.content, Checkpoint)


def is_unborn(volume: Volume) -> bool:
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
    if has_records(volume):
        return False  # its first record was whole once, or there were none after it
    if not any(data[:_SECTOR]):
        return True  # what came next may have arrived before it
    if known[: len(BEGINNING)] != BEGINNING[: len(known)]:
        return False
    try:
        read_structured(volume, volume.read_header(0), 0)
    except FormatError:
        return True
    return False
