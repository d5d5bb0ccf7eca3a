"""What a volume says more than once, and whether it says the same again (SPEC section 10, layers chain and image).

Its header is repeated by checkpoints and end records; what the checkpoints of a session said, by its catalogs; where
these lie, by its end record.
"""

from __future__ import annotations

from collections.abc import Iterable

from glancearchive.errors import ChainError, FormatError, ImageError
from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.imageparts import ImagePart
from glancearchive.format.schema import CatalogPart, CatalogRow, Checkpoint, End, FrameRun
from glancearchive.format.session import Account

Complaints = list[tuple[type[FormatError], str]]
"""What is wrong with a record: the error that it is, and its message."""


class SaidAgain:
    """What the records of volume `number` have said so far.

    It is to be given all of them, in order; what each contradicts comes back. What could not be read is said to it too,
    and nothing is held against that.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._header: ArchiveHeader | None = None  # as the volume said it first
        self._rows: list[CatalogRow] | None = []  # of its catalogs; None: some are not known
        self._begun: set[int] = set()  # images that have a part in this volume
        self._said: Account | None = None  # by the checkpoints of this session; None: some are not known
        self._repeated: Account | None = None  # by its catalogs

    def front(self, header: ArchiveHeader) -> None:
        """The volume begins with this header."""
        self._header = header

    def begin_session(self, block_size: int) -> None:
        """What follows is another session's."""
        self._said = Account(self._number, block_size)
        self._repeated = Account(self._number, block_size)

    def forget(self) -> None:
        """There are bytes that may have been any records."""
        self._said = self._rows = None

    def unread(self, record_type: int) -> None:
        """What a record of this type says is not known."""
        self._said = None
        if record_type == RecordType.CATALOG:
            self._rows = None

    def header(self, said: ArchiveHeader) -> Complaints:
        """A record repeats the header."""
        known, self._header = self._header, self._header or said
        return [] if known in (None, said) else [(ChainError, "repeats another header than the volume's")]

    def checkpoint(self, content: Checkpoint) -> Complaints:
        """A checkpoint says this of frames and images."""
        return self._learn(self._said, content.frames, content.images)

    def catalog(self, header: RecordHeader, content: CatalogPart) -> Complaints:
        """The catalog record with this `header` says this."""
        if self._rows is not None:
            row = (header.number, header.offset, header.stored_size, header.raw_size, header.payload_digest)
            self._rows.append(CatalogRow(content.kind, *row))
        return self._learn(self._repeated, content.frames, content.images or ())

    def _learn(self, into: Account | None, run: FrameRun | None, images: Iterable[ImagePart]) -> Complaints:
        wrong: Complaints = []
        if into is None:
            return wrong
        if run is not None:
            try:
                into.add_frames(run)
            except ValueError as error:
                wrong.append((ChainError, str(error)))
        for part in images:
            if into is self._said and into.has_ended(part.number):
                wrong.append((ImageError, f"image {part.number} goes on after its end"))
            try:
                into.add_part(part)
            except ValueError as error:
                wrong.append((ImageError, str(error)))
            if into is self._said and part.begin is None and part.number not in self._begun:
                message = f"the first part of image {part.number} in this volume does not say what the image is"
                wrong.append((ImageError, message))
            self._begun.add(part.number)
        return wrong

    def end(self, content: End) -> Complaints:
        """An end record ends the session, and lists these catalogs."""
        wrong: Complaints = []
        if self._rows is not None and content.catalog != tuple(self._rows):
            wrong.append((ChainError, "lists other catalogs than the volume has"))
        if self._said is not None and self._repeated is not None:
            difference = self._said.difference(self._repeated)
            if difference:
                wrong.append((ChainError, f"the catalog {difference}"))
        return wrong
