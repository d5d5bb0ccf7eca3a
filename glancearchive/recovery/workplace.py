"""Where recovery data and repaired volumes come into being before they get their names."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from glancearchive.errors import ExistsError, LocalError
from glancearchive.format.recordfile import create, obstacle, reopen
from glancearchive.format.volume import Volume

_LOCK = "lock"
_PIECE, _SECTOR = 1 << 20, 4096


@contextmanager
def workplace(directory: Path, name: str) -> Iterator[Path]:
    """An empty directory `name` in `directory`, which is made if need be; gone afterwards.

    What a killed process left there is removed. Raises LocalError, also when another process works there.
    """
    place = directory / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if place.is_symlink():
            raise ExistsError(f"{place}: exists already, and leads elsewhere")
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise LocalError(f"{place}: cannot be created: {error.strerror}") from None
    lock = place / _LOCK
    file = reopen(lock) if lock.is_file() else create(lock)
    try:
        for left in place.iterdir():
            if left.name != _LOCK:
                _remove(left)
        yield place
    finally:
        file.close()
        shutil.rmtree(place, ignore_errors=True)


def check_workplace(directory: Path, name: str) -> None:
    """Raises LocalError where `workplace` would, as far as that shows without creating anything."""
    place = directory / name
    if place.is_symlink():
        raise ExistsError(f"{place}: exists already, and leads elsewhere")
    if (place / _LOCK).is_file():
        reopen(place / _LOCK).close()  # raises where another process works
        return
    there = _there(place)
    taken = there in (place, directory) and not there.is_dir()
    if why := os.strerror(errno.EEXIST) if taken else obstacle(there):
        raise LocalError(f"{place}: cannot be created: {why}")


def _there(directory: Path) -> Path:
    """The directory, or what there is of the path to it."""
    return next((one for one in (directory, *directory.parents) if one.exists()), Path())


@contextmanager
def linking_workplace(directory: Path, name: str) -> Iterator[Path]:
    """As `workplace`, but where symbolic links can be had, even if that is in a temporary directory elsewhere."""
    with workplace(directory, name) as place:
        if _takes_links(place):
            yield place
            return
        with tempfile.TemporaryDirectory(prefix="glancearchive-", dir=_temporary()) as other:
            yield Path(other)


def require_space(directory: Path, size: int, what: str) -> None:
    """Raises LocalError when `directory`, there or still to be made, has no room for `size` bytes of `what`."""
    free = shutil.disk_usage(_there(directory)).free
    if free < size:
        raise LocalError(f"{directory}: no space for {what}: it takes {size} bytes, and {free} are free")


def lay(path: Path, place: Path, *, unreadable: bool = False) -> None:
    """Have the file or directory `path` at `place`: as a link where that can be had, else as a copy.

    What the medium does not give of an `unreadable` file is zeros in the copy. Raises LocalError.
    """
    if not unreadable:
        with suppress(OSError):
            place.symlink_to(path.absolute())
            return
    try:
        if path.is_dir():
            place.mkdir()
            for one in path.iterdir():
                if one.name.lower().endswith(".par2"):
                    _copy(one, place / one.name)
        else:
            _copy(path, place)
    except OSError as error:
        raise LocalError(f"{place}: cannot be copied from {path}: {error.strerror}") from None


def move(source: Path, target: Path, *, replace: bool) -> None:
    """Give a finished file its place. Raises LocalError; ExistsError unless it may `replace` what is there."""
    if source.is_symlink():  # it may lead to the target, which would become a link to itself
        raise LocalError(f"{target}: cannot be written: its successor {source} is a link and no file")
    try:
        with source.open("rb+") as file:
            os.fsync(file.fileno())
        if not replace and target.exists():
            raise ExistsError(f"{target}: exists already")
        if source.stat().st_dev == target.parent.stat().st_dev:
            source.replace(target)
            return
        temporary = target.with_name(f".{target.name}.part")
        try:
            with source.open("rb") as file, temporary.open("wb") as copied:
                shutil.copyfileobj(file, copied, _PIECE)
                copied.flush()
                os.fsync(copied.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise LocalError(f"{target}: cannot be written: {error.strerror}") from None


def _copy(source: Path, target: Path) -> None:
    """Raises OSError, but not for what cannot be read: that is zeros."""
    volume = Volume(source)
    try:
        with target.open("wb") as file:
            for begin in range(0, volume.size, _PIECE):
                file.write(_readable(volume, begin, min(_PIECE, volume.size - begin)))
            file.flush()
            os.fsync(file.fileno())
    finally:
        volume.close()


def _readable(volume: Volume, at: int, size: int) -> bytes:
    try:
        return volume.read_at(at, size).ljust(size, b"\0")
    except OSError:
        if size <= _SECTOR:
            return bytes(size)
        return b"".join(
            _readable(volume, begin, min(_SECTOR, at + size - begin)) for begin in range(at, at + size, _SECTOR)
        )


def _takes_links(place: Path) -> bool:
    link = place / "link"
    try:
        link.symlink_to(place)
        link.unlink()
    except OSError:
        return False
    return True


def _temporary() -> str | None:
    """Where much may lie: on many systems ``/tmp`` is memory."""
    return None if os.environ.get("TMPDIR") or not Path("/var/tmp").is_dir() else "/var/tmp"  # noqa: S108


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
