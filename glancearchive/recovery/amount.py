"""How much recovery data, in how many blocks and files."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from glancearchive.errors import LocalError
from glancearchive.recovery.packets import MOST_BLOCKS

_SECTOR = 4096  # blocks are multiples of it: a bad sector costs one block
# The time grows with the data and with the number of recovery blocks; each spot of damage takes one of them.
_WANTED = 256
_FEWEST, _MOST = 1000, 32000  # blocks of the data
_MOST_FILES = 31  # that a PAR2 program writes at a time
_FAT32 = (1 << 32) - 1  # bytes of a file, at most
_SPARE = 16 << 20  # bytes that a file may have more than what is reckoned here: names, above all
_PER_BLOCK = 20  # bytes that each file repeats for each block that is protected
_RECOVERY_HEADER = 68
_COPIES = 18  # of that, at most, in one file


@dataclass(frozen=True, slots=True)
class Amount:
    """`percent` of the data, or, when it is None, as much as the largest volume has."""

    percent: Fraction | None

    def __str__(self) -> str:
        return "1volume" if self.percent is None else f"{float(self.percent):g}%"


@dataclass(frozen=True, slots=True)
class Layout:
    """`blocks` of the data and `recovery` blocks, all of `block_size` bytes, the latter in so many `files`."""

    block_size: int
    blocks: int
    recovery: int
    files: int

    @property
    def size(self) -> int:
        """Bytes that the recovery data take, about."""
        return self.files * _file_size(self.block_size, self.blocks, -(-self.recovery // self.files))

    def names(self, stem: str) -> list[str]:
        """What the files are called, as par2cmdline calls them, where the archive is called `stem`."""
        each, more = divmod(self.recovery, self.files)
        counts = [each + (number < more) for number in range(self.files)]
        begins = [sum(counts[:number]) for number in range(self.files)]
        wide, width = len(str(self.recovery)), len(str(max(counts)))
        volumes = (
            f"{stem}.vol{begin:0{wide}}+{count:0{width}}.par2" for begin, count in zip(begins, counts, strict=True)
        )
        return [f"{stem}.par2", *volumes]


def parse_amount(text: str) -> Amount:
    """``5%`` or ``1volume``. Raises ValueError."""
    if text == "1volume":
        return Amount(None)
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)%", text, re.ASCII)
    percent = Fraction(found[1]) if found else Fraction(0)
    if not 0 < percent <= 100:
        raise ValueError(f"{text!r}: expected a part of the data, as 5% (100% at most), or 1volume")
    return Amount(percent)


def plan(sizes: Sequence[int], amount: Amount) -> Layout:
    """The layout for volumes of `sizes` bytes.

    One volume's worth is spread over as many files as there are volumes, so that what is left is still enough after
    one volume is lost together with one of these files. Raises LocalError when no file may be as large as it would be.
    """
    if amount.percent is not None:
        part = amount.percent / 100
    else:
        others = max(len(sizes) - 1, 1)
        part = Fraction(max(sizes), sum(sizes)) * Fraction(others + (len(sizes) > 1), others)
    wanted = min(max(int(_WANTED / part), _FEWEST), _MOST)
    block_size = -(-sum(sizes) // (wanted * _SECTOR)) * _SECTOR
    while (blocks := _blocks(sizes, block_size)) > MOST_BLOCKS:
        block_size += _SECTOR
    if amount.percent is not None:
        recovery, files = max(math.ceil(blocks * part), 1), min(len(sizes), _MOST_FILES)
    else:
        files = min(len(sizes), _MOST_FILES)
        each = -(-_blocks([max(sizes)], block_size) // max(files - 1, 1))
        recovery = each * files
    files = min(files, recovery)
    return Layout(block_size, blocks, recovery, _enough(files, block_size, blocks, recovery, max(sizes)))


def _enough(files: int, block_size: int, blocks: int, recovery: int, largest: int) -> int:
    """A multiple of `files`, where it can be had, so that each file has a size that FAT32 takes."""

    def fits(count: int) -> bool:
        return _file_size(block_size, blocks, -(-recovery // count)) <= _FAT32 - _SPARE

    counts: list[int] = [*range(files, _MOST_FILES + 1, files), _MOST_FILES]
    for count in counts:
        if count <= recovery and fits(count):
            return count
    if largest > _FAT32:  # where the volumes are, there is no such limit
        return files
    raise LocalError(
        f"{_MOST_FILES} files of less than 4 GiB are not enough for {recovery * block_size} bytes of recovery data"
    )


def _blocks(sizes: Sequence[int], block_size: int) -> int:
    return sum(-(-size // block_size) for size in sizes)


def _file_size(block_size: int, blocks: int, recovery: int) -> int:
    """The most that a file with `recovery` blocks takes."""
    repeated = min(recovery.bit_length() + 1, _COPIES) * blocks * _PER_BLOCK
    return recovery * (block_size + _RECOVERY_HEADER) + repeated
