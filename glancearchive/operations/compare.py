"""Compares the images of two places, A and B: ids, data by their digests, metadata field by field.

B is read first and put away small, then A goes past it: what has to be kept is one or two KiB for each image of B, and
for each that only A has.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import chain
from operator import attrgetter

from glancearchive.endpoints.policy import SOURCE_ID, as_converted, is_converted
from glancearchive.endpoints.references import followed, references
from glancearchive.errors import AccessError, ConnectError, FormatError, ImageFileError, ServerError
from glancearchive.image import Digest, Holding, Image, Progress, Source
from glancearchive.operations.likeness import Fields, digests, field_differences, missing_data, other_data, same_data
from glancearchive.operations.select import Selection
from glancearchive.streamhash import StreamHash, computable

_FALLBACK = "sha512"  # computed on both sides where neither states anything that can be computed


class Kind(StrEnum):
    """What a difference is."""

    MISSING = "missing"  # only A has the image
    OTHER_ID = "other-id"  # only A has an image of this id, and B has the same data under another one
    EXTRA = "extra"  # only B has the image
    OTHER_DATA = "other-data"  # same id, other data
    DATA_MISSING = "data-missing"  # one of the two has no data of it, or not all
    CONVERTED = "converted"  # one has it as its Glance has converted it, which cannot be compared
    NO_DIGEST = "no-digest"  # no digest to compare with, and the data were not read
    UNREADABLE = "unreadable"  # no digest to compare with, and reading the data failed
    METADATA = "metadata"  # same image, other metadata


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. An image may have several, of different kinds.

    `other` is the id in B for `Kind.OTHER_ID`, and for metadata that were compared across two ids.
    """

    id: str
    name: str
    kind: Kind
    reason: str = ""
    other: str = ""
    fields: Fields = field(default_factory=dict)


@dataclass(slots=True)
class Comparison:
    """`images` counts what was compared in A and in B; `same` of these are in both without a finding.

    `findings` are in the order of ids.
    """

    images: tuple[int, int]
    same: int
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class _Kept:
    """An image put away: what finds it again, and the whole of it, packed."""

    id: str
    name: str
    origin: str  # the id that it had where it came from, when a load gave it another
    digests: tuple[Digest, ...]  # what other images may have the same data by; none when there are no data
    chosen: bool
    packed: bytes

    @classmethod
    def of(cls, image: Image, *, chosen: bool) -> _Kept:
        has_data = not (image.absent or image.held.lacking or image.size == 0)
        held = [(digest.algorithm, digest.value) for digest in image.held.digests]
        whole = image.metadata, list(image.members), image.absent, held, image.held.lacking, image.held.unproven
        packed = zlib.compress(json.dumps(whole, default=dict).encode(), 1)
        origin = str(image.metadata.get(SOURCE_ID) or "")
        return cls(image.id, image.name, origin, digests(image) if has_data else (), chosen, packed)

    def image(self) -> Image:
        metadata, members, absent, held, lacking, unproven = json.loads(zlib.decompress(self.packed))
        digests = tuple(Digest(*each) for each in held)
        return Image(metadata, members, absent, Holding(digests, lacking, unproven=unproven))


def compare(
    a: Source,
    b: Source,
    progress: Progress,
    *,
    selection: Selection | None = None,
    ignore: Sequence[str] = (),
    read_data: bool = False,
) -> Comparison:
    """Compare the images that `selection` chooses in A or in B.

    `ignore` are patterns of fields; ``id`` among them accepts the same data under another id. With `read_data` the
    data of images without a common digest are read and hashed, and all data whose stated digest nobody has compared
    them with; `progress` is told of their bytes, and may raise to end it. Raises what concerns more than one image: a
    server, a login or a medium that is gone.
    """
    selection = selection or Selection()
    judge = _Judge(a, b, progress, ignore, read_data=read_data)
    only_a: list[_Kept] = []
    only_b = {image.id: _Kept.of(image, chosen=selection.chooses(image.metadata)) for image in b.images()}
    heirs: defaultdict[str, list[_Kept]] = defaultdict(list)
    for each in filter(attrgetter("origin"), only_b.values()):
        heirs[each.origin].append(each)
        judge.origins_b[each.id] = each.origin
    waiting: list[tuple[_Kept, _Kept]] = []  # references lead to images that may be seen later
    in_both: dict[Digest, _Kept] = {}
    pairs: list[list[Finding]] = []
    for image in a.images():
        chosen = selection.chooses(image.metadata)
        if origin := image.metadata.get(SOURCE_ID):
            judge.origins_a[image.id] = str(origin)
        match = only_b.get(image.id)
        if match is None or _moved(image, match, heirs.get(image.id, ())):
            only_a.append(_Kept.of(image, chosen=chosen))
            continue
        del only_b[match.id]
        for digest in match.digests:
            in_both[digest] = min(in_both.get(digest, match), replace(match, packed=b""), key=_id)
        if chosen or match.chosen:
            there = match.image()
            if references(image.metadata) <= references(there.metadata):
                pairs.append(judge.pair(image, there))
            else:
                waiting.append((_Kept.of(image, chosen=chosen), match))
    pairs += [judge.pair(left.image(), right.image()) for left, right in waiting]
    twins = _twins(sorted(only_a, key=_id), sorted(only_b.values(), key=_id))
    for left, right in twins:
        del only_b[right.id]
        if left.chosen or right.chosen:
            pairs.append(judge.twins(left.image(), right.image()))
    matched = {left.id for left, _ in twins}
    missing = [_missing(each, in_both) for each in only_a if each.chosen and each.id not in matched]
    extra = [Finding(each.id, each.name, Kind.EXTRA) for each in only_b.values() if each.chosen]
    return Comparison(
        (len(pairs) + len(missing), len(pairs) + len(extra)),
        sum(not findings for findings in pairs),
        sorted([*chain(*pairs), *missing, *extra], key=attrgetter("id")),
    )


def _moved(image: Image, there: _Kept, heirs: Iterable[_Kept]) -> bool:
    """Whether a load has given `image` another id, since `there`, which is something else, has this one."""
    known = digests(image)
    if image.absent:
        return bool(there.digests) and not all(heir.digests for heir in heirs)
    return not same_data(known, there.digests) and any(same_data(known, heir.digests) for heir in heirs)


def _missing(kept: _Kept, in_both: Mapping[Digest, _Kept]) -> Finding:
    """An image that only A has. Its data may yet be those of another image, that both have."""
    for digest in kept.digests:
        if digest in in_both and same_data(kept.digests, in_both[digest].digests):
            return Finding(kept.id, kept.name, Kind.OTHER_ID, other=in_both[digest].id)
    return Finding(kept.id, kept.name, Kind.MISSING)


_id, _name = attrgetter("id"), attrgetter("name")


def _any(_kept: _Kept) -> str:
    return ""


def _twins(left: Sequence[_Kept], right: Sequence[_Kept]) -> list[tuple[_Kept, _Kept]]:
    """Pairs of images with the same data, one to one: first those that a load noted to be the same image, then those
    of one name, then any. Where neither has a digest to go by, what a load noted is enough.
    """
    found = _noted(left, right)
    taken = {each.id for pair in found for each in pair[1:]}
    paired = {each.id for each, _ in found}
    left = [each for each in left if each.id not in paired]
    for left_key, right_key in ((_id, attrgetter("origin")), (_name, _name), (_any, _any)):
        waiting: defaultdict[tuple[Digest, str], deque[_Kept]] = defaultdict(deque)
        for each in right:
            for digest in each.digests:
                waiting[digest, right_key(each)].append(each)
        unmatched = []
        for each in left:
            twin = _first_free(each, (waiting.get((digest, left_key(each))) for digest in each.digests), taken)
            if twin is None:
                unmatched.append(each)
            else:
                found.append((each, twin))
                taken.add(twin.id)
        left = unmatched
    return found


def _noted(left: Sequence[_Kept], right: Sequence[_Kept]) -> list[tuple[_Kept, _Kept]]:
    """Pairs of images without data or digests of which a load noted that the right one is the left one."""
    heirs = {each.origin: each for each in reversed(right) if each.origin and not each.digests}
    return [(each, heirs[each.id]) for each in left if not each.digests and each.id in heirs]


def _first_free(kept: _Kept, queues: Iterable[deque[_Kept] | None], taken: set[str]) -> _Kept | None:
    for queue in filter(None, queues):
        while queue and queue[0].id in taken:
            queue.popleft()
        if queue and same_data(kept.digests, queue[0].digests):
            return queue.popleft()
    return None


def _conversion(a: Image, b: Image) -> str:
    """What is on both sides, of an image that one has converted."""
    said = [
        f"{image.metadata.get('disk_format')}, {image.size} bytes in {side}" for side, image in (("A", a), ("B", b))
    ]
    return "; ".join(said)


class _Judge:
    """Finds what differs between an image of A and one of B."""

    def __init__(self, a: Source, b: Source, progress: Progress, ignore: Sequence[str], *, read_data: bool) -> None:
        self._a, self._b = a, b
        self._progress = progress
        self._ignore = ignore
        self._read_data = read_data
        self.origins_a: dict[str, str] = {}
        """The ids that images had before a load gave them others, by these; of B likewise."""
        self.origins_b: dict[str, str] = {}

    def pair(self, a: Image, b: Image) -> list[Finding]:
        """Two images of one id."""
        return self._judged(a, b)

    def twins(self, a: Image, b: Image) -> list[Finding]:
        """Two images that are one under two ids, as far as is known without reading."""
        accepted = any(fnmatchcase("id", pattern) for pattern in self._ignore)
        ids = [] if accepted else [Finding(a.id, a.name, Kind.OTHER_ID, other=b.id)]
        return ids + self._judged(a, b)

    def _judged(self, a: Image, b: Image) -> list[Finding]:
        if is_converted(b.metadata, a) or is_converted(a.metadata, b):
            finding = Finding(a.id, a.name, Kind.CONVERTED, _conversion(a, b), other=b.id if b.id != a.id else "")
            return [finding, *self._metadata(as_converted(a, b.metadata), b)]
        verdict = self._data(a, b)
        other = b.id if b.id != a.id else ""
        data = [Finding(a.id, a.name, *verdict, other=other)] if verdict else []
        return data + self._metadata(a, b)

    def _metadata(self, a: Image, b: Image) -> list[Finding]:
        if references(b.metadata):
            b = replace(b, metadata=followed(b.metadata, a.metadata, self._is_same))
        fields = field_differences(a, b, self._ignore)
        other = b.id if b.id != a.id else ""
        return [Finding(a.id, a.name, Kind.METADATA, other=other, fields=fields)] if fields else []

    def _is_same(self, here: str, there: str) -> bool:
        """Whether the image `here` in A is `there` in B under another id, as a load has noted."""
        return not {here, self.origins_a.get(here, here)}.isdisjoint({there, self.origins_b.get(there, there)})

    def _data(self, a: Image, b: Image) -> tuple[Kind, str] | None:
        if reason := missing_data(a, b):
            return Kind.DATA_MISSING, reason
        if not (self._read_data and (a.held.unproven or b.held.unproven)):
            if reason := other_data(a, b):
                return Kind.OTHER_DATA, reason
            if a.absent or a.size == b.size == 0 or same_data(digests(a), digests(b)):
                return None
        if self._read_data:
            try:
                return self._read(a, b)
            except (ServerError, FormatError, ImageFileError) as error:
                if isinstance(error, ConnectError) or (isinstance(error, AccessError) and error.status == 401):
                    raise
                return Kind.UNREADABLE, str(error)
        stated = [", ".join(digest.algorithm for digest in digests(image)) or "no digest" for image in (a, b)]
        return Kind.NO_DIGEST, f"A has {stated[0]}, B has {stated[1]}"

    def _read(self, a: Image, b: Image) -> tuple[Kind, str] | None:
        """Compare by a digest that one side has of its data, or by one that neither has."""
        stated = [
            {
                each.algorithm: each
                for each in (image.held.digests if image.held.unproven else digests(image))
                if computable(each.algorithm)
            }
            for image in (a, b)
        ]
        algorithm = next(chain(stated[1], stated[0]), _FALLBACK)
        here, there = (
            known.get(algorithm) or self._digest(source, image, algorithm)
            for known, source, image in zip(stated, (self._a, self._b), (a, b), strict=True)
        )
        return (Kind.OTHER_DATA, f"{here} in A, {there.value} in B") if here != there else None

    def _digest(self, source: Source, image: Image, algorithm: str) -> Digest:
        with StreamHash([algorithm]) as hashes:
            for piece in source.read(image):
                hashes.update(piece)
                self._progress.advance(image, len(piece))
            return Digest(algorithm, hashes.hexdigests()[algorithm])
