"""Where the program's own log goes: warnings to stderr, more of it with ``-v``, all of it to ``--log-file``.

Only what this program says itself is logged in detail: the libraries below it would log headers and bodies, which hold
tokens and the credentials of stores.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import Any

import click

from glancearchive.cli.output import SAID, printable, say
from glancearchive.errors import LocalError, UsageError
from glancearchive.version import __version__

_log = logging.getLogger("glancearchive")
_COLOURS = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)  # by the number of -v
_LOOK = 4096  # bytes at the head of a file that tell whether it is a text


def start_logging() -> None:
    """Log to stderr, warnings and worse."""
    _log.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(_People(logging.WARNING))


def log_options(command: click.Command) -> click.Command:
    """`command` with the options that every command has; it is begun once they have taken effect."""
    run = command.callback
    assert run is not None

    @wraps(run)
    def logged(*arguments: Any, verbose: int, log_file: Path | None, **options: Any) -> Any:
        _say_more(verbose)
        if log_file is not None:
            _refuse_other_files(log_file, options.values())
            _log_to(log_file)
        return run(*arguments, **options)

    command.callback = logged
    command.params += [
        click.Option(["-v", "--verbose"], count=True, help="Say more on stderr; -vv still more."),
        click.Option(
            ["--log-file"],
            type=click.Path(path_type=Path),
            help="Also append everything, with times and all details, to this file.",
        ),
    ]
    return command


def log_end(code: object) -> None:
    """The last line of a log file."""
    SAID.info("ended with exit code %s", code)


def _say_more(verbose: int) -> None:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _People):
            handler.setLevel(_LEVELS[min(verbose, len(_LEVELS) - 1)])


def _log_to(path: Path) -> None:
    """Raises LocalError."""
    try:
        logging.getLogger().addHandler(LogFile(path))
    except OSError as error:
        raise LocalError(f"--log-file {path}: {error.strerror}") from None
    python = sys.version.split()[0]
    SAID.info(
        "glancearchive %s, Python %s on %s: %s",
        __version__,
        python,
        sys.platform,
        " ".join(map(_harmless, sys.argv[1:])),
    )


def _harmless(argument: str) -> str:
    """An argument of the command line; of a URL without what may be a password or a token."""
    return re.sub(r"\?.*", "?***", re.sub(r"//.*@", "//***@", argument)) if "://" in argument else argument


def _refuse_other_files(path: Path, others: Iterable[object]) -> None:
    """Raises UsageError where nobody wants lines of text: in what the command is to read or write, in other files."""
    own = Path(os.path.realpath(path))
    with suppress(OSError):  # told when it is opened
        if own.exists() and not own.is_file():  # a terminal, as /dev/stderr may be
            return
    for other in chain.from_iterable(other if isinstance(other, tuple) else (other,) for other in others):
        # What is no `Path` may be a file, or else the name of an image or a cloud.
        named = isinstance(other, Path) or (isinstance(other, str) and os.path.isfile(other))  # noqa: PTH113  # any text
        if named and str(own) in map(os.path.realpath, (str(other), f"{other}.part")):
            raise UsageError(f"--log-file {path}: the command line names this file for something else, too")
    with suppress(OSError), own.open("rb") as file:
        if b"\0" in file.read(_LOOK):
            raise UsageError(f"--log-file {path}: exists, and is no text; it was not touched")


class _People(logging.Handler):
    """Lines on stderr. What was written there already is left out, and what libraries say of errors that are told."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != SAID.name and not record.name.startswith("keystoneauth"):
            with suppress(OSError):
                say(f"glancearchive: {record.getMessage()}", _COLOURS.get(record.levelno))


class LogFile(logging.FileHandler):
    """One line for each record: the time, how grave it is, the thread, and the message with nothing to act on in it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")

    def format(self, record: logging.LogRecord) -> str:
        # Not when the record was made: another thread may have written a later one meanwhile.
        time = datetime.now().astimezone().isoformat(timespec="milliseconds")
        text = f"{time} {record.levelname:<7} {record.threadName}: {printable(record.getMessage())}"
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
            text += "".join(f"\n    {printable(line)}" for line in trace.splitlines())
        return text

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802  # as logging calls it
        """A full disk must not end what goes elsewhere."""
        error: Any = sys.exc_info()[1]
        logging.getLogger().removeHandler(self)
        say(f"glancearchive: {self.baseFilename}: {error}; nothing more is written to this log", "yellow")
