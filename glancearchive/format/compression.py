"""zstd payloads (SPEC section 4). The one module that imports zstandard."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import zstandard

MAX_WINDOW = 1 << 27
_FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
_local = threading.local()


@dataclass(frozen=True, slots=True)
class Level:
    """How hard to compress: the frame size in bytes, a zstd level, and what differs from that level's parameters."""

    name: str
    frame_size: int
    zstd: int
    parameters: Mapping[str, int | bool] = field(default_factory=dict)


# The default is zstd's strategy "fast" with twice its table, and a window of a whole frame. Over 1.5 GB of unique
# blocks of Debian images it takes four fifths of the time of level 3 for 1.2% more; level 2 as it is stores 5% more.
LEVELS = {
    level.name: level
    for level in (
        Level("fast", 4 << 20, 1),
        Level("default", 4 << 20, 2, {"window_log": 22, "hash_log": 17, "min_match": 5}),
        Level("small", 4 << 20, 6),
        Level("smallest", 16 << 20, 9, {"window_log": 24, "enable_ldm": True}),
    )
}


def max_stored_size(raw_size: int) -> int:
    """The most bytes that a payload of `raw_size` bytes may take when stored (SPEC section 8)."""
    return raw_size + raw_size // 256 + 128


def compress(raw: bytes | bytearray | memoryview, level: Level) -> bytes:
    """One zstd frame with content size and checksum. Releases the GIL; safe in several threads."""
    compressors: dict[str, zstandard.ZstdCompressor] | None = getattr(_local, "compressors", None)
    if compressors is None:
        compressors = _local.compressors = {}
    compressor = compressors.get(level.name)
    if compressor is None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level.zstd, write_checksum=True, write_content_size=True, write_dict_id=False, **level.parameters
        )
        compressor = zstandard.ZstdCompressor(compression_params=parameters)
        compressors[level.name] = compressor
    # A copy, for the compressor's own bytes object keeps the memory that the worst case would have needed.
    return bytes(memoryview(compressor.compress(raw)))


def decompress(stored: bytes | memoryview, raw_size: int) -> bytes:
    """The `raw_size` bytes in `stored`. Raises ValueError unless `stored` is one payload as the specification wants it.

    `raw_size` must have been checked against its limit: that many bytes are allocated.
    """
    if bytes(stored[:4]) != _FRAME_MAGIC:
        raise ValueError("the payload is not a zstd frame")
    try:
        parameters = zstandard.get_frame_parameters(stored)
    except zstandard.ZstdError as error:
        raise ValueError(f"zstd frame header: {error}") from None
    if parameters.content_size == zstandard.CONTENTSIZE_UNKNOWN:
        raise ValueError("the zstd frame does not state its content size")
    if parameters.content_size != raw_size:
        raise ValueError(f"the zstd frame holds {parameters.content_size} bytes, expected {raw_size}")
    if not parameters.has_checksum:
        raise ValueError("the zstd frame has no content checksum")
    if parameters.dict_id:
        raise ValueError(f"the zstd frame wants dictionary {parameters.dict_id}")
    if parameters.window_size > MAX_WINDOW:
        raise ValueError(f"the zstd frame wants a window of {parameters.window_size} bytes, the limit is {MAX_WINDOW}")
    decompressor: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    try:
        raw = decompressor.decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"zstd: {error}") from None
    if len(raw) != raw_size:
        raise ValueError(f"the zstd frame gave {len(raw)} bytes, expected {raw_size}")
    return raw
