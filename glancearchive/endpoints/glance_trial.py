"""Trying data out: whether a Glance takes an image is seen on another one, since a refused upload costs the id.

And how fast it takes data.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from glancearchive.endpoints import image_format, policy
from glancearchive.endpoints.arrival import Arrival
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.errors import AccessError, ConflictError, NotFoundError, RefusedError, ServerError

log = logging.getLogger("glancearchive")

_NAME = "glancearchive trial for "
_ATTEMPTS = 3
_GONE = 410
_SAMPLE = 8 << 20  # bytes that are sent to see how fast it goes
_PIECE = 1 << 20


def accepted_on_trial(arrival: Arrival, head: bytes) -> bool:
    """Whether this Glance takes data that begin with `head`: many never look, and then the image must not be lost.

    The head is uploaded to an image of no consequence, which is deleted again, and so is one that
    a load left behind which was killed. That may hit one that is in use: then there is another trial.
    """
    name = f"{_NAME}{arrival.image.id}"
    _clear_away(arrival.api, name, largest=image_format.HEAD)
    for _ in range(_ATTEMPTS):
        verdict = _tried(arrival, name, head)
        if verdict is not None:
            return verdict
    return False


def measured_rate(api: GlanceApi, *, store: str = "", clock: Callable[[], float] = time.monotonic) -> float:
    """Bytes a second of one upload: random data go to a private image of no consequence, which is deleted again.

    Raises what creating and uploading do.
    """
    name = f"{_NAME}the rate"
    _clear_away(api, name, largest=_SAMPLE)
    trial = str(api.create(_description(name, "raw", "bare"))["id"])
    try:
        began = clock()
        api.upload(trial, _Bytes(os.urandom(_SAMPLE)), store=store)
        return _SAMPLE / max(clock() - began, 1e-6)
    finally:
        with suppress(ServerError):
            api.delete(trial)


def _clear_away(api: GlanceApi, name: str, *, largest: int) -> None:
    """Delete the trial images of this name, of up to `largest` bytes, that a program left behind which was killed."""
    for left in api.images(**{policy.MARK: name}):
        if _is_trial(left, name, largest):
            log.info("deleting the trial image %s of an earlier run", left["id"])
            with suppress(ServerError):
                api.delete(left["id"])


def _is_trial(image: Mapping[str, Any], name: str, largest: int) -> bool:
    """Whether we have created this image; not one that has got its properties only, as snapshots do."""
    size = image.get("size")
    return image.get("name") == image.get(policy.MARK) == name and (size is None or size <= largest)


def _description(name: str, disk_format: object, container_format: object) -> dict[str, Any]:
    formats = {"disk_format": disk_format, "container_format": container_format}
    return {"name": name, **formats, "visibility": "private", policy.MARK: name}


def _tried(arrival: Arrival, name: str, head: bytes) -> bool | None:
    """One trial; None when the image vanished in it."""
    api, image = arrival.api, arrival.image
    body = _description(name, image.metadata.get("disk_format"), image.metadata.get("container_format"))
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
        for begin in range(0, len(self._data), _PIECE):
            yield self._data[begin : begin + _PIECE]
