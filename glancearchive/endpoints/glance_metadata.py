"""Bringing the metadata of one image in a Glance into line, and saying what the Glance would not take."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from glancearchive.endpoints import policy
from glancearchive.endpoints.arrival import Verdict
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.errors import AccessError, ConflictError, NotFoundError, RefusedError, ServerError, UnavailableError
from glancearchive.image import Action, Image

_REFUSALS = (AccessError, ConflictError, RefusedError)

_TOO_MANY = 413
_QUOTA = re.compile(r"\bMaximum: \d+")  # Glance's words for a quota; a proxy in front of it has others
_DEFECT = 500  # how a database says that it cannot hold a value


class Metadata:
    """Applies the metadata of `image`; `dropped` gets one line for each field that was refused."""

    def __init__(self, api: GlanceApi, image: Image, dropped: list[str]) -> None:
        self._api = api
        self._image = image
        self._dropped = dropped
        self._present: Collection[str] = ()  # the fields that the target's image has
        self._full: ServerError | None = None  # the refusal of one property more than the Glance's quota

    def apply(self, current: Mapping[str, Any]) -> None:
        """Turn the `current` metadata at the target into those of the image, members included; the mark goes last.

        Raises `Verdict` for an image of ours that would keep it.
        """
        if self._image.metadata.get("status") == "deactivated" and current.get("status") == "active":
            self._attempt("status deactivated", partial(self._api.deactivate, self._image.id))
        self._present = current.keys()
        operations = policy.final_patch(current, self._image)
        last = [policy.REMOVE_MARK] if policy.MARK in current else []
        if self._image.metadata.get("visibility") == "shared":
            refused = self._patch(operations)  # members can be added to a shared image only
            self._share()
            refused += self._patch(last)
        else:
            refused = self._patch(operations + last)
        # The mark may have been one property more than a quota allows.
        self._full = None
        again = self._patch([operation for operation, error in refused if error.status == _TOO_MANY])
        marked: ServerError | None = None
        for operation, error in [*(one for one in refused if one[1].status != _TOO_MANY), *again]:
            if operation is policy.REMOVE_MARK:
                marked = error
            else:
                self._drop(policy.field_of(operation), error)
        # Where another load of the same image was quicker, it is refused since there is no mark any more.
        if marked and policy.MARK in self._api.get(self._image.id):
            self._still_marked(current, marked)

    def _still_marked(self, current: Mapping[str, Any], error: ServerError) -> None:
        if not str(current[policy.MARK]).startswith(f"{self._image.id} "):
            self._drop(policy.MARK, error)  # a property that came with a copy, and says nothing of this image
            return
        compared = not (self._image.absent or policy.CONVERTED in current)
        raise Verdict(
            Action.FAILED,
            f"{'its data are right' if compared else 'all else is done'}, but it is still marked as being loaded: "
            f"the target refuses to remove {policy.MARK} ({error}); the same command tries it again, "
            "or remove that property",
        )

    def _patch(self, operations: list[policy.Patch]) -> list[tuple[policy.Patch, ServerError]]:
        """Apply as many operations as the server takes; the rest come back, each with its refusal.

        A patch is all or nothing, so that a refused one is tried by halves. Once the quota of properties is known to be
        full, no more of them are asked for: there may be thousands.
        """
        if (full := self._full) is not None:
            refused = [(operation, full) for operation in operations if self._takes_room(operation)]
            operations = [operation for operation in operations if not self._takes_room(operation)]
        else:
            refused = []
        if not operations:
            return refused
        try:
            self._api.patch(self._image.id, operations)
        except (*_REFUSALS, UnavailableError) as error:
            _not_unauthorized(error)
            if isinstance(error, UnavailableError) and error.status != _DEFECT:
                raise
            if len(operations) == 1:
                if error.status == _TOO_MANY and self._takes_room(operations[0]) and _QUOTA.search(str(error)):
                    self._full = error
                return [*refused, (operations[0], error)]
            middle = len(operations) // 2
            return refused + self._patch(operations[:middle]) + self._patch(operations[middle:])
        return refused

    def _takes_room(self, operation: policy.Patch) -> bool:
        """Whether the image has one property more afterwards."""
        field = policy.field_of(operation)
        return operation["op"] == "add" and policy.rule_for(field).custom and field not in self._present

    def _share(self) -> None:
        """Bring the members into line; Glance has members on shared images only."""
        wanted = policy.memberships(self._image.members)
        try:
            current = policy.memberships(self._api.members(self._image.id))
        except _REFUSALS as error:
            _not_unauthorized(error)
            if wanted:
                self._drop("members", error)
            return
        for project in sorted(current.keys() - wanted.keys()):
            with suppress(NotFoundError):
                self._attempt(f"member {project}", partial(self._api.remove_member, self._image.id, project))
        for project, status in sorted(wanted.items()):
            if project not in current and not self._add_member(project):
                continue
            if current.get(project, "pending") != status:
                field = f"member {project} {status}"
                self._attempt(field, partial(self._api.set_member_status, self._image.id, project, status))

    def _add_member(self, project: str) -> bool:
        try:
            self._api.add_member(self._image.id, project)
        except ConflictError:
            return True
        except _REFUSALS as error:
            _not_unauthorized(error)
            self._drop(f"member {project}", error)
            return False
        return True

    def _attempt(self, field: str, action: Callable[[], None]) -> None:
        try:
            action()
        except _REFUSALS as error:
            _not_unauthorized(error)
            self._drop(field, error)

    def _drop(self, field: str, error: ServerError) -> None:
        self._dropped.append(f"{field}: refused: {error}")


def _not_unauthorized(error: ServerError) -> None:
    """A missing or outdated login concerns all images, and is no refusal of a field."""
    if error.status == 401:
        raise error
