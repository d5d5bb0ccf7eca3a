"""An image service as requests see it: keystoneauth1, tokens, TLS and timeouts, known here only."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import requests
import urllib3
from keystoneauth1 import exceptions as ksa_errors
from keystoneauth1.identity import generic, v2, v3
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.noauth import NoAuth
from keystoneauth1.plugin import AUTH_INTERFACE, BaseAuthPlugin
from keystoneauth1.session import Session

from glancearchive.endpoints.causes import one_line, root_cause
from glancearchive.endpoints.responses import error_from, log_answer
from glancearchive.errors import (
    AccessError,
    ConnectError,
    NotGlanceError,
    RefusedError,
    ServerError,
    StreamError,
    UsageError,
)
from glancearchive.image import Buffer
from glancearchive.version import __version__
from glancearchive.zeros import PIECE, known

_CONNECT = 10.0
_READ = 60.0
# While a body is sent, urllib3 keeps the *connect* timeout on the socket; and a store may take long over its answer.
_BODY_TIMEOUT = (60.0, 600.0)
_BODY_TOKEN_LIFE = 600  # seconds a token must still be good for when an upload begins
_AGENT = f"glancearchive/{__version__}"

CONFIGURATION_ERRORS = (ksa_errors.OptionError, ksa_errors.NoMatchingPlugin)
"""What keystoneauth1 raises for a configuration that it cannot use."""

NO_ENDPOINT = (ksa_errors.EmptyCatalog, ksa_errors.EndpointNotFound)
"""What it raises when a cloud has no such service."""


class Body(Protocol):
    """A request's body that is sent piece by piece with a Content-Length; it must not look like a file."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes | bytearray | memoryview]: ...


@dataclass(frozen=True, slots=True)
class Login:
    """Who the caller is to Keystone. `renewable`: a token that runs out is replaced by a new one."""

    project: str
    roles: frozenset[str]
    expires: datetime | None
    renewable: bool

    @property
    def admin(self) -> bool:
        return "admin" in self.roles


class Cloud:
    """One image service. `label` names its endpoint, normalised, so that equal labels are the same service.

    Usable from several threads at once. Every request has timeouts and is tried once.
    """

    def __init__(self, session: Session, endpoint: str) -> None:
        self._session = session
        self._base = self.endpoint = endpoint
        self.label = f"glance {endpoint}"

    def request(
        self,
        doing: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send one request and return the response to it, whose status is 2xx.

        `doing` begins every message. With `stream` the body is still to be read, by `pieces`.
        A token that ran out is renewed, once; this is safe since `body` is bytes. Redirects
        are not followed: an upload could not, and a token is for the server that was named.
        """
        with transport(f"{self.label}: {doing}"):
            response = self._session.request(
                self._base + path,
                method,
                params=dict(params or {}),
                headers={"Accept": "application/json", **(headers or {})},
                data=body,
                stream=stream,
                timeout=(_CONNECT, _READ),
                redirect=False,
                raise_exc=False,
            )
        return _well(response, doing)

    def send(self, doing: str, path: str, body: Body, headers: Mapping[str, str]) -> None:
        """PUT `body` once, over a connection of its own, with a token that is good for a while.

        Nothing on the way repeats or redirects it: a body sent twice is a body
        consumed, and would make an empty image. Exceptions that `body` raises
        while it is read come through as they are.
        """
        with transport(f"{self.label}: {doing}"):
            self._freshen_token()
            with requests.Session() as connection:
                # A pooled connection may have been closed by the server meanwhile.
                once = Session(
                    auth=self._session.auth, session=connection, verify=self._session.verify, cert=self._session.cert
                )
                response = once.request(
                    self._base + path,
                    "PUT",
                    headers={"Accept": "application/json", "User-Agent": _AGENT, **headers},
                    # requests takes an empty body of unknown type for a chunked one.
                    data=body if len(body) else b"",
                    timeout=_BODY_TIMEOUT,
                    raise_exc=False,
                    allow_reauth=False,
                    redirect=False,
                    connect_retries=0,
                    status_code_retries=0,
                    log=False,
                )
                _well(response, doing)

    def pieces(self, response: requests.Response) -> Iterator[Buffer]:
        """The body of a streamed response as it is on the wire, in pieces of at most `PIECE` bytes.

        Raises `StreamError` when the connection fails or ends before the announced length.
        """
        try:
            # Zeros go on as the shared ones at once: so their memory is free for the next piece, and still in a cache.
            # urllib3's own default size is many times slower.
            while len(piece := known(response.raw.read(PIECE, decode_content=False))):
                yield piece
                del piece
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            cause = root_cause(error)
            if isinstance(cause, http.client.IncompleteRead):
                raise StreamError(f"the connection ended {cause.expected} bytes early") from error
            raise StreamError(f"the connection failed: {one_line(cause)}") from error
        finally:
            response.close()

    @property
    def has_login(self) -> bool:
        """Whether requests carry a token from a Keystone."""
        return isinstance(self._session.auth, BaseIdentityPlugin)

    def forget_token(self) -> None:
        """Have a new token fetched for the next request, after the server refused the one there is."""
        self._session.invalidate()

    def login(self) -> Login | None:
        """Who the caller is; None where no Keystone was asked."""
        auth = self._session.auth
        if not isinstance(auth, BaseIdentityPlugin):
            return None
        with transport(f"{self.label}: asking who the caller is"):
            access = auth.get_access(self._session)
        renewable = auth.reauthenticate and not isinstance(auth, (generic.Token, v3.Token, v2.Token))
        return Login(access.project_id or "", frozenset(access.role_names or ()), access.expires, renewable)

    def identity(self, doing: str, path: str, params: Mapping[str, str] | None = None) -> requests.Response:
        """The response to a GET below the ``/v3`` of the Keystone that the caller logged in at; its status is 2xx."""
        with transport(f"{self.label}: {doing}"):
            response = self._session.request(
                path,
                "GET",
                headers={"Accept": "application/json"},
                params=dict(params or {}),
                endpoint_filter={"service_type": "identity", "interface": AUTH_INTERFACE, "version": (3, 0)},
                timeout=(_CONNECT, _READ),
                redirect=False,
                raise_exc=False,
            )
        return _well(response, doing)

    def _freshen_token(self) -> None:
        auth = self._session.auth
        if isinstance(auth, BaseIdentityPlugin) and auth.get_access(self._session).will_expire_soon(_BODY_TOKEN_LIFE):
            auth.invalidate()


def new_session(
    server: str, auth: BaseAuthPlugin | None, verify: bool | str | None, cert: str | tuple[str, str] | None
) -> Session:
    """A session with `server`, without a login unless there is `auth`. The server's
    certificate is checked by those in the file `verify`, or those of the system.

    `cert` is a file with the client's certificate and key, or one for each. Raises UsageError for a file that is not
    there.
    """
    for name in (verify, *(cert if isinstance(cert, tuple) else (cert,))):
        if isinstance(name, str) and not Path(name).exists():
            raise UsageError(f"certificates for {server}: there is no file {name}")
    return Session(
        auth=auth or NoAuth(), verify=True if verify is None else verify, cert=cert, timeout=_READ, user_agent=_AGENT
    )


def _well(response: requests.Response, doing: str) -> requests.Response:
    """`response`, when its status is 2xx; raises the error that it is otherwise."""
    log_answer(response, doing)
    if not 200 <= response.status_code < 300:
        raise error_from(response, doing)
    return response


@contextmanager
def transport(doing: str) -> Iterator[None]:
    """Turn what keystoneauth raises, for the request or for the token it needs, into errors of this package."""
    try:
        yield
    except ksa_errors.HttpError as error:
        raise _from_keystone(error, doing) from error
    except (ksa_errors.ConnectionError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        cause = root_cause(error)
        if isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, http.client.RemoteDisconnected):
            raise NotGlanceError(f"{doing}: whatever answers there does not speak HTTP: {one_line(cause)}") from error
        raise ConnectError(f"{doing}: {one_line(cause)}") from error
    except (ksa_errors.AuthorizationFailure, ksa_errors.AuthPluginException) as error:
        raise AccessError(f"{doing}: {one_line(error)}", status=401) from error
    except ksa_errors.DiscoveryFailure as error:
        raise ConnectError(f"{doing}: no Keystone v3 at its auth_url: {one_line(root_cause(error))}") from error
    except ksa_errors.ClientException as error:
        raise ConnectError(f"{doing}: {one_line(error)}") from error


def _from_keystone(error: ksa_errors.HttpError, doing: str) -> ServerError:
    """The error for a refusal by Keystone, whose words keystoneauth kept."""
    if isinstance(error.response, requests.Response):
        return error_from(error.response, f"{doing}: asking Keystone for a token")
    return RefusedError(f"{doing}: asking Keystone for a token: {one_line(error)}", status=int(error.http_status or 0))
