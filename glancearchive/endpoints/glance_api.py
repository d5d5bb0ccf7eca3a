"""The calls of Glance's API v2 that a transfer needs, one method each, over raw JSON.

openstacksdk's image objects are not used, since they are lossy ("04" becomes 4,
"yes" becomes True). Every call but the transfer of data is repeatable, and is
repeated with `Patience` while the server is in trouble.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import requests

from glancearchive.endpoints.cloud import Body, Cloud
from glancearchive.endpoints.download import Download, begin_download
from glancearchive.endpoints.image_list import Json, all_images, objects
from glancearchive.endpoints.responses import document
from glancearchive.endpoints.retry import Patience
from glancearchive.errors import AccessError, NotFoundError, NotGlanceError, RefusedError

_JSON = "application/json"
_PATCH_TYPE = "application/openstack-images-v2.1-json-patch"


class GlanceApi:
    """A thin client. Errors are those of `Cloud.request`; usable from several threads at once."""

    def __init__(self, cloud: Cloud, patience: Patience | None = None) -> None:
        self.cloud = cloud
        self.patience = patience or Patience()
        self.label = cloud.label

    def images(self, doubts: list[str] | None = None, /, **properties: str) -> Iterator[Json]:
        """Every image the caller may see, hidden ones and all pages included, once each, oldest first.

        With `properties`, only those that have these values. `doubts` gets a line where the server leaves it
        open whether these are all.
        Images that are created or deleted meanwhile may or may not be among them; no other is missed.
        """
        return all_images(self.ask, properties, [] if doubts is None else doubts)

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
        return self.ask(f"asking for {path}", "GET", path)

    def knows_id(self, image_id: str) -> bool:
        """Whether an image has or had this id, as far as a listing from there on tells: it only reads.

        To an admin Glance lists from a deleted image on as well; to others it answers 403 where another project has the
        id, and does not know a deleted one (``glance/db/sqlalchemy/api.py``: ``image_get_all``, ``_image_get``).
        """
        try:
            self.ask(f"looking for the id {image_id}", "GET", "/v2/images", params={"marker": image_id, "limit": "1"})
        except (RefusedError, NotFoundError):
            return False
        except AccessError as error:
            if error.status == 401:
                raise
        return True

    def unchanged_for(self, image_id: str) -> float:
        """Seconds since the image was last changed, all by the server's own clock; 0.0 where it does not say."""
        response = self.tell(f"looking up image {image_id}", "GET", _path(image_id))
        try:
            changed = datetime.fromisoformat(document(response)["updated_at"])
            return (parsedate_to_datetime(response.headers["Date"]) - changed).total_seconds()
        except (LookupError, TypeError, ValueError):
            return 0.0

    def members(self, image_id: str) -> list[Json]:
        """Who a shared image is shared with, as far as the caller may know. Other images have none: 403."""
        doing = f"listing the members of image {image_id}"
        return objects(self.ask(doing, "GET", _path(image_id, "members")).get("members"), "member_id", doing)

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
        return begin_download(self.cloud, _path(image_id, "file"), image_id, offset, end)

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
        self.tell(f"importing image {image_id}", "POST", _path(image_id, "import"), body)

    def patch(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Change metadata: all of `operations`, or none."""
        return self._image(f"updating image {image_id}", "PATCH", _path(image_id), list(operations), kind=_PATCH_TYPE)

    def add_member(self, image_id: str, project: str) -> None:
        """Share the image with a project, which then has to accept it. 409: it is shared with it already."""
        doing = f"sharing image {image_id} with {project}"
        self.ask(doing, "POST", _path(image_id, "members"), {"member": project})

    def set_member_status(self, image_id: str, project: str, status: str) -> None:
        """Only the member itself or an admin may."""
        doing = f"setting the membership of {project} in image {image_id} to {status}"
        self.ask(doing, "PUT", _path(image_id, "members", project), {"status": status})

    def remove_member(self, image_id: str, project: str) -> None:
        """Stop sharing the image with a project."""
        doing = f"ending the sharing of image {image_id} with {project}"
        self.tell(doing, "DELETE", _path(image_id, "members", project))

    def deactivate(self, image_id: str) -> None:
        """Stop anybody but admins from reading the image's data."""
        self.tell(f"deactivating image {image_id}", "POST", _path(image_id, "actions", "deactivate"))

    def delete(self, image_id: str) -> None:
        """Delete the image. Its id cannot be used again until the operator purges the database."""
        self.tell(f"deleting image {image_id}", "DELETE", _path(image_id))

    def ask(
        self,
        doing: str,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str] | None = None,
        kind: str = _JSON,
    ) -> Json:
        """The JSON object that answers a request which may be repeated; `doing` begins every message.

        `body` is what JSON is made of, and `kind` what to call it.
        """
        response = self.tell(doing, method, path, body, params=params, kind=kind)
        try:
            answer = document(response)
        except ValueError:
            raise NotGlanceError(f"{doing}: the answer is no JSON", status=response.status_code) from None
        if not isinstance(answer, dict):
            raise NotGlanceError(f"{doing}: the answer is no JSON object", status=response.status_code)
        return answer

    def tell(
        self,
        doing: str,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str] | None = None,
        kind: str = _JSON,
    ) -> requests.Response:
        """As `ask`, for a request whose answer need not be JSON."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {} if body is None else {"Content-Type": kind}
        return self.patience.run(
            lambda: self.cloud.request(doing, method, path, params=params, headers=headers, body=data)
        )

    def _image(self, doing: str, method: str, path: str, body: object = None, **options: Any) -> Json:
        answer = self.ask(doing, method, path, body, **options)
        if not (isinstance(answer.get("id"), str) and isinstance(answer.get("status"), str)):
            raise NotGlanceError(f"{doing}: the answer is no image")
        return answer


def _path(image_id: str, *more: str) -> str:
    """A path below the image; ids come from archives too, and may be anything."""
    return "/".join(["/v2/images", *(quote(part, safe="") for part in (image_id, *more))])
