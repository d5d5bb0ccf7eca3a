"""The options that choose images, alike for every command that takes them, and what is said of the choice."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from glancearchive.cli.output import note
from glancearchive.operations.select import KINDS, STATUSES, VISIBILITIES, Selection
from glancearchive.plural import counted

dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")

_HELP = {
    "image": ("IMAGE", "Only images with this id or name, or one that fits the pattern."),
    "name": ("NAME", "Only images of this name; may be a pattern, as all values but times."),
    "tag": ("TAG", "Only images with this tag."),
    "property": ("KEY=VALUE", "Only images with this property, or other field."),
    "owner": ("PROJECT", "Only images of the project with this id."),
    "visibility": ("WORD", f"Only images that are {', '.join(VISIBILITIES[:-1])} or {VISIBILITIES[-1]}."),
    "status": ("WORD", f"Only images of this status in Glance: {STATUSES[0]}, active, deactivated, …"),
    "since": ("TIME", "Only images created or changed since a date, a date and time, or an age: 2026-01-31, 7d."),
}


def select_options(command: Callable[..., int]) -> Callable[..., int]:
    """Options given to the command as one `selection`: repeated ones are alternatives, different ones must all hold."""

    @wraps(command)
    def selecting(*arguments: Any, exclude: tuple[str, ...], **options: Any) -> int:
        conditions = [(kind, text) for kind in KINDS for text in options.pop(kind)]
        return command(*arguments, selection=Selection(conditions, exclude), **options)

    result: Callable[..., int] = selecting
    exclude = "Not the images with this id or name, or of which KIND=VALUE holds: tag=old."
    result = click.option("--exclude", multiple=True, metavar="IMAGE|KIND=VALUE", help=exclude)(result)
    for kind in reversed(KINDS):
        metavar, text = _HELP[kind]
        result = click.option(f"--{kind}", multiple=True, metavar=metavar, help=text)(result)
    return result


def tell_choice(selection: Selection) -> int:
    """Say on stderr what the choice has missed, once all images were asked about; the exit code that this deserves."""
    for text in selection.unknown():
        note(f"glancearchive: there is no image {text!r}")
    for text in selection.idle_exclusions():
        note(f"glancearchive: --exclude {text} leaves out no image")
    if selection and not selection.chosen:
        among = f"none of {counted(selection.seen, 'image')}" if selection.seen else "no image"
        note(f"glancearchive: {among} fits {selection}")
        if selection.hint:
            note(f"glancearchive: {selection.hint}")
    return 1 if selection.unknown() or (selection and not selection.chosen) else 0


def not_found(selection: Selection) -> dict[str, list[str]]:
    """The same for the JSON: what was asked for by id, name or pattern, and is not there."""
    return {"not_found": selection.unknown()}
