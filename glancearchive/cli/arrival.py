"""How images shall be at the target: the options that ``load``, ``livecopy`` and ``plan`` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glancearchive.cli.output import note
from glancearchive.endpoints.mapping import Changes, Mapped, owner_pairs, read_changes
from glancearchive.errors import UsageError
from glancearchive.image import Source

if TYPE_CHECKING:  # OpenStack's libraries take long to import
    from glancearchive.endpoints.glance_api import GlanceApi
    from glancearchive.endpoints.ids import Ids
    from glancearchive.operations.plan import Outlook

_OPTIONS = (
    click.option(
        "--update-metadata", is_flag=True, help="Bring the metadata of images that are there already into line."
    ),
    click.option(
        "--id-policy",
        type=click.Choice(["keep", "new", "map"]),
        default="keep",
        show_default=True,
        help="Ids that cannot be had there: report them, use new ones; or take ids from --id-map.",
    ),
    click.option("--id-map", type=click.Path(path_type=Path), help="A JSON object of new ids (or null) by old ones."),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Give every image this property."),
    click.option("--unset", multiple=True, metavar="KEY", help="Leave this property out."),
    click.option(
        "--map",
        "maps",
        type=(click.Choice(["owner"]), str),
        multiple=True,
        metavar="owner OLD=NEW",
        help="Give what belongs to project OLD to project NEW: ids, or names.",
    ),
    click.option("--store", default="", metavar="NAME", help="Put the data into this store of the Glance."),
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the options say."""

    update_metadata: bool
    ids: Ids
    changes: Changes
    owners: dict[str, str]
    store: str

    def options(self, api: GlanceApi) -> dict[str, Any]:
        """What `load` and `plan_load` have in common for the Glance behind `api`. Raises UsageError for the store."""
        from glancearchive.endpoints.glance_stores import require_store

        if self.store:
            require_store(api, self.store)
        return {"update_metadata": self.update_metadata, "ids": self.ids}

    def mapped(self, source: Source, api: GlanceApi, origin: object = None) -> Source:
        """`source` as it shall be there. Names of old projects are those of the Keystone of `origin`, if it has one."""
        from glancearchive.endpoints.glance_source import GlanceSource
        from glancearchive.endpoints.keystone import Projects, project_map

        changes = self.changes
        if self.owners:
            here = Projects(origin.cloud) if isinstance(origin, GlanceSource) else None
            owners = project_map(self.owners, here, Projects(api.cloud))
            changes = Changes(changes.fields, changes.removed, owners)
        return Mapped(source, changes)


def arrival_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options, given to the command as `wishes`. Whatever makes no sense by itself is found out here."""

    @wraps(command)
    def wishing(
        *arguments: Any,
        update_metadata: bool,
        id_policy: str,
        id_map: Path | None,
        settings: tuple[str, ...],
        unset: tuple[str, ...],
        maps: tuple[tuple[str, str], ...],
        store: str,
        **options: Any,
    ) -> int:
        changes = read_changes(settings, unset)
        owners = owner_pairs(text for _, text in maps)
        from glancearchive.endpoints.ids import IdPolicy, Ids
        from glancearchive.operations.id_map import read_id_map

        if (id_policy == IdPolicy.MAP) != (id_map is not None):
            raise UsageError("--id-policy map and --id-map FILE go together")
        ids = Ids(IdPolicy(id_policy), read_id_map(id_map) if id_map else None)
        return command(*arguments, wishes=Wishes(update_metadata, ids, changes, owners, store), **options)

    result: Callable[..., int] = wishing
    for option in reversed(_OPTIONS):
        result = option(result)
    return result


id_map_out_option = click.option(
    "--id-map-out", type=click.Path(path_type=Path), help="Write the ids there by old ones to this file."
)


def tell_outlook(outlook: Outlook, rate: int | None = None) -> list[str]:
    """Say on stderr what stands in the way of a load as a whole, and what is not known; the former."""
    findings = outlook.findings(rate)
    for line in (*findings, *outlook.unknown()):
        note(f"glancearchive: {line}")
    return findings
