"""Choosing images by what their Glance says of them.

Conditions of one kind are alternatives, and every kind that is given has to
hold; an image that an exclusion fits is out whatever else holds. Values may be
patterns as :func:`fnmatch.fnmatchcase` takes them (``*``, ``?``, ``[abc]``); a
value that is there as it was written counts as well, so that a name with
brackets in it can be named.
"""

from __future__ import annotations

import fnmatch
import glob
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from glancearchive.endpoints.location import LocatedSource
from glancearchive.endpoints.policy import VISIBILITIES as VISIBILITIES
from glancearchive.endpoints.policy import rule_for
from glancearchive.errors import UsageError
from glancearchive.image import Buffer, Image, ImageFault

Metadata = Mapping[str, Any]

_FILTERS = ("name", "tag", "owner", "visibility", "status", "disk_format", "container_format")
# Parameters of a listing that are none of its filters (``glance/api/v2/images.py``: ``RequestDeserializer.index``).
_PARAMETERS = {"limit", "marker", "sort", "sort_key", "sort_dir", "member_status", "size_min", "size_max"}
STATUSES = ("queued", "saving", "uploading", "importing", "active", "deactivated", "killed", "deleted")

_NAMED = 5  # owners in a message
_AGE = re.compile(r"(\d+)([mhdw])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class _Texts:
    """The values of one kind, against the words that an image has of that kind.

    `idle` are those that have fitted no image so far.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._literal: set[str] = set()
        self._patterns: dict[str, re.Pattern[str]] = {}
        self.idle: set[str] = set()

    def add(self, text: str) -> None:
        pattern = _pattern(self._kind, text)
        self._literal.add(text)
        if glob.has_magic(pattern):
            self._patterns[text] = re.compile(fnmatch.translate(pattern))
        self.idle.add(text)

    def fits(self, metadata: Metadata) -> bool:
        words = list(_WORDS[self._kind](metadata))
        found = self._literal.intersection(words)
        found |= {text for text, pattern in self._patterns.items() if any(map(pattern.match, words))}
        self.idle -= found
        return bool(found)


class _Since:
    """Points in time, against when an image was created or last changed."""

    def __init__(self, now: datetime, *, unknown: bool) -> None:
        self._now = now
        self._unknown = unknown  # the answer for an image whose times nobody told
        self._moments: dict[str, datetime] = {}
        self.idle: set[str] = set()

    def add(self, text: str) -> None:
        self._moments[text] = point_in_time(text, self._now)
        self.idle.add(text)

    def fits(self, metadata: Metadata) -> bool:
        changed = _moment(metadata.get("updated_at")) or _moment(metadata.get("created_at"))
        if changed is None:
            return self._unknown
        found = {text for text, moment in self._moments.items() if changed >= moment}
        self.idle -= found
        return bool(found)


class _Conditions:
    """Conditions of several kinds."""

    def __init__(self, now: datetime, *, unknown: bool) -> None:
        self._now = now
        self._unknown = unknown
        self._kinds: dict[str, _Texts | _Since] = {}

    def add(self, kind: str, text: str) -> None:
        if kind not in self._kinds:
            self._kinds[kind] = _Since(self._now, unknown=self._unknown) if kind == "since" else _Texts(kind)
        self._kinds[kind].add(text)

    def fits(self, metadata: Metadata) -> list[bool]:
        """One answer for each kind; every kind is asked, since it has to know which values are idle."""
        return [each.fits(metadata) for each in self._kinds.values()]

    def idle(self) -> Iterator[tuple[str, str]]:
        for kind, each in self._kinds.items():
            yield from ((kind, text) for text in sorted(each.idle))


class Selection:
    """Decides which images are meant, and remembers what it was asked about.

    `conditions` are kinds (`KINDS`) and values; `excluded` are values of
    ``KIND=VALUE``, or ids, names or patterns of either. `now` is what ages are
    counted from. Raises UsageError. For one thread.
    """

    def __init__(
        self,
        conditions: Iterable[tuple[str, str]] = (),
        excluded: Iterable[str] = (),
        *,
        now: datetime | None = None,
    ) -> None:
        now = now or datetime.now(UTC)
        # An image of unknown age is rather taken than left behind.
        self._included = _Conditions(now, unknown=True)
        self._excluded = _Conditions(now, unknown=False)
        self._words: list[str] = []
        self._conditions = list(conditions)
        for kind, text in self._conditions:
            self._included.add(kind, text)
            self._words.append(f"--{kind} {text}")
        for text in excluded:
            self._excluded.add(*_exclusion(text))
            self._words.append(f"--exclude {text}")
        self.seen = 0  # images that were asked about
        self.chosen = 0
        self._chosen_ids: set[object] = set()
        self._owners: set[str] = set()

    def __bool__(self) -> bool:
        """Whether anything was asked for: without, every image is chosen."""
        return bool(self._words)

    def __str__(self) -> str:
        return " ".join(self._words)

    def chooses(self, metadata: Metadata) -> bool:
        """Whether the image with this metadata is meant."""
        included, excluded = self._included.fits(metadata), self._excluded.fits(metadata)
        chosen = all(included) and not any(excluded)
        self.seen += 1
        self.chosen += chosen
        if not chosen and len(self._owners) < _NAMED and metadata.get("owner"):
            self._owners.add(str(metadata["owner"]))
        if chosen and self:
            self._chosen_ids.add(metadata.get("id"))
        return chosen

    @property
    def hint(self) -> str:
        """What may be wrong where nothing was chosen; "" when nothing is known of that."""
        if not any(kind == "owner" for kind, _ in self._conditions):
            return ""
        among = f"; among those of these images are {', '.join(sorted(self._owners))}" if self._owners else ""
        return f"--owner takes ids of projects, not their names{among}"

    def faults(self, faults: Iterable[str]) -> list[str]:
        """Those of the `faults` of a source that count, once all images were seen: not those of images not chosen."""
        return [
            fault
            for fault in faults
            if not (self and isinstance(fault, ImageFault)) or fault.image_id in self._chosen_ids
        ]

    @property
    def filters(self) -> dict[str, str]:
        """What a Glance may be told to list only, by field: all that is chosen is among it, and more may be.

        Nothing when images are named, for it would not be known then which of them there are.
        """
        kinds = Counter(kind for kind, _ in self._conditions)
        if kinds["image"]:
            return {}
        # Those of one kind are alternatives, which a Glance does not know.
        conditions = [(kind, text) for kind, text in self._conditions if kinds[kind] == 1 and kind != "since"]
        pairs = [text.split("=", 1) if kind == "property" else (kind, text) for kind, text in conditions]
        return {field: value for field, value in pairs if _tells(field, value)}

    def unknown(self) -> list[str]:
        """The ids, names and patterns that were asked for and are those of no image that was seen."""
        return [text for kind, text in self._included.idle() if kind == "image"]

    def idle_exclusions(self) -> list[str]:
        """The exclusions that fitted no image that was seen."""
        return [f"{kind}={text}" for kind, text in self._excluded.idle()]


class Selected:
    """The images of `source` that `selection` chooses; implements `glancearchive.endpoints.location.LocatedSource`."""

    def __init__(self, source: LocatedSource, selection: Selection) -> None:
        self._source = source
        self._selection = selection
        self.label = source.label

    @property
    def faults(self) -> Sequence[str]:
        """Those of the source but for other images, as far as they are known yet."""
        return self._selection.faults(self._source.faults)

    def images(self) -> Iterator[Image]:
        for image in self._source.images():
            if self._selection.chooses(image.metadata):
                yield image

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        return self._source.read(image, offset)


def _tells(field: str, value: str) -> bool:
    """Whether a Glance filters by this value of a field just as we do.

    It filters properties by their strings, and its own fields by other rules; it takes ``in:`` and the like for
    operators (``glance/common/utils.py``: ``split_filter_op``), and lists deleted images by their status.
    """
    if not value.strip() == value != "" or glob.has_magic(value) or ":" in value:
        return False
    if (field, value) == ("status", "deleted"):
        return False
    return field in _FILTERS or (rule_for(field).custom and field not in _PARAMETERS)


def point_in_time(text: str, now: datetime) -> datetime:
    """What ``--since`` means: a date, a date and time (UTC where it names no zone), or an age such as ``7d``.

    Raises UsageError.
    """
    try:
        if age := _AGE.fullmatch(text):
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        found = _moment(text)
    except (OverflowError, ValueError):  # further back than the calendar, or more digits than int takes
        found = None
    if found is None:
        raise UsageError(
            f"--since {text!r} is no time: expected a date (2026-01-31), a date and time (2026-01-31T12:00Z), "
            "or an age (30m, 12h, 7d, 2w)"
        )
    return found


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def _exclusion(text: str) -> tuple[str, str]:
    """The kind and the value that an exclusion stands for."""
    kind, equals, value = text.partition("=")
    if kind in KINDS and equals:
        return kind, value
    if equals and re.fullmatch(r"[a-z_]+", kind):
        raise UsageError(
            f"--exclude {text!r}: {kind!r} is none of {', '.join(KINDS)}; for an image of that name: "
            f"--exclude {f'image={text}'!r}"
        )
    return "image", text


def _pattern(kind: str, text: str) -> str:
    """The pattern that a value is. Raises UsageError for values that no image can have."""
    if kind == "property":
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise UsageError(f"--property {text!r}: expected KEY=VALUE")
        return f"{glob.escape(key)}={value}"
    known = {"visibility": VISIBILITIES, "status": STATUSES}.get(kind)
    if known is not None and text not in known:
        raise UsageError(f"--{kind} {text!r}: expected one of {', '.join(known)}")
    return text


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _tags(metadata: Metadata) -> Sequence[str]:
    tags = metadata.get("tags")
    return [str(tag) for tag in tags] if isinstance(tags, list | tuple) else []


def _one(field: str) -> Callable[[Metadata], Sequence[str]]:
    return lambda metadata: [str(metadata.get(field) or "")]


_WORDS: dict[str, Callable[[Metadata], Iterable[str]]] = {
    "image": lambda metadata: [str(metadata.get("id") or ""), str(metadata.get("name") or "")],
    "name": _one("name"),
    "tag": _tags,
    # Every field counts as a property, as in "disk_format=qcow2"; what is no string is as JSON has it.
    "property": lambda metadata: [f"{key}={_as_text(value)}" for key, value in metadata.items()],
    "owner": _one("owner"),
    "visibility": _one("visibility"),
    "status": _one("status"),
}

KINDS = (*_WORDS, "since")
"""The kinds of conditions, each an option of the command line."""
