"""Interoperable image import: the data are staged first, then the Glance imports them, and may convert them on the way.

What it made of them cannot be compared with what was sent. What can be: that all bytes were staged before the import
began, and where a disk image became a raw one, that it is as long as its virtual size says. So that a later load knows
the image again, `policy.CONVERTED` says of which data it was made, and what became of them.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Any

from glancearchive.endpoints import policy
from glancearchive.endpoints.arrival import Arrival, Verdict
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.glance_upload import given_up, sent
from glancearchive.endpoints.image_list import Json
from glancearchive.errors import ConflictError, NotFoundError, ServerError, UsageError
from glancearchive.image import Action

log = logging.getLogger("glancearchive")

# What an import takes at most: as long as one of so many bytes a second, and no less than an hour.
_SLOWEST = 1 << 20
_LEAST = 3600  # seconds
_REMIND = 60  # seconds between two words about an import that goes on
_LOCK = "os_glance_import_task"  # a property that an image has as long as it is imported, since Glance 21


class ImportMethod(StrEnum):
    """How data get into a Glance."""

    DIRECT = "direct"  # uploaded as they are
    GLANCE_DIRECT = "glance-direct"  # staged, then imported by the Glance, which may convert them


def require_import(api: GlanceApi, method: ImportMethod) -> None:
    """Raises UsageError unless the Glance takes data by `method`."""
    if method is ImportMethod.DIRECT:
        return
    try:
        told = api.about("/v2/info/import").get("import-methods")
    except NotFoundError:
        told = None
    known = told.get("value") if isinstance(told, dict) else None
    if not isinstance(known, list) or method not in known:
        listed = ", ".join(map(str, known or ())) or "none"
        raise UsageError(f"--import-method {method}: {api.label} does not take it; import methods there: {listed}")


def is_staged(arrival: Arrival, current: Json) -> bool:
    """Whether all data of an image of ours are staged, so that its import can begin, or is under way."""
    return current["status"] == "uploading" and current.get("size") == len(arrival.payload)


def stage_and_import(arrival: Arrival, current: Json) -> Json:
    """The image once it is active. Raises `Verdict`."""
    api, image = arrival.api, arrival.image
    if current["status"] == "queued":
        current = sent(arrival, lambda: api.stage(image.id, arrival.payload), arrival.look)
    if not is_staged(arrival, current):
        staged = current.get("size")
        raise Verdict(Action.FAILED, f"{staged} of {len(arrival.payload)} bytes are staged ({current['status']})")
    try:
        api.import_staged(image.id, store=arrival.store)
    except ConflictError as error:
        log.info("image %s: %s", image, error)  # it is under way already
    return _imported(arrival)


def _imported(arrival: Arrival) -> Json:
    """The image once its import has ended.

    It is active some moments before that: what the Glance saves last would undo all that was changed meanwhile.
    """
    patience = arrival.api.patience
    longest = max(_LEAST, len(arrival.payload) // _SLOWEST)
    waited, locked = 0.0, False
    while True:
        current = arrival.look()
        was_locked, locked = locked, _LOCK in current
        if not locked and (was_locked or current["status"] not in ("uploading", "importing")):
            break
        if waited >= longest:
            reason = f"its import at the target has not ended in {longest} s; the same command looks again"
            raise Verdict(Action.FAILED, reason)
        patience.sleep(patience.interval)
        waited += patience.interval
        if waited % _REMIND < patience.interval:
            log.warning("image %s: the target is importing it, for %d s now", arrival.image, waited)
    if current["status"] != "active":
        raise _failed(arrival, current)
    return current


def _failed(arrival: Arrival, current: Json) -> Verdict:
    return given_up(arrival, f"the target could not import it, and left it {current['status']}{_message(arrival)}")


def _message(arrival: Arrival) -> str:
    """What the Glance says of the import, where it does."""
    try:
        tasks: Any = arrival.api.about(f"/v2/images/{arrival.image.id}/tasks").get("tasks")
        return f": {tasks[-1]['message']}"
    except (ServerError, LookupError, TypeError):
        return ""


def conversion(arrival: Arrival, current: Json) -> str:
    """What the Glance has made of the data that were sent, "" when they seem to be as they were.

    Raises `Verdict` where what it made cannot be right.
    """
    original = arrival.image.metadata
    changes = policy.reformatted(arrival.image, current)
    if current.get("size") != len(arrival.payload):
        changes.append(f"{len(arrival.payload)} bytes to {current.get('size')}")
    length = original.get("virtual_size")
    became_raw = current.get("disk_format") == "raw" != original.get("disk_format")
    if became_raw and isinstance(length, int) and length not in (0, current.get("size")):
        reason = f"the target has converted it to {current.get('size')} bytes, and its virtual size is {length}"
        raise Verdict(Action.FAILED, f"{reason}; it stays private there, under the property {policy.MARK}")
    return ", ".join(changes)


def converted_reason(changes: str) -> str:
    """What is said of an image that the target has converted, by what `conversion` said."""
    return f"the target has converted it: {changes}; all bytes were staged, the result is not comparable"
