"""``compare``: what differs between two places."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glancearchive.cli.definitions import (
    definitions_document,
    definitions_sound,
    metadefs_option,
    namespaces_of,
    tell_definitions,
)
from glancearchive.cli.output import emit_json, note, printable, tell
from glancearchive.cli.parameters import Place
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.reading import json_option, quiet_option, with_option
from glancearchive.cli.select import not_found, select_options, tell_choice
from glancearchive.cli.transfers import access_options
from glancearchive.endpoints.location import Kind as PlaceKind
from glancearchive.endpoints.location import LocatedSource, is_one_path, locate
from glancearchive.errors import UsageError
from glancearchive.operations.compare import Comparison, Finding, Kind
from glancearchive.operations.compare import compare as run
from glancearchive.operations.select import Selection
from glancearchive.plural import counted

if TYPE_CHECKING:
    from glancearchive.operations.definitions import Definition


@click.command()
@click.argument("a", metavar="A", type=Place())
@click.argument("b", metavar="B", type=Place())
@select_options
@click.option("--ignore", multiple=True, metavar="FIELD", help="Do not compare this field; may be a pattern.")
@metadefs_option
@click.option("--read-data", is_flag=True, help="Read and hash the data of images that have no digest in common.")
@with_option
@access_options
@click.option("--a-region", help="The region of A, where it is not that of --region.")
@click.option("--b-region", help="The region of B, where it is not that of --region.")
@json_option
@quiet_option
def compare(
    a: str,
    b: str,
    selection: Selection,
    ignore: tuple[str, ...],
    read_data: bool,
    metadefs: bool,
    others: tuple[Path, ...],
    region: str | None,
    a_region: str | None,
    b_region: str | None,
    as_json: bool,
    quiet: bool,
    **access: Any,
) -> int:
    """Say what differs between the images at A and those at B.

    Each of the two is a server, an archive, a directory that glance-replicator dumped, or image files. Data are
    compared by digests; none are read without --read-data. The exit code is 1 when anything differs.

    \b
    glancearchive compare mycloud region.gla
    glancearchive compare mycloud othercloud --ignore owner --json
    """  # noqa: D301  # click wants the backspace itself
    regions = a_region or region, b_region or region
    if (a, regions[0]) == (b, regions[1]):
        raise UsageError(f"A and B are the same: {a}")
    places = locate(a), locate(b)
    if is_one_path(*places):
        raise UsageError(f"A and B are the same by two names: {a} and {b}")
    if others and all(place.kind is not PlaceKind.ARCHIVE for place in places):
        raise UsageError(f"{a} and {b} are no archives, and {others[0]} can only be read with one")
    withs = [others if place.kind is PlaceKind.ARCHIVE else () for place in places]
    with (
        places[0].open(withs[0], region=regions[0], **access) as here,
        places[1].open(withs[1], region=regions[1], **access) as there,
        showing_progress("read", quiet=quiet or as_json) as progress,
    ):
        definitions = _definitions(here, there) if metadefs else []
        result = run(here, there, progress, selection=selection, ignore=ignore, read_data=read_data)
        faults = selection.faults(here.faults), selection.faults(there.faults)
    for fault in [*faults[0], *faults[1]]:
        note(f"glancearchive: {fault}")
    code = tell_choice(selection)
    if not any(result.images) and not selection:
        note("glancearchive: there was no image to compare")
    ok = not (code or any(faults) or result.findings) and any(result.images) and definitions_sound(definitions)
    if as_json:
        sides = [
            {"location": location, "source": source.label, "images": images, "faults": wrong}
            for location, source, images, wrong in zip((a, b), (here, there), result.images, faults, strict=True)
        ]
        findings = [_document(finding) for finding in result.findings]
        document = {"a": sides[0], "b": sides[1], "ok": ok, "same": result.same, "findings": findings}
        emit_json(document | not_found(selection) | definitions_document(definitions))
    else:
        _print(result, (here, there), ok=ok)
    return 0 if ok else 1


def _definitions(here: LocatedSource, there: LocatedSource) -> list[Definition] | None:
    """What differs about the metadata definitions, with a word about each; None when they cannot be read."""
    from glancearchive.operations.definitions import compare_definitions

    sides = [namespaces_of(source, wanted=True) for source in (here, there)]
    if sides[0] is None or sides[1] is None:
        return None
    found = compare_definitions(sides[0], sides[1])
    tell_definitions(found)
    return found


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "name": finding.name,
        "kind": str(finding.kind),
        "reason": finding.reason,
        "other": finding.other,
        "fields": {name: {"a": here, "b": there} for name, (here, there) in finding.fields.items()},
    }


def _print(result: Comparison, sides: tuple[LocatedSource, LocatedSource], *, ok: bool) -> None:
    for finding in result.findings:
        other = f" as {finding.other} in B" if finding.other else ""
        reason = f": {finding.reason}" if finding.reason else ""
        click.echo(printable(f"{finding.kind}: {finding.id} ({finding.name!r}){other}{reason}"))
        for name, values in finding.fields.items():
            here, there = ("none" if value is None else repr(value) for value in values)
            click.echo(printable(f"  {name}: {here} in A, {there} in B"))
    click.echo(printable(f"A: {counted(result.images[0], 'image')}, {sides[0].label}"))
    click.echo(printable(f"B: {counted(result.images[1], 'image')}, {sides[1].label}"))
    counts = Counter(finding.kind for finding in result.findings)
    different = "".join(f"{counts[kind]} {kind}, " for kind in Kind if counts[kind])
    tell(f"{'ok' if ok else 'NOT OK'}: {different}{result.same} the same", "green" if ok else "red")
