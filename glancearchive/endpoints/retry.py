"""How patiently something is tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from glancearchive.errors import ConnectError, ServerError, UnavailableError

log = logging.getLogger("glancearchive")

_ATTEMPTS_AT_500 = 3  # it may be a database that is locked, but is more often a defect that stays

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounded exponential backoff; all times in seconds.

    `attempts` counts the first one. A server's own Retry-After is obeyed up to
    `ceiling`. `sleep` may be replaced, for instance by an interruptible wait.
    """

    attempts: int = 7
    first: float = 1.0
    ceiling: float = 60.0
    polls: int = 30
    interval: float = 2.0
    sleep: Callable[[float], object] = time.sleep

    def delay(self, failures: int, error: ServerError) -> float:
        """Seconds to wait after the `failures`-th failure in a row, the latest being `error`."""
        return min(max(self.first * 2.0 ** (failures - 1), error.retry_after), self.ceiling)

    def pause(self, failures: int, error: ServerError) -> None:
        """Wait and say so, or raise `error` when `failures` are as many as are allowed."""
        attempts = min(self.attempts, _ATTEMPTS_AT_500) if error.status == 500 else self.attempts
        if failures >= attempts:
            raise error
        delay = self.delay(failures, error)
        log.warning("%s; attempt %d of %d in %g s", error, failures + 1, attempts, delay)
        self.sleep(delay)

    def run(self, action: Callable[[], Result]) -> Result:
        """The result of `action`, which must be repeatable, tried again while the server is in trouble."""
        failures = 0
        while True:
            try:
                return action()
            except (ConnectError, UnavailableError) as error:
                failures += 1
                self.pause(failures, error)

    @property
    def longest_wait(self) -> float:
        """Seconds that `ticks` take at most."""
        return self.polls * self.interval

    def ticks(self) -> Iterator[int]:
        """Count polls of a state that should change by itself, `interval` apart, `polls` of them."""
        for tick in range(self.polls):
            yield tick
            self.sleep(self.interval)
