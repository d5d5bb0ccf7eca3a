"""A dump without a server: small, always the same calls, with many checkpoints in the middle of images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import glancearchive
import glancearchive.operations.dump as dump_module
from glancearchive.format.compression import LEVELS
from glancearchive.format.places import Split
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action, Buffer, Image, Outcome
from tests.cloud.images import pattern
from tests.glances import Counter, metadata

BLOCK = 4096
PIECE = 2 * BLOCK


@dataclass
class Images:
    """Images in memory, implements `glancearchive.image.Source`; `given` counts the bytes that were read of each."""

    data: Mapping[str, bytes | None]
    label: str = "memory"
    given: dict[str, int] = field(default_factory=dict)

    def images(self) -> Iterator[Image]:
        for image_id, data in self.data.items():
            if data is None:
                yield Image({"id": image_id, "status": "queued", "size": None}, absent="queued")
            else:
                yield Image(metadata(data, id=image_id, name=f"name of {image_id}"))

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        data = self.data[image.id]
        assert data is not None
        for begin in range(offset, len(data), PIECE):
            piece = data[begin : begin + PIECE]
            self.given[image.id] = self.given.get(image.id, 0) + len(piece)
            yield piece


def several() -> dict[str, bytes | None]:
    """Images of one block to thirty, with zeros, with shared and repeated blocks, of odd size, empty, without data."""
    first = pattern(11 * BLOCK + 17, 1)
    return {
        "first": first,
        "queued": None,
        "shares": pattern(3 * BLOCK, 2) + bytes(5 * BLOCK) + first[: 6 * BLOCK] + pattern(9 * BLOCK, 3),
        "empty": b"",
        "zeros": bytes(7 * BLOCK + 1),
        "last": pattern(30 * BLOCK, 4),
    }


def few() -> dict[str, bytes | None]:
    """An archive of some KiB, for going through it byte by byte."""
    one = b"1" * BLOCK + bytes(BLOCK) + b"one" * 2000
    return {"one": one, "two": b"2" * BLOCK + one[:BLOCK] + b"3" * BLOCK, "queued": None}


@contextmanager
def small_steps(frame: int = 2 * BLOCK) -> Iterator[None]:
    """Frames of two blocks and a checkpoint whenever there is something to commit, instead of 4 MiB and 5 seconds."""
    with (
        mock.patch.dict(LEVELS, {"default": replace(LEVELS["default"], frame_size=frame)}),
        mock.patch.object(dump_module, "ArchiveWriter", partial(ArchiveWriter, interval=0.0, threads=1)),
    ):
        yield


def dump(path: Path, source: Images, *, append: bool = False, volume_size: int | None = None) -> list[Outcome]:
    """One run of the command, as far as it comes."""
    with small_steps():
        split = Split(volume_size) if volume_size else None
        run = dump_module.dump(source, path, progress=Counter(), jobs=1, append=append, split=split)
        return list(run.outcomes)


def assert_whole(path: Path, data: Mapping[str, bytes | None]) -> None:
    """The archive at `path` is finished, proves right in all layers, and holds `data`, no more and no less."""
    assert not path.with_name(path.name + ".part").exists()
    with glancearchive.open(path) as archive:
        assert archive.finished
        report = glancearchive.verify(archive, glancearchive.Depth.GLANCE)
        assert [str(one.fault) for one in report.damage] == []
        found = {image.id: image for image in archive}
        assert list(found) == list(data)  # each once, in the order of the source
        for image_id, expected in data.items():
            image = found[image_id]
            if expected is None:
                assert (image.status, image.reason) == ("no-data", "queued")
                continue
            assert (image.status, image.size, image.verified) == ("complete", len(expected), "sha512")
            assert image.hashes["sha512"] == hashlib.sha512(expected).hexdigest()
            assert image.open().read() == expected


def assert_well(outcomes: list[Outcome]) -> None:
    """Nothing failed, and nothing is reported that an operator would have to look at."""
    assert {outcome.action for outcome in outcomes} <= {Action.COPIED, Action.PRESENT, Action.NO_DATA}
    assert all(outcome.clean for outcome in outcomes)


def raising(error: Exception) -> Callable[..., Any]:
    """A function that always fails."""

    def fail(*_args: Any, **_options: Any) -> Any:
        raise error

    return fail
