"""Creating an image in a Glance, once it is known that there are data, and data that the Glance will take."""

from __future__ import annotations

import logging

from glancearchive.endpoints import image_format, policy
from glancearchive.endpoints.arrival import BURNT, Arrival, Verdict
from glancearchive.endpoints.glance_trial import accepted_on_trial
from glancearchive.endpoints.image_list import Json
from glancearchive.errors import AccessError, ConflictError, RefusedError, UnavailableError
from glancearchive.image import Action

log = logging.getLogger("glancearchive")


def create(arrival: Arrival) -> Json:
    """The image as it was created, private and marked; or as it is there, when it was there after all."""
    _examine(arrival)
    image = arrival.image
    mark = policy.mark_for(image, with_data=not image.absent or policy.is_empty(image))
    try:
        try:
            return arrival.api.create(policy.creation_body(image, mark))
        except (AccessError, RefusedError, UnavailableError) as error:
            # 500 is how a database says that it cannot hold a name.
            if error.status == 401 or (isinstance(error, UnavailableError) and error.status != 500):
                raise
            log.info("%s; trying with less", error)
            return arrival.api.create(policy.creation_body(image, mark, bare=True))
    except ConflictError as error:
        current = arrival.api.find(image.id)
        if current is None:
            raise Verdict(
                Action.CONFLICT,
                f"the target has no such image to see, but refuses its id ({error.message}): either it was deleted "
                f"there, and {BURNT}, or it belongs to another project",
                elsewhere=True,
            ) from error
        return current


def _examine(arrival: Arrival) -> None:
    """See that there are data, and data that the Glance will not refuse, before an id is spent on them."""
    image = arrival.image
    if image.absent:
        return
    head = arrival.payload.head(image_format.HEAD)
    disk_format = str(image.metadata.get("disk_format") or "")
    container_format = str(image.metadata.get("container_format") or "")
    doubt = image_format.refusal(disk_format, container_format, head, whole=len(head) == len(arrival.payload))
    if doubt and not accepted_on_trial(arrival, head):
        raise Verdict(Action.FAILED, f"the target would refuse this image: {doubt}; nothing was created")
