"""What there is already of an archive that is to be written, and what stands in its way: looks, and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glancearchive.format.archiveheader import ArchiveHeader
from glancearchive.format.blockindex import BlockIndex
from glancearchive.format.catalog import Entry
from glancearchive.format.places import Places, Split
from glancearchive.format.recordfile import check_creatable, reopen
from glancearchive.format.resume import check_absent, check_header, check_limit, check_unfinished, find_state
from glancearchive.format.state import Relation, new_state
from glancearchive.format.volumes import is_part, part_of


@dataclass(frozen=True, slots=True)
class Begun:
    """An archive as a writer would find it, or begin it.

    `volumes` are those that it has, and the one that would be begun; `recorded` is what is known of its images, by id.
    """

    header: ArchiveHeader
    volumes: list[Path]
    recorded: Mapping[str, Entry]

    @property
    def part_path(self) -> Path:
        """The volume that would be under way."""
        return part_of(self.volumes[-1])


def look_ahead(
    path: Path, split: Split | None, *, source: str, level: str, block_size: int, relation: Relation
) -> Begun:
    """What an `ArchiveWriter` for `path` would begin with. Raises as that does, as far as nothing was written by then.

    Whether a volume that was begun can still be ended within another size is found by the writer alone.
    """
    places = Places(path, split)
    check_absent(places)
    paths = dict(places.paths)
    last = max(paths, default=0)
    if last and is_part(paths[last]):
        reopen(paths[last]).close()  # raises where another process writes it, and where nobody can
    state = find_state(paths, BlockIndex()) if last else None
    if state is None:
        state = new_state(source, level, block_size, BlockIndex(), relation)
    check_header(path, state.header, block_size, relation)
    least = check_limit(places, state.header)
    check_unfinished(paths, state)
    number = state.volume
    if state.offset == 0:
        number = 1
    elif state.end is not None and not state.end.final:
        number += 1
    if number not in paths:
        check_creatable(part_of(places.choose(number, least)))
    recorded = {entry.begin.id: entry for entry in state.catalog.current() if entry.begin is not None}
    return Begun(state.header, [places.of(one) for one in range(1, number + 1)], recorded)
