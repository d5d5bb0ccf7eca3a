"""A Glance as the place where images come from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from typing import overload

from glancearchive.endpoints.download import Download
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.image_list import Json
from glancearchive.errors import (
    AccessError,
    ConnectError,
    NoDataError,
    NotFoundError,
    RefusedError,
    ServerError,
    StreamError,
    UnavailableError,
)
from glancearchive.image import Buffer, Image, absence

log = logging.getLogger("glancearchive")

_OVERLAP = 1 << 16  # bytes fetched again after an interruption, to see that the continuation fits


class GlanceSource:
    """The images of a Glance; implements `glancearchive.image.Source`."""

    def __init__(self, api: GlanceApi, wanted: Mapping[str, str] | None = None) -> None:
        self.api = self._api = api
        self._wanted = wanted or {}
        self.cloud = api.cloud
        self.label = api.label
        self.faults: list[str] = []
        self.serves_ranges = True  # until a store refuses them

    def images(self) -> Iterator[Image]:
        """Every image the caller may see, with the members of shared ones as far as the caller may see these.

        With `wanted`, fields and their values, the server may leave out those which have others.
        """
        for metadata in self._listed():
            yield Image(metadata, _Members(self._api, metadata), absence(metadata))

    def _listed(self) -> Iterator[Json]:
        begun = False
        try:
            for metadata in self._api.images(self.faults, **self._wanted):
                begun = True
                yield metadata
        except RefusedError as error:
            if begun or not self._wanted:
                raise
            log.info("%s; listing all images instead", error)
            yield from self._api.images(self.faults)

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        """The data of `image` from byte `offset` on; digests are for the caller to check.

        See `read_range`, of which this is the rest of the image.
        """
        return self.read_range(image, offset, None)

    def read_range(self, image: Image, begin: int, end: int | None) -> Iterator[Buffer]:
        """The data of `image` from byte `begin` up to byte `end`, None for its end.

        A cut connection or a server in trouble is waited for, and reading goes
        on at the byte it had, by a range where the store serves ranges, else from
        the start. Raises `NoDataError` when there is nothing to be had, `StreamError`
        for data that are not what was announced, `ConnectError` or `UnavailableError`
        when patience ends.
        """
        reading = _Reading(self._api, image, begin, end, ranges=end is None or self.serves_ranges)
        failures = 0
        while not reading.finished:
            position = reading.position
            try:
                yield from reading.attempt()
            except _InterruptedError as interruption:
                failures = 1 if reading.position > position else failures + 1
                self._api.patience.pause(failures, interruption.error)
            finally:
                self.serves_ranges = self.serves_ranges and (end is None or reading.ranges)


class _Members(Sequence[Json]):
    """The members of an image, asked for when somebody looks at them: it takes a request for each shared image."""

    def __init__(self, api: GlanceApi, metadata: Json) -> None:
        self._api = api
        self._metadata = metadata

    @cached_property
    def _found(self) -> list[Json]:
        return self._api.known_members(self._metadata) or []

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Json: ...

    @overload
    def __getitem__(self, index: slice) -> list[Json]: ...

    def __getitem__(self, index: int | slice) -> Json | list[Json]:
        return self._found[index]


class _InterruptedError(Exception):
    """An attempt that failed in a way that another may not."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(str(error))
        self.error = error


class _Reading:
    """One image being read; knows how far it came, over as many attempts as it takes."""

    def __init__(self, api: GlanceApi, image: Image, offset: int, end: int | None, *, ranges: bool) -> None:
        self._api = api
        self._image = image
        self._end = end
        self._tail = b""  # what was last handed out
        self.ranges = ranges  # whether the store serves them, as far as is known
        self.position = offset
        self.finished = offset == (image.size if end is None else end)

    def attempt(self) -> Iterator[Buffer]:
        """Read on from `position` to the end, raising `_InterruptedError` where that fails for now."""
        try:
            download = self._open()
        except (ConnectError, UnavailableError) as error:
            raise _InterruptedError(error) from error
        with closing(download):
            yield from self._continue(download)

    def _open(self) -> Download:
        begin = self.position - len(self._tail) if self.ranges else 0
        try:
            if begin or (self._end is not None and self.ranges):
                try:
                    return self._api.download(self._image.id, begin, self._end)
                except (RefusedError, StreamError) as error:
                    log.info("%s; reading image %s from its start instead", error, self._image)
                    self.ranges = False
            return self._api.download(self._image.id, 0)
        except AccessError as error:
            if error.status == 401:
                raise
            raise self._no_data(error) from error
        except (NotFoundError, RefusedError) as error:
            raise self._no_data(error) from error

    def _no_data(self, error: ServerError) -> NoDataError:
        return NoDataError(error.message, status=error.status, request_id=error.request_id)

    def _continue(self, download: Download) -> Iterator[Buffer]:
        size = self._image.size
        if size is not None and download.total not in (None, size):
            raise self._error(f"the server announces {download.total} bytes, its record says {size}")
        if size is None:
            size = download.total
        if self._end is not None:
            size = self._end
        at = download.start
        if at > self.position:
            raise self._error(f"the server sent data from byte {at}")
        again = bytearray()
        pieces = iter(download.pieces)
        while True:
            try:
                piece = next(pieces, None)
            except StreamError as error:
                raise _InterruptedError(self._error(error.message)) from error
            if piece is None:
                break
            view = memoryview(piece)
            if at < self.position:
                known = view[: self.position - at]
                again += known[max(0, self.position - len(self._tail) - at) :]
                at += len(known)
                view = view[len(known) :]
                if at == self.position:
                    self._check_fit(bytes(again), ranged=download.start > 0)
            if not view:
                continue
            if self._end is not None and at + len(view) > self._end:
                view = view[: self._end - at]  # a server that sends more than it was asked for
            at += len(view)
            if size is not None and at > size:
                raise self._error(f"the server sent more than the {size} bytes it should")
            self.position = at
            self._tail = bytes(view[-_OVERLAP:]) if len(view) >= _OVERLAP else (self._tail + view)[-_OVERLAP:]
            yield piece if len(view) == len(piece) else view
            if at == self._end:
                break
        if at < self.position or (size is not None and at < size):
            raise _InterruptedError(self._error(f"the data ended at byte {at} of {size}"))
        self.finished = True

    def _check_fit(self, again: bytes, *, ranged: bool) -> None:
        if again == self._tail:
            return
        error = self._error("the data sent again are not those sent before")
        if not ranged:
            raise error
        # Some servers send the whole image under a 206 that promises its end.
        self.ranges = False
        raise _InterruptedError(error)

    def _error(self, what: str) -> StreamError:
        return StreamError(f"reading image {self._image} at byte {self.position}: {what}")
