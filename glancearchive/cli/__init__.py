"""The command line: parses, calls one operation, renders its result, sets the exit code.

Exit codes: 0 all done and well; 1 done, but with findings; 2 wrong usage; 3 could not start or go on; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from glancearchive.cli.commands import Commands
from glancearchive.cli.interruption import heed_signals
from glancearchive.cli.logs import log_end, start_logging
from glancearchive.cli.output import SAID, note
from glancearchive.cli.stdout import whole
from glancearchive.errors import GlanceArchiveError
from glancearchive.version import __version__


class _Program(click.Group):
    """click ends the line in which a terminal shows ^C; where nothing shows one, that is an empty line too many."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if sys.stderr.isatty():
                raise
            raise click.exceptions.Abort from None


@click.group(
    cls=_Program,
    commands=Commands(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="glancearchive")
def cli() -> None:
    """Carry OpenStack Glance images across a gap: dump, verify, load.

    SERVER is host:port, a URL, the name of a cloud in clouds.yaml, or "envvars" for the OS_* variables.
    ARCHIVE is the path of an archive, usually NAME.gla. Other places are either of the two, a directory that
    glance-replicator dumped, or image files.
    """


def main() -> NoReturn:
    """The program. Errors that a user, a server or a medium can cause end in one line and an exit code."""
    # A stream is None when the shell closed it; what was put in its place is not for writing.
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115
    sys.stdout = whole(sys.stdout, 1)
    sys.stderr = whole(sys.stderr, 2) if sys.stderr else Path(os.devnull).open("w")  # noqa: SIM115
    start_logging()
    heed_signals()
    code: object
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = _fail("interrupted", 130)
    except KeyboardInterrupt:
        code = _fail("interrupted", 130)
    except click.UsageError as error:
        code = 2
        with contextlib.suppress(OSError):
            error.show()
            if error.ctx is None:  # then click says nothing of help
                click.echo(f"Try '{_command()} --help' for help.", err=True)
    except click.ClickException as error:
        code = _fail(error.format_message(), 2)
    except GlanceArchiveError as error:
        code = _fail(str(error), error.exit_code)
    except OSError as error:
        # What has no name is stdout. When its reader has gone, click ends the program with 1, and no words.
        where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "standard output"
        code = _fail(f"{where}: {error.strerror or error}", 3)
    except Exception:
        SAID.info("an error of this program", exc_info=True)
        raise
    try:
        sys.stdout.flush()
    except OSError:
        # It was reported when it first failed. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or 3
    log_end(code)
    # Not by sys.exit(): Python would take itself apart, which takes longer than some commands, and first wait for what
    # the threads of a transfer that ended early wait for. Nothing here is left to be done by it.
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def _command() -> str:
    """The command that was given, as far as it is one."""
    given = next(iter(sys.argv[1:]), "")
    return f"glancearchive {given}" if given in cli.commands else "glancearchive"


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        note(f"glancearchive: error: {message}", "red")
    return code
