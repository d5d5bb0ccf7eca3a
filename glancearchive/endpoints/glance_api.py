"""The calls of Glance's API v2 that a transfer needs, one method each, over raw JSON.

openstacksdk's image objects are not used, since they are lossy ("04" becomes 4,
"yes" becomes True). Every call but the transfer of data is repeatable, and is
repeated with `Patience` while the server is in trouble.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import requests

from glancearchive.endpoints.cloud import Body, Cloud
from glancearchive.endpoints.retry import Patience
from glancearchive.errors import AccessError, NoDataError, NotFoundError, NotGlanceError, RefusedError, StreamError

Json = dict[str, Any]

PAGE = 1000
"""Images asked for at once: the most that a default Glance gives."""

_PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
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


@dataclass(frozen=True, slots=True)
class Download:
    """The data of an image as they arrive.

    `start` is the byte of the image that `pieces` begin with, whatever was
    asked for, and where they end is for the caller to see; `total` is the size
    of the whole image as this answer announces it, None when it does not.
    """

    start: int
    total: int | None
    pieces: Iterator[bytes]
    response: requests.Response

    def close(self) -> None:
        self.response.close()


class GlanceApi:
    """A thin client. Errors are those of `Cloud.request`; usable from several threads at once."""

    def __init__(self, cloud: Cloud, patience: Patience | None = None) -> None:
        self.cloud = cloud
        self.patience = patience or Patience()
        self.label = cloud.label

    def images(self, **properties: str) -> Iterator[Json]:
        """Every image the caller may see, hidden ones and all pages included, once each, oldest first.

        With `properties`, only those that have these values.
        Images that are created or deleted meanwhile may or may not be among them; no other is missed.
        """
        seen: set[str] = set()
        for views in _VIEWS:
            # Only as a second listing: to a Glance older than Rocky "os_hidden" is a property that no image has.
            hidden = [{**view, "os_hidden": "true"} for view in views]
            try:
                listings = [self._listing({**view, **properties}) for view in (*views, *hidden)]
                for image in heapq.merge(*listings, key=lambda image: str(image.get("created_at"))):
                    if image["id"] not in seen:
                        seen.add(image["id"])
                        yield image
                return
            except RefusedError:
                if seen or views is _VIEWS[-1]:
                    raise

    def _listing(self, query: Mapping[str, str]) -> Iterator[Json]:
        """The images of one query. The marker is our own: the server's "next" link loses repeated parameters."""
        trail: list[str] = []  # candidates for the marker: an image may be deleted while we turn the page
        lost = 0
        seen: set[str] = set()
        while True:
            params = {**query, "limit": str(PAGE), **({"marker": trail[-1]} if trail else {})}
            try:
                page = self._json("listing images", "GET", "/v2/images", params=params)
            except (RefusedError, NotFoundError):
                lost += 1
                if not trail or lost > _LOST_MARKERS:
                    raise
                trail.pop()
                continue
            images = _objects(page.get("images"), "id", "listing images")
            fresh = [image for image in images if image["id"] not in seen]
            yield from fresh
            seen.update(image["id"] for image in fresh)
            if not fresh or not (page.get("next") or len(images) >= PAGE):
                return
            trail = [*trail, *(image["id"] for image in images)][-PAGE:]

    def get(self, image_id: str) -> Json:
        """The image's metadata, `id` and `status` among them."""
        return self._image(f"looking up image {image_id}", "GET", _path(image_id))

    def find(self, image_id: str) -> Json | None:
        """The image's metadata, None when there is no such image, or none that the caller may see."""
        try:
            return self.get(image_id)
        except NotFoundError:
            return None

    def about(self, path: str) -> Json:
        """What the Glance says of itself at `path`: ``/v2/info/…`` and ``/v2/schemas/…``."""
        return self._json(f"asking for {path}", "GET", path)

    def knows_id(self, image_id: str) -> bool:
        """Whether an image has or had this id, as far as a listing from there on tells: it only reads.

        To an admin Glance lists from a deleted image on as well; to others it answers 403 where another project has the
        id, and does not know a deleted one (``glance/db/sqlalchemy/api.py``: ``image_get_all``, ``_image_get``).
        """
        try:
            self._json(f"looking for the id {image_id}", "GET", "/v2/images", params={"marker": image_id, "limit": "1"})
        except (RefusedError, NotFoundError):
            return False
        except AccessError as error:
            if error.status == 401:
                raise
        return True

    def unchanged_for(self, image_id: str) -> float:
        """Seconds since the image was last changed, all by the server's own clock; 0.0 where it does not say."""
        response = self._call(f"looking up image {image_id}", "GET", _path(image_id))
        try:
            changed = datetime.fromisoformat(response.json()["updated_at"])
            return (parsedate_to_datetime(response.headers["Date"]) - changed).total_seconds()
        except (LookupError, TypeError, ValueError):
            return 0.0

    def members(self, image_id: str) -> list[Json]:
        """Who a shared image is shared with, as far as the caller may know. Other images have none: 403."""
        doing = f"listing the members of image {image_id}"
        return _objects(self._json(doing, "GET", _path(image_id, "members")).get("members"), "member_id", doing)

    def known_members(self, image: Json) -> list[Json] | None:
        """The members of `image` as far as the caller may know: [] unless it is shared, None for no answer."""
        if image.get("visibility") != "shared":
            return []
        try:
            return self.members(image["id"])
        except NotFoundError:
            return None  # deleted meanwhile, or not for us to know
        except AccessError as error:
            if error.status == 401:
                raise
            return None

    def download(self, image_id: str, offset: int = 0, end: int | None = None) -> Download:
        """Begin to read the image's data, once; from `offset` on, up to `end`, if the server will: see `Download`.

        A store that cannot serve ranges answers 400 (`RefusedError`).
        Raises `NoDataError` when the server says that the data are missing.
        """
        doing = f"reading image {image_id} from byte {offset}"
        # A compressed transfer would change the bytes that are counted and hashed.
        headers = {"Accept": "application/octet-stream, application/json;q=0.9", "Accept-Encoding": "identity"}
        if offset or end is not None:
            headers["Range"] = f"bytes={offset}-{'' if end is None else end - 1}"
        response = self.cloud.request(doing, "GET", _path(image_id, "file"), headers=headers, stream=True)
        if response.status_code == 204:
            response.close()
            raise NoDataError(
                f"{doing}: 204: the server has lost the data of this image",
                status=204,
                request_id=response.headers.get("x-openstack-request-id", ""),
            )
        try:
            start, total = _extent(response, doing, end)
        except StreamError:
            response.close()
            raise
        return Download(start, total, self.cloud.pieces(response), response)

    def create(self, body: Mapping[str, Any]) -> Json:
        """Create an image without data. 409: the id is taken, visibly or not, or was once."""
        return self._image(f"creating image {body.get('id', '')}", "POST", "/v2/images", body)

    def upload(self, image_id: str, body: Body, *, store: str = "") -> None:
        """Upload `body` as the image's data, once. See `Cloud.send`; never chunked, the size is declared.

        Into `store`, or the Glance's default one.
        """
        headers = {"Content-Type": "application/octet-stream", "x-openstack-image-size": str(len(body))}
        if store:
            headers["X-Image-Meta-Store"] = store
        self.cloud.send(f"uploading image {image_id}", _path(image_id, "file"), body, headers)

    def stage(self, image_id: str, body: Body) -> None:
        """Put `body` where the Glance imports it from, once; as `upload`."""
        headers = {"Content-Type": "application/octet-stream", "x-openstack-image-size": str(len(body))}
        self.cloud.send(f"staging image {image_id}", _path(image_id, "stage"), body, headers)

    def import_staged(self, image_id: str, *, store: str = "") -> None:
        """Have what was staged imported, into `store` or the default one. 409: it is under way, or nothing is there."""
        body = {"method": {"name": "glance-direct"}, **({"stores": [store]} if store else {})}
        self._call(f"importing image {image_id}", "POST", _path(image_id, "import"), body)

    def patch(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Change metadata: all of `operations`, or none."""
        return self._image(f"updating image {image_id}", "PATCH", _path(image_id), list(operations), kind=_PATCH_TYPE)

    def add_member(self, image_id: str, project: str) -> None:
        """Share the image with a project, which then has to accept it. 409: it is shared with it already."""
        doing = f"sharing image {image_id} with {project}"
        self._json(doing, "POST", _path(image_id, "members"), {"member": project})

    def set_member_status(self, image_id: str, project: str, status: str) -> None:
        """Only the member itself or an admin may."""
        doing = f"setting the membership of {project} in image {image_id} to {status}"
        self._json(doing, "PUT", _path(image_id, "members", project), {"status": status})

    def remove_member(self, image_id: str, project: str) -> None:
        """Stop sharing the image with a project."""
        doing = f"ending the sharing of image {image_id} with {project}"
        self._call(doing, "DELETE", _path(image_id, "members", project))

    def deactivate(self, image_id: str) -> None:
        """Stop anybody but admins from reading the image's data."""
        self._call(f"deactivating image {image_id}", "POST", _path(image_id, "actions", "deactivate"))

    def delete(self, image_id: str) -> None:
        """Delete the image. Its id cannot be used again until the operator purges the database."""
        self._call(f"deleting image {image_id}", "DELETE", _path(image_id))

    def ask(
        self,
        doing: str,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
    ) -> Json:
        """The JSON object that answers a request which may be repeated; `doing` begins every message."""
        return self._json(doing, method, path, body, params=params)

    def tell(self, doing: str, method: str, path: str) -> None:
        """The same for a request without an answer."""
        self._call(doing, method, path)

    def _image(self, doing: str, method: str, path: str, body: object = None, **options: Any) -> Json:
        answer = self._json(doing, method, path, body, **options)
        if not (isinstance(answer.get("id"), str) and isinstance(answer.get("status"), str)):
            raise NotGlanceError(f"{doing}: the answer is no image")
        return answer

    def _json(
        self,
        doing: str,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> Json:
        response = self._call(doing, method, path, body, params=params, kind=kind)
        try:
            answer = response.json()
        except requests.exceptions.JSONDecodeError:
            raise NotGlanceError(f"{doing}: the answer is no JSON", status=response.status_code) from None
        if not isinstance(answer, dict):
            raise NotGlanceError(f"{doing}: the answer is no JSON object", status=response.status_code)
        return answer

    def _call(
        self,
        doing: str,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> requests.Response:
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {} if body is None else {"Content-Type": kind}
        return self.patience.run(
            lambda: self.cloud.request(doing, method, path, params=params, headers=headers, body=data)
        )


def _path(image_id: str, *more: str) -> str:
    """A path below the image; ids come from archives too, and may be anything."""
    return "/".join(["/v2/images", *(quote(part, safe="") for part in (image_id, *more))])


def _objects(answer: object, key: str, doing: str) -> list[Json]:
    """A list of JSON objects that each have a string under `key`."""
    if not isinstance(answer, list) or not all(
        isinstance(item, dict) and isinstance(item.get(key), str) for item in answer
    ):
        raise NotGlanceError(f"{doing}: the answer is not what a Glance gives")
    return answer


def _extent(response: requests.Response, doing: str, end: int | None) -> tuple[int, int | None]:
    """Where the data of `response` begin in the image and how long the image is; the status line alone proves nothing.

    Up to `end` was asked for, None for all.
    Some servers send the whole image under a 206: then its Content-Length gives it away, or nothing but the data do.
    """
    text = response.headers.get("Content-Length", "")
    length = int(text) if text.isdecimal() else None
    if response.status_code != 206:
        return 0, length
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", "").strip())
    if not found:
        raise StreamError(f"{doing}: 206 without a usable Content-Range", status=206)
    begin, last, total = map(int, found.groups())
    if length in (None, last - begin + 1) and last + 1 in (total, end):
        return begin, total
    if length == total:
        return 0, total
    raise StreamError(f"{doing}: 206 with bytes {begin}-{last} of {total} in a body of {length} bytes", status=206)
