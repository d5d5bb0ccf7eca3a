"""A Glance as the place where images go to.

An image is created private, unprotected and marked as ours (`policy.MARK`); its
data are uploaded and compared with its digests; only then it gets the rest of
its metadata, and last of all the mark is removed. So nobody else can boot a half
or a wrong image, and a load that was interrupted anywhere is finished by another,
from any machine: all its state is in the Glance.

========================  =================================================  =====================
the image in the Glance   what a load does                                   where ids may be new
========================  =================================================  =====================
none                      create it, then as "marked, queued"
none, but 409 on create   conflict: the id is burnt, or taken invisibly      another id
marked, queued            upload, verify, finish
marked, queued, checksum  a refused upload spoilt it: delete, fail           delete, another id
marked, saving            put it off until the others are done, then wait; then as what it has become
marked, saving for ever   fail: a server died, and nothing leads back        delete, another id
marked, uploading         with all its data staged, where data are imported: import, verify, finish
marked, active            verify, finish; note what the target has converted
marked, active, converted where data are not imported: fail, untouched; an import goes on with it
marked, killed            conflict                                           delete, another id
unmarked, active          same data: present; other data: conflict           if other: another id
unmarked, active          conflict, where the source says there are no data  another id
anything else             conflict, untouched                                another id
========================  =================================================  =====================
"""

from __future__ import annotations

import logging
from contextlib import suppress

from glancearchive.endpoints import policy
from glancearchive.endpoints.agreement import Agreement
from glancearchive.endpoints.arrival import Arrival, Verdict
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.glance_creation import create
from glancearchive.endpoints.glance_import import (
    ImportMethod,
    conversion,
    converted_reason,
    is_staged,
    stage_and_import,
)
from glancearchive.endpoints.glance_listing import Listing
from glancearchive.endpoints.glance_metadata import Metadata
from glancearchive.endpoints.glance_presence import present
from glancearchive.endpoints.glance_upload import passes, settled, upload, verified
from glancearchive.endpoints.ids import Ids
from glancearchive.endpoints.image_list import Json
from glancearchive.endpoints.journal import Journal
from glancearchive.endpoints.payload import Payload, SourceError
from glancearchive.errors import (
    AccessError,
    ConnectError,
    GlanceArchiveError,
    HeldError,
    LocalError,
    NoDataError,
    NotFoundError,
    ServerError,
    UnavailableError,
)
from glancearchive.image import Action, Image, Later, Outcome, Progress, Source

log = logging.getLogger("glancearchive")

THERE = (Action.COPIED, Action.PRESENT, Action.UPDATED, Action.CONVERTED, Action.NO_DATA)
"""What an image has become that is in the Glance."""


class GlanceTarget:
    """Implements `glancearchive.image.Target`.

    `update_metadata` is for images that are there already. `ids` decides under which ids images
    are loaded, and learns it. `listing` and `journal` save requests and the reading of data.
    Data go into `store`, or the default one, by `method`.
    """

    def __init__(
        self,
        api: GlanceApi,
        *,
        update_metadata: bool = False,
        ids: Ids | None = None,
        listing: Listing | None = None,
        journal: Journal | None = None,
        store: str = "",
        method: ImportMethod = ImportMethod.DIRECT,
    ) -> None:
        self._api = api
        self._update_metadata = update_metadata
        self._ids = ids or Ids()
        self._listing = listing or Listing()
        self._journal = journal
        self._store = store
        self._staged = method is ImportMethod.GLANCE_DIRECT
        self._put_off: set[str] = set()  # images that somebody seems to be uploading
        self.label = api.label

    def receive(self, image: Image, source: Source, progress: Progress) -> Outcome:
        """Take `image` in. Raises `Later`, and what concerns more than this image: a server or medium gone, 401."""
        payload = Payload(image, source, progress, empty=bool(image.absent) and policy.is_empty(image))
        for place in self._ids.places(image, self._listing):
            translated = self._ids.translated(image, place, self._listing)
            arrival = Arrival(self._api, translated, payload, self._journal, self._store, staged=self._staged)
            outcome, elsewhere = self._outcome(arrival, renew=self._ids.renews(image))
            if not elsewhere:
                break
        outcome.id = image.id
        if outcome.action in THERE:
            self._ids.settle(image, place)
            outcome.new_id = "" if place == image.id else place
        return outcome

    def _outcome(self, arrival: Arrival, *, renew: bool) -> tuple[Outcome, bool]:
        """What becomes of an image under one id, and whether it has to be tried under another, as far as it may."""
        image = arrival.image
        try:
            try:
                return self._arrive(arrival), False
            except Verdict as verdict:
                reason = str(verdict)
                if verdict.elsewhere and renew:
                    end = "it is deleted, and gets another id" if verdict.wreck else "it gets another id"
                    log.warning("image %s: %s; %s", image, reason, end)
                    if verdict.wreck:
                        with suppress(NotFoundError):  # another load was quicker
                            self._api.delete(image.id)
                elif verdict.elsewhere:
                    reason += self._ids.advice(wreck=verdict.wreck)
                return self._failure(arrival, verdict.action, reason), verdict.elsewhere and renew
        except SourceError as failure:
            if isinstance(failure.error, (ConnectError, LocalError)) or _unauthorized(failure.error):
                raise failure.error from failure
            return self._failure(arrival, _action(failure.error), str(failure.error)), False
        except ServerError as error:
            if _unauthorized(error):
                raise
            if isinstance(error, (ConnectError, UnavailableError)):
                self._api.find(image.id)  # raises when it is not this image, but the server that is in trouble
            return self._failure(arrival, Action.FAILED, str(error)), False

    def _failure(self, arrival: Arrival, action: Action, reason: str) -> Outcome:
        return Outcome(arrival.image.id, arrival.image.name, action, reason, dropped=arrival.dropped)

    def _arrive(self, arrival: Arrival) -> Outcome:
        """Take the image in under this id. Raises `Verdict`."""
        known = self._known(arrival)
        if known is not None:
            return known
        image = arrival.image
        listed = image.id in self._listing.images
        current = self._api.find(image.id) if listed or not self._listing.complete else None
        begun = current is not None
        if current is None:
            current = create(arrival)
        if not policy.is_ours(current, image):
            return present(arrival, current, update=self._update_metadata)
        if image.absent and not policy.is_empty(image):
            return _finish_without_data(arrival, current)
        if not (arrival.staged and is_staged(arrival, current)):
            self._put_off_once(image, current)
            current = settled(arrival, current, begun=False)
        if current["status"] in ("queued", "uploading"):
            if begun and current["status"] == "queued":
                arrival.payload.head(1)  # an earlier load may have ended for want of data: nothing is sent if so
            current = stage_and_import(arrival, current) if arrival.staged else upload(arrival, current)
        if not policy.is_ours(current, image):
            return present(arrival, current, update=self._update_metadata)  # another load finished it meanwhile
        if arrival.staged and not image.absent and (changes := conversion(arrival, current)):
            return self._converted(arrival, current, changes)
        agreement = verified(arrival, current)
        Metadata(arrival.api, image, arrival.dropped).apply(current)
        return arrival.outcome(Action.NO_DATA if image.absent else Action.COPIED, agreement)

    def _converted(self, arrival: Arrival, current: Json, changes: str) -> Outcome:
        """The outcome for an image whose data the target has converted."""
        value = policy.conversion_of(current, arrival.image)
        current = arrival.api.patch(current["id"], [{"op": "add", "path": f"/{policy.CONVERTED}", "value": value}])
        Metadata(arrival.api, policy.as_converted(arrival.image, current), arrival.dropped).apply(current)
        outcome = arrival.outcome(Action.CONVERTED, Agreement())
        outcome.reason = converted_reason(changes)
        return outcome

    def _put_off_once(self, image: Image, current: Json) -> None:
        """Raise `Later` for an image that has to be waited for; when it comes again, it is waited for."""
        if not passes(current):
            return
        if image.id not in self._put_off:
            self._put_off.add(image.id)
            log.info("image %s: is %s at the target; the others come first", image, current["status"])
            raise Later(image.id)
        longest = self._api.patience.longest_wait
        log.warning("image %s: is %s at the target; waiting up to %d s", image, current["status"], longest)

    def _known(self, arrival: Arrival) -> Outcome | None:
        """The outcome when the listing says that the image is there, and there is nothing to be changed."""
        listed = self._listing.images.get(arrival.image.id)
        if listed is None or policy.MARK in listed:
            return None
        try:
            outcome = present(arrival, listed, update=False)
        except Verdict:
            return None
        return None if outcome.differences and self._update_metadata else outcome


def _finish_without_data(arrival: Arrival, current: Json) -> Outcome:
    image = arrival.image
    if current["status"] != "queued":
        reason = f"the target's image is {current['status']}, and the source has no data"
        raise Verdict(Action.CONFLICT, reason, elsewhere=True)
    outcome = arrival.outcome(Action.NO_DATA, Agreement())
    if image.metadata.get("status") != "queued":
        # The data exist somewhere: the mark stays, so that a load that has them can go on from here.
        outcome.reason += "; a private image without data keeps its id free for a later load"
        return outcome
    Metadata(arrival.api, image, arrival.dropped).apply(current)
    return arrival.outcome(Action.NO_DATA, Agreement())


def _action(error: GlanceArchiveError) -> Action:
    """What has become of an image whose source failed so."""
    if isinstance(error, HeldError):
        return Action.HELD
    return Action.REFUSED if isinstance(error, NoDataError) else Action.FAILED


def _unauthorized(error: GlanceArchiveError) -> bool:
    return isinstance(error, AccessError) and error.status == 401
