"""Reads PAR2 files: a sequence of packets, each with a digest, in any order and as often as one likes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from glancearchive.errors import LocalError
from glancearchive.format.volume import Volume

_HEADER = struct.Struct("<8sQ16s16s16s")  # magic, length of the packet, MD5 of what follows it, set id, type
_MAGIC = b"PAR2\0PKT"
_DIGESTED = 32  # bytes of a header that its MD5 does not cover
_MAIN = b"PAR 2.0\0Main\0\0\0\0"
_DESCRIPTION = b"PAR 2.0\0FileDesc"
_CHECKSUMS = b"PAR 2.0\0IFSC\0\0\0\0"
_RECOVERY = b"PAR 2.0\0RecvSlic"
_PIECE = 1 << 20
_LARGEST_BLOCK = 1 << 36  # bytes: the last block of a file is hashed with zeros up to its end
HEAD = 16384
"""Bytes at the beginning of a file that have a digest of their own."""
_MOST = 4 << 20  # bytes of a packet that is kept: 32768 checksums take less than one MiB
MOST_BLOCKS = 32768
"""Blocks of the data that one set protects, at most."""


@dataclass(slots=True)
class ProtectedFile:
    """A file as it was when the recovery data were made.

    `size` is in bytes, `head` the MD5 of its first `HEAD` bytes, `blocks` the MD5 of each block of it, the last one
    padded with zeros to the size of a block.
    """

    name: str
    size: int
    head: bytes
    blocks: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class RecoverySet:
    """What PAR2 files say together. `paths` are the files that hold packets of it.

    `recovery` are the numbers of the recovery blocks that are whole. A set of which something else is missing, because
    it is damaged in each file, has not `usable`.
    """

    id: bytes
    block_size: int = 0
    order: tuple[bytes, ...] = ()  # ids of the files
    described: dict[bytes, ProtectedFile] = field(default_factory=dict)
    checksums: dict[bytes, list[bytes]] = field(default_factory=dict)
    recovery: set[int] = field(default_factory=set)
    paths: list[Path] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether it says which files it protects, and of what blocks they consist."""
        return bool(self.order) and all(
            one in self.described
            and len(self.checksums.get(one, ())) == -(-self.described[one].size // self.block_size)
            for one in self.order
        )

    @property
    def files(self) -> list[ProtectedFile]:
        """The files that it protects, by name. Only of a set that is `usable`."""
        for one in self.order:
            self.described[one].blocks = self.checksums[one]
        return sorted((self.described[one] for one in self.order), key=lambda file: file.name)


def read_sets(paths: Iterable[Path]) -> list[RecoverySet]:
    """The sets that the PAR2 files at `paths` belong to, the one with the most recovery blocks first.

    Damaged packets, and whatever else lies between whole ones, are passed over. Raises LocalError for a file that
    cannot be opened.
    """
    sets: dict[bytes, RecoverySet] = {}
    for path in paths:
        volume = Volume(path)
        try:
            for set_id, kind, body, number in _packets(volume):
                found = sets.setdefault(set_id, RecoverySet(set_id))
                if path not in found.paths:
                    found.paths.append(path)
                if kind == _RECOVERY:
                    found.recovery.add(number)
                else:
                    _learn(found, kind, body)
        finally:
            volume.close()
    return sorted(sets.values(), key=lambda one: (not one.usable, -len(one.recovery)))


def _learn(found: RecoverySet, kind: bytes, body: bytes) -> None:
    if kind == _MAIN and len(body) >= 12:
        size, count = struct.unpack_from("<QI", body)
        if 0 < size <= _LARGEST_BLOCK and len(body) >= 12 + 16 * count:
            found.block_size = size
            found.order = tuple(body[12 + 16 * at : 28 + 16 * at] for at in range(count))
    elif kind == _DESCRIPTION and len(body) > 56:
        name = body[56:].rstrip(b"\0").decode("utf-8", "surrogateescape")
        for flavour in (PurePosixPath, PureWindowsPath):  # a name is used as that of a file, here or there
            if flavour(name).name != name or name == "..":
                raise LocalError(f"recovery data of {name!r}: it is no name of a volume of an archive")
        found.described[body[:16]] = ProtectedFile(name, struct.unpack_from("<Q", body, 48)[0], body[32:48])
    elif kind == _CHECKSUMS:
        found.checksums[body[:16]] = [body[at : at + 16] for at in range(16, len(body) - 19, 20)]


def _packets(volume: Volume) -> Iterator[tuple[bytes, bytes, bytes, int]]:
    """The whole packets: set id, type, body (of recovery blocks none), and the number of a recovery block."""
    at = 0
    while at + _HEADER.size <= volume.size:
        header = _read(volume, at, _HEADER.size)
        magic, length, stated, set_id, kind = _HEADER.unpack(header)
        sound = magic == _MAGIC and length % 4 == 0 and _HEADER.size <= length <= volume.size - at
        if sound and (kind == _RECOVERY or length <= _MOST):
            kept = bytearray()
            computed = hashlib.md5(header[_DIGESTED:], usedforsecurity=False)
            for begin in range(at + _HEADER.size, at + length, _PIECE):
                piece = _read(volume, begin, min(_PIECE, at + length - begin))
                computed.update(piece)
                kept += piece if kind != _RECOVERY else piece[: max(4 - len(kept), 0)]
            if computed.digest() == stated:
                number = int.from_bytes(kept[:4], "little") if kind == _RECOVERY else 0
                yield set_id, kind, bytes(kept), number
                at += length
                continue
        at = _find_magic(volume, at + 1)


def _find_magic(volume: Volume, at: int) -> int:
    """Where the next packet seems to begin at or after `at`; the end of the file when nowhere."""
    while at < volume.size:
        found = _read(volume, at, min(_PIECE, volume.size - at)).find(_MAGIC)
        if found >= 0:
            return at + found
        at += _PIECE - len(_MAGIC) + 1
    return volume.size


def _read(volume: Volume, at: int, size: int) -> bytes:
    """Like `read_at`; zeros where the medium gives nothing."""
    try:
        return volume.read_at(at, size).ljust(size, b"\0")
    except OSError:
        return bytes(size)
