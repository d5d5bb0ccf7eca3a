"""Canonical MessagePack (SPEC section 6). The one module that imports msgpack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack

MAX_DEPTH = 16


def pack(value: Mapping[str, Any]) -> bytes:
    """The canonical encoding of a map. Raises ValueError for what the format cannot express."""
    try:
        return bytes(msgpack.packb(_canonical(value, 1), use_bin_type=True))
    except (OverflowError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None


def unpack(data: bytes) -> dict[str, Any]:
    """The map that `data` encodes. Raises ValueError unless `data` is one map in canonical encoding."""
    try:
        # First a pass that builds nothing: msgpack allocates arrays by the count they claim.
        unpacker = msgpack.Unpacker(max_buffer_size=len(data) + 1)
        unpacker.feed(data)
        unpacker.skip()
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_refuse_extension)
    except (ValueError, msgpack.OutOfData) as error:  # bad UTF-8 and too deep nesting are ValueErrors
        raise ValueError(f"not MessagePack: {error or type(error).__name__}") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a map, got {type(value).__name__}")
    if pack(value) != data:
        raise ValueError("not in canonical encoding")
    return value


def _refuse_extension(code: int, _data: bytes) -> None:
    raise ValueError(f"extension type {code}")


def _canonical(value: Any, depth: int) -> Any:
    """`value` with all map keys in order. msgpack itself picks the shortest forms."""
    if isinstance(value, Mapping | list | tuple):
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        if not isinstance(value, Mapping):
            return [_canonical(item, depth + 1) for item in value]
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"a map key of type {type(key).__name__}")
        # Code points and their UTF-8 bytes sort alike.
        return {key: _canonical(value[key], depth + 1) for key in sorted(value)}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a float that is {value}")
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    raise ValueError(f"a value of type {type(value).__name__}")
