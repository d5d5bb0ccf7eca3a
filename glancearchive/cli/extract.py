"""``extract``: images out of an archive, without a Glance."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

import glancearchive
from glancearchive.cli.inspect import archive_argument, choose, json_option, quiet_option, tell_faults
from glancearchive.cli.output import emit_json, note, size_text
from glancearchive.cli.progress import ProgressLine
from glancearchive.errors import ExistsError, FormatError, LocalError, UsageError
from glancearchive.format.reader import ArchivedImage
from glancearchive.format.schema import NO_DATA
from glancearchive.operations.extract import extract_to_directory, extract_to_file, extract_to_stream
from glancearchive.operations.transfer import Stop


@click.command()
@archive_argument
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "-o",
    "--output",
    default=".",
    show_default=True,
    metavar="FILE|DIR|-",
    help="A file or - (stdout) for one image; a directory gets ID (metadata, JSON) and ID.img for each.",
)
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Images at the same time.")
@json_option
@quiet_option
def extract(archive: Path, images: tuple[str, ...], output: str, jobs: int, as_json: bool, quiet: bool) -> int:
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
    with glancearchive.open(archive) as opened, ProgressLine("extracted", quiet=quiet or as_json) as progress:
        code = tell_faults(opened)
        chosen = choose(opened, images)
        if directory is None and len(chosen) != 1:
            raise UsageError(f"{len(chosen)} images do not go into one file; name one image, or a directory with -o")
        if directory is not None:
            try:
                directory.mkdir(exist_ok=True, parents=True)
            except OSError as error:
                raise LocalError(f"{directory}: {error.strerror}") from None

        stop = Stop()

        def count(size: int) -> None:
            stop.check()
            progress.count(size)

        def take(image: ArchivedImage) -> tuple[str, int, str]:
            """The status, the bytes of the image, and why it was not extracted."""
            reason = _why_not(image, directory)
            fresh = True
            try:
                if reason:
                    return "failed", 0, reason
                if output == "-":
                    size = extract_to_stream(image, sys.stdout.buffer, count)
                elif directory is None:
                    size = extract_to_file(image, Path(output), count)
                else:
                    size, fresh = extract_to_directory(image, directory, count)
            except (FormatError, ExistsError) as error:
                return "failed", 0, str(error)
            return (image.status if image.size is None else "extracted" if fresh else "present"), size, ""

        results = []
        with ThreadPoolExecutor(jobs, "extract") as pool:
            try:
                for image, (status, size, reason) in zip(chosen, pool.map(take, chosen), strict=True):
                    progress.clear()
                    results.append(
                        {"id": image.id, "name": image.name, "status": status, "reason": reason, "size": size}
                    )
                    if reason:
                        note(f"glancearchive: image {image.id} ({image.name!r}) was not extracted: {reason}")
            finally:
                stop.request()
                pool.shutdown(cancel_futures=True)
        code = max(code, *(1 for result in results if result["reason"]), 0)
        if as_json:
            faults = [str(fault) for fault in opened.faults]
            emit_json({"archive": str(archive), "ok": not code, "faults": faults, "images": results})
        elif output != "-":
            done = sum(1 for result in results if not result["reason"])
            total = size_text(sum(int(str(one["size"])) for one in results))
            note(f"{done} of {len(results)} images extracted, {total}")
    return code


def _why_not(image: ArchivedImage, directory: Path | None) -> str:
    if not image.id:
        return f"image number {image.number} is described in a volume that is not at hand"
    if image.size is None and (directory is None or image.status != NO_DATA):
        return f"there are no data of it: {image.reason or image.status}"
    return ""
