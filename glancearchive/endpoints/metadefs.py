"""Metadata definitions: what a Glance says that properties mean, in namespaces.

All that the caller may see of a Glance are carried as one JSON document. In an archive that is an entry of its own
(SPEC annex A), which is no image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from glancearchive.endpoints.archive_source import ArchiveSource
from glancearchive.endpoints.directory import DirectorySource
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.glance_source import GlanceSource
from glancearchive.errors import FormatError, NotFoundError, NotGlanceError, RefusedError, ServerError

Namespace = Mapping[str, Any]

_PATH = "/v2/metadefs/namespaces"
_PAGE = 100
_OWN = ("created_at", "updated_at", "self", "schema")  # of one Glance alone
_FIELDS = ("display_name", "description", "visibility", "protected")
_DEFAULTS = {"visibility": "private", "protected": False}
# The parts of a namespace besides its properties: lists of objects that have names.
_PARTS = {"objects": "object", "resource_type_associations": "resource type", "tags": "tag"}


def has_definitions(source: object) -> bool:
    """Whether there are metadata definitions at `source`, be they none or damaged. Nothing is read."""
    if isinstance(source, ArchiveSource | DirectorySource):
        return source.has_definitions
    return isinstance(source, GlanceSource)


def definitions_of(source: object) -> list[Namespace] | None:
    """The namespaces at `source`, by name; None when it has nothing of the kind.

    Raises ServerError, or FormatError when those in an archive or a directory are damaged.
    """
    if isinstance(source, GlanceSource):
        return list(read_namespaces(source.api))
    if isinstance(source, ArchiveSource | DirectorySource):
        document = source.definitions()
        return None if document is None else parsed(document)
    return None


def read_namespaces(api: GlanceApi) -> Iterator[Namespace]:
    """All namespaces that the caller may see, each whole, by name."""
    names: set[str] = set()
    marker = ""
    while True:
        params = {"limit": str(_PAGE), "sort_key": "namespace", "sort_dir": "asc"}
        params |= {"marker": marker} if marker else {}
        page = api.ask("listing metadata definitions", "GET", _PATH, params=params).get("namespaces")
        if not isinstance(page, list) or not all(isinstance(one, dict) and "namespace" in one for one in page):
            raise NotGlanceError("listing metadata definitions: the answer is not what a Glance gives")
        fresh = {str(one["namespace"]) for one in page} - names
        if not fresh:
            break
        names |= fresh
        marker = str(page[-1]["namespace"])
    for name in sorted(names):
        try:
            yield carried(read_namespace(api, name))
        except NotFoundError as error:
            if "/" in name:  # else it was deleted meanwhile
                message = f"the metadata definitions {name!r} cannot be read: a Glance finds none with a / in its name"
                raise RefusedError(message, status=error.status) from error


def read_namespace(api: GlanceApi, name: str) -> Namespace:
    """A namespace with all its parts. Raises NotFoundError."""
    return api.ask(f"reading the metadata definitions {name}", "GET", _path(name))


def create_namespace(api: GlanceApi, namespace: Namespace) -> None:
    """Create a namespace with all its parts. It belongs to the caller; without a Keystone to whom it did before."""
    body = {key: value for key, value in namespace.items() if key != "owner" or api.cloud.login() is None}
    api.ask(f"creating the metadata definitions {namespace['namespace']}", "POST", _PATH, body=body)


def replace_namespace(api: GlanceApi, old: Namespace, new: Namespace) -> None:
    """Put `new` in the place of `old`, which comes back when `new` is refused."""
    name = str(old["namespace"])
    doing = f"replacing the metadata definitions {name}"
    if old.get("protected"):
        fields = {key: old[key] for key in (*_FIELDS, "owner") if key in old}
        api.ask(doing, "PUT", _path(name), body=fields | {"namespace": name, "protected": False})
    try:
        api.tell(doing, "DELETE", _path(name))
    except ServerError:
        if old.get("protected"):
            api.ask(doing, "PUT", _path(name), body=fields | {"namespace": name, "protected": True})
        raise
    try:
        create_namespace(api, new)
    except ServerError:
        create_namespace(api, carried(old))
        raise


def _path(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"


def carried(namespace: Namespace) -> Namespace:
    """What another Glance can have too."""
    found = {key: value for key, value in namespace.items() if key not in _OWN and value is not None}
    for part in _PARTS:
        if isinstance(items := found.get(part), list):
            found[part] = [_without_own(item) for item in items]
    return found


def _without_own(item: Any) -> Any:
    return {key: value for key, value in item.items() if key not in _OWN} if isinstance(item, dict) else item


def document(namespaces: list[Namespace]) -> bytes:
    """The JSON document of `namespaces`: the same for the same ones."""
    return json.dumps({"namespaces": namespaces}, indent=1, sort_keys=True, ensure_ascii=False).encode()


def parsed(text: bytes) -> list[Namespace]:
    """The namespaces in such a document. Raises FormatError."""
    try:
        found = json.loads(text)["namespaces"]
        if not all(isinstance(one["namespace"], str) for one in found):
            raise TypeError("a namespace without a name")
        for one in found:
            _check_parts(one)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise FormatError(f"the metadata definitions are not what they should be: {error}") from None
    return list(found)


def _check_parts(namespace: Namespace) -> None:
    """Raises TypeError unless the parts of `namespace` have the shapes that a Glance gives them."""
    if not isinstance(namespace.get("properties") or {}, dict):
        raise TypeError(f"the properties of {namespace['namespace']!r} are no object")
    for part in _PARTS:
        items = namespace.get(part) or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise TypeError(f"the {part} of {namespace['namespace']!r} are no list of objects")


def namespace_differences(here: Namespace, there: Namespace) -> list[str]:
    """One line for each part in which the namespace at the target, `here`, differs from the right one."""
    lines = []
    for field in _FIELDS:
        values = [one.get(field, _DEFAULTS.get(field)) for one in (here, there)]
        if values[0] != values[1]:
            lines.append(f"{field}: target has {values[0]!r}, source has {values[1]!r}")
    for part, noun in (("properties", "property"), *_PARTS.items()):
        left, right = (_by_name(one.get(part)) for one in (here, there))
        for name in sorted({*left, *right}):
            if left.get(name) != right.get(name):
                how = "only the source has it" if name not in left else "only the target has it"
                lines.append(f"{noun} {name}: {how if name not in left or name not in right else 'differs'}")
    return lines


def _by_name(part: Any) -> dict[str, Any]:
    if isinstance(part, dict):
        return part
    return {str(item.get("name")): _without_own(item) for item in part or () if isinstance(item, dict)}
