"""``--metadefs``: metadata definitions besides the images, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from glancearchive.cli.output import note
from glancearchive.errors import FormatError, UsageError

if TYPE_CHECKING:
    from glancearchive.endpoints.glance_api import GlanceApi
    from glancearchive.endpoints.location import LocatedSource
    from glancearchive.endpoints.metadefs import Namespace
    from glancearchive.operations.definitions import Definition

metadefs_option = click.option("--metadefs", is_flag=True, help="The metadata definitions too.")


def namespaces_of(source: Any, *, wanted: bool) -> list[Namespace] | None:
    """The metadata definitions at `source`, None when they are not wanted, or are damaged, which is said.

    Raises UsageError where there cannot be any, or were not dumped.
    """
    if not wanted:
        return None
    from glancearchive.endpoints.metadefs import definitions_of

    try:
        found = definitions_of(source)
    except FormatError as error:
        note(f"glancearchive: {error}", "red")
        return None
    if found is None:
        raise UsageError(
            f"--metadefs: {source.label} has no metadata definitions; dump --metadefs archives them, "
            "and extract writes those of an archive"
        )
    return found


def brought_definitions(
    source: Any, api: GlanceApi, *, wanted: bool, update: bool, dry_run: bool
) -> list[Definition] | None:
    """Bring the metadata definitions at `source` into the Glance behind `api`, with a word about each."""
    from glancearchive.operations.definitions import bring_definitions

    namespaces = namespaces_of(source, wanted=wanted)
    if namespaces is None:
        return [] if not wanted else None
    found = list(bring_definitions(namespaces, api, update=update, dry_run=dry_run))
    tell_definitions(found)
    return found


def described(source: LocatedSource, images: LocatedSource, *, metadefs: bool, chosen: bool) -> LocatedSource:
    """The `images`, with `metadefs` the definitions at `source` besides; where images were `chosen` only with some.

    Raises UsageError where there cannot be any.
    """
    if not metadefs:
        return images
    from glancearchive.endpoints.metadefs import has_definitions
    from glancearchive.operations.definitions import WithDefinitions

    if not has_definitions(source):
        raise UsageError(
            f"--metadefs: {source.label} has no metadata definitions: a server has, or a directory that extract wrote"
        )
    return WithDefinitions(images, source, alone=not chosen)


def tell_definitions(definitions: Iterable[Definition]) -> None:
    """A line for each namespace that something was done about, or that has to be looked at."""
    for one in definitions:
        if one.fate != "present":
            reason = f": {one.reason}" if one.reason else ""
            note(f"metadata definitions {one.namespace}: {one.fate}{reason}", None if one.clean else "yellow")
        for line in one.differences:
            note(f"  differs: {line}", "yellow")


def definitions_document(definitions: Iterable[Definition] | None) -> dict[str, Any]:
    """What the JSON says of them."""
    rows = [
        {
            "namespace": one.namespace,
            "fate": str(one.fate),
            "reason": one.reason,
            "differences": list(one.differences),
        }
        for one in definitions or ()
    ]
    return {"definitions": rows}


def definitions_sound(definitions: Iterable[Definition] | None) -> bool:
    """Whether there is nothing about them that has to be looked at."""
    return definitions is not None and all(one.clean for one in definitions)
