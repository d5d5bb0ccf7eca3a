"""The properties of an image that name other images: they have to follow where these get other ids.

`kernel_id` and `ramdisk_id` belong to an AMI (Glance's ``etc/schema-image.json``), `base_image_ref` is what Nova leaves
in a snapshot, and `block_device_mapping` is Nova's JSON list of a volume-backed image's devices, each of which may have
an `image_id`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

_IDS = ("kernel_id", "ramdisk_id", "base_image_ref")
_DEVICES = "block_device_mapping"


def references(metadata: Mapping[str, Any]) -> set[str]:
    """The ids of the images that an image with this metadata refers to."""
    found: set[str] = set()

    def note(image_id: str) -> str:
        found.add(image_id)
        return image_id

    redirected(metadata, note)
    return found


def redirected(metadata: Mapping[str, Any], where: Callable[[str], str]) -> dict[str, Any]:
    """The metadata with ``where(id)`` in the place of each id that it refers to."""
    found = dict(metadata)
    for field in _IDS:
        if isinstance(value := found.get(field), str) and value:
            found[field] = where(value)
    devices = _devices(found.get(_DEVICES))
    moved = [
        {**device, "image_id": where(value)} if isinstance(value := device.get("image_id"), str) and value else device
        for device in devices
    ]
    if moved != devices:
        found[_DEVICES] = json.dumps(moved)
    return found


def followed(
    metadata: Mapping[str, Any], other: Mapping[str, Any], is_same: Callable[[str, str], bool]
) -> dict[str, Any]:
    """The metadata with references as `other` has them, where ``is_same(its id, id)`` says that they lead to one image.

    A reference that `other` has too stays, also where `other` has one to a copy of that image besides. A list of
    devices that is then equal is written as in `other`.
    """
    theirs = sorted(references(other))

    def there(image_id: str) -> str:
        return image_id if image_id in theirs else next((one for one in theirs if is_same(one, image_id)), image_id)

    found = redirected(metadata, there)
    devices = _devices(found.get(_DEVICES))
    if devices and found[_DEVICES] != metadata[_DEVICES] and devices == _devices(other.get(_DEVICES)):
        found[_DEVICES] = other[_DEVICES]
    return found


def _devices(text: object) -> list[dict[str, Any]]:
    """The devices of a mapping, [] for what is none."""
    try:
        found = json.loads(text) if isinstance(text, str) else []
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) and all(isinstance(device, dict) for device in found) else []
