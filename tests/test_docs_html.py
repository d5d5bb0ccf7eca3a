"""The documents as HTML: built once, without a warning; links lead somewhere, and the references have all there is."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import glancearchive
from glancearchive.cli import cli
from tests.command import ROOT
from tests.markdown import section, table, words


def build(source: Path, target: Path) -> str:
    """Builds the pages below `source` as `make docs` does, and returns what Sphinx complained of."""
    options = ["-W", "--keep-going", "--quiet", "--conf-dir", ROOT / "docs", "--doctree-dir", target / ".doctrees"]
    program = [sys.executable, "-m", "sphinx", *options, source, target]
    done = subprocess.run(list(map(str, program)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == bool(done.stderr), done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("html")
    assert build(ROOT, target) == ""
    return target


class Page(HTMLParser):
    """What a page links to, what it loads, and what can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                (self.links if tag == "a" else self.loads).add(value)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_document_is_a_page(pages: dict[Path, Page], site: Path) -> None:
    documents = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), ROOT / "spec" / "SPEC.md"]
    assert {site / path.relative_to(ROOT).with_suffix(".html") for path in documents} <= set(pages)
    assert site / "index.html" in pages


def test_every_link_in_the_pages_leads_somewhere(pages: dict[Path, Page]) -> None:
    def dead(path: Path, page: Page) -> Iterator[str]:
        for link in page.links | page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or (target in pages and unquote(parts.fragment) not in pages[target].anchors):
                yield f"{path.name}: {link}"

    assert [each for path, page in pages.items() for each in dead(path, page)] == []
    assert sum(len(page.links) for page in pages.values()) > 100


def test_the_pages_ask_no_other_server_for_anything(pages: dict[Path, Page]) -> None:
    assert {load for page in pages.values() for load in page.loads if urlsplit(load).netloc} == set()


@pytest.mark.parametrize(
    ("link", "complaint"),
    [("[dead](none.md)", "none.md"), ("[dead](index.md#none)", "none"), ("[dead](#none)", "none")],
)
def test_a_dead_link_is_an_error(tmp_path: Path, link: str, complaint: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Title\n\n{link}\n")
    assert re.search(f"index.md:3: WARNING: .*{complaint}", build(tmp_path, tmp_path / "html"))


# The references.


def text_of(path: Path) -> str:
    """The words of a page, with a blank for each run of blanks and tags."""
    return " ".join(html.unescape(re.sub("<[^>]*>", "", path.read_text(encoding="utf-8"))).split())


def test_the_reference_has_every_command_and_option(site: Path) -> None:
    page = site / "docs" / "cli-reference.html"
    text, anchors = text_of(page), Page(page).anchors
    for name, command in cli.commands.items():
        assert f"glancearchive {name} [OPTIONS]" in text
        for option in command.params:
            forms = [form for form in option.opts if form.startswith("-")]
            assert {
                f"cmdoption-glancearchive-{name}{'-' * form.startswith('-')}{form.lstrip('-')}" for form in forms
            } <= anchors
            help_text = getattr(option, "help", None)
            assert help_text is None or " ".join(help_text.split()) in text
        for example in re.findall("^ *(glancearchive .*)", command.help or "", re.MULTILINE):
            assert " ".join(example.split()) in text


def test_the_reference_has_all_that_is_exported_and_all_that_the_library_page_names(site: Path) -> None:
    library, page = ROOT / "docs" / "library.md", site / "docs" / "library-reference.html"
    text, anchors = text_of(page), Page(page).anchors
    for title in ("Archive", "ArchivedImage"):
        for word in words(table(section(library, f"`{title}`"), "name")):
            assert re.search(rf"\b{word.split('(')[0]}\b", text), word
    exported = set(glancearchive.__all__) - {"__version__"}
    assert {
        name for name in exported if not {f"glancearchive.{name}", f"glancearchive.errors.{name}"} & anchors
    } == set()
    for error in words(table(section(library, "Errors"), "error")):
        assert f"glancearchive.errors.{error}" in anchors
