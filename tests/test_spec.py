"""SPEC.md says what the code does: hex dump, tables, limits; and the generator makes the committed vectors."""

import json
import re
import subprocess
import sys

from tests.spec_readers import SPEC, TABLE, VECTORS, make_vectors, second_reader, spec_reader

TEXT = (SPEC / "SPEC.md").read_text(encoding="utf-8")
MADE = make_vectors.make()


def section(title: str) -> str:
    """The text under a heading, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def tables(title: str) -> list[list[list[str]]]:
    """The tables of a section: rows of cells, without header row and ticks."""
    result = []
    for table in re.findall(r"(?:^\|.*\|\n)+", section(title), re.MULTILINE):
        rows = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in table.splitlines()]
        result.append(rows[2:])
    return result


def test_hex_dump_is_the_smallest_archive() -> None:
    begin, end = make_vectors.MARKS
    dump = TEXT.split(begin)[1].split(end)[0]
    data = b""
    for line in dump.splitlines():
        found = re.match(r"([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)(?: |$)", line)
        if found:
            assert int(found[1], 16) == len(data)
            data += bytes.fromhex(found[2])
    assert data == bytes(make_vectors.smallest().volumes[0])
    assert data == (VECTORS / "empty.gla").read_bytes()
    assert dump.strip() == make_vectors.hexdump(data).strip()


def test_record_header_table() -> None:
    rows, types = tables("3. Record header")
    sizes = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
    layout = "<" + "".join(
        sizes.get(kind) or kind.removeprefix("bytes[").removesuffix("]") + "s" for _, _, kind, _ in rows
    )
    assert layout == spec_reader.RECORD_HEADER.format
    assert [re.split("[ ,]", row[3])[0] for row in rows] == list(spec_reader.RecordHeader._fields)
    offset = 0
    for row in rows:
        assert int(row[0]) == offset
        offset += int(row[1])
    assert offset == spec_reader.RECORD_HEADER.size == 112
    assert [(name, size) for name, size in make_vectors.FIELDS] == [
        (re.split("[ ,]", row[3])[0], int(row[1])) for row in rows
    ]
    assert {row[1]: int(row[0]) for row in types if row[0].isdigit()} == make_vectors.TYPES | {"isolated": 128}
    signature = re.search(r"= ((?:[0-9A-F]{2} ){7}[0-9A-F]{2})", section("3. Record header"))
    assert signature is not None
    assert bytes.fromhex(signature[1]) == spec_reader.SIGNATURE


def test_key_tables() -> None:
    expected = [
        ("6.1 `header`", 0, spec_reader.HEADER_KEYS.keys() | {"base", "first_blocks", "repairs"}),
        ("6.2 `checkpoint`", 0, {"frames", "header", "images", "previous"}),
        ("6.3 Frame index and image parts", 0, spec_reader.FRAMES_KEYS.keys() | {"block_digests"}),
        ("6.3 Frame index and image parts", 2, spec_reader.PART_OPTIONS.keys() | {"number"}),
        ("6.3 Frame index and image parts", 4, spec_reader.BEGIN_KEYS.keys()),
        ("6.3 Frame index and image parts", 5, spec_reader.END_KEYS.keys()),
        ("6.4 `catalog`", 0, {"frames", "images"}),
        ("6.5 `end`", 0, spec_reader.END_RECORD_KEYS.keys()),
        ("6.5 `end`", 1, spec_reader.CATALOG_ROW_KEYS.keys()),
        ("6.6 Increments", 0, spec_reader.BASE_KEYS.keys()),
        ("6.8 Repair archives", 0, spec_reader.REPAIRS_KEYS.keys()),
        ("6.10 Padding", 0, {"fill"}),
    ]
    for title, number, keys in expected:
        names = [row[0] for row in tables(title)[number]]
        assert names == sorted(names), f"{title}: keys in the order in which they are encoded"
        assert set(names) == set(keys), title


def test_limits() -> None:
    limits = {row[0]: row[1] for row in tables("8. Limits")[0]}
    assert f"{spec_reader.MAX_FRAME:,}" in limits["raw_size of a frame"]
    assert f"{spec_reader.MAX_STRUCTURED:,}" in limits["raw_size of a structured record"]
    assert limits["volumes"] == f"{spec_reader.MAX_VOLUMES:,}"
    assert limits["nesting of arrays and maps in a structured record"] == str(spec_reader.MAX_NESTING)
    assert spec_reader.MAX_WINDOW == 2**27
    assert limits["zstd window"] == "2^27 bytes"


def test_layers() -> None:
    layers = {row[0] for row in tables("10. Verification")[0]}
    assert layers == {entry["layer"] for entry in TABLE.values() if "layer" in entry}


def test_generator_makes_the_committed_vectors(tmp_path) -> None:
    assert json.loads(json.dumps(MADE.table)) == TABLE
    assert {path.name for path in VECTORS.glob("*.gla")} == MADE.files.keys()
    for name, data in MADE.files.items():
        if not name.startswith("compressed"):
            assert data == (VECTORS / name).read_bytes(), name
    # Other versions of libzstd compress otherwise: the same archive, in other bytes.
    (tmp_path / "compressed.gla").write_bytes(MADE.files["compressed.gla"])
    assert second_reader([tmp_path / "compressed.gla"]) == second_reader([VECTORS / "compressed.gla"])


def test_vectors_stay_small() -> None:
    assert sum(path.stat().st_size for path in VECTORS.iterdir()) < 2_000_000


def test_reader_stands_alone(tmp_path) -> None:
    """The second reader shares nothing with the package, and works as the program its docstring shows."""
    source = (SPEC / "reader.py").read_text(encoding="utf-8")
    modules = {line.split()[1].partition(".")[0] for line in source.splitlines() if re.match(r"(import|from) ", line)}
    assert modules <= sys.stdlib_module_names | {"zstandard", "blake3", "msgpack"}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", SPEC / "reader.py", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )

    assert run("list", VECTORS / "tiny.gla").stdout == "tiny\tcomplete\t6\t\n"
    assert run("extract", VECTORS / "tiny.gla", "tiny", tmp_path / "out").returncode == 0
    assert (tmp_path / "out").read_bytes() == b"hello\n"
    assert run("check", VECTORS / "tiny.gla").returncode == 0
    done = run("check", VECTORS / "frame-bit-first.gla")
    assert (done.returncode, done.stdout.split()[0]) == (1, "frame")
    assert run("extract", VECTORS / "frame-bit-first.gla", "beta", tmp_path / "beta").returncode == 1
    assert not (tmp_path / "beta").exists()
    (tmp_path / "beta").write_bytes(b"mine")
    for arguments in (
        ("list", tmp_path / "nowhere.gla"),
        ("check", tmp_path),
        ("extract", VECTORS / "tiny.gla", "tiny", tmp_path / "beta"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert (tmp_path / "beta").read_bytes() == b"mine"
    assert "zstandard and blake3" in run().stderr
