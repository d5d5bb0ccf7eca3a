"""Loads the images of a source into a Glance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.glance_import import ImportMethod
from glancearchive.endpoints.glance_listing import Listing, take_listing
from glancearchive.endpoints.glance_target import GlanceTarget
from glancearchive.endpoints.ids import Ids
from glancearchive.endpoints.journal import Journal
from glancearchive.endpoints.references import references
from glancearchive.format.packedmaps import PackedMaps
from glancearchive.image import Buffer, Image, Outcome, Progress, Source, Target
from glancearchive.operations.transfer import Stop, transfer

_NONE: Mapping[str, Any] = {}


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
    method: ImportMethod = ImportMethod.DIRECT,
    stop: Stop | None = None,
    checked: Callable[[], None] | None = None,
) -> Iterator[Outcome]:
    """Copy every image of `source` into the Glance behind `api`; yields outcomes as they are known.

    `ids` decides under which ids, and knows afterwards; data go into `store`, or the default one, by `method`. Raises
    UsageError when `ids` make no sense for these images, before anything is done; otherwise what `transfer` raises.
    `checked` is called once that is known, before the first image is transferred.
    """
    ids = ids or Ids()

    def target(listing: Listing) -> Target:
        return GlanceTarget(
            api, update_metadata=update_metadata, ids=ids, listing=listing, journal=journal, store=store, method=method
        )

    yield from received(source, api, ids, target, progress=progress, jobs=jobs, stop=stop, checked=checked)


def received(
    source: Source,
    api: GlanceApi,
    ids: Ids,
    target_for: Callable[[Listing], Target],
    *,
    progress: Progress,
    jobs: int,
    stop: Stop | None,
    checked: Callable[[], None] | None,
) -> Iterator[Outcome]:
    """What `load` does, with another target perhaps: that for what the Glance has of the images of `source`."""
    listing, parts = _survey(source, api, ids)
    target = target_for(listing)
    if checked:
        checked()
    for part in parts:
        yield from transfer(part, target, progress=progress, jobs=jobs, stop=stop)


def _survey(source: Source, api: GlanceApi, ids: Ids) -> tuple[Listing, list[_Part]]:
    """What the Glance has of the images of `source`, and these in the parts in which they are to be loaded.

    Raises UsageError when `ids` make no sense for these images.
    """
    images = _Images(source.images())
    ids.check(images)
    interesting = set(images.ids)
    if ids.may_renew:
        interesting.update(*(references(image.metadata) for image in images))
    listing = take_listing(api, interesting, needed=ids.may_renew)
    return listing, [_Part(source, images, part) for part in (_in_order(images) if ids.may_renew else [images.ids])]


class _Images:
    """The images of a source, in its order. There may be very many: their metadata are kept encoded."""

    def __init__(self, images: Iterable[Image]) -> None:
        self._metadata = PackedMaps()
        self._images: dict[str, tuple[Image, int]] = {}  # without metadata, and their number in `_metadata`
        for image in images:
            packed = json.dumps(image.metadata, default=dict).encode()
            self._images[image.id] = replace(image, metadata=_NONE), self._metadata.add(packed)

    @property
    def ids(self) -> list[str]:
        return list(self._images)

    def __getitem__(self, image_id: str) -> Image:
        image, number = self._images[image_id]
        return replace(image, metadata=json.loads(self._metadata[number]))

    def __iter__(self) -> Iterator[Image]:
        return map(self.__getitem__, self._images)


class _Part:
    """Some images of a source, by their ids."""

    def __init__(self, source: Source, images: _Images, ids: Sequence[str]) -> None:
        self._source = source
        self._images = images
        self._ids = ids
        self.label = source.label

    def images(self) -> Iterator[Image]:
        return map(self._images.__getitem__, self._ids)

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        return self._source.read(image, offset)


def _in_order(images: _Images) -> Iterator[list[str]]:
    """The images in parts, by id, so that those which others refer to are in an earlier one and have theirs by then."""
    known = set(images.ids)
    order = TopologicalSorter({image.id: (references(image.metadata) & known) - {image.id} for image in images})
    try:
        order.prepare()
    except CycleError:
        yield images.ids
        return
    while order.is_active():
        part = order.get_ready()
        yield list(part)
        order.done(*part)
