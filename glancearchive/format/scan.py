"""Reads a volume from front to back and checks that its records say one thing (SPEC sections 9 and 10).

The scan covers the layers ``archive`` to ``chain``. It decodes the structured
records and leaves the payloads of frames to its caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from glancearchive.errors import ArchiveError, ChainError, FormatError, HeaderError, VolumeError
from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.header import HEADER_SIZE, RecordHeader, RecordType, is_ancillary
from glancearchive.format.saidagain import Complaints, SaidAgain
from glancearchive.format.schema import CatalogPart, Checkpoint, End
from glancearchive.format.structured import Content, check_supported, read_structured
from glancearchive.format.volume import Volume


@dataclass(slots=True)
class Step:
    """One record, or one stretch that could not be read: what was found and what is wrong with it."""

    header: RecordHeader | None = None
    content: Content | None = None
    faults: list[FormatError] = field(default_factory=list)


@dataclass(slots=True)
class Position:
    """How far the archive's numbers have come; carried from volume to volume. None: not known (a volume is missing)."""

    numbers: dict[int, int | None] = field(default_factory=lambda: dict.fromkeys(range(256), 0))
    blocks: int | None = 0
    images: int | None = 0
    previous_end: bytes | None = None  # record digest of the last end record of the volume before

    def forget(self) -> None:
        """Something is missing: no number can be expected any more."""
        self.numbers = dict.fromkeys(range(256))
        self.blocks = self.images = self.previous_end = None

    def follow(self, end: End, record_digest: bytes) -> None:
        """What an end record says of the numbers that come next."""
        self.forget()
        self.numbers[RecordType.FRAME] = end.frames
        self.blocks, self.images, self.previous_end = end.blocks, end.images, record_digest


class VolumeScan:
    """One pass over a volume. Iterate over it; afterwards `ended` and `end` say how the volume ends.

    `known` is the header of the archive as learned elsewhere (the end record),
    used when the volume's own header record is damaged.
    """

    def __init__(
        self, volume: Volume, archive_id: bytes, number: int, known: ArchiveHeader | None, at: Position
    ) -> None:
        self.volume = volume
        self.archive_id = archive_id
        self.number = number
        self.header = known
        self.position = at
        if known is not None and number == 1:
            at.numbers[RecordType.FRAME], at.blocks = known.origin
        self.ended = False  # whether the last thing seen is a complete end record with its copy
        self.end: End | None = None
        self.committed = 0  # byte after the last good commit record of an unbroken chain
        self._chain_whole = True
        self._previous: bytes | None = None
        self._frames: list[RecordHeader] | None = []  # since the last commit record; None: some are not known
        self._awaiting_copy: RecordHeader | None = None
        self._in_catalogs = False
        self._again = SaidAgain(number)

    def __iter__(self) -> Iterator[Step]:
        broken_off = False
        for item in self.volume.walk(self.archive_id):
            if isinstance(item, FormatError):
                step = Step(faults=[self._unreadable(item)])
                broken_off = broken_off or isinstance(step.faults[0], VolumeError)
            else:
                step = self._record(*item)
                broken_off = any(
                    isinstance(fault, VolumeError) and fault.end == self.volume.size for fault in step.faults
                )
            if step.faults:
                self._chain_whole = False
            elif self._chain_whole and step.content is not None and not isinstance(step.content, CatalogPart):
                assert step.header is not None
                self.committed = step.header.end
            yield step
        if not self.ended and not broken_off:
            message = "the volume ends before its end record: it was cut short or never finished"
            yield Step(
                faults=[VolumeError(message, volume=self.volume.name, begin=self.committed, end=self.volume.size)]
            )

    def _unreadable(self, error: FormatError) -> FormatError:
        """The fault for a stretch without a usable header. What depends on the stretch is forgotten."""
        if (
            self._awaiting_copy is not None
            and error.end - error.begin == HEADER_SIZE
            and isinstance(error, HeaderError)
        ):
            self._awaiting_copy, self.ended = None, True
            return HeaderError(f"the end copy: {error.message}", volume=error.volume, begin=error.begin, end=error.end)
        if self.ended and not isinstance(error, ArchiveError):
            return VolumeError(
                "bytes follow the end of the archive", volume=error.volume, begin=error.begin, end=self.volume.size
            )
        self.ended = False
        self._frames = self._previous = None
        self._again.forget()
        self.position.forget()
        return error

    def _record(self, at: int, header: RecordHeader) -> Step:
        step = Step(header)
        if self._awaiting_copy is not None:
            expected, self._awaiting_copy = self._awaiting_copy, None
            if header.type == RecordType.END and header.offset == expected.offset:
                self.ended = True
                if header != expected:
                    step.faults.append(
                        self._fault(HeaderError, header, "the end copy differs from the end record's header")
                    )
                return step
            step.faults.append(self._fault(ChainError, header, "a record where the end copy should be"))
        elif self.ended and self.end is not None and not self.end.final:
            step.faults.append(
                self._fault(ChainError, header, "a record after the end of a volume that is not the last")
            )
        self.ended = False
        if header.volume != self.number:
            message = f"a record of volume {header.volume} in volume {self.number}"
            step.faults.append(self._fault(VolumeError, header, message))
        self._check_number(header, step)
        if header.type == RecordType.FRAME:
            self._frame(header, step)
        elif is_ancillary(header.type):
            try:
                self.volume.read_raw(header)
            except FormatError as error:
                step.faults.append(error)
        else:
            self._structured(header, step)
        if header.offset != at:
            # The end copy, met alone: the end record's own header is damaged, and this one did as well.
            self._awaiting_copy, self.ended = None, True
        return step

    def _check_number(self, header: RecordHeader, step: Step) -> None:
        expected = self.position.numbers[header.type]
        if header.type == RecordType.HEADER:
            expected = self.number - 1
        if expected is not None and header.number != expected:
            message = f"record number {header.number} of its type, expected {expected}"
            step.faults.append(self._fault(HeaderError, header, message))
        self.position.numbers[header.type] = (header.number if expected is None else expected) + 1

    def _frame(self, header: RecordHeader, step: Step) -> None:
        if self._in_catalogs:
            step.faults.append(self._fault(ChainError, header, "a frame after a catalog"))
        if header.end > self.volume.size:
            message = f"the volume is cut short in frame {header.number}"
            step.faults.append(VolumeError(message, volume=self.volume.name, begin=header.offset, end=self.volume.size))
        if self._frames is not None:
            self._frames.append(header)

    def _structured(self, header: RecordHeader, step: Step) -> None:
        if self.header is None and header.type != RecordType.HEADER:
            return  # cannot be decoded without the archive's header, whose damage has been reported
        try:
            content = read_structured(self.volume, header, self.header.block_size if self.header else 0)
        except FormatError as error:
            step.faults.append(error)
            # Its header is whole, so the chain can be followed across it; what it said cannot be known.
            self._again.unread(header.type)
            if header.type in (RecordType.CHECKPOINT, RecordType.END):
                self._previous, self._frames = header.record_digest, []
                self.position.blocks = self.position.images = None
            self._awaiting_copy = header if header.type == RecordType.END else None
            return
        step.content = content
        if isinstance(content, ArchiveHeader):
            self._header(header, content, step)
        elif isinstance(content, Checkpoint):
            self._checkpoint(header, content, step)
        elif isinstance(content, CatalogPart):
            self._catalog(header, content, step)
        else:
            self._end(header, content, step)

    def _header(self, header: RecordHeader, content: ArchiveHeader, step: Step) -> None:
        if header.offset != 0:
            step.faults.append(self._fault(ChainError, header, "a second header record"))
            return
        check_supported(content, {"volume": self.volume.name, "begin": header.offset, "end": header.end})
        if self.header is not None and content.shared() != self.header.shared():
            step.faults.append(self._fault(VolumeError, header, "the volume's header differs from that of the others"))
        frame, block = self.position.numbers[RecordType.FRAME], self.position.blocks
        if self.number == 1:
            frame, block = content.origin
        self._expect("first_frame", content.first_frame, frame, header, step)
        self._expect("first_block", content.first_block, block, header, step)
        if self.number == 1 and content.previous is not None:
            step.faults.append(self._fault(ChainError, header, "volume 1 names a volume before it"))
        elif self.number > 1 and self.position.previous_end not in (None, content.previous):
            step.faults.append(self._fault(ChainError, header, "does not follow the end of the volume before"))
        self.header = content
        self._again.front(content)
        self.position.numbers[RecordType.FRAME], self.position.blocks = content.first_frame, content.first_block
        self._begin_session(header)

    def _begin_session(self, header: RecordHeader) -> None:
        assert self.header is not None
        self._previous = header.record_digest
        self._frames = []
        self._in_catalogs = False
        self._again.begin_session(self.header.block_size)

    def _commit(self, header: RecordHeader, previous: bytes, step: Step) -> None:
        if self._previous is not None and previous != self._previous:
            step.faults.append(self._fault(ChainError, header, "does not name the commit record before it"))
        self._previous = header.record_digest

    def _checkpoint(self, header: RecordHeader, content: Checkpoint, step: Step) -> None:
        self._commit(header, content.previous, step)
        if content.header is not None:
            self._complain(header, self._again.header(content.header), step)
        if self._in_catalogs:
            step.faults.append(self._fault(ChainError, header, "a checkpoint after a catalog"))
        run = content.frames
        self._expect("first_block", run.first_block, self.position.blocks, header, step)
        self._expect("first_frame", run.first_frame, self._next_frame(), header, step)
        if self._frames is not None:
            seen = [(one.offset, one.stored_size, one.raw_size, one.payload_digest) for one in self._frames]
            if seen != run.rows.tolist():
                step.faults.append(self._fault(ChainError, header, "its frame index differs from the frames before it"))
        self._frames = []
        assert self.header is not None
        self.position.blocks = run.first_block + int(run.rows["raw_size"].sum(dtype="u8")) // self.header.block_size
        for part in content.images:
            known = self.position.images
            if known is None:
                break
            if part.number > known:
                message = f"image number {part.number}, the next one is {known}"
                step.faults.append(self._fault(ChainError, header, message))
            self.position.images = max(known, part.number + 1)
        self._complain(header, self._again.checkpoint(content), step)

    def _expect(self, name: str, value: int, known: int | None, header: RecordHeader, step: Step) -> None:
        if known is not None and value != known:
            step.faults.append(self._fault(ChainError, header, f"{name} is {value}, expected {known}"))

    def _next_frame(self) -> int | None:
        """The number that the first frame since the last commit record had to have."""
        after = self.position.numbers[RecordType.FRAME]
        return None if after is None or self._frames is None else after - len(self._frames)

    def _catalog(self, header: RecordHeader, content: CatalogPart, step: Step) -> None:
        self._in_catalogs = True
        if self._frames:
            step.faults.append(self._fault(ChainError, header, "a catalog after frames that no checkpoint commits"))
        self._complain(header, self._again.catalog(header, content), step)

    def _end(self, header: RecordHeader, content: End, step: Step) -> None:
        self._commit(header, content.previous, step)
        if self._frames:
            step.faults.append(self._fault(ChainError, header, "an end record after frames that no checkpoint commits"))
        if self.end is not None and self.end.final and not content.final:
            step.faults.append(self._fault(ChainError, header, "another volume follows a session that was the last"))
        self._complain(header, self._again.header(content.header), step)
        totals = (
            ("frames", content.frames, self._next_frame()),
            ("blocks", content.blocks, self.position.blocks),
            ("images", content.images, self.position.images),
        )
        for name, value, known in totals:
            if known is not None and value != known:
                step.faults.append(self._fault(ChainError, header, f"counts {value} {name}, expected {known}"))
        self._complain(header, self._again.end(content), step)
        self.end = content
        self.position.previous_end = header.record_digest
        self.position.blocks, self.position.images = content.blocks, content.images
        self.position.numbers[RecordType.FRAME] = content.frames
        self._begin_session(header)
        self._awaiting_copy = header

    def _complain(self, header: RecordHeader, complaints: Complaints, step: Step) -> None:
        step.faults += [self._fault(kind, header, message) for kind, message in complaints]

    def _fault(self, kind: type[FormatError], header: RecordHeader, message: str) -> FormatError:
        name = RecordType(header.type).name.lower() if not is_ancillary(header.type) else f"type {header.type}"
        return kind(f"{name} record: {message}", volume=self.volume.name, begin=header.offset, end=header.end)
