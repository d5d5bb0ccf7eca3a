"""``plan``: what a load would do, and what stands in its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import glancearchive
from glancearchive.cli.arrival import Wishes, arrival_options, tell_outlook
from glancearchive.cli.inspect import archive_argument, json_option, quiet_option, tell_faults
from glancearchive.cli.outcomes import conclude, told
from glancearchive.cli.output import tell, time_text
from glancearchive.cli.parameters import Place, Rate
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.select import select_options, tell_choice
from glancearchive.cli.transfers import access_options, glance, prepared
from glancearchive.operations.select import Selected, Selection


@click.command()
@archive_argument
@click.argument("server", type=Place())
@arrival_options
@click.option("--rate", type=Rate(), help="Bytes of data a second that the load will reach: 50M, 100MiB.")
@select_options
@access_options
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Images at the same time.")
@json_option
@quiet_option
def plan(
    archive: Path,
    server: str,
    wishes: Wishes,
    rate: int | None,
    selection: Selection,
    region: str | None,
    interface: str | None,
    jobs: int,
    as_json: bool,
    quiet: bool,
    **tls: Any,
) -> int:
    """Say what a load of ARCHIVE into SERVER would do, and what would be refused and why. Nothing is written.

    It looks at ids, formats, fields, roles, projects, quotas and the token, as far as SERVER tells.

    \b
    glancearchive plan region.gla mycloud
    glancearchive plan region.gla mycloud --rate 50M --map owner 5f1a=web --id-policy new
    """  # noqa: D301  # click wants the backspace itself
    from glancearchive.endpoints.archive import ArchiveSource
    from glancearchive.endpoints.prospects import Prospects
    from glancearchive.operations.plan import Outlook, plan_load

    with glancearchive.open(archive) as opened, showing_progress("planned", quiet=quiet or as_json) as progress:
        tell_faults(opened)
        api = glance(server, region, interface, tls)
        options = wishes.options(api) | {"progress": progress, "jobs": jobs}
        chosen = prepared(wishes.mapped(Selected(ArchiveSource(opened), selection), api), progress, None)
        outlook = Outlook(Prospects(api))
        arriving = plan_load(chosen, api, outlook=outlook, **options)
        outcomes = list(told(arriving, progress, quiet or as_json, dry_run=True))
        faults = [str(fault) for fault in opened.faults]
    findings = tell_outlook(outlook, rate)
    sound = not (faults or findings or tell_choice(selection))
    seconds, life = outlook.seconds(rate), outlook.token_seconds()
    if not as_json and seconds is not None:
        tell(f"about {time_text(seconds)} at this rate")
    document = {
        "archive": str(archive),
        "server": api.label,
        "dry_run": True,
        "faults": faults,
        "findings": findings,
        "unknown": outlook.unknown(),
        "bytes": outlook.bytes,
        "seconds": seconds,
        "token_seconds": life,
    }
    return conclude(document, outcomes, as_json, f" into {api.label}", sound=sound, progress=progress)
