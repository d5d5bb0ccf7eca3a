"""Whether two descriptions are of the same data, and in which fields they differ: pure functions over two images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from glancearchive.endpoints.policy import MARK, SOURCE_ID, Rule, Treatment, memberships, rule_for
from glancearchive.image import Digest, Image

Fields = Mapping[str, tuple[Any, Any]]
"""What A and B say of each field in which they differ; None where one says nothing."""


def digests(image: Image) -> tuple[Digest, ...]:
    """All that are known of its data, those that its Glance stated first."""
    return tuple(dict.fromkeys(image.digests + image.held.digests))


def same_data(a: Sequence[Digest], b: Sequence[Digest]) -> bool | None:
    """Whether all digests that both sides have are equal; None when they have none in common."""
    known = {digest.algorithm: digest.value for digest in a}
    equal = [known[digest.algorithm] == digest.value for digest in b if digest.algorithm in known]
    return all(equal) if equal else None


def other_data(a: Image, b: Image) -> str:
    """Why the data of `a` and `b` cannot be the same; "" when nothing speaks against it."""
    if a.size is not None and b.size is not None and a.size != b.size:
        return f"{a.size} bytes in A, {b.size} in B"
    known = {digest.algorithm: digest for digest in digests(a)}
    for digest in digests(b):
        if digest != known.get(digest.algorithm, digest):
            return f"{known[digest.algorithm]} in A, {digest.value} in B"
    return ""


def missing_data(a: Image, b: Image) -> str:
    """Which of the two has no data, or not all, and why; "" when they have or lack them alike."""
    if a.absent and b.absent:
        return ""
    lacks = [
        f"{side} has none ({image.held.lacking or image.absent})"
        for side, image in (("A", a), ("B", b))
        if image.held.lacking or image.absent
    ]
    return ", ".join(lacks)


def field_differences(a: Image, b: Image, ignore: Sequence[str] = ()) -> Fields:
    """The fields that differ, by name; `ignore` are patterns of names.

    Ids are not compared here, nor is what the policy of a load never sends, for it belongs to one Glance alone; but for
    the mark of a load under way. An owner that only one side names is not compared either, nor is an attribute of a
    newer Glance: what is no string on either side, and none of the fields that are known.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for name in sorted({*a.metadata, *b.metadata}):
        rule = _rule(name)
        here, there = a.metadata.get(name), b.metadata.get(name)
        if rule is None or here == there or (name == "owner" and None in (here, there)):
            continue
        if rule.custom and not (isinstance(here, str) or isinstance(there, str)):
            continue
        if _normal(rule, here) != _normal(rule, there):
            found[name] = here, there
    # Only this status is somebody's will, and no moment in the life of an image.
    states = a.metadata.get("status"), b.metadata.get("status")
    if "deactivated" in states and states[0] != states[1] and not (a.absent or b.absent):
        found["status"] = states
    members = memberships(a.members), memberships(b.members)
    if members[0] != members[1]:
        found["members"] = members
    return {name: values for name, values in found.items() if not any(fnmatchcase(name, each) for each in ignore)}


@lru_cache(4096)
def _rule(name: str) -> Rule | None:
    """How a field is compared; None for one that is not."""
    rule = rule_for(name)
    own = name in ("id", SOURCE_ID) or (rule.treatment is Treatment.NEVER and name != MARK)
    return None if own else rule


def _normal(rule: Rule, value: Any) -> Any:
    if rule.pattern == "tags":
        if isinstance(value, list | tuple):
            return sorted(map(str, value))
        return [] if value is None else value  # whatever a hand-made archive says
    return rule.default if value is None else value
