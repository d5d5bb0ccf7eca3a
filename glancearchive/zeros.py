"""Zero bytes, the most of what disk images are made of: shared ones, so that nobody has to look at them twice."""

from __future__ import annotations

from glancearchive.image import Buffer

PIECE = 1 << 20
"""The most zero bytes that are handed out at once."""

_BYTES = bytes(PIECE)
_VIEW = memoryview(_BYTES)


def zeros(count: int) -> memoryview:
    """`count` zero bytes, at most `PIECE`. No memory is taken, and `are_zeros` knows them."""
    assert count <= PIECE
    return _VIEW[:count]


def are_zeros(data: Buffer) -> bool:
    """Whether `data` came from `zeros`. Costs nothing; other data that are zero are not found."""
    return isinstance(data, memoryview) and data.obj is _BYTES


def known(data: Buffer) -> Buffer:
    """`data`, or the shared zeros in their place where that is quickly seen: in whole pieces of `PIECE` bytes."""
    # Comparing bytes with bytes is memcmp, which ends at the first byte that differs.
    return _VIEW if isinstance(data, bytes) and len(data) == PIECE and data == _BYTES else data
