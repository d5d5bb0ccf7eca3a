"""Archives of OpenStack Glance images: dump, carry, verify, load.

::

    with glancearchive.open("region.gla") as archive:
        for image in archive:
            print(image.id, image.name, image.status, image.size)
        with archive.find("debian-12")[0].open() as file:
            file.seek(446)
            print(file.read(64))

Reading an archive needs no server and none of OpenStack's libraries.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from glancearchive.errors import FormatError, GlanceArchiveError, LocalError
from glancearchive.version import __version__

if TYPE_CHECKING:
    from glancearchive.format.archived import ArchivedImage
    from glancearchive.format.reader import Archive
    from glancearchive.format.verifier import Damage, Depth, ImageState, Report, verify

__all__ = [
    "Archive",
    "ArchivedImage",
    "Damage",
    "Depth",
    "FormatError",
    "GlanceArchiveError",
    "ImageState",
    "LocalError",
    "Report",
    "__version__",
    "open",
    "verify",
]


def open(path: str | os.PathLike[str], *more: str | os.PathLike[str]) -> Archive:  # noqa: A001  # as glancearchive.open
    """Open an archive for reading.

    `path` is the volume ``NAME.gla``, or any of the volumes ``NAME.001.gla``, …, whose
    neighbours are then found beside it, or a directory with them; `more` names volumes
    that lie elsewhere, or their directories.
    Damage does not keep an archive from being opened as long as anything of it can be
    used: look at ``faults`` and ``finished``, or `verify` it.

    Raises ArchiveError when it is no archive (or one this version cannot read), another FormatError when too
    much of it is damaged, LocalError when a file cannot be opened.
    """
    from glancearchive.format.reader import Archive
    from glancearchive.format.volumes import find_volumes

    return Archive(find_volumes(path, *more))


# Loaded when they are first asked for: an interruption while they load is the program's to handle, see `__main__`.
_HOMES = {
    "Archive": "reader",
    "ArchivedImage": "archived",
    **dict.fromkeys(("Damage", "Depth", "ImageState", "Report", "verify"), "verifier"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"glancearchive.format.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
