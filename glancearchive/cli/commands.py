"""The commands by name, each imported when it is asked for: a command starts without what the others need."""

from __future__ import annotations

import gc
from collections.abc import Iterator, MutableMapping
from importlib import import_module

import click

from glancearchive.cli.logs import log_options

# In the order of the manual: the module of `glancearchive.cli` and the name in it.
_PLACES = {
    "dump": ("dump", "dump"),
    "plan": ("plan", "plan"),
    "load": ("load", "load"),
    "livecopy": ("livecopy", "livecopy"),
    "compare": ("compare", "compare"),
    "size": ("size", "size"),
    "verify": ("verify", "verify"),
    "list": ("inspect", "list_images"),
    "show": ("inspect", "show"),
    "extract": ("extract", "extract"),
    "catalog": ("catalog", "catalog"),
    "merge": ("merge", "merge"),
    "protect": ("recovery", "protect"),
    "repair": ("recovery", "repair"),
    "reslice": ("reslice", "reslice"),
    "salvage": ("salvage", "salvage"),
    "completion": ("completion", "completion"),
    "manual": ("completion", "manual"),
}
_WITHOUT_LOG = {"completion", "manual"}


class Commands(MutableMapping[str, click.Command]):
    """What `click.Group` takes as its commands: name to command, in the order of the manual."""

    def __init__(self) -> None:
        self._known: dict[str, click.Command | None] = dict.fromkeys(_PLACES)

    def __getitem__(self, name: str) -> click.Command:
        command = self._known[name]
        if command is None:
            command = _imported(*_PLACES[name])
            self._known[name] = command if name in _WITHOUT_LOG else log_options(command)
        return command

    def __contains__(self, name: object) -> bool:
        return name in self._known  # the mixin's would import it

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _imported(module: str, name: str) -> click.Command:
    """The command, imported without looking for garbage; what was imported stays to the end and is never looked at."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        command = getattr(import_module(f"glancearchive.cli.{module}"), name)
        gc.freeze()
    finally:
        if collecting:
            gc.enable()
    assert isinstance(command, click.Command)
    return command
