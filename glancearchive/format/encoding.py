"""Canonical MessagePack (SPEC section 6). The one module that imports msgpack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack

MAX_DEPTH = 16
MAX_VALUES = 1 << 20
# Of the MessagePack specification: the bytes of a length by the first byte of str and bin; whole sizes of other values.
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_SIZES = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
_SIZES |= {0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5}  # arrays and maps: what is in them follows


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
        _check_count(data)
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


def _check_count(data: bytes) -> None:
    """Raises ValueError for more than MAX_VALUES values: each takes far more memory than the byte it may stand in."""
    if len(data) <= MAX_VALUES:
        return
    at = count = 0
    while at < len(data):
        count += 1
        if count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values")
        first = data[at]
        if 0xA0 <= first < 0xC0:  # a short str
            at += 1 + (first & 31)
        elif first in _LENGTHS:  # a str or bin with a length of its own
            size = _LENGTHS[first]
            at += 1 + size + int.from_bytes(data[at + 1 : at + 1 + size], "big")
        else:
            at += _SIZES.get(first, 1)


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
