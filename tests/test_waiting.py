"""Images that somebody else seems to be uploading: they are put off, and waited for when all others are done."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing

import pytest

from glancearchive.endpoints import policy
from glancearchive.image import Action, Image, Later, Outcome, Progress, Source
from glancearchive.operations.load import load
from glancearchive.operations.transfer import transfer
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.glances import Counter, Shelf, api, metadata

DATA = pattern(100_001)


def become(glance: Glance, image: Image, status: str) -> None:
    with closing(sqlite3.connect(glance.database, timeout=60)) as database, database:
        database.execute("UPDATE images SET status = ? WHERE id = ?", (status, image.id))


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_image_in_saving_lets_the_others_go_first(
    jobs: int, glance_b: Glance, caplog: pytest.LogCaptureFixture
) -> None:
    images = [Image(metadata(DATA)) for _ in range(5)]
    busy = images[0]
    glance_b.client().create(**policy.creation_body(busy, policy.mark_for(busy)))
    become(glance_b, busy, "saving")
    order = []
    source = Shelf(*((image, DATA) for image in images))
    with caplog.at_level(logging.INFO, "glancearchive"):
        for outcome in load(source, api(glance_b.url), progress=Counter(), jobs=jobs):
            order.append(outcome.id)
            assert outcome.action is Action.COPIED
            if len(order) == len(images) - 1:
                become(glance_b, busy, "queued")
    assert order[-1] == busy.id
    assert sorted(order) == sorted(image.id for image in images)
    assert f"image {busy}: is saving at the target; the others come first" in caplog.text


def test_it_is_said_for_which_image_a_load_waits(glance_b: Glance, caplog: pytest.LogCaptureFixture) -> None:
    image = Image(metadata(DATA))
    glance_b.client().create(**policy.creation_body(image, policy.mark_for(image)))
    become(glance_b, image, "saving")
    (outcome,) = load(Shelf((image, DATA)), api(glance_b.url), progress=Counter())
    assert (outcome.action, "stays saving" in outcome.reason) == (Action.FAILED, True)
    assert f"image {image}: is saving at the target; waiting up to 400 s" in caplog.text


class Reluctant:
    """A target that puts off each image once."""

    label = "reluctant"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def receive(self, image: Image, _source: Source, _progress: Progress) -> Outcome:
        with self._lock:
            self.asked.append(image.id)
            if self.asked.count(image.id) == 1:
                raise Later(image.id)
        return Outcome(image.id, image.name, Action.COPIED)


def test_all_images_may_be_put_off() -> None:
    images = [Image(metadata(DATA)) for _ in range(20)]
    target = Reluctant()
    outcomes = list(transfer(Shelf(*((one, DATA) for one in images)), target, progress=Counter(), jobs=3))
    assert sorted(one.id for one in outcomes) == sorted(one.id for one in images)
    assert set(target.asked[:20]) == {one.id for one in images}
