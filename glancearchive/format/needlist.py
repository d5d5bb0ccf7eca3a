"""Need-lists (SPEC section 6.9): what the far end lacks of an archive, in a small file that goes back to the source."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from glancearchive.format.archiveheader import BLOCK_SIZES
from glancearchive.format.fields import Fields, text
from glancearchive.format.hashing import digest
from glancearchive.format.imageparts import IMAGE_ID, MAX_BLOCKS, Ranges, check_ranges

FORMAT, VERSION = "glancearchive need-list", 1
MAX_SIZE = 8 << 20
"""Bytes of a need-list; a reader need not look at more, and has to decode it in memory."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """Bytes `begin` to `end` of a file that are damaged; `frame` is the number of the frame that they are, else None.

    `volume` is the volume's number, None for one of another archive that is read with this one; `name` its file name.
    `begin` equals `end` for a volume that is missing as a whole. All of it is informative.
    """

    volume: int | None
    name: str
    begin: int
    end: int
    layer: str
    frame: int | None = None

    def to_map(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_map(cls, value: Any) -> Damaged:
        fields = Fields(value, "damage")
        return cls(
            volume=fields.uint("volume", 65535, optional=True),
            name=fields.get("name", str),
            begin=fields.uint("begin"),
            end=fields.uint("end"),
            layer=fields.get("layer", str),
            frame=fields.uint("frame", MAX_BLOCKS, optional=True),
        )


@dataclass(frozen=True, slots=True)
class NeededImage:
    """One image of which data are needed: the blocks in `ranges`, or None for all of it.

    `size`, `digest`, `hashes` and `verified` are what the archive recorded, where that is known.
    """

    id: str
    name: str = ""
    ranges: Ranges | None = None
    size: int | None = None
    digest: bytes | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    verified: str = ""

    def to_map(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "ranges": None if self.ranges is None else [list(one) for one in self.ranges],
            "size": self.size,
            "digest": _hex(self.digest),
            "hashes": dict(self.hashes),
            "verified": self.verified,
        }

    @classmethod
    def from_map(cls, value: Any, block_size: int) -> NeededImage:
        fields = Fields(value, "image")
        image = cls(
            id=_image_id(fields.get("id", str)),
            name=fields.get("name", str),
            ranges=_ranges(fields),
            size=fields.uint("size", optional=True),
            digest=_binary(fields, "digest", 32, optional=True),
            hashes={text(name): text(one) for name, one in fields.get("hashes", dict).items()},
            verified=fields.get("verified", str),
        )
        if image.ranges is not None:
            if image.size is None or image.digest is None:
                raise ValueError("image: ranges without size or digest")
            if sum(image.ranges[-1]) > -(-image.size // block_size):
                raise ValueError("image: ranges that exceed its size")
        return image


@dataclass(frozen=True, slots=True)
class NeedList:
    """What is needed of the archive `archive_id`; `root` is its root digest where it is known.

    With `incomplete`, records are lost that may have described more images than the far end has heard of: those whose
    ids are not in `known`, which it has, and not in `images`, which it needs. `source` and `created` are informative.
    """

    archive_id: bytes
    hash_key: bytes
    block_size: int
    images: tuple[NeededImage, ...]
    root: bytes | None = None
    source: str = ""
    created: str = ""
    damage: tuple[Damaged, ...] = ()
    incomplete: bool = False
    known: tuple[str, ...] = ()

    def pack(self) -> bytes:
        """The file."""
        document: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "archive_id": self.archive_id.hex(),
            "hash_key": self.hash_key.hex(),
            "block_size": self.block_size,
            "root": _hex(self.root),
            "source": self.source,
            "created": self.created,
            "damage": [one.to_map() for one in self.damage],
            "images": [one.to_map() for one in self.images],
            "incomplete": self.incomplete,
            "known": list(self.known),
        }
        document["digest"] = digest(_canonical(document)).hex()
        return json.dumps(document, sort_keys=True, indent=1).encode() + b"\n"

    @classmethod
    def unpack(cls, data: bytes) -> NeedList:
        """Raises ValueError for what is no need-list, is damaged, or of a newer version."""
        if len(data) > MAX_SIZE:
            raise ValueError(f"has {len(data)} bytes, the limit is {MAX_SIZE}")
        try:
            document = json.loads(data, object_pairs_hook=_object, parse_float=_refuse, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is no need-list: {error}") from None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError("is no need-list")
        stated = document.pop("digest", None)
        if stated != digest(_canonical(document)).hex():
            raise ValueError("is damaged: its digest does not match")
        fields = Fields(document, "need-list")
        if fields.uint("version") != VERSION:
            raise ValueError(f"has version {fields.uint('version')}, this program knows version {VERSION}")
        block_size = fields.uint("block_size")
        if block_size not in BLOCK_SIZES:
            raise ValueError(f"need-list: a block size of {block_size} is not allowed")
        need = cls(
            archive_id=_binary(fields, "archive_id", 16) or b"",
            hash_key=_binary(fields, "hash_key", 32) or b"",
            block_size=block_size,
            images=fields.each("images", lambda value: NeededImage.from_map(value, block_size)),
            root=_binary(fields, "root", 32, optional=True),
            source=fields.get("source", str),
            created=fields.get("created", str),
            damage=fields.each("damage", Damaged.from_map),
            incomplete=fields.get("incomplete", bool),
            known=tuple(map(_image_id, fields.each("known", text))),
        )
        ids = [*need.known, *(image.id for image in need.images)]
        if len(set(ids)) != len(ids):
            raise ValueError("need-list: an image is named twice")
        return need


def _canonical(document: dict[str, Any]) -> bytes:
    """What the digest is computed over: keys in order, no space between tokens, ASCII only."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _binary(fields: Fields, key: str, size: int, optional: bool = False) -> bytes | None:
    value = fields.get(key, str, optional)
    if value is None:
        return None
    found = bytes.fromhex(value)
    if len(found) != size or found.hex() != value:
        raise ValueError(f"{key}: {value[:80]!r} are not {size} bytes in lower-case hex")
    return found


def _image_id(value: str) -> str:
    if not IMAGE_ID.fullmatch(value):
        raise ValueError(f"{value[:140]!r} is not allowed as an id")
    return value


def _ranges(fields: Fields) -> Ranges | None:
    rows = fields.get("ranges", list, optional=True)
    if rows is None:
        return None
    for row in rows:
        if not (isinstance(row, list) and len(row) == 2 and all(type(one) is int for one in row)):
            raise ValueError("ranges: expected pairs of position and count")
    return check_ranges([(row[0], row[1]) for row in rows])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _refuse(value: str) -> NoReturn:
    raise ValueError(f"a number {value[:40]} that is no integer")
