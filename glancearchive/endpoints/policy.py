"""What a load does with each field of an image's metadata, and why: one table, and pure functions over it.

A load has two phases. The image is created private, unprotected and marked as ours, with only what an upload needs;
everything else follows once the data in the Glance are known to be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from glancearchive.endpoints.agreement import contradiction
from glancearchive.image import Image

MARK = "glancearchive_transfer"
"""The property that says that an image is being loaded by us, and what it is to become."""

SOURCE_ID = "glancearchive_source_id"
"""The property of an image that got another id: the one it had where it came from. It stays."""

CONVERTED = "glancearchive_converted"
"""The property of an image whose data the target has converted: hashes of what was sent and of what it became."""

FORMATS = ("disk_format", "container_format")

VISIBILITIES = ("public", "community", "shared", "private")
"""Who an image is for, the widest first."""

Patch = dict[str, Any]
"""One operation of ``application/openstack-images-v2.1-json-patch``."""


class Treatment(Enum):
    """What becomes of a field."""

    CREATE = "sent when the image is created"
    FINAL = "sent once the data were verified"
    NEUTRALISED = "sent with another value, and reported"
    NEVER = "never sent"


@dataclass(frozen=True, slots=True)
class Rule:
    """The first rule whose pattern matches a field's name decides. `default` is what a missing field means."""

    pattern: str
    treatment: Treatment
    why: str
    default: Any = None
    custom: bool = False  # a free-form string property, not one of Glance's own attributes


TABLE: tuple[Rule, ...] = (
    Rule("id", Treatment.CREATE, "the same image keeps its id"),
    Rule("name", Treatment.CREATE, "an operator has to recognise a half-loaded image"),
    Rule("disk_format", Treatment.CREATE, "an upload without it is refused, and it is fixed afterwards"),
    Rule("container_format", Treatment.CREATE, "an upload without it is refused, and it is fixed afterwards"),
    Rule("min_disk", Treatment.CREATE, "a plain number", default=0),
    Rule("min_ram", Treatment.CREATE, "a plain number", default=0),
    Rule("tags", Treatment.FINAL, "quotas may refuse some, which must not stop the data", default=()),
    Rule("owner", Treatment.FINAL, "only an admin may give an image away; ours until it is verified"),
    Rule("protected", Treatment.FINAL, "a protected image with wrong data could not be deleted", default=False),
    Rule("os_hidden", Treatment.FINAL, "unknown to old servers", default=False),
    Rule("visibility", Treatment.FINAL, "nobody else may boot an unverified image", default="private"),
    Rule("status", Treatment.NEVER, "Glance's own; a deactivated image is deactivated by its own call"),
    Rule("size", Treatment.NEVER, "Glance counts it; compared after the upload"),
    Rule("virtual_size", Treatment.NEVER, "Glance works it out from the data"),
    Rule("checksum", Treatment.NEVER, "Glance computes it; compared after the upload"),
    Rule("os_hash_*", Treatment.NEVER, "Glance computes it, and would store ours as a property that shadows its own"),
    Rule("created_at", Treatment.NEVER, "read-only: the time at the target"),
    Rule("updated_at", Treatment.NEVER, "read-only: the time at the target"),
    Rule("deleted", Treatment.NEVER, "reserved"),
    Rule("deleted_at", Treatment.NEVER, "reserved"),
    Rule("self", Treatment.NEVER, "a link within the source"),
    Rule("file", Treatment.NEVER, "a link within the source"),
    Rule("schema", Treatment.NEVER, "a link within the source"),
    Rule("stores", Treatment.NEVER, "names stores of the source"),
    Rule("direct_url", Treatment.NEVER, "points into the source's store, and may hold credentials"),
    Rule("location", Treatment.NEVER, "reserved; points into the source's store, and may hold credentials"),
    Rule("locations", Treatment.NEVER, "points into the source's store, and may hold credentials"),
    Rule("os_glance_*", Treatment.NEVER, "Glance's own namespace, which it refuses from clients"),
    Rule(MARK, Treatment.NEVER, "our own mark; an image that has it where it comes from is reported"),
    Rule(CONVERTED, Treatment.NEVER, "what a Glance has made of the data: a later load into it finds the image by it"),
    Rule(SOURCE_ID, Treatment.CREATE, "the id that it had, where it got another: a later load finds it", custom=True),
    Rule(
        "cinder_encryption_key_deletion_policy",
        Treatment.NEUTRALISED,
        "deleting the copy would delete the key that the original still needs",
        custom=True,
    ),
    Rule("img_signature*", Treatment.FINAL, "an upload under a signature fails where its certificate is", custom=True),
    Rule("*", Treatment.FINAL, "any other property; refused ones are dropped one by one", custom=True),
)

_THERE = ": target has "  # in a line about a difference, after what differs
_KEY_POLICY = "cinder_encryption_key_deletion_policy"
_BASE_ORDER = tuple(rule.pattern for rule in TABLE if not rule.custom)


def rule_for(field: str) -> Rule:
    """The rule that decides about `field`."""
    return next(rule for rule in TABLE if fnmatchcase(field, rule.pattern))


def mark_for(image: Image, *, with_data: bool = True) -> str:
    """The value of `MARK` on an image that is to become `image`: its id and what identifies its data.

    The id is in it because Nova copies properties to snapshots, which are not ours.
    """
    return f"{image.id} {_data(image) if with_data else 'no-data'}"


def _data(image: Image) -> str:
    """What the data of an image are recognised by."""
    return str(image.digests[0]) if image.digests else f"size:{image.size}"


def is_empty(image: Image) -> bool:
    """Whether it is an image of zero bytes, like the snapshot of a volume: that can be had without a source."""
    return image.metadata.get("status") == "active" and image.size == 0


def is_ours(current: Mapping[str, Any], image: Image) -> bool:
    """Whether the target's `current` image was created by a load, to become `image`, and has not been finished."""
    mark = current.get(MARK)
    if mark == mark_for(image, with_data=False):
        return bool(current["status"] == "queued")  # else somebody filled the place that we kept
    return bool(mark == mark_for(image))


def unfinished(image: Image) -> str:
    """What is to be said of an image that has our mark where it comes from; "" where that is not meant for it."""
    owner, _, data = str(image.metadata.get(MARK, "")).partition(" ")
    if owner not in (image.id, image.metadata.get(SOURCE_ID)):
        return ""
    said = f"a load of it into its Glance was not finished (it has {MARK})"
    if image.metadata.get("status") in ("active", "deactivated") and (difference := contradiction(image, data)):
        said += f", and its data are not those that it was to get: {difference}"
    return f"{said}; it is not to be used as it is"


def conversion_of(current: Mapping[str, Any], image: Image) -> str:
    """The value of `CONVERTED` on the target's `current` image, where it was made of the data of `image`.

    What it became is in it because Nova copies properties to snapshots, which have other data.
    """
    return f"{_data(image)} {_data(Image(current))}"


def is_converted(current: Mapping[str, Any], image: Image) -> bool:
    """Whether the target has made its `current` image of the data of `image`, by converting them."""
    return CONVERTED in current and current[CONVERTED] == conversion_of(current, image)


def reformatted(image: Image, current: Mapping[str, Any]) -> list[str]:
    """What has changed of the formats of `image` in the target's `current` one, each as "FIELD OLD to NEW"."""
    values = [(field, image.metadata.get(field), current.get(field)) for field in FORMATS]
    return [f"{field} {sent} to {became}" for field, sent, became in values if sent != became]


def as_converted(image: Image, current: Mapping[str, Any]) -> Image:
    """`image` in the formats of `current`, to which the target has converted it."""
    return replace(image, metadata={**image.metadata, **{field: current.get(field) for field in FORMATS}})


def creation_body(image: Image, mark: str, *, bare: bool = False) -> dict[str, Any]:
    """The JSON to create `image` with; `bare` leaves out all that a target might refuse and it can do without."""
    needed = ("id", "disk_format", "container_format", SOURCE_ID)
    body = {
        field: value
        for field, value in wanted(image).items()
        if rule_for(field).treatment is Treatment.CREATE and value is not None and (not bare or field in needed)
    }
    return {**body, "visibility": "private", "protected": False, MARK: mark}


def wanted(image: Image) -> dict[str, Any]:
    """The metadata that the target's image shall have, without what cannot be sent."""
    found: dict[str, Any] = {}
    for field, value in image.metadata.items():
        rule = rule_for(field)
        unsendable = rule.custom and not isinstance(value, str)
        if not (rule.treatment is Treatment.NEVER or unsendable or (field == "owner" and value is None)):
            found[field] = _neutralised(field, value)
    return found


def reports(image: Image) -> list[str]:
    """One line for each property that is not carried over as it is, whatever the target says to it."""
    lines = []
    for field, value in sorted(image.metadata.items()):
        rule = rule_for(field)
        if field == MARK:
            lines.append(f"{field}: dropped: {unfinished(image) or f'it is not for others to use, and has {value!r}'}")
        elif rule.custom and not isinstance(value, str):
            lines.append(f"{field}: dropped, since Glance takes strings only and this is {type(value).__name__}")
        elif _neutralised(field, value) != value:
            lines.append(f"{field}: set to {_neutralised(field, value)!r} instead of {value!r}: {rule.why}")
    return lines


def final_patch(current: Mapping[str, Any], image: Image) -> list[Patch]:
    """What turns the target's `current` metadata into the wanted ones; visibility comes last, the mark stays."""
    target = wanted(image)
    patch: list[Patch] = [{"op": "remove", "path": _pointer(field)} for field in _extras(current, target)]
    for field in sorted(target, key=_order):
        rule = rule_for(field)
        if not _same(rule, current.get(field), target[field]):
            # "add" also replaces a property, so that a repeated patch does no harm.
            operation = "add" if rule.custom else "replace"
            patch.append({"op": operation, "path": _pointer(field), "value": target[field]})
    return patch


def differences(current: Mapping[str, Any], image: Image) -> list[str]:
    """One line per field in which the target's `current` metadata differ from the wanted ones."""
    target = wanted(image)
    lines = []
    for field in sorted({*target, *_extras(current, target)}):
        if field not in target:
            lines.append(f"{field}{_THERE}{current[field]!r}, source has none")
        elif not _same(rule_for(field), current.get(field), target[field]):
            here = repr(current[field]) if field in current else "none"
            lines.append(f"{field}{_THERE}{here}, source has {target[field]!r}")
    states = current.get("status"), image.metadata.get("status")
    if "deactivated" in states and states[0] != states[1] and not image.absent:
        lines.append(f"status{_THERE}{states[0]!r}, source has {states[1]!r}")
    return lines


def is_lasting(difference: str) -> bool:
    """Whether a line of `differences` is about what no load changes: it never reactivates an image."""
    return difference.startswith(f"status{_THERE}'deactivated'")


def about(difference: str) -> str:
    """The field that a line of `differences` or `member_differences` is about; or "member" and the project."""
    return difference.partition(_THERE)[0]


def member_differences(current: Sequence[Mapping[str, Any]], image: Image) -> list[str]:
    """One line per project whose membership differs; only shared images have members."""
    if image.metadata.get("visibility") != "shared":
        return []
    here, there = memberships(current), memberships(image.members)
    return [
        f"member {project}{_THERE}{here.get(project, 'none')}, source has {there.get(project, 'none')}"
        for project in sorted({*here, *there})
        if here.get(project) != there.get(project)
    ]


def memberships(members: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The status of each member, by project id."""
    return {
        project: str(member.get("status") or "pending")
        for member in members
        if isinstance(project := member.get("member_id"), str)
    }


def field_of(operation: Patch) -> str:
    """The field that a patch operation is about."""
    return str(operation["path"])[1:].replace("~1", "/").replace("~0", "~")


REMOVE_MARK: Patch = {"op": "remove", "path": f"/{MARK}"}
"""The very last operation of a load."""


def _extras(current: Mapping[str, Any], target: Mapping[str, Any]) -> list[str]:
    """Properties that only the target has; what is not a string is no property, but an attribute of a newer Glance."""
    return sorted(
        field
        for field, value in current.items()
        if field not in target and isinstance(value, str) and rule_for(field).custom
    )


def _neutralised(field: str, value: Any) -> Any:
    return "do_not_delete" if field == _KEY_POLICY and value == "on_image_deletion" else value


def _same(rule: Rule, here: Any, there: Any) -> bool:
    if rule.pattern == "tags":
        return sorted(map(str, here or ())) == sorted(map(str, there or ()))
    return bool((rule.default if here is None else here) == (rule.default if there is None else there))


def _order(field: str) -> tuple[int, str]:
    """Properties first, then Glance's own fields in the order of the table, visibility last of all."""
    return (_BASE_ORDER.index(field) + 1 if field in _BASE_ORDER else 0, field)


def _pointer(field: str) -> str:
    return "/" + field.replace("~", "~0").replace("/", "~1")
