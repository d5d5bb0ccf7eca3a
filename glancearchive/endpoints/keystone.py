"""The projects that the Keystone behind a Glance knows, as far as the caller may ask.

Keystone tells an admin of every project, and everybody of those that they have a role in (``GET /v3/auth/projects``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import requests

from glancearchive.endpoints.cloud import Cloud
from glancearchive.endpoints.responses import document
from glancearchive.endpoints.retry import Patience
from glancearchive.errors import AccessError, NotFoundError, NotGlanceError, UsageError

log = logging.getLogger("glancearchive")

_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Projects:
    """The projects by id or by name. Without a Keystone nothing is known of any.

    A Keystone that is in trouble is asked again with `patience`.
    """

    def __init__(self, cloud: Cloud, patience: Patience | None = None) -> None:
        self._cloud = cloud
        self._patience = patience or Patience()
        self._exists: dict[str, bool | None] = {}
        self.known = self._patience.run(cloud.login) is not None

    def exists(self, project: str) -> bool | None:
        """Whether there is a project of this id; None when that is not for us to know."""
        if not self.known:
            return None
        if project not in self._exists:
            self._exists[project] = self._ask(project)
        return self._exists[project]

    def find(self, text: str) -> str | None:
        """The id of the project with this id or name; None when there is none.

        What looks like an id and may not be asked about is taken for one. Raises UsageError for a name of several.
        """
        if not self.known:
            return text
        exists = self.exists(text)
        if exists:
            return text
        named = self._named(text)
        if len(named) > 1:
            raise UsageError(f"{len(named)} projects are named {text!r}; one is meant by its id: {', '.join(named)}")
        if not named and exists is None and _ID.fullmatch(text):
            log.warning("whether there is a project %s is not for this user to ask; it is taken as it is", text)
            return text
        return named[0] if named else None

    def _ask(self, project: str) -> bool | None:
        doing = f"looking up project {project}"
        try:
            self._get(doing, f"/projects/{quote(project, safe='')}")
        except NotFoundError:
            return False
        except AccessError as error:
            if error.status == 401:
                raise
            return None
        return True

    def _named(self, name: str) -> list[str]:
        doing = f"looking for the project named {name!r}"
        try:
            found = _projects(self._get(doing, "/projects", {"name": name}), doing)
        except AccessError as error:
            if error.status == 401:
                raise
            found = _projects(self._get(doing, "/auth/projects"), doing)
        return sorted(str(one["id"]) for one in found if one.get("name") == name)

    def _get(self, doing: str, path: str, params: Mapping[str, str] | None = None) -> requests.Response:
        return self._patience.run(lambda: self._cloud.identity(doing, path, params))


def project_map(pairs: Mapping[str, str], here: Projects | None, there: Projects) -> dict[str, str]:
    """`pairs` with ids in the place of names: the old ones at `here`, the new ones at `there`. Raises UsageError."""
    unknown = [new for new in sorted(set(pairs.values())) if there.find(new) is None]
    if unknown:
        raise UsageError(f"--map owner: there is no such project at the target: {', '.join(unknown)}")
    found: dict[str, str] = {}
    for old, new in pairs.items():
        # A project that was deleted may still own images.
        place = (here.find(old) if here and not _ID.fullmatch(old) else None) or old
        if place in found:
            raise UsageError(f"--map owner: project {place} is mapped twice, by its id and by its name")
        found[place] = there.find(new) or new
    return found


def _projects(response: requests.Response, doing: str) -> Iterable[dict[str, Any]]:
    try:
        found = document(response)["projects"]
        return [one for one in found if isinstance(one["id"], str)]
    except (ValueError, LookupError, TypeError):
        raise NotGlanceError(f"{doing}: the answer is not what a Keystone gives") from None
