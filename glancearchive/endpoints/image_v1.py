"""Metadata of Glance's API v1, which is gone since 2018, as those of the API v2: one table, and pure functions over it.

The fields are ``IMAGE_ATTRS`` of ``glance/db/__init__.py`` and ``detail`` of
``glance/api/v1/images.py`` in the last releases that had them (Ocata, 2017), and
what older releases and other clients put there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from glancearchive.endpoints.policy import rule_for


@dataclass(frozen=True, slots=True)
class Translation:
    """What becomes of a field; the first of the table that has its name decides.

    `becomes` is the name in the API v2, "" when the field is left out. `convert` raises ValueError for a value that
    means nothing.
    """

    field: str
    becomes: str
    how: str
    convert: Callable[[Any], Any] = lambda value: value


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) else value


def _flag(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def _visibility(value: Any) -> str:
    return "public" if _flag(value) else "private"


def _time(value: Any) -> Any:
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?Z?", value) if isinstance(value, str) else None
    return f"{found[1]}T{found[2]}Z" if found else value


TABLE: tuple[Translation, ...] = (
    Translation("id", "id", "as it is"),
    Translation("name", "name", "as it is"),
    Translation("status", "status", "as it is"),
    Translation("disk_format", "disk_format", "as it is"),
    Translation("container_format", "container_format", "as it is"),
    Translation("size", "size", "as a number; it was a string once", _number),
    Translation("virtual_size", "virtual_size", "as a number", _number),
    Translation("min_disk", "min_disk", "as a number", _number),
    Translation("min_ram", "min_ram", "as a number", _number),
    Translation("checksum", "checksum", "as it is: the MD5 of the data, which they are compared with"),
    Translation("owner", "owner", "as it is"),
    Translation("protected", "protected", "as true or false", _flag),
    Translation("is_public", "visibility", "true is `public`, false is `private`", _visibility),
    Translation("created_at", "created_at", "as the API v2 writes times", _time),
    Translation("updated_at", "updated_at", "as the API v2 writes times", _time),
    Translation("properties", "*", "each becomes a field of its own; those that are null are left out"),
    Translation("deleted", "", "left out: the API v2 has no such field"),
    Translation("deleted_at", "", "left out: the API v2 has no such field"),
    Translation("date", "", "left out: the date of an answer, not of the image"),
    Translation("store", "", "left out: names a store of the source"),
    Translation("location", "", "left out: points into the source's store, and may hold credentials"),
    Translation("locations", "", "left out: points into the source's store, and may hold credentials"),
    Translation("location_data", "", "left out: points into the source's store, and may hold credentials"),
    Translation("*", "*", "as it is"),
)


def is_v1(document: Mapping[str, Any]) -> bool:
    """Whether metadata are those of the API v1: in the v2 every image has a visibility, and properties are strings."""
    return isinstance(document.get("properties"), dict) or ("is_public" in document and "visibility" not in document)


def translate(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The metadata as the API v2 would have them, and a line for each value that they cannot say."""
    found: dict[str, Any] = {}
    lost: list[str] = []
    properties: Mapping[str, Any] = {}
    for field, value in document.items():
        rule = next(rule for rule in TABLE if rule.field in (field, "*"))
        if field == "properties" and isinstance(value, dict):
            properties = value
        elif rule.becomes:
            try:
                found[field if rule.becomes == "*" else rule.becomes] = rule.convert(value)
            except ValueError:
                lost.append(f"{field}: {value!r} means nothing, left out")
    for field, value in properties.items():
        if value is None:
            continue
        if field in found or not rule_for(field).custom:
            lost.append(f"property {field}: {value!r} is left out: the API v2 has another field of that name")
        else:
            found[field] = value
    return found, lost
