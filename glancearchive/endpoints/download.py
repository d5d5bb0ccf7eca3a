"""The data of an image as a Glance sends them: where they begin, and how many there should be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import requests

from glancearchive.endpoints.cloud import Cloud
from glancearchive.errors import NoDataError, StreamError
from glancearchive.image import Buffer


@dataclass(frozen=True, slots=True)
class Download:
    """The data of an image as they arrive.

    `start` is the byte of the image that `pieces` begin with, whatever was
    asked for, and where they end is for the caller to see; `total` is the size
    of the whole image as this answer announces it, None when it does not.
    """

    start: int
    total: int | None
    pieces: Iterator[Buffer]
    response: requests.Response

    def close(self) -> None:
        self.response.close()


def begin_download(cloud: Cloud, path: str, image_id: str, offset: int, end: int | None) -> Download:
    """As `GlanceApi.download`, of the data at `path`."""
    doing = f"reading image {image_id} from byte {offset}"
    # A compressed transfer would change the bytes that are counted and hashed.
    headers = {"Accept": "application/octet-stream, application/json;q=0.9", "Accept-Encoding": "identity"}
    if offset or end is not None:
        headers["Range"] = f"bytes={offset}-{'' if end is None else end - 1}"
    response = cloud.request(doing, "GET", path, headers=headers, stream=True)
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
    return Download(start, total, cloud.pieces(response), response)


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
