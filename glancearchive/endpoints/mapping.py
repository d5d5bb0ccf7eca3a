"""What shall be otherwise at the target than at the source: fields set or left out, and other owners.

What was asked for here is how the image shall be: it is neither a difference nor a loss.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from glancearchive.endpoints.policy import FORMATS, MARK, SOURCE_ID, VISIBILITIES, Treatment, rule_for
from glancearchive.errors import UsageError
from glancearchive.image import Buffer, Image, Source

_NAMED = 10  # projects in a message
_PROJECT = re.compile("[0-9a-f]{32}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Changes:
    """`fields` are set, the fields in `removed` are left out; `owners` has project ids at the target by those before.

    Members are projects too, and follow.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    owners: Mapping[str, str] = field(default_factory=dict)

    def applied(self, image: Image) -> Image:
        """`image` as it shall be at the target."""
        if not (self.fields or self.removed or self.owners):
            return image
        metadata = {key: value for key, value in image.metadata.items() if key not in self.removed}
        owner = metadata.get("owner")
        if isinstance(owner, str) and owner in self.owners:
            metadata["owner"] = self.owners[owner]
        metadata |= self.fields
        return replace(image, metadata=metadata, members=self._members(image, metadata.get("owner")))

    def _members(self, image: Image, owner: object) -> list[Mapping[str, Any]]:
        """The members, each project once; an owner that became one of them needs no membership."""
        found: dict[object, Mapping[str, Any]] = {}
        for member in image.members:
            project = member.get("member_id")
            place = self.owners.get(project, project) if isinstance(project, str) else project
            if place == project or place != owner:
                found.setdefault(place, {**member, "member_id": place})
        return list(found.values())


class Mapped:
    """The images of `source` with `changes`; implements `glancearchive.image.Source`."""

    def __init__(self, source: Source, changes: Changes) -> None:
        self._source = source
        self._changes = changes
        self.label = source.label

    def images(self) -> Iterator[Image]:
        """As `Source.images`. Raises UsageError after the last, when an owner is mapped that nothing belongs to."""
        idle = set(self._changes.owners)
        seen: set[str] = set()
        for image in self._source.images():
            if idle:
                named = image.metadata.get("owner"), *(member.get("member_id") for member in image.members)
                seen |= {str(project) for project in named if project}
                idle -= seen
            yield self._changes.applied(image)
        if idle:
            strange = ", ".join(sorted(idle))
            projects = ", ".join(sorted(seen)[:_NAMED]) + (", …" if len(seen) > _NAMED else "")
            hint = (
                "" if all(map(_PROJECT.fullmatch, idle)) else "where no Keystone knows its name, OLD has to be an id; "
            )
            raise UsageError(
                f"--map owner: no image to be copied belongs to project {strange} or is shared with it; {hint}"
                + (f"the projects of these images are {projects}" if projects else "these images name no project")
            )

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        return self._source.read(image, offset)


def read_changes(settings: Iterable[str], unset: Iterable[str]) -> Changes:
    """The changes that ``KEY=VALUE`` and ``KEY`` on a command line stand for. Raises UsageError."""
    fields: dict[str, Any] = {}
    removed: set[str] = set()
    for text in settings:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise UsageError(f"--set {text!r}: expected KEY=VALUE")
        _require_settable(f"--set {key}", key)
        if key in fields:
            raise UsageError(f"--set {key}: is given twice")
        fields[key] = _value(key, value)
    for key in unset:
        _require_settable(f"--unset {key}", key)
        if key in fields:
            raise UsageError(f"--unset {key}: is set as well")
        rule = rule_for(key)
        if key in FORMATS:
            raise UsageError(f"--unset {key}: {rule.why}")
        if rule.custom or key == "owner":  # without an owner named it belongs to the project that loads it
            removed.add(key)
        else:
            fields[key] = [] if key == "tags" else rule.default
    return Changes(fields, frozenset(removed))


def owner_pairs(texts: Iterable[str]) -> dict[str, str]:
    """What ``OLD=NEW`` stand for. Raises UsageError."""
    pairs: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not (old and equals and new):
            raise UsageError(f"--map owner {text!r}: expected OLD=NEW")
        if pairs.setdefault(old, new) != new:
            raise UsageError(f"--map owner: {old!r} is mapped twice")
    return pairs


def _require_settable(what: str, key: str) -> None:
    rule = rule_for(key)
    if key == "id":
        raise UsageError(f"{what}: other ids are had with --id-policy")
    if key in (MARK, SOURCE_ID) or rule.treatment is Treatment.NEVER:
        raise UsageError(f"{what}: cannot be chosen: {rule.why}")


def _value(key: str, text: str) -> Any:
    """The value of a field, of the type that it has. Raises UsageError."""
    convert, expected = _TYPES.get(key, (str, ""))
    try:
        return convert(text)
    except (ValueError, KeyError):
        raise UsageError(f"--set {key}={text}: expected {expected}") from None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError(text)
    return int(text)


def _named(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


_TRUTH: tuple[Callable[[str], Any], str] = ({"true": True, "false": False}.__getitem__, "true or false")
_NUMBER: tuple[Callable[[str], Any], str] = (_number, "a number")
_TYPES: dict[str, tuple[Callable[[str], Any], str]] = {
    "min_disk": _NUMBER,
    "min_ram": _NUMBER,
    "protected": _TRUTH,
    "os_hidden": _TRUTH,
    "visibility": ({word: word for word in VISIBILITIES}.__getitem__, f"one of {', '.join(VISIBILITIES)}"),
    "tags": (lambda text: [tag for tag in text.split(",") if tag], "tags with commas between them"),
    "owner": (_named, "a project's id"),
    "disk_format": (_named, "a format"),
    "container_format": (_named, "a format"),
}
