"""A Glance as the place where images go to.

An image is created private, unprotected and marked as ours (`policy.MARK`); its
data are uploaded and compared with its digests; only then it gets the rest of
its metadata, and last of all the mark is removed. So nobody else can boot a half
or a wrong image, and a load that was interrupted anywhere is finished by another,
from any machine: all its state is in the Glance.

========================  =================================================
the image in the Glance   what a load does
========================  =================================================
none                      create it, then as "marked, queued"
none, but 409 on create   conflict: the id is burnt, or taken invisibly
marked, queued            upload, verify, finish
marked, queued, checksum  a refused upload spoilt it: delete, fail
marked, saving            wait; then as what it has become
marked, active            verify, finish
unmarked, active          same data: present; other data: conflict
anything else             conflict, untouched
========================  =================================================
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from glancearchive.endpoints import image_format, policy
from glancearchive.endpoints.agreement import Agreement, compare_data
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.glance_metadata import Metadata
from glancearchive.endpoints.glance_upload import Payload, SourceError
from glancearchive.errors import (
    AccessError,
    ConflictError,
    ConnectError,
    GlanceArchiveError,
    LocalError,
    NoDataError,
    NotFoundError,
    RefusedError,
    ServerError,
    UnavailableError,
)
from glancearchive.image import Action, Image, Outcome, Progress, Source

log = logging.getLogger("glancearchive")

_GONE = 410
_UNSUPPORTED_MEDIA = 415
_BURNT = "its id cannot be used there again until the operator purges the database"
_PASSING = ("saving", "uploading", "importing")
_NO_DIGEST = "no digest to compare with"


class GlanceTarget:
    """Implements `glancearchive.image.Target`; `update_metadata` is for images that are there already."""

    def __init__(self, api: GlanceApi, *, update_metadata: bool = False) -> None:
        self._api = api
        self._update_metadata = update_metadata
        self.label = api.label

    def receive(self, image: Image, source: Source, progress: Progress) -> Outcome:
        """Take `image` in. Raises what concerns more than this image: `ConnectError`, 401, a server or medium gone."""
        dropped: list[str] = []
        transfer = _Transfer(self._api, image, source, progress, dropped, update_metadata=self._update_metadata)
        try:
            return transfer.run()
        except _Verdict as verdict:
            return Outcome(image.id, image.name, verdict.action, str(verdict), dropped=dropped)
        except SourceError as failure:
            if isinstance(failure.error, (ConnectError, LocalError)) or _unauthorized(failure.error):
                raise failure.error from failure
            action = Action.REFUSED if isinstance(failure.error, NoDataError) else Action.FAILED
            return Outcome(image.id, image.name, action, str(failure.error), dropped=dropped)
        except ServerError as error:
            if _unauthorized(error):
                raise
            if isinstance(error, (ConnectError, UnavailableError)):
                self._api.find(image.id)  # raises when it is not this image, but the server that is in trouble
            return Outcome(image.id, image.name, Action.FAILED, str(error), dropped=dropped)


class _Verdict(Exception):  # noqa: N818  # ends a transfer, not always with an error
    """How the transfer of an image ends early."""

    def __init__(self, action: Action, reason: str) -> None:
        super().__init__(reason)
        self.action = action


class _Transfer:
    """One image on its way in."""

    def __init__(
        self,
        api: GlanceApi,
        image: Image,
        source: Source,
        progress: Progress,
        dropped: list[str],
        *,
        update_metadata: bool,
    ) -> None:
        self._api = api
        self._image = image
        self._source = source
        self._progress = progress
        self._dropped = dropped
        self._update_metadata = update_metadata
        self._payload: Payload | None = None

    def run(self) -> Outcome:
        current = self._api.find(self._image.id)
        if current is None:
            self._examine()
            current = self._create()
        if not self._is_ours(current):
            return self._compare(current)
        if self._image.absent and not self._is_empty():
            return self._finish_without_data(current)
        current = self._settled(current)
        if current["status"] == "queued":
            current = self._upload(current)
        if not self._is_ours(current):
            return self._compare(current)  # another load finished it meanwhile
        agreement = self._verify(current)
        Metadata(self._api, self._image, self._dropped).apply(current)
        return self._outcome(Action.NO_DATA if self._image.absent else Action.COPIED, agreement)

    # Before anything exists there.

    def _examine(self) -> None:
        """See that there are data, and data that the Glance will not refuse, before an id is spent on them."""
        if self._image.absent:
            return
        payload = self._data()
        head = payload.head(image_format.HEAD)
        disk_format = str(self._image.metadata.get("disk_format") or "")
        container_format = str(self._image.metadata.get("container_format") or "")
        doubt = image_format.refusal(disk_format, container_format, head, whole=len(head) == len(payload))
        if doubt and not self._accepted_on_trial(disk_format, container_format, head):
            raise _Verdict(Action.FAILED, f"the target would refuse this image: {doubt}; nothing was created")

    def _accepted_on_trial(self, disk_format: str, container_format: str, head: bytes) -> bool:
        """Whether this Glance takes data like these: many never look, and then the image must not be lost.

        The head is uploaded to an image of no consequence, which is deleted again.
        """
        name = f"glancearchive trial for {self._image.id}"
        body = {
            "name": name,
            "disk_format": disk_format,
            "container_format": container_format,
            "visibility": "private",
            policy.MARK: name,
        }
        try:
            trial = str(self._api.create(body)["id"])
        except (AccessError, ConflictError, RefusedError) as error:
            log.info("%s: no trial was possible: %s", self._image, error)
            return False
        try:
            self._api.upload(trial, _Bytes(head))
        except RefusedError as error:
            log.info("%s: refused on trial: %s", self._image, error)
            return False
        finally:
            with suppress(ServerError):
                self._api.delete(trial)
        return True

    def _create(self) -> dict[str, Any]:
        mark = policy.mark_for(self._image, with_data=not self._image.absent or self._is_empty())
        try:
            try:
                return self._api.create(policy.creation_body(self._image, mark))
            except (AccessError, RefusedError, UnavailableError) as error:
                # 500 is how a database says that it cannot hold a name.
                if error.status == 401 or (isinstance(error, UnavailableError) and error.status != 500):
                    raise
                log.info("%s; trying with less", error)
                return self._api.create(policy.creation_body(self._image, mark, bare=True))
        except ConflictError as error:
            current = self._api.find(self._image.id)
            if current is None:
                raise _Verdict(
                    Action.CONFLICT,
                    f"the target has no such image to see, but refuses its id ({error.message}): either it was deleted "
                    f"there, and {_BURNT}, or it belongs to another project",
                ) from error
            return current

    # An image that is not ours.

    def _compare(self, current: dict[str, Any]) -> Outcome:
        status = current["status"]
        mark = current.get(policy.MARK)
        if mark is not None and str(mark).startswith(f"{self._image.id} "):
            raise _Verdict(Action.CONFLICT, f"another transfer is loading other data under this id ({mark})")
        if status not in ("active", "deactivated"):
            if not (self._image.absent and status == "queued"):
                raise _Verdict(Action.CONFLICT, f"the target has an image of this id that is {status}, and not ours")
            return self._present(current, Agreement(), Action.NO_DATA)
        compute = None if self._image.absent else self._data().digest
        agreement = compare_data(Image(current), self._image, compute)
        if agreement.difference:
            raise _Verdict(Action.CONFLICT, f"the target has other data under this id: {agreement.difference}")
        return self._present(current, agreement, Action.NO_DATA if self._image.absent else Action.PRESENT)

    def _present(self, current: dict[str, Any], agreement: Agreement, action: Action) -> Outcome:
        differences = self._differences(current)
        if differences and self._update_metadata:
            Metadata(self._api, self._image, self._dropped).apply(current)
            differences = self._differences(self._look())
            action = Action.UPDATED if action is Action.PRESENT else action
        outcome = self._outcome(action, agreement)
        outcome.differences = differences
        return outcome

    def _differences(self, current: dict[str, Any]) -> list[str]:
        found = policy.differences(current, self._image)
        members = self._api.known_members(current)
        return found if members is None else found + policy.member_differences(members, self._image)

    # An image of ours.

    def _finish_without_data(self, current: Mapping[str, Any]) -> Outcome:
        if current["status"] != "queued":
            raise _Verdict(Action.CONFLICT, f"the target's image is {current['status']}, and the source has no data")
        if self._image.metadata.get("status") != "queued":
            # The data exist somewhere: the mark stays, so that a load that has them can go on from here.
            outcome = self._outcome(Action.NO_DATA, Agreement())
            outcome.reason += "; a private image without data keeps its id free for a later load"
            return outcome
        Metadata(self._api, self._image, self._dropped).apply(current)
        return self._outcome(Action.NO_DATA, Agreement())

    def _settled(self, current: dict[str, Any]) -> dict[str, Any]:
        """The image once it is `queued` and fit for an upload, or `active`; waits for what passes by itself."""
        for _ in self._api.patience.ticks():
            if current["status"] not in _PASSING:
                break
            current = self._look()
        status = current["status"]
        if status in _PASSING:
            raise _Verdict(
                Action.FAILED,
                f"the target's image stays {status}: another load is still at it, or a server died in the middle of an "
                f"upload, and then only deleting it helps, after which {_BURNT}",
            )
        if status == "queued" and (current.get("checksum") or current.get("size") is not None):
            self._give_up(f"an earlier upload was refused and left it unusable ({status} with a checksum)")
        if status not in ("queued", "active", "deactivated"):
            raise _Verdict(Action.CONFLICT, f"the target's image is {status}")
        return current

    def _upload(self, current: dict[str, Any]) -> dict[str, Any]:
        """Upload the data until the image is active, or until patience ends."""
        mark = policy.mark_for(self._image)
        if current.get(policy.MARK) != mark:
            current = self._api.patch(self._image.id, [{"op": "replace", "path": f"/{policy.MARK}", "value": mark}])
        failures = 0
        while current["status"] == "queued":
            error: ServerError
            try:
                self._api.upload(self._image.id, self._data())
            except RefusedError as refusal:
                if refusal.status == _UNSUPPORTED_MEDIA:
                    self._give_up(refusal.message)
                if refusal.status != _GONE:
                    raise
                error = refusal  # Glance's answer to one of two uploads that begin in the same instant
            except AccessError as denial:
                if denial.status != 401:
                    raise
                self._api.cloud.forget_token()
                error = denial
            except (ConflictError, ConnectError, UnavailableError) as failure:
                error = failure
            else:
                current = self._settled(self._look())
                if current["status"] == "queued":
                    raise _Verdict(Action.FAILED, "the target accepted the data, and yet has none")
                return current
            # It may have been received all the same, or another load may be uploading it.
            current = self._settled(self._look())
            if current["status"] == "queued":
                failures += 1
                self._api.patience.pause(failures, error)
        return current

    def _verify(self, current: Mapping[str, Any]) -> Agreement:
        """Compare what the Glance has stored; wrong data are deleted."""
        stored = Image(current)
        expected = replace(self._image, metadata={**self._image.metadata, "size": len(self._data())})
        agreement = compare_data(stored, expected, self._data().digest)
        if agreement.difference:
            self._give_up(f"the target stored something else: {agreement.difference}")
        return agreement

    def _give_up(self, reason: str) -> None:
        """Delete our image, which must not stay as it is, and fail."""
        try:
            self._api.delete(self._image.id)
        except (AccessError, ConflictError, NotFoundError, RefusedError) as error:
            raise _Verdict(Action.FAILED, f"{reason}; deleting it failed too: {error}") from error
        raise _Verdict(Action.FAILED, f"{reason}; it was deleted, and {_BURNT}")

    # Small things.

    def _is_ours(self, current: Mapping[str, Any]) -> bool:
        mark = current.get(policy.MARK)
        if mark == policy.mark_for(self._image, with_data=False):
            return bool(current["status"] == "queued")  # else somebody filled the place that we kept
        return bool(mark == policy.mark_for(self._image))

    def _is_empty(self) -> bool:
        """Whether it is an image of zero bytes, like the snapshot of a volume: that can be had without a source."""
        return self._image.metadata.get("status") == "active" and self._image.size == 0

    def _data(self) -> Payload:
        if self._payload is None:
            empty = bool(self._image.absent) and self._is_empty()
            self._payload = Payload(self._image, self._source, self._progress, empty=empty)
        return self._payload

    def _look(self) -> dict[str, Any]:
        current = self._api.find(self._image.id)
        if current is None:
            raise _Verdict(Action.FAILED, f"the image was deleted at the target during the load; {_BURNT}")
        return current

    def _outcome(self, action: Action, agreement: Agreement) -> Outcome:
        reason = self._image.absent
        if not reason and not agreement.verified:
            reason = _NO_DIGEST
        return Outcome(
            self._image.id,
            self._image.name,
            action,
            reason,
            size=0 if action is Action.NO_DATA else self._image.size or 0,
            verified=agreement.verified,
            dropped=[*policy.reports(self._image), *self._dropped],
        )


class _Bytes:
    """Bytes as a `Body`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Any:
        yield self._data


def _unauthorized(error: GlanceArchiveError) -> bool:
    return isinstance(error, AccessError) and error.status == 401
