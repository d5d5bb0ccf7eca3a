"""What a dump, a load or a live copy would do: targets that only look.

What only the attempt shows is not foreseen: quotas and rules that a server does not tell, the id of a deleted image
where the caller is no admin, data that are not what their digest says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glancearchive.endpoints import policy
from glancearchive.endpoints.agreement import Agreement, compare_data
from glancearchive.endpoints.archive_source import not_all_here
from glancearchive.endpoints.archive_target import NO_DIGEST, doubted, recordable, recorded
from glancearchive.endpoints.arrival import BURNT, NOT_COMPARED, Arrival, Verdict
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.glance_import import ImportMethod, conversion, converted_reason, is_staged
from glancearchive.endpoints.glance_listing import Listing
from glancearchive.endpoints.glance_presence import present
from glancearchive.endpoints.glance_target import THERE
from glancearchive.endpoints.glance_upload import compared, converted_before, obstacle
from glancearchive.endpoints.ids import Ids
from glancearchive.endpoints.image_list import Json
from glancearchive.endpoints.payload import Payload
from glancearchive.endpoints.prospects import Prospects
from glancearchive.errors import LocalError
from glancearchive.format.archiveheader import DEFAULT_BLOCK_SIZE
from glancearchive.format.base import Base
from glancearchive.format.catalog import Entry
from glancearchive.format.places import Places, Split
from glancearchive.format.reader import Archive
from glancearchive.format.resume import check_header, check_limit
from glancearchive.format.state import Relation, new_header
from glancearchive.format.volumes import part_of
from glancearchive.image import Action, Image, Outcome, Progress, Source, Target
from glancearchive.operations.dump import with_left_behind
from glancearchive.operations.load import received
from glancearchive.operations.outlook import Outlook
from glancearchive.operations.outputs import check_creation
from glancearchive.operations.transfer import Stop, transfer


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

    Raises LocalError when `path` is something else, or cannot be created; UsageError where it cannot be gone on with
    so, and when the volumes of a new one would be too small.
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
    else:
        for directory in (split.directories if split else ()) or (path.parent,):
            check_creation(part_of(directory / path.name))
    if places:
        check_limit(places, header)
    outcomes = transfer(source, _Recording(entries, base, path), progress=progress, jobs=jobs, stop=stop)
    yield from with_left_behind(outcomes, entries.values())


def plan_load(
    source: Source,
    api: GlanceApi,
    *,
    progress: Progress,
    jobs: int = 2,
    update_metadata: bool = False,
    ids: Ids | None = None,
    method: ImportMethod = ImportMethod.DIRECT,
    outlook: Outlook | None = None,
    holds: Callable[[str], str] = lambda _image_id: "",
    stop: Stop | None = None,
    checked: Callable[[], None] | None = None,
) -> Iterator[Outcome]:
    """What would become of every image of `source` in the Glance behind `api`, as far as requests tell that only read.

    `outlook` learns what that comes to; `holds` says what is known to be missing of an image in the source, by its id.
    No image data are read. Raises UsageError when `ids` make no sense for these
    images; `checked` is called once that is known.
    """
    ids = ids or Ids()

    def target(listing: Listing) -> Target:
        known = outlook or Outlook(Prospects(api), method)
        return _Looking(api, ids, listing, known, holds, update_metadata=update_metadata)

    yield from received(source, api, ids, target, progress=progress, jobs=jobs, stop=stop, checked=checked)


class _Recording:
    """An archive with `entries` and perhaps a `base`, to which nothing is added; implements `image.Target`."""

    def __init__(self, entries: Mapping[str, Entry], base: Base | None, path: Path) -> None:
        self._entries = entries
        self._base = base
        self.label = f"archive {path}"

    def receive(self, image: Image, _source: Source, _progress: Progress) -> Outcome:
        entry = self._entries.get(image.id) or (self._base.entry(image.id) if self._base is not None else None)
        image, lost = recordable(image)
        known = recorded(image, entry) if entry is not None else None
        outcome = known or _expected(image, "" if image.digests or image.held.original else NO_DIGEST)
        outcome.dropped += lost
        return doubted(outcome, image)


class _Looking:
    """A Glance that nothing is sent to; implements `glancearchive.image.Target`."""

    def __init__(
        self,
        api: GlanceApi,
        ids: Ids,
        listing: Listing,
        outlook: Outlook,
        holds: Callable[[str], str],
        *,
        update_metadata: bool,
    ) -> None:
        self._api = api
        self._ids = ids
        self._listing = listing
        self._outlook = outlook
        self._holds = holds
        self._update_metadata = update_metadata
        self.label = api.label

    def receive(self, image: Image, source: Source, progress: Progress) -> Outcome:
        # Data of unknown size would be read to count them.
        payload = Payload(image, source, progress, empty=image.size is None)
        for place in self._ids.places(image, self._listing):
            translated = self._ids.translated(image, place, self._listing)
            arrival = _Glimpse(self._api, translated, payload, staged=self._outlook.staged, origin=image)
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

    def _foreseen(self, arrival: _Glimpse) -> Outcome:
        image = arrival.image
        current = self._listing.images.get(image.id)
        if current is None and not self._listing.complete:
            current = self._api.find(image.id)
        if current is None:
            return self._created(arrival)
        if policy.is_ours(current, image):
            return self._gone_on_with(arrival, current)
        outcome = present(arrival, current, update=False)
        if outcome.reason == NOT_COMPARED and Image(current).digests:
            self._require_data(arrival)
            outcome.reason = ""
            self._outlook.expect_reading()
        if outcome.action is Action.PRESENT and outcome.differences and self._update_metadata:
            lasting = [line for line in outcome.differences if policy.is_lasting(line)]
            changing = [policy.about(line) for line in outcome.differences if line not in lasting]
            refused = self._outlook.prospects.dropped(image)
            # A line about a member may name its status too.
            beginnings = tuple(f"{field}{end}" for field in changing for end in (":", " "))
            outcome.dropped += [line for line in refused if line.startswith(beginnings)]
            outcome.action = Action.UPDATED if changing else Action.PRESENT
            outcome.differences = lasting
        return outcome

    def _created(self, arrival: _Glimpse) -> Outcome:
        """The outcome for an image that is not there. Raises `Verdict` for an id that cannot be had."""
        image, prospects = arrival.image, self._outlook.prospects
        self._require_data(arrival)  # before anything is created, a load looks at the data
        if refusal := prospects.refusal(image):
            return Outcome(image.id, image.name, Action.FAILED, refusal)
        if taken := prospects.taken(image.id):
            raise Verdict(Action.CONFLICT, taken, elsewhere=True)
        return self._sent(arrival)

    def _gone_on_with(self, arrival: _Glimpse, current: Json) -> Outcome:
        """The outcome for an image that a load began. Raises `Verdict`."""
        image = arrival.image
        if image.absent and not policy.is_empty(image):
            return self._sent(arrival)
        if arrival.staged and is_staged(arrival, current):
            return self._finished(image)
        if verdict := obstacle(arrival, current):
            raise verdict
        if current["status"] == "queued":
            return self._sent(arrival)
        if image.size is None:
            self._outlook.expect_reading()
            return self._finished(image)
        if arrival.staged and not image.absent and (changes := conversion(arrival, current)):
            outcome = self._finished(policy.as_converted(image, current))
            outcome.action, outcome.reason = Action.CONVERTED, converted_reason(changes)
            return outcome
        if difference := compared(arrival, current).difference:
            reason = f"the target stored something else: {difference}; a load deletes it, and {BURNT}"
            raise converted_before(image, current) or Verdict(Action.FAILED, reason)
        return self._finished(image)

    def _require_data(self, arrival: _Glimpse) -> None:
        """Raises `Verdict` for an image whose data would be read, where the source is known not to have them all."""
        origin = arrival.origin
        if not origin.absent and (lacking := self._holds(origin.id)):
            raise Verdict(Action.HELD, f"{not_all_here(origin)}: {lacking}")
        if origin.held.lacking:
            raise Verdict(Action.FAILED, origin.held.lacking)

    def _sent(self, arrival: _Glimpse) -> Outcome:
        """The outcome for an image whose data are sent, if it has any. Raises `Verdict`."""
        self._require_data(arrival)
        self._outlook.expect(arrival.image)
        return self._finished(arrival.image)

    def _finished(self, image: Image) -> Outcome:
        """The outcome for an image of ours that gets its metadata, where it has what a load needs."""
        outcome = _expected(image, "")
        if outcome.action is not Action.FAILED:
            outcome.dropped += [*policy.reports(image), *self._outlook.prospects.dropped(image)]
        return outcome


def _expected(image: Image, reason: str) -> Outcome:
    """The outcome for an image that is still to be copied, as far as the source tells."""
    if image.held.lacking:
        return Outcome(image.id, image.name, Action.FAILED, image.held.lacking)
    if image.absent and not policy.is_empty(image):
        return Outcome(image.id, image.name, Action.NO_DATA, image.absent)
    return Outcome(image.id, image.name, Action.COPIED, reason, image.size or 0)


@dataclass(frozen=True, slots=True)
class _Glimpse(Arrival):
    """An image that is compared by the digests that are known, and for which nothing is read.

    `origin` is the image as the source has it.
    """

    origin: Image = field(kw_only=True)

    def agreement(self, current: Mapping[str, Any], expected: Image) -> Agreement:
        return compare_data(Image(current), expected, None)
