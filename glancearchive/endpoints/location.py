"""What a LOCATION of the command line names: a server, an archive, a directory of glance-replicator, image files.

A URL and ``host:port`` are servers. What has a directory in it (``./images``,
``/media/disk/``) is a path. A bare name is the file or directory of that name,
unless there is none, or it has no suffix and clouds.yaml has a cloud of that
name: then it is the cloud, for nobody expects a directory to hide it.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from glancearchive.endpoints.archive_source import ArchiveSource
from glancearchive.endpoints.directory import DirectorySource, is_replicated, is_replicated_file
from glancearchive.endpoints.diskfile import SUFFIXES
from glancearchive.errors import LocalError, UsageError
from glancearchive.format.header import HEADER_SIZE
from glancearchive.format.reader import Archive
from glancearchive.format.volumes import find_volumes, has_volumes, is_volume
from glancearchive.image import Source

log = logging.getLogger("glancearchive")

_ADDRESS = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}(/.*)?|[A-Za-z][A-Za-z0-9+.-]*://.*", re.ASCII)
# Whatever has one of them is meant to be a file, also when it is not there.
_FILE_SUFFIXES = (*SUFFIXES, ".gla", ".part")


class Kind(Enum):
    """What can be named. The value is how messages call it."""

    SERVER = "a server"
    ARCHIVE = "an archive"
    REPLICATOR = "a directory of glance-replicator"
    FILES = "image files"


class LocatedSource(Source, Protocol):
    """A source that also knows what is wrong with it besides its images."""

    @property
    def faults(self) -> Sequence[str]:
        """One line each; all are known once `images` has come to its end."""
        ...


@dataclass(frozen=True, slots=True)
class Location:
    """What `names` stand for; more than one only for image files."""

    names: tuple[str, ...]
    kind: Kind

    @contextmanager
    def open(
        self, others: Sequence[Path] = (), *, wanted: Mapping[str, str] | None = None, **access: Any
    ) -> Iterator[LocatedSource]:
        """The images that are there, as long as the context lasts.

        A server may leave out images whose fields have other values than those `wanted`.
        `others` are further volumes of an archive, and what it is read with; UsageError for anything else.
        `access` are the further arguments of :func:`glancearchive.endpoints.connect.connect`, for a server. Raises what
        that does, and what opening an archive raises.
        """
        if others and self.kind is not Kind.ARCHIVE:
            raise UsageError(f"{self.names[0]}: is {self.kind.value}, and {others[0]} can only be read with an archive")
        # Imported only here, so that what needs no server does without OpenStack's libraries.
        if self.kind is Kind.SERVER:
            from glancearchive.endpoints.connect import connect
            from glancearchive.endpoints.glance_api import GlanceApi
            from glancearchive.endpoints.glance_source import GlanceSource

            yield GlanceSource(GlanceApi(connect(self.names[0], **access)), wanted)
        elif self.kind is Kind.ARCHIVE:
            with Archive(find_volumes(self.names[0], *others)) as archive:
                yield ArchiveSource(archive)
        elif self.kind is Kind.REPLICATOR:
            yield DirectorySource(Path(self.names[0]))
        else:
            from glancearchive.endpoints.files import FileSource

            yield FileSource(map(Path, self.names))


def locate(*names: str, beside_archives: bool = False) -> Location:
    """What the arguments `names` of a command line stand for together, by looking at them.

    A directory with the volumes of an archive is that archive. Where it has other images as well it is neither, but
    with `beside_archives` it is these: an archive may be being made of them there. Raises LocalError for a path
    that leads nowhere or to something else, UsageError where the names do not go together, or do not say what is meant.
    """
    kinds = [_kind(name, beside_archives=beside_archives) for name in names]
    if len(names) == 1:
        return Location(names, kinds[0])
    for name, kind in zip(names, kinds, strict=True):
        # Archives among files are left out later: a pattern such as * also fits the archive that is being written.
        if kind in (Kind.SERVER, Kind.REPLICATOR):
            raise UsageError(f"{name}: is {kind.value}; several can be named only of {Kind.FILES.value}")
    return Location(names, Kind.FILES)


def is_one_path(a: Location, b: Location) -> bool:
    """Whether two locations are one place in a file system, by whatever names. Raises LocalError."""
    if Kind.SERVER in (a.kind, b.kind):
        return False
    first = [find_volumes(*place.names)[0] if place.kind is Kind.ARCHIVE else Path(place.names[0]) for place in (a, b)]
    try:
        return first[0].samefile(first[1])
    except OSError:
        return False  # told when it is opened


def require_server(name: str) -> None:
    """Raises UsageError when `name` is a path, and a server is needed."""
    if _path(name) is not None:
        kind = _kind(name, beside_archives=True)
        raise UsageError(f"{name}: is {kind.value}, and a server is needed here")


def require_order(server: str, archive: Path, order: str) -> None:
    """Raises UsageError when `server` is a path: `order` says how the command takes the two."""
    if _path(server) is None:
        return
    if not os.path.lexists(archive):
        raise UsageError(
            f"{server} is no server, and there is no file {archive}: are they the wrong way round? The order is {order}"
        )
    try:
        what = _kind(server, beside_archives=True).value
    except (LocalError, UsageError):
        what = "a path"
    raise UsageError(f"{server}: is {what}, and a server is needed here; the order is {order}")


def _kind(name: str, *, beside_archives: bool) -> Kind:
    path = _path(name)
    if path is None:
        return Kind.SERVER
    if path.suffix.lower() == ".gla" and not path.exists():
        return Kind.ARCHIVE  # opening it tells whether it is unfinished
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            files = Kind.REPLICATOR if is_replicated(path) else Kind.FILES
            return _kind_beside(path, files, beside_archives=beside_archives) if has_volumes(path) else files
        if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
            with path.open("rb") as file:
                if is_volume(path, file.read(HEADER_SIZE)):
                    return Kind.ARCHIVE
    except FileNotFoundError:
        raise LocalError(f"{name}: there is no such file or directory") from None
    except OSError as error:
        raise LocalError(f"{name}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise LocalError(f"{name}: is no regular file, no directory and no archive")
    if is_replicated_file(path):
        raise UsageError(f"{name}: belongs to {Kind.REPLICATOR.value}, which has to be named instead: {path.parent}")
    return Kind.FILES


def _kind_beside(directory: Path, files: Kind, *, beside_archives: bool) -> Kind:
    """What a directory is that has volumes of archives, and would be `files` without them.

    Raises UsageError where that is not clear.
    """
    from glancearchive.endpoints.files import has_images

    has_files = files is Kind.REPLICATOR or has_images(directory)
    if has_files and beside_archives:
        return files
    try:
        volume = find_volumes(directory)[0]
    except LocalError as error:
        if beside_archives:
            return files
        raise UsageError(str(error)) from None
    if not has_files:
        return Kind.ARCHIVE
    if files is Kind.REPLICATOR:
        what = f"the files of {files.value}; name the archive: {volume}; or move it, and name the directory"
    else:
        what = f"image files; name one of them: {volume}, or the files"
    raise UsageError(f"{directory}: has an archive in it and {what}")


def _path(name: str) -> Path | None:
    """`name` as a path, None when it names a server."""
    if not name or _ADDRESS.fullmatch(name):
        return None
    path = Path(name)
    if name in (os.curdir, os.pardir) or any(each in name for each in (os.sep, os.altsep) if each):
        return path
    if not os.path.lexists(path):
        return path if path.suffix.lower() in _FILE_SUFFIXES else None
    if not path.suffix:  # names of clouds have none, as a rule, and then no server's libraries are needed
        from glancearchive.endpoints.clouds_yaml import known_clouds

        if name in known_clouds():
            log.warning("%s: the cloud of this name is meant; the path is .%s%s", name, os.sep, name)
            return None
    return path
