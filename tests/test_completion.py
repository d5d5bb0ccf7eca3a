"""What a shell completes, and the manual page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glancearchive.cli import cli
from tests.command import environ, run

ASK = """
complete() { :; }
compopt() { echo "$2"; }
source ./script
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_glancearchive_completion glancearchive
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    clouds = {name: {"auth": {"auth_url": "http://127.0.0.1:1"}} for name in ("mycloud", "mytest", "other")}
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": clouds}))
    return tmp_path


def completed(home: Path, *words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    (home / "script").write_text(run("completion", "bash").text)
    program = home / "bin" / "glancearchive"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom glancearchive.cli import main\nmain()\n")
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    env = environ({"PATH": path, "OS_CLIENT_CONFIG_FILE": str(home / "clouds.yaml")})
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", "glancearchive", *words],
        env=env,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("",), sorted(cli.commands)),
        (("ver",), ["verify"]),
        (("dump", "--le"), ["--level"]),
        (("load", "--log"), ["--log-file"]),
        (("dump", "--level", ""), ["fast", "default", "small", "smallest"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        # Files are bash's own matter.
        (("load", "my"), ["default", "mycloud", "mytest"]),
        (("dump", "oth"), ["default", "other"]),
        (("compare", "mycloud", "x"), ["default"]),
        (("verify", ""), ["default"]),
        (("dump", "mycloud", "x.gla", "--log-file", ""), ["default"]),
    ],
)
def test_what_bash_completes(home: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert sorted(completed(home, *words)) == sorted(offered)
    assert sorted(path.name for path in home.iterdir()) == ["bin", "clouds.yaml", "script"]  # nothing was begun


def test_a_configuration_that_cannot_be_read_completes_nothing(home: Path) -> None:
    (home / "clouds.yaml").write_text("{ this: [is no")
    assert completed(home, "load", "my") == ["default"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_such_as_their_shell_takes(shell: str) -> None:
    done = run("completion", shell)
    assert (done.code, done.stderr) == (0, "")
    assert "_GLANCEARCHIVE_COMPLETE" in done.text
    if shutil.which(shell) is not None:  # what is there is tried
        subprocess.run([shell, "-n"], input=done.text, text=True, check=True)


def test_a_shell_that_is_not_known() -> None:
    assert run("completion", "csh").code == 2


@pytest.mark.parametrize("name", sorted(set(cli.commands) - {"completion", "manual"}))
def test_every_command_has_the_options_of_logging(name: str) -> None:
    assert {"-v", "--verbose", "--log-file"} <= {form for option in cli.commands[name].params for form in option.opts}


# The manual page.


@pytest.fixture(scope="module")
def page() -> str:
    done = run("manual")
    assert (done.code, done.stderr) == (0, "")
    return done.text


def rendered(page: str, *options: str) -> str:
    if shutil.which("groff") is None:
        pytest.skip("there is no groff here")
    program = ["groff", "-man", "-Tascii", "-P-cbou", "-rLL=200n", "-ww", *options]
    done = subprocess.run(program, input=page, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_the_page_has_all_there_is(page: str) -> None:
    text = " ".join(rendered(page).split())
    for name, command in cli.commands.items():
        assert f"glancearchive {name} [OPTIONS]" in text
        for option in command.params:
            assert all(form in text for form in option.opts if form.startswith("-"))
            help_text = getattr(option, "help", None)
            assert help_text is None or " ".join(re.sub("…", "...", help_text).split()) in text
    for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"):
        assert f" {title} " in text


def test_examples_keep_their_lines(page: str) -> None:
    lines = [line.strip() for line in rendered(page).splitlines()]
    for command in cli.commands.values():
        examples = [line.strip() for line in (command.help or "").splitlines() if line.strip().startswith("glancearch")]
        assert examples
        assert [line for line in examples if line not in lines] == []


def test_nothing_in_a_text_is_taken_for_a_request(page: str) -> None:
    """A line that begins with a dot or a quote would vanish, or worse."""
    requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests <= {".TH", ".SH", ".SS", ".PP", ".RS", ".RE", ".nf", ".fi", ".TP", ".br", ".BR"}
