"""Under which ids images are loaded, and how references follow.

Glance never gives an id away twice: one that was deleted, or that another project has, cannot be had. A new id is made
from the old one and the data, and not at random, so that all loads of an image come to the same one: of two at the same
time, one creates the image and the other finds it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from glancearchive.endpoints import policy
from glancearchive.endpoints.glance_listing import Listing
from glancearchive.endpoints.references import redirected
from glancearchive.errors import UsageError
from glancearchive.image import Image

_NAMESPACE = uuid.UUID("6f1d7c3e-9a52-4d0b-8e64-0d1c9a7be0f5")
_MOST = 16  # new ids for one image: each that is burnt in its turn costs one


class IdPolicy(StrEnum):
    """What happens to an image whose id cannot be had at the target."""

    KEEP = "keep"  # it is not loaded
    NEW = "new"  # it gets another id
    MAP = "map"  # the user says which id it gets


class Ids:
    """Decides the ids of the images of one load, and knows what was decided.

    `mapping` has the id at the target by the id in the archive, None for a new one; other images keep theirs.
    """

    def __init__(self, kind: IdPolicy = IdPolicy.KEEP, mapping: Mapping[str, str | None] | None = None) -> None:
        self._kind = kind
        self._mapping = mapping or {}
        self._settled: dict[str, str] = {}

    def check(self, images: Iterable[Image]) -> None:
        """Raise UsageError where two of all the images of a load would get one id."""
        owners: dict[str, str] = {}
        for image in images:
            place = self._mapping.get(image.id, image.id)
            if place is not None and owners.setdefault(place, image.id) != image.id:
                raise UsageError(f"the map of ids gives {place} to two images: {owners[place]} and {image.id}")

    @property
    def may_renew(self) -> bool:
        """Whether images can get ids that nobody named."""
        return self._kind is IdPolicy.NEW or None in self._mapping.values()

    def advice(self, *, wreck: bool) -> str:
        """What to do about an id that cannot be had; `wreck` as in `Verdict`."""
        if self._kind is not IdPolicy.KEEP:
            return ""
        return f"; --id-policy new {'deletes it and ' if wreck else ''}loads it under another id"

    def renews(self, image: Image) -> bool:
        """Whether `image` gets another id where the one that it should have cannot be had."""
        return self._mapping.get(image.id, image.id) is None or self._kind is IdPolicy.NEW

    def places(self, image: Image, listing: Listing) -> Iterator[str]:
        """The ids to try for `image`, the best first."""
        named = self._mapping.get(image.id, image.id)
        if not self.renews(image):
            assert named is not None
            yield named
            return
        tried = listing.heirs(image)
        if named is not None:
            tried.insert(0 if listing.has(image) else len(tried), named)
        yield from tried
        yield from (fresh for number in range(_MOST) if (fresh := new_id(image, number)) not in tried)

    def translated(self, image: Image, place: str, listing: Listing) -> Image:
        """`image` as it shall be at the target under the id `place`."""
        if self._kind is IdPolicy.KEEP:
            return image
        metadata = redirected(image.metadata, lambda other: self._place_of(other, listing)) | {"id": place}
        if place != image.id:
            metadata[policy.SOURCE_ID] = image.id
        return replace(image, metadata=metadata)

    def settle(self, image: Image, place: str) -> None:
        """`image` is at the target under the id `place`."""
        self._settled[image.id] = place

    @property
    def settled(self) -> dict[str, str]:
        """The id at the target of each image that is there, by the one in the archive."""
        return dict(self._settled)

    def _place_of(self, image_id: str, listing: Listing) -> str:
        """The id at the target of an image that another refers to; as it is when nothing is known of it there."""
        named = self._settled.get(image_id) or self._mapping.get(image_id)
        if named is None and self.may_renew and image_id not in listing.images:
            named = next((heir["id"] for heir in listing.successors.get(image_id, ())), None)
        return named or image_id


def new_id(image: Image, number: int) -> str:
    """The `number`-th new id of `image`, the same for every load."""
    return str(uuid.uuid5(_NAMESPACE, f"{policy.mark_for(image)} {number}"))
