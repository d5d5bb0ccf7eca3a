"""Loads the images of a source into a Glance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.glance_listing import Listing, take_listing
from glancearchive.endpoints.glance_target import GlanceTarget
from glancearchive.endpoints.ids import Ids
from glancearchive.endpoints.journal import Journal
from glancearchive.endpoints.references import references
from glancearchive.image import Buffer, Image, Outcome, Progress, Source
from glancearchive.operations.transfer import Stop, transfer


def load(
    source: Source,
    api: GlanceApi,
    *,
    progress: Progress,
    jobs: int = 2,
    update_metadata: bool = False,
    ids: Ids | None = None,
    journal: Journal | None = None,
    store: str = "",
    stop: Stop | None = None,
) -> Iterator[Outcome]:
    """Copy every image of `source` into the Glance behind `api`; yields outcomes as they are known.

    `ids` decides under which ids, and knows afterwards; data go into `store`, or the default one. Raises UsageError
    when `ids` make no sense for these images, before anything is done; otherwise what `transfer` raises.
    """
    ids = ids or Ids()
    listing, parts = survey(source, api, ids)
    target = GlanceTarget(api, update_metadata=update_metadata, ids=ids, listing=listing, journal=journal, store=store)
    for part in parts:
        yield from transfer(part, target, progress=progress, jobs=jobs, stop=stop)


def survey(source: Source, api: GlanceApi, ids: Ids) -> tuple[Listing, list[Part]]:
    """What the Glance has of the images of `source`, and these in the parts in which they are to be loaded.

    Raises UsageError when `ids` make no sense for these images.
    """
    images = list(source.images())
    ids.check(images)
    interesting = {image.id for image in images}
    if ids.may_renew:
        interesting.update(*(references(image.metadata) for image in images))
    listing = take_listing(api, interesting, needed=ids.may_renew)
    return listing, [Part(source, part) for part in (_in_order(images) if ids.may_renew else [images])]


class Part:
    """Some images of a source."""

    def __init__(self, source: Source, images: Sequence[Image]) -> None:
        self._source = source
        self._images = images
        self.label = source.label

    def images(self) -> Iterator[Image]:
        yield from self._images

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        return self._source.read(image, offset)


def _in_order(images: Sequence[Image]) -> Iterator[list[Image]]:
    """The images in parts, so that those which others refer to are in an earlier one: their ids are known by then."""
    known = {image.id: image for image in images}
    order = TopologicalSorter({image.id: (references(image.metadata) & known.keys()) - {image.id} for image in images})
    try:
        order.prepare()
    except CycleError:
        yield list(images)
        return
    while order.is_active():
        part = order.get_ready()
        yield [known[image_id] for image_id in part]
        order.done(*part)
