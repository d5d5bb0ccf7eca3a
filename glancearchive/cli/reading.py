"""What the commands that read an archive share: its argument and options, the choice of images, its faults."""

from __future__ import annotations

from pathlib import Path

import click

from glancearchive.cli.damage import unknown_images
from glancearchive.cli.output import note
from glancearchive.cli.parameters import ArchivePath
from glancearchive.errors import FormatError, MissingError, UsageError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.imageparts import NO_DATA
from glancearchive.format.reader import Archive

archive_argument = click.argument("archive", type=ArchivePath())
with_option = click.option(
    "--with",
    "others",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path, readable=False),
    help="More of ARCHIVE, or what it is read with: volumes, its base. Files, or directories with them.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as one JSON document.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")


def choose(archive: Archive, names: tuple[str, ...]) -> list[ArchivedImage]:
    """The images that `names` (ids or names) stand for, all when there are none. Raises UsageError.

    Of several of one name the one is meant that has data, if the others never had any: they were queued, or superseded.
    Raises FormatError for one that is not found where not all images are known.
    """
    chosen: list[ArchivedImage] = []
    for name in names:
        found = archive.find(name)
        if not found and (unknown := unknown_images(archive)):
            raise FormatError(
                f"no image {name!r} in what is left of the archive; what is not known: {'; '.join(unknown)}"
            )
        if not found:
            raise UsageError(f"no image {name!r} in the archive (see: glancearchive list)")
        if len(found) > 1:
            found = [image for image in found if image.status != NO_DATA] or found
        if len(found) > 1:
            ids = ", ".join(f"{image.id} ({image.status})" for image in found)
            raise UsageError(f"{len(found)} images are called {name!r}; use an id: {ids}")
        if found[0] not in chosen:
            chosen.append(found[0])
    return chosen if names else list(archive.images)


def tell_faults(archive: Archive) -> int:
    """Say on stderr what is wrong with the archive itself; the exit code that this alone deserves."""
    for fault in archive.faults:
        note(f"glancearchive: {fault} [{fault.layer}]", "yellow")
    if any(isinstance(fault, MissingError) for fault in archive.faults):
        note("glancearchive: --with names what is elsewhere, or its directory; without it, what is whole is used")
    return 1 if archive.faults else 0
