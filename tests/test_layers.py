"""The structure of the package, from its own imports: downward only, one owner for each outside library."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "glancearchive"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the top down; a module may import what stands below it, or beside it in its own layer.
LAYERS = ["cli", "operations", "endpoints", "", "format", "base"]
BASE = {"errors", "image", "plural", "streamhash", "version", "zeros"}  # shared nouns, used by every layer
OWNERS = {
    "msgpack": {"format/encoding.py"},
    "zstandard": {"format/compression.py"},
    "blake3": {"format/hashing.py"},
    "openstack": {"endpoints/clouds_yaml.py"},
    "keystoneauth1": {"endpoints/cloud.py"},
    "oslo_utils": {"endpoints/image_format.py"},
    "par2": {"recovery/program.py"},
    "platformdirs": {"endpoints/journal.py"},
    "rich": {"cli/screen.py"},
}


def layer(name: str) -> str:
    """The layer of a module of the package, by its dotted name without ``glancearchive.``"""
    head = name.partition(".")[0]
    return "base" if head in BASE else head if head in LAYERS else ""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downward(path: Path) -> None:
    own = layer(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    if path.name == "__main__.py":
        own = "cli"
    for name in imports(path):
        if name == "glancearchive" or name.startswith("glancearchive."):
            other = layer(name.partition(".")[2])
            assert LAYERS.index(other) >= LAYERS.index(own), f"{own or 'top'} imports {name}"


@pytest.mark.parametrize(("library", "owners"), OWNERS.items())
def test_one_owner_for_each_library(library: str, owners: set[str]) -> None:
    users = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if any(name == library or name.startswith(f"{library}.") for name in imports(path))
    }
    assert users == owners


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_cycles(path: Path) -> None:
    def below(name: str, seen: tuple[str, ...]) -> None:
        file = PACKAGE.parent.joinpath(*name.split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        for other in imports(file):
            if other.startswith("glancearchive") and other not in done:
                assert other not in seen, " -> ".join([*seen, other])
                below(other, (*seen, other))
                done.add(other)

    done: set[str] = set()
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    below(name, (name,))


def test_modules_are_of_a_size_to_read() -> None:
    sizes = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: size for name, size in sizes.items() if size > 320} == {}


def test_public_names() -> None:
    import glancearchive

    assert glancearchive.__all__ == sorted(glancearchive.__all__)
    assert all(hasattr(glancearchive, name) for name in glancearchive.__all__)
