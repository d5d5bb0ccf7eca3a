"""What the structured records say (SPEC section 6): one class per map, with its encoding.

Each class has ``to_map()`` and ``from_map()``; the latter checks every field
and raises ValueError naming the first that is missing or wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from glancearchive.format.compression import max_stored_size
from glancearchive.format.fields import Fields, text, whole_number
from glancearchive.format.hashing import BLOCK_DIGEST_SIZE, Digests
from glancearchive.format.header import MAX_FRAME_SIZE
from glancearchive.format.imageparts import MAX_BLOCKS, MAX_IMAGES, ImagePart, image_parts

BLOCK_SIZES = tuple(1 << shift for shift in range(12, 17))
DEFAULT_BLOCK_SIZE = 4096

FRAME_ROW = np.dtype([("offset", "<u8"), ("stored_size", "<u4"), ("raw_size", "<u4"), ("payload_digest", "V32")])
FrameRows = npt.NDArray[np.void]
"""Frame index rows, dtype FRAME_ROW, shape (n,)."""


INCREMENTAL = "incremental"  # as a name in `incompatible`
REPAIR = "repair"  # the same
FIRST_REPAIR = 2**61  # the numbers of blocks and frames in repair archives begin here or above


@dataclass(frozen=True, slots=True)
class BaseName:
    """What an increment names its base by, and how far the numbers of that go, SPEC section 6.1: ``base``."""

    archive_id: bytes
    root: bytes
    frames: int
    blocks: int

    def to_map(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_map(cls, value: Any) -> BaseName:
        fields = Fields(value, "base")
        return cls(
            archive_id=fields.binary("archive_id", 16),
            root=fields.binary("root", 32),
            frames=fields.uint("frames", MAX_BLOCKS - 1),
            blocks=fields.uint("blocks", MAX_BLOCKS - 1),
        )

    def __str__(self) -> str:
        return f"archive {self.archive_id.hex()} as of root digest {self.root.hex()}"


@dataclass(frozen=True, slots=True)
class RepairedName:
    """What a repair archive repairs, and where its own numbers begin, SPEC section 6.8: ``repairs``."""

    archive_id: bytes
    frames: int
    blocks: int

    def to_map(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_map(cls, value: Any) -> RepairedName:
        fields = Fields(value, "repairs")
        name = cls(
            archive_id=fields.binary("archive_id", 16),
            frames=fields.uint("frames", MAX_BLOCKS - 1),
            blocks=fields.uint("blocks", MAX_BLOCKS - 1),
        )
        if min(name.frames, name.blocks) < FIRST_REPAIR:
            raise ValueError(f"repairs: numbers that begin below {FIRST_REPAIR}")
        return name


@dataclass(frozen=True, slots=True)
class ArchiveHeader:
    """The payload of a `header` record, SPEC section 6.1."""

    hash_key: bytes
    created: str
    source: str
    writer: str
    level: str
    block_size: int = DEFAULT_BLOCK_SIZE
    frame_size: int = 4 << 20
    first_block: int = 0
    first_frame: int = 0
    previous: bytes | None = None
    compatible: tuple[str, ...] = ()
    incompatible: tuple[str, ...] = ()
    compression: str = "zstd"
    hash: str = "blake3"
    base: BaseName | None = None
    repairs: RepairedName | None = None
    first_blocks: tuple[int, ...] = ()

    @property
    def origin(self) -> tuple[int, int]:
        """The numbers of the first frame and the first block of the whole archive."""
        begin = self.base or self.repairs
        return (0, 0) if begin is None else (begin.frames, begin.blocks)

    def to_map(self) -> dict[str, Any]:
        optional = ("base", "repairs", "first_blocks")
        value = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in optional}
        if self.first_blocks:
            value["first_blocks"] = self.first_blocks
        for key, name in (("base", self.base), ("repairs", self.repairs)):
            if name is not None:
                value[key] = name.to_map()
        return value

    @classmethod
    def from_map(cls, value: Any) -> ArchiveHeader:
        fields = Fields(value, "header")
        header = cls(
            hash_key=fields.binary("hash_key", 32),
            created=fields.get("created", str),
            source=fields.get("source", str),
            writer=fields.get("writer", str),
            level=fields.get("level", str),
            block_size=fields.uint("block_size"),
            frame_size=fields.uint("frame_size", MAX_FRAME_SIZE),
            first_block=fields.uint("first_block", MAX_BLOCKS),
            first_frame=fields.uint("first_frame", MAX_BLOCKS),
            previous=fields.binary("previous", 32, optional=True),
            compatible=fields.each("compatible", text),
            incompatible=fields.each("incompatible", text),
            compression=fields.get("compression", str),
            hash=fields.get("hash", str),
            base=BaseName.from_map(fields.get("base", dict)) if "base" in fields else None,
            repairs=RepairedName.from_map(fields.get("repairs", dict)) if "repairs" in fields else None,
            first_blocks=fields.each("first_blocks", whole_number) if "first_blocks" in fields else (),
        )
        if (header.base is not None) != (INCREMENTAL in header.incompatible):
            raise ValueError(f"header: {INCREMENTAL} archives have a base, and no others")
        if (header.repairs is not None) != (REPAIR in header.incompatible) or (header.base and header.repairs):
            raise ValueError(f"header: {REPAIR} archives say what they repair, have no base, and no others say so")
        for names in (header.compatible, header.incompatible):
            if list(names) != sorted(set(names)):
                raise ValueError("header: a list of features is not sorted or repeats itself")
        if header.block_size not in BLOCK_SIZES:
            raise ValueError(f"header: a block size of {header.block_size} is not allowed")
        if not header.frame_size or header.frame_size % header.block_size:
            raise ValueError(f"header: a frame size of {header.frame_size} is no multiple of the block size")
        return header

    def shared(self) -> tuple[Any, ...]:
        """The fields that must be the same in all volumes of an archive."""
        fields = self.block_size, self.hash, self.hash_key, self.compression, self.incompatible
        return *fields, self.base, self.repairs


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
