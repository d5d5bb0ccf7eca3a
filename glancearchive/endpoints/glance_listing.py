"""What a Glance has, as of the beginning of a load: so that images which are there need no request each.

What it says may be out of date. It is good enough to report that an image is there, and to know where to look; whatever
changes something is decided on a fresh look.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import islice

from glancearchive.endpoints import policy
from glancearchive.endpoints.agreement import compare_data
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.image_list import PAGE, Json
from glancearchive.errors import AccessError, ConnectError, NotGlanceError, ServerError
from glancearchive.image import Image

log = logging.getLogger("glancearchive")


@dataclass(slots=True)
class Listing:
    """`images` are those of the target that a load may have to do with, by id.

    `successors` are those that got another id, the oldest first, by the one they had.
    `complete`: what is not in here was not there, as far as the caller may see.
    """

    images: dict[str, Json] = field(default_factory=dict)
    successors: dict[str, list[Json]] = field(default_factory=dict)
    complete: bool = False

    def has(self, image: Image) -> bool:
        """Whether `image` seems to be there under its own id, whole or begun by a load."""
        current = self.images.get(image.id)
        return current is not None and _may_be(current, image)

    def heirs(self, image: Image) -> list[str]:
        """The ids under which `image` seems to be there, other than its own.

        Nova copies properties to snapshots, and so not everything that tells of its id is the image.
        """
        found = self.successors.get(image.id, ())
        return [heir["id"] for heir in found if heir["id"] != image.id and _may_be(heir, image)]


def _may_be(current: Json, image: Image) -> bool:
    """Whether nothing that the target says of its `current` image speaks against its being `image`."""
    if policy.is_ours(current, replace(image, metadata={**image.metadata, "id": current["id"]})):
        return True
    if policy.MARK in current or not (current["status"] in ("active", "deactivated") or image.absent):
        return False
    return policy.is_converted(current, image) or not compare_data(Image(current), image, None).difference


def take_listing(api: GlanceApi, interesting: Collection[str], *, needed: bool) -> Listing:
    """List what `api` has of the images `interesting`, and what has become of them under other ids.

    Unless the whole of it is `needed`, no more requests are made than it takes to ask for each of these. Then a listing
    that fails, or leads back to itself, is no reason to give up either.
    """
    found = Listing()
    doubts: list[str] = []
    images = api.images(doubts)
    try:
        for image in images if needed else islice(images, PAGE * len(interesting)):
            if not isinstance(image.get("status"), str):
                continue
            if image["id"] in interesting:
                found.images[image["id"]] = image
            origin = str(image.get(policy.SOURCE_ID))
            if origin in interesting:
                found.images[image["id"]] = image
                found.successors.setdefault(origin, []).append(image)
        found.complete = next(images, None) is None and not doubts
        if needed and doubts:
            raise NotGlanceError(doubts[0])
    except ServerError as error:
        if needed or isinstance(error, ConnectError) or (isinstance(error, AccessError) and error.status == 401):
            raise
        log.warning("%s; each image is looked up by itself", error)
    return found
