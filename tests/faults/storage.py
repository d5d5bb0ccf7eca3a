"""What a writer does to its medium, step by step, and what a kill or a power cut at any step leaves of it.

A `Recorder` stands between the writer and its file and notes every call that
changes something. Because a kill leaves exactly the calls made before it, and
a power cut those before the last fsync and any part of the others, every state
can be made from the one recording, without running the writer again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any
from unittest import mock

import glancearchive.format.recordfile as recordfile

SECTOR = 512


@dataclass(frozen=True)
class Step:
    """One call: create, write (`data` at `at`), truncate (to `at`), sync, rename, or sync-names (of the directory)."""

    kind: str
    at: int = 0
    data: bytes = b""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {len(self.data)} at {self.at}" if self.data else f"{self.kind} {self.at} {self.name}"


@dataclass
class Disk:
    """Files by name, as bytes."""

    files: dict[str, bytearray]

    def put(self, directory: Path) -> None:
        """Make `directory` hold these files and no others."""
        for path in directory.iterdir():
            path.unlink()
        for name, data in self.files.items():
            (directory / name).write_bytes(data)


def after_kill(before: dict[str, bytes], steps: Sequence[Step], part: float = 0.0) -> Disk:
    """What a killed process leaves: all `steps`, of the last one, when it is a write, only the fraction `part`."""
    disk = Disk({name: bytearray(data) for name, data in before.items()})
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        _apply(disk, step, step.data[: int(len(step.data) * part)] if last and part else step.data)
    return disk


def after_power_cut(before: dict[str, bytes], steps: Sequence[Step], rng: random.Random) -> Disk:
    """What a power cut after `steps` may leave, where `before` and `steps` are about one file, or `before` is empty.

    What was written before the last fsync is there. Of the writes after it there is a prefix, or any sectors, others
    being missing, zero or foreign. Names count as durable after an fsync of their directory; before, they may be lost.
    """
    created = [step.name for step in steps if step.kind == "create"]
    if len(created) < 2:
        return _one_after_power_cut(before, steps, rng)
    disk = Disk({})
    for name in created:
        own = [step for step in steps if step.kind == "sync-names" or step.name.partition("\n")[0] == name]
        disk.files |= _one_after_power_cut({}, own, rng).files
    return disk


def _one_after_power_cut(before: dict[str, bytes], steps: Sequence[Step], rng: random.Random) -> Disk:
    """The same of one file."""
    synced = max((number + 1 for number, step in enumerate(steps) if step.kind == "sync"), default=0)
    disk = after_kill(before, steps[:synced])
    if not disk.files:
        disk.files[""] = bytearray()
    (content,) = disk.files.values()
    style = rng.choice(["prefix", "sectors", "zeros", "garbage"])
    loose = [step for step in steps[synced:] if step.kind in ("write", "truncate")]
    if style == "prefix":
        loose = loose[: rng.randint(0, len(loose))]
    for step in loose:
        if step.kind == "truncate":
            if rng.random() < 0.5:
                del content[step.at :]
        elif style == "prefix":
            length = rng.randint(0, len(step.data)) if step is loose[-1] else len(step.data)
            _write(content, step.at, step.data[:length])
        else:
            _tear(content, step, style, rng)
    name = rng.choice(_possible_names(before, steps))
    return Disk({name: content} if name else {})


def _possible_names(before: dict[str, bytes], steps: Sequence[Step]) -> list[str]:
    """The names that the file may have on the medium; "": none."""
    names = list(before) or [""]
    for step in steps:
        if step.kind in ("create", "rename"):
            names.append(step.name.split("\n")[-1])
        elif step.kind == "sync-names":
            names = names[-1:]
    return names


def _tear(file: bytearray, step: Step, style: str, rng: random.Random) -> None:
    """Each sector of a write arrives or not; the file may have its full length all the same."""
    end = step.at + len(step.data)
    at = step.at
    while at < end:
        stop = min(end, at - at % SECTOR + SECTOR)
        arrived = rng.random() < 0.6
        if 0 < at < SECTOR:
            arrived = any(file[:at])  # as the beginning of the sector did
        if arrived or rng.random() < 0.7:  # else the file ends before it, unless a later sector arrives
            if len(file) < stop:
                file.extend(bytes(stop - len(file)))
            piece = step.data[at - step.at : stop - step.at]
            if not arrived:
                piece = rng.randbytes(stop - at)
                if style == "zeros" or at < SECTOR:  # what others left is not seen in the first sector of a new file
                    piece = bytes(stop - at)
            if arrived or style != "sectors":
                file[at:stop] = piece
        at = stop


def _apply(disk: Disk, step: Step, data: bytes) -> None:
    if step.kind == "create":
        disk.files[step.name] = bytearray()
    elif step.kind == "rename":
        old, new = step.name.split("\n")
        disk.files[new] = disk.files.pop(old)
    elif step.kind == "truncate":
        del disk.files[step.name][step.at :]
    elif step.kind == "write":
        _write(disk.files[step.name], step.at, data)


def _write(file: bytearray, at: int, data: bytes) -> None:
    if len(file) < at:
        file.extend(bytes(at - len(file)))
    file[at : at + len(data)] = data


class Recorder:
    """Notes the `steps` of every `RecordFile` opened below `recording`; `before_step` may raise instead of a step."""

    def __init__(self, before_step: Callable[[Step], None] = lambda _step: None) -> None:
        self.steps: list[Step] = []
        self._before_step = before_step
        self._names: dict[int, str] = {}

    def note(self, step: Step) -> None:
        self._before_step(step)
        self.steps.append(step)

    @contextmanager
    def recording(self) -> Iterator[None]:
        recorder = self

        class Recorded(FileIO):
            def __init__(self, path: Path, mode: str) -> None:
                if "x" in mode:
                    recorder.note(Step("create", name=path.name))
                super().__init__(path, mode)
                self._recorded_as = path.name
                recorder._names[self.fileno()] = path.name

            def write(self, data: Any) -> int:
                recorder.note(Step("write", self.tell(), bytes(data), self._recorded_as))
                return super().write(data)

            def truncate(self, size: int | None = None) -> int:
                assert size is not None
                recorder.note(Step("truncate", size, name=self._recorded_as))
                return super().truncate(size)

        rename, fdatasync, fsync = Path.rename, os.fdatasync, os.fsync

        def recorded_rename(path: Path, target: Path) -> Path:
            recorder.note(Step("rename", name=f"{path.name}\n{target.name}"))
            return rename(path, target)

        def recorded_sync(descriptor: int) -> None:
            recorder.note(Step("sync", name=recorder._names.get(descriptor, "")))
            fdatasync(descriptor)

        def recorded_sync_names(descriptor: int) -> None:
            recorder.note(Step("sync-names"))
            fsync(descriptor)

        with (
            mock.patch.object(recordfile, "FileIO", Recorded),
            mock.patch.object(Path, "rename", recorded_rename),
            mock.patch.object(os, "fdatasync", recorded_sync),
            mock.patch.object(os, "fsync", recorded_sync_names),
        ):
            yield
