"""Several archives as such: not one that is read with others, but each of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from glancearchive.format.given import GivenVolumes
from glancearchive.format.reader import Archive


def open_each(paths: Sequence[str | os.PathLike[str]]) -> list[Archive]:
    """Each of the archives that have volumes at `paths`, with what it is read with, bases before increments.

    Raises as opening one of them does.
    """
    archives: list[Archive] = []
    try:
        with GivenVolumes(paths) as given:
            ids = given.archive_ids
        for archive_id in ids:
            with GivenVolumes(paths) as given:
                archives.append(Archive.of(given, archive_id))
    except BaseException:
        for archive in archives:
            archive.close()
        raise
    return sorted(archives, key=lambda archive: len(archive.chain))
