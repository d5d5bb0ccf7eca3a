"""The user's clouds, as openstacksdk finds them: clouds.yaml, the OS_* variables. It is known here only."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from openstack import exceptions as sdk_errors
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion

from glancearchive.endpoints.causes import one_line
from glancearchive.endpoints.cloud import CONFIGURATION_ERRORS, NO_ENDPOINT, Cloud, new_session, transport
from glancearchive.endpoints.server_url import normalised
from glancearchive.errors import AccessError, NotGlanceError, UsageError
from glancearchive.version import __version__

_LOGIN = "look at the user, the password, the project and their domains"


def known_clouds() -> list[str]:
    """The names of the clouds in the user's configuration; one that cannot be read has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=PendingDeprecationWarning)
        try:
            return _configuration()[1]
        except (sdk_errors.ConfigException, TypeError, AttributeError, ValueError, KeyError):
            return []


def configured(name: str, options: Mapping[str, Any]) -> Cloud:
    """The image service of the cloud `name` of the user's configuration, where `options` win over that.

    Nothing is asked of it yet. Raises UsageError for a name that is not known and for a configuration that makes no
    sense, NotGlanceError for a cloud without an image service, and what the login raises.
    """
    try:
        config, known = _configuration()
        if name not in known:
            if name == "envvars":
                raise UsageError("'envvars' takes the cloud from OS_* variables, and none are set")
            among = f"known are: {', '.join(known)}" if known else "no clouds.yaml was found"
            raise UsageError(f"unknown cloud {name!r}; {among}; a server is given as host:port or as a URL")
        region = config.get_one(cloud=name, **{key: value for key, value in options.items() if value is not None})
        verify, cert = region.get_requests_verify_args()
        session = new_session(name, region.get_session().auth, verify, cert)
        endpoint = _endpoint(name, region, session)
    except (sdk_errors.ConfigException, *CONFIGURATION_ERRORS) as error:
        raise UsageError(f"the configuration of cloud {name!r}: {one_line(error)}") from error
    except Exception as error:
        if type(error) not in (TypeError, AttributeError, ValueError, KeyError, Exception):
            raise
        # What openstacksdk and keystoneauth make of a configuration of another shape, or of a missing password.
        raise UsageError(f"the configuration of cloud {name!r} is not what it should be: {one_line(error)}") from error
    if not endpoint:
        where = region.get_region_name("image") or "any region"
        raise NotGlanceError(
            f"cloud {name!r} offers no image service in {where}, interface {region.get_interface('image')}"
        )
    return Cloud(session, normalised(endpoint))


def _configuration() -> tuple[OpenStackConfig, list[str]]:
    """The user's configuration, and the names of its clouds."""
    config = OpenStackConfig(app_name="glancearchive", app_version=__version__)
    # "defaults" is what openstacksdk makes up when there is nothing else.
    return config, sorted(set(config.get_cloud_names()) - (set() if config.config_filename else {"defaults"}))


def _endpoint(name: str, region: CloudRegion, session: Any) -> str | None:
    """Where the image service of the cloud is, by the configuration or by its Keystone; None where it has none."""
    keystone = region.get_auth_args().get("auth_url") or name
    try:
        with transport(f"asking {keystone} for the image service of {name!r}"):
            try:
                endpoint: str | None = region.get_endpoint("image") or session.get_endpoint(
                    service_type=region.get_service_type("image"),
                    service_name=region.get_service_name("image"),
                    interface=region.get_interface("image"),
                    region_name=region.get_region_name("image"),
                )
            except NO_ENDPOINT:
                return None
    except AccessError as error:
        if error.status == 401:
            error.message = f"{error.message.rstrip('.')}; {_LOGIN} in the configuration of {name}"
        raise
    return endpoint
