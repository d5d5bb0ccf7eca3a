"""What a dump, a load or a live copy would do: targets that only look.

What only the attempt shows is not foreseen: quotas and rules that a server does not tell, the id of a deleted image
where the caller is no admin, data that are not what their digest says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

from glancearchive.endpoints import policy
from glancearchive.endpoints.agreement import Agreement, compare_data
from glancearchive.endpoints.archive_target import NO_DIGEST, recorded
from glancearchive.endpoints.arrival import NOT_COMPARED, Arrival, Verdict
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.glance_listing import Listing
from glancearchive.endpoints.glance_presence import present
from glancearchive.endpoints.glance_target import THERE
from glancearchive.endpoints.glance_upload import obstacle
from glancearchive.endpoints.ids import Ids
from glancearchive.endpoints.payload import Payload
from glancearchive.endpoints.prospects import Prospects
from glancearchive.errors import LocalError
from glancearchive.format.base import Base
from glancearchive.format.catalog import Entry
from glancearchive.format.places import Places, Split
from glancearchive.format.reader import Archive
from glancearchive.format.resume import check_header, check_limit
from glancearchive.format.schema import DEFAULT_BLOCK_SIZE
from glancearchive.format.state import Relation, new_header
from glancearchive.image import Action, Image, Outcome, Progress, Source
from glancearchive.operations.load import survey
from glancearchive.operations.transfer import Stop, transfer
from glancearchive.plural import counted


def plan_dump(
    source: Source,
    path: Path,
    *,
    split: Split | None = None,
    level: str = "default",
    block_size: int | None = None,
    base: Base | None = None,
    progress: Progress,
    jobs: int = 2,
    stop: Stop | None = None,
) -> Iterator[Outcome]:
    """What would become of every image of `source` in a dump into the archive `path`, were it added to.

    With `base` a new archive would be an increment of that. `level`, `block_size`, `split` are as `dump` takes them.

    Raises LocalError when `path` is something else; UsageError where it cannot be gone on with so, and when the volumes
    of a new one would be too small.
    """
    entries: dict[str, Entry] = {}
    relation = Relation(base.header.hash_key, base.name) if base is not None else None
    places = Places(path, split) if path.parent.is_dir() else None
    there = [path] if path.exists() else [*places.paths.values()] if places else []
    header = new_header(source.label, level, block_size or DEFAULT_BLOCK_SIZE, relation)
    if there:
        with Archive(there) as archive:
            if archive.header.source != source.label:
                raise LocalError(f"{there[0]}: is an archive of {archive.header.source}, not of {source.label}")
            header = archive.header
            check_header(there[0], header, block_size, relation)
            entries = {entry.begin.id: entry for entry in archive.catalog.current() if entry.begin is not None}
    if places:
        check_limit(places, header)
    yield from transfer(source, _Recording(entries, base, path), progress=progress, jobs=jobs, stop=stop)


class Outlook:
    """What concerns a load as a whole, known once all its images were looked at."""

    def __init__(self, prospects: Prospects) -> None:
        self.prospects = prospects
        self._lock = threading.Lock()
        self._staying = _Amount()
        self._leaving = _Amount()
        self._unread = 0

    def expect(self, image: Image) -> None:
        """`image` would be created."""
        with self._lock:
            (self._staying if self.prospects.stays(image) else self._leaving).add(image.size or 0)

    def expect_reading(self) -> None:
        """The data of an image that is there would have to be read to compare them."""
        with self._lock:
            self._unread += 1

    @property
    def bytes(self) -> int:
        """Image data that would be uploaded."""
        return self._staying.bytes + self._leaving.bytes

    def seconds(self, rate: int | None) -> int | None:
        """How long that takes at `rate` bytes a second; None without a rate."""
        return ceil(self.bytes / rate) if rate else None

    def token_seconds(self, now: datetime | None = None) -> int | None:
        """How long the caller's token is still good for; None without one, or where it is renewed by itself."""
        login = self.prospects.login
        if login is None or login.renewable or login.expires is None:
            return None
        return max(int((login.expires - (now or datetime.now(UTC))).total_seconds()), 0)

    def findings(self, rate: int | None = None) -> list[str]:
        """One line for each limit that stands in the way."""
        lines = []
        for quota, needed in (
            (self.prospects.size, ceil((self._staying.bytes + self._leaving.largest) / (1 << 20))),
            (self.prospects.count, self._staying.count + min(self._leaving.count, 1)),
        ):
            if quota and quota.left is not None and needed > quota.left:
                unit = "images" if quota.unit == 1 else "MiB"
                lines.append(
                    f"quota {quota.name}: {needed} {unit} would be needed, and {quota.left} of {quota.limit} are left"
                )
        seconds, life = self.seconds(rate), self.token_seconds()
        if life is not None and (seconds or 0) >= life:
            lines.append(
                f"the token is good for {life} s and cannot be renewed, and the load takes {seconds or 0} s: "
                "log in with a password or an application credential"
            )
        return lines

    def unknown(self) -> list[str]:
        """One line for each thing that only the attempt shows."""
        lines = list(self.prospects.untold)
        count = self._staying.count + self._leaving.count
        if count and not self.prospects.sees_deleted:
            lines.append(
                f"whether the ids of {counted(count, 'image')} can be had is unknown until tried: "
                "at most an admin is told which ids were deleted there"
            )
        if self._unread:
            images = counted(self._unread, "image")
            lines.append(f"whether the data of {images} are those that are there is unknown until they are read")
        return lines


class _Amount:
    """Images, added up."""

    count = bytes = largest = 0

    def add(self, size: int) -> None:
        self.count += 1
        self.bytes += size
        self.largest = max(self.largest, size)


def plan_load(
    source: Source,
    api: GlanceApi,
    *,
    progress: Progress,
    jobs: int = 2,
    update_metadata: bool = False,
    ids: Ids | None = None,
    outlook: Outlook | None = None,
    stop: Stop | None = None,
    checked: Callable[[], None] | None = None,
) -> Iterator[Outcome]:
    """What would become of every image of `source` in the Glance behind `api`, as far as requests tell that only read.

    `outlook` learns what that comes to. No image data are read. Raises UsageError when `ids` make no sense for these
    images; `checked` is called once that is known.
    """
    ids = ids or Ids()
    listing, parts = survey(source, api, ids)
    if checked:
        checked()
    outlook = outlook or Outlook(Prospects(api))
    target = _Looking(api, ids, listing, outlook, update_metadata=update_metadata)
    for part in parts:
        yield from transfer(part, target, progress=progress, jobs=jobs, stop=stop)


class _Recording:
    """An archive with `entries` and perhaps a `base`, to which nothing is added; implements `image.Target`."""

    def __init__(self, entries: Mapping[str, Entry], base: Base | None, path: Path) -> None:
        self._entries = entries
        self._base = base
        self.label = f"archive {path}"

    def receive(self, image: Image, _source: Source, _progress: Progress) -> Outcome:
        entry = self._entries.get(image.id) or (self._base.entry(image.id) if self._base is not None else None)
        known = recorded(image, entry) if entry is not None else None
        return known or _expected(image, "" if image.digests or image.held.original else NO_DIGEST)


class _Looking:
    """A Glance that nothing is sent to; implements `glancearchive.image.Target`."""

    def __init__(self, api: GlanceApi, ids: Ids, listing: Listing, outlook: Outlook, *, update_metadata: bool) -> None:
        self._api = api
        self._ids = ids
        self._listing = listing
        self._outlook = outlook
        self._update_metadata = update_metadata
        self.label = api.label

    def receive(self, image: Image, source: Source, progress: Progress) -> Outcome:
        payload = Payload(image, source, progress)
        for place in self._ids.places(image, self._listing):
            arrival = _Glimpse(self._api, self._ids.translated(image, place, self._listing), payload)
            try:
                outcome = self._foreseen(arrival)
            except Verdict as verdict:
                if verdict.elsewhere and self._ids.renews(image):
                    continue
                advice = self._ids.advice(wreck=verdict.wreck) if verdict.elsewhere else ""
                outcome = Outcome(image.id, image.name, verdict.action, f"{verdict}{advice}")
            outcome.id, outcome.new_id = image.id, "" if place == image.id else place
            if outcome.action in THERE:
                self._ids.settle(image, place)
            return outcome
        return Outcome(image.id, image.name, Action.CONFLICT, "no id that it could get can be had there")

    def _foreseen(self, arrival: Arrival) -> Outcome:
        image = arrival.image
        current = self._listing.images.get(image.id)
        if current is None and not self._listing.complete:
            current = self._api.find(image.id)
        if current is None:
            return self._created(image)
        if policy.is_ours(current, image):
            if not (image.absent and not policy.is_empty(image)) and (verdict := obstacle(arrival, current)):
                raise verdict
            return self._finished(image)
        outcome = present(arrival, current, update=False)
        if outcome.reason == NOT_COMPARED and Image(current).digests:
            outcome.reason = ""
            self._outlook.expect_reading()
        if outcome.action is Action.PRESENT and outcome.differences and self._update_metadata:
            changing = tuple(line.partition(":")[0] for line in outcome.differences)
            refused = self._outlook.prospects.dropped(image)
            outcome.dropped += [line for line in refused if line.startswith(changing)]
            outcome.action, outcome.differences = Action.UPDATED, []
        return outcome

    def _created(self, image: Image) -> Outcome:
        """The outcome for an image that is not there. Raises `Verdict` for an id that cannot be had."""
        prospects = self._outlook.prospects
        if not image.held.lacking:
            if refusal := prospects.refusal(image):
                return Outcome(image.id, image.name, Action.FAILED, refusal)
            if taken := prospects.taken(image.id):
                raise Verdict(Action.CONFLICT, taken, elsewhere=True)
        return self._finished(image)

    def _finished(self, image: Image) -> Outcome:
        """The outcome for an image that a load creates, or goes on with."""
        outcome = _expected(image, "")
        if outcome.action is not Action.FAILED:
            self._outlook.expect(image)
            outcome.dropped += self._outlook.prospects.dropped(image)
        return outcome


def _expected(image: Image, reason: str) -> Outcome:
    """The outcome for an image that is still to be copied, as far as the source tells."""
    if image.held.lacking:
        return Outcome(image.id, image.name, Action.FAILED, image.held.lacking)
    if image.absent and not policy.is_empty(image):
        return Outcome(image.id, image.name, Action.NO_DATA, image.absent)
    dropped = policy.reports(image)
    return Outcome(image.id, image.name, Action.COPIED, reason, image.size or 0, dropped=dropped)


class _Glimpse(Arrival):
    """An image that is compared by the digests that are known; nothing is read for it."""

    def agreement(self, current: Mapping[str, Any], expected: Image) -> Agreement:
        return compare_data(Image(current), expected, None)
