"""The readers that are held against each other over spec/vectors, each as a function from paths to a `Reading`."""

import contextlib
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import glancearchive
from glancearchive.format.reader import Archive
from glancearchive.operations.extract import extract_to_stream
from tests.cloud.environment import locked

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "spec"
VECTORS = SPEC / "vectors"
TABLE: dict[str, Any] = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))

KAITAI = ROOT / ".cache" / "kaitai"
# The compiler takes a parsed document; js-yaml parses it.
NPM_PACKAGES = ("kaitai-struct-compiler@0.11.0", "js-yaml@4.1.0")
COMPILE = """
const compiler = require('kaitai-struct-compiler'), yaml = require('js-yaml'), fs = require('fs');
compiler.compile('python', yaml.load(fs.readFileSync(process.argv[1], 'utf8')), null, false)
  .then(files => process.stdout.write(files['glancearchive.py']))
  .catch(error => { console.error(String(error)); process.exit(1); });
"""


@dataclass
class Reading:
    """What one reader says of one archive."""

    status: dict[str, tuple[str, int | None]] = field(default_factory=dict)  # every listed image: status, size
    sha256: dict[str, str] = field(default_factory=dict)  # of the images whose bytes it released
    layers: set[str] = field(default_factory=set)  # of the faults found


Reader = Callable[[Sequence[Path]], Reading]


def load_module(name: str, path: Path) -> ModuleType:
    """A module from a file outside any package, under a name of its own."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


spec_reader = load_module("spec_reader", SPEC / "reader.py")
make_vectors = load_module("make_vectors", SPEC / "make_vectors.py")


def paths_of(name: str) -> list[Path]:
    return [VECTORS / file for file in TABLE[name]["files"]]


def second_reader(paths: Sequence[Path]) -> Reading:
    """spec/reader.py."""
    archive = spec_reader.read_archive(paths)
    reading = Reading(layers={fault.layer for fault in archive.faults})
    for image in archive.images:
        reading.status[image.id] = (image.status, image.size)
        if image.released:
            digest = hashlib.sha256()
            for data in archive.read(image):
                digest.update(data)
            reading.sha256[image.id] = digest.hexdigest()
    return reading


def package_reader(paths: Sequence[Path]) -> Reading:
    """glancearchive itself: verify with the Glance hashes, and extract every image that can be."""
    try:
        with Archive(paths) as archive:
            report = glancearchive.verify(archive, glancearchive.Depth.GLANCE)
            reading = Reading(layers={damage.fault.layer for damage in report.damage})
            for image in archive:
                if image.id:
                    reading.status[image.id] = (image.status, image.size)
                with contextlib.suppress(glancearchive.FormatError):
                    stream = io.BytesIO()
                    extract_to_stream(image, stream, lambda _count: None)
                    reading.sha256[image.id] = hashlib.sha256(stream.getvalue()).hexdigest()
            return reading
    except glancearchive.FormatError as error:
        return Reading(layers={error.layer})


def _compile(node: str, npm: str | None, path: Path) -> None:
    """The Python source of the reader, as `path`."""
    wanted = [KAITAI / "node_modules" / package.rpartition("@")[0] / "package.json" for package in NPM_PACKAGES]
    if not all(path.exists() for path in wanted):
        if npm is None:
            pytest.skip("npm is not installed: cannot get kaitai-struct-compiler")
        command = [npm, "install", "--prefix", str(KAITAI), "--no-audit", "--no-fund", "--no-save", *NPM_PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, cwd=KAITAI, timeout=240)
        if done.returncode:
            pytest.skip(f"npm could not install kaitai-struct-compiler: {done.stderr.strip()[-200:]}")
    command = [node, "-e", COMPILE, str(SPEC / "glancearchive.ksy")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=KAITAI, timeout=120)
    assert done.returncode == 0, done.stderr
    path.write_text(done.stdout, encoding="utf-8")


@cache
def kaitai_module() -> ModuleType:
    """The reader that kaitai-struct-compiler makes of spec/glancearchive.ksy; installed in .cache on first use."""
    pytest.importorskip("kaitaistruct", reason="the Python package kaitaistruct is not installed")
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None:
        pytest.skip("node is not installed: kaitai-struct-compiler needs it")
    KAITAI.mkdir(parents=True, exist_ok=True)
    path = KAITAI / "glancearchive_kaitai.py"
    with locked(KAITAI / "lock"):
        _compile(node, npm, path)
        # The generated module is named as the package is: it must not take the package's place.
        for process in ("glancearchive_header", "glancearchive_payload"):
            load_module(process, ROOT / "tests" / "kaitai" / f"{process}.py")
        return load_module("glancearchive_kaitai", path)


def kaitai_volume(path: Path) -> Any:
    """One volume as the generated reader sees it; ValueError or EOFError when it refuses it."""
    module = kaitai_module()
    from kaitaistruct import KaitaiStream, KaitaiStructError

    try:
        return module.Glancearchive(KaitaiStream(io.BytesIO(path.read_bytes())))
    except KaitaiStructError as error:
        raise ValueError(str(error)) from None


def kaitai_value(node: Any) -> Any:
    """A MessagePack value of the generated reader, as Python has it."""
    if node.is_map:
        return {entry.key.str_value: kaitai_value(entry.value) for entry in node.map_entries}
    if node.is_array:
        return [kaitai_value(item) for item in node.array_items]
    for kind in ("str", "bin", "int", "bool", "float"):
        if getattr(node, f"is_{kind}"):
            return getattr(node, f"{kind}_value")
    return None


def kaitai_reader(paths: Sequence[Path]) -> Reading:
    """The images that the generated reader finds in the checkpoints of all volumes; it has no opinion on data."""
    parts: dict[int, dict[str, Any]] = {}
    for path in paths:
        for record in kaitai_volume(path).records:
            if record.header.type == 3:
                for part in kaitai_value(record.payload.document)["images"]:
                    parts.setdefault(part["number"], {}).update(part)
    reading = Reading()
    # Of several images with one id a complete one counts, else the latest.
    for _, part in sorted(
        parts.items(), key=lambda item: (item[1].get("end", {}).get("status") == "complete", item[0])
    ):
        end = part.get("end", {"status": "unfinished", "size": None})
        reading.status[part["begin"]["id"]] = (end["status"], end["size"])
    return reading
