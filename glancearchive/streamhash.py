"""Hashes of a byte stream, computed beside it in a thread of their own."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType

from glancearchive.image import Buffer
from glancearchive.zeros import PIECE, zeros

_QUEUED = 8  # pieces of at most 1 MiB


def computable(algorithm: str) -> bool:
    """Whether this machine can compute the hash that :mod:`hashlib` calls `algorithm`."""
    return algorithm in hashlib.algorithms_available and not algorithm.startswith("shake")


def _pieces(data: Buffer) -> Iterator[memoryview]:
    view = memoryview(data)
    return (view[at : at + PIECE] for at in range(0, len(view), PIECE))


class StreamHash:
    """Feed it buffers in order with `update`, then ask `hexdigests`. A context manager; for one feeding thread.

    The buffers must not change afterwards. hashlib releases the GIL, so that hashing runs beside the rest.
    """

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
        self._error: Exception | None = None
        # Two simple queues are a bounded one that costs a fraction of `queue.Queue`: who puts takes a place first.
        self._queue: queue.SimpleQueue[Buffer | None] = queue.SimpleQueue()
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(_QUEUED):
            self._places.put(None)
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            self._places.put(None)
            if self._error is not None:
                continue  # whoever feeds must not wait for ever
            try:
                for each in self._hashes.values():
                    each.update(data)
            except (ValueError, TypeError, BufferError) as error:  # no buffer, or one that was released
                self._error = error

    def update(self, data: Buffer) -> None:
        """Take the next bytes; waits when hashing is far behind."""
        if not self._hashes:
            return
        # Of what is longer, as a frame may be, no more than this waits: the places are counted, not the bytes.
        for piece in (data,) if len(data) <= PIECE else _pieces(data):
            self._places.get()
            self._queue.put(piece)

    def update_zeros(self, count: int) -> None:
        """Take `count` zero bytes."""
        for at in range(0, count, PIECE):
            self.update(zeros(min(PIECE, count - at)))

    def hexdigests(self) -> dict[str, str]:
        """Algorithm to lower-case hex, over all bytes taken. Ends the computation; raises what went wrong in it."""
        self.close()
        if self._error is not None:
            raise self._error
        return {name: each.hexdigest() for name, each in self._hashes.items()}

    def close(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def __enter__(self) -> StreamHash:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
