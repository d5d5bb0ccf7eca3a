"""What ``dump``, ``load`` and ``livecopy`` have in common."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from glancearchive.cli.parameters import Rate
from glancearchive.cli.tally import Tally
from glancearchive.image import Buffer, Image, Source
from glancearchive.operations.bandwidth import Bandwidth, Limited

_AHEAD = 2000  # images that are listed before they are needed, so that it is known how much there is to do

F = TypeVar("F", bound=Callable[..., Any])


def server_options(command: F) -> F:
    """The options of every command that transfers images to or from a Glance."""
    jobs = click.option(
        "--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Images at the same time."
    )
    bwlimit = click.option("--bwlimit", type=Rate(), help="Bytes of data a second, over all images: 10M, 1.5MiB.")
    return access_options(jobs(bwlimit(command)))


def access_options(command: F) -> F:
    """The options of every command that talks to a Glance."""
    for option in reversed(
        (
            click.option("--region", help="The region, when the cloud has several."),
            click.option("--interface", help="The endpoint interface: public (default), internal or admin."),
            click.option("--cacert", type=click.Path(), help="A file with the CA certificates to trust."),
            click.option("--cert", type=click.Path(), help="A client certificate."),
            click.option("--key", type=click.Path(), help="The client certificate's key."),
            click.option("--insecure", is_flag=True, help="Do not check the server's certificate."),
        )
    ):
        command = option(command)
    return command


def glance(server: str, region: str | None, interface: str | None, tls: dict[str, Any]) -> Any:
    """The `GlanceApi` of SERVER."""
    # Only here, so that commands on an archive alone do without OpenStack's libraries.
    from glancearchive.endpoints.connect import connect
    from glancearchive.endpoints.glance_api import GlanceApi

    return GlanceApi(connect(server, region=region, interface=interface, **tls))


def prepared(source: Source, progress: Tally, bwlimit: int | None) -> Source:
    """`source` as a transfer takes it: `progress` knows of its images beforehand; `bwlimit` bytes a second at most."""
    announced = Announced(source, progress)
    return Limited(announced, Bandwidth(bwlimit)) if bwlimit else announced


class Announced:
    """The images of `source`, of which `progress` is told before they are handed out; implements `Source`."""

    def __init__(self, source: Source, progress: Tally) -> None:
        self._source = source
        self._progress = progress
        self.label = source.label

    def images(self) -> Iterator[Image]:
        ahead: deque[Image] = deque()
        for image in self._source.images():
            self._progress.expect(image, 0 if image.absent or image.held.lacking else image.size)
            ahead.append(image)
            if len(ahead) > _AHEAD:
                yield ahead.popleft()
        self._progress.all_expected()
        yield from ahead

    def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
        return self._source.read(image, offset)
