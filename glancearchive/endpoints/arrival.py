"""One image on its way into a Glance, as every step of a load sees it, and how that way may end early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glancearchive.endpoints import policy
from glancearchive.endpoints.agreement import Agreement, compare_data
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.image_list import Json
from glancearchive.endpoints.journal import Journal
from glancearchive.endpoints.payload import Payload
from glancearchive.image import Action, Image, Outcome

BURNT = "its id cannot be used there again until the operator purges the database"
NOT_COMPARED = "no digest to compare with"


class Verdict(Exception):  # noqa: N818  # ends a transfer, not always with an error
    """How the transfer of an image ends early.

    `elsewhere`: it is the id that stands in the way, and under another one the image could be loaded. `wreck`: an image
    of ours holds the id and will never be of use, so that it may be deleted then.
    """

    def __init__(self, action: Action, reason: str, *, elsewhere: bool = False, wreck: bool = False) -> None:
        super().__init__(reason)
        self.action = action
        self.elsewhere = elsewhere
        self.wreck = wreck


@dataclass(frozen=True, slots=True)
class Arrival:
    """`image` is what shall stand at the target, under the id that it gets there.

    Its data go into `store`, or the default one. `dropped` collects a line for each field of its metadata that
    the target refused.
    """

    api: GlanceApi
    image: Image
    payload: Payload
    journal: Journal | None = None
    store: str = ""
    dropped: list[str] = field(default_factory=list)
    staged: bool = False  # data are staged and imported

    def look(self, *, begun: bool = True) -> Json:
        """The image as it is at the target now; `begun` by this load, which then does not begin it elsewhere again."""
        current = self.api.find(self.image.id)
        if current is None:
            reason = f"the image was deleted at the target during the load; {BURNT}"
            raise Verdict(Action.FAILED, reason, elsewhere=not begun)
        return current

    def agreement(self, current: Mapping[str, Any], expected: Image) -> Agreement:
        """Compare the data at the target with those of `expected`, and read these only where no known digest will do.

        What the journal remembers counts only where the target says the same, and where another
        digest agrees that does not come from the journal.
        """
        stored = Image(current)
        known = compare_data(stored, expected, None)
        if known.difference or expected.absent or not stored.digests:
            return known
        strongest = stored.digests[0]
        if self.journal and known.verified and self.journal.recalls(expected, strongest):
            return Agreement(strongest.algorithm)
        found = compare_data(stored, expected, self.payload.digest)
        if self.journal and found.verified == strongest.algorithm:
            self.journal.record(expected, strongest)
        return found

    def outcome(self, action: Action, agreement: Agreement) -> Outcome:
        reason = self.image.absent
        stated = self.image.digests or self.image.held.digests or self.image.held.original
        if not (reason or (agreement.verified and stated)):
            reason = NOT_COMPARED
        return Outcome(
            self.image.id,
            self.image.name,
            action,
            reason,
            size=0 if action is Action.NO_DATA else self.image.size or 0,
            verified=agreement.verified,
            dropped=[*policy.reports(self.image), *self.dropped],
        )
