"""``load``: an archive into a Glance."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import glancearchive
from glancearchive.cli.arrival import Wishes, arrival_options, id_map_out_option, tell_outlook
from glancearchive.cli.inspect import archive_argument, json_option, quiet_option, tell_faults
from glancearchive.cli.outcomes import conclude, told
from glancearchive.cli.output import note
from glancearchive.cli.parameters import Place
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.select import dry_run_option, select_options, tell_choice
from glancearchive.cli.transfers import glance, prepared, server_options
from glancearchive.errors import GlanceArchiveError, UsageError
from glancearchive.operations.select import Selected, Selection

if TYPE_CHECKING:
    from glancearchive.endpoints.location import LocatedSource


@click.command()
@click.argument("server", type=Place())
@archive_argument
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
    from glancearchive.endpoints.journal import Journal, state_directory
    from glancearchive.endpoints.prospects import Prospects
    from glancearchive.operations.id_map import check_id_map, write_id_map
    from glancearchive.operations.load import load as run
    from glancearchive.operations.plan import Outlook, plan_load

    if id_map_out:
        check_id_map(id_map_out)
    with _opened(archive) as (source, archive_id), showing_progress("loaded", quiet=quiet or as_json) as progress:
        api = glance(server, region, interface, tls)
        options = wishes.options(api) | {"progress": progress, "jobs": jobs}
        chosen = prepared(wishes.mapped(Selected(source, selection), api), progress, bwlimit)
        outlook = Outlook(Prospects(api)) if dry_run else None
        if outlook:
            arriving = plan_load(chosen, api, outlook=outlook, **options)
        else:
            journal = Journal(state_directory(), api.label, archive_id) if archive_id else None
            arriving = run(chosen, api, journal=journal, store=wishes.store, **options)
        try:
            outcomes = list(told(arriving, progress, quiet or as_json, dry_run=dry_run))
        except (GlanceArchiveError, KeyboardInterrupt):
            if not dry_run:
                note("glancearchive: the same command goes on; what is loaded already is not sent again")
            raise
        faults = list(source.faults)
    if outlook:
        faults += tell_outlook(outlook)
    if id_map_out and not dry_run:
        write_id_map(id_map_out, wishes.ids.settled)
    document = {"archive": str(archive), "server": api.label, "dry_run": dry_run, "faults": faults}
    sound = not (faults or tell_choice(selection))
    return conclude(document, outcomes, as_json, f" into {api.label}", sound=sound, progress=progress)


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[LocatedSource, bytes | None]]:
    """The images to load, and the archive's id: a directory has none. What is wrong besides them is told."""
    from glancearchive.endpoints.archive import ArchiveSource
    from glancearchive.endpoints.location import Kind, locate
    from glancearchive.operations.checked import CheckedSource

    if not archive.is_dir():
        with glancearchive.open(archive) as opened:
            tell_faults(opened)
            yield ArchiveSource(opened), opened.archive_id
        return
    location = locate(f"{archive}{os.sep}")
    if location.kind is not Kind.REPLICATOR:
        raise UsageError(f"{archive}: is neither an archive nor {Kind.REPLICATOR.value}; dump image files first")
    with location.open() as source:
        yield CheckedSource(source), None
        for fault in source.faults:
            note(f"glancearchive: {fault}")
