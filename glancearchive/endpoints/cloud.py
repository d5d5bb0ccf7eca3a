"""How to get at an image service: openstacksdk's configuration, keystoneauth1, TLS and timeouts, known here only.

SERVER is ``host:port``, a URL with or without a path and ``/v2``, the name of a
cloud in clouds.yaml, or ``envvars`` for the OS_* variables.
"""

from __future__ import annotations

import http.client
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import requests
import urllib3
from keystoneauth1 import exceptions as ksa_errors
from keystoneauth1.identity import generic, v2, v3
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.noauth import NoAuth
from keystoneauth1.plugin import AUTH_INTERFACE, BaseAuthPlugin
from keystoneauth1.session import Session
from openstack import exceptions as sdk_errors
from openstack.config import OpenStackConfig

from glancearchive.endpoints.causes import one_line, root_cause
from glancearchive.endpoints.responses import error_from, log_answer, server_message
from glancearchive.endpoints.server_url import as_url, normalised
from glancearchive.errors import (
    AccessError,
    ConnectError,
    NotGlanceError,
    RefusedError,
    ServerError,
    StreamError,
    UsageError,
)
from glancearchive.version import __version__

PIECE = 1 << 20
"""Bytes that are read from a response at once; urllib3's own default is many times slower."""

_CONNECT = 10.0
_READ = 60.0
# While a body is sent, urllib3 keeps the *connect* timeout on the socket; and a store may take long over its answer.
_BODY_TIMEOUT = (60.0, 600.0)
_BODY_TOKEN_LIFE = 600  # seconds a token must still be good for when an upload begins
_AGENT = f"glancearchive/{__version__}"


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
        self._base = endpoint
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
        with _transport(f"{self.label}: {doing}"):
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
        log_answer(response, doing)
        if not 200 <= response.status_code < 300:
            raise error_from(response, doing)
        return response

    def send(self, doing: str, path: str, body: Body, headers: Mapping[str, str]) -> None:
        """PUT `body` once, over a connection of its own, with a token that is good for a while.

        Nothing on the way repeats or redirects it: a body sent twice is a body
        consumed, and would make an empty image. Exceptions that `body` raises
        while it is read come through as they are.
        """
        with _transport(f"{self.label}: {doing}"):
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
                log_answer(response, doing)
                if not 200 <= response.status_code < 300:
                    raise error_from(response, doing)

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """The body of a streamed response as it is on the wire, in pieces of at most `PIECE` bytes.

        Raises `StreamError` when the connection fails or ends before the announced length.
        """
        try:
            while piece := response.raw.read(PIECE, decode_content=False):
                yield piece
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            cause = root_cause(error)
            if isinstance(cause, http.client.IncompleteRead):
                raise StreamError(f"the connection ended {cause.expected} bytes early") from error
            raise StreamError(f"the connection failed: {one_line(cause)}") from error
        finally:
            response.close()

    def forget_token(self) -> None:
        """Have a new token fetched for the next request, after the server refused the one there is."""
        self._session.invalidate()

    def login(self) -> Login | None:
        """Who the caller is; None where no Keystone was asked."""
        auth = self._session.auth
        if not isinstance(auth, BaseIdentityPlugin):
            return None
        with _transport(f"{self.label}: asking who the caller is"):
            access = auth.get_access(self._session)
        renewable = auth.reauthenticate and not isinstance(auth, (generic.Token, v3.Token, v2.Token))
        return Login(access.project_id or "", frozenset(access.role_names or ()), access.expires, renewable)

    def identity(self, doing: str, path: str, params: Mapping[str, str] | None = None) -> requests.Response:
        """The response to a GET below the ``/v3`` of the Keystone that the caller logged in at; its status is 2xx."""
        with _transport(f"{self.label}: {doing}"):
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
        log_answer(response, doing)
        if not 200 <= response.status_code < 300:
            raise error_from(response, doing)
        return response

    def _freshen_token(self) -> None:
        auth = self._session.auth
        if isinstance(auth, BaseIdentityPlugin) and auth.get_access(self._session).will_expire_soon(_BODY_TOKEN_LIFE):
            auth.invalidate()


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
        session = _session(server, NoAuth(), verify, (cert, key) if cert and key else cert)
    else:
        options = {"region_name": region, "interface": interface, "cacert": cacert, "cert": cert, "key": key}
        with _transport(f"looking for the image service of {server!r}"), warnings.catch_warnings():
            # openstacksdk warns of what it does itself.
            warnings.simplefilter("ignore", category=PendingDeprecationWarning)
            session, endpoint = _from_config(server, {**options, "insecure": insecure or None})
    cloud = Cloud(session, endpoint)
    _probe(cloud)
    return cloud


def _session(
    server: str, auth: BaseAuthPlugin | None, verify: bool | str | None, cert: str | tuple[str, str] | None
) -> Session:
    for name in (verify, *(cert if isinstance(cert, tuple) else (cert,))):
        if isinstance(name, str) and not Path(name).exists():
            raise UsageError(f"certificates for {server}: there is no file {name}")
    return Session(auth=auth, verify=True if verify is None else verify, cert=cert, timeout=_READ, user_agent=_AGENT)


def known_clouds() -> list[str]:
    """The names of the clouds in the user's configuration; one that cannot be read has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=PendingDeprecationWarning)
        try:
            return _configuration()[1]
        except (sdk_errors.ConfigException, TypeError, AttributeError, ValueError, KeyError):
            return []


def _configuration() -> tuple[OpenStackConfig, list[str]]:
    """The user's configuration, and the names of its clouds."""
    config = OpenStackConfig(app_name="glancearchive", app_version=__version__)
    # "defaults" is what openstacksdk makes up when there is nothing else.
    return config, sorted(set(config.get_cloud_names()) - (set() if config.config_filename else {"defaults"}))


def _from_config(name: str, options: Mapping[str, Any]) -> tuple[Session, str]:
    """A session and the endpoint for the cloud `name` of the user's configuration."""
    try:
        config, known = _configuration()
        if name not in known:
            if name == "envvars":
                raise UsageError("'envvars' takes the cloud from OS_* variables, and none are set")
            among = f"known are: {', '.join(known)}" if known else "no clouds.yaml was found"
            raise UsageError(f"unknown cloud {name!r}; {among}; a server is given as host:port or as a URL")
        region = config.get_one(cloud=name, **{key: value for key, value in options.items() if value is not None})
        verify, cert = region.get_requests_verify_args()
        session = _session(name, region.get_session().auth, verify, cert)
        endpoint = region.get_endpoint("image") or session.get_endpoint(
            service_type=region.get_service_type("image"),
            service_name=region.get_service_name("image"),
            interface=region.get_interface("image"),
            region_name=region.get_region_name("image"),
        )
    except (sdk_errors.ConfigException, ksa_errors.OptionError, ksa_errors.NoMatchingPlugin) as error:
        raise UsageError(f"the configuration of cloud {name!r}: {one_line(error)}") from error
    except (ksa_errors.EmptyCatalog, ksa_errors.EndpointNotFound):
        endpoint = None
    except Exception as error:
        if type(error) not in (TypeError, AttributeError, ValueError, KeyError, Exception):
            raise
        # What openstacksdk and keystoneauth make of a configuration of another shape, or of a missing password.
        raise UsageError(f"the configuration of cloud {name!r}: {one_line(error)}") from error
    if not endpoint:
        where = region.get_region_name("image") or "any region"
        raise NotGlanceError(
            f"cloud {name!r} offers no image service in {where}, interface {region.get_interface('image')}"
        )
    return session, normalised(endpoint)


def _probe(cloud: Cloud) -> None:
    """Make sure that a Glance v2 answers and lets us in."""
    doing = "asking for the list of images"
    try:
        response = cloud.request(doing, "GET", "/v2/images", params={"limit": "1"})
    except AccessError as error:
        if error.status == 401 and not isinstance(cloud._session.auth, BaseIdentityPlugin):
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
        listing = response.json()
    except requests.exceptions.JSONDecodeError:
        kind = response.headers.get("Content-Type", "of unknown type")
        raise NotGlanceError(f"no Glance v2 there: {doing}: the answer is {kind}: {server_message(response)}") from None
    if not isinstance(listing, dict) or not isinstance(listing.get("images"), list):
        raise NotGlanceError(f"no Glance v2 there: {doing}: the answer holds no list of images")


@contextmanager
def _transport(doing: str) -> Iterator[None]:
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
    except ksa_errors.ClientException as error:
        raise ConnectError(f"{doing}: {one_line(error)}") from error


def _from_keystone(error: ksa_errors.HttpError, doing: str) -> ServerError:
    """The error for a refusal by Keystone, whose words keystoneauth kept."""
    if isinstance(error.response, requests.Response):
        return error_from(error.response, f"{doing}: asking Keystone for a token")
    return RefusedError(f"{doing}: asking Keystone for a token: {one_line(error)}", status=int(error.http_status or 0))
