"""``dump``: a Glance, image files or a directory of glance-replicator into an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from glancearchive.cli.answer import answer_need, for_option
from glancearchive.cli.catalog import opened_base
from glancearchive.cli.definitions import described, metadefs_option
from glancearchive.cli.outcomes import conclude, told
from glancearchive.cli.output import emit_json, note, size_text
from glancearchive.cli.parameters import Bytes, Place
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.readback import ReadBacks, read_back_option
from glancearchive.cli.reading import archive_argument, json_option, quiet_option
from glancearchive.cli.recovery import protecting_dump, protection_document, recovery_option, tell_protection
from glancearchive.cli.select import dry_run_option, not_found, select_options, tell_choice
from glancearchive.cli.transfers import prepared, server_options
from glancearchive.cli.volumes import check_out, telling_what_stays, volume_options
from glancearchive.errors import FormatError, LocalError, UsageError
from glancearchive.format.archiveheader import BLOCK_SIZES
from glancearchive.format.compression import LEVELS
from glancearchive.format.places import Split
from glancearchive.format.volumes import find_volumes
from glancearchive.operations.select import Selected, Selection
from glancearchive.recovery.amount import Amount
from glancearchive.recovery.program import find_program

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
@click.option(
    "--base",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path, readable=False),
    help="Store only what this archive does not have: its volumes, or its isolated catalog.",
)
@metadefs_option
@click.option("--append", is_flag=True, help="Add what is new to an archive that is finished.")
@volume_options
@for_option
@read_back_option
@recovery_option
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
    base: tuple[Path, ...],
    append: bool,
    metadefs: bool,
    split: Split | None,
    need: Path | None,
    read_back: bool | None,
    recovery: Amount | None,
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
    glancearchive dump mycloud /media/disk/region.gla --volume-size auto
    glancearchive dump mycloud region.gla --spread /media/disk1,/media/disk2
    glancearchive dump https://glance.example.org:9292 region.gla --cacert ca.pem
    glancearchive dump mycloud region.gla --property os_distro=debian --exclude 'test-*'
    glancearchive dump mycloud monday.gla --base region.glacat
    glancearchive dump mycloud repair.gla --for region.need
    glancearchive dump debian-12.qcow2 rescue.iso images.gla
    glancearchive dump /media/disk/images/ images.gla
    """  # noqa: D301  # click wants the backspace itself
    check_out(archive, split)
    if split and split.directories and recovery:
        raise UsageError("--recovery needs all volumes side by side: without --spread, or by protect afterwards")
    from glancearchive.endpoints.location import Kind, locate
    from glancearchive.operations.dump import Dump, done_before
    from glancearchive.operations.dump import dump as run

    location = locate(*sources, beside_archives=True)
    reads = ReadBacks(read_back, quiet=quiet or as_json)
    if need:
        if append or base or block_size or dry_run or recovery or metadefs:
            raise UsageError("--for says all that is written: leave out what changes it, as --append or --base")
        with location.open(**access) as source, showing_progress("dumped", quiet=quiet or as_json) as progress:
            return answer_need(
                source,
                archive,
                need,
                selection,
                progress,
                reads,
                level=level,
                split=split,
                index_memory=index_memory,
                index_directory=index_directory,
                jobs=jobs,
                bwlimit=bwlimit,
                as_json=as_json,
                quiet=quiet,
            )
    if recovery and not dry_run:
        find_program()  # or hours are spent before it turns out that there is none
    if location.kind is Kind.ARCHIVE:
        find_volumes(sources[0])  # raises where there is none
        raise UsageError(f"{sources[0]}: is an archive; a dump takes a server or files (and the archive last)")
    with (
        location.open(wanted=selection.filters, **access) as source,
        opened_base(base) as based,
        showing_progress("dumped", quiet=quiet or as_json) as progress,
    ):
        result = Dump(iter(()))
        split = split and reads.before_leaving(split, lambda: result.volumes)
        images = described(source, Selected(source, selection), metadefs=metadefs, chosen=bool(selection))
        chosen = prepared(images, progress, bwlimit)
        # All files look alike to an archive: that it is finished need not mean that these are in it.
        covering = location.kind is not Kind.SERVER or bool(selection) or metadefs
        size = _BLOCK_SIZES.get(block_size or "")
        if dry_run:
            from glancearchive.operations.plan import plan_dump  # it needs what a server does

            done = done_before(chosen, archive, split, append=append, covering=covering)
            planned = plan_dump(
                chosen, archive, split=split, level=level, block_size=size, base=based, progress=progress, jobs=jobs
            )
            result = done or Dump(planned)
        else:
            result = run(
                chosen,
                archive,
                level=level,
                block_size=size,
                split=split,
                index_memory=index_memory,
                index_directory=index_directory,
                jobs=jobs,
                append=append,
                covering=covering,
                hash_originals=glance_hash,
                base=based,
                progress=progress,
            )
        if not dry_run:
            progress.stores(lambda: result.stored)
        with telling_what_stays(result.writer):
            outcomes = list(told(result.outcomes, progress, quiet or as_json, dry_run=dry_run))
        faults = list(images.faults)
        for fault in faults:
            note(f"glancearchive: {fault}")
    sound = not (faults or tell_choice(selection))
    if result.complete_before:
        hint = "" if split else " (see --append)"
        note(f"glancearchive: {archive} is a finished archive of {source.label}; nothing was done{hint}")
    there = bool(result.root_digest) and not dry_run
    if there and (read_back or not result.complete_before):
        reads.read(result.volumes)
    sound = sound and reads.well
    protection, unprotected = None, ""
    if there and reads.well:
        try:
            protection = protecting_dump(archive, recovery, quiet=quiet or as_json)
        except (LocalError, FormatError) as error:  # the dump itself is done, and is to be told
            unprotected = f"recovery data: {error}"
    elif there and recovery:
        unprotected = "no recovery data were made, for the medium does not hold what was written"
    if unprotected:
        note(f"glancearchive: {unprotected}", "red")
        faults.append(unprotected)
        sound = False
    document = {
        "archive": str(archive),
        "server": source.label,
        "faults": faults,
        "stored": result.stored,
        "volumes": [str(volume) for volume in result.volumes],
        "root_digest": result.root_digest.hex(),
        "complete_before": result.complete_before,
        "dry_run": dry_run,
        **not_found(selection),
        "read_back": reads.document(),
        "recovery": protection_document(protection) if protection else None,
    }
    if result.complete_before and not outcomes:
        if as_json:
            emit_json(document | {"ok": sound, "images": []})
        else:
            reads.tell()
        if protection and not as_json:
            tell_protection(protection)
        return 0 if sound else 1
    where = f", stored in {size_text(result.stored)}: {archive}" if result.stored else f" for {archive}"
    code = conclude(document, outcomes, as_json, where, sound=sound, progress=progress)
    if not as_json:
        reads.tell()
    if protection and not as_json:
        tell_protection(protection)
    return code
