"""What the records of one session said, and whether its catalogs say the same as its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field

from glancearchive.format.encoding import pack
from glancearchive.format.extents import ExtentMap
from glancearchive.format.frameindex import FrameIndex
from glancearchive.format.hashing import digest
from glancearchive.format.imageparts import ImagePart
from glancearchive.format.schema import FrameRun


@dataclass(slots=True)
class _Said:
    """What was said of one image: digests of its begin and its end ("" for none), and its extents."""

    begin: bytes = b""
    end: bytes = b""
    extent_map: ExtentMap = field(default_factory=ExtentMap)


class Account:
    """What either the checkpoints or the catalogs of one session in `volume` said.

    Kept are the rows of its frames, and of each image two digests and its extents: the metadata are not.
    """

    def __init__(self, volume: int, block_size: int) -> None:
        self._volume = volume
        self._frames = FrameIndex(block_size)
        self._images: dict[int, _Said] = {}

    def add_frames(self, run: FrameRun) -> None:
        """Learn `run`. Raises ValueError when it contradicts what was said before."""
        self._frames.add(self._volume, run)

    def add_part(self, part: ImagePart) -> None:
        """Learn `part`. Raises ValueError when it contradicts what was said before."""
        said = self._images.get(part.number)
        if said is None:
            said = self._images[part.number] = _Said()
        begin = b"" if part.begin is None else digest(part.begin.packed)
        end = b"" if part.end is None else digest(pack(part.end.to_map()))
        if begin and said.begin not in (b"", begin):
            raise ValueError(f"two records disagree about the metadata of image {part.number}")
        said.begin = begin or said.begin
        if end and said.end not in (b"", end):
            raise ValueError(f"two records disagree about the end of image {part.number}")
        said.end = end or said.end
        if part.extents is not None:
            said.extent_map.add(part.position, part.extents)

    def has_ended(self, image: int) -> bool:
        """Whether the end of image number `image` was said."""
        return image in self._images and bool(self._images[image].end)

    def difference(self, catalogs: Account) -> str:
        """How the catalogs of a session differ from these, its checkpoints; "" when they say the same."""
        if not self._frames.says_same(catalogs._frames):
            return "lists other frames than the checkpoints"
        if self._images.keys() != catalogs._images.keys():
            return "lists other images than the checkpoints"
        for number, said in self._images.items():
            other = catalogs._images[number]
            if (said.begin, said.end) != (other.begin, other.end):
                return f"describes image {number} otherwise than the checkpoints"
            extents, gaps = said.extent_map.extents()
            others, other_gaps = other.extent_map.extents()
            if gaps != other_gaps or extents.tobytes() != others.tobytes():
                return f"has other extents for image {number} than the checkpoints"
        return ""
