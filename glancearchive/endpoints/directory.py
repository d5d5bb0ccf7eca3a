"""A directory in glance-replicator's layout as the place where images come from.

For each image there is a file ``ID`` with its metadata as JSON, and ``ID.img``
with its data when it has some. ``glance-replicator dump`` wrote such directories,
with metadata of Glance's API v1 (``replication_dump`` in Glance's
``glance/cmd/replicator.py``); ``glancearchive extract`` writes them with those of the
API v2, and with the members of shared images among them.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glancearchive.endpoints.archive_source import DEFINITIONS, MAX_DEFINITIONS
from glancearchive.endpoints.diskfile import DiskFile
from glancearchive.endpoints.image_v1 import is_v1, translate
from glancearchive.errors import FormatError, ImageFileError, LocalError
from glancearchive.format.volumes import is_volume
from glancearchive.image import Buffer, Holding, Image, ImageFault, absence
from glancearchive.streamhash import StreamHash, computable

log = logging.getLogger("glancearchive")

_ID = re.compile("[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")  # as Glance's API v2 demands it
_DATA = ".img"
_MAX_METADATA = 4 << 20  # bytes of JSON; an archive takes no more of one image


def is_replicated(directory: Path) -> bool:
    """Whether `directory` is in glance-replicator's layout. Raises OSError.

    A Glance's own store also has files named by ids: they are data, with no ``.img`` beside them.
    """
    with os.scandir(directory) as entries:
        return any(_ID.fullmatch(entry.name) and _is_metadata(Path(entry.path)) for entry in entries)


def is_replicated_file(path: Path) -> bool:
    """Whether the file `path` is one of those that make up an image in this layout."""
    image_id = path.name.removesuffix(_DATA)
    return bool(_ID.fullmatch(image_id)) and (path.parent / image_id).is_file() and _is_metadata(path.parent / image_id)


def _is_metadata(path: Path) -> bool:
    if os.path.lexists(f"{path}{_DATA}"):
        return True
    try:
        return DiskFile(path).head(64).lstrip().startswith(b"{")
    except ImageFileError:
        return False


class DirectorySource:
    """The images of a directory in glance-replicator's layout; implements `glancearchive.image.Source`.

    An image whose metadata or data are not right is there, and fails when it is read. `faults` are what belongs to no
    image, and what was lost of metadata of the API v1, a line each, after `images`.
    """

    label = "directory of glance-replicator"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.faults: list[str] = []

    def images(self) -> Iterator[Image]:
        """All images, in the order of their ids. Raises LocalError."""
        self.faults = []
        try:
            names = sorted(path.name for path in self._path.iterdir())
        except OSError as error:
            raise LocalError(f"{self._path}: cannot be listed: {error.strerror}") from None
        ids = {name for name in names if _ID.fullmatch(name)}
        if hidden := sum(name.startswith(".") for name in names):
            log.warning("%s: hidden files or directories that are left out: %d", self._path, hidden)
        for name in names:
            if name in ids:
                yield self._image(name)
            elif name.removesuffix(_DATA) not in ids and not name.startswith("."):
                self._tell_stray(self._path / name)

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        """As `Source.read`; its digest is for the caller to check. Raises ImageFileError."""
        if image.held.lacking:
            raise ImageFileError(image.held.lacking)
        yield from DiskFile(self._data(image.id)).read(offset)

    @property
    def has_definitions(self) -> bool:
        """Whether there are metadata definitions, as ``extract`` writes them, or what is left of them."""
        return any(os.path.lexists(path) for path in (self._path / DEFINITIONS, self._data(DEFINITIONS)))

    def definitions(self) -> bytes | None:
        """As `ArchiveSource.definitions`. They are compared with the digest that is stated beside them."""
        if not self.has_definitions:
            return None
        data = self._data(DEFINITIONS)
        try:
            stated = Image({"id": DEFINITIONS, **_document(self._path / DEFINITIONS)})
            file = DiskFile(data)
            if file.size > MAX_DEFINITIONS:
                raise ImageFileError(f"{data}: {file.size} bytes, and at most {MAX_DEFINITIONS} are read")
            text = b"".join(file.read())
        except ImageFileError as error:
            raise FormatError(f"the metadata definitions cannot be read: {error}") from None
        digest = next((one for one in stated.digests if computable(one.algorithm)), None)
        if digest is None:
            raise FormatError(f"the metadata definitions: {self._path / DEFINITIONS} states no digest of them")
        with StreamHash([digest.algorithm]) as hashes:
            hashes.update(text)
            found = hashes.hexdigests()[digest.algorithm]
        if found != digest.value:
            raise FormatError(
                f"the metadata definitions are damaged: the {digest.algorithm} of {data} is {found}, "
                f"{self._path / DEFINITIONS} says {digest.value}"
            )
        return text

    def _data(self, image_id: str) -> Path:
        return self._path / f"{image_id}{_DATA}"

    def _tell_stray(self, path: Path) -> None:
        if is_volume(path, b""):
            log.warning("%s: an archive, left out", path)
        elif path.name.removesuffix(_DATA) == DEFINITIONS:
            log.info("%s: metadata definitions, which --metadefs takes", path)
        elif _ID.fullmatch(path.name.removesuffix(_DATA)):
            fault = f"{path}: data of an image without its metadata, which would be in {path.stem}; left out"
            self.faults.append(ImageFault(path.stem, fault))
        else:
            self.faults.append(f"{path}: belongs to no image of this directory, left out")

    def _image(self, image_id: str) -> Image:
        path = self._path / image_id
        try:
            metadata, members, lost = _parse(_document(path))
            if metadata.get("id") != image_id or not isinstance(metadata.get("status"), str):
                stated = f"id {metadata.get('id')!r}, status {metadata.get('status')!r}"
                raise ImageFileError(f"{path}: these are not the metadata of this image: {stated}")
        except ImageFileError as error:
            return Image({"id": image_id}, held=Holding(lacking=str(error)))
        self.faults += [ImageFault(image_id, f"{path}: {line}") for line in lost]
        image = Image(metadata, members, absence(metadata))
        data = self._data(image_id)
        if not image.absent:
            return Image(metadata, members, held=Holding(lacking=_lacking(image, data), unproven=True))
        if os.path.lexists(data):
            fault = f"{data}: data of an image that is {image.absent}; left out"
            self.faults.append(ImageFault(image_id, fault))
        return image


def _lacking(image: Image, data: Path) -> str:
    """Why the data of `image` are not in the file `data`, "" when they seem to be."""
    if not os.path.lexists(data):
        return f"{data}: there is no such file: its dump was interrupted, or was one of metadata only"
    try:
        size = DiskFile(data).size
    except ImageFileError as error:
        return str(error)
    if image.size not in (None, size):
        return f"{data}: has {size} bytes, and its metadata say {image.size}: its dump was interrupted, or went wrong"
    return ""


def _document(path: Path) -> dict[str, Any]:
    """The JSON object in the file `path`. Raises ImageFileError."""
    file = DiskFile(path)
    if file.size > _MAX_METADATA:
        raise ImageFileError(f"{path}: {file.size} bytes of metadata, the limit is {_MAX_METADATA}")
    try:
        document = json.loads(b"".join(file.read()))
    except (ValueError, RecursionError) as error:
        what = "is empty" if not file.size else f"is no JSON: {error}"
        raise ImageFileError(f"{path}: {what}; the metadata of this image are lost") from None
    if not isinstance(document, dict):
        raise ImageFileError(f"{path}: is no JSON object; the metadata of this image are lost")
    return document


def _parse(document: dict[str, Any]) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]], list[str]]:
    """Metadata of the API v2, members, and a line for each value that is lost."""
    if is_v1(document):
        metadata, lost = translate(document)
        return metadata, (), lost
    members = document.get("members")
    if isinstance(members, list) and all(isinstance(member, dict) for member in members):
        return {key: value for key, value in document.items() if key != "members"}, members, []
    return document, (), []
