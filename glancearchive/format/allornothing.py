"""Changes that are made whole or not at all: after one that failed, nothing is changed any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from glancearchive.errors import LocalError


class AllOrNothing:
    """To be called for each change: a context manager that makes it with `lock` held, one that can be taken again.

    What fails within leaves a writer that refuses to go on: otherwise another thread would commit what was done by
    halves. `path` tells the file that is written, for messages. Raises LocalError for whatever fails but interruptions.
    """

    def __init__(self, lock: AbstractContextManager[Any], path: Callable[[], Path]) -> None:
        self._lock = lock
        self._path = path
        self._failure: BaseException | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if isinstance(self._failure, LocalError):  # which says all that there is to say
                raise type(self._failure)(str(self._failure)) from self._failure
            if self._failure is not None:
                raise LocalError(f"{self._path()}: cannot be gone on with: {self._failure}")
            try:
                yield
            except LocalError as error:
                self._failure = error
                raise
            except Exception as error:
                self._failure = error
                message = f"{self._path()}: cannot be written: {type(error).__name__}: {error}"
                raise LocalError(message) from error
            except BaseException as error:
                self._failure = error
                raise
