"""A quick verification looks at frames in a mapping. What it finds is what reading them finds, whatever happens."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import glancearchive
from glancearchive.format import framecheck, mapped
from glancearchive.format.compression import LEVELS
from glancearchive.format.header import RecordHeader, RecordType
from glancearchive.format.verifier import Depth, Report
from glancearchive.format.volume import Volume
from tests.archives import write_archive
from tests.command import ROOT
from tests.faults.media import faulty_disk
from tests.glances import metadata

FRAME = 1 << 16
COUNT = 40
STRETCH = 4 * (FRAME + 200)  # four frames
Spy = list[int]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 frames that do not compress, of four images; a thread takes four at a time."""
    monkeypatch.setitem(LEVELS, "default", replace(LEVELS["default"], frame_size=FRAME))
    monkeypatch.setattr(framecheck, "_STRETCH", STRETCH)
    (tmp_path / "disk").mkdir()
    data = [random.Random(number).randbytes(FRAME * COUNT // 4) for number in range(4)]
    return write_archive(tmp_path / "disk" / "a.gla", *((metadata(one), one) for one in data))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """The numbers of the frames that are read, and not only looked at."""
    numbers: Spy = []
    read_payload = Volume.read_payload

    def reading(volume: Volume, header: RecordHeader) -> memoryview:
        if header.type == RecordType.FRAME:
            numbers.append(header.number)
        return read_payload(volume, header)

    monkeypatch.setattr(Volume, "read_payload", reading)
    return numbers


@pytest.fixture
def can_map(tmp_path: Path) -> None:
    path = tmp_path / "probe"
    path.write_bytes(b"probe")
    with path.open("rb") as file, mapped.mapped(file.fileno(), 1, 5, lambda: False) as data:
        if data is None:
            pytest.skip("this system has no call to bring a mapping into memory")
        assert bytes(data) == b"robe"


def quick(path: Path) -> Report:
    with glancearchive.open(path) as opened:
        return glancearchive.verify(opened, Depth.QUICK)


def told(report: Report) -> tuple[list[Any], list[Any]]:
    """All that a report says."""
    faults = [(one.fault, sorted(one.images)) for one in report.damage]
    return [(str(fault), fault.layer, fault.unreadable, images) for fault, images in faults], report.images


def by_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """What a system says that knows no such call."""
    with monkeypatch.context() as patch:
        patch.setattr(mapped, "_madvise", lambda: None)
        return quick(path)


def frames(path: Path) -> list[RecordHeader]:
    with glancearchive.open(path) as opened:
        return [frame.header() for frame in opened.catalog.frames]


@pytest.mark.usefixtures("can_map")
def test_what_is_whole_is_not_read(archive: Path, read: Spy) -> None:
    assert quick(archive).ok
    assert read == []
    with glancearchive.open(archive) as opened:
        assert glancearchive.verify(opened, Depth.FULL).ok
    assert sorted(read) == list(range(COUNT))


@pytest.mark.usefixtures("can_map")
def test_what_does_not_match_is_read(archive: Path, read: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first frame, one in the middle of a stretch, the last one; no others."""
    bad = [0, 18, COUNT - 1]
    with archive.open("r+b") as file:
        for number in bad:
            file.seek(frames(archive)[number].end - 1)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([last ^ 1]))
    report = quick(archive)
    assert sorted(read) == bad
    assert [one.fault.layer for one in report.damage] == ["frame"] * 3
    assert told(report) == told(by_reading(archive, monkeypatch))


@pytest.mark.usefixtures("can_map")
def test_a_bad_sector(archive: Path, read: Spy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Touching it would end the program. It is told, and what lies far from it is not read either."""
    header = frames(archive)[22]
    begin = (header.payload_offset + FRAME // 2) // 4096 * 4096
    with faulty_disk(archive.parent, tmp_path / "bad", bad=[(begin, begin + 4096)]) as disk:
        report = quick(disk / archive.name)
        assert 22 in read
        assert len(read) <= 4
        assert told(report) == told(by_reading(disk / archive.name, monkeypatch))
    (damage,) = report.damage
    assert "cannot be read: Input/output error" in damage.fault.message
    assert (damage.fault.begin, damage.fault.end) == (header.payload_offset, header.end)
    assert len(damage.images) == 1


def test_a_file_system_that_maps_nothing(archive: Path, read: Spy, tmp_path: Path) -> None:
    """FUSE without a cache in the system."""
    with faulty_disk(archive.parent, tmp_path / "medium", capacity=1 << 30) as disk:
        assert quick(disk / archive.name).ok
    assert sorted(read) == list(range(COUNT))


@pytest.mark.parametrize(
    ("name", "value"),
    [("_POPULATE_READ", 9999), ("_madvise", lambda: None), ("_madvise", lambda: lambda *_arguments: -1)],
    ids=["older", "other", "failing"],
)
def test_a_system_without_the_call(
    name: str, value: object, archive: Path, read: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, name, value)
    assert quick(archive).ok
    assert sorted(read) == list(range(COUNT))


@pytest.mark.usefixtures("can_map")
@pytest.mark.parametrize("step", ["_map", "_populate"])
def test_a_file_cut_while_it_is_verified(
    step: str, archive: Path, read: Spy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before it is mapped, and before what is mapped is touched: what was cut off is damaged, the rest is whole."""
    headers = frames(archive)
    cut = headers[21].payload_offset + 5000

    def cutting(function: Callable[..., Any], path: Path) -> Callable[..., Any]:
        def cut_first(*arguments: Any) -> Any:
            os.truncate(path, cut)
            return function(*arguments)

        return cut_first

    other = tmp_path / "other" / archive.name
    other.parent.mkdir()
    other.write_bytes(archive.read_bytes())
    # As if the records had been walked over before: what is checked are the frames that the catalog lists.
    monkeypatch.setattr(framecheck.FrameCheck, "_check_volume", lambda *_arguments: None)
    with monkeypatch.context() as patch:
        patch.setattr(mapped, step, cutting(getattr(mapped, step), archive))
        report = quick(archive)
    assert {*range(21, COUNT)} <= {*read}
    with monkeypatch.context() as patch:
        patch.setattr(mapped, "_map", cutting(lambda *_arguments: None, other))
        assert told(quick(other)) == told(report)
    assert {one.fault.begin for one in report.damage} == {one.payload_offset for one in headers[21:]}


@pytest.mark.usefixtures("can_map")
def test_a_file_cut_while_it_is_hashed(archive: Path) -> None:
    """What cannot be kept from it: the program ends. Nobody is told that the archive is whole."""
    program = f"""
import os
import glancearchive
from glancearchive.format import volume

digest = volume.digest
def cutting(data):
    if len(data) >= {FRAME}:
        os.truncate({str(archive)!r}, 4096)
    return digest(data)

with glancearchive.open({str(archive)!r}) as archive:
    volume.digest = cutting
    print(glancearchive.verify(archive, glancearchive.Depth.QUICK).ok)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGBUS, ""), done.stderr


def test_what_is_unfinished_is_read(archive: Path, read: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes on with it may cut it."""
    part = archive.rename(archive.with_name("a.gla.part"))
    monkeypatch.setattr(mapped, "_map", pytest.fail)
    assert quick(part).ok
    assert sorted(read) == list(range(COUNT))


@pytest.mark.usefixtures("can_map")
def test_what_is_unfinished_has_another_name(archive: Path, read: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that was cut is gone on with as if it were named so."""
    os.truncate(archive, archive.stat().st_size - 300)
    monkeypatch.setattr(mapped, "_map", pytest.fail)
    (damage,) = quick(archive).damage
    assert damage.fault.layer == "volume"
    assert sorted(read) == list(range(COUNT))


@pytest.mark.parametrize("most", [0, 2])
def test_an_interruption_ends_what_takes_long(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stretch no more is asked of the medium than the step that is begun."""
    (tmp_path / "x").write_bytes(bytes(4 * mapped._STEP))
    asked: list[int] = []
    monkeypatch.setattr(mapped, "_madvise", lambda: lambda _address, size, _advice: asked.append(size.value))
    with (
        (tmp_path / "x").open("rb") as file,
        mapped.mapped(file.fileno(), 0, 4 * mapped._STEP, lambda: len(asked) >= most) as data,
    ):
        assert data is None
    assert asked == [mapped._STEP] * most


def test_an_interruption_waits_for_what_is_begun_only(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a thread is not begun any more: on a slow medium that would be many seconds."""
    begun, shut = list[int](), Event()
    check, shutdown = framecheck.FrameCheck._check_frames, ThreadPoolExecutor.shutdown

    def checking(self: framecheck.FrameCheck, volume: Volume, headers: list[RecordHeader]) -> Any:
        begun.append(len(headers))
        assert len(begun) == 1 or shut.wait(60)
        return check(self, volume, headers)

    def shutting(self: ThreadPoolExecutor, **how: bool) -> None:
        shutdown(self, wait=False, cancel_futures=how.get("cancel_futures", False))
        shut.set()
        shutdown(self, **how)

    def interrupted(_count: int) -> None:
        if begun:
            raise KeyboardInterrupt

    monkeypatch.setattr(framecheck.FrameCheck, "_check_frames", checking)
    with glancearchive.open(archive) as opened:
        monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutting)
        with pytest.raises(KeyboardInterrupt):
            glancearchive.verify(opened, Depth.QUICK, interrupted, threads=1)
    assert len(begun) <= 2
