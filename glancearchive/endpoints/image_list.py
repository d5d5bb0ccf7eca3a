"""The list of all images of a Glance, old or new, in pages that images are added to and deleted from meanwhile."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from glancearchive.errors import NotFoundError, NotGlanceError, RefusedError

Json = dict[str, Any]

Ask = Callable[..., Json]
"""As `GlanceApi.ask`."""

PAGE = 1000
"""Images asked for at once: the most that a default Glance gives."""

_LOST_MARKERS = 50  # images deleted under our feet during one listing, before it is given up

# Each is tried when the server refuses the one before: Glance since Stein, since Ocata, and older.
_VIEWS: tuple[tuple[Mapping[str, str], ...], ...] = (
    ({"sort": "created_at:asc,id:asc", "visibility": "all", "member_status": "all"},),
    (
        {"sort": "created_at:asc,id:asc", "member_status": "all"},
        {"sort": "created_at:asc,id:asc", "member_status": "all", "visibility": "community"},
    ),
    ({},),
)


def all_images(ask: Ask, properties: Mapping[str, str], doubts: list[str]) -> Iterator[Json]:
    """As `GlanceApi.images`; `ask` is its `ask`."""
    seen: set[str] = set()
    for views in _VIEWS:
        # Only as a second listing: to a Glance older than Rocky "os_hidden" is a property that no image has.
        hidden = [{**view, "os_hidden": "true"} for view in views]
        try:
            listings = [_listing(ask, {**view, **properties}, doubts) for view in (*views, *hidden)]
            for image in heapq.merge(*listings, key=lambda image: str(image.get("created_at"))):
                if image["id"] not in seen:
                    seen.add(image["id"])
                    yield image
            return
        except RefusedError:
            if seen or views is _VIEWS[-1]:
                raise


def _listing(ask: Ask, query: Mapping[str, str], doubts: list[str]) -> Iterator[Json]:
    """The images of one query. The marker is our own: the server's "next" link loses repeated parameters."""
    trail: list[str] = []  # candidates for the marker: an image may be deleted while we turn the page
    lost = 0
    seen: set[str] = set()
    turned: set[str] = set()  # markers that a page was got by
    while True:
        params = {**query, "limit": str(PAGE), **({"marker": trail[-1]} if trail else {})}
        try:
            page = ask("listing images", "GET", "/v2/images", params=params)
        except (RefusedError, NotFoundError):
            lost += 1
            if not trail or lost > _LOST_MARKERS:
                raise
            trail.pop()
            continue
        images = objects(page.get("images"), "id", "listing images")
        fresh = [image for image in images if image["id"] not in seen]
        yield from fresh
        seen.update(image["id"] for image in fresh)
        turned.update(trail[-1:])
        if not images or not (page.get("next") or len(images) >= PAGE):
            return
        if images[-1]["id"] in turned:
            where = f"listing images: after image {images[-1]['id']}"
            doubt = f"{where} the same ones come again; whether these are all is not known"
            if doubt not in doubts:
                doubts.append(doubt)
            return
        trail = [*trail, *(image["id"] for image in images)][-PAGE:]


def objects(answer: object, key: str, doing: str) -> list[Json]:
    """A list of JSON objects that each have a string under `key`."""
    if not isinstance(answer, list) or not all(
        isinstance(item, dict) and isinstance(item.get(key), str) for item in answer
    ):
        raise NotGlanceError(f"{doing}: the answer is not what a Glance gives")
    return answer
