"""Where the volumes of an archive lie, how large they may be, and where the next one goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from glancearchive.errors import LocalError, UsageError
from glancearchive.format.medium import largest_file, mount_of
from glancearchive.format.volumes import numbered, part_of, written_volumes
from glancearchive.plural import counted

_SAFE = 2**32 - 1  # bytes of the largest file on FAT: for file systems of which nothing is known
_MARGIN = 256 << 10  # bytes that a file system may need beside the files


def _nobody(message: str) -> Path:
    raise LocalError(message)


@dataclass(frozen=True, slots=True)
class Split:
    """How an archive is split: no volume has more than `size` bytes, nor more than its file system allows.

    With `local_dedup` blocks that lie in a volume before are stored again. The volumes go into `directories`, each in
    turn until its medium is full; when all are, `another` is asked, with a message, for a further one, or raises
    LocalError. Without `directories` they lie where the archive is named, and a full medium is an error.
    """

    size: int | None = None
    local_dedup: bool = False
    directories: tuple[Path, ...] = ()
    another: Callable[[str], Path] = _nobody


class Places:
    """Where the volumes of the archive `path` are: `paths` by number, finished or under way. Without `split` it is one.

    Raises LocalError when a directory cannot be read.
    """

    def __init__(self, path: Path, split: Split | None) -> None:
        self.path = path
        self.split = split
        self.spread = split is not None and bool(split.directories)
        self._directories = list(split.directories) if split is not None and self.spread else [path.parent]
        if split is not None:
            self.paths = written_volumes(path, self._directories)
        else:
            self.paths = {1: part_of(path)} if part_of(path).exists() else {}

    def check(self) -> None:
        """Raises UsageError when what there is of the archive is not of the form that is asked for."""
        single = next(filter(Path.exists, (self.path, part_of(self.path))), None)
        if self.split is not None:
            if single is not None and not self.spread:
                raise UsageError(f"{single}: exists, in one piece, so that no volumes of this name can be written")
        elif single is None and self.path.parent.is_dir():
            volumes = written_volumes(self.path, self._directories)
            if not volumes:
                return
            name = volumes[min(volumes)].name
            raise UsageError(f"{self.path}: is written in volumes, such as {name}: give their size again")

    def of(self, number: int) -> Path:
        """The path of a volume once it is finished."""
        if self.split is None:
            return self.path
        return numbered(self.paths[number].parent / self.path.name, number)

    def choose(self, number: int, least: int) -> Path:
        """The path of a new volume, which needs `least` bytes. Raises LocalError when there is no place for it."""
        directory = self._directories[0] if not self.spread else self._roomy(number, least)
        self.paths[number] = path = directory / (numbered(self.path, number) if self.split else self.path).name
        return path

    def _roomy(self, number: int, least: int) -> Path:
        assert self.split is not None
        while True:
            for directory in self._directories:
                if _free(directory) >= least + _MARGIN:
                    return directory
            full = ", ".join(map(str, dict.fromkeys(self._directories)))
            done = f"{counted(number - 1, 'volume')} finished" if number > 1 else "nothing is written yet"
            name = numbered(self.path, number).name
            message = f"no room for {name} in {full}: {done}; another medium is needed, its directory beside these"
            directory = self.split.another(message)
            if directory not in self._directories:
                self._directories.append(directory)

    def limit(self, path: Path) -> Limit:
        """How large the volume `path` may become."""
        if self.split is None:
            return Limit()
        sizes = [self.split.size, _largest(path)]
        most = min((size for size in sizes if size is not None), default=None)
        return Limit(most, path.parent if self.spread else None)


@dataclass(frozen=True, slots=True)
class Limit:
    """The `most` bytes that a volume may have; with `medium` also no more than there is room for in that directory."""

    most: int | None = None
    medium: Path | None = None

    def __call__(self, offset: int) -> int | None:
        """How many bytes a file may have that now has `offset`; None: any number."""
        if self.medium is None:
            return self.most
        room = offset + max(0, _free(self.medium) - _MARGIN)
        return room if self.most is None else min(room, self.most)


def _free(directory: Path) -> int:
    try:
        return shutil.disk_usage(directory).free
    except OSError as error:
        raise LocalError(f"{directory}: {error.strerror}") from None


def _largest(path: Path) -> int | None:
    """How large a file at `path` may be, for the file system and for this process; None: there is no such limit."""
    limits = [_SAFE if mount_of(path) is None else largest_file(path)]
    if resource is not None:
        soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        limits.append(None if soft == resource.RLIM_INFINITY else soft)
    return min((one for one in limits if one is not None), default=None)
