"""How ``dump`` and ``reslice`` split an archive into volumes: the options they share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click

from glancearchive.cli.output import note
from glancearchive.cli.parameters import Bytes
from glancearchive.cli.question import ask
from glancearchive.errors import GlanceArchiveError, LocalError, NoSpaceError, UsageError
from glancearchive.format.catalog import PATCH
from glancearchive.format.imageparts import COMPLETE, NO_DATA
from glancearchive.format.medium import check_name
from glancearchive.format.places import Split
from glancearchive.format.reader import Archive
from glancearchive.format.writer import ArchiveWriter
from glancearchive.plural import counted

AUTO = "auto"


class VolumeSize(Bytes):
    """A number of bytes, or ``auto``: as much as the file system takes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == AUTO else super().convert(value, param, ctx)


class Directories(click.ParamType[tuple[Path, ...]]):
    """Directories with commas in between."""

    name = "directories"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Path, ...]:
        if isinstance(value, tuple):
            return value
        named = dict[Path, Path]()
        for one in filter(None, value.split(",")):
            named.setdefault(Path(one).resolve(), Path(one))  # each directory once
        found = tuple(named.values())
        if not found:
            self.fail("no directory is named", param, ctx)
        return found


_OPTIONS = (
    click.option(
        "--volume-size",
        type=VolumeSize(),
        metavar="SIZE|auto",
        help="Write volumes of at most this size; auto: of the largest that the file system takes.",
    ),
    click.option(
        "--spread",
        type=Directories(),
        metavar="DIR,DIR…",
        help="Write volumes into these directories, into each until its medium is full.",
    ),
    click.option(
        "--volume-local-dedup", is_flag=True, help="Store again what is in a volume before, so that fewer are needed."
    ),
)


def volume_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options, given to the command as `split`: a `Split`, or None for an archive in one piece."""

    @wraps(command)
    def splitting(
        *arguments: Any,
        volume_size: int | str | None,
        spread: tuple[Path, ...] | None,
        volume_local_dedup: bool,
        **options: Any,
    ) -> int:
        split = None
        if volume_size is not None or spread:
            size = None if isinstance(volume_size, str) else volume_size
            split = Split(size, volume_local_dedup, spread or (), _ask)
        elif volume_local_dedup:
            raise UsageError("--volume-local-dedup is for an archive in volumes: see --volume-size and --spread")
        return command(*arguments, split=split, **options)

    result: Callable[..., int] = splitting
    for option in reversed(_OPTIONS):
        result = option(result)
    return result


def check_out(archive: Path, split: Split | None = None) -> None:
    """Raises UsageError unless an archive can be written that is called so; and as `check_spread`."""
    if str(archive) == "-":
        raise UsageError("an archive cannot be written to stdout")
    if archive.suffix == ".part":
        raise UsageError(
            f"{archive}: is what an unfinished archive is called; {archive.with_suffix('')} goes on with it"
        )
    check_name(archive)
    check_spread(archive, split)


def check_spread(archive: Path, split: Split | None) -> None:
    """With directories to spread over, the archive has a name and no place of its own.

    Raises UsageError, and LocalError for a directory that does not exist.
    """
    if split is None or not split.directories:
        return
    if archive.parent != Path():
        raise UsageError(f"{archive}: with --spread the archive is named without a directory: {archive.name}")
    for one in split.directories:
        if not one.is_dir():
            raise LocalError(f"{one}: is no directory to spread the archive over")
        check_name(one / archive.name)


def committed_in(part: Path, volumes: Sequence[Path]) -> str:
    """Where an archive is that an error or an interruption has left: `part` is the volume under way, if it is there."""
    last = part if part.exists() else volumes[-1]
    return f"the volumes up to {last}" if len(volumes) > 1 else str(last)


@contextmanager
def telling_what_stays(writer: ArchiveWriter | None) -> Iterator[None]:
    """When an error or an interruption ends the writing of an archive, say where what was committed is."""
    try:
        yield
    except (GlanceArchiveError, KeyboardInterrupt) as error:
        if writer is not None:
            _tell_what_stays(error, writer)
        raise


def _tell_what_stays(error: BaseException, writer: ArchiveWriter) -> None:
    """How the writing that `error` has ended goes on. How many images are whole is read from what was committed."""
    begun, part, volumes = not writer.empty, writer.part_path, writer.volumes
    room = ", once there is room" if isinstance(error, NoSpaceError) else ""
    if begun:
        place = committed_in(part, volumes)
        note(f"glancearchive: what was committed is in {place}; the same command goes on from there{room}")
    elif room:
        note(f"glancearchive: the same command goes on{room}")
    if begun and isinstance(error, LocalError):
        # What was taken since the last checkpoint is lost with the medium, and had been told by then.
        with suppress(GlanceArchiveError, OSError):
            said = f"whole in what was committed: {counted(_whole([*volumes, part]), 'image')}"
            note(f"glancearchive: {said}; whatever else was told is read again")


def _whole(paths: Sequence[Path]) -> int:
    """How many images, or the parts of images that a repair archive has, are whole in volumes, as far as they exist."""
    there = list(dict.fromkeys(path for path in paths if path.exists()))
    if not there:
        return 0
    with Archive(there) as archive:
        return sum(image.status in (COMPLETE, NO_DATA, PATCH) for image in archive.images)


def no_directory(message: str) -> NoReturn:
    """Where nobody is asked for another directory."""
    raise LocalError(f"{message}; add it to --spread, and the same command goes on")


def _ask(message: str) -> Path:
    """Another directory, from whoever sits at the terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        no_directory(message)
    note(f"glancearchive: {message}")
    note("glancearchive: what is finished is closed: its medium can be taken out")
    while True:
        answer = ask("Directory on the next medium (none: give up)")
        if not answer:
            raise LocalError(f"{message}; the same command goes on")
        directory = Path(answer)
        if directory.is_dir():
            return directory
        note(f"glancearchive: {directory} is no directory")
