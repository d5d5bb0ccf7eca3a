"""Archives for tests, written without any Glance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glancearchive.format.writer import ArchiveWriter

Described = tuple[Mapping[str, Any], bytes]


def write_archive(
    path: Path, *images: Described, members: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> Path:
    """An archive of images, each with its metadata and data; `members` by image id."""
    writer = ArchiveWriter(path, source="a test")
    for metadata, data in images:
        image = writer.begin(metadata["id"], metadata, (members or {}).get(metadata["id"], ()))
        image.write(data)
        image.finish({"sha512": hashlib.sha512(data).hexdigest()}, "sha512")
    writer.finish()
    return path
