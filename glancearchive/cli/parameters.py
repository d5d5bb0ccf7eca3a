"""Kinds of values that options take, besides those that click has."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from glancearchive.operations.bandwidth import LEAST
from glancearchive.recovery.amount import Amount, parse_amount

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


class Bytes(click.ParamType[int]):
    """A number of bytes as media are labelled: 64G and 64GB are 64,000,000,000, 64GiB is 68,719,476,736."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)(?:B|([KMGT])(B|iB)?)?", value.strip(), re.ASCII)
        if not found:
            self.fail(f"{value!r} is no number of bytes: expected something like 64G, 7.5GB or 64GiB", param, ctx)
        return int(float(found[1]) * (1024 if found[3] == "iB" else 1000) ** _POWERS[found[2] or ""])


class Rate(Bytes):
    """Bytes a second, as `Bytes` takes them; fewer than `LEAST` are refused."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        rate = super().convert(value, param, ctx)
        if rate < LEAST:
            self.fail(f"{value!r} is less than {LEAST} bytes a second, the least that servers put up with", param, ctx)
        return rate


class Recovery(click.ParamType[Amount]):
    """How much recovery data: 5%, or 1volume."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Amount:
        if isinstance(value, Amount):
            return value
        try:
            return parse_amount(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ArchivePath(click.Path):
    """The path of an archive, which need not be there, as a `Path`."""

    def __init__(self) -> None:
        # Whether it can be read is found when it is opened, and is no matter of usage.
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":  # which a Path makes "." of
            self.fail("an archive has a name, and this one is empty", param, ctx)
        if isinstance(value, str) and _may_be_cloud(value):
            from glancearchive.endpoints.clouds_yaml import known_clouds  # only here: it takes a while to import

            if value in known_clouds():
                path = f".{os.sep}{value}"
                self.fail(f"{value} is a cloud, and an archive is needed here ({path} is a path)", param, ctx)
        return super().convert(value, param, ctx)


def _may_be_cloud(name: str) -> bool:
    """Whether there is no such archive, nor one that is not finished, and no directory or suffix makes it a path."""
    if Path(name).name != name or Path(name).suffix:
        return False
    return not (os.path.lexists(name) or os.path.lexists(f"{name}.part"))


class Place(click.ParamType[str]):
    """A server, an archive or files: completed by the names of clouds, and of files."""

    name = "text"

    def shell_complete(
        self, _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        from glancearchive.endpoints.clouds_yaml import known_clouds  # only here: it takes a while to import

        logging.disable()  # a warning would land in the middle of the line that is being typed
        clouds = [CompletionItem(name) for name in known_clouds() if name.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file"), *clouds]
