"""``extract``: images out of an archive, without a Glance."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

import glancearchive
from glancearchive.cli.output import emit_json, note, size_text
from glancearchive.cli.progress import showing_progress
from glancearchive.cli.reading import archive_argument, choose, json_option, quiet_option, tell_faults, with_option
from glancearchive.cli.select import dry_run_option
from glancearchive.errors import ExistsError, FormatError, LocalError, UsageError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.imageparts import NO_DATA
from glancearchive.operations.extract import (
    extract_to_directory,
    extract_to_file,
    extract_to_stream,
    foresee_directory,
    foresee_file,
)
from glancearchive.operations.transfer import Stop
from glancearchive.plural import counted


@click.command()
@archive_argument
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@with_option
@click.option(
    "-o",
    "--output",
    default=".",
    show_default=True,
    metavar="FILE|DIR|-",
    help="A file or - (stdout) for one image; a directory gets ID (metadata, JSON) and ID.img for each.",
)
@click.option("--glance-hash", is_flag=True, help="Also recompute the hash that the image's Glance stated.")
@dry_run_option
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Images at the same time.")
@json_option
@quiet_option
def extract(
    archive: Path,
    images: tuple[str, ...],
    others: tuple[Path, ...],
    output: str,
    glance_hash: bool,
    dry_run: bool,
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Extract each IMAGE (an id or a name; all when none is named) from ARCHIVE.

    A file gets its name only when the whole image proved right; it is sparse where the image has zeros.

    \b
    glancearchive extract region.gla -o images/
    glancearchive extract region.gla debian-12 -o debian.qcow2
    glancearchive extract region.gla debian-12 -o - | sha512sum
    """  # noqa: D301  # click wants the backspace itself
    several = len(images) != 1 and not Path(output).exists() and not Path(output).suffix and output != "-"
    directory = Path(output) if several or output.endswith("/") or Path(output).is_dir() else None
    if output == "-" and as_json:
        raise UsageError("-o - writes the image to stdout, where --json would write its result")
    with (
        glancearchive.open(archive, *others) as opened,
        showing_progress("extracted", quiet=quiet or as_json) as progress,
    ):
        code = tell_faults(opened)
        chosen = choose(opened, images)
        if directory is None and len(chosen) != 1:
            raise UsageError(_into_one_file(len(chosen)))
        if directory is not None and not dry_run:
            try:
                directory.mkdir(exist_ok=True, parents=True)
            except OSError as error:
                raise LocalError(f"{directory}: {error.strerror}") from None

        stop = Stop()
        for image in chosen:
            progress.expect(image)
        progress.all_expected()

        def take(image: ArchivedImage) -> tuple[str, int, str]:
            """The status, the bytes of the image, and why it was not extracted."""

            def count(size: int) -> None:
                stop.check()
                progress.advance(image, size)

            reason = _why_not(image, directory)
            fresh = True
            try:
                if reason:
                    return "failed", 0, reason
                if dry_run:
                    size, fresh = _foreseen(image, output, directory)
                elif output == "-":
                    size = extract_to_stream(image, sys.stdout.buffer, count, glance_hash=glance_hash)
                elif directory is None:
                    size, fresh = extract_to_file(image, Path(output), count, glance_hash=glance_hash)
                else:
                    size, fresh = extract_to_directory(image, directory, count, glance_hash=glance_hash)
            except (FormatError, ExistsError) as error:
                return "failed", 0, str(error)
            return (image.status if image.size is None else "extracted" if fresh else "present"), size, ""

        results = []
        with ThreadPoolExecutor(jobs, "extract") as pool:
            try:
                for image, (status, size, reason) in zip(chosen, pool.map(take, chosen), strict=True):
                    progress.ended(image.id, status, 0 if dry_run else size)
                    results.append(
                        {"id": image.id, "name": image.name, "status": status, "reason": reason, "size": size}
                    )
                    what = f"{image.id} ({image.name!r})"
                    if reason:
                        note(f"glancearchive: image {what} was not extracted: {reason}", "red")
                    elif not (quiet or as_json):
                        left = "; identical, left alone" if status == "present" else ""
                        note(f"{'dry run: ' if dry_run else ''}{status}: {what}, {size_text(size)}{left}", "green")
            finally:
                stop.request()
                pool.shutdown(cancel_futures=True)
        code = max(code, *(1 for result in results if result["reason"]), 0)
        if as_json:
            faults = [str(fault) for fault in opened.faults]
            emit_json(
                {"archive": str(archive), "ok": not code, "dry_run": dry_run, "faults": faults, "images": results}
            )
        elif output != "-":
            done = sum(1 for result in results if not result["reason"])
            total = size_text(sum(int(str(one["size"])) for one in results))
            note(f"{'dry run: ' if dry_run else ''}{done} of {counted(len(results), 'image')} extracted, {total}")
    return code


def _into_one_file(count: int) -> str:
    return f"{count} images do not go into one file; name one image, or a directory with -o"


def _foreseen(image: ArchivedImage, output: str, directory: Path | None) -> tuple[int, bool]:
    """The bytes of the image, and whether it would be written. Raises as extracting it would."""
    if directory is not None:
        return foresee_directory(image, directory)
    return (image.content().size, True) if output == "-" else foresee_file(image, Path(output))


def _why_not(image: ArchivedImage, directory: Path | None) -> str:
    if not image.id:
        return f"image number {image.number} is described in a volume that is not at hand"
    if image.size is None and (directory is None or image.status != NO_DATA):
        return f"there are no data of it: {image.reason or image.status}"
    return ""
