"""What the structured records say (SPEC section 6): one class per map, with its encoding.

Maps that stand in others have their own modules: `archiveheader` and `imageparts`.

Each class has ``to_map()`` and ``from_map()``; the latter checks every field
and raises ValueError naming the first that is missing or wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.compression import max_stored_size
from glancearchive.format.fields import Fields
from glancearchive.format.hashing import BLOCK_DIGEST_SIZE, Digests
from glancearchive.format.header import MAX_FRAME_SIZE
from glancearchive.format.imageparts import MAX_BLOCKS, MAX_IMAGES, ImagePart, image_parts

FRAME_ROW = np.dtype([("offset", "<u8"), ("stored_size", "<u4"), ("raw_size", "<u4"), ("payload_digest", "V32")])
FrameRows = npt.NDArray[np.void]
"""Frame index rows, dtype FRAME_ROW, shape (n,)."""


@dataclass(slots=True)
class FrameRun:
    """Consecutive frames of one volume, SPEC section 6.3: ``frames``."""

    first_frame: int
    first_block: int
    rows: FrameRows
    block_digests: Digests | None = None

    def to_map(self) -> dict[str, Any]:
        value = {"first_frame": self.first_frame, "first_block": self.first_block, "index": self.rows.tobytes()}
        if self.block_digests is not None:
            value["block_digests"] = self.block_digests.tobytes()
        return value

    @classmethod
    def from_map(cls, value: Any, block_size: int, with_digests: bool) -> FrameRun:
        fields = Fields(value, "frames")
        rows = np.frombuffer(fields.rows("index", FRAME_ROW.itemsize), dtype=FRAME_ROW)
        run = cls(fields.uint("first_frame", MAX_BLOCKS), fields.uint("first_block", MAX_BLOCKS), rows)
        raw = rows["raw_size"].astype(np.uint64)
        if np.any((raw == 0) | (raw > MAX_FRAME_SIZE) | (raw % block_size != 0)):
            raise ValueError("frames: a raw size that is not allowed")
        if np.any((rows["stored_size"] == 0) | (rows["stored_size"] > max_stored_size(raw))):  # type: ignore[arg-type]
            raise ValueError("frames: a stored size that is not allowed")
        if with_digests:
            digests = fields.rows("block_digests", BLOCK_DIGEST_SIZE)
            run.block_digests = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
            if len(run.block_digests) * block_size != int(raw.sum()):
                raise ValueError(f"frames: {len(run.block_digests)} block digests for {int(raw.sum())} bytes")
        elif "block_digests" in fields:
            raise ValueError("frames: block_digests in a catalog")
        return run


@dataclass(slots=True)
class Checkpoint:
    """The payload of a `checkpoint` record, SPEC section 6.2."""

    previous: bytes
    frames: FrameRun
    images: tuple[ImagePart, ...]
    header: ArchiveHeader | None = None

    def to_map(self) -> dict[str, Any]:
        value = {
            "previous": self.previous,
            "frames": self.frames.to_map(),
            "images": [part.to_map() for part in self.images],
        }
        if self.header is not None:
            value["header"] = self.header.to_map()
        return value

    @classmethod
    def from_map(cls, value: Any, block_size: int) -> Checkpoint:
        fields = Fields(value, "checkpoint")
        frames = FrameRun.from_map(fields.get("frames", dict), block_size, with_digests=True)
        header = ArchiveHeader.from_map(fields.get("header", dict)) if "header" in fields else None
        return cls(fields.binary("previous", 32), frames, image_parts(fields), header)


CATALOG_KINDS = ("frames", "images", "extents")


@dataclass(slots=True)
class CatalogPart:
    """The payload of a `catalog` record, SPEC section 6.4: frames, or image parts, never both."""

    frames: FrameRun | None = None
    images: tuple[ImagePart, ...] | None = None

    def to_map(self) -> dict[str, Any]:
        if self.frames is not None:
            return {"frames": self.frames.to_map()}
        return {"images": [part.to_map() for part in self.images or ()]}

    @classmethod
    def from_map(cls, value: Any, block_size: int) -> CatalogPart:
        fields = Fields(value, "catalog")
        if ("frames" in fields) == ("images" in fields):
            raise ValueError("catalog: expected either frames or images")
        if "frames" in fields:
            return cls(frames=FrameRun.from_map(fields.get("frames", dict), block_size, with_digests=False))
        parts = image_parts(fields)
        kinds = {part.extents is not None for part in parts}
        if len(kinds) > 1 or (kinds == {True} and any(part.begin or part.end for part in parts)):
            raise ValueError("catalog: extents mixed with other image parts")
        return cls(images=parts)

    @property
    def kind(self) -> str:
        if self.frames is not None:
            return "frames"
        return "extents" if self.images and self.images[0].extents is not None else "images"


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """Where a catalog record lies, SPEC section 6.5: a row of ``catalog``."""

    kind: str
    number: int
    offset: int
    stored_size: int
    raw_size: int
    payload_digest: bytes

    def to_map(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_map(cls, value: Any) -> CatalogRow:
        fields = Fields(value, "catalog row")
        return cls(
            kind=fields.choice("kind", *CATALOG_KINDS),
            number=fields.uint("number"),
            offset=fields.uint("offset"),
            stored_size=fields.uint("stored_size", 2**32 - 1),
            raw_size=fields.uint("raw_size", 2**32 - 1),
            payload_digest=fields.binary("payload_digest", 32),
        )


@dataclass(frozen=True, slots=True)
class End:
    """The payload of an `end` record, SPEC section 6.5."""

    previous: bytes
    header: ArchiveHeader
    catalog: tuple[CatalogRow, ...]
    frames: int
    blocks: int
    images: int
    final: bool = True

    def to_map(self) -> dict[str, Any]:
        return {
            "previous": self.previous,
            "header": self.header.to_map(),
            "catalog": [row.to_map() for row in self.catalog],
            "frames": self.frames,
            "blocks": self.blocks,
            "images": self.images,
            "final": self.final,
        }

    @classmethod
    def from_map(cls, value: Any) -> End:
        fields = Fields(value, "end")
        rows = fields.each("catalog", CatalogRow.from_map)
        if any(one.offset >= other.offset for one, other in pairwise(rows)):
            raise ValueError("end: catalog rows are not in order of offset")
        return cls(
            previous=fields.binary("previous", 32),
            header=ArchiveHeader.from_map(fields.get("header", dict)),
            catalog=rows,
            frames=fields.uint("frames", MAX_BLOCKS),
            blocks=fields.uint("blocks", MAX_BLOCKS),
            images=fields.uint("images", MAX_IMAGES),
            final=fields.get("final", bool),
        )
