"""``dump`` and ``load``: between a Glance and an archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

import glancearchive
from glancearchive.cli.inspect import archive_argument, json_option, quiet_option, tell_faults
from glancearchive.cli.output import emit_json, note, size_text
from glancearchive.cli.progress import ProgressLine
from glancearchive.errors import GlanceArchiveError, UsageError
from glancearchive.format.compression import LEVELS
from glancearchive.format.volumes import part_of
from glancearchive.image import Action, Outcome

F = TypeVar("F", bound=Callable[..., Any])


def server_options(command: F) -> F:
    """The options of every command that talks to a Glance."""
    for option in reversed(
        (
            click.option("--region", help="The region, when the cloud has several."),
            click.option("--interface", help="The endpoint interface: public (default), internal or admin."),
            click.option("--cacert", type=click.Path(), help="A file with the CA certificates to trust."),
            click.option("--cert", type=click.Path(), help="A client certificate."),
            click.option("--key", type=click.Path(), help="The client certificate's key."),
            click.option("--insecure", is_flag=True, help="Do not check the server's certificate."),
            click.option(
                "--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Images at the same time."
            ),
        )
    ):
        command = option(command)
    return command


def _connect(server: str, region: str | None, interface: str | None, tls: dict[str, Any]) -> Any:
    # Only here, so that commands on an archive alone do without OpenStack's libraries.
    from glancearchive.endpoints.cloud import connect
    from glancearchive.endpoints.glance_api import GlanceApi

    return GlanceApi(connect(server, region=region, interface=interface, **tls))


@click.command()
@click.argument("server")
@archive_argument
@click.option(
    "--level", type=click.Choice(list(LEVELS)), default="default", show_default=True, help="How hard to compress."
)
@click.option("--append", is_flag=True, help="Add what is new to an archive that is finished.")
@server_options
@json_option
@quiet_option
def dump(
    server: str,
    archive: Path,
    level: str,
    append: bool,
    region: str | None,
    interface: str | None,
    jobs: int,
    as_json: bool,
    quiet: bool,
    **tls: Any,
) -> int:
    """Dump every image that SERVER shows into ARCHIVE.

    A dump that was interrupted goes on when the same command is run again. Images without data, and those that
    could not be read, are recorded with the reason; for the latter the exit code is 1.

    \b
    glancearchive dump mycloud region.gla
    glancearchive dump https://glance.example.org:9292 region.gla --cacert ca.pem
    """  # noqa: D301  # click wants the backspace itself
    if str(archive) == "-":
        raise UsageError("an archive cannot be written to stdout")
    from glancearchive.endpoints.glance_source import GlanceSource
    from glancearchive.operations.dump import dump as run

    source = GlanceSource(_connect(server, region, interface, tls))
    with ProgressLine("dumped", quiet=quiet or as_json) as progress:
        result = run(source, archive, level=level, jobs=jobs, append=append, progress=progress)
        try:
            outcomes = list(_told(result.outcomes, progress, quiet or as_json))
        except (GlanceArchiveError, KeyboardInterrupt) as error:
            progress.clear()
            if part_of(archive).exists():
                note(f"glancearchive: what was committed is in {part_of(archive)}; the same command goes on from there")
            raise error
    if result.complete_before:
        note(f"glancearchive: {archive} is a finished archive of {source.label}; nothing was done (see --append)")
    document = {
        "archive": str(archive),
        "server": source.label,
        "stored": result.stored,
        "root_digest": result.root_digest.hex(),
        "complete_before": result.complete_before,
    }
    if result.complete_before and not outcomes:
        if as_json:
            emit_json(document | {"ok": True, "images": []})
        return 0
    return _conclude(document, outcomes, as_json, f", stored in {size_text(result.stored)}: {archive}")


@click.command()
@click.argument("server")
@archive_argument
@click.option("--update-metadata", is_flag=True, help="Bring the metadata of images that are there already into line.")
@server_options
@json_option
@quiet_option
def load(
    server: str,
    archive: Path,
    update_metadata: bool,
    region: str | None,
    interface: str | None,
    jobs: int,
    as_json: bool,
    quiet: bool,
    **tls: Any,
) -> int:
    """Load the images of ARCHIVE into SERVER, with the same ids, metadata and data.

    Each image stays private until its data proved right there. An image that is there with the same data
    is left alone; one with other data under the same id is reported and never touched.
    """
    from glancearchive.endpoints.archive import ArchiveSource
    from glancearchive.endpoints.glance_target import GlanceTarget
    from glancearchive.operations.transfer import transfer

    with glancearchive.open(archive) as opened, ProgressLine("loaded", quiet=quiet or as_json) as progress:
        tell_faults(opened)
        target = GlanceTarget(_connect(server, region, interface, tls), update_metadata=update_metadata)
        arriving = transfer(ArchiveSource(opened), target, progress=progress, jobs=jobs)
        try:
            outcomes = list(_told(arriving, progress, quiet or as_json))
        except (GlanceArchiveError, KeyboardInterrupt):
            progress.clear()
            note("glancearchive: the same command goes on; what is loaded already is not sent again")
            raise
        faults = [str(fault) for fault in opened.faults]
    document = {"archive": str(archive), "server": target.label, "faults": faults}
    return _conclude(document, outcomes, as_json, f" into {target.label}", sound=not faults)


def _told(outcomes: Iterator[Outcome], progress: ProgressLine, quiet: bool) -> Iterator[Outcome]:
    """Hand outcomes on, with a line on stderr for each."""
    for outcome in outcomes:
        progress.clear()
        if not quiet or not outcome.clean:
            how = f", {outcome.verified} verified" if outcome.verified else ""
            why = f": {outcome.reason}" if outcome.reason else ""
            note(f"{outcome.action}: {outcome.id} ({outcome.name!r}), {size_text(outcome.size)}{how}{why}")
            for line in outcome.dropped:
                note(f"  dropped: {line}")
            for line in outcome.differences:
                note(f"  differs: {line}")
        yield outcome


def _conclude(
    document: dict[str, Any], outcomes: list[Outcome], as_json: bool, where: str, *, sound: bool = True
) -> int:
    """Render the result; the exit code. `sound` says that nothing was wrong besides."""
    ok = sound and bool(outcomes) and all(outcome.clean for outcome in outcomes)
    if as_json:
        images = [
            {
                "id": outcome.id,
                "name": outcome.name,
                "action": str(outcome.action),
                "reason": outcome.reason,
                "size": outcome.size,
                "verified": outcome.verified,
                "dropped": outcome.dropped,
                "differences": outcome.differences,
            }
            for outcome in outcomes
        ]
        emit_json(document | {"ok": ok, "images": images})
    else:
        counts = Counter(outcome.action for outcome in outcomes)
        what = ", ".join(f"{counts[action]} {action}" for action in Action if counts[action]) or "nothing"
        total = size_text(sum(outcome.size for outcome in outcomes))
        click.echo(f"{len(outcomes)} images: {what}; {total}{where}")
    if not outcomes:
        note("glancearchive: there was no image to copy")
    return 0 if ok else 1
