"""The manual page, made from the commands' own help, in the language of man(7)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from glancearchive.version import __version__

_EXIT_STATUS = (
    ("0", "All done and well."),
    ("1", "Done, but there are findings: look at the output."),
    ("2", "Wrong usage: nothing was done."),
    ("3", "Could not start, or could not go on."),
    ("130", "Interrupted by SIGINT, SIGTERM or SIGHUP. The same command goes on from there."),
)
_ENVIRONMENT = (
    ("OS_*", "Where SERVER is envvars: the cloud, as an openrc file sets it."),
    ("OS_CLIENT_CONFIG_FILE", "The clouds.yaml to use, where it is not the usual one."),
    ("NO_COLOR", "When it is set and not empty, nothing is coloured."),
    ("TERM", "When it is dumb, progress is told in lines."),
)
_FILES = (
    ("clouds.yaml", "Clouds by name: in the working directory, in ~/.config/openstack or in /etc/openstack."),
    ("ARCHIVE.part", "An archive that is not finished. The same dump goes on with it."),
    ("NAME.001.gla, NAME.002.gla, ...", "An archive in volumes: any one of them, or their directory, stands for all."),
    ("NAME.par2, NAME.vol*.par2", "Recovery data beside an archive."),
    ("NAME.glacat", "The isolated catalog of an archive, for dump --base."),
    ("~/.local/state/glancearchive/loads", "What loads have verified. For speed only; may be deleted."),
)


def manual_page(program: click.Command, name: str) -> str:
    """The page of `program`, which is called `name`, with a section for each of its commands."""
    root = click.Context(program, info_name=name, **program.context_settings)
    lines = [f'.TH "{name.upper()}" 1 "" "{name} {__version__}"', ".SH NAME"]
    lines += [_text(f"{name} - carry OpenStack Glance images across a gap"), ".SH SYNOPSIS"]
    commands = program.commands if isinstance(program, click.Group) else {}
    contexts = [click.Context(command, root, info_name=each) for each, command in commands.items()]
    for context in contexts:
        lines += [*_usage(context), ".br"]
    lines += [".SH DESCRIPTION", *_prose(program.help or ""), ".SH COMMANDS"]
    for context in contexts:
        lines += [f'.SS "{_escaped(context.info_name or "")}"', *_usage(context)]
        lines += _prose(context.command.help or "")
        for parameter in context.command.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and record[1]:
                lines += _item(*record)
    for title, items in (("EXIT STATUS", _EXIT_STATUS), ("ENVIRONMENT", _ENVIRONMENT), ("FILES", _FILES)):
        lines.append(f'.SH "{title}"')
        for term, text in items:
            lines += _item(term, text)
    lines += ['.SH "SEE ALSO"', ".BR openstack (1),", ".BR par2 (1),", ".BR zstd (1)"]
    return "\n".join(lines) + "\n"


def _usage(context: click.Context) -> Iterator[str]:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    yield f"\\fB{_escaped(context.command_path)}\\fR {_escaped(pieces)}"


def _item(term: str, text: str) -> Iterator[str]:
    yield from (".TP", f"\\fB{_escaped(term)}\\fR", _text(text))


def _prose(text: str) -> Iterator[str]:
    """The paragraphs of a help text; those that begin with a backspace keep their lines."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        if lines[:1] == ["\b"]:
            yield from (".PP", ".RS 4", ".nf", *map(_text, lines[1:]), ".fi", ".RE")
        else:
            yield from (".PP", *map(_text, lines))


def _text(line: str) -> str:
    """A line of text, which must not begin like a request."""
    return f"\\&{_escaped(line)}"


def _escaped(text: str) -> str:
    for char, meant in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")):
        text = text.replace(char, meant)
    return text.replace("…", "...")
