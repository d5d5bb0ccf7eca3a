"""Finished files get their places, or what stands there stays."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from glancearchive.errors import LocalError
from glancearchive.recovery.workplace import lay, move


def test_a_link_never_takes_the_place_of_what_it_leads_to(tmp_path: Path) -> None:
    volume, link = tmp_path / "a.gla", tmp_path / "link"
    volume.write_bytes(b"data")
    lay(volume, link)
    assert link.is_symlink()
    with pytest.raises(LocalError, match="is a link and no file"):
        move(link, volume, replace=True)
    assert not volume.is_symlink()
    assert volume.read_bytes() == b"data"


def test_what_cannot_be_read_is_no_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished file that is moved across file systems and cannot be read leaves what is there as it was."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 100_000)
    target.write_bytes(b"before")
    devices = {source: 1}
    real = Path.stat

    def stat(path: Path, **options: bool) -> object:
        found = real(path, **options)
        return SimpleNamespace(st_dev=devices[path], st_mode=found.st_mode) if path in devices else found

    def unreadable(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr("glancearchive.recovery.workplace.shutil.copyfileobj", unreadable)
    with pytest.raises(LocalError, match="cannot be written"):
        move(source, target, replace=True)
    assert target.read_bytes() == b"before"
    assert not list(tmp_path.glob(".*"))
