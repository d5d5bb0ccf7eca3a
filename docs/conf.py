"""How Sphinx makes the HTML of these pages: `make docs`. The pages themselves are plain Markdown.

Sphinx, for it is well kept, makes the references from the code by itself, and takes dead links for errors.
"""

from __future__ import annotations

import re
from typing import Any

import click
from sphinx.application import Sphinx

from glancearchive.version import __version__

project = "glancearchive"
version = release = __version__
html_title = f"glancearchive {__version__}"

# The source directory is the repository, so that links are the same here and on a code host.
root_doc = "docs/index"
include_patterns = ["docs/**.md", "spec/SPEC.md", "benchmarks/RESULTS.md", "README.md", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "**/__pycache__"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4  # as a code host makes them
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
default_role = "code"  # in docstrings
smartquotes = False  # they would make one dash of two

html_theme = "furo"  # asks nothing of any other server: the pages can be carried across the gap too
html_extra_path = ["html"]  # leads from the top to the first page
html_show_sphinx = False
html_copy_source = False


def _examples(_app: Sphinx, _context: click.Context, lines: list[str]) -> None:
    """Has the lines that click keeps as they are, which come as a line block, shown as code."""
    shown: list[str] = []
    for line in lines:
        if line.startswith("| "):
            if not shown or not shown[-1].startswith("    "):
                shown += ["::", ""]
            shown.append("    " + line.removeprefix("| "))
        else:
            shown.append(_plain(line))
    lines[:] = shown


def _options(_app: Sphinx, _context: click.Context, lines: list[str]) -> None:
    """Keeps what a help text says from being read as markup; other lines are sphinx-click's own."""
    lines[:] = [_plain(line) if re.match(r"    [^:]", line) else line for line in lines]


def _plain(line: str) -> str:
    return re.sub(r"([*`|\\_])", r"\\\1", line)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("sphinx-click-process-description", _examples)
    app.connect("sphinx-click-process-options", _options)
    return {"parallel_read_safe": True}
