"""Copies images from a source to a target, several at a time. Dump, load and live copy are this."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from glancearchive.errors import InterruptedTransferError
from glancearchive.image import Action, Image, Later, Outcome, Progress, Source, Target

_LOOK = 0.5  # seconds
_GRACE = 3.0  # seconds for images under way, once the end was asked for; a silent server may hold them for minutes

log = logging.getLogger("glancearchive")

Outcomes = Generator[Outcome, None, None]


class Stop:
    """Asks a transfer to end soon. Safe in several threads and in a signal handler."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def request(self) -> None:
        self._event.set()

    def check(self) -> None:
        """Raises InterruptedTransferError once the end was asked for."""
        if self._event.is_set():
            raise InterruptedTransferError("interrupted")


class _StoppingProgress:
    """Hands progress on, and ends the transfer of an image between two pieces when that was asked for."""

    def __init__(self, inner: Progress, stop: Stop) -> None:
        self._inner = inner
        self._stop = stop

    def start(self, image: Image, position: int) -> None:
        self._stop.check()
        self._inner.start(image, position)

    def advance(self, image: Image, count: int) -> None:
        self._stop.check()
        self._inner.advance(image, count)


def transfer(
    source: Source, target: Target, *, progress: Progress, jobs: int = 2, stop: Stop | None = None
) -> Outcomes:
    """Copy every image of `source` to `target`, `jobs` at a time; yields outcomes as they are known.

    Raises what concerns more than one image (a server or a medium that is gone),
    InterruptedTransferError after `stop`; the images begun by then are ended or left for a later
    run, as the target does it. One that waits for a server for longer than a few seconds is left alone in its thread.
    """
    stop = stop or Stop()
    watched = _StoppingProgress(progress, stop)
    running: dict[Future[Outcome], Image] = {}
    later: list[Image] = []
    pool = ThreadPoolExecutor(jobs, "transfer")

    def ended() -> Iterator[Outcome]:
        """The outcomes of those that end next."""
        # A signal does not always wake whoever waits without a limit, when another one came a moment before.
        for future in wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED).done:
            image = running.pop(future)
            try:
                yield future.result()
            except Later:
                later.append(image)

    def begin(image: Image) -> None:
        stop.check()
        running[pool.submit(_receive, target, image, source, watched)] = image

    try:
        for image in source.images():
            len(image.members)  # a Glance is asked for them now, and not in the middle of a transfer
            begin(image)
            while len(running) >= 2 * jobs:
                yield from ended()
        while running or later:
            while later and len(running) < 2 * jobs:
                begin(later.pop(0))
            yield from ended()
    finally:
        stop.request()  # an error, an interruption or a caller that looks away ends the others too
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in running if not future.cancelled()], timeout=_GRACE)


def _receive(target: Target, image: Image, source: Source, progress: Progress) -> Outcome:
    """The outcome of one image. Metadata of a shape that nobody foresaw cost the image, not the transfer."""
    try:
        return target.receive(image, source, progress)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        log.debug("image %s", image.id, exc_info=True)
        return Outcome(image.id, image.name, Action.FAILED, f"unexpected {type(error).__name__}: {error}")
