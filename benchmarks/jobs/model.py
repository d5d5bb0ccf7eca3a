"""What a job is made of."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "glancearchive"
ARCHIVE = "$WORK/ours/images.gla"
FILES = "*.raw *.qcow2"


@dataclass(frozen=True)
class Contender:
    """One command. `outputs`, `stored` and `warm` are relative to $WORK.

    Before each run `outputs` are deleted and `prepare` is run, unmeasured; after it they are deleted unless `keep`.
    `check` judges the first run, unmeasured.
    `warm` is read into the page cache first. `needs` names contenders ("job/name") whose kept output it works on.
    `target`: a fresh Glance is at $TARGET; "queued": with the images created, without data. It is run `most` times
    at most; without `quick`, not at all in a quick run.
    """

    name: str
    command: str
    outputs: tuple[str, ...] = ()
    prepare: str = ""
    keep: bool = False
    stored: str = ""
    warm: tuple[str, ...] = ("images",)
    needs: tuple[str, ...] = ()
    check: str = ""
    target: str = ""
    most: int | None = None
    quick: bool = True

    @property
    def ours(self) -> bool:
        """Whether it runs glancearchive or works on its archive."""
        return "$GLANCEARCHIVE" in self.command or ".gla" in self.command

    def runs(self, asked: int) -> int:
        """How many times it is run where `asked` runs are wanted."""
        return asked if self.most is None else min(asked, self.most)


@dataclass(frozen=True)
class Job:
    """Contenders that do the same work. Times are told as ratios of the `reference` contender to the others.

    `title` and `note` may name the sizes in run.py, as in "{many}".
    """

    name: str
    title: str
    contenders: tuple[Contender, ...]
    note: str = ""
    reference: str = OURS
