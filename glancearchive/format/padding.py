"""Padding before the catalogs, so that no sector holds both them and the last checkpoint (SPEC section 6.10)."""

from __future__ import annotations

import secrets

from glancearchive.format.compression import LEVELS, compress
from glancearchive.format.encoding import pack
from glancearchive.format.hashing import digest
from glancearchive.format.structured import Encoded, record_bound

_LEAST = 4 << 10  # bytes: the sector of a disk
_MOST = 64 << 10  # what is lost at once on flash, or in a cluster, is rarely larger
_SHARE = 256  # of the volume it takes one part, between these two


def padding_size(offset: int) -> int:
    """How many bytes there are to be between what ends at byte `offset` of a volume and its catalogs."""
    return min(max(_LEAST, offset // _SHARE), _MOST)


def padding_bound(offset: int) -> int:
    """Bytes that the record takes at most, at byte `offset` of a volume."""
    return record_bound(padding_size(offset))


def padding(offset: int) -> Encoded:
    """The payload of the record at byte `offset` of a volume.

    What it is filled with does not compress: stored it is as large as it is meant to be.
    """
    raw = pack({"fill": secrets.token_bytes(padding_size(offset))})
    stored = compress(raw, LEVELS["fast"])
    return Encoded(stored, len(raw), digest(stored))
