"""Files that say which id an image gets elsewhere: a JSON object of ids, by the ids that the images had."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from glancearchive.errors import LocalError, UsageError
from glancearchive.operations.outputs import check_replacing, write_output

# Glance's own pattern, in its schema of an image.
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_MAX_SIZE = 256 << 20  # bytes, of millions of images; an image or an archive is not taken into memory to see what it is


def read_id_map(path: Path) -> dict[str, str | None]:
    """The map in a file; None stands for an id that is still to be chosen. Raises LocalError and UsageError."""
    try:
        if (size := path.stat().st_size) > _MAX_SIZE:
            raise UsageError(f"{path}: no map of ids: it has {size} bytes, and at most {_MAX_SIZE} are read")
        document = json.loads(path.read_bytes(), object_pairs_hook=_once)
    except OSError as error:
        raise LocalError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: no map of ids: {error}") from None
    if not isinstance(document, dict):
        raise UsageError(f'{path}: no map of ids: expected a JSON object, {{"old id": "new id", …}}')
    for old, new in document.items():
        if new is not None and not (isinstance(new, str) and _ID.fullmatch(new)):
            raise UsageError(f"{path}: the map of ids gives image {old} {new!r}: expected an id (a UUID) or null")
    return document


def check_id_map_file(path: Path) -> None:
    """Raise unless a map can be written to `path`, as `check_replacing` says."""
    check_replacing(path, "map of ids", read_id_map)


def write_id_map(path: Path, ids: Mapping[str, str]) -> None:
    """Write a map, in one piece or not at all. Raises LocalError."""
    write_output(path, (json.dumps(ids, indent=2) + "\n").encode())


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object in which no key stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found
