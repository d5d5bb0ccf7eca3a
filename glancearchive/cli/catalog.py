"""``catalog``: what an archive holds, without its data, for increments of it; and ``--base``, which takes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

import glancearchive
from glancearchive.cli.output import emit_json, size_text, tell
from glancearchive.cli.reading import archive_argument, json_option, tell_faults, with_option
from glancearchive.cli.select import dry_run_option
from glancearchive.errors import UsageError

if TYPE_CHECKING:
    from glancearchive.format.base import Base


@click.command()
@archive_argument
@click.argument("catalog", type=click.Path(path_type=Path, readable=False))
@with_option
@dry_run_option
@json_option
def catalog(archive: Path, catalog: Path, others: tuple[Path, ...], dry_run: bool, as_json: bool) -> int:
    """Write the isolated catalog of ARCHIVE to the file CATALOG: what it holds, without any data.

    It is small, and stays when the medium leaves: dump --base takes it to store only what ARCHIVE does not have.

    \b
    glancearchive catalog region.gla region.glacat
    glancearchive catalog monday.gla monday.glacat --with region.gla
    """  # noqa: D301  # click wants the backspace itself
    from glancearchive.format.isolated import SUFFIX, measure_isolated, write_isolated

    if catalog.suffix != SUFFIX:
        raise UsageError(f"{catalog}: an isolated catalog is called NAME{SUFFIX}")
    with glancearchive.open(archive, *others) as opened:
        code = tell_faults(opened)
        size = (measure_isolated if dry_run else write_isolated)(opened, catalog)
        assert opened.root_digest is not None
        document = {
            "archive": str(archive),
            "catalog": str(catalog),
            "ok": not code,
            "dry_run": dry_run,
            "archive_id": opened.archive_id.hex(),
            "root_digest": opened.root_digest.hex(),
            "size": size,
            "faults": [str(fault) for fault in opened.faults],
        }
    if as_json:
        emit_json(document)
    else:
        tell(f"{'dry run: ' if dry_run else ''}{catalog}: {size_text(size)}, root digest {document['root_digest']}")
    return code


@contextmanager
def opened_base(paths: Sequence[Path]) -> Iterator[Base | None]:
    """What ``--base`` names, as long as the context lasts; None when it names nothing."""
    if not paths:
        yield None
        return
    from glancearchive.format.base import open_base
    from glancearchive.format.volumes import find_volumes

    with open_base(find_volumes(*paths)) as base:
        yield base
