"""``plan``: what a load would do, and what stands in its way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glancearchive.cli.arrival import Wishes, arrival_options, brought_images, tell_outlook
from glancearchive.cli.definitions import definitions_document
from glancearchive.cli.origins import opened_origin
from glancearchive.cli.outcomes import conclude
from glancearchive.cli.output import note, size_text, tell, time_text
from glancearchive.cli.parameters import Place, Rate
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.reading import archive_argument, json_option, quiet_option, with_option
from glancearchive.cli.select import not_found, select_options
from glancearchive.cli.transfers import access_options, glance
from glancearchive.endpoints.location import require_order
from glancearchive.errors import ConnectError, ServerError, UsageError
from glancearchive.operations.select import Selection

if TYPE_CHECKING:
    from glancearchive.endpoints.glance_api import GlanceApi


@click.command()
@archive_argument
@click.argument("server", type=Place())
@with_option
@arrival_options
@click.option("--rate", type=Rate(), help="Bytes of data a second that the load will reach: 50M, 100MiB.")
@click.option("--measure", is_flag=True, help="Measure the rate by uploading 8 MiB to a private image that is deleted.")
@select_options
@access_options
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Images at the same time.")
@json_option
@quiet_option
def plan(
    archive: Path,
    server: str,
    others: tuple[Path, ...],
    wishes: Wishes,
    rate: int | None,
    measure: bool,
    selection: Selection,
    region: str | None,
    interface: str | None,
    jobs: int,
    as_json: bool,
    quiet: bool,
    **tls: Any,
) -> int:
    """Say what a load of ARCHIVE into SERVER would do, and what would be refused and why.

    Nothing is written, but for the trial that --measure asks for. ARCHIVE may be a directory, as for load.

    It looks at ids, formats, fields, roles, projects, quotas and the token, as far as SERVER tells, and at what the
    volumes at hand have of each image.

    \b
    glancearchive plan region.gla mycloud
    glancearchive plan region.gla mycloud --measure
    glancearchive plan region.gla mycloud --rate 50M --map owner 5f1a7c9e20b84d3fa6c1e58b90d2473f=web
    """  # noqa: D301  # click wants the backspace itself
    if measure and rate is not None:
        raise UsageError("--measure and --rate exclude one another")
    require_order(server, archive, "ARCHIVE SERVER")
    with (
        opened_origin(archive, others, selection) as origin,
        showing_progress("planned", quiet=quiet or as_json) as progress,
    ):
        api = glance(server, region, interface, tls)
        brought = brought_images(
            origin, selection, api, wishes, progress, jobs=jobs, bwlimit=None, quiet=quiet or as_json, dry_run=True
        )
        outlook = brought.outlook
        assert outlook is not None
        if measure:
            rate = measured(api, wishes.store)
        faults = selection.faults(origin.source.faults)
    findings = tell_outlook(outlook, rate)
    sound = brought.sound(selection, [*faults, *findings])
    seconds, life = outlook.seconds(rate), outlook.token_seconds()
    if not as_json and seconds is not None:
        tell(f"about {time_text(seconds)} at {size_text(rate)}/s")
    document = {
        "archive": str(archive),
        "server": api.label,
        "dry_run": True,
        "faults": faults,
        "findings": findings,
        "unknown": outlook.unknown(),
        "bytes": outlook.bytes,
        "rate": rate,
        "seconds": seconds,
        "token_seconds": life,
    }
    document |= not_found(selection) | definitions_document(brought.definitions)
    return conclude(document, brought.outcomes, as_json, f" into {api.label}", sound=sound, progress=progress)


def measured(api: GlanceApi, store: str) -> int | None:
    """Bytes a second that one upload reaches; None, and a word on stderr, where that cannot be seen."""
    from glancearchive.endpoints.glance_trial import measured_rate

    try:
        return int(measured_rate(api, store=store))
    except ConnectError:
        raise
    except ServerError as error:
        note(f"glancearchive: the rate could not be measured: {error}")
        return None
