"""How images shall be at the target: the options that ``load``, ``livecopy`` and ``plan`` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glancearchive.cli.definitions import (
    brought_definitions,
    definitions_document,
    definitions_sound,
    metadefs_option,
)
from glancearchive.cli.origins import Origin
from glancearchive.cli.outcomes import conclude, told
from glancearchive.cli.output import note
from glancearchive.cli.select import not_found, tell_choice
from glancearchive.cli.tally import Tally
from glancearchive.cli.transfers import prepared
from glancearchive.endpoints.mapping import Changes, Mapped, owner_pairs, read_changes
from glancearchive.errors import GlanceArchiveError, UsageError
from glancearchive.image import Outcome, Source
from glancearchive.operations.select import Selected, Selection

if TYPE_CHECKING:  # OpenStack's libraries take long to import
    from glancearchive.endpoints.glance_api import GlanceApi
    from glancearchive.endpoints.glance_import import ImportMethod
    from glancearchive.endpoints.ids import Ids
    from glancearchive.operations.definitions import Definition
    from glancearchive.operations.outlook import Outlook

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
    metadefs_option,
    click.option(
        "--import-method",
        type=click.Choice(["direct", "glance-direct"]),
        default="direct",
        show_default=True,
        help="Upload the data, or stage them for the Glance to import, and to convert if it does.",
    ),
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the options say."""

    update_metadata: bool
    ids: Ids
    changes: Changes
    owners: dict[str, str]
    store: str
    import_method: str
    metadefs: bool

    def options(self, api: GlanceApi) -> dict[str, Any]:
        """What `load` and `plan_load` have in common for the Glance behind `api`.

        Raises UsageError for a store or an import method that it has not.
        """
        from glancearchive.endpoints.glance_import import require_import
        from glancearchive.endpoints.glance_stores import require_store

        require_import(api, self.method)
        if self.store:
            require_store(api, self.store)
        return {"update_metadata": self.update_metadata, "ids": self.ids, "method": self.method}

    @property
    def method(self) -> ImportMethod:
        from glancearchive.endpoints.glance_import import ImportMethod

        return ImportMethod(self.import_method)

    def mapped(self, source: Source, api: GlanceApi, origin: object = None) -> Source:
        """`source` as it shall be there. Names of old projects are those of the Keystone of `origin`, if it has one."""
        from glancearchive.endpoints.glance_source import GlanceSource
        from glancearchive.endpoints.keystone import Projects, project_map

        changes = self.changes
        if self.owners:
            here = Projects(origin.cloud) if isinstance(origin, GlanceSource) else None
            owners = project_map(self.owners, here, Projects(api.cloud, api.patience))
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
        import_method: str,
        metadefs: bool,
        **options: Any,
    ) -> int:
        changes = read_changes(settings, unset)
        owners = owner_pairs(text for _, text in maps)
        from glancearchive.endpoints.ids import IdPolicy, Ids
        from glancearchive.operations.id_map import read_id_map

        if (id_policy == IdPolicy.MAP) != (id_map is not None):
            raise UsageError("--id-policy map and --id-map FILE go together")
        ids = Ids(IdPolicy(id_policy), read_id_map(id_map) if id_map else None)
        wishes = Wishes(update_metadata, ids, changes, owners, store, import_method, metadefs)
        return command(*arguments, wishes=wishes, **options)

    result: Callable[..., int] = wishing
    for option in reversed(_OPTIONS):
        result = option(result)
    return result


id_map_out_option = click.option(
    "--id-map-out", type=click.Path(path_type=Path), help="Write the ids there by old ones to this file."
)


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of bringing images into a Glance. `outlook` is what stands in the way, where that was only looked for.

    `definitions` are what became of the metadata definitions, None when they cannot be read.
    """

    outcomes: list[Outcome]
    outlook: Outlook | None
    definitions: list[Definition] | None

    def sound(self, selection: Selection, faults: Sequence[str]) -> bool:
        """Whether nothing but the images has to be looked at; says what was not found of what was chosen."""
        return not (tell_choice(selection) or faults) and definitions_sound(self.definitions)

    def conclude(
        self,
        document: dict[str, Any],
        selection: Selection,
        progress: Tally,
        *,
        as_json: bool,
        where: str,
        **more: Any,
    ) -> int:
        """The result of a command, of whose JSON `document` is the beginning and `more` the end; the exit code.

        What stands in the way is one of the ``faults`` of the document.
        """
        if self.outlook:
            document["faults"] += tell_outlook(self.outlook)
        sound = self.sound(selection, document["faults"])
        document |= not_found(selection) | definitions_document(self.definitions) | more
        return conclude(document, self.outcomes, as_json, where, sound=sound, progress=progress)


def brought_images(
    origin: Origin,
    selection: Selection,
    api: GlanceApi,
    wishes: Wishes,
    progress: Tally,
    *,
    jobs: int,
    bwlimit: int | None,
    quiet: bool,
    dry_run: bool,
) -> Brought:
    """Load what `selection` chooses at `origin` into the Glance behind `api`; with `dry_run` only look.

    Metadata definitions are brought first, once it is known that the options make sense.
    """
    from glancearchive.endpoints.archive_source import ArchiveSource
    from glancearchive.endpoints.journal import Journal, state_directory
    from glancearchive.endpoints.policy import is_lasting
    from glancearchive.endpoints.prospects import Prospects
    from glancearchive.operations.load import load
    from glancearchive.operations.outlook import Outlook
    from glancearchive.operations.plan import plan_load

    options: dict[str, Any] = wishes.options(api) | {"progress": progress, "jobs": jobs}
    images = prepared(wishes.mapped(Selected(origin.images, selection), api, origin.source), progress, bwlimit)
    outlook = Outlook(Prospects(api), wishes.method) if dry_run else None
    definitions: list[Definition] | None = []

    def bring_metadefs() -> None:
        nonlocal definitions
        definitions = brought_definitions(
            origin.source, api, wanted=wishes.metadefs, update=wishes.update_metadata, dry_run=dry_run
        )

    options |= {"checked": bring_metadefs}
    if outlook:
        arriving = plan_load(images, api, outlook=outlook, holds=origin.holds, **options)
    else:
        journal = Journal(state_directory(), api.label, origin.archive_id) if origin.archive_id else None
        if journal and isinstance(origin.source, ArchiveSource):
            origin.source.heed(journal)
        arriving = load(images, api, journal=journal, store=wishes.store, **options)
    try:
        outcomes = list(told(arriving, progress, quiet, dry_run=dry_run))
    except (GlanceArchiveError, KeyboardInterrupt) as error:
        if not (dry_run or isinstance(error, UsageError)):
            note("glancearchive: the same command goes on; what is there already is not sent again")
        raise
    differences = (line for outcome in outcomes for line in outcome.differences)
    if not (wishes.update_metadata or all(map(is_lasting, differences))):
        note("glancearchive: --update-metadata brings metadata that differ into line")
    return Brought(outcomes, outlook, definitions)


def tell_outlook(outlook: Outlook, rate: int | None = None) -> list[str]:
    """Say on stderr what stands in the way of a load as a whole, and what is not known; the former."""
    findings = outlook.findings(rate)
    for line in (*findings, *outlook.unknown()):
        note(f"glancearchive: {line}")
    return findings
