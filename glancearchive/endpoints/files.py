"""Disk image files as the place where images come from: images that no Glance has, with metadata made for them.

An image's id is made of its file's name, size and time of change. So the same
file is the same image wherever its disk is mounted, and a file with another
time is another image, for in a Glance data never change. Whether a file was
written again is not seen when its size and time are as before: tools that set
the time back, as ``cp -p`` and ``rsync -t`` do, can make two contents of one id.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from glancearchive.endpoints import image_format
from glancearchive.endpoints.directory import is_replicated
from glancearchive.endpoints.diskfile import LABEL, SUFFIXES, DiskFile
from glancearchive.errors import ImageFileError
from glancearchive.format.header import HEADER_SIZE
from glancearchive.format.volumes import is_volume
from glancearchive.image import Buffer, Holding, Image, ImageFault

log = logging.getLogger("glancearchive")

_IDS = uuid.UUID("3e1f7c52-9a08-4f0e-8d53-0c6f8a1b7e94")  # of the ids made here; another one would make other ids
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FileSource:
    """The images in `paths`, files and directories; implements `glancearchive.image.Source`.

    A file that is named is an image whatever it looks like. In directories, and below them, files are images that have
    the name (`SUFFIXES`) or the content of one. `faults` are what was left out that may be one, and what no Glance
    will take, a line each, after `images`; archives and hidden files are left out with a word in the log.
    """

    label = LABEL

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._files: dict[str, DiskFile] = {}
        self.faults: list[str] = []

    def images(self) -> Iterator[Image]:
        """All images, in the order in which they were named; those of a directory in the order of their paths."""
        self._files = {}
        self.faults = []
        # Before the first is handed out: an archive may be about to be made in one of the directories.
        for path, named in list(self._found()):
            if _is_archive(path):
                log.warning("%s: an archive, left out", path)
                continue
            image = None
            try:
                image = self._image(path, named=named)
            except ImageFileError as error:
                self.faults.append(f"{error}; left out")
            if image is not None:
                yield image

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        """As `Source.read`. Raises ImageFileError, also when the file was changed since it was listed."""
        yield from self._files[image.id].read(offset)

    def _found(self) -> Iterator[tuple[Path, bool]]:
        """The files, and whether each was named itself."""
        for path in self._paths:
            if not path.is_dir():
                yield path, True
                continue
            hidden = 0
            for parent, directories, names in os.walk(path, onerror=self._unlisted):
                hidden += sum(name.startswith(".") for name in (*directories, *names))
                directories[:] = [name for name in sorted(directories) if self._enters(Path(parent, name))]
                yield from ((Path(parent, name), False) for name in sorted(names) if not name.startswith("."))
            if hidden:
                log.warning("%s: hidden files or directories that are left out: %d", path, hidden)

    def _enters(self, directory: Path) -> bool:
        """Whether images are looked for in a directory within one that was named; says why not."""
        if directory.name.startswith("."):
            return False
        why = ""
        if directory.is_symlink():
            why = "a link to a directory"
        else:
            with suppress(OSError):  # told when it is entered
                why = "a directory of glance-replicator, to be dumped by itself" if is_replicated(directory) else ""
        if why:
            self.faults.append(f"{directory}: {why}, left out")
        return not why

    def _unlisted(self, error: OSError) -> None:
        self.faults.append(f"{error.filename}: cannot be listed: {error.strerror}")

    def _image(self, path: Path, *, named: bool) -> Image | None:
        """The image in the file `path`, None when it is one already. Raises ImageFileError when there is none."""
        file = DiskFile(path)
        if not file.size:
            raise ImageFileError(f"{path}: is empty")
        lacking, head = "", b""
        try:
            head = file.head(image_format.HEAD)
        except ImageFileError as error:
            lacking = str(error)
        disk_format = image_format.recognise(head)
        if not (disk_format or named or path.suffix.lower() in SUFFIXES):
            raise ImageFileError(lacking or f"{path}: has neither the name nor the content of an image")
        metadata = _metadata(file, disk_format or "raw")
        before = self._files.setdefault(metadata["id"], file)
        if before is not file:
            if before.is_same_as(file):
                return None
            raise ImageFileError(f"{path}: its name, size and time are all those of {before.path}")
        doubt = image_format.refusal(metadata["disk_format"], "bare", head, whole=len(head) == file.size)
        if doubt and not lacking:
            fault = f"{path}: a Glance is likely to refuse it: {doubt}"
            self.faults.append(ImageFault(metadata["id"], fault))
        return Image(metadata, held=Holding(lacking=lacking, original=True))


def has_images(directory: Path) -> bool:
    """Whether a `FileSource` would find an image in `directory`, or below it."""
    for parent, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if not name.startswith(".")]
        for path in (Path(parent, name) for name in names if not name.startswith(".")):
            if not _is_archive(path) and _may_be_image(path):
                return True
    return False


def _may_be_image(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        return bool(image_format.recognise(DiskFile(path).head(image_format.HEAD)))
    except ImageFileError:
        return False


def _is_archive(path: Path) -> bool:
    if is_volume(path, b""):  # not even looked at: the one being written may be about to get its other name
        return True
    try:
        return is_volume(path, DiskFile(path).head(HEADER_SIZE))
    except ImageFileError:
        return False


def _metadata(file: DiskFile, disk_format: str) -> dict[str, Any]:
    """What a Glance would say of an image that somebody had just made of `file`, as far as that can be known."""
    name = os.fsencode(file.path.name).decode(errors="backslashreplace")
    known = {
        "id": str(uuid.uuid5(_IDS, f"{name}\0{file.size}\0{file.modified}")),
        "name": _stem(name),
        "status": "active",
        "visibility": "private",
        "protected": False,
        "os_hidden": False,
        "tags": [],
        "disk_format": disk_format,
        "container_format": "bare",
        "min_disk": 0,
        "min_ram": 0,
        "size": file.size,
    }
    try:
        modified = (_EPOCH + timedelta(microseconds=file.modified // 1000)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:  # some file systems take any number for a time
        return known
    return {**known, "created_at": modified, "updated_at": modified}


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and dot + suffix.lower() in SUFFIXES else name
