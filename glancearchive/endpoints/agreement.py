"""Whether the data of two images are the same, by the digests that are known of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from glancearchive.image import Digest, Holding, Image
from glancearchive.streamhash import computable


@dataclass(frozen=True, slots=True)
class Agreement:
    """`verified` is the algorithm whose digests are equal, "" for none; `difference` says what differs, if any does."""

    verified: str = ""
    difference: str = ""


def compare_data(here: Image, there: Image, compute: Callable[[str], str] | None) -> Agreement:
    """Compare the data of image `here` in a Glance with those of `there`, which are the right ones.

    Where the strongest digest of `here` is of an algorithm that `there` has
    none of, ``compute(algorithm)`` has to find it from the data of `there`.
    """
    if here.size is not None and there.size is not None and here.size != there.size:
        return Agreement(difference=f"{here.size} bytes instead of {there.size}")
    known = {digest.algorithm: digest for digest in (*there.held.digests, *there.digests)}
    for digest in here.digests:
        expected = known.get(digest.algorithm)
        if expected is not None and expected != digest:
            return Agreement(difference=f"{digest} instead of {expected}")
    strongest = next(iter(here.digests), None)
    if strongest is None:
        return Agreement()
    if strongest.algorithm not in known and compute is not None and computable(strongest.algorithm):
        expected = Digest(strongest.algorithm, compute(strongest.algorithm))
        if expected != strongest:
            return Agreement(difference=f"{strongest} instead of {expected}")
        return Agreement(strongest.algorithm)
    common = next((digest for digest in here.digests if digest.algorithm in known), None)
    return Agreement(common.algorithm if common else "")


_SIZE = re.compile(r"size:(\d{1,18})", re.ASCII)


def contradiction(image: Image, named: str) -> str:
    """What says that the data of `image` are others than those `named`, as ALGORITHM:VALUE or size:N.

    "" where nothing does: they may be known by another digest only.
    """
    algorithm, _, value = named.partition(":")
    meant = Image({}, held=Holding((Digest(algorithm, value),)))
    if size := _SIZE.fullmatch(named):
        meant = Image({"size": int(size[1])})
    return compare_data(image, meant, None).difference
