"""Makes `vectors/` and the hex dump in SPEC.md: a small writer, from SPEC.md alone, that can also write every fault.

    python spec/make_vectors.py            write vectors/*.gla, vectors/vectors.json, and the hex dump into SPEC.md

Everything is fixed (ids, keys, times), and payloads are zstd frames made here of raw and RLE blocks, so that the same
bytes come out whatever zstd is installed; the vectors named `compressed…` alone come out of libzstd, and may differ.

Faults are put in by *tweaks*: a tweak changes one record at one stage (map, raw, stored, fields, bytes), and everything
written after it (digests, frame index, chain, catalogs) takes the change into account. So each vector has one fault.
"""

# ruff: noqa: E501, D103  (one vector a line reads better than four; the comment of a vector says what it is)
import hashlib
import json
import math
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3

HERE = Path(__file__).parent
TYPES = {"header": 1, "frame": 2, "checkpoint": 3, "catalog": 4, "end": 5, "padding": 129}
NAMES = {number: name for name, number in TYPES.items()}
ARCHIVE_ID = bytes(range(0xA0, 0xB0))
HASH_KEY = bytes(range(32))
ZEROS = 2**64 - 1
BLOCK = 4096
MARKS = ("<!-- hexdump:begin -->", "<!-- hexdump:end -->")

# -- zstd, RFC 8878: frames of raw and RLE blocks ---------------------------------------------------------------------

P = (11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579, 2870177450012600261)
M = 2**64 - 1


def rotl(x: int, n: int) -> int:
    return ((x << n) | (x >> (64 - n))) & M


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0, whose low 32 bits are the content checksum of a zstd frame."""
    at, end = 0, len(data)
    if end >= 32:
        v = [(P[0] + P[1]) & M, P[1], 0, -P[0] & M]
        while at + 32 <= end:
            for i, lane in enumerate(struct.unpack_from("<4Q", data, at)):
                v[i] = rotl((v[i] + lane * P[1]) & M, 31) * P[0] & M
            at += 32
        h = (rotl(v[0], 1) + rotl(v[1], 7) + rotl(v[2], 12) + rotl(v[3], 18)) & M
        for x in v:
            h = ((h ^ (rotl(x * P[1] & M, 31) * P[0] & M)) * P[0] + P[3]) & M
    else:
        h = P[4]
    h = (h + end) & M
    while at + 8 <= end:
        h = (rotl(h ^ (rotl(struct.unpack_from("<Q", data, at)[0] * P[1] & M, 31) * P[0] & M), 27) * P[0] + P[3]) & M
        at += 8
    if at + 4 <= end:
        h = (rotl(h ^ (struct.unpack_from("<I", data, at)[0] * P[0] & M), 23) * P[1] + P[2]) & M
        at += 4
    for byte in data[at:]:
        h = rotl(h ^ (byte * P[4] & M), 11) * P[0] & M
    h = (h ^ (h >> 33)) * P[1] & M
    h = (h ^ (h >> 29)) * P[2] & M
    return h ^ (h >> 32)


def runs(data: bytes) -> Iterator[tuple[bool, bytes]]:
    """Data as (is RLE, bytes), in pieces of at most 128 KiB; runs of at least 16 equal bytes are RLE."""
    at = begin = 0
    while at < len(data):
        byte = data[at : at + 1]
        length = 1
        if data[at : at + 16] == byte * 16:
            rest = data[at : at + (128 << 10)]
            length = len(rest) - len(rest.lstrip(byte))
        if length >= 16 or at - begin >= 128 << 10:
            if begin < at:
                yield False, data[begin:at]
            if length >= 16:
                yield True, data[at : at + length]
                at += length
            begin = at
        else:
            at += 1
    if begin < at:
        yield False, data[begin:at]


def zstd_frame(
    data: bytes, *, checksum: bool = True, content_size: int | None = -1, window: int | None = None, dictionary: int = 0
) -> bytes:
    """One zstd frame; `content_size` -1: the true one, None: not stated; `window`: a window descriptor byte."""
    content_size = len(data) if content_size == -1 else content_size
    single = window is None
    if content_size is None:
        assert not single
        size_flag, size = 0, b""
    elif content_size < 256 and single:
        size_flag, size = 0, struct.pack("<B", content_size)
    elif 256 <= content_size < 65536 + 256:
        size_flag, size = 1, struct.pack("<H", content_size - 256)
    else:
        size_flag, size = 2, struct.pack("<I", content_size)
    descriptor = size_flag << 6 | single << 5 | checksum << 2 | (1 if dictionary else 0)
    frame = struct.pack("<IB", 0xFD2FB528, descriptor) + (b"" if window is None else bytes([window]))
    frame += (bytes([dictionary]) if dictionary else b"") + size
    blocks = list(runs(data)) or [(False, b"")]
    for number, (rle, block) in enumerate(blocks):
        head = (number == len(blocks) - 1) | rle << 1 | len(block) << 3
        frame += head.to_bytes(3, "little") + (block[:1] if rle else block)
    return frame + (struct.pack("<I", xxh64(data) & 0xFFFFFFFF) if checksum else b"")


# -- MessagePack, canonical -------------------------------------------------------------------------------------------


def sized(n: int, forms: list[tuple[int, int, int]], small: int | None = None, below: int = 0) -> bytes:
    """First byte and length: `small` | n when n < `below`, else the first form (byte, width, limit) with n < limit."""
    if small is not None and n < below:
        return bytes([small | n])
    first, width, _ = next(form for form in forms if n < form[2])
    return bytes([first]) + n.to_bytes(width, "big")


def pack(value: Any) -> bytes:
    """Canonical MessagePack. `Verbatim` values stand for themselves; `Pairs` is a map written as it is."""
    match value:
        case Verbatim():
            return value.data
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int() if value >= 0:
            return sized(value, [(0xCC, 1, 1 << 8), (0xCD, 2, 1 << 16), (0xCE, 4, 1 << 32), (0xCF, 8, 1 << 64)], 0, 128)
        case int():
            first, width = next(
                (f, w)
                for f, w in ((0, 0), (0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8))
                if value >= -(1 << (8 * w - 1 if w else 5))
            )
            return bytes([first]) + value.to_bytes(width, "big", signed=True) if width else bytes([value + 256])
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            data = value.encode()
            return sized(len(data), [(0xD9, 1, 1 << 8), (0xDA, 2, 1 << 16), (0xDB, 4, 1 << 32)], 0xA0, 32) + data
        case bytes():
            return sized(len(value), [(0xC4, 1, 1 << 8), (0xC5, 2, 1 << 16), (0xC6, 4, 1 << 32)]) + value
        case list():
            return sized(len(value), [(0xDC, 2, 1 << 16), (0xDD, 4, 1 << 32)], 0x90, 16) + b"".join(map(pack, value))
        case Pairs():
            items: Any = value.items
        case dict():
            items = sorted(value.items(), key=lambda item: item[0].encode())
        case _:
            raise TypeError(type(value))
    body = b"".join(pack(part) for item in items for part in item)
    return sized(len(items), [(0xDE, 2, 1 << 16), (0xDF, 4, 1 << 32)], 0x80, 16) + body


class Verbatim:
    """Bytes in the place of a MessagePack value."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class Pairs:
    """A map as a list of pairs, for keys out of order, repeated, or of another type."""

    def __init__(self, items: list[tuple[Any, Any]]) -> None:
        self.items = items


# -- The writer -------------------------------------------------------------------------------------------------------

Tweak = Callable[[Any], Any]


class Writer:
    """One archive. `volumes` are its files; `truth` is what a reader must find in it."""

    def __init__(
        self,
        header: dict[str, Any] | None = None,
        tweaks: dict[tuple[str, int, str], Tweak] | None = None,
        **options: Any,
    ) -> None:
        self.archive_id: bytes = options.get("archive_id", ARCHIVE_ID)
        self.version: int = options.get("version", 1)
        self.compress: Callable[[bytes], bytes] = options.get("compress", zstd_frame)
        self.split: int = options.get("split", 0)  # catalogs in records of so many rows or parts
        self.dedup: bool = options.get("dedup", True)
        self.store_zeros: bool = options.get("store_zeros", False)
        self.padding: int = options.get("padding", 0)  # bytes before the catalogs
        self.repeat: bool = options.get("repeat", False)  # whether checkpoints say the header again
        self.tweaks = tweaks or {}
        self.used: set[tuple[str, int, str]] = set()
        self.numbers: dict[int, int] = {}
        self.volumes: list[bytearray] = []
        self.places: list[tuple[int, str, int, int, int]] = []  # volume, name, number, begin, end
        self.blocks = self.frames = self.images = 0
        self.index: dict[bytes, int] = {}
        self.truth: dict[str, Any] = {}
        self.numbers_of: dict[int, str] = {}
        self.state: dict[int, dict[str, Any]] = {}
        self.last_end: bytes | None = None
        self.extra = header or {}
        base: Writer | None = options.get("base")
        if base is not None:  # section 6.6: it goes on where the base ends now
            self.archive_id = options.get("archive_id", bytes([*base.archive_id[:-1], base.archive_id[-1] + 1]))
            self.blocks, self.frames, self.index = base.blocks, base.frames, dict(base.index)
            self.numbers[2] = base.frames
            named = {"archive_id": base.archive_id, "blocks": base.blocks, "frames": base.frames, "root": base.last_end}
            self.extra = {"base": named, "incompatible": ["incremental"]} | self.extra
        repaired: Writer | None = options.get("repairs")
        if repaired is not None:  # section 6.8
            self.archive_id = options.get(
                "archive_id", bytes([*repaired.archive_id[:-1], repaired.archive_id[-1] + 64])
            )
            self.blocks = self.frames = self.numbers[2] = options.get("first", 2**61 + 2**40)
            said = {"archive_id": repaired.archive_id, "blocks": self.blocks, "frames": self.frames}
            self.extra = {"incompatible": ["repair"], "repairs": said} | self.extra
        self.open_volume()

    # records

    def tweak(self, name: str, number: int, stage: str, value: Any) -> Any:
        key = (name, number, stage)
        if key not in self.tweaks:
            return value
        self.used.add(key)
        return self.tweaks[key](value)

    def record(self, kind: int, content: Any, number: int | None = None) -> dict[str, Any]:
        """Append a record; answers its header fields, with `digest` and `begin`."""
        true_number = self.numbers.get(kind, 0) if number is None else number
        self.numbers[kind] = true_number + 1
        name = NAMES.get(kind, "other")
        data = self.volumes[-1]
        raw = content if name == "frame" else pack(self.tweak(name, true_number, "map", content))
        raw = self.tweak(name, true_number, "raw", raw)
        stored = self.tweak(name, true_number, "stored", self.compress(raw))
        fields = {
            "skippable_magic": 0x184D2A57, "skippable_size": 104, "signature": b"\x89GLA\r\n\x1a\n", "version": self.version,
            "type": kind, "flags": 0, "volume": len(self.volumes), "archive_id": self.archive_id, "number": true_number,
            "offset": len(data), "stored_size": len(stored), "raw_size": len(raw), "payload_digest": blake3(stored).digest(),
        }  # fmt: skip
        fields = self.tweak(name, true_number, "fields", fields)
        head = struct.pack("<II8sBBHI16sQQII32s", *fields.values())
        head += blake3(head).digest(16)
        written = self.tweak(name, true_number, "bytes", head + stored)
        fields |= {"digest": blake3(head).digest(), "head": head, "begin": len(data)}
        data += written
        self.places.append((len(self.volumes), name, true_number, fields["begin"], len(data)))
        return fields

    def open_volume(self) -> None:
        self.volumes.append(bytearray())
        self.header = {
            "block_size": BLOCK, "compatible": [], "compression": "zstd", "created": "2024-01-01T00:00:00Z",
            "first_block": self.blocks, "first_frame": self.frames, "frame_size": 4 << 20, "hash": "blake3", "hash_key": HASH_KEY,
            "incompatible": [], "level": "default", "previous": self.last_end, "source": "", "writer": "make_vectors.py",
        } | self.extra  # fmt: skip
        # What the header says is said again in the end record: change both, or it would be two faults.
        self.header = self.tweak("both", len(self.volumes) - 1, "map", self.header)
        self.commit = self.record(1, self.header, len(self.volumes) - 1)["digest"]
        self.catalog_rows: list[dict[str, Any]] = []
        self.session: list[dict[str, Any]] = []
        self.session_rows = b""
        self.session_first = (self.frames, self.blocks)
        self.pending: list[bytes] = []
        self.rows, self.digests, self.first = b"", b"", (self.frames, self.blocks)
        self.seen: set[int] = set()

    # images

    def begin(self, image_id: str, metadata: dict[str, Any] | None = None, members: list[Any] | None = None) -> int:
        number = self.images
        self.images += 1
        begin = {"id": image_id, "members": members or [], "metadata": metadata or {"name": image_id}}
        self.state[number] = {
            "begin": begin,
            "data": b"",
            "extents": [],
            "new": [],
            "position": 0,
            "fresh": True,
            "stored": 0,
        }
        self.state[number]["runs"] = []
        self.state[number]["digests"] = b""
        self.truth[image_id] = {"status": "unfinished", "size": None, "sha256": None}
        return number

    def data(self, number: int, data: bytes) -> None:
        """Whole blocks, but for the last call."""
        image = self.state[number]
        image["data"] += data
        size = self.header["block_size"]
        for at in range(0, len(data), size):
            block = data[at : at + size].ljust(size, b"\0")
            zero = not any(block)
            if zero and not self.store_zeros:
                start = ZEROS
            else:
                digest = blake3(block, key=HASH_KEY).digest(16)
                image["digests"] += b"" if zero else digest
                if digest not in self.index or not self.dedup:
                    self.index[digest] = self.blocks
                    self.digests += digest
                    self.pending.append(block)
                    self.blocks += 1
                start = self.index[digest]
            self.extent(image, start)
            if bool(len(image["runs"]) % 2) == zero and image["runs"]:
                image["runs"][-1] += 1
            else:
                image["runs"] += [1] if zero or image["runs"] else [0, 1]

    def extent(self, image: dict[str, Any], start: int) -> None:
        if image["new"]:
            last, count = image["new"][-1]
            if start == (ZEROS if last == ZEROS else last + count):
                image["new"][-1] = (last, count + 1)
                return
        image["new"].append((start, 1))

    def finish(self, number: int, status: str = "complete", reason: str = "", **changes: Any) -> None:
        image = self.state[number]
        data = image["data"]
        complete = status == "complete"
        size = struct.pack("<Q", len(data))
        digest = blake3(
            size
            + blake3(struct.pack(f"<{len(image['runs'])}Q", *image["runs"])).digest()
            + blake3(image["digests"]).digest()
        ).digest()
        hashes = {"sha512": hashlib.sha512(data).hexdigest()} if complete else {}
        image["end"] = {
            "digest": digest if complete else None, "hashes": hashes, "reason": reason, "size": len(data) if complete else None,
            "status": status, "stored": 0, "verified": "sha512" if complete else "",
        } | changes  # fmt: skip
        sha256 = hashlib.sha256(data).hexdigest()
        self.truth[image["begin"]["id"]] = {
            "status": status,
            "size": len(data) if complete else None,
            "sha256": sha256 if complete else None,
        }

    def image(self, image_id: str, data: bytes, **changes: Any) -> int:
        number = self.begin(image_id, changes.pop("metadata", None), changes.pop("members", None))
        self.data(number, data)
        self.finish(number, **changes)
        return number

    def patch(self, image_id: str, data: bytes, *ranges: tuple[int, int], **changes: Any) -> None:
        """Section 6.8: the blocks of `data` in `ranges`, each a position and a count."""
        whole = Writer()
        end = whole.state[whole.image(image_id, data)]["end"]
        size, part = self.header["block_size"], bytearray(len(data))
        for position, count in ranges:
            part[position * size : (position + count) * size] = data[position * size : (position + count) * size]
        rows = b"".join(struct.pack("<QQ", *row) for row in ranges)
        self.image(image_id, bytes(part), **{**end, "patch": rows} | changes)
        self.truth[image_id] = {"status": "patch", "size": len(data), "sha256": None}

    # sessions

    def frame(self) -> None:
        """Close a frame."""
        if self.pending:
            number = self.frames
            raw = b"".join(self.pending)
            fields = self.record(2, raw)
            row = {key: fields[key] for key in ("begin", "stored_size", "raw_size", "payload_digest")}
            self.rows += struct.pack("<QII32s", *self.tweak("row", number, "fields", row).values())
            self.frames += 1
            self.pending = []

    def checkpoint(self) -> None:
        self.frame()
        parts = []
        for number, image in self.state.items():
            part: dict[str, Any] = {"number": number}
            if number not in self.seen and (image["fresh"] or image["new"] or "end" in image):
                part["begin"] = image["begin"]
                self.seen.add(number)
            image["fresh"] = False
            if image["new"]:
                part |= {
                    "extents": b"".join(struct.pack("<QQ", *row) for row in image["new"]),
                    "position": image["position"],
                }
                image["position"] += sum(count for _, count in image["new"])
                image["new"] = []
            if "end" in image:
                part["end"] = image.pop("end")
            if len(part) > 1:
                parts.append(part)
        frames = {
            "block_digests": self.digests,
            "first_block": self.first[1],
            "first_frame": self.first[0],
            "index": self.rows,
        }
        content = {"frames": frames, "images": parts, "previous": self.commit}
        content |= {"header": self.header} if self.repeat else {}
        # "said": a change that the catalogs repeat; "map": one that they do not.
        content = self.tweak("said", self.numbers.get(3, 0), "map", content)
        self.commit = self.record(3, content)["digest"]
        self.session += content["images"]
        self.session_rows += content["frames"]["index"]
        self.rows, self.digests, self.first = b"", b"", (self.frames, self.blocks)

    def catalogs(self) -> list[tuple[str, dict[str, Any]]]:
        result: list[tuple[str, dict[str, Any]]] = []
        merged: dict[int, dict[str, Any]] = {}
        extents = []
        for part in self.session:
            new = {key: part[key] for key in ("begin", "end", "number") if key in part}
            merged[part["number"]] = new | merged.get(part["number"], {}) | {k: v for k, v in new.items() if k == "end"}
            if "extents" in part:
                extents.append({key: part[key] for key in ("extents", "number", "position")})
        extents.sort(key=lambda part: part["number"])
        images = [part for _, part in sorted(merged.items()) if len(part) > 1]
        rows = [self.session_rows[at : at + 48] for at in range(0, len(self.session_rows), 48)]
        split = self.split or max(len(rows), 1)
        frame, block = self.session_first
        for at in range(0, len(rows), split):
            some = rows[at : at + split]
            result.append(("frames", {"frames": {"first_block": block, "first_frame": frame, "index": b"".join(some)}}))
            frame += len(some)
            block += sum(struct.unpack_from("<QII", row)[2] // self.header["block_size"] for row in some)
        split = self.split or max(len(images), 1)
        result += [("images", {"images": images[at : at + split]}) for at in range(0, len(images), split)]
        while extents:  # an image stands once in a record
            some, rest = [], []
            for part in extents:
                fits = part["number"] not in {other["number"] for other in some} and len(some) < (
                    self.split or len(extents)
                )
                (some if fits else rest).append(part)
            result.append(("extents", {"images": some}))
            extents = rest
        return result

    def end(self, final: bool = True, catalogs: bool = True) -> None:
        if (
            self.pending
            or self.rows
            or any(image["new"] or image["fresh"] or "end" in image for image in self.state.values())
        ):
            self.checkpoint()
        if self.padding:
            self.record(129, {"fill": blake3(b"padding").digest(self.padding)})
        for kind, content in self.catalogs() if catalogs else ():
            fields = self.record(4, content)
            row = {key: fields[key] for key in ("number", "offset", "payload_digest", "raw_size", "stored_size")}
            self.catalog_rows.append({"kind": kind} | row | {"offset": fields["begin"]})
        content = {
            "blocks": self.blocks, "catalog": self.catalog_rows, "final": final, "frames": self.frames, "header": self.header,
            "images": self.images, "previous": self.commit,
        }  # fmt: skip
        number = self.numbers.get(5, 0)
        fields = self.record(5, content)
        self.volumes[-1] += self.tweak("copy", number, "bytes", fields["head"])
        self.commit = self.last_end = fields["digest"]
        self.session, self.session_rows, self.session_first = [], b"", (self.frames, self.blocks)

    def next_volume(self) -> None:
        self.end(final=False)
        self.open_volume()

    def place(self, name: str, number: int = 0, volume: int = 1) -> tuple[int, int]:
        return next((begin, end) for v, n, k, begin, end in self.places if (v, n, k) == (volume, name, number))


def block(seed: int, size: int = BLOCK) -> bytes:
    """A block that is like no other: 24 bytes that name it, 16 that no compressor can shorten, and a run."""
    head = b"block %018d" % seed + hashlib.sha256(b"%d" % seed).digest()[:16]
    return head + bytes([seed % 255 + 1]) * (size - len(head))


def blocks(*seeds: int, size: int = BLOCK) -> bytes:
    """Blocks by number; 0 is a block of zeros."""
    return b"".join(block(seed, size) if seed else bytes(size) for seed in seeds)


def smallest() -> Writer:
    """The archive of section 13."""
    writer = Writer()
    writer.end()
    return writer


# -- The vectors ------------------------------------------------------------------------------------------------------

Images = dict[str, Any]


class Vectors:
    """Collects the files and what is expected of them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.table: dict[str, Any] = {}

    def add(self, name: str, comment: str, volumes: dict[str, bytes], entry: dict[str, Any]) -> None:
        assert name not in self.table, name
        self.files |= volumes
        self.table[name] = {"comment": comment, "files": list(volumes)} | entry

    def accept(self, name: str, comment: str, writer: Writer) -> None:
        self.add(name, comment, named(name, writer), {"expect": "accept", "images": writer.truth})

    def reject(
        self, name: str, comment: str, writer: Writer | None, *, lost: str = "", either: str = "", also: str = "",
        volumes: dict[str, bytes] | None = None, cut: int | None = None, xor: tuple[int, int] | None = None, append: bytes = b"",
        zero: tuple[int, int] = (0, 0),
    ) -> None:  # fmt: skip
        """The layer is the first word of the name. `lost`: images not to be released, `either`: left open.

        `also`: a layer in which the same fault may be found too.
        """
        if writer is not None:
            assert writer.used == writer.tweaks.keys(), (name, writer.tweaks.keys() - writer.used)
        volumes = named(name, writer) if volumes is None and writer is not None else dict(volumes or {})
        last = [*volumes][-1]
        data = bytearray(volumes[last][:cut] + append)
        if xor is not None:
            data[xor[0]] ^= xor[1]
        data[zero[0] : zero[1]] = bytes(zero[1] - zero[0])
        volumes[last] = bytes(data)
        truth = writer.truth if writer is not None else {}
        images = {i: None if i in lost.split() else entry for i, entry in truth.items() if i not in either.split()}
        entry: dict[str, Any] = {"expect": "reject", "layer": name.split("-")[0], "images": images}
        self.add(name, comment, volumes, entry | ({"also": also} if also else {}))


def together(name: str, *writers: Writer) -> dict[str, bytes]:
    """The files of several archives, in this order; those after the first are called `name`-1, `name`-2, …"""
    files: dict[str, bytes] = {}
    for number, writer in enumerate(writers):
        files |= named(f"{name}-{number}" if number else name, writer)
    return files


def named(name: str, writer: Writer) -> dict[str, bytes]:
    if len(writer.volumes) == 1:
        return {f"{name}.gla": bytes(writer.volumes[0])}
    return {f"{name}.{number:03}.gla": bytes(data) for number, data in enumerate(writer.volumes, 1)}


def base(tweaks: dict[tuple[str, int, str], Tweak] | None = None, **options: Any) -> Writer:
    """Two images, each with a frame and a checkpoint of its own: what most faults are put into."""
    writer = Writer(tweaks=tweaks, **options)
    writer.image("alpha", blocks(1, 0, 0, 2, 1) + b"the tail of alpha")
    writer.checkpoint()
    writer.image("beta", blocks(3, 4))
    writer.end()
    return writer


def two_volumes(tweaks: dict[tuple[str, int, str], Tweak] | None = None, **options: Any) -> Writer:
    """`one` lies in volume 1, `two` in volume 2, `both` in both; `shared` lies in volume 2 and has a block in volume 1."""
    writer = Writer(tweaks=tweaks, **options)
    writer.image("one", blocks(1, 2))
    both = writer.begin("both")
    writer.data(both, blocks(3, 0, 4))
    writer.checkpoint()
    writer.next_volume()
    writer.data(both, blocks(5) + b"end")
    writer.finish(both)
    writer.image("two", blocks(6, 7))
    writer.checkpoint()
    writer.image("shared", blocks(8, 1))
    writer.end()
    return writer


def put(**changes: Any) -> Tweak:
    return lambda value: value | changes


def without(key: str) -> Tweak:
    return lambda value: {k: v for k, v in value.items() if k != key}


def inside(*path: Any, by: Tweak) -> Tweak:
    """The tweak `by` at a place within a map."""

    def change(value: Any) -> Any:
        if not path:
            return by(value)
        copy = value.copy()
        copy[path[0]] = inside(*path[1:], by=by)(copy[path[0]])
        return copy

    return change


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


def rows(*extents: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<QQ", *extent) for extent in extents)


def accepted(v: Vectors) -> None:
    """Archives to accept."""
    v.accept("empty", "No images: the smallest archive, as in section 13", smallest())

    w = Writer()
    w.image("tiny", b"hello\n")
    w.end()
    v.accept("tiny", "One image of six bytes", w)

    w = Writer()
    w.image("zeros", bytes(5 * BLOCK + 7))
    w.end()
    v.accept("zeros", "An image of zeros alone, with a tail: no frame at all", w)

    w = Writer()
    w.image("nothing", b"")
    w.end()
    v.accept("size-0", "A complete image of size 0: no extents, no runs", w)

    w = Writer()
    w.image("tail", blocks(1, 2) + block(3)[:1000])
    w.image("zero-tail", blocks(1, 0) + bytes(10))
    w.image("one-more", blocks(1, 2) + b"x")
    w.image("one-less", blocks(1, 2)[:-1])
    w.end()
    v.accept("tails", "Sizes that are not multiples of block_size, one with a tail of zeros", w)

    w = Writer()
    w.image("original", blocks(0, 1, 2, 3, 1, 1, 0, 2, 3))
    w.image("same", blocks(0, 1, 2, 3, 1, 1, 0, 2, 3))
    w.checkpoint()
    w.image("sibling", blocks(3, 2, 1, 4, 0, 0))
    w.end()
    v.accept("dedup", "Blocks shared within an image, across images, and across frames", w)

    w = Writer(dedup=False)
    w.image("again", blocks(1, 2, 1, 2, 1))
    w.end()
    v.accept("stored-again", "Equal blocks stored more than once, which a writer may do", w)

    w = Writer()
    long, other = w.begin("long"), w.begin("other")
    for step in range(4):
        w.data(long, blocks(10 + step, 0, 20 + step))
        w.frame()
        w.data(other, blocks(30 + step))
        w.checkpoint()
    w.data(long, b"the end")
    w.finish(long)
    w.checkpoint()
    w.finish(other)
    w.end()
    v.accept("parts", "Two images interleaved over five checkpoints, two frames in each", w)

    w = Writer()
    w.image("whole", blocks(1))
    left = w.begin("left")
    w.data(left, blocks(2, 3))
    w.end()
    v.accept(
        "unfinished-image",
        "An image that has no end in a finished archive: it is listed as unfinished, and not released",
        w,
    )

    w = Writer()
    w.image("queued", b"", status="no-data", reason="queued")
    w.image("failed", blocks(1, 2), status="failed", reason="the server closed the connection")
    w.image("good", blocks(2, 3))
    w.image(
        "shared",
        b"shared",
        metadata={"name": "shared", "visibility": "shared"},
        members=[{"member_id": "a", "status": "accepted"}],
    )
    w.end()
    v.accept("statuses", "Images without data, given up, complete, and with members", w)

    w = Writer()
    w.image("twice", blocks(1, 2))
    w.image("other", blocks(3))
    w.checkpoint()
    w.image("twice", blocks(1, 4))
    w.end()
    v.accept("superseded", "Two images with one id: the later counts", w)

    w = Writer()
    w.image("whole", blocks(1, 2))
    w.image("never", blocks(3), status="failed", reason="first")
    w.checkpoint()
    true = w.truth["whole"]
    w.image("whole", blocks(1, 4), status="failed", reason="the server closed the connection")
    w.image("never", b"", status="no-data", reason="second")
    w.end()
    w.truth["whole"] = true
    v.accept(
        "superseded-by-failed",
        "A later attempt that failed does not hide a complete image; of two that are not complete the later counts",
        w,
    )

    w = Writer()
    w.image("first", blocks(1, 2))
    w.end()
    w.image("second", blocks(2, 3))
    w.end()
    w.end()
    v.accept("sessions", "Three sessions in one volume, the last one empty", w)

    w = Writer()
    w.image("alpha", blocks(1, 2))
    definitions = {"name": "metadata definitions", "status": "active", "size": 18}
    w.image("glancearchive-metadefs", b'{"namespaces": []}', metadata=definitions)
    w.end()
    v.accept("metadefs", "An entry that is no image, to the format one like all others (annex A)", w)

    w = Writer()
    w.record(128, {"what": "unknown"})
    w.image("alpha", blocks(1))
    w.frame()
    w.record(255, {"data": bytes(20)})
    w.checkpoint()
    w.record(128, {})
    w.end()
    v.accept("ancillary", "Records of unknown ancillary types, which are checked and skipped", w)

    w = Writer(header={"compatible": ["a-later-feature", "another"]})
    w.image("alpha", blocks(1))
    w.end()
    v.accept("compatible", "Unknown compatible features", w)

    new = put(aaa=1, zzz={"later": [1.5, None, True, b"\0"]})
    part = inside("images", 0, by=new)
    tweaks = {
        ("both", 0, "map"): new,
        ("said", 0, "map"): lambda value: new(inside("frames", by=new)(inside("images", 0, "begin", by=new)(inside("images", 0, "end", by=new)(part(value))))),
        ("catalog", 0, "map"): new, ("end", 0, "map"): lambda value: new(inside("catalog", 0, by=new)(value)),
    }  # fmt: skip
    w = Writer(tweaks=tweaks)
    w.image("alpha", blocks(1))
    w.end()
    v.accept("unknown-keys", "Keys that nobody knows, in every map", w)

    metadata = {
        "name": "\x1b[31mred\x07\r\n\u202e \u00fc\u4e2d\U0001f600 \0", "../../etc": "..\\..", "": "", "float": -0.5, "big": 2**63, "negative": -(2**63),
        "long": "x" * 300, "list": [None, True, False, -1, -32, -33, -128, -129, -32769, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32],
        "map": {str(i): i for i in range(20)}, "nested": nested(11), "id": "odd",
    }  # fmt: skip
    w = Writer()
    w.image("odd", blocks(1), metadata=metadata)
    w.end()
    v.accept(
        "metadata",
        "Control characters, unicode, path-like names, all MessagePack types and widths, arrays and maps 16 deep",
        w,
    )

    w = Writer()
    w.image("A" * 128, blocks(1))
    w.image("0._-", blocks(2))
    w.end()
    v.accept("ids", "Ids at the limits of what is allowed", w)

    for size in (8192, 65536):
        w = Writer(header={"block_size": size})
        w.image("alpha", blocks(1, 0, 2, 1, size=size) + b"tail")
        w.end()
        v.accept(f"block-size-{size}", f"Blocks of {size} bytes", w)

    w = Writer()
    noise = b"".join(hashlib.sha512(b"%d" % number).digest() for number in range(64))
    w.image("noise", noise)
    w.end()
    v.accept("incompressible", "A frame whose payload is longer than its content", w)

    w = Writer(compress=zstandard.ZstdCompressor(level=9, write_checksum=True).compress)
    text = b"".join(b"%d green bottles, hanging on the wall\n" % number for number in range(2000))
    w.image("text", text, metadata={"name": "text", "tags": ["a", "b"] * 40})
    w.end()
    v.accept("compressed", "Payloads compressed by libzstd", w)

    v.accept(
        "volumes", "Two volumes; images in one, in the other, in both, and with a block in the other", two_volumes()
    )

    w = Writer()
    spanning = w.begin("spanning")
    for step in range(3):
        w.data(spanning, blocks(1 + step, 0))
        w.image(f"whole-{step}", blocks(10 + step))
        if step < 2:
            w.next_volume()
    w.finish(spanning)
    w.end()
    v.accept("volumes-three", "An image that goes on through three volumes", w)

    w = Writer(split=2)
    for number in range(5):
        image = w.begin(f"image-{number}")
        w.data(image, blocks(1 + 2 * number))
        w.checkpoint()
        w.data(image, blocks(0, 2 + 2 * number, 1))
        w.finish(image)
        w.checkpoint()
    w.end()
    v.accept("catalogs-split", "Catalogs of each kind in several records", w)


def refused(v: Vectors) -> None:
    """Faults of the layers archive, volume and header."""
    everything = "alpha beta"
    for name, comment, data in (
        ("empty", "An empty file", b""), ("short", "Shorter than a record header", bytes(base().volumes[0][:100])),
        ("foreign", "Another kind of file", b"QFI\xfb" + bytes(508)), ("zstd", "A zstd frame", zstd_frame(b"some text" * 20)),
    ):  # fmt: skip
        v.reject(f"archive-{name}", comment, None, volumes={f"archive-{name}.gla": data})
    v.reject("archive-newer-version", "All records are of version 2", base(version=2), lost=everything)
    for key, value in (("incompatible", ["encryption", "no-such"]), ("hash", "sha256"), ("compression", "lz4")):
        v.reject(
            f"archive-{key}",
            f"The header's {key} is unknown",
            base({("both", 0, "map"): put(**{key: value})}),
            lost=everything,
        )
    for kind in (0, 6, 127):
        w = Writer()
        w.image("alpha", blocks(1))
        w.checkpoint()
        w.record(kind, {})
        w.image("beta", blocks(2))
        w.end()
        v.reject(f"archive-type-{kind}", f"A record of the reserved type {kind}", w, either=everything)

    w = base()
    cuts = [
        ("header-payload", w.place("header")[0] + 130, everything), ("header", w.place("header")[1], everything),
        ("frame-header", w.place("frame")[0] + 50, everything), ("frame-payload", w.place("frame")[1] - 1, everything),
        ("frame", w.place("frame")[1], everything), ("checkpoint-header", w.place("checkpoint")[0] + 111, everything),
        ("checkpoint-payload", w.place("checkpoint")[1] - 1, everything), ("checkpoint", w.place("checkpoint")[1], "beta"),
        ("second-frame", w.place("frame", 1)[1] - 20, "beta"), ("second-checkpoint", w.place("checkpoint", 1)[1], ""),
        ("catalog-header", w.place("catalog", 1)[0] + 10, ""), ("catalog", w.place("catalog", 1)[1] - 5, ""),
        ("catalogs", w.place("catalog", 2)[1], ""), ("end-header", w.place("end")[0] + 100, ""), ("end-payload", w.place("end")[1] - 10, ""),
        ("end-copy", w.place("end")[1], ""), ("in-end-copy", len(w.volumes[0]) - 1, ""),
    ]  # fmt: skip
    for name, at, lost in cuts:
        v.reject(f"volume-cut-{name}", f"Cut at byte {at}", base(), cut=at, lost=lost)
    v.reject("volume-trailing-byte", "A byte after the end copy", base(), append=b"\0")
    v.reject("volume-trailing-text", "Text after the end copy", base(), append=b"and so on\n" * 30)
    v.reject("volume-trailing-copy", "The end copy twice", base(), append=bytes(w.volumes[0][-112:]))
    w = Writer()
    w.image("alpha", blocks(1, 2))
    w.end()
    size = len(w.volumes[0])
    w.image("beta", blocks(3))
    w.end()
    w.truth["beta"] = None
    v.reject("volume-trailing-session", "A second session that was cut: the first one is whole", w, cut=size + 300)

    w = Writer()
    w.image("alpha", blocks(1, 2))
    w.checkpoint()
    true = w.truth["alpha"]
    again = w.begin("alpha")
    w.data(again, blocks(3, 4))
    w.checkpoint()
    w.data(again, blocks(5))
    w.finish(again)
    w.end()
    w.truth["alpha"] = true
    v.reject(
        "volume-cut-second-attempt",
        "Cut within a second attempt at an image: the first one counts",
        w,
        cut=w.place("checkpoint", 1)[1],
    )

    w = two_volumes()
    first, second = w.volumes
    other = two_volumes(archive_id=bytes(16)).volumes
    n = "volume-{}.{:03}.gla".format
    for name, comment, files, changes in (
        ("missing-first", "Volume 1 is not there", {n("missing-first", 2): second}, {"one": None, "both": None, "shared": None}),
        ("missing-last", "Volume 2 is not there", {n("missing-last", 1): first}, {"both": None, "two": None, "shared": None}),
        ("other-archive", "Volume 2 is of another archive", {n("other-archive", 1): first, n("other-archive", 2): other[1]}, {"both": None, "two": None, "shared": None}),
        ("twice", "Volume 1 is there twice, once under the name of volume 3", {n("twice", 1): first, n("twice", 2): second, n("twice", 3): first}, {}),
        ("swapped", "The volumes have each other's names", {n("swapped", 1): second, n("swapped", 2): first}, {}),
    ):  # fmt: skip
        w = two_volumes()
        w.truth |= changes
        v.reject(f"volume-{name}", comment, w, volumes={key: bytes(data) for key, data in files.items()})
    w = Writer()
    for step in range(3):
        w.image(f"image-{step}", blocks(1 + step, 1))
        if step < 2:
            w.next_volume()
    w.end()
    middle = named("volume-missing-middle", w)
    middle.pop(n("missing-middle", 2))
    v.reject("volume-missing-middle", "Volume 2 of 3 is not there", w, lost="image-1", volumes=middle)
    w = two_volumes()
    w.truth |= {"both": None, "two": None, "shared": None}
    v.reject(
        "volume-empty-second",
        "Volume 2 is an empty file",
        w,
        volumes={n("empty-second", 1): bytes(first), n("empty-second", 2): b""},
        also="archive",
    )
    w = two_volumes()
    w.truth |= {"both": None, "two": None, "shared": None}
    v.reject("volume-cut-first-of-two", "Volume 1 is cut after its checkpoint", two_volumes(),
             volumes={n("cut-first-of-two", 2): bytes(second), n("cut-first-of-two", 1): bytes(first)}, cut=two_volumes().place("checkpoint")[1])  # fmt: skip
    w = two_volumes({("both", 1, "map"): put(block_size=8192)}, compress=zstd_frame)
    v.reject("volume-other-block-size", "Volume 2 has another block_size", w, either="both two shared")
    v.reject(
        "volume-in-record", "A checkpoint says it is of volume 2", base({("checkpoint", 1, "fields"): put(volume=2)})
    )

    w = base()
    for name in ("header", "frame", "checkpoint", "catalog", "end"):
        begin = w.place(name)[0]
        for field, at in (
            ("magic", 0),
            ("signature", 9),
            ("type", 17),
            ("size", 57),
            ("digest", 70),
            ("header-digest", 111),
        ):
            v.reject(
                f"header-bit-{name}-{field}",
                f"One bit of the {name} record's header is flipped, in its {field}",
                base(),
                xor=(begin + at, 1),
            )
    v.reject("header-bit-copy", "One bit of the end copy is flipped", base(), xor=(len(w.volumes[0]) - 60, 8))
    for name, fields in (
        ("flags", {"flags": 1}), ("skippable-magic", {"skippable_magic": 0x184D2A50}), ("skippable-size", {"skippable_size": 103}),
        ("signature", {"signature": b"\x89GLA\n\x1a\n\0"}), ("version-0", {"version": 0}), ("number", {"number": 7}), ("offset", {"offset": 0}),
        ("archive-id", {"archive_id": bytes(16)}), ("volume-0", {"volume": 0}), ("raw-size-0", {"raw_size": 0}), ("stored-size-0", {"stored_size": 0}),
        ("raw-size", {"raw_size": (16 << 20) + 1}), ("stored-size", {"stored_size": 2**32 - 1}),
    ):  # fmt: skip
        v.reject(
            f"header-{name}",
            f"A checkpoint's header says {fields}, with a matching header_digest",
            base({("checkpoint", 1, "fields"): put(**fields)}),
        )
    for name, fields in (
        ("raw-size", {"raw_size": (64 << 20) + 4096}),
        ("number", {"number": 5}),
        ("flags", {"flags": 0x8000}),
    ):
        true: dict[str, Any] = {}
        keep = (lambda row, true=true: true.update(row) or row) if name != "raw-size" else put(raw_size=2 * BLOCK)
        tweaks = {("frame", 1, "fields"): put(**fields), ("row", 1, "fields"): keep}
        v.reject(f"header-frame-{name}", f"A frame's header says {fields}; the frame index is right", base(tweaks))


def structured(v: Vectors) -> None:
    """Faults of the layer record."""
    w = base()
    for name in ("header", "checkpoint", "catalog", "end"):
        v.reject(
            f"record-bit-{name}",
            f"One bit of the {name} record's payload is flipped",
            base(),
            xor=(w.place(name)[0] + 140, 4),
        )
    for name, comment, data in (
        ("uint8", "5 as uint 8", b"\xcc\x05"), ("uint16", "200 as uint 16", b"\xcd\x00\xc8"), ("uint32", "1 as uint 32", b"\xce\0\0\0\1"),
        ("uint64", "1 as uint 64", b"\xcf" + bytes(7) + b"\1"), ("int8", "5 as int 8", b"\xd0\x05"), ("int8-negative", "-1 as int 8", b"\xd0\xff"),
        ("int64", "-100 as int 64", b"\xd3" + b"\xff" * 7 + b"\x9c"), ("str8", "A short str as str 8", b"\xd9\x03abc"),
        ("str32", "A short str as str 32", b"\xdb\0\0\0\1a"), ("bin16", "A short bin as bin 16", b"\xc5\0\1a"), ("bin32", "A short bin as bin 32", b"\xc6\0\0\0\1a"),
        ("array16", "A short array as array 16", b"\xdc\0\1\xc0"), ("map16", "A short map as map 16", b"\xde\0\1\xa1a\xc0"),
        ("ext", "An extension type", b"\xd4\1\0"), ("timestamp", "A timestamp extension", b"\xd6\xff\0\0\0\0"), ("float32", "A float 32", b"\xca\0\0\0\0"),
        ("nan", "NaN", b"\xcb" + struct.pack(">d", math.nan)), ("infinity", "Infinity", b"\xcb" + struct.pack(">d", math.inf)),
        ("never-used", "The byte C1", b"\xc1"), ("utf8", "A str that is not UTF-8", b"\xa2\xc3\x28"), ("surrogate", "A str with a surrogate", b"\xa3\xed\xa0\x80"),
        ("overlong", "A str with an overlong form", b"\xa2\xc0\x80"), ("unsorted", "Keys out of order", b"\x82\xa1b\xc0\xa1a\xc0"),
        ("duplicate", "A key twice", b"\x82\xa1a\xc0\xa1a\xc0"), ("int-key", "A key that is an integer", b"\x81\x01\xc0"), ("bin-key", "A key that is bin", b"\x81\xc4\1a\xc0"),
        ("nested", "Nested 17 deep", b"\x91" * 16 + b"\xc0"), ("nested-bomb", "Nested 5,000 deep", b"\x91" * 5000 + b"\xc0"),
        ("count-bomb", "An array of 2^32 - 1 elements", b"\xdd\xff\xff\xff\xff"), ("map-bomb", "A map of 2^32 - 1 pairs", b"\xdf\xff\xff\xff\xff"),
        ("bin-bomb", "A bin of 2^32 - 1 bytes", b"\xc6\xff\xff\xff\xff"),
    ):  # fmt: skip
        v.reject(
            f"record-encoding-{name}",
            f"{comment}, in a key that no reader knows",
            base({("checkpoint", 1, "map"): put(zzz=Verbatim(data))}),
        )
    for name, comment, tweak in (
        ("trailing", "A byte after the map", lambda raw: raw + b"\xc0"), ("cut", "The map ends too early", lambda raw: raw[:-1]),
        ("array", "An array instead of a map", lambda raw: b"\x91" + raw), ("nil", "nil instead of a map", lambda _: b"\xc0"),
    ):  # fmt: skip
        v.reject(f"record-encoding-{name}", comment, base({("checkpoint", 1, "raw"): tweak}))

    for name, comment, where, change in (
        ("header-key", "No block_size", "header", without("block_size")), ("header-type", "hash_key is a str", "header", put(hash_key="k" * 32)),
        ("hash-key", "hash_key of 31 bytes", "header", put(hash_key=bytes(31))), ("block-size-2048", "block_size 2048", "header", put(block_size=2048)),
        ("block-size-odd", "block_size 5000", "header", put(block_size=5000)), ("block-size-128k", "block_size 131072", "header", put(block_size=131072)),
        ("frame-size", "frame_size is no multiple of block_size", "header", put(frame_size=10000)),
        ("frame-size-large", "frame_size over 64 MiB", "header", put(frame_size=(64 << 20) + 4096)),
        ("features", "compatible is not sorted", "header", put(compatible=["b", "a"])), ("features-twice", "compatible has a repetition", "header", put(compatible=["a", "a"])),
        ("checkpoint-key", "No previous", "checkpoint", without("previous")), ("previous", "previous is nil", "checkpoint", put(previous=None)),
        ("number-negative", "An image's number is -1", "checkpoint", inside("images", 0, by=put(number=-1))),
        ("number-float", "An image's number is a float", "checkpoint", inside("images", 0, by=put(number=0.0))),
        ("number-bool", "An image's number is a bool", "checkpoint", inside("images", 0, by=put(number=False))),
        ("number-large", "An image's number is 2^32", "checkpoint", inside("images", 0, by=put(number=2**32))),
        ("part-empty", "An image part that says nothing", "checkpoint", inside("images", by=lambda _: [{"number": 0}])),
        ("part-order", "Image parts in the wrong order", "checkpoint", inside("images", by=lambda parts: [*parts, {"number": 0, "extents": b"", "position": 5}])),
        ("no-position", "extents without position", "checkpoint", inside("images", 0, by=without("position"))),
        ("extents-length", "extents of 17 bytes", "checkpoint", inside("images", 0, by=put(extents=bytes(17)))),
        ("index-length", "index of 47 bytes", "checkpoint", inside("frames", by=put(index=bytes(47)))),
        ("index-sizes", "A frame index row with a raw_size over the limit", "checkpoint", inside("frames", by=put(index=struct.pack("<QII32s", 0, 10, 2**32 - 4096, bytes(32))))),
        ("digests-length", "A block digest missing", "checkpoint", inside("frames", "block_digests", by=lambda digests: digests[:-16])),
        ("digests-uneven", "block_digests of no multiple of 16 bytes", "checkpoint", inside("frames", "block_digests", by=lambda digests: digests[:-1])),
        ("first-block", "first_block is 2^63", "checkpoint", inside("frames", by=put(first_block=2**63))),
        ("catalog-both", "A catalog with frames and images", "catalog", put(images=[])), ("catalog-neither", "A catalog with neither", "catalog", without("frames")),
        ("end-key", "No final", "end", without("final")), ("end-type", "final is 1", "end", put(final=1)), ("end-kind", "A catalog of an unknown kind", "end", inside("catalog", 0, by=put(kind="other"))),
        ("end-header", "The header in the end record has no hash_key", "end", inside("header", by=without("hash_key"))),
    ):  # fmt: skip
        number = 1 if where == "checkpoint" else 0
        v.reject(f"record-schema-{name}", comment, base({(where, number, "map"): change}))
    for name, comment, change in (
        ("path", "An id that is a path", inside("begin", by=put(id="../x"))), ("empty", "An empty id", inside("begin", by=put(id=""))),
        ("long", "An id of 129 characters", inside("begin", by=put(id="x" * 129))), ("slash", "An id with a slash", inside("begin", by=put(id="a/b"))),
        ("dot", "An id that begins with a dot", inside("begin", by=put(id=".hidden"))), ("newline", "An id that ends in a line feed", inside("begin", by=put(id="beta\n"))),
        ("unicode", "An id that is not ASCII", inside("begin", by=put(id="b\u00e9ta"))), ("nul", "An id with a NUL", inside("begin", by=put(id="beta\0"))),
        ("other", "Metadata with the id of another image", inside("begin", "metadata", by=put(id="alpha"))), ("bin", "Metadata with a bin", inside("begin", "metadata", by=put(blob=b"x"))),
        ("bin-member", "A member with a bin", inside("begin", by=put(members=[{"member_id": [b"x"]}]))),
    ):  # fmt: skip
        v.reject(f"record-id-{name}", comment, base({("said", 1, "map"): inside("images", 0, by=change)}), lost="beta")
    for name, comment, change in (
        ("start", "An extent with a reserved start", put(extents=rows((2**62, 2)))), ("start-high", "An extent with start 2^64 - 2", put(extents=rows((2**64 - 2, 2)))),
        ("count", "An extent of no blocks", put(extents=rows((3, 2), (ZEROS, 0)))), ("status", "An unknown status", inside("end", by=put(status="perhaps"))),
        ("digest", "Complete, but digest is nil", inside("end", by=put(digest=None))), ("size", "size is 2^63", inside("end", by=put(size=2**63))),
        ("hashes", "A hash that is bin", inside("end", by=put(hashes={"md5": bytes(16)}))), ("members", "members is a map", inside("begin", by=put(members={}))),
    ):  # fmt: skip
        v.reject(
            f"record-image-{name}", comment, base({("said", 1, "map"): inside("images", 0, by=change)}), lost="beta"
        )
    payloads(v, "record", ("checkpoint", 1))


def payloads(v: Vectors, layer: str, place: tuple[str, int]) -> None:
    """Faults of the zstd frame, for structured records and for frames."""
    real = zstandard.ZstdCompressor(level=1, write_checksum=True)

    def flip_checksum(raw: bytes) -> bytes:
        frame = bytearray(zstd_frame(raw))
        frame[-1] ^= 0x80
        return bytes(frame)

    skippable = struct.pack("<II", 0x184D2A53, 4) + b"skip"
    contents: dict[str, bytes] = {}
    lost = "beta" if layer == "frame" else ""
    for name, comment, make in (
        ("no-checksum", "No content checksum", lambda raw: zstd_frame(raw, checksum=False)),
        ("no-size", "No content size", lambda raw: zstd_frame(raw, content_size=None, window=0x38)),
        ("two", "A second, empty zstd frame", lambda raw: zstd_frame(raw) + zstd_frame(b"")),
        ("skippable-after", "A skippable frame after the zstd frame", lambda raw: zstd_frame(raw) + skippable),
        ("skippable-before", "A skippable frame before the zstd frame", lambda raw: skippable + zstd_frame(raw)),
        ("skippable", "A skippable frame alone", lambda raw: struct.pack("<II", 0x184D2A53, len(raw)) + raw),
        ("raw", "The raw payload without any zstd frame", lambda raw: raw),
        ("trailing", "A byte after the zstd frame", lambda raw: zstd_frame(raw) + b"\0"),
        ("cut", "The zstd frame is cut", lambda raw: zstd_frame(raw)[:-6]),
        ("window", "A window of 2^28 bytes", lambda raw: zstd_frame(raw, window=18 << 3)),
        ("dictionary", "A dictionary id", lambda raw: zstd_frame(raw, dictionary=7)),
        ("bad-checksum", "A content checksum that does not match", flip_checksum),
        ("smaller", "Content smaller than raw_size", lambda raw: zstd_frame(raw[: len(raw) // 2])),
        ("larger", "Content larger than raw_size", lambda raw: zstd_frame(raw + bytes(1000))),
        ("bomb", "Content larger than the content size and raw_size say", lambda raw: zstd_frame(raw + bytes(1 << 20), content_size=len(raw))),
        ("lie", "Content smaller than the content size and raw_size say", lambda raw: zstd_frame(raw[: len(raw) // 2], content_size=len(raw))),
        ("corrupt", "A zstd frame with a damaged block", lambda raw: corrupt(real.compress(raw))),
    ):  # fmt: skip

        def stored(_: bytes, make: Callable[[bytes], bytes] = make) -> bytes:
            return make(contents["raw"])

        tweaks: dict[tuple[str, int, str], Tweak] = {
            (*place, "raw"): lambda raw: contents.update(raw=raw) or raw,
            (*place, "stored"): stored,
        }
        v.reject(f"{layer}-zstd-{name}", f"{comment}; payload_digest matches", base(tweaks), lost=lost)
    v.reject(
        f"{layer}-payload-digest",
        "payload_digest does not match the payload, header_digest does",
        base({(*place, "fields"): put(payload_digest=bytes(32))}),
        lost=lost,
    )


def corrupt(frame: bytes) -> bytes:
    """A zstd frame whose first block is of the reserved type, which no decoder takes."""
    data = bytearray(frame)
    single, size_flag = data[4] >> 5 & 1, data[4] >> 6
    at = 5 + (1 - single) + (1 if size_flag == 0 and single else (0, 2, 4, 8)[size_flag])
    data[at] |= 6
    return bytes(data)


def contradictory(v: Vectors) -> None:
    """Faults of the layers chain, frame, block, image and glance."""
    v.reject(
        "chain-previous",
        "A checkpoint's previous is another digest",
        base({("checkpoint", 1, "map"): put(previous=bytes(32))}),
    )
    v.reject(
        "chain-end-previous", "The end's previous is another digest", base({("end", 0, "map"): put(previous=bytes(32))})
    )
    v.reject(
        "chain-header-previous",
        "The header of volume 1 has a previous",
        base({("both", 0, "map"): put(previous=bytes(32))}),
    )
    v.reject(
        "chain-volume-previous",
        "The header of volume 2 names another end",
        two_volumes({("both", 1, "map"): put(previous=bytes(32))}),
    )
    v.reject(
        "chain-volume-previous-nil",
        "The header of volume 2 names no end",
        two_volumes({("both", 1, "map"): put(previous=None)}),
    )
    v.reject(
        "chain-header-again",
        "The end record repeats another header",
        base({("end", 0, "map"): inside("header", by=put(source="elsewhere"))}),
    )
    for key in ("blocks", "frames", "images"):
        v.reject(
            f"chain-total-{key}",
            f"The end's {key} is one too many",
            base({("end", 0, "map"): inside(key, by=lambda n: n + 1)}),
        )
    v.reject(
        "chain-catalog-unlisted",
        "The end does not list a catalog",
        base({("end", 0, "map"): inside("catalog", by=lambda rows: rows[:-1])}),
        either="alpha beta",
    )
    v.reject(
        "chain-catalog-digest",
        "The end lists a catalog with another digest",
        base({("end", 0, "map"): inside("catalog", 0, by=put(payload_digest=bytes(32)))}),
        also="record",
    )
    v.reject(
        "chain-catalog-offset",
        "The end lists a catalog at another place",
        base({("end", 0, "map"): inside("catalog", 0, by=put(offset=0))}),
        also="record",
    )
    v.reject(
        "chain-catalog-kind",
        "The end lists a catalog as another kind",
        base({("end", 0, "map"): inside("catalog", 0, by=put(kind="extents"))}),
    )
    v.reject(
        "chain-catalog-frames",
        "A catalog leaves out a frame",
        base({("catalog", 0, "map"): inside("frames", "index", by=lambda index: index[:48])}),
        either="beta",
    )
    v.reject(
        "chain-catalog-row",
        "A catalog has a frame elsewhere",
        base({("catalog", 0, "map"): inside("frames", "index", by=lambda index: b"\1" + index[1:])}),
        either="alpha",
        also="frame",
    )
    v.reject(
        "chain-catalog-metadata",
        "A catalog has other metadata",
        base({("catalog", 1, "map"): inside("images", 1, "begin", "metadata", by=put(name="other"))}),
    )
    v.reject(
        "chain-catalog-image",
        "A catalog leaves out an image",
        base({("catalog", 1, "map"): inside("images", by=lambda parts: parts[:1])}),
        either="beta",
    )
    v.reject(
        "chain-catalog-extents",
        "A catalog has other extents",
        base({("catalog", 2, "map"): inside("images", 1, by=put(extents=rows((0, 2))))}),
        either="beta",
        also="image",
    )
    w = Writer()
    w.image("alpha", blocks(1))
    w.checkpoint()
    w.end(catalogs=False)
    v.reject("chain-no-catalogs", "A session with an image, but without catalogs", w, either="alpha")
    row = ("row", 1, "fields")
    v.reject(
        "chain-row-offset",
        "The frame index has a frame elsewhere",
        base({row: inside("begin", by=lambda n: n + 1)}),
        either="beta",
        also="frame",
    )
    v.reject(
        "chain-row-stored-size",
        "The frame index has another stored_size",
        base({row: inside("stored_size", by=lambda n: n - 1)}),
        either="beta",
        also="frame",
    )
    v.reject(
        "chain-row-digest",
        "The frame index has another digest",
        base({row: put(payload_digest=bytes(32))}),
        either="beta",
        also="frame",
    )
    v.reject(
        "chain-first-frame",
        "A checkpoint's first_frame leaves out a number",
        base({("said", 1, "map"): inside("frames", by=put(first_frame=2))}),
        either="beta",
    )
    v.reject(
        "chain-first-block",
        "A checkpoint's first_block leaves out a number",
        base({("said", 1, "map"): inside("frames", by=put(first_block=4))}),
        either="beta",
        also="image",
    )
    v.reject(
        "chain-volume-first-frame",
        "The header of volume 2 has another first_frame",
        two_volumes({("both", 1, "map"): put(first_frame=9)}),
        either="both two shared",
        also="header",
    )
    v.reject(
        "chain-volume-first-block",
        "The header of volume 2 has another first_block",
        two_volumes({("both", 1, "map"): put(first_block=9)}),
        either="both two shared",
    )
    w = two_volumes({("end", 0, "map"): put(final=True)})
    v.reject("chain-final", "Volume 1 is final, but there is a volume 2", w, also="volume")
    w = Writer()
    w.image("alpha", blocks(1))
    w.end(final=False)
    w.image("beta", blocks(2))
    w.end()
    v.reject("chain-after-not-final", "A session after an end that is not final", w)

    def ordered(name: str, comment: str, act: Callable[[Writer], Any], **expect: Any) -> None:
        w = Writer()
        w.image("alpha", blocks(1))
        w.checkpoint()
        act(w)
        w.end()
        v.reject(f"chain-order-{name}", comment, w, **expect)

    ordered("header", "A second header record", lambda w: w.record(1, w.header, 0), also="header")
    ordered("catalog", "A catalog before a checkpoint", lambda w: catalog_early(w))
    w = Writer()
    w.image("alpha", blocks(1))
    w.checkpoint()
    w.pending = [block(9)]
    w.frame()
    w.rows, w.frames = b"", 1
    w.end()
    v.reject("chain-order-frame", "A frame that no checkpoint commits", w)

    w = base()
    for name, at in (("first", 0), ("middle", 30), ("last", -1)):
        begin, end = w.place("frame", 1)
        v.reject(
            f"frame-bit-{name}",
            "One bit of a frame's payload is flipped",
            base(),
            xor=((begin + 112 + at) if at >= 0 else end - 1, 0x10),
            lost="beta",
        )
    payloads(v, "frame", ("frame", 1))
    tweaks = {("frame", 1, "raw"): lambda raw: raw + b"x" * 10}
    v.reject("frame-uneven", "raw_size is no multiple of block_size", base(tweaks), either="beta", also="record")

    v.reject(
        "block-digest",
        "A block digest in a checkpoint is another",
        base({("checkpoint", 1, "map"): inside("frames", "block_digests", by=lambda d: bytes(16) + d[16:])}),
        either="beta",
    )
    v.reject(
        "block-content",
        "A block is another than its digest says",
        base({("frame", 1, "raw"): lambda raw: b"B" + raw[1:]}),
        lost="beta",
    )
    v.reject(
        "block-swapped",
        "Two blocks have changed places",
        base({("frame", 1, "raw"): lambda raw: raw[BLOCK:] + raw[:BLOCK]}),
        lost="beta",
    )
    w = Writer(store_zeros=True)
    w.image("alpha", blocks(1, 0))
    w.end()
    v.reject("block-zero", "A block of zeros is stored", w, either="alpha")

    def image(name: str, comment: str, change: Tweak, **expect: Any) -> None:
        expect = {"lost": "beta"} | expect
        v.reject(f"image-{name}", comment, base({("said", 1, "map"): inside("images", 0, by=change)}), **expect)

    image("digest", "Another image digest", inside("end", by=put(digest=bytes(32))))
    image("size", "size is a byte less", inside("end", "size", by=lambda n: n - 1))
    image("size-block", "size is a block less", inside("end", "size", by=lambda n: n - BLOCK))
    image("size-large", "size is 2^63 - 1", inside("end", by=put(size=2**63 - 1)))
    image("order", "Extents in another order", put(extents=rows((4, 1), (3, 1))))
    image("few", "Extents cover a block too few", put(extents=rows((3, 1))))
    image("many", "Extents cover a block too many", put(extents=rows((3, 2), (ZEROS, 1))))
    image("many-zeros", "A zeros extent of 2^63 blocks", put(extents=rows((3, 2), (ZEROS, 2**63))), also="record")
    image("gap", "Extents begin at block 1", put(position=1))
    image(
        "none",
        "A complete image of two blocks without extents",
        lambda part: without("extents")(without("position")(part)),
    )
    image("nonexistent", "Extents name a block that does not exist", put(extents=rows((3, 1), (5, 1))))
    image("nonexistent-far", "Extents name blocks up to 2^62", put(extents=rows((2**62 - 1, 2))))
    image(
        "no-data",
        "An image without data has extents",
        put(
            end={
                "digest": None,
                "hashes": {},
                "reason": "queued",
                "size": None,
                "status": "no-data",
                "stored": 0,
                "verified": "",
            }
        ),
        either="beta",
        lost="",
    )
    image("begin-missing", "A complete image that never began", without("begin"))
    v.reject(
        "chain-image-number",
        "An image number is left out",
        base({("said", 1, "map"): inside("images", 0, by=put(number=2))}),
        either="beta",
        also="image",
    )
    v.reject("image-forward", "Extents name blocks that a later checkpoint commits",
             base({("said", 0, "map"): inside("images", 0, by=inside("extents", by=lambda _: rows((3, 1)) + rows((ZEROS, 2), (1, 1), (0, 1), (2, 1))))}), lost="alpha")  # fmt: skip
    w = Writer(tweaks={("said", 1, "map"): inside("images", 0, by=lambda part: part | {"position": 1})})
    long = w.begin("beta")
    w.data(long, blocks(1, 2))
    w.checkpoint()
    w.data(long, blocks(3, 4))
    w.finish(long)
    w.end()
    v.reject("image-overlap", "The second part begins within the first", w, lost="beta")
    again = inside("images", 0, "begin", "metadata", by=put(name="other"))
    v.reject(
        "image-begin-other",
        "Volume 2 repeats begin with other metadata",
        two_volumes({("said", 1, "map"): again}),
        either="both",
    )
    v.reject(
        "image-begin-id",
        "Volume 2 repeats begin with another id",
        two_volumes({("said", 1, "map"): inside("images", 0, "begin", by=put(id="other"))}),
        either="both",
    )
    v.reject(
        "image-begin-absent",
        "Volume 2 does not repeat begin",
        two_volumes({("said", 1, "map"): inside("images", 0, by=without("begin"))}),
        either="both",
    )
    w = Writer()
    one = w.image("alpha", blocks(1))
    w.checkpoint()
    w.data(one, blocks(2))
    w.image("beta", blocks(3))
    w.end()
    v.reject("image-after-end", "An image goes on after its end", w, either="alpha")

    for name, hashes in (
        ("sha512", {"sha512": "0" * 128}),
        ("md5", {"md5": "0" * 32}),
        ("upper-case", {"md5": hashlib.md5(blocks(3, 4)).hexdigest().upper()}),
    ):
        change = inside("images", 0, "end", by=put(hashes=hashes, verified=""))
        v.reject(
            f"glance-{name}",
            f"The {name} hash is another",
            base({("said", 1, "map"): change}),
            either="beta",
            also="record",
        )


def catalog_early(writer: Writer) -> None:
    fields = writer.record(4, {"images": []})
    row = {key: fields[key] for key in ("number", "offset", "payload_digest", "raw_size", "stored_size")}
    writer.catalog_rows.append({"kind": "images"} | row)
    writer.image("beta", blocks(2))


def increment(of: Writer, tweaks: dict[tuple[str, int, str], Tweak] | None = None, **options: Any) -> Writer:
    """Of the archive that `base` makes: `alpha` unchanged, `beta` changed in one block, `gamma` all new, `none` in both."""
    writer = Writer(tweaks=tweaks, base=of, **options)
    writer.image("alpha", blocks(1, 0, 0, 2, 1) + b"the tail of alpha")
    writer.image("beta", blocks(3, 5))
    writer.checkpoint()
    writer.image("gamma", blocks(6, 7, 6))
    writer.image("none", b"")
    writer.end()
    return writer


def repair(v: Vectors) -> None:
    """Repair archives beside what they repair."""
    alpha, beta = blocks(1, 0, 0, 2, 1) + b"the tail of alpha", blocks(3, 4)
    first = base()
    writer = Writer(repairs=first)
    writer.patch("alpha", alpha, (0, 1), (3, 3))
    writer.image("gamma", blocks(20, 0, 21))
    writer.end()
    v.add(
        "repair-alone",
        "A repair archive: a part of an image, and a whole one",
        named("repair-alone", writer),
        {"expect": "accept", "images": writer.truth},
    )
    files = together("repair-of-whole", writer, first)
    truth = first.truth | {"gamma": writer.truth["gamma"]}
    v.add("repair-of-whole", "The same beside the archive", files, {"expect": "accept", "images": truth})
    at = first.place("frame", 0)[0] + 120
    files = together("frame-repaired", writer, first)
    v.reject("frame-repaired", "A damaged frame, and a repair archive: all is there", first, volumes=files, xor=(at, 4))
    writer = Writer(repairs=first)
    writer.patch("alpha", alpha, (3, 3))
    writer.end()
    files = together("frame-repaired-in-part", writer, first)
    comment = "A damaged frame, and a repair archive that has not all of it"
    v.reject("frame-repaired-in-part", comment, first, lost="alpha", volumes=files, xor=(at, 4))
    writer = Writer(repairs=first)
    writer.patch("beta", beta, (0, 1), digest=bytes(32))
    writer.image("alpha", blocks(5, 5))
    writer.end()
    files = together("repair-of-something-else", writer, first)
    comment = "A part of an image with another digest, and an image that the archive has otherwise: neither counts"
    v.add("repair-of-something-else", comment, files, {"expect": "accept", "images": first.truth})
    writer = Writer(repairs=first)
    writer.patch("alpha", blocks(9, 0, 0, 2, 1) + b"the tail of alpha", (0, 1), **whole_end("alpha", alpha))
    writer.end()
    files = together("image-repaired-wrongly", writer, first)
    v.reject("image-repaired-wrongly", "A part of an image that is not its own", first, lost="alpha", volumes=files)
    writer = Writer(repairs=first)
    writer.patch("alpha", alpha, (0, 1))
    writer.image("beta", beta)
    writer.frame()
    writer.image("gamma", blocks(20, 0, 21))
    writer.end()
    truth = first.truth | {"gamma": writer.truth["gamma"]}
    files = together("frame-of-repair", first, writer)
    v.reject("frame-of-repair", "A damaged frame of a repair archive, of parts that are whole in the archive", None, volumes=files,
             xor=(writer.place("frame", 2**61 + 2**40)[0] + 120, 4))  # fmt: skip
    v.table["frame-of-repair"]["images"] = truth
    files = together("record-of-repair", first, writer)
    v.reject("record-of-repair", "The checkpoint and the catalogs of a repair archive are damaged: it says nothing", None, volumes=files,
             zero=(writer.place("checkpoint")[0] + 112, writer.place("end")[0]), also="header")  # fmt: skip
    v.table["record-of-repair"]["images"] = first.truth
    for name, comment, tweak in (
        ("record-repairs-without-feature", "repairs, but no feature that says so", put(incompatible=[])),
        ("record-repair-without-repairs", "The feature repair, but no repairs", without("repairs")),
    ):
        writer = Writer(repairs=first, tweaks={("both", 0, "map"): tweak})
        writer.image("gamma", b"")
        writer.end()
        v.reject(name, comment, writer, either="gamma", also="chain")
    writer = Writer(repairs=first, first=2**60)
    writer.image("gamma", b"")
    writer.end()
    v.reject(
        "record-repair-numbers", "A repair archive whose numbers begin too low", writer, either="gamma", also="chain"
    )
    for name, comment, rows in (
        ("touching", "Ranges of a patch that touch one another", ((0, 1), (1, 1))),
        ("empty", "A range of a patch of no blocks", ((0, 0),)),
        ("none", "A patch of nothing", ()),
    ):
        writer = Writer(repairs=first)
        writer.patch("alpha", alpha, *rows)
        writer.end()
        v.reject(f"record-patch-{name}", comment, writer, either="alpha", also="chain")


def whole_end(image_id: str, data: bytes) -> dict[str, Any]:
    """What the end of an image with these data says that identifies them."""
    writer = Writer()
    end = writer.state[writer.image(image_id, data)]["end"]
    return {key: end[key] for key in ("digest", "hashes")}


def incremental(v: Vectors) -> None:
    """Increments and their bases: the files of several archives."""
    first = base()
    writer = increment(first)
    v.add(
        "increment",
        "An increment and its base",
        together("increment", writer, first),
        {"expect": "accept", "images": writer.truth},
    )
    files = dict(reversed(together("increment-after", writer, first).items()))
    v.add("increment-after", "The same, the base given first", files, {"expect": "accept", "images": writer.truth})
    third = Writer(base=writer)
    third.image("delta", blocks(1, 5, 7, 8, 3))
    third.end()
    files = together("increment-chain", third, first, writer)
    v.add(
        "increment-chain", "An increment of an increment, with both", files, {"expect": "accept", "images": third.truth}
    )
    files = together("volume-base-of-base", third, writer)
    v.reject("volume-base-of-base", "The same without the first of them", third, lost="delta", volumes=files)

    grown = base()
    writer = increment(grown)
    grown.image("later", blocks(20, 21, 22))
    grown.end()
    files = together("increment-base-grown", writer, grown)
    v.add(
        "increment-base-grown",
        "Something was added to the base since: block numbers stand for two things",
        files,
        {"expect": "accept", "images": writer.truth},
    )

    v.reject(
        "volume-base-missing", "An increment alone: what needs no base is there", increment(first), lost="alpha beta"
    )
    writer = increment(first)
    files = together("volume-base-sibling", writer, increment(first, archive_id=bytes(range(0xC0, 0xD0))))
    v.reject("volume-base-sibling", "A sibling in the place of the base", writer, lost="alpha beta", volumes=files)
    other = Writer()
    other.image("alpha", blocks(9, 0, 0, 10, 9))
    other.image("beta", blocks(11, 12, 13, 14))
    other.end()
    files = together("volume-base-other", writer, other)
    v.reject(
        "volume-base-other",
        "An archive with the id of the base, and another root digest",
        writer,
        lost="alpha beta",
        volumes=files,
    )

    at = first.place("frame", 0)[0] + 120
    v.reject(
        "frame-bit-in-base",
        "A flipped bit in a frame of the base",
        writer,
        lost="alpha",
        volumes=together("frame-bit-in-base", writer, first),
        xor=(at, 4),
    )
    at = writer.place("frame", 2)[0] + 120
    files = dict(reversed(together("frame-bit-in-increment", writer, first).items()))
    v.reject(
        "frame-bit-in-increment",
        "A flipped bit in a frame of the increment",
        writer,
        lost="beta",
        volumes=files,
        xor=(at, 4),
    )
    for name, comment, tweak in (
        ("record-base-without-feature", "A base, but no feature that says so", put(incompatible=[])),
        ("record-feature-without-base", "The feature, but no base", without("base")),
    ):
        writer = increment(smallest(), {("both", 0, "map"): tweak})
        v.reject(name, comment, writer, either="alpha beta gamma none", also="chain")
    tweaks = {("both", 0, "map"): put(first_block=first.blocks + 1)}
    files = together("chain-base-first-block", increment(first, tweaks), first)
    v.reject(
        "chain-base-first-block", "first_block is not where the base ended", increment(first, tweaks), volumes=files
    )


def said_again(v: Vectors) -> None:
    """Padding (section 6.10), and headers in checkpoints (section 6.2)."""
    v.accept("padding", "Padding between the last checkpoint and the catalogs", base(padding=BLOCK))
    v.accept("padding-not-a-map", "Padding that is no MessagePack: it is not decoded", base({("padding", 0, "raw"): lambda raw: b"\xc1" * len(raw)}, padding=BLOCK))  # fmt: skip
    w = base({("padding", 0, "stored"): lambda stored: stored[:-1] + bytes([stored[-1] ^ 1])}, padding=BLOCK)
    v.reject("record-padding-checksum", "Padding whose content checksum does not match, though its digest does", w)
    w = Writer(padding=BLOCK)
    w.image("alpha", blocks(1, 2))
    w.end()
    w.image("beta", blocks(3))
    w.end()
    v.accept("padding-sessions", "Padding in each of two sessions", w)
    w = base(padding=BLOCK)
    begin, end = w.place("padding")
    v.reject(
        "record-bit-padding", "One bit of the padding's payload is flipped", base(padding=BLOCK), xor=(end - 100, 1)
    )
    v.reject(
        "header-bit-padding",
        "One bit of the padding's record header is flipped",
        base(padding=BLOCK),
        xor=(begin + 60, 1),
    )
    v.reject(
        "header-padding-number",
        "The padding has another number",
        base({("padding", 0, "fields"): put(number=3)}, padding=BLOCK),
    )
    v.reject("record-bit-sector", "A sector of zeros from the last checkpoint on: padding keeps it from the catalogs", base(padding=BLOCK),
             zero=(begin - 40, begin - 40 + BLOCK), also="header")  # fmt: skip

    again = base(repeat=True)
    v.accept("header-again", "Each checkpoint repeats the header", again)
    v.accept(
        "header-again-volumes", "The same in two volumes, and with padding", two_volumes(repeat=True, padding=BLOCK)
    )
    v.reject("chain-checkpoint-header", "The second checkpoint repeats another header", base({("checkpoint", 1, "map"): inside("header", by=put(source="elsewhere"))}, repeat=True))  # fmt: skip
    v.reject("record-checkpoint-header", "The header that the second checkpoint repeats has no hash_key",
             base({("checkpoint", 1, "map"): inside("header", by=without("hash_key"))}, repeat=True))  # fmt: skip
    for name, change in (("hash", put(hash="blake4")), ("feature", put(incompatible=["encryption"]))):
        v.reject(f"chain-checkpoint-{name}", f"The header that the second checkpoint repeats has an unknown {name}: it decides nothing",
                 base({("checkpoint", 1, "map"): inside("header", by=change)}, repeat=True))  # fmt: skip
    tweaks = {("checkpoint", 0, "map"): inside("header", by=put(hash="blake4"))}
    first, last = again.place("header"), again.place("checkpoint", 1)[1]
    v.reject("archive-checkpoint-hash", "Unfinished, the header record is damaged, and the first checkpoint, which stands in for it, has an unknown hash",
             base(tweaks, repeat=True), lost="alpha beta", cut=last, zero=first)  # fmt: skip
    v.reject("header-checkpoint-hash", "Finished, the header record is damaged, and the first checkpoint has an unknown hash: the end record counts",
             base(tweaks, repeat=True), zero=first, also="chain")  # fmt: skip
    v.reject(
        "header-first",
        "Unfinished, and the header record is damaged",
        base(repeat=True),
        cut=last,
        zero=first,
        also="volume",
    )
    v.reject("header-first-sector", "The same, and the record header of the first frame is damaged too", base(repeat=True), cut=last,
             zero=(0, again.place("frame")[0] + 112), also="volume")  # fmt: skip
    v.reject("record-first-payload", "Unfinished, and the payload of the header record is damaged", base(repeat=True),
             cut=last, zero=(first[0] + 120, first[1]), also="volume")  # fmt: skip
    v.reject("header-both-ends", "Finished, and both the header record and the end are damaged", base(repeat=True),
             xor=(20, 1), zero=(again.place("end")[0], len(again.volumes[0])), also="volume")  # fmt: skip
    v.reject("header-first-alone", "Unfinished, the header record is damaged and nothing repeats it", base(), cut=base().place("checkpoint", 1)[1],
             zero=base().place("header"), lost="alpha beta", also="volume")  # fmt: skip

    w = Writer()
    w.image("alpha", blocks(1, 2))
    w.end()
    w.image("beta", blocks(3))
    w.end()
    v.reject("header-first-sessions", "The header record is damaged, the second session has no end, and no checkpoint repeats the header: the end of the first does",
             w, cut=w.place("checkpoint", 1)[1], zero=w.place("header"), also="volume")  # fmt: skip
    w = Writer()
    w.image("alpha", blocks(1))
    w.end()
    size = len(w.volumes[0])
    v.reject("archive-end-copy-alone", "Bytes follow an end copy, which is the only record header that is left", w, lost="alpha",
             append=b"tail", zero=(0, size - 112))  # fmt: skip


def copies(v: Vectors) -> None:
    """Volumes that are given more than once (section 9)."""
    w = Writer(padding=BLOCK)
    w.image("alpha", blocks(1, 2))
    w.end()
    older = bytes(w.volumes[0])
    w.image("beta", blocks(3))
    w.end()
    newer, begin = bytes(w.volumes[0]), w.place("end", 1)[0]
    other = Writer(padding=BLOCK)
    other.image("alpha", blocks(1, 2))
    other.end()
    other.image("gamma", blocks(4))
    other.checkpoint()
    unfinished = bytes(other.volumes[0])
    assert len(older) < len(unfinished) < len(newer)

    def files(name: str, *datas: bytes) -> dict[str, bytes]:
        return {f"{name}-{letter}.gla": data for letter, data in zip("ab", datas, strict=True)}

    name = "copy-older"
    comment = "A volume from before a session was added, and the same volume with that: the longer one counts"
    v.add(name, comment, files(name, older, newer), {"expect": "accept", "images": w.truth})
    name, files_of = "copy-without-end", files("copy-without-end", newer[:begin], newer)
    v.add(
        name, "A volume that was not finished, and the same finished", files_of, {"expect": "accept", "images": w.truth}
    )
    name = "header-copy-older"
    comment = "A whole volume from before a session was added, and one with that whose end copy is damaged"
    v.reject(name, comment, w, volumes=files(name, older, newer), xor=(len(newer) - 60, 8))
    name = "volume-copy-unfinished"
    comment = "A whole volume from before a session was added, and one with that which was not finished"
    v.reject(name, comment, w, volumes=files(name, older, newer), cut=begin)
    name = "volume-copy-other-way"
    comment = "An unfinished volume with another session than the longer one that is finished: one of them is not used"
    v.reject(name, comment, w, volumes=files(name, newer, unfinished))


def isolated(writer: Writer, *bases: Writer, root: bytes | None = None, without: int = -1) -> bytes:
    """The isolated catalog of an archive, section 6.7; `without` that one of the records that follow the first."""
    catalog = Writer(archive_id=writer.archive_id)
    catalog.volumes[-1].clear()
    catalog.record(128, {"root": writer.last_end if root is None else root}, 0)
    records = [
        one.volumes[volume - 1][begin:end]
        for one in (*bases, writer)
        for volume, name, _, begin, end in one.places
        if name in ("header", "checkpoint", "end")
    ]
    return bytes(catalog.volumes[-1]) + b"".join(record for at, record in enumerate(records) if at != without)


def catalogs() -> dict[str, tuple[str, str, bytes]]:
    """Isolated catalogs by file name: the layer in which each has to be refused ("" for none), a comment, the bytes."""
    first, two = base(), two_volumes()
    second = increment(first)
    whole = isolated(second, first)
    return {
        "catalog.glacat": ("", "Of an archive", isolated(first)),
        "catalog-volumes.glacat": ("", "Of an archive of two volumes", isolated(two)),
        "catalog-chain.glacat": ("", "Of an increment, with that of its base before it", whole),
        "catalog-alone.glacat": ("", "Of an increment, without that of its base", isolated(second)),
        "catalog-cut.glacat": ("volume", "Without its last record", isolated(second, first, without=7)),
        "catalog-cut-base.glacat": (
            "volume",
            "Cut after the last record of the base",
            isolated(first, root=second.last_end),
        ),
        "catalog-without-checkpoint.glacat": ("chain", "Without a checkpoint", isolated(first, without=1)),
        "catalog-without-header.glacat": ("chain", "Without the header record", isolated(first, without=0)),
        "catalog-sibling.glacat": ("chain", "An increment after something that is not its base", isolated(second, two)),
        "catalog-root.glacat": ("volume", "For another root digest", isolated(first, root=bytes(32))),
        "catalog-bit.glacat": (
            "record",
            "A flipped bit in the last payload",
            whole[:-30] + bytes([whole[-30] ^ 8]) + whole[-29:],
        ),
    }


# -- Section 13: the hex dump -----------------------------------------------------------------------------------------

FIELDS = (
    ("skippable_magic", 4), ("skippable_size", 4), ("signature", 8), ("version", 1), ("type", 1), ("flags", 2), ("volume", 4), ("archive_id", 16),
    ("number", 8), ("offset", 8), ("stored_size", 4), ("raw_size", 4), ("payload_digest", 32), ("header_digest", 16),
)  # fmt: skip


def hex_lines(data: bytes) -> Iterator[tuple[int, bytes, str]]:
    """The smallest archive in pieces: (offset, bytes, what they are)."""
    at = 0

    def take(size: int, what: str) -> Iterator[tuple[int, bytes, str]]:
        nonlocal at
        for begin in range(0, size, 16):
            piece = data[at : at + min(16, size - begin)]
            yield at, piece, what if begin == 0 else ""
            at += len(piece)

    def head(title: str) -> Iterator[tuple[int, bytes, str]]:
        yield at, b"", title
        begin = at
        for name, size in FIELDS:
            value = data[at : at + size]
            shown = (
                f"{name} = {int.from_bytes(value, 'little')}"
                if size in (1, 2, 4, 8) and name not in ("signature", "skippable_magic")
                else name
            )
            yield from take(
                size,
                {"type": f"{shown}, {NAMES[data[begin + 17]]}", "skippable_magic": "skippable_magic = 0x184D2A57"}.get(
                    name, shown
                ),
            )

    def values(indent: str) -> Iterator[tuple[int, bytes, str]]:
        first = data[at]
        if first & 0xF0 == 0x80:
            yield from take(1, f"{indent}map of {first & 15}")
            for _ in range(first & 15):
                size = data[at] & 31
                name = data[at + 1 : at + 1 + size].decode()
                yield from take(1 + size, f'{indent}  "{name}"')
                yield from values(indent + "    ")
        elif first & 0xE0 == 0xA0:
            size = first & 31
            text = data[at + 1 : at + 1 + size].decode()
            yield from take(1 + size, f'{indent}"{text}"')
        elif first & 0xF0 == 0x90:
            yield from take(1, f"{indent}array of {first & 15}")
        elif first == 0xC4:
            yield from take(2 + data[at + 1], f"{indent}bin of {data[at + 1]}")
        elif first in (0xC0, 0xC2, 0xC3):
            yield from take(1, indent + {0xC0: "nil", 0xC2: "false", 0xC3: "true"}[first])
        else:
            width = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(first, 0)
            yield from take(
                1 + width, f"{indent}{int.from_bytes(data[at + 1 : at + 1 + width], 'big') if width else first}"
            )

    for name in ("header", "end"):
        yield from head(f"{name} record: the record header")
        yield at, b"", f"{name} record: the payload, one zstd frame"
        yield from take(4, "zstd magic")
        long = data[at] >> 6  # content sizes from 256 on take two bytes
        yield from take(
            1, f"frame header descriptor: single segment, content checksum, content size of {1 + long} bytes"
        )
        size = int.from_bytes(data[at : at + 1 + long], "little")
        yield from take(1 + long, f"content size {f'{size} + 256' if long else size}")
        block_header = int.from_bytes(data[at : at + 3], "little")
        assert block_header & 7 == 1, "the smallest archive is to have one raw block"
        yield from take(3, f"block header: last, raw, {block_header >> 3} bytes")
        yield from values("")
        yield from take(4, "content checksum")
    yield from head("end copy")
    assert at == len(data)


def hexdump(data: bytes) -> str:
    lines = ["```"]
    for offset, piece, what in hex_lines(data):
        lines.append(f"{offset:04x}  {piece.hex(' '):<47}  {what}".rstrip() if piece else f"\n{offset:04x}  -- {what}")
    return "\n".join([*lines, "```"])


# -- All of it --------------------------------------------------------------------------------------------------------


def make() -> Vectors:
    vectors = Vectors()
    accepted(vectors)
    refused(vectors)
    structured(vectors)
    contradictory(vectors)
    incremental(vectors)
    repair(vectors)
    said_again(vectors)
    copies(vectors)
    return vectors


def main() -> int:
    vectors = make()
    directory = HERE / "vectors"
    directory.mkdir(exist_ok=True)
    for path in directory.glob("*.gla"):
        if path.name not in vectors.files:
            path.unlink()
    for name, data in vectors.files.items():
        (directory / name).write_bytes(data)
    for name, (_, _, data) in catalogs().items():
        (directory / name).write_bytes(data)
    table = {name: {"comment": comment, "layer": layer} for name, (layer, comment, _) in catalogs().items()}
    (directory / "catalogs.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (directory / "vectors.json").write_text(json.dumps(vectors.table, indent=1) + "\n", encoding="utf-8")
    spec = (HERE / "SPEC.md").read_text(encoding="utf-8")
    before, rest = spec.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    (HERE / "SPEC.md").write_text(
        f"{before}{MARKS[0]}\n{hexdump(vectors.files['empty.gla'])}\n{MARKS[1]}{after}", encoding="utf-8"
    )
    print(f"{len(vectors.table)} vectors, {sum(map(len, vectors.files.values())):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
