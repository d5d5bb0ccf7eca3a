"""What loads from this machine have verified so far, and what they have found damaged: for speed only.

The digest that a target states of an image may be of an algorithm that the archive has none of. Then
the data have to be read to compute it, and here is remembered what came of it, for the
next load of the same archive into the same target. One file for each pair of these, in
the user's state directory; a line of JSON for each image that was verified::

    {"target": …, "archive": …, "image": …, "data": "sha512:…", "digest": "sha256:…"}

An image that is not whole breaks off in the middle of its upload when that is met for the first time. So that it is not
uploaded up to there by each load, the frames that were found damaged are remembered, by archive and number::

    {"target": …, "archive": …, "frame": ["…", 17]}

They are read again before an image that needs one is sent: what is whole by now is no obstacle.

A line with digests is of use only to whoever finds the same `digest` at the target and has the same `data` in
the archive, so that lines which are torn, foreign or out of date are of none, and a file
that cannot be read or written costs nothing but time. Whoever deletes it loses nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from glancearchive.format.frameindex import FrameKey
from glancearchive.image import Digest, Image

log = logging.getLogger("glancearchive")

_LONGEST = 2048  # bytes of a line
_LARGEST = 32 << 20  # bytes of a file: some 80,000 images


def state_directory() -> Path:
    """Where journals are: below XDG_STATE_HOME, or what this system has for it."""
    return platformdirs.user_state_path("glancearchive", appauthor=False) / "loads"


class Journal:
    """The journal of loads of one archive, by its id, into one target, by its label. Usable from several threads.

    Nothing is raised, whatever is wrong with the file: then nothing is remembered.
    """

    def __init__(self, directory: Path, target: str, archive: bytes) -> None:
        self._head = {"target": target, "archive": archive.hex()}
        name = hashlib.sha256(f"{target} {archive.hex()}".encode(errors="backslashreplace")).hexdigest()[:32]
        self.path = directory / f"{name}.jsonl"
        self._known: set[tuple[str, str]] = set()
        self._suspects: set[FrameKey] = set()
        self._lock = threading.Lock()
        self._writable = True
        try:
            self._read()
        except OSError as error:
            log.info("the journal of loads cannot be read: %s", error)

    def recalls(self, image: Image, digest: Digest) -> bool:
        """Whether the data of `image` were once found to have this digest."""
        return (_data(image), str(digest)) in self._known

    def record(self, image: Image, digest: Digest) -> None:
        """Remember that the data of `image` have this digest, as the target says."""
        fact = _data(image), str(digest)
        with self._lock:
            if fact[0] and fact not in self._known:
                self._known.add(fact)
                self._note({"image": image.id, "data": fact[0], "digest": fact[1]})

    @property
    def suspects(self) -> set[FrameKey]:
        """The frames that once were found damaged."""
        return set(self._suspects)

    def record_damage(self, frame: FrameKey) -> None:
        """Remember that `frame` was found damaged."""
        with self._lock:
            if frame not in self._suspects:
                self._suspects.add(frame)
                self._note({"frame": [frame[0].hex(), frame[1]]})

    def _note(self, entry: Mapping[str, object]) -> None:
        if not self._writable:
            return
        try:
            self._append(json.dumps({**self._head, **entry}).encode())
        except OSError as error:
            log.info("the journal of loads cannot be written: %s", error)
            self._writable = False

    def _read(self) -> None:
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            left = _LARGEST
            while left > 0 and (line := file.readline(_LONGEST)):
                left -= len(line)
                entry = _parsed(line)
                if not all(entry.get(key) == value for key, value in self._head.items()):
                    continue
                if (frame := _frame(entry.get("frame"))) is not None:
                    self._suspects.add(frame)
                else:
                    self._known.add((str(entry.get("data")), str(entry.get("digest"))))

    def _append(self, line: bytes) -> None:
        """One write for each line, so that those of two processes do not mix; one that was torn before ends here."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0), 0o600)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
                raise OSError(f"{self.path}: is too large, or no file")
            os.write(descriptor, b"\n" + line + b"\n")
        finally:
            os.close(descriptor)


def _data(image: Image) -> str:
    """What the data of `image` are recognised by: the longest digest that is known of them."""
    return str(max((*image.held.digests, *image.digests), key=lambda digest: len(digest.value), default=""))


def _frame(value: object) -> FrameKey | None:
    """The frame that a line tells of, None when it is none."""
    match value:
        case [str(archive), int(number)]:
            try:
                return bytes.fromhex(archive), number
            except ValueError:
                return None
    return None


def _parsed(line: bytes) -> dict[str, object]:
    """The JSON object in `line`, {} when there is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
