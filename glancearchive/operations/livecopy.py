"""Copies images into a Glance from where they are, without anything in between."""

from __future__ import annotations

from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.glance_source import GlanceSource
from glancearchive.endpoints.server_url import is_one_address
from glancearchive.errors import UsageError

_TELLING = ("id", "created_at", "updated_at", "checksum", "size")


def require_another(source: GlanceSource, api: GlanceApi) -> None:
    """Raises UsageError when `source` is the Glance behind `api`, if under another name.

    A copy never has the times of its original; where both ends know an image with the same, it is one image. They are
    whole seconds: one that was made within a second tells nothing by itself, since its copy may have been made within
    it too. Nor does an address, behind which there may be several Glances; but both together do.
    """
    if source.label == api.label:
        raise UsageError(f"FROM and TO are the same: {api.label}")
    one_address = is_one_address(source.cloud.endpoint, api.cloud.endpoint)
    for image in source.images():
        there = api.find(image.id) if image.metadata.get("created_at") else None
        if there is None or any(there.get(key) != image.metadata.get(key) for key in _TELLING):
            return
        if one_address or there.get("created_at") != there.get("updated_at"):
            raise UsageError(f"FROM and TO are the same by two names: {source.label} and {api.label} both have {image}")
