"""``load``: an archive into a Glance."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import glancearchive
from glancearchive.cli.arrival import Wishes, arrival_options, bring, id_map_out_option, tell_outlook
from glancearchive.cli.definitions import definitions_document, definitions_sound
from glancearchive.cli.inspect import archive_argument, json_option, quiet_option, tell_faults, with_option
from glancearchive.cli.need import need_option, tell_need
from glancearchive.cli.outcomes import conclude
from glancearchive.cli.output import note
from glancearchive.cli.parameters import Place
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.select import dry_run_option, not_found, select_options, tell_choice
from glancearchive.cli.transfers import glance, server_options
from glancearchive.endpoints.location import require_order
from glancearchive.errors import UsageError
from glancearchive.format.volumes import has_volumes
from glancearchive.operations.need import check_need_file, check_needs, need_after_load
from glancearchive.operations.select import Selected, Selection

if TYPE_CHECKING:
    from glancearchive.endpoints.archive import ArchiveSource
    from glancearchive.endpoints.location import LocatedSource


@click.command()
@click.argument("server", type=Place())
@archive_argument
@with_option
@need_option
@arrival_options
@id_map_out_option
@select_options
@dry_run_option
@server_options
@json_option
@quiet_option
def load(
    server: str,
    archive: Path,
    others: tuple[Path, ...],
    need: Path | None,
    wishes: Wishes,
    id_map_out: Path | None,
    selection: Selection,
    dry_run: bool,
    region: str | None,
    interface: str | None,
    jobs: int,
    bwlimit: int | None,
    as_json: bool,
    quiet: bool,
    **tls: Any,
) -> int:
    """Load the images of ARCHIVE into SERVER, with the same ids, metadata and data.

    Each image stays private until its data proved right there. An image that is there with the same data
    is left alone; one with other data under the same id is reported and never touched. A directory that
    glance-replicator dumped, or extract wrote, is taken like an archive.

    \b
    glancearchive load mycloud region.gla
    glancearchive load mycloud region.gla --tag lts --dry-run
    glancearchive load mycloud region.gla --id-policy new --id-map-out ids.json
    glancearchive load mycloud region.gla --map owner 5f1a=web --set visibility=private --unset hw_disk_bus
    """  # noqa: D301  # click wants the backspace itself
    from glancearchive.endpoints.archive import ArchiveSource
    from glancearchive.endpoints.journal import Journal, state_directory
    from glancearchive.operations.id_map import write_id_map
    from glancearchive.operations.outputs import check_output

    require_order(server, archive, "SERVER ARCHIVE")
    if need and dry_run:
        raise UsageError("--need goes with a load, for only that reads the data; verify --need reads all of them")
    if id_map_out:
        check_output(id_map_out)
    if need:
        check_need_file(need)
    with (
        _opened(archive, others) as (source, archive_id),
        showing_progress("loaded", quiet=quiet or as_json) as progress,
    ):
        lacking = _lacking(source, archive) if need else None
        api = glance(server, region, interface, tls)
        journal = Journal(state_directory(), api.label, archive_id) if archive_id else None
        if isinstance(source, ArchiveSource) and journal:
            source.heed(journal)
        outcomes, outlook, definitions = bring(
            Selected(source, selection),
            api,
            wishes,
            progress,
            jobs=jobs,
            bwlimit=bwlimit,
            quiet=quiet or as_json,
            dry_run=dry_run,
            origin=source,
            journal=journal,
        )
        faults = list(source.faults)
        needed = None
        if need and lacking:
            needed = tell_need(need, need_after_load(lacking.archive, lacking.held))
    if outlook:
        faults += tell_outlook(outlook)
    if id_map_out and not dry_run:
        write_id_map(id_map_out, wishes.ids.settled)
    document = {"archive": str(archive), "server": api.label, "dry_run": dry_run, "faults": faults}
    document |= {**not_found(selection), **definitions_document(definitions), "need": needed}
    sound = not (faults or tell_choice(selection)) and definitions_sound(definitions)
    return conclude(document, outcomes, as_json, f" into {api.label}", sound=sound, progress=progress)


def _lacking(source: LocatedSource, archive: Path) -> ArchiveSource:
    """`source`, of which there can be a need-list. Raises UsageError."""
    from glancearchive.endpoints.archive import ArchiveSource

    if not isinstance(source, ArchiveSource):
        raise UsageError(f"{archive}: --need is for archives")
    check_needs(source.archive)
    return source


@contextmanager
def _opened(archive: Path, others: Sequence[Path]) -> Iterator[tuple[LocatedSource, bytes | None]]:
    """The images to load, and the archive's id: a directory has none. What is wrong besides them is told."""
    from glancearchive.endpoints.archive import ArchiveSource
    from glancearchive.endpoints.location import Kind, locate
    from glancearchive.operations.checked import CheckedSource

    if not archive.is_dir() or has_volumes(archive):
        with glancearchive.open(archive, *others) as opened:
            tell_faults(opened)
            yield ArchiveSource(opened), opened.archive_id
        return
    location = locate(f"{archive}{os.sep}")
    if location.kind is not Kind.REPLICATOR:
        raise UsageError(f"{archive}: is neither an archive nor {Kind.REPLICATOR.value}; dump image files first")
    with location.open(others) as source:
        yield CheckedSource(source), None
        for fault in source.faults:
            note(f"glancearchive: {fault}")
