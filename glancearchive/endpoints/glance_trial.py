"""Trying data out: whether a Glance takes an image is seen on another one, since a refused upload costs the id."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from glancearchive.endpoints import image_format, policy
from glancearchive.endpoints.arrival import Arrival
from glancearchive.errors import AccessError, ConflictError, NotFoundError, RefusedError, ServerError

log = logging.getLogger("glancearchive")

_NAME = "glancearchive trial for "
_ATTEMPTS = 3
_GONE = 410


def accepted_on_trial(arrival: Arrival, head: bytes) -> bool:
    """Whether this Glance takes data that begin with `head`: many never look, and then the image must not be lost.

    The head is uploaded to an image of no consequence, which is deleted again, and so is one that
    a load left behind which was killed. That may hit one that is in use: then there is another trial.
    """
    name = f"{_NAME}{arrival.image.id}"
    for left in arrival.api.images(**{policy.MARK: name}):
        if _is_trial(left, name):
            log.info("deleting the trial image %s of an earlier load", left["id"])
            with suppress(ServerError):
                arrival.api.delete(left["id"])
    for _ in range(_ATTEMPTS):
        verdict = _tried(arrival, name, head)
        if verdict is not None:
            return verdict
    return False


def _is_trial(image: Mapping[str, Any], name: str) -> bool:
    """Whether a load has created this image; not one that has got its properties only, as snapshots do."""
    size = image.get("size")
    return image.get("name") == image.get(policy.MARK) == name and (size is None or size <= image_format.HEAD)


def _tried(arrival: Arrival, name: str, head: bytes) -> bool | None:
    """One trial; None when the image vanished in it."""
    api, image = arrival.api, arrival.image
    body = {
        "name": name,
        "disk_format": image.metadata.get("disk_format"),
        "container_format": image.metadata.get("container_format"),
        "visibility": "private",
        policy.MARK: name,
    }
    try:
        trial = str(api.create(body)["id"])
    except (AccessError, ConflictError, RefusedError) as error:
        log.info("%s: no trial was possible: %s", image, error)
        return False
    try:
        api.upload(trial, _Bytes(head), store=arrival.store)
    except (NotFoundError, ConflictError):
        return None
    except RefusedError as error:
        log.info("%s: refused on trial: %s", image, error)
        return None if error.status == _GONE else False
    finally:
        with suppress(ServerError):
            api.delete(trial)
    return True


class _Bytes:
    """Bytes as a `Body`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
