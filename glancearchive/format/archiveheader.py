"""What an archive says of itself, in its header record and wherever that is repeated (SPEC section 6.1).

Each class has ``to_map()`` and ``from_map()``, as those in `schema`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glancearchive.format.fields import Fields, text, whole_number
from glancearchive.format.header import MAX_FRAME_SIZE
from glancearchive.format.imageparts import MAX_BLOCKS

BLOCK_SIZES = tuple(1 << shift for shift in range(12, 17))
DEFAULT_BLOCK_SIZE = 4096

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
