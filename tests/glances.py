"""What the tests of the Glance endpoints share: images as a Glance would describe them, sources of bytes, clients."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from glancearchive.endpoints.connect import connect
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.retry import Patience
from glancearchive.image import Buffer, Image, Later, Outcome, Source, Target
from glancearchive.operations.plan import plan_load
from tests.cloud.glance import MIB
from tests.cloud.images import pattern

DATA = pattern(5 * MIB + 1234)
SMALL = pattern(100_001)
IMPATIENT = Patience(attempts=4, polls=200, sleep=lambda seconds: time.sleep(0.01))


class Memory:
    """A source whose images are bytes; with `error` it fails at byte `at`."""

    label = "memory"

    def __init__(self, data: bytes, error: Exception | None = None, at: int = 0) -> None:
        self.data = data if error is None else data[:at]
        self.error = error
        self.reads = 0

    def images(self) -> Iterator[Image]:
        raise NotImplementedError

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        self.reads += 1
        for begin in range(offset, len(self.data), MIB):
            yield memoryview(self.data)[begin : begin + MIB]
        if self.error is not None:
            raise self.error


class Shelf:
    """A source of several images; `reads` counts how often each was read, by id."""

    label = "shelf"

    def __init__(self, *images: tuple[Image, bytes]) -> None:
        self._images = images
        self._data = {image.id: data for image, data in images}
        self.reads: dict[str, int] = {}
        self.broken: Exception | None = None  # what reading any of them raises

    def images(self) -> Iterator[Image]:
        return (image for image, _ in self._images)

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        if self.broken is not None:
            raise self.broken
        self.reads[image.id] = self.reads.get(image.id, 0) + 1
        if data := self._data[image.id][offset:]:
            yield data


class Counter:
    """Progress, added up: how far all images are, together."""

    def __init__(self) -> None:
        self._positions: dict[str, int] = {}

    @property
    def total(self) -> int:
        return sum(self._positions.values())

    def start(self, image: Image, position: int) -> None:
        self._positions[image.id] = position

    def advance(self, image: Image, count: int) -> None:
        self._positions[image.id] = self._positions.get(image.id, 0) + count


def receive(target: Target, image: Image, source: Source) -> Outcome:
    """What becomes of an image, offered again when it was put off."""
    try:
        return target.receive(image, source, Counter())
    except Later:
        return target.receive(image, source, Counter())


def planned(url: str, *images: Image, **options: Any) -> dict[str, Outcome]:
    """What would become of images with the data `SMALL`, by id."""
    source = Shelf(*((image, SMALL) for image in images))
    return {one.id: one for one in plan_load(source, api(url), progress=Counter(), **options)}


def metadata(data: bytes = DATA, **more: Any) -> dict[str, Any]:
    """What a Glance would have said of an image with these data."""
    return {
        "id": str(uuid.uuid4()),
        "name": "an image",
        "status": "active",
        "visibility": "private",
        "disk_format": "raw",
        "container_format": "bare",
        "min_disk": 0,
        "min_ram": 0,
        "protected": False,
        "os_hidden": False,
        "tags": [],
        "size": len(data),
        "checksum": hashlib.md5(data).hexdigest(),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(data).hexdigest(),
        "virtual_size": len(data),
        "created_at": "2020-01-01T00:00:00Z",
        "updated_at": "2020-01-01T00:00:00Z",
        "self": "/v2/images/x",
        "file": "/v2/images/x/file",
        "schema": "/v2/schemas/image",
        **more,
    }


def api(url: str, patience: Patience = IMPATIENT, **options: Any) -> GlanceApi:
    """A client that waits for nothing."""
    return GlanceApi(connect(url, **options), patience)


def carried(found: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that another Glance can have too."""
    ignored = ("created_at", "updated_at", "stores", "self", "file", "schema", "owner")
    return {key: value for key, value in found.items() if key not in ignored}
