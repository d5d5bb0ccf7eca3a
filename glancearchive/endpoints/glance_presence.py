"""An image that is at the target already: whether it is the same one, and what its metadata lack."""

from __future__ import annotations

from dataclasses import replace

from glancearchive.endpoints import policy
from glancearchive.endpoints.agreement import Agreement
from glancearchive.endpoints.arrival import Arrival, Verdict
from glancearchive.endpoints.glance_metadata import Metadata
from glancearchive.endpoints.image_list import Json
from glancearchive.image import Action, Outcome, absence


def present(arrival: Arrival, current: Json, *, update: bool) -> Outcome:
    """The outcome for an image that is there, and is not ours to load; `update` brings its metadata into line.

    Raises `Verdict` where it is another one.
    """
    if policy.is_converted(current, arrival.image):
        return _converted(arrival, current, update=update)
    agreement = _same(arrival, current)
    action = Action.NO_DATA if arrival.image.absent else Action.PRESENT
    differences = _differences(arrival, current)
    if differences and update:
        Metadata(arrival.api, arrival.image, arrival.dropped).apply(current)
        before, differences = differences, _differences(arrival, arrival.look())
        action = Action.UPDATED if action is Action.PRESENT and differences != before else action
    outcome = arrival.outcome(action, agreement)
    outcome.differences = differences
    return outcome


def _converted(arrival: Arrival, current: Json, *, update: bool) -> Outcome:
    """The outcome for an image that the target has made of this one's data. These cannot be compared, the rest can."""
    expected = replace(arrival, image=policy.as_converted(arrival.image, current))
    differences = _differences(expected, current)
    if differences and update:
        Metadata(expected.api, expected.image, expected.dropped).apply(current)
        differences = _differences(expected, expected.look())
    outcome = expected.outcome(Action.CONVERTED, Agreement())
    outcome.reason = "it is there as the target has converted it, which is not comparable"
    outcome.differences = differences
    return outcome


def _same(arrival: Arrival, current: Json) -> Agreement:
    image, status = arrival.image, current["status"]
    mark = current.get(policy.MARK)
    if mark is not None and str(mark).startswith(f"{image.id} "):
        reason = f"another transfer is loading other data under this id ({mark})"
        raise Verdict(Action.CONFLICT, reason, elsewhere=True)
    if status not in ("active", "deactivated"):
        if not (image.absent and status == "queued"):
            reason = f"the target has an image of this id that is {status}, and not ours"
            raise Verdict(Action.CONFLICT, reason, elsewhere=True)
        return Agreement()
    if image.absent and absence(image.metadata) and not policy.is_empty(image) and not absence(current):
        reason = f"the target has data under this id, {current.get('size')} bytes; the source has none: {image.absent}"
        raise Verdict(Action.CONFLICT, reason, elsewhere=True)
    agreement = arrival.agreement(current, image)
    if agreement.difference:
        reason = f"the target has other data under this id: {agreement.difference}"
        raise Verdict(Action.CONFLICT, reason, elsewhere=True)
    return agreement


def _differences(arrival: Arrival, current: Json) -> list[str]:
    found = policy.differences(current, arrival.image)
    members = arrival.api.known_members(current)
    return found if members is None else found + policy.member_differences(members, arrival.image)
