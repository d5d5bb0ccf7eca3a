"""Copies images into a Glance from where they are, without anything in between."""

from __future__ import annotations

from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.errors import UsageError
from glancearchive.image import Source

_TELLING = ("id", "created_at", "updated_at", "checksum", "size")


def require_another(source: Source, api: GlanceApi) -> None:
    """Raises UsageError when `source` is the Glance behind `api`, if under another name.

    A copy never has the times of its original; where both ends know the first image with the same, it is one image.
    """
    if source.label == api.label:
        raise UsageError(f"FROM and TO are the same: {api.label}")
    first = next(iter(source.images()), None)
    there = None if first is None or not first.metadata.get("created_at") else api.find(first.id)
    if first is not None and there is not None and all(there.get(key) == first.metadata.get(key) for key in _TELLING):
        raise UsageError(f"FROM and TO are the same by two names: {source.label} and {api.label} both have {first}")
