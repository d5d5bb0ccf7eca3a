"""Canonical MessagePack (SPEC section 6). The one module that imports msgpack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack

MAX_DEPTH = 16
MAX_VALUES = 1 << 20
# Of the MessagePack specification, by the first byte of a value: the bytes of its length (str and bin), and how many
# bytes it takes itself. What is in arrays and maps follows them.
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_SIZES = [1 + (first & 31) if 0xA0 <= first < 0xC0 else 0 if first in _LENGTHS else 1 for first in range(256)]
for _first, _size in zip(range(0xCA, 0xD4), (5, 9, 2, 3, 5, 9, 2, 3, 5, 9), strict=True):
    _SIZES[_first] = _size
for _first, _size in zip(range(0xDC, 0xE0), (3, 5, 3, 5), strict=True):
    _SIZES[_first] = _size
for _first in (0xC1, *range(0xC7, 0xCA), *range(0xD4, 0xD9)):
    _SIZES[_first] = -1  # never used, and extensions
_PLAIN = frozenset({type(None), bool, int, str, bytes})


def pack(value: Mapping[str, Any]) -> bytes:
    """The canonical encoding of a map. Raises ValueError for what the format cannot express."""
    try:
        return bytes(msgpack.packb(_canonical(value, 1), use_bin_type=True))
    except (OverflowError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None


def unpack(data: bytes) -> dict[str, Any]:
    """The map that `data` encodes. Raises ValueError unless `data` is one map in canonical encoding."""
    try:
        _check_count(data)
        _check_form(data)
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_refuse_extension)
    except (ValueError, msgpack.OutOfData) as error:  # bad UTF-8 and too deep nesting are ValueErrors
        raise ValueError(f"not MessagePack: {error or type(error).__name__}") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a map, got {type(value).__name__}")
    _check_order(value, 1)
    if repack(value) != data:  # another form of a number or a length, or a key twice
        raise ValueError("not in canonical encoding")
    return value


def repack(value: Mapping[str, Any]) -> bytes:
    """The canonical encoding of a map whose values come from `unpack` and whose keys are in order."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def unpack_own(data: bytes) -> dict[str, Any]:
    """The map in `data`, which is what `pack` or `repack` returned: nothing is checked."""
    value: dict[str, Any] = msgpack.unpackb(data, raw=False)
    return value


def _check_count(data: bytes) -> None:
    """Raises ValueError for more than MAX_VALUES values: each takes far more memory than the byte it may stand in."""
    if len(data) > MAX_VALUES:
        count_values(data)


def _check_form(data: bytes) -> None:
    """A pass that builds nothing, for msgpack allocates arrays by the count they claim. Raises as `msgpack.unpackb`.

    What it takes of memory, more than `data`, is given back before anything is built.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=len(data) + 1)
    unpacker.feed(data)
    unpacker.skip()


def count_values(data: bytes) -> int:
    """How many values `data` holds, arrays and maps counted as one each. Raises ValueError for more than MAX_VALUES."""
    at = count = 0
    sizes, end = _SIZES, len(data)
    while at < end:
        count += 1
        first = data[at]
        size = sizes[first]
        if size > 0:
            at += size
        elif size < 0:
            raise ValueError(f"a value of type {first:#x}")
        else:  # a str or bin with a length of its own
            length = _LENGTHS[first]
            at += 1 + length + int.from_bytes(data[at + 1 : at + 1 + length], "big")
        if count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values")
    return count


def _refuse_extension(code: int, _data: bytes) -> None:
    raise ValueError(f"extension type {code}")


def _check_order(value: Any, depth: int) -> None:
    """Raises ValueError unless keys are str and in order, floats finite, and nothing is nested too deep."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    items = value
    if type(value) is dict:
        keys, items = list(value), value.values()
        if keys and type(keys[0]) is not str:
            raise ValueError(f"a map key of type {type(keys[0]).__name__}")
        try:
            # Code points and their UTF-8 bytes sort alike; str and bytes do not compare at all.
            if keys != sorted(keys):
                raise ValueError("not in canonical encoding: the keys of a map are not in order")
        except TypeError:
            raise ValueError("map keys of several types") from None
    if _PLAIN.issuperset(map(type, items)):
        return
    for item in items:
        if type(item) is float:
            _check_finite(item)
        elif type(item) is dict or type(item) is list:
            _check_order(item, depth + 1)
        elif type(item) not in _PLAIN:  # a timestamp, which msgpack knows by itself
            raise ValueError(f"a value of type {type(item).__name__}")


def _check_finite(value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"a float that is {value}")


def _canonical(value: Any, depth: int) -> Any:
    """`value` with all map keys in order. msgpack itself picks the shortest forms."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping | list | tuple):
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        if not isinstance(value, Mapping):
            return [_canonical(item, depth + 1) for item in value]
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"a map key of type {type(key).__name__}")
        # Most values are plain; calling this for each of them takes most of the time.
        return {
            key: item if type(item := value[key]) in _PLAIN else _canonical(item, depth + 1) for key in sorted(value)
        }
    if isinstance(value, float):
        _check_finite(value)
        return value
    if isinstance(value, int | str | bytes):
        return value
    raise ValueError(f"a value of type {type(value).__name__}")
