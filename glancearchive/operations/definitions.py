"""Carries metadata definitions: dumps them beside the images, brings them into a Glance, compares them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from glancearchive.endpoints.archive_source import DEFINITIONS, MAX_DEFINITIONS
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.location import LocatedSource
from glancearchive.endpoints.metadefs import (
    Namespace,
    carried,
    create_namespace,
    definitions_of,
    document,
    namespace_differences,
    read_namespace,
    replace_namespace,
)
from glancearchive.errors import AccessError, ConnectError, FormatError, NotFoundError, ServerError
from glancearchive.image import Buffer, Image


class Fate(StrEnum):
    """What becomes of one namespace, or what differs about it between two places."""

    CREATED = "created"
    PRESENT = "present"
    UPDATED = "updated"
    DIFFERS = "differs"
    FAILED = "failed"
    MISSING = "missing"  # only A has it
    EXTRA = "extra"  # only B has it


@dataclass(frozen=True, slots=True)
class Definition:
    """One namespace, and what became of it."""

    namespace: str
    fate: Fate
    reason: str = ""
    differences: Sequence[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.fate in (Fate.CREATED, Fate.PRESENT, Fate.UPDATED)


class WithDefinitions:
    """The images of `source`, and as one more entry the metadata definitions of `origin`; a `LocatedSource`.

    Where there are no images, they come `alone`, or not at all.
    """

    def __init__(self, source: LocatedSource, origin: object, *, alone: bool = True) -> None:
        self._alone = alone
        self._source = source
        self._origin = origin
        self._document = b""
        self._faults: list[str] = []
        self.label = source.label

    @property
    def faults(self) -> list[str]:
        return [*self._source.faults, *self._faults]

    def images(self) -> Iterator[Image]:
        found = self._alone
        for image in self._source.images():
            found = True
            yield image
        if not found:
            return
        try:
            namespaces = definitions_of(self._origin)
        except ServerError as error:
            if isinstance(error, ConnectError) or (isinstance(error, AccessError) and error.status == 401):
                raise
            self._faults.append(f"the metadata definitions could not be read: {error}")
            return
        except FormatError as error:
            self._faults.append(str(error))
            return
        self._document = document(namespaces or [])
        if len(self._document) > MAX_DEFINITIONS:
            size = len(self._document)
            self._faults.append(
                f"the metadata definitions are {size} bytes, and at most {MAX_DEFINITIONS} are archived"
            )
            return
        yield Image(
            {
                "id": DEFINITIONS,
                "name": "metadata definitions",
                "status": "active",
                "size": len(self._document),
                "os_hash_algo": "sha512",
                "os_hash_value": hashlib.sha512(self._document).hexdigest(),
            }
        )

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        if image.id != DEFINITIONS:
            yield from self._source.read(image, offset)
        elif offset < len(self._document):
            yield self._document[offset:]


def bring_definitions(
    namespaces: Sequence[Namespace], api: GlanceApi, *, update: bool, dry_run: bool
) -> Iterator[Definition]:
    """Create each namespace in the Glance behind `api`; one that is there is left alone unless `update` replaces it."""
    for namespace in namespaces:
        name = str(namespace["namespace"])
        try:
            yield _brought(name, namespace, api, update=update, dry_run=dry_run)
        except ServerError as error:
            if isinstance(error, ConnectError) or (isinstance(error, AccessError) and error.status == 401):
                raise
            yield Definition(name, Fate.FAILED, str(error))


def _brought(name: str, namespace: Namespace, api: GlanceApi, *, update: bool, dry_run: bool) -> Definition:
    try:
        there = read_namespace(api, name)
    except NotFoundError:
        if not dry_run:
            create_namespace(api, namespace)
        return Definition(name, Fate.CREATED)
    differences = namespace_differences(carried(there), namespace)
    if not differences:
        return Definition(name, Fate.PRESENT)
    if not update:
        return Definition(name, Fate.DIFFERS, differences=differences)
    if not dry_run:
        replace_namespace(api, there, namespace)
    return Definition(name, Fate.UPDATED)


def compare_definitions(a: Sequence[Namespace], b: Sequence[Namespace]) -> list[Definition]:
    """What differs, by name; in `Definition.differences` A is the source and B the target."""
    here, there = ({str(one["namespace"]): one for one in side} for side in (a, b))
    found = []
    for name in sorted({*here, *there}):
        if name not in there:
            found.append(Definition(name, Fate.MISSING))
        elif name not in here:
            found.append(Definition(name, Fate.EXTRA))
        elif lines := namespace_differences(there[name], here[name]):
            found.append(Definition(name, Fate.DIFFERS, differences=lines))
    return found
