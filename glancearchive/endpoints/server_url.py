"""URLs of image services, written so that equal ones are one and the same service."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

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
        raise UsageError(f"a URL of a Glance takes no user name, query or fragment: {parts.scheme}://{parts.hostname}/")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        host = f"{host}:{port}"
    path = re.sub(r"/v2(\.\d+)?$", "", parts.path.rstrip("/")).rstrip("/")
    return f"{parts.scheme}://{host}{path}"
