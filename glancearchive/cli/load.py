"""``load``: an archive into a Glance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glancearchive.cli.arrival import Wishes, arrival_options, brought_images, id_map_out_option
from glancearchive.cli.need import need_option, tell_need
from glancearchive.cli.origins import opened_origin
from glancearchive.cli.parameters import Place
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.reading import archive_argument, json_option, quiet_option, with_option
from glancearchive.cli.select import dry_run_option, select_options
from glancearchive.cli.transfers import glance, server_options
from glancearchive.endpoints.location import require_order
from glancearchive.errors import UsageError
from glancearchive.operations.need import check_need_file, check_needs, need_after_load
from glancearchive.operations.select import Selection

if TYPE_CHECKING:
    from glancearchive.endpoints.archive_source import ArchiveSource
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
    glancearchive load mycloud region.gla --map owner 5f1a7c9e20b84d3fa6c1e58b90d2473f=web --unset hw_disk_bus
    """  # noqa: D301  # click wants the backspace itself
    from glancearchive.operations.id_map import check_id_map_file, write_id_map

    require_order(server, archive, "SERVER ARCHIVE")
    if need and dry_run:
        raise UsageError("--need goes with a load, for only that reads the data; verify --need reads all of them")
    if id_map_out:
        check_id_map_file(id_map_out)
    if need:
        check_need_file(need)
    with (
        opened_origin(archive, others, selection) as origin,
        showing_progress("loaded", quiet=quiet or as_json) as progress,
    ):
        lacking = _lacking(origin.source, archive) if need else None
        api = glance(server, region, interface, tls)
        brought = brought_images(
            origin,
            selection,
            api,
            wishes,
            progress,
            jobs=jobs,
            bwlimit=bwlimit,
            quiet=quiet or as_json,
            dry_run=dry_run,
        )
        faults = selection.faults(origin.source.faults)
        needed = None
        if need and lacking:
            needed = tell_need(need, need_after_load(lacking.archive, lacking.held))
    if id_map_out and not dry_run:
        write_id_map(id_map_out, wishes.ids.settled)
    document = {"archive": str(archive), "server": api.label, "dry_run": dry_run, "faults": faults}
    return brought.conclude(document, selection, progress, as_json=as_json, where=f" into {api.label}", need=needed)


def _lacking(source: LocatedSource, archive: Path) -> ArchiveSource:
    """`source`, of which there can be a need-list. Raises UsageError."""
    from glancearchive.endpoints.archive_source import ArchiveSource

    if not isinstance(source, ArchiveSource):
        raise UsageError(f"{archive}: --need is for archives")
    check_needs(source.archive)
    return source
