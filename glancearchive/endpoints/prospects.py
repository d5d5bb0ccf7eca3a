"""What a Glance would take and what not, as far as it, its Keystone and the caller's roles tell without any attempt.

The roles are judged by Glance's default rules (``glance/policies/image.py``); a cloud may have others.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glancearchive.endpoints import policy
from glancearchive.endpoints.arrival import BURNT
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.image_list import Json
from glancearchive.endpoints.keystone import Projects
from glancearchive.errors import AccessError, NotFoundError, RefusedError, UnavailableError
from glancearchive.image import Image

_MIB = 1 << 20
_STRANGE = "there is no such project at the target"


@dataclass(frozen=True, slots=True)
class Quota:
    """What the caller's project may have and has; `limit` is None where there is none."""

    name: str
    limit: int | None
    usage: int
    unit: int  # bytes; 1 for what is counted in pieces

    @property
    def left(self) -> int | None:
        return None if self.limit is None else max(self.limit - self.usage, 0)


class Prospects:
    """The limits of the Glance behind `api`, asked for once; `untold` has a line for each answer that it refused.

    Usable from several threads.
    """

    def __init__(self, api: GlanceApi) -> None:
        self._api = api
        self.login = api.patience.run(api.cloud.login)
        self._projects = Projects(api.cloud, api.patience)
        self.untold: list[str] = []
        schema = self._told("/v2/schemas/image").get("properties")
        self._schema: Mapping[str, Any] = schema if isinstance(schema, dict) else {}
        usage = self._told("/v2/info/usage").get("usage")
        self._usage: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
        self._tells_ids = not api.knows_id(str(uuid.uuid4()))  # else it takes anything for an id
        self.size = self._quota("image_size_total", _MIB)
        self.count = self._quota("image_count_total", 1)

    @property
    def admin(self) -> bool:
        """Whether the caller is one; without a Keystone everybody is."""
        return self.login is None or self.login.admin

    @property
    def sees_deleted(self) -> bool:
        """Whether the caller is told which ids were deleted."""
        return self.admin and self._tells_ids

    def taken(self, image_id: str) -> str:
        """Why an id that no image has which the caller may see cannot be had, "" as far as is known."""
        if not self._tells_ids or not self._api.knows_id(image_id):
            return ""
        if self.admin:
            return f"its id was that of an image that was deleted there, and {BURNT}"
        return "its id is that of an image there which belongs to another project"

    def refusal(self, image: Image) -> str:
        """Why the Glance would not take `image` at all, "" as far as is known."""
        if self.login is not None and not self.login.roles & {"admin", "member"}:
            roles = ", ".join(sorted(self.login.roles)) or "none"
            return f"creating an image takes the role member, and the roles there are: {roles}"
        for field in policy.FORMATS:
            allowed = self._allowed(field)
            value = image.metadata.get(field)
            if allowed and value is not None and value not in allowed:
                return f"the target does not take {field} {value!r}, only {', '.join(allowed)}"
        if self.size and self.size.limit is not None and (image.size or 0) > self.size.limit * self.size.unit:
            return f"it has {image.size} bytes, and the project's quota for all images is {self.size.limit} MiB"
        return ""

    def dropped(self, image: Image) -> list[str]:
        """One line for each field that the Glance would refuse, or that names a project unknown there."""
        wanted = policy.wanted(image)
        lines = {field: self._refused(field, value) for field, value in wanted.items() if field not in policy.FORMATS}
        for project, status in (
            policy.memberships(image.members).items() if wanted.get("visibility") == "shared" else ()
        ):
            if self._projects.exists(project) is False:
                lines[f"member {project}"] = _STRANGE
            elif not self.admin and status != "pending":
                lines[f"member {project} {status}"] = "would be refused: only the member or an admin sets this"
        return [f"{field}: {why}" for field, why in sorted(lines.items()) if why]

    def stays(self, image: Image) -> bool:
        """Whether it counts for the quotas of the caller's project once it is there."""
        owner = image.metadata.get("owner")
        return owner is None or not self.admin or self.login is None or owner == self.login.project

    def _refused(self, field: str, value: Any) -> str:
        if field == "owner" and not self.admin and self.login and value != self.login.project:
            return "would be refused: giving an image to another project takes the role admin"
        if field == "owner" and isinstance(value, str) and self._projects.exists(value) is False:
            return f"{value}: {_STRANGE}"
        if field == "visibility" and not self.admin and value == "public":
            return "would be refused: public takes the role admin"
        allowed = self._allowed(field)
        if allowed and value not in allowed:
            return f"would be refused: it is {value!r}, and the target takes {', '.join(allowed)}"
        rule = self._schema.get(field)
        longest = rule.get("maxLength") if isinstance(rule, dict) else None
        if isinstance(longest, int) and isinstance(value, str) and len(value) > longest:
            return f"would be refused: it has {len(value)} characters, and the target takes {longest}"
        return ""

    def _allowed(self, field: str) -> list[str]:
        """The values that the Glance lists for a field, [] for any."""
        rule = self._schema.get(field)
        values = rule.get("enum") if isinstance(rule, dict) else None
        return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []

    def _quota(self, name: str, unit: int) -> Quota | None:
        told = self._usage.get(name)
        if not isinstance(told, dict):
            return None
        limit, usage = told.get("limit"), told.get("usage")
        if not (isinstance(limit, int) and isinstance(usage, int)):
            return None
        return Quota(name, None if limit < 0 else limit, usage, unit)

    def _told(self, path: str) -> Json:
        """What the Glance says at `path`; nothing, when it is too old to, or will not."""
        try:
            return self._api.about(path)
        except NotFoundError:
            return {}
        except (AccessError, RefusedError, UnavailableError) as error:
            if error.status == 401:
                raise
            self.untold.append(f"what the target takes is not all known: {error}")
            return {}
