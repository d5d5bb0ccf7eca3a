"""Hashes beside a stream: what is fed waits for them, within bounds, and whoever feeds never waits in vain."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from glancearchive import streamhash
from glancearchive.streamhash import StreamHash, computable


class _Held:
    """A hash that computes nothing before it is let go; what it was given."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.given: list[bytes] = []

    def update(self, data: bytes) -> None:
        assert self.go.wait(60)
        self.given.append(data)

    def hexdigest(self) -> str:
        return b"".join(self.given).hex()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Held]:
    made = _Held()
    monkeypatch.setattr(hashlib, "new", lambda _name, **_options: made)
    yield made
    made.go.set()


def test_what_is_fed_is_bounded(held: _Held) -> None:
    """Beside the buffer that is being hashed a few wait; whoever feeds more has to wait."""
    fed: list[int] = []
    stuck = threading.Event()

    def feed(hashes: StreamHash) -> None:
        for number in range(100):
            if number == streamhash._QUEUED + 1:
                stuck.set()
            hashes.update(bytes([number]))
            fed.append(number)

    with StreamHash(["sha512"]) as hashes, ThreadPoolExecutor(1) as pool:
        feeding = pool.submit(feed, hashes)
        assert stuck.wait(60)
        assert len(fed) <= streamhash._QUEUED + 1
        with pytest.raises(TimeoutError):
            feeding.result(0.2)
        assert len(fed) <= streamhash._QUEUED + 1
        held.go.set()
        feeding.result(60)
        assert hashes.hexdigests() == {"sha512": bytes(range(100)).hex()}


def test_what_goes_wrong_is_raised_at_the_end_and_nobody_waits_for_ever() -> None:
    with StreamHash(["sha512", "md5"]) as hashes:
        hashes.update("no bytes")  # type: ignore[arg-type]
        for _ in range(3 * streamhash._QUEUED):
            hashes.update(b"more")
        with pytest.raises(TypeError):
            hashes.hexdigests()


def test_hashes_of_data_and_zeros() -> None:
    data = b"data", bytes(3 << 20), b"more"
    with StreamHash(["sha512", "sha3_256"]) as hashes:
        hashes.update(data[0])
        hashes.update_zeros(len(data[1]))
        hashes.update(data[2])
        found = hashes.hexdigests()
    assert found == {name: hashlib.new(name, b"".join(data)).hexdigest() for name in ("sha512", "sha3_256")}
    assert not computable("shake_128")
