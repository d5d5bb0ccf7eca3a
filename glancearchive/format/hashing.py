"""Digests of the format (SPEC sections 3, 5, 7). The one module that imports blake3."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
from blake3 import blake3

BLOCK_DIGEST_SIZE = 16

# A block is hashed in about a microsecond, with the interpreter's lock given back and taken again. Two threads at it
# spend more on handing that to each other than they gain.
_turn = threading.Lock()

Digests = npt.NDArray[np.uint64]
"""Block digests as rows of two u64: shape (n, 2)."""


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """BLAKE3, 32 bytes."""
    return blake3(data).digest()


def block_digests(
    key: bytes, data: memoryview, block_size: int, wanted: npt.NDArray[np.bool_] | None = None
) -> Digests:
    """Digests of the whole blocks of `data`, shape (n, 2); only of those where `wanted` is true, if given."""
    starts = range(0, len(data), block_size)
    if wanted is not None:
        starts = (np.flatnonzero(wanted) * block_size).tolist()  # type: ignore[assignment]
    hasher = blake3(key=key)  # made anew for each block it would take a third longer
    found = []
    with _turn:
        for at in starts:
            hasher.update(data[at : at + block_size])
            found.append(hasher.digest(BLOCK_DIGEST_SIZE))
            hasher.reset()
    return np.frombuffer(b"".join(found), dtype="<u8").reshape(-1, 2)


def scan_blocks(key: bytes, data: memoryview, block_size: int) -> tuple[npt.NDArray[np.bool_], Digests]:
    """Which of the whole blocks of `data` are not zero, shape (n,), and the digests of these in order."""
    words = np.frombuffer(data, dtype=np.uint64).reshape(-1, block_size // 8)
    # Twice as fast as `any`, which turns each word into a bool first.
    wanted = np.bitwise_or.reduce(words, axis=1) != 0
    return wanted, block_digests(key, data, block_size, wanted)


class ImageDigest:
    """Computes an image digest (SPEC section 7) from its runs, in order."""

    def __init__(self) -> None:
        self._runs = blake3()
        self._digests = blake3()
        self._in_data = False  # the run list begins with a zero run
        self._run = 0

    def zeros(self, count: int) -> None:
        """`count` zero blocks follow."""
        self._switch(False)
        self._run += count

    def data(self, digests: Digests) -> None:
        """Non-zero blocks with these digests follow; shape (n, 2)."""
        self._switch(True)
        self._run += len(digests)
        self._digests.update(np.ascontiguousarray(digests).tobytes())

    def blocks(self, wanted: npt.NDArray[np.bool_], digests: Digests) -> None:
        """Blocks follow as `scan_blocks` describes them."""
        borders = (np.flatnonzero(wanted[1:] != wanted[:-1]) + 1).tolist()
        taken = 0
        for begin, end in zip([0, *borders], [*borders, len(wanted)], strict=True):
            if wanted[begin]:
                self.data(digests[taken : taken + end - begin])
                taken += end - begin
            else:
                self.zeros(end - begin)

    def _switch(self, in_data: bool) -> None:
        if in_data != self._in_data:
            self._runs.update(self._run.to_bytes(8, "little"))
            self._in_data, self._run = in_data, 0

    def digest(self, size: int) -> bytes:
        """The digest of the image of `size` bytes whose blocks have all been given. Ends the computation."""
        if self._run:
            self._runs.update(self._run.to_bytes(8, "little"))
            self._run = 0
        return digest(size.to_bytes(8, "little") + self._runs.digest() + self._digests.digest())
