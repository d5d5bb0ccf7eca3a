"""Typed access to decoded maps: what is missing, of another type or out of range is a ValueError that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

MAX_UINT = 2**63 - 1

T = TypeVar("T")


class Fields:
    """Typed access to a decoded map; every error names the field."""

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{what}: expected a map, got {type(value).__name__}")
        self._map: dict[str, Any] = value
        self._what = what

    def __contains__(self, key: str) -> bool:
        return key in self._map

    def get(self, key: str, kind: type[T], optional: bool = False) -> T:
        if key not in self._map:
            raise ValueError(f"{self._what}: {key} is missing")
        value: T = self._map[key]
        if value is None and optional:
            return cast(T, None)
        if type(value) is not kind:  # not isinstance: a bool is no integer here
            raise ValueError(f"{self._what}: {key} is of type {type(value).__name__}, expected {kind.__name__}")
        return value

    def uint(self, key: str, limit: int = MAX_UINT, optional: bool = False) -> int:
        value = self.get(key, int, optional)
        if value is not None and not 0 <= value <= limit:
            raise ValueError(f"{self._what}: {key} is {value}, allowed are 0 to {limit}")
        return value

    def binary(self, key: str, size: int, optional: bool = False) -> bytes:
        value = self.get(key, bytes, optional)
        if value is not None and len(value) != size:
            raise ValueError(f"{self._what}: {key} has {len(value)} bytes, expected {size}")
        return value

    def choice(self, key: str, *allowed: str) -> str:
        value = self.get(key, str)
        if value not in allowed:
            raise ValueError(f"{self._what}: {key} is {value!r}, expected one of {', '.join(allowed)}")
        return allowed[allowed.index(value)]  # the one that is there for all of them

    def rows(self, key: str, size: int) -> bytes:
        value = self.get(key, bytes)
        if len(value) % size:
            raise ValueError(f"{self._what}: {key} has {len(value)} bytes, not a multiple of {size}")
        return value

    def each(self, key: str, convert: Callable[[Any], T]) -> tuple[T, ...]:
        return tuple(convert(item) for item in self.get(key, list))


def text(value: Any) -> str:
    """`value`, if it is a str."""
    if not isinstance(value, str):
        raise ValueError(f"expected a str, got {type(value).__name__}")
    return value


def mapping(value: Any) -> dict[str, Any]:
    """`value`, if it is a map."""
    if not isinstance(value, dict):
        raise ValueError(f"expected a map, got {type(value).__name__}")
    return value


def whole_number(value: Any) -> int:
    """`value`, if it is an integer that may stand in an archive."""
    if type(value) is not int or not 0 <= value <= MAX_UINT:
        raise ValueError(f"expected an unsigned integer, got {value!r}")
    return value
