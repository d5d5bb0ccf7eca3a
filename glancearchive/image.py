"""The nouns that every layer above the format shares. No I/O here.

An `Image` is what Glance says of one image; a `Source` has images and can read
their data; a `Target` takes images in. A dump, a load and a live copy are one
operation over different sources and targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Digest:
    """A hash of a whole image: `algorithm` as :mod:`hashlib` names it, `value` in lower-case hex."""

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


@dataclass(frozen=True, slots=True)
class Holding:
    """What a source knows of an image's data by itself, whatever a Glance said of them.

    `digests` were computed over the data that it has. `lacking` says why data that the image has
    elsewhere are not here, or not all of them; "" when there is nothing of the kind to say. `stored` is
    how many bytes they take up here, None when that is not known. `original` says that no Glance ever had the image:
    there can be no earlier digest of its data, and the first that is computed becomes theirs. `unproven` says that
    whatever digests the metadata state, nobody here has compared the data with them.
    """

    digests: tuple[Digest, ...] = ()
    lacking: str = ""
    stored: int | None = None
    original: bool = False
    unproven: bool = False


class ImageFault(str):
    """A line about what is wrong at a source besides its images' data, that concerns one image only."""

    image_id: str

    def __new__(cls, image_id: str, text: str) -> ImageFault:
        """`image_id` is whose fault it is: it does not count where that image was not chosen."""
        fault = super().__new__(cls, text)
        fault.image_id = image_id
        return fault


@dataclass(frozen=True, slots=True)
class Image:
    """One image as its Glance describes it.

    `metadata` is the JSON object of ``GET /v2/images/ID`` verbatim; `members`
    are the JSON objects of ``GET /v2/images/ID/members``. `absent` says why no
    data can be had ("" when data can be had), for example ``"queued"``. `held` is what the source adds to that.
    """

    metadata: Mapping[str, Any]
    members: Sequence[Mapping[str, Any]] = ()
    absent: str = ""
    held: Holding = Holding()

    @property
    def id(self) -> str:
        return str(self.metadata["id"])

    @property
    def name(self) -> str:
        """The image's name, "" when it has none."""
        return str(self.metadata.get("name") or "")

    @property
    def size(self) -> int | None:
        """Bytes of image data, or None where Glance does not know (no data yet)."""
        size = self.metadata.get("size")
        return size if isinstance(size, int) else None

    @property
    def digests(self) -> tuple[Digest, ...]:
        """The digests Glance recorded, the strongest first: multihash, then the MD5 ``checksum``."""
        found = []
        algorithm, value = self.metadata.get("os_hash_algo"), self.metadata.get("os_hash_value")
        if isinstance(algorithm, str) and isinstance(value, str) and value:
            found.append(Digest(algorithm, value.lower()))
        checksum = self.metadata.get("checksum")
        if isinstance(checksum, str) and checksum:
            found.append(Digest("md5", checksum.lower()))
        return tuple(found)

    def __str__(self) -> str:
        return f"{self.id} ({self.name!r})" if self.name else self.id


def absence(metadata: Mapping[str, Any]) -> str:
    """Why an image with this metadata has no data anywhere, "" when it should have some."""
    status = metadata.get("status")
    if status not in ("active", "deactivated"):
        return str(status)
    if not metadata.get("size") and "block_device_mapping" in metadata:
        return "volume-backed: its data are the volume snapshots in block_device_mapping"
    return ""


class Action(StrEnum):
    """What became of one image in a transfer."""

    COPIED = "copied"  # data (where there is any) and metadata arrived and were verified
    PRESENT = "present"  # the target already had the same data; nothing was overwritten
    UPDATED = "updated"  # like PRESENT, and the metadata was brought into line
    NO_DATA = "no-data"  # the image has no data anywhere (`reason` says why); it was recorded or created without
    REFUSED = "refused"  # the source has data and would not give them; recorded as failed, `reason` says why
    CONVERTED = "converted"  # like COPIED or PRESENT, but the target has changed the data, and nothing can be compared
    CONFLICT = "conflict"  # the target has other data under this id, or cannot take it; untouched
    HELD = "held"  # the source has the image, and not all of its data are whole there; `reason` says what is not
    FAILED = "failed"  # an error; `reason` says which


@dataclass(slots=True)
class Outcome:
    """The result for one image, as the CLI and ``--json`` report it.

    `verified` names the digest that was compared ("" when there was none to
    compare with, which is a finding of its own). `dropped` and `differences`
    hold one line each per metadata field.
    """

    id: str
    name: str
    action: Action
    reason: str = ""
    size: int = 0  # bytes of image data
    verified: str = ""
    dropped: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    new_id: str = ""  # the id at the target, where it is another
    doubtful: bool = False  # there is a `reason` to look at it, whatever the action

    @property
    def clean(self) -> bool:
        """Whether there is nothing here that an operator has to look at."""
        if self.action in (Action.REFUSED, Action.CONFLICT, Action.HELD, Action.FAILED):
            return False
        reason = self.reason and (self.doubtful or self.action is not Action.NO_DATA)
        return not (self.dropped or self.differences or reason)


class Source(Protocol):
    """Where images come from."""

    label: str
    """How messages name this end, for example ``glance http://a:9292``."""

    def images(self) -> Iterator[Image]:
        """Every image the caller may see, once each, oldest first."""
        ...

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        """The data of `image` from byte `offset` on, in non-empty buffers of at most 4 MiB, to its end.

        Returning normally means that exactly ``image.size - offset`` bytes came
        (where the size is known). A buffer does not change after it was
        handed out. Raises a `GlanceArchiveError` for anything else.
        """
        ...


class Progress(Protocol):
    """Told how a transfer goes on. Called from several threads; must not block."""

    def start(self, image: Image, position: int) -> None:
        """The image's data go through from byte `position` on; those before it are there from an earlier run.

        Told once more when data have to go through again.
        """
        ...

    def advance(self, image: Image, count: int) -> None:
        """`count` more bytes of the image's data went through."""
        ...


class Later(Exception):  # noqa: N818  # puts an image off, and is no error
    """An image that would have to be waited for."""


class Target(Protocol):
    """Where images go to."""

    label: str

    def receive(self, image: Image, source: Source, progress: Progress) -> Outcome:
        """Take `image` in, pulling its data from `source` only if it is needed.

        Idempotent: an image that is already there whole is left alone. An image
        that the target refuses is an `Outcome`; an error of the connection or the
        medium is raised. May be called from several threads, for different images. Raises `Later`, at most once for
        an image, when it would wait: the image is then offered again after all others.
        """
        ...
