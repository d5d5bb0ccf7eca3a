"""All readers over all archives in spec/vectors, against what vectors.json expects and against each other."""

import hashlib
import json
import shutil
import subprocess
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from glancearchive.errors import FormatError
from glancearchive.format.encoding import pack
from glancearchive.format.isolated import read_isolated
from tests.spec_readers import (
    TABLE,
    VECTORS,
    Reader,
    kaitai_reader,
    kaitai_value,
    kaitai_volume,
    package_reader,
    paths_of,
    second_reader,
    spec_reader,
)

ACCEPT = [name for name, entry in TABLE.items() if entry["expect"] == "accept"]
REJECT = [name for name, entry in TABLE.items() if entry["expect"] == "reject"]
READERS = [second_reader, package_reader]

# The faults that are in the structure of a volume, which the Kaitai reader must refuse; all others it cannot see.
STRUCTURAL = [
    *("archive-empty", "archive-short", "archive-foreign", "archive-zstd", "archive-newer-version", "archive-type-*"),
    "archive-end-copy-alone",
    "archive-checkpoint-hash",
    *("volume-cut-header-payload", "volume-cut-frame-*", "volume-cut-checkpoint-*", "volume-cut-second-frame"),
    *("volume-cut-catalog-header", "volume-cut-catalog", "volume-cut-end-*", "volume-cut-in-end-copy"),
    *("volume-trailing-*", "volume-empty-second", "volume-in-record"),
    *(
        "header-*",
        "record-bit-*",
        "record-encoding-*",
        "record-zstd-*",
        "record-padding-checksum",
        "record-payload-digest",
        "record-first-payload",
        "record-of-repair",
    ),
]
NOT_STRUCTURAL = ["header-number", "header-frame-number", "header-padding-number"]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", TABLE)
def test_expected(name: str, read: Reader) -> None:
    entry = TABLE[name]
    reading = read(paths_of(name))
    if entry["expect"] == "accept":
        assert reading.layers == set()
        assert reading.status.keys() == entry["images"].keys()
    else:
        assert reading.layers
        assert reading.layers <= {entry["layer"], entry.get("also")}
    for image, expected in entry["images"].items():
        if expected is None:
            assert image not in reading.sha256, f"{image} must not be released"
        else:
            assert reading.status.get(image) == (expected["status"], expected["size"])
            assert reading.sha256.get(image) == expected["sha256"]


@pytest.mark.parametrize("name", TABLE)
def test_package_agrees_with_second_reader(name: str) -> None:
    package, second = package_reader(paths_of(name)), second_reader(paths_of(name))
    entry = TABLE[name]
    # Where the specification leaves an image open, readers may differ in whether they release it, never in its bytes.
    fixed = second.status.keys() if entry["expect"] == "accept" else entry["images"].keys()
    for image in fixed:
        assert package.sha256.get(image) == second.sha256.get(image)
    for image in package.sha256.keys() & second.sha256.keys():
        assert package.sha256[image] == second.sha256[image]
    if "also" not in entry:
        assert package.layers == second.layers


def fields(header: Any) -> tuple[int, ...]:
    return (header.type, header.number, header.offset, header.stored_size, header.raw_size)


@pytest.mark.parametrize("name", ACCEPT)
def test_kaitai_agrees_with_second_reader(name: str) -> None:
    for path in paths_of(name):
        ours = [(*fields(r.header), r.map) for r in spec_reader.Volume(path).records]
        records = kaitai_volume(path).records
        decoded = [r.header.type != 2 and r.header.type < 128 for r in records]
        maps = (
            kaitai_value(r.payload.document) if is_map else None for r, is_map in zip(records, decoded, strict=True)
        )
        theirs = [(*fields(r.header), m) for r, m in zip(records, maps, strict=True)]
        assert theirs == ours
    if not name.startswith(("increment", "repair")):  # of those each file is an archive
        assert kaitai_reader(paths_of(name)).status == second_reader(paths_of(name)).status


@pytest.mark.parametrize("name", REJECT)
def test_kaitai_refuses_structural_faults(name: str) -> None:
    structural = any(fnmatch(name, pattern) for pattern in STRUCTURAL) and name not in NOT_STRUCTURAL
    # The payloads of frames are not looked into, and a bit in them is not in the structure.
    try:
        for path in paths_of(name):
            kaitai_volume(path)
    except (ValueError, EOFError):
        assert structural
    else:
        assert not structural


@pytest.mark.parametrize("name", ACCEPT)
def test_zstd_accepts(name: str) -> None:
    zstd = shutil.which("zstd")
    if zstd is None:
        pytest.skip("zstd is not installed")
    for path in paths_of(name):
        done = subprocess.run([zstd, "-t", "-q", "--no-progress", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ACCEPT)
def test_file_says_zstandard(name: str) -> None:
    file = shutil.which("file")
    if file is None:
        pytest.skip("file is not installed")
    for path in paths_of(name):
        assert "Zstandard" in subprocess.run([file, "-b", path], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def remember(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode a payload once, however many damaged archives it stands in: all but one record of each are the same."""

    plain = spec_reader.MessagePack
    decode = cache(lambda raw: plain(raw).document())

    class Remembered(plain):
        def document(self) -> dict[str, Any]:
            return decode(self.raw)

    monkeypatch.setattr(spec_reader, "MessagePack", Remembered)
    monkeypatch.setattr(spec_reader, "unpack_payload", cache(spec_reader.unpack_payload))


def damaged(name: str, tmp_path: Path, data: bytes) -> None:
    """A damaged copy of an archive of one volume: found, and no released image has other bytes."""
    path = tmp_path / "damaged.gla"
    path.write_bytes(data)
    archive = spec_reader.read_archive([path])
    assert archive.faults
    for image in archive.images:
        if image.released:
            expected = TABLE[name]["images"][image.id]
            assert (image.size, hashlib.sha256(b"".join(archive.read(image))).hexdigest()) == (
                expected["size"],
                expected["sha256"],
            )


@pytest.mark.parametrize("name", ["tiny", "dedup"])
def test_every_cut(name: str, tmp_path: Path, remember: None) -> None:
    data = paths_of(name)[0].read_bytes()
    for size in range(len(data)):
        damaged(name, tmp_path, data[:size])


@pytest.mark.parametrize("name", ["tiny"])
def test_every_bit(name: str, tmp_path: Path, remember: None) -> None:
    data = bytearray(paths_of(name)[0].read_bytes())
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        damaged(name, tmp_path, data)
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("name", ["sessions", "statuses", "compressed"])
def test_a_bit_of_every_byte(name: str, tmp_path: Path, remember: None) -> None:
    data = bytearray(paths_of(name)[0].read_bytes())
    for at in range(len(data)):
        data[at] ^= 1 << at % 8
        damaged(name, tmp_path, data)
        data[at] ^= 1 << at % 8


@pytest.mark.parametrize("name", ["dedup", "statuses"])
def test_a_bit_of_a_header_or_structured_record_costs_nothing(name: str, tmp_path: Path, remember: None) -> None:
    """Section 10, what damage costs: in a finished volume only a bit in a frame's payload costs an image."""
    path = paths_of(name)[0]
    data = bytearray(path.read_bytes())
    payloads = [(r.header.offset + 112, r.header.end) for r in spec_reader.Volume(path).records if r.header.type == 2]
    whole = {image.id for image in spec_reader.read_archive([path]).images if image.released}
    for at in range(0, len(data), 3):
        if not any(begin <= at < end for begin, end in payloads):
            data[at] ^= 1
            (tmp_path / "damaged.gla").write_bytes(data)
            archive = spec_reader.read_archive([tmp_path / "damaged.gla"])
            assert {image.id for image in archive.images if image.released} == whole, at
            data[at] ^= 1


CATALOGS: dict[str, dict[str, str]] = json.loads((VECTORS / "catalogs.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name, entry in CATALOGS.items() if not entry["layer"]])
def test_isolated_catalogs_to_accept(name: str) -> None:
    theirs = [(header.type, header.number, pack(value)) for header, value in spec_reader.read_isolated(VECTORS / name)]
    ours = [(header.type, header.number, pack(one.to_map())) for header, one in read_isolated(VECTORS / name)]
    assert ours == theirs


@pytest.mark.parametrize("name", [name for name, entry in CATALOGS.items() if entry["layer"]])
def test_isolated_catalogs_to_reject(name: str) -> None:
    with pytest.raises(spec_reader.Problem) as problem:
        spec_reader.read_isolated(VECTORS / name)
    assert problem.value.layer == CATALOGS[name]["layer"]
    with pytest.raises(FormatError) as fault:
        list(read_isolated(VECTORS / name))
    assert fault.value.layer == CATALOGS[name]["layer"]
