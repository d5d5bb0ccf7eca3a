"""Every error the package raises on purpose; the class says which layer failed.

::

    GlanceArchiveError                  exit_code 3: could not start or go on
    ├── UsageError                      exit_code 2: the request itself makes no sense
    ├── FormatError                     an archive that is not what the specification says
    │   ├── ArchiveError                layer "archive": no archive
    │   │   └── UnsupportedError            a newer version, an unknown feature, hash or record type
    │   ├── VolumeError                 layer "volume":  cut short, bytes after the end, mixed volumes
    │   │   ├── MissingError                a volume or a base that is not at hand
    │   │   └── StrangerError               a file that is of no use for the archive that it was given for
    │   │       └── MisnamedError               a volume that has the name of another one, and is used all the same
    │   ├── HeaderError                 layer "header":  a record header
    │   ├── RecordError                 layer "record":  the payload of a structured record
    │   ├── ChainError                  layer "chain":   records that do not follow one another
    │   ├── FrameError                  layer "frame":   the payload of a frame
    │   ├── BlockError                  layer "block":   a block against its digest
    │   ├── ImageError                  layer "image":   an image's map or digest
    │   │   └── HeldError                   an image that cannot be released: not all of it is whole and at hand
    │   └── GlanceHashError             layer "glance":  Glance's own hash of an image
    ├── LocalError                      no space, no permission, unreadable medium
    │   ├── ExistsError                 the target exists
    │   └── NoSpaceError                the medium is full, or a file may not become larger
    ├── ImageFileError                  a file with the data of one image: unreadable, cut short, changed
    ├── InterruptedTransferError        exit_code 130: the operator asked for the end
    └── ServerError                     anything a server or the way to it did
        ├── ConnectError                no server there, TLS, name resolution
        ├── NotGlanceError              something answered, but it is no Glance
        ├── AccessError                 401, 403
        ├── NotFoundError               404
        ├── ConflictError               409
        ├── RefusedError                400, 413, 415 and the other 4xx: the request is final
        ├── UnavailableError            429, 5xx: may succeed later
        ├── NoDataError                 an image whose data the server lacks or will not give
        └── StreamError                 image data cut short, too long, or not what was announced

Messages are one line: what was being done, to which image and volume, at which
byte, what was expected and what came. They carry no stack trace and no secret.
"""

from __future__ import annotations

from typing import ClassVar


class GlanceArchiveError(Exception):
    """Base of all errors raised on purpose. ``str(error)`` is one line fit for an operator."""

    exit_code: ClassVar[int] = 3


class UsageError(GlanceArchiveError):
    """The request contradicts itself or names something unknown."""

    exit_code: ClassVar[int] = 2


class FormatError(GlanceArchiveError):
    """Bytes of an archive break a rule of the specification.

    `volume` is the volume's file name ("" when unknown); `begin` and `end` are
    the byte range in that volume, end exclusive.
    """

    layer: ClassVar[str] = "archive"

    def __init__(self, message: str, *, volume: str = "", begin: int = 0, end: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.volume = volume
        self.begin = begin
        self.end = end
        self.unreadable = False  # whether the medium gave no bytes at all: another attempt may

    def __str__(self) -> str:
        if not self.volume:
            return self.message
        if self.end <= self.begin:
            return f"{self.volume}: {self.message}"
        return f"{self.volume}: bytes {self.begin}-{self.end - 1}: {self.message}"


class ArchiveError(FormatError):
    """Not an archive, an archive of a newer version, or one with an unknown incompatible feature."""

    layer = "archive"


class UnsupportedError(ArchiveError):
    """An archive that this program must refuse: a newer version, an unknown feature, hash or record type."""


class VolumeError(FormatError):
    """A volume that is cut short, has bytes after its end, or belongs to another archive."""

    layer = "volume"


class MissingError(VolumeError):
    """A volume of an archive, or another archive that it needs, that was not given. Nothing is damaged by that."""


class StrangerError(VolumeError):
    """A file that was given for an archive and is of no use for it. Nothing is damaged by that."""


class MisnamedError(StrangerError):
    """A volume that is called as if it were another one of its archive. It is used by what it says; all is there."""


class HeaderError(FormatError):
    """A record header whose signature, checksum or fields are wrong."""

    layer = "header"


class RecordError(FormatError):
    """The payload of a structured record: stored digest, compression, encoding or schema."""

    layer = "record"


class ChainError(FormatError):
    """Records that are each whole but do not follow from one another."""

    layer = "chain"


class FrameError(FormatError):
    """The payload of a frame: stored digest, compression or length."""

    layer = "frame"


class BlockError(FormatError):
    """A block that does not match its digest."""

    layer = "block"


class ImageError(FormatError):
    """An image whose map is inconsistent or whose digest does not match its map."""

    layer = "image"


class HeldError(ImageError):
    """An image that cannot be released: of what it needs, some is damaged, or not at hand."""


class GlanceHashError(FormatError):
    """The rebuilt image does not have the hash that Glance recorded for it."""

    layer = "glance"


class LocalError(GlanceArchiveError):
    """The local file system refused: no space, no permission, target exists, I/O error."""


class ExistsError(LocalError):
    """Something has the name already; it was not touched."""


class NoSpaceError(LocalError):
    """The medium is full, or takes no file that is so large."""


class ImageFileError(GlanceArchiveError):
    """A local file that holds one image, or should: unreadable, cut short, changed. It concerns this image alone."""


class InterruptedTransferError(GlanceArchiveError):
    """The operator asked for the end (Ctrl-C, SIGTERM, SIGHUP)."""

    exit_code: ClassVar[int] = 130


class ServerError(GlanceArchiveError):
    """A server, or the way to it, failed.

    `status` is the HTTP status (0 when none came); `request_id` is the server's
    ``x-openstack-request-id`` ("" when none came); `retry_after` is how many
    seconds the server asked to be left alone (0 when it did not say).
    """

    def __init__(self, message: str, *, status: int = 0, request_id: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} [{self.request_id}]" if self.request_id else self.message


class ConnectError(ServerError):
    """Nobody answered: refused, unreachable, unknown host, TLS failure, timeout."""


class NotGlanceError(ServerError):
    """Something answered, but not as a Glance image service v2 does."""


class AccessError(ServerError):
    """401 or 403: not authenticated, or not allowed."""


class NotFoundError(ServerError):
    """404."""


class ConflictError(ServerError):
    """409."""


class RefusedError(ServerError):
    """Another 4xx: repeating the same request will not help."""


class UnavailableError(ServerError):
    """429 or 5xx: the same request may succeed later."""


class NoDataError(ServerError):
    """The server has no data of an image, or will not give them: `message` is fit for `Image.absent`."""


class StreamError(ServerError):
    """Image data that ended early, went on too long, or was not the range asked for."""
