"""From an image of ours that has no data yet to one whose data are known to be right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from glancearchive.endpoints import policy
from glancearchive.endpoints.agreement import Agreement
from glancearchive.endpoints.arrival import BURNT, Arrival, Verdict
from glancearchive.endpoints.image_list import Json
from glancearchive.errors import (
    AccessError,
    ConflictError,
    ConnectError,
    NotFoundError,
    RefusedError,
    ServerError,
    UnavailableError,
)
from glancearchive.image import Action, Image

_GONE = 410
_UNSUPPORTED_MEDIA = 415
_PASSING = ("saving", "uploading", "importing")
_SPOILT = "an earlier upload was refused and left it unusable (queued with a checksum)"
# An upload may be taken for one that died when it has gone on for longer than both.
_SLOWEST = 1 << 20  # bytes a second
_LEAST_AGE = 3600  # seconds


def settled(arrival: Arrival, current: Json, *, begun: bool) -> Json:
    """The image once it is `queued` and fit for an upload, or `active`; waits for what passes by itself.

    `begun` as for `Arrival.look`.
    """
    for _ in arrival.api.patience.ticks():
        if not passes(current):
            break
        current = arrival.look(begun=begun)
    if _is_spoilt(current):
        raise given_up(arrival, _SPOILT, elsewhere=True)
    if verdict := obstacle(arrival, current):
        raise verdict
    return current


def passes(current: Json) -> bool:
    """Whether the image is in a state that ends by itself, unless a server died in it."""
    return current["status"] in _PASSING


def obstacle(arrival: Arrival, current: Json) -> Verdict | None:
    """Why an image of ours can neither be uploaded nor is there, as it is now; it is only looked at."""
    status = current["status"]
    if passes(current):
        return _stuck(arrival, status)
    if _is_spoilt(current):
        return Verdict(Action.FAILED, f"{_SPOILT}; a load deletes it, and {BURNT}", elsewhere=True)
    if status == "killed":
        reason = f"the target's image is {status}; only deleting it helps, after which {BURNT}"
        return Verdict(Action.CONFLICT, reason, elsewhere=True, wreck=True)
    if status not in ("queued", "active", "deactivated"):
        return Verdict(Action.CONFLICT, f"the target's image is {status}", elsewhere=True)
    return None


def _is_spoilt(current: Json) -> bool:
    return current["status"] == "queued" and (bool(current.get("checksum")) or current.get("size") is not None)


def _stuck(arrival: Arrival, status: str) -> Verdict:
    """The verdict on an image that has been in the middle of an upload for all the time that we waited."""
    reason = (
        f"the target's image stays {status}: another load is still at it, or a server died in the middle of an upload, "
        f"and then only deleting it helps, after which {BURNT}"
    )
    longest = max(_LEAST_AGE, len(arrival.payload) // _SLOWEST)
    age = arrival.api.unchanged_for(arrival.image.id)
    if age >= longest:
        return Verdict(Action.FAILED, reason, elsewhere=True, wreck=True)
    reason += f"; --id-policy new does so once it has been so for {longest} seconds; now it is {age:.0f}"
    return Verdict(Action.FAILED, reason)


def sent(arrival: Arrival, send: Callable[[], None], look: Callable[[], Json]) -> Json:
    """Have `send` bring the data of an image that is `queued`, once more whenever that fails in a way that may pass.

    The image as `look` then shows it; it is still `queued` only where the Glance did not keep what it accepted.
    """
    api, failures = arrival.api, 0
    error: ServerError
    while True:
        try:
            send()
        except AccessError as denial:
            if denial.status != 401:
                raise
            api.cloud.forget_token()
            error = denial
        except (ConflictError, ConnectError, UnavailableError) as failure:
            error = failure
        else:
            return look()
        # It may have been received all the same, or another load may be sending it.
        current = look()
        if current["status"] != "queued":
            return current
        failures += 1
        api.patience.pause(failures, error)


def upload(arrival: Arrival, current: Json) -> Json:
    """Upload the data of an image that is `queued`, until it is active or patience ends."""
    api, image = arrival.api, arrival.image
    mark = policy.mark_for(image)
    if current.get(policy.MARK) != mark:
        api.patch(image.id, [{"op": "replace", "path": f"/{policy.MARK}", "value": mark}])

    def send() -> None:
        try:
            api.upload(image.id, arrival.payload, store=arrival.store)
        except RefusedError as refusal:
            if refusal.status == _UNSUPPORTED_MEDIA:
                raise given_up(arrival, refusal.message) from refusal
            if refusal.status != _GONE:
                raise
            # Glance's answer to one of two uploads that begin in the same instant.
            raise ConflictError(refusal.message, status=_GONE, request_id=refusal.request_id) from refusal

    current = sent(arrival, send, lambda: settled(arrival, arrival.look(), begun=True))
    if current["status"] == "queued":
        raise Verdict(Action.FAILED, "the target accepted the data, and yet has none")
    return current


def compared(arrival: Arrival, current: Json) -> Agreement:
    """Compare what the Glance has stored of the data that were sent."""
    image = arrival.image
    expected = replace(image, metadata={**image.metadata, "size": len(arrival.payload)})
    return arrival.agreement(current, expected)


def converted_before(image: Image, current: Json) -> Verdict | None:
    """The verdict on an image of ours that an import has converted, where data are not imported now; None for none."""
    if not (changes := policy.reformatted(image, current)):
        return None
    reason = f"it was converted by an import ({', '.join(changes)}); go on with --import-method glance-direct"
    return Verdict(Action.FAILED, reason)


def verified(arrival: Arrival, current: Json) -> Agreement:
    """Compare what the Glance has stored; wrong data are deleted, but not those that an import has converted."""
    agreement = compared(arrival, current)
    if agreement.difference:
        reason = f"the target stored something else: {agreement.difference}"
        raise converted_before(arrival.image, current) or given_up(arrival, reason)
    return agreement


def given_up(arrival: Arrival, reason: str, *, elsewhere: bool = False) -> Verdict:
    """Delete our image, which must not stay as it is; the verdict."""
    try:
        arrival.api.delete(arrival.image.id)
    except (AccessError, ConflictError, NotFoundError, RefusedError) as error:
        return Verdict(Action.FAILED, f"{reason}; deleting it failed too: {error}")
    return Verdict(Action.FAILED, f"{reason}; it was deleted, and {BURNT}", elsewhere=elsewhere)
