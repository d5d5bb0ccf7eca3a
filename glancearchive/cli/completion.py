"""``completion`` and ``manual``: what a shell and a system need besides the program."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from glancearchive.cli.manual import manual_page

_PROGRAM = "glancearchive"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print what SHELL needs to complete commands, options, files and the names of clouds.

    \b
    glancearchive completion bash > ~/.local/share/bash-completion/completions/glancearchive
    glancearchive completion zsh > ~/.zfunc/_glancearchive   # any directory in $fpath
    glancearchive completion fish > ~/.config/fish/completions/glancearchive.fish
    """  # noqa: D301  # click wants the backspace itself
    known = get_completion_class(shell)
    assert known is not None
    click.echo(known(context.find_root().command, {}, _PROGRAM, f"_{_PROGRAM.upper()}_COMPLETE").source())
    return 0


@click.command()
@click.pass_context
def manual(context: click.Context) -> int:
    """Print the manual page of this program, for man.

    \b
    glancearchive manual | man -l -
    glancearchive manual > ~/.local/share/man/man1/glancearchive.1
    """  # noqa: D301  # click wants the backspace itself
    click.echo(manual_page(context.find_root().command, _PROGRAM), nl=False)
    return 0
