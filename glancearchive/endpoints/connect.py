"""From what a user calls an image service to one that answers.

SERVER is ``host:port``, a URL with or without a path and ``/v2``, the name of a
cloud in clouds.yaml, or ``envvars`` for the OS_* variables.
"""

from __future__ import annotations

import warnings

import urllib3

from glancearchive.endpoints.cloud import Cloud, new_session, transport
from glancearchive.endpoints.responses import document, server_message
from glancearchive.endpoints.server_url import as_url
from glancearchive.errors import AccessError, NotGlanceError, ServerError, UsageError


def connect(
    server: str,
    *,
    region: str | None = None,
    interface: str | None = None,
    cacert: str | None = None,
    cert: str | None = None,
    key: str | None = None,
    insecure: bool = False,
) -> Cloud:
    """The image service that `server` names, after one request that shows that it is one.

    `cacert`, `cert` and `key` are file names; `insecure` switches off the check
    of the server's certificate. Raises `UsageError` for a name that nothing is
    known of, `ConnectError`, `AccessError` or `NotGlanceError`.
    """
    if key and not cert:
        raise UsageError("a client key needs its certificate")
    if insecure:
        warnings.filterwarnings("ignore", category=urllib3.exceptions.InsecureRequestWarning)
    if endpoint := as_url(server):
        verify: bool | str = False if insecure else cacert or True
        session = new_session(server, None, verify, (cert, key) if cert and key else cert)
        cloud = Cloud(session, endpoint)
    else:
        from glancearchive.endpoints.clouds_yaml import configured  # only here: it takes a while to import

        options = {"region_name": region, "interface": interface, "cacert": cacert, "cert": cert, "key": key}
        with transport(f"looking for the image service of {server!r}"), warnings.catch_warnings():
            # openstacksdk warns of what it does itself.
            warnings.simplefilter("ignore", category=PendingDeprecationWarning)
            cloud = configured(server, {**options, "insecure": insecure or None})
    _probe(cloud)
    return cloud


def _probe(cloud: Cloud) -> None:
    """Make sure that a Glance v2 answers and lets us in. Errors name it: a command may have to do with two."""
    try:
        _ask(cloud)
    except ServerError as error:
        if not error.message.startswith(cloud.label):  # as those do that got no answer
            error.message = f"{cloud.label}: {error.message}"
        raise


def _ask(cloud: Cloud) -> None:
    """Raises what is wrong with the answer to a first, plain question."""
    doing = "asking for the list of images"
    try:
        response = cloud.request(doing, "GET", "/v2/images", params={"limit": "1"})
    except AccessError as error:
        if error.status == 401 and not cloud.has_login:
            error.message += "; this Glance wants a token: name a cloud of clouds.yaml, or envvars"
        raise
    except NotGlanceError:
        raise
    except ServerError as error:
        # Whatever refuses so plain a request, or does not know the path, is something else, or a Glance of v1 days.
        if error.status in (429, 0) or error.status >= 500:
            raise
        raise NotGlanceError(
            f"no Glance v2 there: {error.message}", status=error.status, request_id=error.request_id
        ) from error
    try:
        listing = document(response)
    except ValueError:
        kind = response.headers.get("Content-Type", "of unknown type")
        raise NotGlanceError(f"no Glance v2 there: {doing}: the answer is {kind}: {server_message(response)}") from None
    if not isinstance(listing, dict) or not isinstance(listing.get("images"), list):
        raise NotGlanceError(f"no Glance v2 there: {doing}: the answer holds no list of images")
