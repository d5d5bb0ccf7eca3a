"""A second reader of the glancearchive format, from SPEC.md alone, in its order; it shares no code with the package.

It is made to be read beside the specification, and to be held against the main reader by the tests. It always reads
whole volumes from the front and verifies everything, so it is slow to open a large archive and never fast.

    python spec/reader.py list FILE…            the images
    python spec/reader.py check FILE…           every fault: layer, volume, byte range, message
    python spec/reader.py extract FILE… ID OUT  the bytes of one image

It needs Python 3.11 and the packages zstandard and blake3.
"""

import hashlib
import math
import mmap
import os
import re
import struct
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import zstandard
from blake3 import blake3

# -- 3. Record header -------------------------------------------------------------------------------------------------

RECORD_HEADER = struct.Struct("<II8sBBHI16sQQII32s16s")
SIGNATURE = b"\x89GLA\r\n\x1a\n"
HEADER, FRAME, CHECKPOINT, CATALOG, END, ANCILLARY = 1, 2, 3, 4, 5, 128
MAX_FRAME, MAX_STRUCTURED, MAX_WINDOW, MAX_VOLUMES, MAX_NESTING = 64 << 20, 16 << 20, 1 << 27, 65535, 16  # section 8
MAX_VALUES = 1 << 20  # section 8
ZEROS = 2**64 - 1
SEARCHED = MAX_FRAME + MAX_STRUCTURED  # section 9


class Problem(Exception):  # noqa: N818
    """A fault, with the layer of section 10 it belongs to."""

    def __init__(self, layer: str, message: str) -> None:
        super().__init__(message)
        self.layer = layer


class RecordHeader(NamedTuple):
    """The fields, in their order."""

    skippable_magic: int
    skippable_size: int
    signature: bytes
    version: int
    type: int
    flags: int
    volume: int
    archive_id: bytes
    number: int
    offset: int
    stored_size: int
    raw_size: int
    payload_digest: bytes
    header_digest: bytes

    @property
    def end(self) -> int:
        return self.offset + RECORD_HEADER.size + self.stored_size


def parse_record_header(data: bytes, offset: int | None, archive_id: bytes | None) -> RecordHeader:
    """The record header in 112 bytes, checked; `offset` and `archive_id` are what it must say, where that is known."""
    if len(data) < RECORD_HEADER.size:
        raise Problem("header", "shorter than a record header")
    header = RecordHeader(*RECORD_HEADER.unpack(data))
    if blake3(data[:96]).digest(16) != header.header_digest:
        raise Problem("header", "header_digest does not match")
    if header.signature != SIGNATURE:
        raise Problem("header", "wrong signature")
    # Whose header it is comes before what it says: an image may hold records of another archive, of any version.
    if archive_id is not None and header.archive_id != archive_id:
        raise Problem("header", f"archive_id is {header.archive_id.hex()}, not {archive_id.hex()}")
    if offset is not None and header.offset != offset:
        raise Problem("header", f"offset says {header.offset}, but the header is at {offset}")
    if header.version > 1:
        raise Problem("archive", f"format version {header.version} is newer than 1")
    if (*header[:2], header.version, header.flags) != (0x184D2A57, 104, 1, 0):
        raise Problem("header", "skippable_magic, skippable_size, version or flags are not what version 1 has")
    if not HEADER <= header.type <= END and header.type < ANCILLARY:
        raise Problem("archive", f"unknown record type {header.type}")
    if not 1 <= header.volume <= MAX_VOLUMES:
        raise Problem("header", f"volume {header.volume} is beyond the limits")
    check_sizes("header", header.stored_size, header.raw_size, MAX_FRAME if header.type == FRAME else MAX_STRUCTURED)
    return header


def check_sizes(layer: str, stored_size: int, raw_size: int, limit: int) -> None:
    """Sizes against the limits of section 8."""
    if not 1 <= raw_size <= limit or not 1 <= stored_size <= raw_size + raw_size // 256 + 128:
        raise Problem(layer, f"stored_size {stored_size} or raw_size {raw_size} is beyond the limits")


# -- 4. Payload -------------------------------------------------------------------------------------------------------


def unpack_payload(layer: str, stored: bytes, raw_size: int, payload_digest: bytes) -> bytes:
    """The raw payload; nothing is decompressed before `payload_digest` matched, and never more than `raw_size`."""
    if blake3(stored).digest() != payload_digest:
        raise Problem(layer, "payload_digest does not match")
    try:
        if stored[:4] != b"\x28\xb5\x2f\xfd":
            raise ValueError("not a zstd frame, or a skippable one")
        frame = zstandard.get_frame_parameters(stored)
        if not frame.has_checksum or frame.dict_id or frame.window_size > MAX_WINDOW or frame.content_size != raw_size:
            raise ValueError(
                "zstd frame without checksum, with a dictionary, too large a window, or another size than raw_size"
            )
        raw: bytes = zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
        if len(raw) != raw_size:
            raise ValueError(f"{len(raw)} bytes instead of {raw_size}")
    except (ValueError, zstandard.ZstdError) as error:
        raise Problem(layer, f"payload: {error}") from None
    return raw


# -- 6. Structured records --------------------------------------------------------------------------------------------

# First byte of a value: what it is, the bytes its number or length takes, and the least of them that needs this form.
LONG_FORMS = {
    0xC4: ("bin", 1, 0), 0xC5: ("bin", 2, 1 << 8), 0xC6: ("bin", 4, 1 << 16),
    0xCC: ("uint", 1, 1 << 7), 0xCD: ("uint", 2, 1 << 8), 0xCE: ("uint", 4, 1 << 16), 0xCF: ("uint", 8, 1 << 32),
    0xD9: ("str", 1, 1 << 5), 0xDA: ("str", 2, 1 << 8), 0xDB: ("str", 4, 1 << 16),
    0xDC: ("array", 2, 1 << 4), 0xDD: ("array", 4, 1 << 16),
    0xDE: ("map", 2, 1 << 4), 0xDF: ("map", 4, 1 << 16),
}  # fmt: skip
NEGATIVE_FORMS = {0xD0: (1, -(1 << 5)), 0xD1: (2, -(1 << 7)), 0xD2: (4, -(1 << 15)), 0xD3: (8, -(1 << 31))}


class MessagePack:
    """Decoder of the canonical encoding; ValueError for everything else."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at, self.values = raw, 0, 0

    def document(self) -> dict[str, Any]:
        value = self.value(0)
        if not isinstance(value, dict) or self.at != len(self.raw):
            raise ValueError("not one map and nothing else")
        return value

    def take(self, size: int) -> bytes:
        if size > len(self.raw) - self.at:
            raise ValueError("ends within a value")
        self.at += size
        return self.raw[self.at - size : self.at]

    def value(self, depth: int) -> Any:
        self.values += 1
        if self.values > MAX_VALUES:
            raise ValueError("too many values")
        first = self.take(1)[0]
        if first < 0x80 or first >= 0xE0:
            return first if first < 0x80 else first - 256
        if first < 0xC0:
            return self.sized(
                *[("map", first & 15), ("array", first & 15), ("str", first & 31), ("str", first & 31)][
                    (first >> 4) - 8
                ],
                depth,
            )
        if first in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[first]
        if first == 0xCB:
            number: float = struct.unpack(">d", self.take(8))[0]
            if not math.isfinite(number):
                raise ValueError("float that is not finite")
            return number
        if first in NEGATIVE_FORMS:
            width, above = NEGATIVE_FORMS[first]
            negative = int.from_bytes(self.take(width), "big", signed=True)
            if negative >= above:
                raise ValueError("integer not in its shortest form")
            return negative
        if first not in LONG_FORMS:
            raise ValueError(f"type {first:#x} is not allowed")
        kind, width, least = LONG_FORMS[first]
        length = int.from_bytes(self.take(width), "big")
        if length < least:
            raise ValueError(f"{kind} not in its shortest form")
        return length if kind == "uint" else self.sized(kind, length, depth)

    def sized(self, kind: str, length: int, depth: int) -> Any:
        if kind in ("bin", "str"):
            data = self.take(length)
            return data if kind == "bin" else data.decode("utf-8")
        if depth == MAX_NESTING or length > len(self.raw) - self.at:
            raise ValueError("nested too deep, or more elements than bytes")
        if kind == "array":
            return [self.value(depth + 1) for _ in range(length)]
        result: dict[str, Any] = {}
        last: bytes | None = None
        for _ in range(length):
            key = self.value(depth + 1)
            if not isinstance(key, str) or (last is not None and key.encode() <= last):
                raise ValueError("map keys are not str, not in order, or not unique")
            result[key], last = self.value(depth + 1), key.encode()
        return result


Check = Callable[[Any], bool]


def uint(value: Any) -> bool:
    """A non-negative integer below 2^63."""
    return type(value) is int and 0 <= value < 2**63


def text(value: Any) -> bool:
    """A str."""
    return type(value) is str


def binary(size: int | None = None, row: int = 1) -> Check:
    """A bin of `size` bytes, or of whole rows."""
    return lambda value: type(value) is bytes and (size is None or len(value) == size) and len(value) % row == 0


def array(item: Check) -> Check:
    """An array of items."""
    return lambda value: type(value) is list and all(map(item, value))


def mapping(value: Any) -> bool:
    """A map."""
    return type(value) is dict


def nil_or(check: Check) -> Check:
    """Nil or another type."""
    return lambda value: value is None or check(value)


def texts(value: Any) -> bool:
    """An array of str, sorted and without repetition."""
    return array(text)(value) and all(a < b for a, b in pairwise(value))


def check_keys(value: Any, keys: dict[str, Check], optional: dict[str, Check] | None = None) -> None:
    """ValueError unless all `keys` are there, and they and the `optional` ones are of their types."""
    for key, check in keys.items() | {(k, c) for k, c in (optional or {}).items() if k in value}:
        if key not in value:
            raise ValueError(f"key {key} is missing")
        if not check(value[key]):
            raise ValueError(f"key {key} has another type, or is out of range")


def block_size_allowed(value: Any) -> bool:
    """A power of two, 4096 to 65536."""
    return uint(value) and 4096 <= value <= 65536 and value & (value - 1) == 0


def has_bin(value: Any) -> bool:
    """Whether there is a bin anywhere in a value."""
    if isinstance(value, dict):
        return any(map(has_bin, value.values()))
    return any(map(has_bin, value)) if isinstance(value, list) else isinstance(value, bytes)


# 6.1
HEADER_KEYS: dict[str, Check] = {
    "block_size": block_size_allowed, "compatible": texts, "compression": text, "created": text, "first_block": uint,
    "first_frame": uint, "frame_size": uint, "hash": text, "hash_key": binary(32), "incompatible": texts, "level": text,
    "previous": nil_or(binary(32)), "source": text, "writer": text,
}  # fmt: skip
# 6.6
BASE_KEYS: dict[str, Check] = {
    "archive_id": binary(16), "blocks": lambda v: uint(v) and v < 2**62, "frames": lambda v: uint(v) and v < 2**62,
    "root": binary(32),
}  # fmt: skip
# 6.8
REPAIRS_KEYS: dict[str, Check] = {
    "archive_id": binary(16), "blocks": lambda v: uint(v) and 2**61 <= v < 2**62,
    "frames": lambda v: uint(v) and 2**61 <= v < 2**62,
}  # fmt: skip
# 6.3; `block_digests` where the frames map stands in a checkpoint
FRAMES_KEYS: dict[str, Check] = {"first_block": uint, "first_frame": uint, "index": binary(row=48)}
PART_OPTIONS: dict[str, Check] = {"begin": mapping, "end": mapping, "extents": binary(row=16), "position": uint}
BEGIN_KEYS: dict[str, Check] = {
    "id": lambda v: text(v) and re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,127}", v) is not None,
    "members": lambda v: array(mapping)(v) and not has_bin(v), "metadata": lambda v: mapping(v) and not has_bin(v),
}  # fmt: skip
END_KEYS: dict[str, Check] = {
    "digest": nil_or(binary(32)), "hashes": lambda v: mapping(v) and all(map(text, v.values())), "reason": text,
    "size": nil_or(uint), "status": lambda v: v in ("complete", "no-data", "failed"), "stored": uint, "verified": text,
}  # fmt: skip
# 6.5
END_RECORD_KEYS: dict[str, Check] = {
    "blocks": uint, "catalog": array(mapping), "final": lambda v: type(v) is bool, "frames": uint, "header": mapping,
    "images": uint, "previous": binary(32),
}  # fmt: skip
CATALOG_ROW_KEYS: dict[str, Check] = {
    "kind": lambda v: v in ("frames", "images", "extents"), "number": uint, "offset": uint,
    "payload_digest": binary(32), "raw_size": uint, "stored_size": uint,
}  # fmt: skip

Row = tuple[int, int, int, bytes]  # of a frame index: offset, stored_size, raw_size, payload_digest
Extent = tuple[int, int, int]  # position, start, count


def index_rows(index: bytes) -> list[Row]:
    """The rows of a frame index."""
    return list(struct.iter_unpack("<QII32s", index))


def extents_of(part: dict[str, Any]) -> list[Extent]:
    """The extents of an image part, each with its position."""
    position, rows = part.get("position", 0), []
    for start, count in struct.iter_unpack("<QQ", part.get("extents", b"")):
        rows.append((position, start, count))
        position += count
    return rows


def check_header(value: dict[str, Any]) -> None:
    """Section 6.1, of the header record."""
    check_keys(value, {"incompatible": texts, "hash": text, "compression": text})
    check_known(value)
    check_repeated(value)


def check_known(header: dict[str, Any]) -> None:
    """Problem when an archive with this header is to be refused."""
    unknown = set(header["incompatible"]) - {"incremental", "repair"}
    if unknown or (header["hash"], header["compression"]) != ("blake3", "zstd"):
        raise Problem("archive", f"unknown: {sorted(unknown) or [header['hash'], header['compression']]!a}")


def check_repeated(value: dict[str, Any]) -> None:
    """Section 6.1, wherever it is said."""
    check_keys(value, HEADER_KEYS, {"base": mapping, "first_blocks": array(uint), "repairs": mapping})
    for key, feature, keys in (("base", "incremental", BASE_KEYS), ("repairs", "repair", REPAIRS_KEYS)):
        if (key in value) != (feature in value["incompatible"]):
            raise ValueError(f"{key} is for archives with the feature {feature}, and for them alone")
        check_keys(value.get(key, {}), keys if key in value else {})
    if "base" in value and "repairs" in value:
        raise ValueError("both base and repairs")
    if not 0 < value["frame_size"] <= MAX_FRAME or value["frame_size"] % value["block_size"]:
        raise ValueError("frame_size is out of range")


def check_frames(value: dict[str, Any]) -> None:
    """Section 6.3, the frames map."""
    check_keys(value, FRAMES_KEYS)
    for _, stored_size, raw_size, _ in index_rows(value["index"]):
        check_sizes("record", stored_size, raw_size, MAX_FRAME)


def check_parts(parts: list[dict[str, Any]]) -> None:
    """Section 6.3, image parts."""
    last = -1
    for part in parts:
        check_keys(part, {"number": lambda v: uint(v) and v < 2**32}, PART_OPTIONS)
        if (
            part["number"] <= last
            or not part.keys() & {"begin", "end", "extents"}
            or ("extents" in part) != ("position" in part)
        ):
            raise ValueError("image parts out of order, empty, or extents without position")
        last = part["number"]
        for _, start, count in extents_of(part):
            if count < 1 or not (start == ZEROS or start < 2**62):
                raise ValueError(f"extent of {count} blocks from {start}")
        begin = part.get("begin", {})
        check_keys(begin, BEGIN_KEYS if "begin" in part else {})
        if begin and begin["metadata"].get("id", begin["id"]) != begin["id"]:
            raise ValueError("metadata with the id of another image")
        check_keys(part.get("end", {}), END_KEYS if "end" in part else {}, {"patch": binary(row=16)})
        check_patch(part.get("end", {}))
        if "end" in part and {part["end"]["digest"] is None, part["end"]["size"] is None} != {
            part["end"]["status"] != "complete"
        }:
            raise ValueError("digest and size are for complete images, and for them alone")


def ranges_of(end: dict[str, Any]) -> list[tuple[int, int]]:
    """The ranges of a patch, each as the first block and the one after the last."""
    return [(position, position + count) for position, count in struct.iter_unpack("<QQ", end.get("patch", b""))]


def check_patch(end: dict[str, Any]) -> None:
    """Section 6.8."""
    if "patch" not in end:
        return
    ranges = ranges_of(end)
    if end["status"] != "complete" or not 1 <= len(ranges) <= 65536:
        raise ValueError("a patch of nothing, or of an image without data")
    if any(one >= other for (_, one), (other, _) in zip([(0, -1), *ranges], ranges, strict=False)):
        raise ValueError("the ranges of a patch are not in order, or touch one another")
    if any(begin >= stop or stop > 2**63 for begin, stop in ranges):
        raise ValueError("a range of a patch that is not allowed")


def check_checkpoint(value: dict[str, Any]) -> None:
    """Section 6.2."""
    check_keys(value, {"frames": mapping, "images": array(mapping), "previous": binary(32)}, {"header": mapping})
    if "header" in value:
        check_repeated(value["header"])
    check_frames(value["frames"])
    check_keys(value["frames"], {"block_digests": binary(row=16)})
    check_parts(value["images"])


def check_catalog(value: dict[str, Any]) -> None:
    """Section 6.4."""
    check_keys(value, {}, {"frames": mapping, "images": array(mapping)})
    if len(value.keys() & {"frames", "images"}) != 1:
        raise ValueError("not exactly one of frames and images")
    check_frames(value["frames"]) if "frames" in value else check_parts(value["images"])


def check_end(value: dict[str, Any]) -> None:
    """Section 6.5."""
    check_keys(value, END_RECORD_KEYS)
    check_repeated(value["header"])
    for row in value["catalog"]:
        check_keys(row, CATALOG_ROW_KEYS)
        check_sizes("record", row["stored_size"], row["raw_size"], MAX_STRUCTURED)


CHECKS = {HEADER: check_header, CHECKPOINT: check_checkpoint, CATALOG: check_catalog, END: check_end}


# -- 9. Reading a volume ----------------------------------------------------------------------------------------------


class Fault(NamedTuple):
    """What is wrong where: a layer of section 10, the volume's path, bytes begin to end (exclusive)."""

    layer: str
    volume: str
    begin: int
    end: int
    message: str


@dataclass
class Record:
    """A record whose header is whole."""

    header: RecordHeader
    digest: bytes
    map: dict[str, Any] | None  # None: a frame, an ancillary record, or a structured one that is damaged
    gap: bool  # what stood before it, since the record before in the list, could not be read


class Volume:
    """One file: its records as far as they can be read, from the front, and the faults met on the way."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self.records, self.faults = str(path), list[Record](), list[Fault]()
        self.finished, self.foreign = False, False
        self.header: dict[str, Any] | None = None
        with Path(path).open("rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            self.data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else b""
        try:
            self.scan()
            last = self.last_end()
            for header in [last["header"]] if last else [self.said()] if self.said() else []:
                check_known(header)
        except Problem as problem:
            self.faults.clear()  # what is refused has no others
            self.fault(problem.layer, 0, self.size, str(problem))

    def fault(self, layer: str, begin: int, end: int, message: str) -> None:
        self.faults.append(Fault(layer, self.path, begin, end, message))

    @property
    def refused(self) -> bool:
        return any(fault.layer == "archive" for fault in self.faults)

    def last_end(self) -> dict[str, Any] | None:
        """The end record that the file ends with, if it is whole."""
        return self.records[-1].map if self.records and self.end_copy() is not None else None

    def said(self) -> dict[str, Any]:
        """The header of the archive: of the header record, else the last end, else the first that repeats it; or {}."""
        first, last = self.records[:1], self.last_end()
        if first and first[0].header.type == HEADER and first[0].map:
            return first[0].map
        if last:
            header: dict[str, Any] = last["header"]
            return header
        repeating = (
            r.map["header"] for r in self.records if r.header.type in (CHECKPOINT, END) and r.map and "header" in r.map
        )
        return next(repeating, {})

    def at(self, offset: int, archive_id: bytes | None = None) -> RecordHeader:
        return parse_record_header(self.data[offset : offset + 112], offset, archive_id)

    def end_copy(self) -> RecordHeader | None:
        """The header that the last 112 bytes repeat, when the file ends as a finished volume does."""
        try:
            copy = parse_record_header(self.data[-112:], None, None)
        except Problem as problem:
            if problem.layer == "archive":
                raise
            return None
        return copy if copy.type == END and copy.end + 112 == self.size else None

    def second(self) -> RecordHeader | None:
        """Reading, step 4: the first record header behind a damaged one, of whichever archive."""
        begin = 1
        while 0 <= (found := self.data.find(SIGNATURE, begin + 8)) < SEARCHED + 8:
            begin = found - 8
            try:
                return self.at(begin)
            except Problem:
                begin += 1
        return None

    def scan(self) -> None:
        """Reading, steps 2 and 3: from the front, following stored_size; over damaged headers by searching."""
        copy = self.end_copy()
        try:
            known = copy or self.at(0)
        except Problem as problem:
            second = self.second() if problem.layer == "header" else None
            if second is None:
                self.foreign = problem.layer == "header"
                what = "no valid record header at either end" if self.foreign else str(problem)
                raise Problem("archive", what) from None
            known = second
        self.number, self.archive_id = known.volume, known.archive_id
        at, gap, committed, ended = 0, False, 0, False
        while at < self.size:
            ended_here, ended = ended, False
            try:
                header = self.at(at, self.archive_id)
                if header.volume != self.number:
                    raise Problem("volume", f"record of volume {header.volume} in volume {self.number}")
            except Problem as problem:
                if problem.layer == "archive":
                    raise
                if copy is not None and at == copy.offset:
                    header = copy  # the end copy stands for the end record's own header
                    self.fault(problem.layer, at, at + 112, str(problem))
                else:
                    following = self.search(at + 1, copy)
                    if following is None:
                        self.finished = False
                        what = "bytes follow the end copy" if ended_here else f"ends before its end record ({problem})"
                        return self.fault("volume", at if ended_here else committed, self.size, what)
                    self.fault(problem.layer, at, at + 112, str(problem))
                    at, gap, self.finished = following, True, False
                    continue
            if header.end > self.size:
                self.finished = False
                return self.fault("volume", committed, self.size, "cut within a record")
            self.records.append(
                Record(header, blake3(RECORD_HEADER.pack(*header)).digest(), self.structured(header), gap)
            )
            at, gap, self.finished = header.end, False, header.type == END
            if header.type == END:
                if at + 112 > self.size:
                    self.finished = False
                    return self.fault("volume", at, self.size, "cut within the end copy")
                if self.data[at : at + 112] != RECORD_HEADER.pack(*header):
                    self.fault("header", at, at + 112, "the end copy is not a copy of the end record's header")
                at, ended = at + 112, True
            committed = at if header.type in (HEADER, CHECKPOINT, END) else committed
        if not self.finished:
            self.fault("volume", committed, self.size, "ends before its end record")
        return None

    def search(self, begin: int, copy: RecordHeader | None) -> int | None:
        """Where the next record header of this archive is."""
        while (found := self.data.find(SIGNATURE, begin + 8)) >= 0:
            begin = found - 8
            if copy is not None and begin > copy.offset:
                break
            try:
                return self.at(begin, self.archive_id).offset
            except Problem as problem:
                if problem.layer == "archive":
                    raise
                begin += 1
        return copy.offset if copy is not None and begin <= copy.offset else None

    def structured(self, header: RecordHeader) -> dict[str, Any] | None:
        if header.type == FRAME:
            return None
        stored = self.data[header.offset + 112 : header.end]
        try:
            raw = unpack_payload("record", stored, header.raw_size, header.payload_digest)
            if header.type >= ANCILLARY:
                return None
            value = MessagePack(raw).document()
            CHECKS[header.type](value)
        except (ValueError, Problem) as problem:
            if isinstance(problem, Problem) and problem.layer == "archive":
                raise
            self.fault("record", header.offset, header.end, f"record of type {header.type}: {problem}")
            return None
        return value


# -- The archive: volumes, chain, frames, images ----------------------------------------------------------------------


@dataclass
class Frame:
    """A row of a frame index, and what was found there."""

    volume: Volume
    number: int
    first_block: int
    row: Row
    block_digests: bytes | None  # as a checkpoint lists them
    digests: bytes | None = None  # of the blocks as they are; None: the frame cannot be used
    quiet: bool = False  # a fault of it is reported already


@dataclass
class Image:
    """An image, put together from its parts."""

    number: int
    begin: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    extents: list[Extent] = field(default_factory=list)
    spare: list[Extent] = field(default_factory=list)  # what the catalogs of damaged sessions say
    where: Fault = field(default_factory=lambda: Fault("image", "", 0, 0, ""))  # the record that spoke of it last
    problem: str | None = None  # why its bytes are not released

    @property
    def id(self) -> str:
        return "" if self.begin is None else str(self.begin["id"])

    @property
    def status(self) -> str:
        if self.end is not None and "patch" in self.end:
            return "patch"
        return "unfinished" if self.end is None else str(self.end["status"])

    @property
    def size(self) -> int | None:
        return None if self.end is None else self.end["size"]

    def within(self, begin: int, end: int) -> list[Extent]:
        """Its extents from block `begin` to block `end`."""
        found = []
        for position, start, count in sorted(self.extents + self.spare):
            first, last = max(position, begin), min(position + count, end)
            if first < last:
                found.append((first, start if start == ZEROS else start + first - position, last - first))
        return found

    @property
    def released(self) -> bool:
        return self.status == "complete" and self.problem is None


@dataclass
class Session:
    """What checkpoints and catalogs say, each by itself; `damaged` when a record of it could not be read."""

    said: dict[str, list[Any]] = field(default_factory=lambda: {"frames": [], "parts": []})
    catalog: dict[str, list[Any]] = field(default_factory=lambda: {"frames": [], "parts": []})
    damaged: bool = False


def joined(extents: Iterable[Extent]) -> list[Extent]:
    """The same extents in the fewest rows, in order of position."""
    result: list[Extent] = []
    for position, start, count in sorted(extents):
        if result:
            p, s, c = result[-1]
            if p + c == position and (start == ZEROS if s == ZEROS else s + c == start):
                result[-1] = (p, s, c + count)
                continue
        result.append((position, start, count))
    return result


class Archive:
    """All volumes together. `images`: the ones that count, in order of number; `faults`: everything found."""

    def __init__(self, volumes: list[Volume], hashes: bool = True, asked: bytes | None = None) -> None:
        self.faults: list[Fault] = []
        self.images: list[Image] = []
        self.frames: dict[int, Frame] = {}
        self.suspects: set[int] = set()  # blocks with a fault
        self.header: dict[str, Any] | None = None
        self.kept: list[Volume] = []
        if any(volume.refused and not volume.foreign for volume in volumes):
            self.faults += [fault for volume in volumes for fault in volume.faults]
            return
        known = [volume for volume in volumes if not volume.foreign]
        bases = {volume.said()["base"]["archive_id"] for volume in known if "base" in volume.said()}
        ids = {volume.archive_id for volume in known}
        repairs = {
            volume.archive_id: volume.said()["repairs"]["archive_id"]
            for volume in known
            if volume.said().get("repairs", {}).get("archive_id") in ids
        }
        bases |= repairs.keys()
        for volume in known[::-1] if asked is None else ():  # the first that is no base, or else the first
            asked = volume.archive_id if asked is None or volume.archive_id not in bases else asked
        own = [volume for volume in known if volume.archive_id == asked]
        named = [volume.said()[key] for volume in own for key in ("base", "repairs") if key in volume.said()]
        name = named[0] if named else {"frames": 0, "blocks": 0}
        others = [volume for volume in known if volume.archive_id != asked]
        mending = [one for one, repaired in repairs.items() if repaired == asked]
        patches = [Archive([v for v in others if v.archive_id == one], False, one) for one in mending]
        others = [volume for volume in others if volume.archive_id not in mending]
        if "root" in name:
            others = self.take_base(own[-1], name, others, hashes)
        own, copies = self.choose(own)
        for volume in own + others + [volume for volume in volumes if volume.foreign]:
            self.faults += volume.faults
        self.arrange(own + others, copies)
        # Records or volumes that cannot be read explain what is missing later: that is then no fault of its own.
        self.lost = bool(self.faults)
        self.parts: dict[int, Image] = {}
        self.numbers: dict[int, int] = dict.fromkeys(range(256), 0)  # what the next record of each type must have
        self.numbers[FRAME] = name["frames"]
        self.next: list[int | None] = [name["frames"], name["blocks"], 0]  # frame, block and image; None: not known
        self.root: bytes | None = None  # record digest of the last end record of the volume before
        for volume in self.kept:
            self.apply(volume)
        for patch in patches:
            self.lay_over(patch)
        self.starts = sorted((frame.first_block, frame.number) for frame in self.frames.values())
        for frame in self.frames.values():
            if frame.volume in self.kept:
                self.check_frame(frame)
        for image in self.parts.values():
            self.check_image(image, hashes)
        self.images = sorted(self.current().values(), key=lambda image: image.number)

    def current(self) -> dict[str, Image]:
        """The images that count, by id."""
        counts: dict[str, Image] = {}
        for _, image in sorted(self.parts.items(), key=lambda item: (item[1].status == "complete", item[0])):
            if image.begin is not None:
                counts[image.id] = image
        return counts

    def lay_over(self, repair: "Archive") -> None:
        """Section 6.8: what a repair archive has takes the place of what is missing."""
        self.faults += repair.faults
        header, own = repair.header or {}, self.header or {}
        if any(header.get(key) != own.get(key) for key in ("block_size", "hash_key")):
            for volume in repair.kept[:1]:
                self.fault("volume", volume, None, "repairs an archive with another block size or key")
            return
        self.frames |= repair.frames
        self.suspects |= repair.suspects
        known = self.current()
        for patch in repair.images:
            old = known.get(patch.id)
            if patch.end is None or patch.status == "failed":
                continue
            if old is None or old.status in ("unfinished", "failed"):
                if patch.status != "patch":
                    number = len(self.parts) + 2**32 if old is None else old.number
                    begin = patch.begin if old is None else old.begin
                    self.parts[number] = Image(number, begin, patch.end, patch.extents, patch.spare, patch.where)
            elif old.status == "complete" and old.end is not None and old.end["digest"] == patch.end["digest"]:
                extents, at = list[Extent](), 0
                for first, last in ranges_of(patch.end) if patch.status == "patch" else [(0, 2**63)]:
                    for position, start, count in repair.usable(patch.within(first, last)):
                        extents += [*old.within(at, position), (position, start, count)]
                        at = position + count
                old.extents, old.spare = extents + old.within(at, 2**63), []

    def usable(self, extents: list[Extent]) -> Iterator[Extent]:
        """Those, or those parts of them, whose frames are whole."""
        for position, start, count in extents:
            at = position
            for frame, index, blocks in [(None, 0, count)] if start == ZEROS else self.pieces(start, count):
                if start == ZEROS:
                    yield position, ZEROS, count
                elif frame is not None and frame.digests is not None:
                    yield at, frame.first_block + index, blocks
                at += blocks

    def fault(self, layer: str, volume: Volume, record: RecordHeader | None, message: str) -> None:
        begin, end = (0, 0) if record is None else (record.offset, record.end)
        self.faults.append(Fault(layer, volume.path, begin, end, message))

    def take_base(self, own: Volume, name: dict[str, Any], others: list[Volume], hashes: bool) -> list[Volume]:
        """Section 6.6: the frames of the base that `name` says, from `others`. Those that belong to something else."""
        if all(volume.archive_id != name["archive_id"] for volume in others):
            self.fault("volume", own, None, f"the base with root digest {name['root'].hex()} is missing")
            return [volume for volume in others if not self.may_be_below(volume, own, name["blocks"])]
        base = Archive(others, hashes, name["archive_id"])
        ends = [record for volume in base.kept for record in volume.records if record.header.type == END and record.map]
        same = [record.map for record in ends if record.digest == name["root"] and record.map]
        header = base.header or {}
        if (
            any(header.get(key) != own.said()[key] for key in ("block_size", "hash_key"))
            or (ends and not same)
            or any(end[key] != name[key] for end in same for key in ("frames", "blocks"))
        ):
            self.fault("volume", own, None, f"what is given is not the base with root digest {name['root'].hex()}")
        else:
            self.frames |= {number: frame for number, frame in base.frames.items() if number < name["frames"]}
            self.suspects |= {block for block in base.suspects if block < name["blocks"]}
        self.faults += base.faults
        return []

    @staticmethod
    def may_be_below(volume: Volume, own: Volume, blocks: int) -> bool:
        """Whether the missing base may be based on this one."""
        header, mine = volume.said() or {}, own.said() or {}
        begin = (header.get("repairs") or header.get("base") or {"blocks": 0})["blocks"]
        return all(header.get(key) == mine.get(key) for key in ("block_size", "hash_key")) and begin < blocks

    @staticmethod
    def choose(volumes: list[Volume]) -> tuple[list[Volume], list[Volume]]:
        """Section 9: of each volume the file that counts, and the other copies."""
        ordered = sorted(volumes, key=lambda volume: (volume.end_copy() is None, -volume.size))
        chosen: dict[int, Volume] = {}
        for volume in ordered:
            best = chosen.setdefault(volume.number, volume)
            goes_on = best.end_copy() is not None and volume.end_copy() is None
            if goes_on and volume.search(best.size, None) is not None:
                chosen[volume.number] = volume
        used = [volume for volume in volumes if volume in chosen.values()]  # in the order given
        return used, [volume for volume in volumes if volume not in used]

    def arrange(self, volumes: list[Volume], copies: list[Volume]) -> None:
        """Which of the files are the volumes of one archive, in order; and which are not there."""
        found: dict[int, Volume] = {}
        given = len(volumes) + len(copies)
        for volume in volumes:
            volume.header = volume.said() or None
            if volume.archive_id != volumes[0].archive_id:
                self.fault("volume", volume, None, "a volume of another archive")
            elif any((volume.header or {}).get(key, value) != value for key, value in self.same().items()):
                self.fault("volume", volume, None, "its header differs in what all volumes have the same")
            else:
                found[volume.number] = volume
                self.header = self.header or volume.header
        self.kept = [volume for _, volume in sorted(found.items())]
        for copy in copies:
            self.compare_copies(next(volume for volume in volumes if volume.number == copy.number), copy)
            self.check_name(copy, given)
        for before, volume in zip([None, *self.kept], self.kept, strict=False):
            if volume.number != (before.number if before else 0) + 1:
                self.fault("volume", volume, None, f"volumes before volume {volume.number} are missing")
            self.check_name(volume, given)
        ends = [record.map for record in self.kept[-1].records if record.header.type == END] if self.kept else []
        if self.kept and self.kept[-1].finished and ends[-1] is not None and not ends[-1]["final"]:
            self.fault("volume", self.kept[-1], None, "another volume follows, and is missing")

    def check_name(self, volume: Volume, given: int) -> None:
        name = re.search(r"\.(\d{3,})\.gla$", volume.path)
        if name and given > 1 and int(name[1]) != volume.number:
            self.fault("volume", volume, None, f"is named as volume {int(name[1])}, but is volume {volume.number}")

    def compare_copies(self, used: Volume, other: Volume) -> None:
        """Section 9: a copy is no fault; one that commits last what the other one does not have is another volume."""
        kind = CHECKPOINT if other.end_copy() is None else END
        lasts = [one for one in other.records if one.header.type == kind and (kind == END or one.map is not None)]
        if not lasts or lasts[-1].digest in {record.digest for record in used.records}:
            return
        after = [record for record in used.records if record.header.offset > lasts[-1].header.offset]
        if not after[0].gap if after else used.finished:
            self.fault("volume", other, None, f"volume {other.number} is there twice, and not the same")

    def same(self) -> dict[str, Any]:
        return {
            key: (self.header or {})[key]
            for key in ("base", "block_size", "hash", "hash_key", "compression", "incompatible", "repairs")
            if self.header and key in self.header
        }

    def apply(self, volume: Volume) -> None:
        """The records of one volume in order: numbers, grammar, chain, what checkpoints, catalogs and end say."""
        first = volume.header
        before = [other for other in self.kept if other.number == volume.number - 1 and other.finished]
        follows = volume.number == 1 or bool(before)
        if not follows:
            self.next, self.root = [None, None, None], None
        if first is not None:
            place = [first["first_frame"], first["first_block"]]
            if None not in self.next[:2] and place != self.next[:2]:
                self.fault("chain", volume, None, f"first_frame and first_block are {place}, not {self.next[:2]}")
            if (first["previous"] is None) != (volume.number == 1) or self.root not in (None, first["previous"]):
                self.fault("chain", volume, None, "the header's previous is not the end of the volume before")
            self.next[:2] = place
        certain = follows  # whether the numbers of the next records are known
        state, commit, session, gap, whole = "start", None, Session(), False, True
        frames, catalogs = list[RecordHeader](), list[RecordHeader]()
        for record in volume.records:
            header, value, kind = record.header, record.map, record.header.type
            if record.gap:
                state, commit, session.damaged, gap, whole, certain = "any", None, True, True, False, False
                self.next = [None, None, None]
            expected = volume.number - 1 if kind == HEADER else self.numbers[kind] if certain else header.number
            if kind == FRAME and not whole and self.next[0] is None:
                expected = header.number
            if header.number != expected:
                self.fault("header", volume, header, f"number {header.number} instead of {expected}")
            self.numbers[kind] = expected + 1
            state = self.grammar(volume, header, state)
            if kind in (CHECKPOINT, END) and value is not None and commit not in (None, value["previous"]):
                self.fault("chain", volume, header, "previous is not the commit record before")
            commit = record.digest if kind in (HEADER, CHECKPOINT, END) else commit
            session.damaged |= value is None and kind in (CHECKPOINT, CATALOG)
            if kind == FRAME:
                frames.append(header)
            elif kind == CHECKPOINT:
                self.checkpoint(volume, record, frames, gap, session)
                frames, gap = [], False
            elif kind == CATALOG:
                catalogs.append(header)
                if value is not None and "frames" in value:
                    session.catalog["frames"] += self.rows(value["frames"])
                elif value is not None:
                    session.catalog["parts"] += value["images"]
            elif kind == END:
                self.end_record(volume, record, catalogs, whole)
                self.close(volume, record, session)
                session = Session()
                state = "closed" if value is not None and not value["final"] else state
                self.root = record.digest
        if session.damaged:
            self.close(volume, None, session)

    def grammar(self, volume: Volume, header: RecordHeader, state: str) -> str:
        """The order of records; answers the state after this one."""
        allowed = {
            "start": (HEADER,),
            "body": (FRAME, CHECKPOINT, CATALOG, END),
            "frames": (FRAME, CHECKPOINT),
            "catalogs": (CATALOG, END),
        }
        if header.type >= ANCILLARY and state not in ("start", "closed"):
            return state
        if state != "any" and header.type not in allowed.get(state, ()):
            self.fault("chain", volume, header, f"record of type {header.type} out of order")
        return {FRAME: "frames", CATALOG: "catalogs"}.get(header.type, "body")

    def rows(self, frames: dict[str, Any]) -> list[tuple[int, int, Row]]:
        """A frame index as (frame number, first block, row)."""
        result, block = [], frames["first_block"]
        for number, row in enumerate(index_rows(frames["index"]), frames["first_frame"]):
            result.append((number, block, row))
            block += row[2] // self.header["block_size"] if self.header else 0
        return result

    def checkpoint(
        self, volume: Volume, record: Record, pending: list[RecordHeader], gap: bool, session: Session
    ) -> None:
        value, header = record.map, record.header
        if value is None or self.header is None:
            self.next = [None, None, None]
            return
        if value.get("header", volume.said()) != volume.said():
            self.fault("chain", volume, header, "does not repeat the header")
        index, size = value["frames"], self.header["block_size"]
        rows = self.rows(index)
        place = [index["first_frame"], index["first_block"]]
        if None not in self.next[:2] and place != self.next[:2]:
            self.fault("chain", volume, header, f"first_frame and first_block are {place}, not {self.next[:2]}")
        seen = {
            frame.offset: (frame.offset, frame.stored_size, frame.raw_size, frame.payload_digest) for frame in pending
        }
        wrong = [row for _, _, row in rows if seen.get(row[0], row if gap else None) != row]
        if wrong or (not gap and list(seen.values()) != [row for _, _, row in rows]):
            self.fault("chain", volume, header, "the frame index is not what the frames before it say")
        blocks = sum(row[2] // size for _, _, row in rows)
        digests: bytes | None = index["block_digests"]
        if len(index["block_digests"]) != 16 * blocks:
            self.fault(
                "record", volume, header, f"{len(index['block_digests']) // 16} block digests for {blocks} blocks"
            )
            digests = None
        for number, first, row in rows:
            at = 16 * (first - index["first_block"])
            part = None if digests is None else digests[at : at + 16 * (row[2] // size)]
            frame = self.frames.setdefault(number, Frame(volume, number, first, row, part))
            if row[2] % size:
                self.faults.append(
                    Fault(
                        "frame", volume.path, row[0], row[0] + 112 + row[1], "raw_size is not a multiple of block_size"
                    )
                )
            frame.quiet = row in wrong or row[2] % size > 0
        self.next[:2] = [index["first_frame"] + len(rows), index["first_block"] + blocks]
        session.said["frames"] += rows
        session.said["parts"] += value["images"]
        for part in value["images"]:
            self.part(volume, header, part)

    def part(self, volume: Volume, header: RecordHeader, part: dict[str, Any]) -> None:
        number, extents = part["number"], extents_of(part)
        image = self.parts.get(number)
        if image is None:
            image = self.parts[number] = Image(number)
            if self.next[2] not in (None, number) and not self.lost:
                self.fault("chain", volume, header, f"image number {number} instead of {self.next[2]}")
        if self.next[2] is not None:
            self.next[2] = max(self.next[2], number + 1)
        elsewhere = image.where.volume != volume.path
        image.where = Fault("image", volume.path, header.offset, header.end, "")
        if image.end is not None:
            self.bad(image, "image", "goes on after its end")
        if "begin" in part and image.begin not in (None, part["begin"]):
            self.bad(image, "image", "begin is repeated differently")
        if "begin" not in part and elsewhere and not self.lost:
            self.bad(image, "image", "does not begin in this volume")
        if any(start != ZEROS and start + count > (self.next[1] or 0) for _, start, count in extents) and not self.lost:
            self.bad(image, "image", "names blocks that are not committed")
        image.begin, image.end = image.begin or part.get("begin"), image.end or part.get("end")
        image.extents += extents

    def end_record(self, volume: Volume, record: Record, catalogs: list[RecordHeader], whole: bool) -> None:
        value, header = record.map, record.header
        if value is None:
            return
        totals = [value["frames"], value["blocks"], value["images"]]
        if any(known not in (None, total) for known, total in zip(self.next, totals, strict=True)):
            self.fault(
                "chain", volume, header, f"frames, blocks, images are {self.next}, but the end record says {totals}"
            )
        self.next = [*totals]
        if volume.said() not in ({}, value["header"]):
            self.fault("chain", volume, header, "does not repeat the header")
        listed = [
            (r["number"], r["offset"], r["stored_size"], r["raw_size"], r["payload_digest"]) for r in value["catalog"]
        ]
        there = [(c.number, c.offset, c.stored_size, c.raw_size, c.payload_digest) for c in catalogs]
        if listed != there if whole else not set(there) <= set(listed):
            self.fault("chain", volume, header, "the list of catalogs is not that of the catalogs in this volume")
        contents = {r.header.offset: r.map for r in volume.records if r.header.type == CATALOG and r.map is not None}
        for row in value["catalog"]:
            said = contents.get(row["offset"], {}).get("images", [])
            extra = {"images": {"extents"}, "extents": {"begin", "end"}}.get(row["kind"], set())
            if row["offset"] in contents and (
                (row["kind"] == "frames") != ("frames" in contents[row["offset"]])
                or any(extra & p.keys() for p in said)
            ):
                self.fault("chain", volume, header, f"the catalog at {row['offset']} is not of kind {row['kind']}")
        if value["final"] and volume is not self.kept[-1]:
            self.fault("chain", volume, header, "final, but another volume follows")

    def close(self, volume: Volume, record: Record | None, session: Session) -> None:
        """Catalogs against checkpoints; where a record is damaged they stand in for each other."""
        catalog, said = session.catalog, session.said
        if session.damaged:
            for number, first, row in catalog["frames"]:
                self.frames.setdefault(number, Frame(volume, number, first, row, None))
            for part in catalog["parts"]:
                image = self.parts.setdefault(part["number"], Image(part["number"]))
                image.begin, image.end = image.begin or part.get("begin"), image.end or part.get("end")
                image.spare += extents_of(part)
        elif record is not None and (
            catalog["frames"] != said["frames"] or merged(catalog["parts"]) != merged(said["parts"])
        ):
            self.fault(
                "chain", volume, record.header, "the catalogs do not say what the checkpoints of the session say"
            )

    # -- 5. Frames and blocks -----------------------------------------------------------------------------------------

    def load(self, frame: Frame) -> bytes:
        """The blocks of a frame, checked against the digest in the frame index."""
        offset, stored_size, raw_size, payload_digest = frame.row
        stored = frame.volume.data[offset + 112 : offset + 112 + stored_size]
        return unpack_payload("frame", stored, raw_size, payload_digest)

    def check_frame(self, frame: Frame) -> None:
        if self.header is None:
            return
        begin, end = frame.row[0], frame.row[0] + 112 + frame.row[1]
        try:
            raw = self.load(frame)
        except Problem as problem:
            if not frame.quiet:
                self.faults.append(Fault("frame", frame.volume.path, begin, end, f"frame {frame.number}: {problem}"))
            return
        size, key = self.header["block_size"], self.header["hash_key"]
        frame.digests = b"".join(
            blake3(raw[at : at + size], key=key).digest(16) for at in range(0, len(raw) - size + 1, size)
        )
        for index in range(len(raw) // size):
            zero = not any(raw[index * size : (index + 1) * size])
            if zero or (
                frame.block_digests
                and frame.block_digests[16 * index : 16 * index + 16] != frame.digests[16 * index : 16 * index + 16]
            ):
                what = "is all zero" if zero else "does not have its block digest"
                self.faults.append(
                    Fault("block", frame.volume.path, begin, end, f"block {frame.first_block + index} {what}")
                )
                self.suspects.add(frame.first_block + index)

    # -- 7. Images ----------------------------------------------------------------------------------------------------

    def bad(self, image: Image, layer: str, message: str, quiet: bool = False) -> None:
        """An image that is not to be released; `quiet` when the cause is reported already."""
        image.problem = message
        if not quiet:
            self.faults.append(
                image.where._replace(layer=layer, message=f"image {image.id or image.number}: {message}")
            )

    def check_image(self, image: Image, hashes: bool) -> None:
        if image.end is None or image.problem is not None or image.begin is None:
            return None
        if image.status not in ("complete", "patch"):
            if image.status == "no-data" and image.extents:
                self.bad(image, "image", "has no data, but extents")
            return None
        if self.header is None:
            return self.bad(image, "image", "no header record is readable", quiet=True)
        extents, covered = list[Extent](), 0
        for position, start, count in sorted(image.extents + image.spare) if self.lost else image.extents:
            skip = covered - position if self.lost else 0
            if position + skip != covered:
                return self.bad(image, "image", f"extents begin at block {position}, not {covered}", quiet=self.lost)
            if skip < count:
                extents.append((covered, start if start == ZEROS else start + skip, count - skip))
                covered += count - skip
        if covered != -(-image.end["size"] // self.header["block_size"]):
            return self.bad(
                image, "image", f"extents cover {covered} blocks, the size is {image.end['size']}", quiet=self.lost
            )
        image.extents = joined(extents)
        runs, digests = list[int](), blake3()
        for _, start, count in image.extents:
            zero = start == ZEROS
            if not runs and not zero:
                runs.append(0)
            if zero == len(runs) % 2:  # of the same kind as the run before: runs alternate, and the first is of zeros
                runs[-1] += count
            else:
                runs.append(count)
            for frame, index, blocks in () if zero else self.pieces(start, count):
                if frame is None:
                    return self.bad(image, "image", f"block {index} does not exist", quiet=self.lost)
                if frame.digests is None or any(
                    frame.first_block + index <= b < frame.first_block + index + blocks for b in self.suspects
                ):
                    return self.bad(image, "image", f"frame {frame.number} is damaged", quiet=True)
                digests.update(frame.digests[16 * index : 16 * (index + blocks)])
        if image.status == "patch":
            image.problem = "is a part of an image"
            return None
        size = struct.pack("<Q", image.end["size"])
        if (
            blake3(size + blake3(struct.pack(f"<{len(runs)}Q", *runs)).digest() + digests.digest()).digest()
            != image.end["digest"]
        ):
            return self.bad(image, "image", "image digest does not match")
        known = (
            {name: hashlib.new(name) for name in image.end["hashes"] if name in hashlib.algorithms_available}
            if hashes
            else {}
        )
        for data in self.read(image) if known else ():
            for state in known.values():
                state.update(data)
        for name, state in known.items():
            if state.hexdigest() != image.end["hashes"][name]:
                return self.bad(image, "glance", f"{name} is {state.hexdigest()}, not {image.end['hashes'][name]!a}")
        return None

    def pieces(self, start: int, count: int) -> Iterator[tuple[Frame | None, int, int]]:
        """Where blocks lie: (frame, index of the first in it, how many); frame None and the block's number: nowhere."""
        while count:
            at = bisect_right(self.starts, (start, ZEROS)) - 1
            frame = self.frames[self.starts[at][1]] if at >= 0 and self.header else None
            index = start - (frame.first_block if frame else 0)
            blocks = frame.row[2] // self.header["block_size"] - index if frame and self.header else 0
            if blocks <= 0:
                yield None, start, count
                return
            blocks = min(blocks, count)
            yield frame, index, blocks
            start, count = start + blocks, count - blocks

    def read(self, image: Image) -> Iterator[bytes]:
        """The bytes of an image; Problem when it is not to be released."""
        if image.status != "complete" or image.problem is not None or image.end is None or self.header is None:
            raise Problem("image", f"{image.id}: {image.problem or image.status}")
        size, left = self.header["block_size"], image.end["size"]
        for _, start, count in image.extents:
            if start == ZEROS:
                length = min(left, count * size)
                for at in range(0, length, 1 << 20):
                    yield bytes(min(1 << 20, length - at))
                left -= length
                continue
            for frame, index, blocks in self.pieces(start, count):
                assert frame is not None
                data = self.load(frame)[index * size : (index + blocks) * size][:left]
                left -= len(data)
                yield data


def merged(parts: list[dict[str, Any]]) -> dict[int, tuple[Any, Any, list[Extent]]]:
    """Image parts by image: the first begin, the end, all extents."""
    result: dict[int, tuple[Any, Any, list[Extent]]] = {}
    for part in parts:
        begin, end, extents = result.get(part["number"], (None, None, []))
        result[part["number"]] = (
            begin or part.get("begin"),
            end or part.get("end"),
            joined(extents + extents_of(part)),
        )
    return result


# -- 6.7 Isolated catalogs --------------------------------------------------------------------------------------------

ISOLATED = 128


def read_isolated(path: str | os.PathLike[str]) -> list[tuple[RecordHeader, dict[str, Any]]]:
    """The commit records in an isolated catalog; Problem when anything is wrong with it."""
    data, records, at = Path(path).read_bytes(), list[tuple[RecordHeader, dict[str, Any]]](), 0
    digest, root, before = b"", b"", None
    while at < len(data):
        header = parse_record_header(data[at : at + 112], None, None)
        size = RECORD_HEADER.size + header.stored_size
        stored = data[at + RECORD_HEADER.size : at + size]
        try:
            value = MessagePack(unpack_payload("record", stored, header.raw_size, header.payload_digest)).document()
            CHECKS.get(header.type, lambda _: None)(value)
            if at == 0:
                check_keys(value, {"root": binary(32)})
        except ValueError as error:
            raise Problem("record", str(error)) from None
        if at == 0:
            if (header.type, header.offset) != (ISOLATED, 0):
                raise Problem("archive", "no isolated catalog")
            first, root = header, value["root"]
        else:
            new = header.type == HEADER and header.volume == 1  # an archive begins: the first may have any base
            base = value.get("base", {})
            follows = (
                (before is None or (base.get("archive_id"), base.get("root")) == (before.archive_id, digest))
                if new
                else before is not None and (header.archive_id, value["previous"]) == (before.archive_id, digest)
            )
            if header.type not in (HEADER, CHECKPOINT, END) or not follows:
                raise Problem("chain", f"the record at {at} does not follow the one before it")
            records.append((header, value))
            before, digest = header, blake3(RECORD_HEADER.pack(*header)).digest()
        at += size
    if before is None or (before.archive_id, digest) != (first.archive_id, root) or before.type != END:
        raise Problem("volume", "does not end with the end record that root names")
    return records


def read_archive(paths: Iterable[str | os.PathLike[str]], hashes: bool = True) -> Archive:
    """All volumes in `paths` as one archive, verified in full; with `hashes` the images' own hashes too."""
    return Archive([Volume(path) for path in paths], hashes)


def main(arguments: list[str]) -> int:
    """The program; 0: all well, 1: faults, 2: wrong usage, or a file that cannot be read or written."""
    try:
        return run(arguments)
    except OSError as error:
        print(f"{error.filename or 'standard output'!a}: {error.strerror}", file=sys.stderr)
        return 2


def run(arguments: list[str]) -> int:
    """As `main`; raises OSError."""
    match arguments:
        case ["list", *paths] if paths:
            archive = read_archive(paths, hashes=False)
            for image in archive.images:
                print(image.id, image.status, "-" if image.size is None else image.size, image.problem or "", sep="\t")
        case ["check", *paths] if paths:
            archive = read_archive(paths)
            for fault in archive.faults:
                print(f"{fault.layer}\t{ascii(fault.volume)[1:-1]}\t{fault.begin}-{fault.end}\t{fault.message}")
        case ["extract", *paths, wanted, out] if paths:
            archive = read_archive(paths, hashes=False)
            images = [image for image in archive.images if image.id == wanted]
            if not images or not images[0].released:
                print(
                    f"{wanted!a}: {images[0].problem or images[0].status if images else 'no such image'}",
                    file=sys.stderr,
                )
                return 1
            with Path(out).open("xb") as file:
                file.writelines(archive.read(images[0]))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    for fault in archive.faults if arguments[0] != "check" else ():
        print(f"{fault.layer}: {ascii(fault.volume)[1:-1]} {fault.begin}-{fault.end}: {fault.message}", file=sys.stderr)
    return 1 if archive.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
