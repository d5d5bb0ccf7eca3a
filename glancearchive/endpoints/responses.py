"""What HTTP responses say: of those that are no success the error that names it, with the server's own words."""

from __future__ import annotations

import html
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import requests

from glancearchive import errors

log = logging.getLogger("glancearchive")

_LONGEST = 300  # characters of a server's message: enough for Glance's, and not a proxy's whole page


def log_answer(response: requests.Response, doing: str) -> None:
    """Note by what the server's operator can find the request; never headers or bodies, which may hold secrets."""
    request_id = response.headers.get("x-openstack-request-id", "no request id")
    sent = response.request
    log.debug("%s: %s %s: %d [%s]", doing, sent.method, sent.path_url, response.status_code, request_id)


def error_from(response: requests.Response, doing: str) -> errors.ServerError:
    """The error for `response`, whose status is not a success; reads and closes it."""
    status = response.status_code
    try:
        words = server_message(response)
    finally:
        response.close()
    message = f"{doing}: {status} {response.reason or ''}".rstrip()
    if location := response.headers.get("Location"):
        words = f"it redirects to {location}"
    kind: Callable[..., errors.ServerError] = errors.RefusedError
    if status in (401, 403):
        kind = errors.AccessError
    elif status == 404:
        kind = errors.NotFoundError
    elif status == 409:
        kind = errors.ConflictError
    elif status == 429 or status >= 500:
        kind = errors.UnavailableError
    elif status < 400:
        kind = errors.NotGlanceError
    return kind(
        f"{message}: {words}" if words else message,
        status=status,
        request_id=response.headers.get("x-openstack-request-id", ""),
        retry_after=_seconds(response.headers.get("Retry-After", "")),
    )


def document(response: requests.Response) -> Any:
    """What the JSON in `response` says. Raises ValueError for what is none, or cannot be read as such."""
    try:
        return response.json()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def server_message(response: requests.Response) -> str:
    """What the server says, as one line of text: out of Glance's JSON, out of HTML, or as it is; "" for nothing."""
    try:
        text = response.text
    except requests.RequestException:
        return ""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        pass
    else:
        if isinstance(body, dict):
            inner = next((value for value in body.values() if isinstance(value, dict)), body)
            text = str(body.get("message") or inner.get("message") or "")
    text = re.sub(r"(?is)<(script|style|head)\b.*?</\1>", " ", text)
    text = html.unescape(re.sub(r"<[^>]*>", " ", text))
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _seconds(retry_after: str) -> float:
    """The number of seconds in a Retry-After header; a date in it is not worth a clock's trouble."""
    return float(retry_after) if re.fullmatch(r"\d{1,6}", retry_after.strip()) else 0.0
