"""Whether two Glances hold the same, asked of their APIs without any help from the program that is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.cloud.glance import GlanceClient

# What a server says of itself or of its own doing, and nobody can set.
OWN = frozenset({"created_at", "updated_at", "stores", "direct_url", "locations"})
DATA = frozenset({"status", "size", "os_hash_algo", "os_hash_value", "checksum"})


@dataclass(frozen=True)
class Row:
    """One image, and what differs between the two Glances in its data and in its metadata and members."""

    image: dict[str, Any]
    data: tuple[str, ...]
    metadata: tuple[str, ...]

    @property
    def same(self) -> bool:
        return not self.data and not self.metadata


def compare(first: GlanceClient, second: GlanceClient) -> list[Row]:
    """Every image of either, those of the first in the order they were made in."""
    here, there = first.images(), second.images()
    rows = []
    for image_id in [*here, *(there.keys() - here.keys())]:
        if image_id not in there:
            rows.append(Row(here[image_id], ("is missing",), ()))
        elif image_id not in here:
            rows.append(Row(there[image_id], ("was not there before",), ()))
        else:
            one, other = here[image_id], there[image_id]
            keys = sorted((one.keys() | other.keys()) - OWN)
            data = [_difference(key, one, other) for key in keys if key in DATA]
            metadata = [_difference(key, one, other) for key in keys if key not in DATA]
            members = [{"members": _members(client, image_id)} for client in (first, second)]
            metadata.append(_difference("members", *members))
            rows.append(Row(one, tuple(filter(None, data)), tuple(filter(None, metadata))))
    return rows


def render(rows: list[Row]) -> str:
    """A table for a terminal, with every difference below its image."""
    lines = [f"{'image':<36}  {'status':<7}  {'bytes':>13}  {'data':<9}  {'metadata':<9}  name"]
    for row in rows:
        image = row.image
        size = "-" if image["size"] is None else f"{image['size']:,}"
        data, metadata = ("DIFFERENT" if found else "same" for found in (row.data, row.metadata))
        lines.append(
            f"{image['id']}  {image['status']:<7}  {size:>13}  {data:<9}  {metadata:<9}  {image['name'] or ''}"
        )
        lines += [f"    {difference}" for difference in (*row.data, *row.metadata)]
    return "\n".join(lines)


def _difference(key: str, here: dict[str, Any], there: dict[str, Any]) -> str:
    """What differs in one field, "" if nothing does; a field that is absent is not one that is null."""
    one, other = (repr(_settled(key, image[key])) if key in image else "nothing" for image in (here, there))
    return "" if one == other else f"{key}: {one} became {other}"


def _settled(key: str, value: Any) -> Any:
    # Tags are a set; servers list them in any order.
    return sorted(value) if key == "tags" and isinstance(value, list) else value


def _members(client: GlanceClient, image_id: str) -> list[tuple[str, str]]:
    if client.show(image_id)["visibility"] != "shared":
        return []
    return sorted((member["member_id"], member["status"]) for member in client.members(image_id))
