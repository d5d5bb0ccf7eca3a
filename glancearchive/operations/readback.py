"""Reads an archive back from its medium, past what the system remembers of having written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from glancearchive.errors import FormatError, MissingError
from glancearchive.format.pagecache import Dropped, drop
from glancearchive.format.reader import Archive
from glancearchive.format.verifier import Damage, Depth, Report, verify


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What a medium gave back: the `report` of a quick verification, and what became of the `cache` before it."""

    cache: Dropped
    report: Report

    def joined(self, other: ReadBack) -> ReadBack:
        """Both, of other volumes, in one."""
        report = Report(self.report.damage + other.report.damage, checked=self.report.checked + other.report.checked)
        return ReadBack(other.cache if self.cache.complete else self.cache, report)


def read_back(
    volumes: Sequence[Path],
    *,
    told: Callable[[Dropped, int], None] = lambda _cache, _size: None,
    progress: Callable[[int], None] = lambda _count: None,
) -> ReadBack:
    """Check all that `volumes` of one archive store against its digests, as the medium has it.

    `told` is called with what became of the cache and how many bytes will be read, `progress` with bytes as they are
    checked. Damage is reported, not raised. Raises LocalError when volumes are not there, or cannot be made durable.
    """
    cache = drop(volumes)
    told(cache, sum(volume.stat().st_size for volume in volumes))
    try:
        with Archive(volumes) as archive:
            report = verify(archive, Depth.QUICK, progress)
    except FormatError as error:  # too little of it is left to open it
        return ReadBack(cache, Report([Damage(error)]))
    if any(isinstance(one.fault, MissingError) for one in report.damage):
        # A base, or volumes on another disk: they are not what this medium has to give back.
        report.damage = [one for one in report.damage if one.fault.volume and not isinstance(one.fault, MissingError)]
    return ReadBack(cache, report)
