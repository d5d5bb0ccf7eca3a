"""How far a command has come, in words and figures."""

from __future__ import annotations

from collections.abc import Iterator

from glancearchive.cli.output import size_text, time_text
from glancearchive.cli.tally import Snapshot
from glancearchive.plural import counted

_NAMED = 3  # images that a line names
_SETTLED = 512 << 20  # bytes; with fewer, those that are still on their way into the archive would count as saved


def line(verb: str, now: Snapshot) -> str:
    """All of it in one line, of bounded length."""
    text = f"{verb}: {', '.join(amounts(now))}"
    if now.stored is not None:
        text += f"; {stored_text(now)}"
    if now.under_way:
        names = [f"{one.name or one.id} {percent(one.position, one.size)}".rstrip() for one in now.under_way[:_NAMED]]
        more = len(now.under_way) - _NAMED
        text += f"; at {', '.join(name[:80] for name in names)}{f' and {more} more' if more > 0 else ''}"
    return text


def amounts(now: Snapshot) -> Iterator[str]:
    """Images, bytes, rate and the time that is left, as far as they are known."""
    if now.images:
        yield images_text(now)
    if now.total:
        kept = f", {size_text(now.kept)} were there" if now.kept else ""
        yield f"{size_text(now.done)} of {size_text(now.total)} ({percent(now.done, now.total)}{kept})"
    elif now.moved:
        yield size_text(now.moved)
    yield f"{size_text(now.rate)}/s"
    if now.left is not None:
        yield f"{time_text(now.left)} left"


def images_text(now: Snapshot) -> str:
    """How many images are done, of how many."""
    return f"{now.ready} of {counted(now.images, 'image') if now.complete else f'{now.images}+ images'}"


def stored_text(now: Snapshot) -> str:
    """What the archive takes up by now, and what it does not have to."""
    saved = "" if now.saved is None or now.moved < _SETTLED else f", {now.saved:.0%} saved"
    return f"stored {size_text(now.stored)}{saved}"


def percent(part: int, whole: int | None) -> str:
    """Rounded down: what is not done yet is less than 100%."""
    return f"{min(part, whole) * 100 // whole}%" if whole else ""
