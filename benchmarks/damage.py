"""What random damage costs: ``python -m benchmarks.damage --rounds N --seed S`` prints the table of docs/damage.md.

An archive in volumes is made of disk images of real file systems. Each round damages its files somewhere, verifies
them as they are, and puts them right again. An image was *hit* when a frame that it uses has a damaged byte; it is
*lost* when it cannot be loaded. Every so often all images are read, so that the count does not rest on what verify
says. Of some rounds the damage is also repaired from recovery data. A round is the same whenever seed, kind and number
are.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from unittest import mock

import glancearchive
import glancearchive.operations.dump as dumping
from benchmarks.markdown import table
from glancearchive.endpoints.location import locate
from glancearchive.errors import FormatError
from glancearchive.format import writer
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.compression import LEVELS
from glancearchive.format.imageparts import ZEROS
from glancearchive.format.places import Split
from glancearchive.format.proof import ImageProof
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action
from glancearchive.operations.protect import protect
from glancearchive.operations.repair import repair
from glancearchive.recovery.amount import parse_amount
from tests.cloud.images import make_images
from tests.glances import Counter

MIB = 1 << 20
SECTOR = 4096
PROVE = 50  # every so many rounds all images are read
SCALE = 16  # frames, and what lies between checkpoints, are smaller than usual by this, as the images are
PAGE = Path(__file__).resolve().parent.parent / "docs" / "damage.md"
BEGIN, END = "<!-- table:begin -->\n", "<!-- table:end -->\n"
SOURCES = [[Path(os.__file__).parent], [Path("/usr/bin")], [Path("/usr/lib")], [Path("/usr/share")]]


@dataclass(frozen=True)
class Spot:
    """Bytes `begin` to `end` of a volume, flipped by `with_`, or cut off or lost where that is None."""

    volume: int
    begin: int
    end: int
    with_: bytes | None


@dataclass
class Count:
    """What came of the rounds of one kind."""

    rounds: int = 0
    hit: int = 0
    lost: list[int] = field(default_factory=list)
    stray: int = 0  # images that were lost though none of their bytes were hit
    repairs: dict[str, list[int]] = field(default_factory=dict)  # images lost after a repair, by amount


class Subject:
    """The archive, whole in memory and as files that are damaged."""

    def __init__(self, directory: Path, volumes: list[Path]) -> None:
        self.directory = directory
        self.volumes = volumes
        self.content = [path.read_bytes() for path in volumes]
        self.sizes = [len(data) for data in self.content]
        self.frames: list[tuple[int, int, int, set[str]]] = []  # volume, begin, end, ids of the images that use it
        with glancearchive.open(volumes[0]) as archive:
            archive.load_extents()
            places = {frame.number: place for place, frame in enumerate(archive.catalog.frames)}
            for frame in archive.catalog.frames:
                header = frame.header()
                self.frames.append((frame.volume - 1, header.offset, header.end, set()))
            self.images = [image.id for image in archive if image.size is not None]
            self.logical = sum(image.size or 0 for image in archive)
            for image in archive:
                extents, _ = image.entry.extents()
                for start, count in extents[extents[:, 0] != ZEROS].tolist():
                    at = start
                    while at < start + count:
                        frame_at = archive.catalog.frames.find(at)
                        assert frame_at is not None
                        self.frames[places[frame_at.number]][3].add(image.id)
                        at = frame_at.first_block + frame_at.blocks

    def hit(self, spots: list[Spot]) -> set[str]:
        """The images that use a frame with a damaged byte."""
        return {
            image
            for volume, begin, end, images in self.frames
            for spot in spots
            if spot.volume == volume and spot.begin < end and spot.end > begin
            for image in images
        }

    @contextmanager
    def damaged(self, spots: list[Spot]) -> Iterator[None]:
        for spot in spots:
            path = self.volumes[spot.volume]
            if spot.with_ is not None:
                with path.open("r+b") as file:
                    file.seek(spot.begin)
                    old = self.content[spot.volume][spot.begin : spot.end]
                    file.write(bytes(a ^ b for a, b in zip(old, spot.with_, strict=True)))
            elif spot.begin == 0:
                path.unlink()
            else:
                os.truncate(path, spot.begin)
        try:
            yield
        finally:
            for spot in spots:
                path = self.volumes[spot.volume]
                with path.open("r+b" if path.exists() else "wb") as file:
                    file.seek(spot.begin)
                    file.write(self.content[spot.volume][spot.begin : spot.end])

    def lost(self, *, prove: bool) -> set[str]:
        """The images that cannot be loaded from the files as they are; with `prove` each one is tried."""
        there = next(path for path in self.volumes if path.exists())
        try:
            with glancearchive.open(there) as archive:
                report = glancearchive.verify(archive, glancearchive.Depth.QUICK)
                whole = {state.id for state in report.images if state.status == "valid"}
                if prove:
                    for image in archive:
                        if image.id in self.images and _loads(image) != (image.id in whole):
                            raise AssertionError(f"verify is wrong about image {image.id}")
        except FormatError:
            return set(self.images)
        return set(self.images) - whole

    def lost_after_repair(self, recovery: Path) -> set[str]:
        """The same, after what the recovery data in `recovery` can do."""
        there = next(path for path in self.volumes if path.exists())
        with tempfile.TemporaryDirectory(dir=self.directory) as output:
            done = repair(there, recovery, output=Path(output, "repaired"))
            if not done.possible or done.report is None or done.report.damage:
                return self.lost(prove=False)
        return set()


def _loads(image: ArchivedImage) -> bool:
    try:
        proof = ImageProof(image)
        for segment in image.content().segments():
            proof.add(segment)
        proof.check()
    except FormatError:
        return False
    return True


# Kinds of damage.


def _somewhere(subject: Subject, rng: random.Random, size: int, align: int = 1) -> Spot:
    """`size` bytes anywhere in the archive, changed at random, none of them left as it was."""
    (volume,) = rng.choices(range(len(subject.volumes)), subject.sizes)
    begin = rng.randrange(subject.sizes[volume]) // align * align
    end = min(begin + size, subject.sizes[volume])
    return Spot(volume, begin, end, bytes(rng.randrange(1, 256) for _ in range(end - begin)))


def a_bit(subject: Subject, rng: random.Random) -> list[Spot]:
    spot = _somewhere(subject, rng, 1)
    return [Spot(spot.volume, spot.begin, spot.end, bytes([1 << rng.randrange(8)]))]


def a_sector(subject: Subject, rng: random.Random) -> list[Spot]:
    return [_somewhere(subject, rng, SECTOR, SECTOR)]


def ten_sectors(subject: Subject, rng: random.Random) -> list[Spot]:
    spots = {(one.volume, one.begin): one for one in (_somewhere(subject, rng, SECTOR, SECTOR) for _ in range(10))}
    return list(spots.values())


def a_stretch(subject: Subject, rng: random.Random) -> list[Spot]:
    return [_somewhere(subject, rng, 64 << 10)]


def a_record(subject: Subject, rng: random.Random) -> list[Spot]:
    """A sector that has no byte of any image's data, or few: headers, checkpoints, catalogs, ends of volumes."""
    while True:
        (spot,) = a_sector(subject, rng)
        if not subject.hit([spot]):
            return [spot]


def a_cut(subject: Subject, rng: random.Random) -> list[Spot]:
    spot = _somewhere(subject, rng, 1)
    return [Spot(spot.volume, max(spot.begin, 1), subject.sizes[spot.volume], None)]


def a_volume(subject: Subject, rng: random.Random) -> list[Spot]:
    volume = rng.randrange(len(subject.volumes))
    return [Spot(volume, 0, subject.sizes[volume], None)]


Kind = Callable[[Subject, random.Random], list[Spot]]
KINDS: dict[str, Kind] = {
    "one bit flipped": a_bit,
    "one sector of 4 KiB": a_sector,
    "ten sectors, each anywhere": ten_sectors,
    "64 KiB in a row": a_stretch,
    "one sector of the records": a_record,
    "a volume cut off at a random byte": a_cut,
    "a volume lost": a_volume,
}
AMOUNTS = ["5%", "1volume"]


def make_subject(directory: Path, megabytes: int, volumes: int) -> tuple[Subject, dict[str, Path]]:
    """Families of related images, dumped into `volumes` volumes, and where the recovery data of each amount are."""
    places = []
    for number, sources in enumerate(SOURCES):
        made = make_images(directory / f"images-{number}", megabytes=megabytes, sources=sources)
        places += [str(image.path) for image in made]
    whole = directory / "whole.gla"
    _dump(places, whole, None)
    size = -(-whole.stat().st_size // volumes) + MIB // 4
    whole.unlink()
    archive = directory / "archive"
    archive.mkdir()
    _dump(places, archive / "region.gla", size)
    for number in range(len(SOURCES)):
        shutil.rmtree(directory / f"images-{number}")
    files = sorted(archive.glob("region.*.gla"))
    recovery = {}
    for amount in AMOUNTS:
        recovery[amount] = directory / f"recovery-{amount.rstrip('%')}"
        recovery[amount].mkdir()
        protect(files[0], parse_amount(amount), output=recovery[amount])
    return Subject(directory, files), recovery


def _dump(places: list[str], archive: Path, volume_size: int | None) -> None:
    """As the command does, but on a smaller scale, and always the same: nothing depends on the time it takes."""
    frame = LEVELS["default"].frame_size // SCALE
    with (
        mock.patch.dict(LEVELS, {"default": replace(LEVELS["default"], frame_size=frame)}),
        mock.patch.object(writer, "_COMMIT_UNIQUE", writer._COMMIT_UNIQUE // SCALE),
        mock.patch.object(writer, "_COMMIT_IMAGE", writer._COMMIT_IMAGE // SCALE),
        mock.patch.object(dumping, "ArchiveWriter", partial(ArchiveWriter, interval=1e9)),
        locate(*places).open() as source,
    ):
        run = dumping.dump(
            source, archive, progress=Counter(), jobs=1, split=Split(volume_size) if volume_size else None
        )
        assert all(outcome.action is Action.COPIED for outcome in run.outcomes)


def measure(subject: Subject, recovery: dict[str, Path], kind: str, rounds: int, repairs: int, seed: int) -> Count:
    """`rounds` damages of one kind; the first `repairs` of them are repaired, too, from each of `recovery`."""
    count = Count()
    for number in range(rounds):
        rng = random.Random(f"{seed}/{kind}/{number}")
        spots = KINDS[kind](subject, rng)
        hit = subject.hit(spots)
        with subject.damaged(spots):
            lost = subject.lost(prove=number % PROVE == 0)
            for amount, place in recovery.items() if number < repairs else ():
                left = len(subject.lost_after_repair(place)) if lost else 0
                count.repairs.setdefault(amount, []).append(left)
        count.rounds += 1
        count.hit += len(hit)
        count.lost.append(len(lost))
        if lost - hit:
            count.stray += len(lost - hit)
            print(f"{kind}, round {number}: lost and not hit: {sorted(lost - hit)}, {spots}"[:300], file=sys.stderr)
        if hit - lost:
            raise AssertionError(f"{kind}, round {number}: hit and called valid: {sorted(hit - lost)}")
    return count


def page(subject: Subject, counts: dict[str, Count], options: argparse.Namespace) -> list[str]:
    """The lines between the marks in docs/damage.md."""
    size = sum(subject.sizes) / MIB
    total = sum(count.rounds for count in counts.values())
    lines = [
        f"{len(subject.images)} images of {subject.logical / MIB:.0f} MiB, stored in {size:.0f} MiB, "
        f"{len(subject.frames)} frames and {len(subject.volumes)} volumes; {total} damages, seed {options.seed}. "
        f"All numbers but the worst case are means.",
        "",
    ]
    rows = []
    for kind, count in counts.items():
        row = [kind, str(count.rounds), _mean(count.hit, count.rounds), _mean(sum(count.lost), count.rounds)]
        row += [str(max(count.lost)), _mean(count.stray, count.rounds)]
        for amount in AMOUNTS:
            left = count.repairs.get(amount, [])
            row.append(f"{_mean(sum(left), len(left))} ({sum(map(bool, left))} of {len(left)})" if left else "")
        rows.append(row)
    head = ["damage", "times", "images hit", "images lost", "at worst", "lost, not hit"]
    return lines + table(head + [f"lost with {amount} (how often)" for amount in AMOUNTS], rows)


def _mean(total: int, count: int) -> str:
    return f"{total / count:.2f}" if total else "0"


def main() -> None:
    """Prints the table; with ``--write`` puts it into docs/damage.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=600, help="of each kind")
    parser.add_argument("--repairs", type=int, default=40, help="how many of these are repaired, too")
    parser.add_argument("--megabytes", type=int, default=16, help="of files in each image")
    parser.add_argument("--volumes", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="damage-") as name:
        subject, recovery = make_subject(Path(name), options.megabytes, options.volumes)
        counts = {}
        for kind in KINDS:
            counts[kind] = measure(subject, recovery, kind, options.rounds, options.repairs, options.seed)
            print(f"{kind}: {sum(counts[kind].lost)} images in {options.rounds} rounds", file=sys.stderr)
        lines = page(subject, counts, options)
    print("\n".join(lines))
    if options.write:
        head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(head + BEGIN + "\n".join(lines) + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
