"""``livecopy``: into a Glance from where the images are, with nothing in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from glancearchive.cli.arrival import Wishes, arrival_options, brought_images, id_map_out_option
from glancearchive.cli.origins import Origin
from glancearchive.cli.output import note
from glancearchive.cli.parameters import Place
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.reading import json_option, quiet_option
from glancearchive.cli.select import dry_run_option, select_options
from glancearchive.cli.transfers import glance, server_options
from glancearchive.endpoints.location import locate, require_server
from glancearchive.operations.select import Selection


@click.command()
@click.argument("origin", metavar="FROM", type=Place())
@click.argument("to", metavar="TO", type=Place())
@arrival_options
@id_map_out_option
@select_options
@dry_run_option
@server_options
@click.option("--from-region", help="The region of FROM, where it is not that of --region.")
@click.option("--to-region", help="The region of TO, where it is not that of --region.")
@json_option
@quiet_option
def livecopy(
    origin: str,
    to: str,
    wishes: Wishes,
    id_map_out: Path | None,
    selection: Selection,
    dry_run: bool,
    region: str | None,
    from_region: str | None,
    to_region: str | None,
    interface: str | None,
    jobs: int,
    bwlimit: int | None,
    as_json: bool,
    quiet: bool,
    **access: Any,
) -> int:
    """Copy every image of FROM into the Glance TO, on the wire, with the same ids, metadata and data.

    FROM is a server, an archive, a directory that glance-replicator dumped, or an image file. No temporary files are
    written. Each image stays private at TO until its data proved right there; an image that is there with the same
    data is left alone.

    \b
    glancearchive livecopy mycloud othercloud
    glancearchive livecopy mycloud othercloud --tag lts --since 7d --dry-run
    glancearchive livecopy mycloud othercloud --map owner web=web-new --store fast
    """  # noqa: D301  # click wants the backspace itself
    require_server(to)
    place = locate(origin)
    from glancearchive.endpoints.glance_source import GlanceSource
    from glancearchive.operations.id_map import check_id_map_file, write_id_map
    from glancearchive.operations.livecopy import require_another

    if id_map_out:
        check_id_map_file(id_map_out)
    with (
        place.open(wanted=selection.filters, region=from_region or region, interface=interface, **access) as source,
        showing_progress("copied", quiet=quiet or as_json) as progress,
    ):
        api = glance(to, to_region or region, interface, access)
        if isinstance(source, GlanceSource):
            require_another(source, api)
        brought = brought_images(
            Origin.of(source),
            selection,
            api,
            wishes,
            progress,
            jobs=jobs,
            bwlimit=bwlimit,
            quiet=quiet or as_json,
            dry_run=dry_run,
        )
        faults = selection.faults(source.faults)
    if id_map_out and not dry_run:
        write_id_map(id_map_out, wishes.ids.settled)
    for fault in faults:
        note(f"glancearchive: {fault}")
    document = {"from": source.label, "to": api.label, "dry_run": dry_run, "faults": faults}
    where = f" from {source.label} into {api.label}"
    return brought.conclude(document, selection, progress, as_json=as_json, where=where)
