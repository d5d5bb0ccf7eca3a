"""The documents against the program: commands, options, words, JSON, examples that run, links that lead somewhere."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shlex
import shutil
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import glancearchive
from glancearchive import errors
from glancearchive.cli import cli
from glancearchive.endpoints.policy import TABLE
from glancearchive.format.imageparts import COMPLETE
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Action
from glancearchive.operations.compare import Kind
from glancearchive.operations.select import KINDS, STATUSES, VISIBILITIES
from glancearchive.operations.size import Basis
from tests.cloud.images import pattern
from tests.command import ROOT, Done, run
from tests.fake_glance import FakeGlance
from tests.format.samples import BLOCK, add
from tests.markdown import HEADING, fenced, indented, lines_outside_code, section, table, words
from tests.scripted_http import Reply

CLI = ROOT / "docs" / "cli.md"
LIBRARY = ROOT / "docs" / "library.md"
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))
DOCUMENTS = (*PAGES, ROOT / "spec" / "SPEC.md")
WITH_PYTHON = [README, LIBRARY]
WITH_JSON = [name for name, command in cli.commands.items() if any("--json" in each.opts for each in command.params)]
DATA = pattern(600_000)
# Objects whose keys come from elsewhere.
FREE = {"metadata", "hashes", "members", "fields"}


# Commands and options.


def test_the_commands_are_those_of_the_program() -> None:
    titles = re.findall(r"^## `(\w+)`$", CLI.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(titles) == sorted(cli.commands)
    assert sorted(words(table(CLI.read_text(encoding="utf-8"), "command"))) == sorted(cli.commands)


@pytest.mark.parametrize("name", cli.commands)
def test_the_options_are_those_of_the_program(name: str) -> None:
    command = cli.commands[name]
    text = section(CLI, f"`{name}`")
    rows = table(text, "option")
    context = click.Context(command, info_name=name, help_option_names=["-h", "--help"])
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    assert sorted(words(rows)) == sorted(form for option in options for form in (*option.opts, *option.secondary_opts))
    for option in options:
        (row,) = [row for row in rows if set(option.opts) & set(words([row]))]
        default = "" if option.is_flag or option.default is None or "help" in option.opts[-1] else option.default
        if len(words([row])) == len(option.opts):  # a row of its own
            assert row[1] == (f"`{default}`" if isinstance(default, str | int) and default != "" else ""), row
        if isinstance(option.type, click.Choice):
            assert set(option.type.choices) <= set(re.findall("`([^`]+)`", " ".join(row[1:])))
        if isinstance(option.type, click.IntRange) and option.type.max is not None:
            assert f"{option.type.min} to {option.type.max}" in row[2]
    assert fenced(text, "text") == [" ".join(["glancearchive", name, *command.collect_usage_pieces(context)]) + "\n"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_option_is_named_that_does_not_exist(path: Path) -> None:
    """In prose; `zstd -t` and the like have one dash."""
    options = [option for command in cli.commands.values() for option in command.params]
    known = {form for option in options for form in (*option.opts, *option.secondary_opts)}
    named = re.findall(r"`[^`]*?(?<![\w-])(--[a-z][\w-]*)", "\n".join(lines_outside_code(path.read_text("utf-8"))))
    assert set(named) <= known | {"--help", "--version"}


def command_lines() -> Iterator[tuple[str, str]]:
    """Each command line in an example, with the document it stands in."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for block in [*fenced(text, "(?:sh|console)"), *indented(text)]:
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("glancearchive "):
                    yield path.name, line
    for name, command in cli.commands.items():
        for line in inspect.cleandoc(command.help or "").splitlines():
            if line.startswith("glancearchive "):
                yield name, line


@pytest.mark.parametrize(("where", "line"), list(command_lines()))
def test_command_lines_are_understood(where: str, line: str) -> None:
    _, name, *arguments = shlex.split(re.split("[|>]", line)[0], comments=True)
    cli.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("name", cli.commands)
def test_each_command_has_examples(name: str) -> None:
    """That they are understood is seen above."""
    assert {line.split()[1] for where, line in command_lines() if where == name} == {name}


def test_every_command_is_shown_at_work() -> None:
    """In the README, the tutorial or a how-to."""
    assert {line.split()[1] for where, line in command_lines() if where.endswith(".md")} == set(cli.commands)


# Words.


def test_the_actions_are_those_of_the_program() -> None:
    assert sorted(words(table(section(CLI, "Actions"), "`action`"))) == sorted(Action)


def test_the_kinds_and_bases_are_those_of_the_program() -> None:
    assert words(table(section(CLI, "Kinds"), "`kind`")) == list(Kind)
    assert words(table(section(CLI, "Bases"), "`basis`")) == list(Basis)


def test_what_images_are_chosen_by_is_that_of_the_program() -> None:
    rows = table(section(CLI, "Choosing images"), "option")
    assert words(rows) == [f"--{name}" for name in (*KINDS, "exclude")]
    explained = {row[0].strip("`"): set(re.findall("`([^`]+)`", row[1])) for row in rows}
    assert explained["--visibility"] == set(VISIBILITIES)
    assert explained["--status"] == set(STATUSES)


def test_the_layers_are_those_of_the_program() -> None:
    def layers(error: type[errors.FormatError]) -> Iterator[str]:
        yield error.layer
        for each in error.__subclasses__():
            yield from layers(each)

    assert sorted(words(table(section(CLI, "Layers"), "`layer`"))) == sorted(set(layers(errors.FormatError)))


def test_the_policy_is_that_of_the_program() -> None:
    rows = table(section(CLI, "What becomes of the metadata"), "field")
    assert rows == [[f"`{rule.pattern}`", rule.treatment.value, rule.why] for rule in TABLE]


def test_the_depths_are_those_of_the_program() -> None:
    assert words(table(section(LIBRARY, "Verify"), "`Depth`")) == [depth.name for depth in glancearchive.Depth]
    (row,) = [row for row in table(section(CLI, "`verify`"), "key") if row[0] == "`depth`"]
    assert re.findall("`(.*?)`", row[1]) == [depth.name.lower() for depth in glancearchive.Depth]


# JSON.


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples read: `region.gla` with the image debian-12 and one without data."""
    path = tmp_path_factory.mktemp("docs") / "region.gla"
    writer = ArchiveWriter(path, source="glance https://glance.example.org")
    add(writer, str(uuid.uuid4()), DATA + bytes(20 * BLOCK), name="debian-12", disk_format="raw")
    queued = str(uuid.uuid4())
    writer.begin(queued, {"id": queued, "name": "queued", "status": "queued"}).give_up("queued", "no-data")
    writer.finish()
    return path


@pytest.fixture(scope="module")
def emitted(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command with ``--json`` writes, with findings where it can have some."""
    directory = tmp_path_factory.mktemp("emitted")
    damaged = directory / "damaged.gla"
    with glancearchive.open(archive) as opened:
        frame = next(iter(opened.catalog.frames))
    data = bytearray(archive.read_bytes())
    data[frame.offset + 200] ^= 1
    shutil.copy(archive, damaged)
    protected = run("protect", damaged, "--json")
    damaged.write_bytes(data)
    with FakeGlance(Reply(403, b"")) as glance:
        dumped = run("dump", glance.url, directory / "a.gla", "--json")
        glance.on("GET", "/v2/images", Reply.json({"images": [glance.good, glance.bad | {"name": "another name"}]}))
        loaded = run("load", glance.url, directory / "a.gla", "--json")
        planned = run("plan", directory / "a.gla", glance.url, "--json")
        copied = run("livecopy", directory / "a.gla", glance.url, "--json")
    done: dict[str, Done] = {
        "dump": dumped,
        "load": loaded,
        "plan": planned,
        "livecopy": copied,
        "compare": run("compare", archive, directory / "a.gla", "--json"),
        "size": run("size", archive, "--medium", "64G", "--json"),
        "verify": run("verify", damaged, "--json"),
        "protect": protected,
        "repair": run("repair", damaged, "-o", directory / "repaired", "--json"),
        "catalog": run("catalog", archive, directory / "a.glacat", "--json"),
        "merge": run("merge", directory / "merged.gla", archive, "--json"),
        "reslice": run("reslice", archive, directory / "resliced.gla", "--json"),
        "list": run("list", archive, "--json"),
        "show": run("show", archive, "debian-12", "--json"),
        "salvage": run("salvage", archive, directory / "salvaged.gla", "--json"),
        "extract": run("extract", archive, "-o", f"{directory}/out/", "--json"),
    }
    codes = {name: one.code for name, one in done.items()}
    findings = {"dump", "plan", "load", "livecopy", "compare", "verify"}
    assert codes == {name: int(name in findings) for name in done}
    return {name: one.json for name, one in done.items()}


def shape(value: Any) -> Any:
    """The keys of `value` in their order, at all depths. The objects of a list have to be alike."""
    if isinstance(value, dict):
        return [(key, None if key in FREE else shape(each)) for key, each in value.items()]
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        shapes = [shape(each) for each in value]
        assert all(each == shapes[0] for each in shapes)
        return shapes[:1]
    return None


def example(name: str) -> Any:
    (text,) = fenced(section(CLI, f"`{name}`"), "json")
    return json.loads(text)


@pytest.mark.parametrize("name", WITH_JSON)
def test_json_examples_have_the_keys_that_the_program_writes(name: str, emitted: dict[str, Any]) -> None:
    assert shape(example(name)) == shape(emitted[name])


@pytest.mark.parametrize("name", WITH_JSON)
def test_json_keys_are_explained(name: str, emitted: dict[str, Any]) -> None:
    text = section(CLI, f"`{name}`")
    if name in ("load", "livecopy", "plan", "reslice", "salvage"):
        text += section(CLI, "`dump`")
    if name == "show":
        text += section(CLI, "`list`")

    def keys(value: Any) -> Iterator[str]:
        for key, each in value.items():
            yield key
            for one in each if isinstance(each, list) else ():
                yield from keys(one) if isinstance(one, dict) and key not in FREE else ()

    missing = {key for key in keys(emitted[name]) if f"`{key}`" not in text}
    assert missing == set()


def test_words_in_the_json_are_in_the_tables(emitted: dict[str, Any]) -> None:
    status = {
        "verify": words(table(section(CLI, "Status in verify"), "`status`")),
        "list": words(table(section(CLI, "Status in list and show"), "`status`")),
        "extract": words(table(section(CLI, "Status in extract"), "`status`")),
    }
    for name, known in status.items():
        for document in (emitted[name], example(name)):
            assert {image["status"] for image in document["images"]} <= set(known), name
    assert COMPLETE in status["list"]
    assert set(status["list"]) - {COMPLETE} == set(status["verify"]) - {"valid", "damaged", "held"}
    for name in ("dump", "plan", "load", "livecopy"):
        assert {image["action"] for image in example(name)["images"]} <= set(Action)


# Examples in Python.


def python_examples() -> Iterator[tuple[str, str]]:
    for path in WITH_PYTHON:
        text = path.read_text(encoding="utf-8")
        blocks = [*fenced(text, "python"), *(one for one in indented(text) if re.match("(import|from|with) ", one))]
        yield from ((f"{path.name} {number}", block) for number, block in enumerate(blocks, 1))
    documented = glancearchive.__doc__ or ""
    yield "glancearchive", textwrap.dedent(re.findall(r"::\n\n((?:(?: +.*)?\n)+)", documented)[0])


EXAMPLES = list(python_examples())


@pytest.mark.parametrize(("where", "code"), EXAMPLES, ids=[where for where, _ in EXAMPLES])
def test_python_examples_run(where: str, code: str, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archive.parent)
    before = hashlib.sha256(archive.read_bytes()).digest()
    exec(compile(code, where, "exec"), {"__name__": "example", "glancearchive": glancearchive})
    assert hashlib.sha256(archive.read_bytes()).digest() == before


def test_there_are_python_examples() -> None:
    assert {where.split()[0] for where, _ in EXAMPLES} == {"README.md", "library.md", "glancearchive"}


@pytest.mark.parametrize("name", ["Archive", "ArchivedImage", "Report"])
def test_what_the_library_page_names_exists(name: str, archive: Path) -> None:
    with glancearchive.open(archive) as opened:
        owners = {"Archive": opened, "ArchivedImage": opened.images[0], "Report": glancearchive.verify(opened)}
        if name == "Report":
            rows = table(section(LIBRARY, "Verify"), "`Report`")
        else:
            rows = table(section(LIBRARY, f"`{name}`"), "name")
        for word in words(rows):
            member = getattr(owners[name], word.split("(")[0])
            assert callable(member) == ("(" in word), word


def test_the_library_page_has_all_that_is_exported() -> None:
    text = LIBRARY.read_text(encoding="utf-8")
    assert [name for name in glancearchive.__all__ if name not in text and name != "__version__"] == []


# Links.


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found: set[str] = set()
    for line in lines_outside_code(path.read_text(encoding="utf-8")):
        if head := HEADING.fullmatch(line):
            title = re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", head[2]).lower()
            slug = plain = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
            number = 0
            while slug in found:
                number += 1
                slug = f"{plain}-{number}"
            found.add(slug)
    return found


def links(path: Path) -> Iterator[str]:
    """The relative targets of the links in a document."""
    prose = "\n".join(re.sub(r"`[^`]*`", "", line) for line in lines_outside_code(path.read_text(encoding="utf-8")))
    targets = re.findall(r"\[[^]]*]\(([^)\s]+)[^)]*\)", prose)
    targets += re.findall(r"^\[[^]]+]: *(\S+)", prose, re.MULTILINE)
    return (target for target in targets if not re.match(r"[a-z]+:", target))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    dead = []
    for target in links(path):
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.is_relative_to(ROOT) or not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def test_there_are_links() -> None:
    assert {README.name, CLI.name, LIBRARY.name} <= {path.name for path in DOCUMENTS if list(links(path))}
