"""URLs of image services, written so that equal ones are one and the same service."""

from __future__ import annotations

import re
import socket
from urllib.parse import SplitResult, urlsplit

from glancearchive.errors import UsageError


def as_url(server: str) -> str:
    """The normalised endpoint when `server` is a URL or ``host:port``, else ""."""
    if re.fullmatch(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}(/.*)?", server, re.ASCII):
        server = f"http://{server}"
    elif "://" not in server:
        return ""
    return normalised(server)


def normalised(url: str) -> str:
    """`url` as scheme, host, port and prefix, without ``/v2``: what is equal for one and the same service."""
    shown = re.sub(r"//.*@", "//***@", url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # which quotes parts of it
        raise UsageError(f"{shown!r} is not a usable URL" + ("" if "@" in url else f": {error}")) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{shown!r} is not a usable URL: expected http://HOST[:PORT] or https://HOST[:PORT]")
    if parts.username is not None or parts.query or parts.fragment:
        place = parts.netloc.rpartition("@")[2]
        raise UsageError(f"a URL of a Glance takes no user name, query or fragment: {parts.scheme}://{place}/")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        host = f"{host}:{port}"
    path = re.sub(r"/v2(\.\d+)?$", "", parts.path.rstrip("/")).rstrip("/")
    return f"{parts.scheme}://{host}{path}"


def is_one_address(a: str, b: str) -> bool:
    """Whether two normalised URLs lead to one address, port and path: to one server, or to one proxy."""
    ends = [urlsplit(url) for url in (a, b)]
    if (ends[0].scheme, ends[0].path) != (ends[1].scheme, ends[1].path):
        return False
    return bool(_addresses(ends[0]) & _addresses(ends[1]))


def _addresses(parts: SplitResult) -> set[tuple[object, ...]]:
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or parts.scheme, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {address[:2] for *_, address in found}
