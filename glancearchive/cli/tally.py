"""How far a command has come: counts, rates and what is left, without a word of how it looks."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

WINDOW = 30.0
"""Seconds that a rate is taken over."""

_SAMPLE = 1.0  # seconds between two points of a rate


class Work(Protocol):
    """An image, as far as its progress goes."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class UnderWay:
    """One image whose data are going through. `size` and `rate` are in bytes, and bytes a second."""

    id: str
    name: str
    position: int
    size: int | None
    rate: float

    @property
    def left(self) -> float | None:
        """Seconds to its end at this rate, None when that cannot be told."""
        if self.size is None or not self.rate:
            return None
        return max(self.size - self.position, 0) / self.rate


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far it has come at one moment; bytes of image data.

    `done` of `total` bytes need not go through any more. `moved` went through in this run, `rate` is how many do in a
    second, and `kept` of images that ended were there before. `complete` says that no further images will turn up.
    `saved` is the part of `moved` that did not have to be stored, None when that is not known. `ended` counts what
    became of the `ready` images.
    """

    ready: int
    images: int
    complete: bool
    done: int
    total: int
    moved: int
    kept: int
    rate: float
    elapsed: float
    stored: int | None
    saved: float | None
    ended: Counter[str]
    under_way: tuple[UnderWay, ...]

    @property
    def left(self) -> float | None:
        """Seconds to the end at this rate, None when that cannot be told."""
        if not (self.complete and self.rate and self.total):
            return None
        return max(self.total - self.done, 0) / self.rate


class _Pace:
    """A rate over the last seconds, from how much there was at a few points of time."""

    def __init__(self, now: float, amount: int = 0) -> None:
        self._points = deque([(now, amount)])

    def rate(self, now: float, amount: int) -> float:
        """In `amount` a second; to be asked every now and then."""
        if now - self._points[-1][0] >= _SAMPLE:
            self._points.append((now, amount))
        while len(self._points) > 2 and now - self._points[1][0] >= WINDOW:
            self._points.popleft()
        began, before = self._points[0]
        return (amount - before) / (now - began) if now > began else 0.0


@dataclass(slots=True)
class _Moving:
    work: Work
    position: int
    pace: _Pace
    moved: int = 0


@dataclass(slots=True)
class _Stored:
    """What `bytes` says was stored, and what it said at the beginning."""

    bytes: Callable[[], int]
    before: int = field(init=False)

    def __post_init__(self) -> None:
        self.before = self.bytes()


class Tally:
    """Counts; implements `glancearchive.image.Progress`. Safe in several threads.

    Images can be announced by `expect`; of those, `ended` tells the end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._expected: dict[str, int] = {}  # bytes by id, of images that have not ended
        self._moving: dict[str, _Moving] = {}
        self._ended: Counter[str] = Counter()
        self._images = self._done = self._total = self._moved = self._kept = 0
        self._complete = False
        self._pace = _Pace(self._began)
        self._stored: _Stored | None = None

    def expect(self, image: Work, size: int | None = None) -> None:
        """`image` will be dealt with; `size` bytes of it are to go through, by default all."""
        with self._lock:
            self._images += 1
            self._expected[image.id] = bytes_of = (image.size if size is None else size) or 0
            self._total += bytes_of

    def expect_bytes(self, count: int) -> None:
        """`count` bytes will go through that belong to no image, and nothing else will turn up."""
        with self._lock:
            self._total += count
            self._complete = True

    def all_expected(self) -> None:
        """No further images will turn up."""
        with self._lock:
            self._complete = True

    def stores(self, stored: Callable[[], int]) -> None:
        """What goes through is stored; `stored` tells the bytes that all of it takes up there by now."""
        with self._lock:
            self._stored = _Stored(stored)

    def start(self, image: Work, position: int) -> None:
        """As `Progress.start`."""
        with self._lock:
            moving = self._moving.get(image.id)
            if moving is None:
                self._moving[image.id] = _Moving(image, position, _Pace(self._clock(), position))
            elif position != moving.position:
                moving.position, moving.pace = position, _Pace(self._clock(), position)

    def advance(self, image: Work, count: int) -> None:
        """As `Progress.advance`."""
        with self._lock:
            self._moved += count
            moving = self._moving.get(image.id)
            if moving is None:
                moving = self._moving[image.id] = _Moving(image, 0, _Pace(self._clock()))
            moving.position += count
            moving.moved += count
            if image.id not in self._expected and moving.position >= (image.size or 0):
                del self._moving[image.id]  # nobody will tell of its end

    def count(self, count: int) -> None:
        """`count` more bytes, of no image."""
        with self._lock:
            self._moved += count
            self._done += count

    def ended(self, image_id: str, word: str, size: int) -> None:
        """Nothing more will be done for an image; `word` says what became of it, `size` bytes of it are there now."""
        with self._lock:
            moving = self._moving.pop(image_id, None)
            self._kept += max(size - (moving.moved if moving else 0), 0)
            self._done += self._expected.pop(image_id, 0)
            self._ended[word] += 1

    def snapshot(self) -> Snapshot:
        """How far it has come by now."""
        with self._lock:
            now = self._clock()
            under_way = tuple(
                UnderWay(
                    moving.work.id,
                    moving.work.name,
                    moving.position,
                    moving.work.size,
                    moving.pace.rate(now, moving.position),
                )
                for moving in self._moving.values()
            )
            reached = sum(min(one.position, self._expected[one.id]) for one in under_way if one.id in self._expected)
            stored = saved = None
            if self._stored is not None:
                stored = self._stored.bytes()
                saved = max(1 - (stored - self._stored.before) / self._moved, 0.0) if self._moved else None
            return Snapshot(
                self._ended.total(),
                max(self._images, self._ended.total()),
                self._complete,
                self._done + reached,
                self._total,
                self._moved,
                self._kept,
                self._pace.rate(now, self._moved),
                now - self._began,
                stored,
                saved,
                self._ended.copy(),
                under_way,
            )
