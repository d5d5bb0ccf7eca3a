"""``dump``: a Glance, image files or a directory of glance-replicator into an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from glancearchive.cli.inspect import archive_argument, json_option, quiet_option
from glancearchive.cli.outcomes import conclude, told
from glancearchive.cli.output import emit_json, note, size_text
from glancearchive.cli.parameters import Bytes, Place
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.select import dry_run_option, select_options, tell_choice
from glancearchive.cli.transfers import prepared, server_options
from glancearchive.errors import GlanceArchiveError, UsageError
from glancearchive.format.compression import LEVELS
from glancearchive.format.schema import BLOCK_SIZES
from glancearchive.format.volumes import part_of
from glancearchive.operations.select import Selected, Selection

_BLOCK_SIZES = {f"{size >> 10}K": size for size in BLOCK_SIZES}


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=Place())
@archive_argument
@click.option(
    "--level", type=click.Choice(list(LEVELS)), default="default", show_default=True, help="How hard to compress."
)
@click.option(
    "--block-size",
    type=click.Choice(list(_BLOCK_SIZES)),
    help="The unit of deduplication of a new archive.  [default: 4K]",
)
@click.option(
    "--index-memory",
    type=Bytes(),
    default="1GiB",
    show_default=True,
    help="Memory for the index of blocks; then a file.",
)
@click.option(
    "--index-directory",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    help="Where that file is made.  [default: $TMPDIR or /var/tmp]",
)
@click.option("--glance-hash", is_flag=True, help="Also compute the SHA-512 of image files that a Glance would have.")
@click.option("--append", is_flag=True, help="Add what is new to an archive that is finished.")
@select_options
@dry_run_option
@server_options
@json_option
@quiet_option
def dump(
    sources: tuple[str, ...],
    archive: Path,
    level: str,
    block_size: str | None,
    index_memory: int,
    index_directory: Path | None,
    glance_hash: bool,
    append: bool,
    selection: Selection,
    dry_run: bool,
    jobs: int,
    bwlimit: int | None,
    as_json: bool,
    quiet: bool,
    **access: Any,
) -> int:
    """Dump every image that SOURCE has into ARCHIVE.

    SOURCE is a server, a directory that glance-replicator dumped, or image files: any number of files and of
    directories with files. A dump that was interrupted goes on when the same command is run again. Images without
    data, and those that could not be read, are recorded with the reason; for the latter the exit code is 1.

    \b
    glancearchive dump mycloud region.gla
    glancearchive dump https://glance.example.org:9292 region.gla --cacert ca.pem
    glancearchive dump mycloud region.gla --property os_distro=debian --exclude 'test-*'
    glancearchive dump debian-12.qcow2 rescue.iso images.gla
    glancearchive dump /media/disk/images/ images.gla
    """  # noqa: D301  # click wants the backspace itself
    if str(archive) == "-":
        raise UsageError("an archive cannot be written to stdout")
    if archive.suffix == ".part":
        raise UsageError(
            f"{archive}: is what an unfinished archive is called; {archive.with_suffix('')} goes on with it"
        )
    from glancearchive.endpoints.location import Kind, locate
    from glancearchive.operations.dump import Dump
    from glancearchive.operations.dump import dump as run
    from glancearchive.operations.plan import plan_dump

    location = locate(*sources)
    if location.kind is Kind.ARCHIVE:
        raise UsageError(f"{sources[0]}: is an archive; a dump takes a server or files (and the archive last)")
    with location.open(**access) as source, showing_progress("dumped", quiet=quiet or as_json) as progress:
        chosen = prepared(Selected(source, selection), progress, bwlimit)
        if dry_run and (append or not archive.exists()):
            result = Dump(plan_dump(chosen, archive, progress=progress, jobs=jobs))
        else:
            # All files look alike to an archive: that it is finished need not mean that these are in it.
            covering = location.kind is not Kind.SERVER or bool(selection)
            result = run(
                chosen,
                archive,
                level=level,
                block_size=_BLOCK_SIZES.get(block_size or ""),
                index_memory=index_memory,
                index_directory=index_directory,
                jobs=jobs,
                append=append,
                covering=covering,
                hash_originals=glance_hash,
                progress=progress,
            )
        if not dry_run:
            progress.stores(lambda: result.stored)
        try:
            outcomes = list(told(result.outcomes, progress, quiet or as_json, dry_run=dry_run))
        except (GlanceArchiveError, KeyboardInterrupt) as error:
            if part_of(archive).exists() and not dry_run:
                note(f"glancearchive: what was committed is in {part_of(archive)}; the same command goes on from there")
            raise error
        for fault in source.faults:
            note(f"glancearchive: {fault}")
    sound = not (source.faults or tell_choice(selection))
    if result.complete_before:
        note(f"glancearchive: {archive} is a finished archive of {source.label}; nothing was done (see --append)")
    document = {
        "archive": str(archive),
        "server": source.label,
        "faults": list(source.faults),
        "stored": result.stored,
        "root_digest": result.root_digest.hex(),
        "complete_before": result.complete_before,
        "dry_run": dry_run,
    }
    if result.complete_before and not outcomes:
        if as_json:
            emit_json(document | {"ok": sound, "images": []})
        return 0 if sound else 1
    where = f", stored in {size_text(result.stored)}: {archive}" if result.stored else f" for {archive}"
    return conclude(document, outcomes, as_json, where, sound=sound, progress=progress)
