"""``dump --read-back``: what the medium really holds of what was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from glancearchive.cli.damage import cache_word, damage_documents, tell_cache, tell_damage
from glancearchive.cli.output import note, size_text, tell
from glancearchive.cli.progress import showing_progress
from glancearchive.format.medium import removable
from glancearchive.format.pagecache import Dropped
from glancearchive.format.places import Split
from glancearchive.operations.readback import ReadBack, read_back
from glancearchive.plural import counted

F = TypeVar("F", bound=Callable[..., Any])


def read_back_option(command: F) -> F:
    """``--read-back/--no-read-back``: None when neither is given."""
    return click.option(
        "--read-back/--no-read-back",
        default=None,
        help="Afterwards check all that was written, read from the medium.  [default: on a removable medium]",
    )(command)


class ReadBacks:
    """Reads volumes back, each once, as `asked` by the option, else those on removable media."""

    def __init__(self, asked: bool | None, *, quiet: bool) -> None:
        self._asked = asked
        self._quiet = quiet
        self._met: set[Path] = set()
        self.result: ReadBack | None = None  # of all of them, None when there was none

    def before_leaving(self, split: Split, volumes: Callable[[], Sequence[Path]]) -> Split:
        """The same `split`, but before another medium is asked for, the `volumes` that are finished are read back."""

        def another(message: str) -> Path:
            self.read(volumes(), quiet=True)  # the display of the dump is there
            return split.another(message)

        return replace(split, another=another)

    def read(self, volumes: Sequence[Path], *, quiet: bool | None = None) -> None:
        """Read back those of `volumes` that are there and were not read yet; says so, and why."""
        unmet = [path for path in volumes if path not in self._met]
        new = [path for path in unmet if path.exists()]
        self._met.update(new)
        if not new or not self._is_wanted(new):
            return
        for path in unmet:
            if path not in new:
                note(f"glancearchive: {path}: not read back, for it is not there any more", "yellow")
        done = _reading_back(new, quiet=self._quiet if quiet is None else quiet)
        if done.report.damage:
            note(f"glancearchive: {new[0]}: the medium does not hold what was written to it", "red")
        self.result = done if self.result is None else self.result.joined(done)

    def _is_wanted(self, volumes: Sequence[Path]) -> bool:
        if self._asked is not None:
            return self._asked
        found = {removable(volume) for volume in volumes}
        if True in found:
            note("glancearchive: the medium is removable: the archive is read back (see --no-read-back)")
        elif None in found:
            note("glancearchive: not read back: whether the medium is removable cannot be told here (see --read-back)")
        return True in found

    @property
    def well(self) -> bool:
        """Whether all that was read back is what was written."""
        return self.result is None or not self.result.report.damage

    def document(self) -> dict[str, Any] | None:
        """What ``--json`` says of it, None when nothing was read back."""
        if self.result is None:
            return None
        return {
            "ok": self.well,
            "cache": cache_word(self.result.cache),
            "checked": self.result.report.checked,
            "damage": damage_documents(self.result.report),
        }

    def tell(self) -> None:
        """What is said of it on stdout."""
        if self.result is None:
            return
        tell_damage(self.result.report)
        if self.well:
            tell(f"ok: read back: {size_text(self.result.report.checked)} match their digests", "green")
        else:
            places = counted(len(self.result.report.damage), "place")
            tell(f"NOT OK: the medium does not hold what was written: {places} damaged; write to another one", "red")


def _reading_back(volumes: Sequence[Path], *, quiet: bool) -> ReadBack:
    """Read `volumes` back, with a line about how and with progress."""
    with showing_progress("read back", quiet=quiet) as progress:

        def told(cache: Dropped, size: int) -> None:
            tell_cache(volumes[0], cache)
            progress.expect_bytes(size)

        return read_back(volumes, told=told, progress=progress.count)
