"""How much a verification has under way at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import glancearchive
from glancearchive.format import framecheck
from glancearchive.format.header import RecordHeader
from glancearchive.format.writer import ArchiveWriter


def test_checkpoints_without_frames_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is let go of when it was compared, also where no frame follows for a long time."""
    path = tmp_path / "a.gla"
    writer = ArchiveWriter(path, interval=0.0)
    for number in range(100):
        image = writer.begin(f"image-{number}", {"name": f"image {number}"})
        image.write_zeros(1 << 20)
        image.finish({}, "")
    writer.finish()
    waiting: list[int] = []
    count = framecheck.FrameCheck._count

    def counting(check: framecheck.FrameCheck, header: RecordHeader) -> None:
        waiting.append(len(check._waiting))
        count(check, header)

    monkeypatch.setattr(framecheck.FrameCheck, "_count", counting)
    with glancearchive.open(path) as archive:
        assert glancearchive.verify(archive).ok
    assert len(waiting) > 100
    assert max(waiting) <= 8
