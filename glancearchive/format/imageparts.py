"""What structured records say of images (SPEC section 6.3): begin, extents and end, as schema.py has the records."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from sys import intern
from typing import Any

import numpy as np
import numpy.typing as npt

from glancearchive.format.encoding import MAX_VALUES, count_values, pack, repack, unpack, unpack_own
from glancearchive.format.fields import Fields, mapping, text

ZEROS = 2**64 - 1  # as the start of an extent
MAX_BLOCKS = 2**62
MAX_IMAGES = 2**32
EXTENT_SIZE = 16  # bytes of an extent in a record
PART_BOUND = 80  # bytes at most of an image part in a record, but for its begin, its end and its extents
MAX_BEGIN_VALUES = MAX_VALUES // 4  # several have to go into one record
COMPLETE, NO_DATA, FAILED = "complete", "no-data", "failed"
IMAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

Extents = npt.NDArray[np.uint64]
"""Extent rows ``start, count``, shape (n, 2)."""

Ranges = tuple[tuple[int, int], ...]
"""``(position, count)`` in blocks of an image, in order, neither overlapping nor touching."""

MAX_RANGES = 1 << 16
"""Ranges of one image, in a patch and in a need-list."""


def _has_bin(value: dict[str, Any] | list[Any]) -> bool:
    items = value.values() if type(value) is dict else value
    kinds = set(map(type, items))
    if bytes in kinds:
        return True
    if dict not in kinds and list not in kinds:
        return False
    return any(_has_bin(item) for item in items if type(item) is dict or type(item) is list)


@lru_cache(maxsize=8)
def _decoded(packed: bytes) -> dict[str, Any]:
    """Of one image several things are asked for in a row. Few are kept: one may have megabytes."""
    return unpack_own(packed)


@dataclass(frozen=True, slots=True)
class ImageBegin:
    """What an image is, SPEC section 6.3: ``begin``.

    It is kept as it is encoded, in a third of the memory: an archive may have hundreds of thousands of them.
    """

    id: str
    packed: bytes

    @classmethod
    def of(cls, image_id: str, metadata: Mapping[str, Any], members: Sequence[Mapping[str, Any]] = ()) -> ImageBegin:
        """Raises ValueError for what cannot be recorded, by the reader's own checks."""
        begin = {"id": image_id, "metadata": metadata, "members": members}
        # As deep as it will be in a checkpoint, where nesting counts from the record.
        record = unpack(pack({"images": [{"begin": begin}]}))
        made = cls.from_map(record["images"][0]["begin"])
        if count_values(made.packed) > MAX_BEGIN_VALUES:
            raise ValueError(f"more than {MAX_BEGIN_VALUES} values in the metadata of one image")
        return made

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The image's metadata; to be left as they are."""
        metadata: Mapping[str, Any] = self.to_map()["metadata"]
        return metadata

    @property
    def members(self) -> tuple[Mapping[str, Any], ...]:
        """Its member records; to be left as they are."""
        return tuple(self.to_map()["members"])

    def to_map(self) -> dict[str, Any]:
        return _decoded(self.packed)

    @classmethod
    def from_map(cls, value: Any) -> ImageBegin:
        fields = Fields(value, "begin")
        image_id, metadata = fields.get("id", str), fields.get("metadata", dict)
        members = fields.each("members", mapping)
        if not IMAGE_ID.fullmatch(image_id):
            raise ValueError(f"begin: {image_id[:140]!r} is not allowed as an id")
        if metadata.get("id", image_id) != image_id:
            raise ValueError(f"begin: the metadata of {image_id!r} are those of another image")
        if _has_bin([metadata, *members]):
            raise ValueError("begin: metadata or members with a bin, which JSON does not have")
        return cls(image_id, repack({"id": image_id, "members": members, "metadata": metadata}))


@dataclass(frozen=True, slots=True)
class ImageEnd:
    """How an image ended, SPEC section 6.3: ``end``."""

    status: str
    reason: str = ""
    size: int | None = None
    digest: bytes | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    verified: str = ""
    stored: int = 0
    patch: Ranges | None = None  # what a repair archive has of the image; its extents are zeros elsewhere

    @property
    def bound(self) -> int:
        """Bytes at most in a record, whatever `stored` becomes."""
        return len(pack(self.to_map())) + 8

    def to_map(self) -> dict[str, Any]:
        value = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "patch"}
        if self.patch is not None:
            value["patch"] = b"".join(struct.pack("<QQ", *row) for row in self.patch)
        return value

    @classmethod
    def from_map(cls, value: Any) -> ImageEnd:
        fields = Fields(value, "end")
        end = cls(
            status=fields.choice("status", COMPLETE, NO_DATA, FAILED),
            reason=fields.get("reason", str),
            size=fields.uint("size", optional=True),
            digest=fields.binary("digest", 32, optional=True),
            hashes={text(name): text(value) for name, value in fields.get("hashes", dict).items()},
            verified=intern(fields.get("verified", str)),  # one of few words, of hundreds of thousands of images
            stored=fields.uint("stored"),
            patch=_patch(fields) if "patch" in fields else None,
        )
        complete = end.status == COMPLETE
        if complete != (end.size is not None) or complete != (end.digest is not None):
            raise ValueError(f"end: size or digest do not fit the status {end.status}")
        if end.patch is not None and not complete:
            raise ValueError("end: a patch of an image without data")
        return end


@lru_cache(maxsize=8)
def unpack_end(packed: bytes) -> ImageEnd:
    """The end in `packed`, which is what `pack` made of its map. A few are kept, as of `ImageBegin`."""
    return ImageEnd.from_map(unpack_own(packed))


def _patch(fields: Fields) -> Ranges:
    rows = list(struct.iter_unpack("<QQ", fields.rows("patch", EXTENT_SIZE)))
    return check_ranges([(int(position), int(count)) for position, count in rows])


def check_ranges(rows: Sequence[tuple[int, int]]) -> Ranges:
    """`rows`, if they are ranges as they may be recorded. Raises ValueError."""
    at = -1
    for position, count in rows:
        if position <= at or not 1 <= count <= MAX_BLOCKS or position > MAX_BLOCKS:
            raise ValueError("ranges that are not in order, touch one another, or are not allowed")
        at = position + count
    if not 1 <= len(rows) <= MAX_RANGES:
        raise ValueError(f"{len(rows)} ranges of one image, allowed are 1 to {MAX_RANGES}")
    return tuple(rows)


@dataclass(slots=True)
class ImagePart:
    """Something new of one image, SPEC section 6.3. `position` is a block index within the image."""

    number: int
    begin: ImageBegin | None = None
    position: int = 0
    extents: Extents | None = None
    end: ImageEnd | None = None

    @property
    def bound(self) -> int:
        """Bytes at most in a record."""
        begin = len(self.begin.packed) if self.begin is not None else 0
        extents = self.extents.nbytes if self.extents is not None else 0
        return PART_BOUND + begin + extents + (self.end.bound if self.end is not None else 0)

    def to_map(self) -> dict[str, Any]:
        value: dict[str, Any] = {"number": self.number}
        if self.begin is not None:
            value["begin"] = self.begin.to_map()
        if self.extents is not None:
            value["position"], value["extents"] = self.position, self.extents.tobytes()
        if self.end is not None:
            value["end"] = self.end.to_map()
        return value

    @classmethod
    def from_map(cls, value: Any) -> ImagePart:
        fields = Fields(value, "image")
        part = cls(fields.uint("number", MAX_IMAGES - 1))
        if "begin" in fields:
            part.begin = ImageBegin.from_map(fields.get("begin", dict))
        if "end" in fields:
            part.end = ImageEnd.from_map(fields.get("end", dict))
        if "extents" in fields:
            part.position = fields.uint("position", MAX_BLOCKS)
            part.extents = np.frombuffer(fields.rows("extents", 16), dtype="<u8").reshape(-1, 2)
            _check_extents(part.extents, part.position)
        elif "position" in fields:
            raise ValueError("image: position without extents")
        if part.begin is None and part.end is None and part.extents is None:
            raise ValueError("image: a part that says nothing")
        return part


# Wrapping around, a start that is allowed becomes at most 2^62, zeros become 0, and so does a count of 1.
_SHIFT = np.array([1, 2**64 - 1], dtype=np.uint64)
_MOST_SHIFTED = np.array([MAX_BLOCKS, MAX_BLOCKS - 1], dtype=np.uint64)


def _check_extents(extents: Extents, position: int) -> None:
    # There may be many images with an extent or two: each numpy call counts.
    wrong = extents + _SHIFT > _MOST_SHIFTED
    if wrong.any():
        if wrong[:, 0].any():
            raise ValueError("image: an extent with a reserved start")
        raise ValueError("image: an extent whose count is not allowed")
    # Each count is at most 2^62 here, so float addition cannot miss a sum beyond the limit by more than rounding.
    if position + float(extents[:, 1].sum(dtype=np.float64)) > MAX_BLOCKS:
        raise ValueError("image: extents beyond the limit of blocks")


def image_parts(fields: Fields) -> tuple[ImagePart, ...]:
    """The value of ``images``. Raises ValueError unless it is in order."""
    parts = fields.each("images", ImagePart.from_map)
    if any(one.number >= other.number for one, other in pairwise(parts)):
        raise ValueError("images: not in ascending order of number")
    return parts
