"""No more than so many bytes a second, over all images together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from glancearchive.image import Buffer, Image, Source

LEAST = 32 << 10
"""Bytes a second; with less, servers would take the pauses for a connection that died."""

_BURST = 0.25  # seconds that may be caught up with at once
_SLICE = 0.05  # seconds that one slice of the data takes, so that pauses are short
_SMALLEST = 4096  # bytes of a slice


class Bandwidth:
    """A token bucket of `rate` bytes a second. Safe in several threads.

    Whoever takes from it waits until what was taken before has flowed off. A pause, for instance for a server in
    trouble, fills it for `_BURST` seconds only.
    """

    def __init__(
        self,
        rate: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.slice = max(int(rate * _SLICE), _SMALLEST)
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free = clock()  # when all that was taken has flowed off

    def take(self, count: int) -> None:
        """Wait until `count` bytes may go through."""
        with self._lock:
            now = self._clock()
            begins = max(self._free, now - _BURST)
            self._free = begins + count / self._rate
        if begins > now:
            self._sleep(begins - now)


class Limited:
    """The images of `source`, whose data come no faster than `bandwidth` lets them; implements `Source`."""

    def __init__(self, source: Source, bandwidth: Bandwidth) -> None:
        self._source = source
        self._bandwidth = bandwidth
        self.label = source.label

    def images(self) -> Iterator[Image]:
        return self._source.images()

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        """As `Source.read`, in pieces so small that none takes long."""
        for piece in self._source.read(image, offset):
            view, size = memoryview(piece), self._bandwidth.slice
            for at in range(0, len(view), size):
                self._bandwidth.take(min(size, len(view) - at))
                yield view[at : at + size]
