"""What the records of one session said, and whether its catalogs say the same as its checkpoints."""

from __future__ import annotations

from array import array

from glancearchive.format.encoding import pack
from glancearchive.format.extents import NO_PART, ExtentStore
from glancearchive.format.frameindex import FrameIndex
from glancearchive.format.hashing import digest
from glancearchive.format.imageparts import ImagePart
from glancearchive.format.schema import FrameRun

_DIGEST = 16  # bytes: enough to tell what differs by accident
_NONE = bytes(_DIGEST)


class _Digests:
    """Digests by place, `_NONE` where there is none."""

    def __init__(self) -> None:
        self._joined = bytearray()

    def append(self) -> None:
        self._joined += _NONE

    def __getitem__(self, place: int) -> bytes:
        return bytes(self._joined[place * _DIGEST : (place + 1) * _DIGEST])

    def learn(self, place: int, said: bytes) -> bool:
        """Note the digest of what was `said`. False, and nothing is noted, when it was another before."""
        known, found = self[place], digest(said)[:_DIGEST]
        if known == _NONE:
            self._joined[place * _DIGEST : (place + 1) * _DIGEST] = found
        return known in (_NONE, found)


class Account:
    """What either the checkpoints or the catalogs of one session in `volume` said.

    Kept are the rows of its frames, and of each image digests of its begin and its end, and its extents, all of them in
    arrays: there may be very many images.
    """

    def __init__(self, volume: int, block_size: int) -> None:
        self._volume = volume
        self._frames = FrameIndex(block_size)
        self._places: dict[int, int] = {}  # of images by number, in the following
        self._begins, self._ends = _Digests(), _Digests()
        self._parts = array("q")  # of each image the last part of its extents
        self._extents = ExtentStore()

    def add_frames(self, run: FrameRun) -> None:
        """Learn `run`. Raises ValueError when it contradicts what was said before."""
        self._frames.add(self._volume, run)

    def add_part(self, part: ImagePart) -> None:
        """Learn `part`. Raises ValueError when it contradicts what was said before."""
        place = self._places.get(part.number)
        if place is None:
            place = self._places[part.number] = len(self._parts)
            self._begins.append()
            self._ends.append()
            self._parts.append(NO_PART)
        if part.begin is not None and not self._begins.learn(place, part.begin.packed):
            raise ValueError(f"two records disagree about the metadata of image {part.number}")
        if part.end is not None and not self._ends.learn(place, pack(part.end.to_map())):
            raise ValueError(f"two records disagree about the end of image {part.number}")
        if part.extents is not None:
            self._parts[place] = self._extents.add(self._parts[place], part.position, part.extents)

    def has_ended(self, image: int) -> bool:
        """Whether the end of image number `image` was said."""
        return image in self._places and self._ends[self._places[image]] != _NONE

    def difference(self, catalogs: Account) -> str:
        """How the catalogs of a session differ from these, its checkpoints; "" when they say the same."""
        if not self._frames.says_same(catalogs._frames):
            return "lists other frames than the checkpoints"
        if self._places.keys() != catalogs._places.keys():
            return "lists other images than the checkpoints"
        for number, place in self._places.items():
            other = catalogs._places[number]
            if self._begins[place] != catalogs._begins[other] or self._ends[place] != catalogs._ends[other]:
                return f"describes image {number} otherwise than the checkpoints"
            extents, gaps = self._extents[self._parts[place]].extents()
            others, other_gaps = catalogs._extents[catalogs._parts[other]].extents()
            if gaps != other_gaps or extents.tobytes() != others.tobytes():
                return f"has other extents for image {number} than the checkpoints"
        return ""
