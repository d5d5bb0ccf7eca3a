"""What users' scripts build on: the shapes of ``--json``, exit codes, and what is imported when."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from glancearchive.cli import cli
from glancearchive.cli.output import emit_json
from glancearchive.format.writer import ArchiveWriter
from tests.archives import write_archive
from tests.command import environ, run
from tests.fake_glance import DATA, GOOD, FakeGlance
from tests.format.samples import Sample, tiny_archive
from tests.glances import metadata
from tests.scripted_http import Reply

OPENSTACK = ("openstack", "keystoneauth1", "requests", "urllib3", "oslo_utils")
# One image in a result. Keys may be added, and none renamed or removed.
SUMMARY = {
    "id": str,
    "name": str,
    "status": str,
    "reason": str,
    "size": (int, type(None)),
    "stored": int,
    "disk_format": (str, type(None)),
    "os_hash_algo": (str, type(None)),
    "os_hash_value": (str, type(None)),
    "verified": str,
}
OUTCOME = {
    "id": str,
    "name": str,
    "action": str,
    "reason": str,
    "size": int,
    "verified": str,
    "dropped": list,
    "differences": list,
}
Shape = dict[str, Any]


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return tiny_archive(tmp_path)


@pytest.fixture
def damaged(sample: Sample) -> Path:
    """The archive with one bit of its first frame flipped."""
    data = bytearray(sample.path.read_bytes())
    data[data.index(b"shared ")] ^= 1
    sample.path.write_bytes(data)
    return sample.path


def assert_shape(document: Any, shape: Shape) -> None:
    assert isinstance(document, dict)
    for key, kind in shape.items():
        assert isinstance(document[key], kind), (key, document[key])
        assert not isinstance(document[key], bool) or kind is bool, key


def test_list(sample: Sample) -> None:
    done = run("list", sample.path, "--json")
    assert (done.code, done.stderr) == (0, "")
    document = done.json
    assert_shape(
        document,
        {"archive": str, "archive_id": str, "finished": bool, "root_digest": str, "source": str, "created": str},
    )
    assert (document["archive"], document["root_digest"]) == (str(sample.path), sample.root.hex())
    for image in document["images"]:
        assert_shape(image, SUMMARY)
    states = {image["id"]: (image["status"], image["size"], image["reason"]) for image in document["images"]}
    assert states == {
        "one": ("complete", 12292, ""),
        "two": ("complete", 8192, ""),
        "empty": ("complete", 0, ""),
        "queued": ("no-data", None, "queued"),
    }
    assert done.text.isascii()


def test_show(sample: Sample) -> None:
    done = run("show", sample.path, "name of one", "--json")
    assert (done.code, done.stderr) == (0, "")
    assert_shape(done.json, SUMMARY | {"digest": str, "hashes": dict, "members": list, "metadata": dict})
    assert done.json["metadata"] == {"id": "one", "name": "name of one"}
    assert run("show", sample.path, "queued", "--json").json["digest"] is None


VERIFIED: Shape = {"archive": str, "ok": bool, "finished": bool, "depth": str, "checked": int}
DAMAGE: Shape = {"volume": str, "begin": int, "end": int, "layer": str, "message": str, "images": list}


@pytest.mark.parametrize(
    ("options", "depth"), [(["--quick"], "quick"), ([], "full"), (["--glance-hash"], "glance")], ids=str
)
def test_verify(options: list[str], depth: str, sample: Sample) -> None:
    done = run("verify", sample.path, "--json", *options)
    assert (done.code, done.stderr) == (0, "")
    assert_shape(done.json, VERIFIED)
    assert (done.json["archive"], done.json["ok"], done.json["depth"]) == (str(sample.path), True, depth)
    assert (done.json["damage"], done.json["root_digest"]) == ([], sample.root.hex())
    for image in done.json["images"]:
        assert_shape(image, {"id": str, "name": str, "status": str, "reason": str})
    assert {image_id: image["status"] for image_id, image in done.images.items()} == {
        "one": "valid",
        "two": "valid",
        "empty": "valid",
        "queued": "no-data",
    }


@pytest.mark.parametrize("hashes", [{}, {"sha3-of-tomorrow": "00"}], ids=["none", "unknown"])
def test_verify_says_which_images_have_no_hash_to_recompute(hashes: dict[str, str], tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.gla", source="a test")
    for image_id, stated in (("bare", hashes), ("hashed", {"sha512": hashlib.sha512(DATA).hexdigest()})):
        image = writer.begin(image_id, {"id": image_id, "name": image_id})
        image.write(DATA)
        image.finish(stated, "")
    writer.finish()
    reason = "no hash was recorded that could be recomputed"
    done = run("verify", tmp_path / "a.gla", "--json", "--glance-hash")
    assert (done.code, done.json["ok"]) == (0, True)
    assert {image_id: (image["status"], image["reason"]) for image_id, image in done.images.items()} == {
        "bare": ("valid", reason),
        "hashed": ("valid", ""),
    }
    told = run("verify", tmp_path / "a.gla", "--glance-hash")
    assert told.code == 0
    assert f"valid: image bare ('bare'): {reason}\n" in told.text
    assert "image hashed" not in told.text
    assert "ok: all digests and Glance's hashes of 1 of 2 images match; root digest " in told.text
    assert {image["reason"] for image in run("verify", tmp_path / "a.gla", "--json").images.values()} == {""}


def test_verify_of_a_damaged_archive(damaged: Path) -> None:
    done = run("verify", damaged, "--json")
    assert (done.code, done.json["ok"]) == (1, False)
    (damage,) = done.json["damage"]
    assert_shape(damage, DAMAGE)
    assert (damage["volume"], damage["layer"], damage["images"]) == ("tiny.gla", "frame", ["one", "two"])
    assert 0 < damage["begin"] < damage["end"] < damaged.stat().st_size
    assert done.images["one"]["status"] == done.images["two"]["status"] == "damaged"
    told = run("verify", damaged)
    assert told.code == 1
    assert "NOT OK" in told.text
    assert f"bytes {damage['begin']}-{damage['end'] - 1}: " in told.text


def test_extract(sample: Sample, tmp_path: Path) -> None:
    done = run("extract", sample.path, "-o", "out/", "--json", cwd=tmp_path)
    assert (done.code, done.stderr) == (0, "")
    assert_shape(done.json, {"archive": str})
    for image in done.json["images"]:
        assert_shape(image, {"id": str, "name": str, "status": str, "reason": str, "size": int})
    assert {image_id: image["status"] for image_id, image in done.images.items()} == {
        "one": "extracted",
        "two": "extracted",
        "empty": "extracted",
        "queued": "no-data",
    }
    one = run("extract", sample.path, "queued", "-o", tmp_path / "x.img", "--json")
    assert (one.code, one.images["queued"]["status"], "x.img" in one.stderr) == (1, "failed", False)
    assert not (tmp_path / "x.img").exists()


@pytest.fixture
def server() -> Iterator[FakeGlance]:
    with FakeGlance() as made:
        yield made


def test_dump(server: FakeGlance, tmp_path: Path) -> None:
    done = run("dump", server.url, tmp_path / "x.gla", "--json")
    assert (done.code, done.stderr) == (0, "")
    assert_shape(done.json, {"archive": str, "server": str, "stored": int, "root_digest": str, "ok": bool})
    assert (done.json["server"], done.json["ok"]) == (f"glance {server.url}", True)
    for image in done.json["images"]:
        assert_shape(image, OUTCOME)
        assert (image["action"], image["verified"]) == ("copied", "sha512")
    assert done.json["root_digest"] == run("list", tmp_path / "x.gla", "--json").json["root_digest"]


def test_dump_with_findings(server: FakeGlance, tmp_path: Path) -> None:
    server.on("GET", server.data_path(server.bad), Reply(403, b"{}"))
    done = run("dump", server.url, tmp_path / "x.gla", "--json")
    assert (done.code, done.json["ok"]) == (1, False)
    assert done.images[server.bad["id"]]["action"] == "refused"
    told = run("dump", server.url, tmp_path / "y.gla")
    assert told.code == 1
    assert server.bad["id"] in told.stderr
    assert told.text.startswith("2 images: 1 copied, 1 refused; ")
    assert [line for line in told.text.splitlines()[2:] if server.bad["id"] in line] == told.text.splitlines()[2:]


def test_images_without_data_are_no_finding(server: FakeGlance, tmp_path: Path) -> None:
    queued = {**server.bad, "id": "queued", "status": "queued", "size": None, "checksum": None, "os_hash_value": None}
    server.on("GET", "/v2/images", Reply.json({"images": [queued]}))
    done = run("dump", server.url, tmp_path / "x.gla", "--json")
    assert (done.code, done.images["queued"]["action"]) == (0, "no-data")


def test_a_server_without_images_is_a_finding(server: FakeGlance, tmp_path: Path) -> None:
    """Nothing to copy is more often a wrong login than what was meant."""
    server.on("GET", "/v2/images", Reply.json({"images": []}))
    done = run("dump", server.url, tmp_path / "x.gla", "--json")
    assert (done.code, done.json["ok"], done.json["images"]) == (1, False, [])


def test_load(glance_b: Any, tmp_path: Path) -> None:
    first, second = metadata(DATA, color="red"), metadata(GOOD)
    archive = write_archive(tmp_path / "x.gla", (first, DATA), (second, GOOD))
    done = run("load", glance_b.url, archive, "--json")
    assert (done.code, done.stderr) == (0, "")
    assert_shape(done.json, {"archive": str, "server": str, "ok": bool})
    for image in done.json["images"]:
        assert_shape(image, OUTCOME)
        assert (image["action"], image["verified"]) == ("copied", "sha512")
    again = run("load", glance_b.url, archive, "--json")
    assert (again.code, again.json["ok"]) == (0, True)
    assert {image["action"] for image in again.json["images"]} == {"present"}


def test_load_over_other_metadata_and_other_data(glance_b: Any, tmp_path: Path) -> None:
    client = glance_b.client()
    differing, other, fine = metadata(DATA, color="red"), metadata(DATA), metadata(GOOD)
    client.add(DATA, id=differing["id"], name="an image", visibility="private", color="blue", extra="1")
    client.add(b"other data", id=other["id"], name="keep me")
    kept = client.show(other["id"])
    archive = write_archive(tmp_path / "x.gla", (differing, DATA), (other, DATA), (fine, GOOD))
    done = run("load", glance_b.url, archive, "--json")
    assert (done.code, done.json["ok"]) == (1, False)
    actions = [done.images[image["id"]]["action"] for image in (differing, other, fine)]
    assert actions == ["present", "conflict", "copied"]
    assert done.images[differing["id"]]["differences"] == [
        "color: target has 'blue', source has 'red'",
        "extra: target has '1', source has none",
    ]
    assert client.show(differing["id"])["color"] == "blue"
    updated = run("load", glance_b.url, archive, "--json", "--update-metadata")
    actions = [updated.images[image["id"]]["action"] for image in (differing, other, fine)]
    assert (updated.code, actions) == (1, ["updated", "conflict", "present"])
    assert updated.images[differing["id"]]["differences"] == []
    found = client.show(differing["id"])
    assert (found["color"], "extra" in found) == ("red", False)
    assert client.show(other["id"]) == kept
    assert client.download(other["id"]) == b"other data"


def test_load_of_a_damaged_archive_loads_what_is_whole(damaged: Path, glance_b: Any) -> None:
    """The ids of the sample are no UUIDs, which Glance refuses; what matters is that each is told of by itself."""
    done = run("load", glance_b.url, damaged, "--json")
    assert (done.code, done.json["ok"]) == (1, False)
    assert {image["action"] for image in done.json["images"]} == {"failed", "held"}
    assert done.images["one"]["action"] == "held"
    assert "the stored bytes" in done.images["one"]["reason"] or "digest" in done.images["one"]["reason"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "{}"],
        ["show", "{}", "one"],
        ["verify", "{}", "--glance-hash"],
        ["extract", "{}", "-o", "out/"],
        ["--help"],
        ["dump", "--help"],
    ],
    ids=" ".join,
)
def test_archive_commands_import_nothing_of_openstack(arguments: list[str], sample: Sample, tmp_path: Path) -> None:
    program = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "glancearchive",
        *(one.format(sample.path) for one in arguments),
    ]
    done = subprocess.run(program, env=environ(), cwd=tmp_path, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "glancearchive" in imported
    assert not imported & set(OPENSTACK)


def test_the_library_does_without_openstack(sample: Sample) -> None:
    program = (
        "import sys, json, glancearchive\n"
        "with glancearchive.open(sys.argv[1]) as archive:\n"
        "    glancearchive.verify(archive)\n"
        "    print(json.dumps([sorted(sys.modules), archive.find('one')[0].open().read().hex()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(sample.path)], env=environ(), capture_output=True, text=True, check=True
    )
    modules, data = json.loads(done.stdout)
    assert not set(modules) & set(OPENSTACK)
    assert bytes.fromhex(data) == sample.data["one"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"ok": True, "images": [], "none": {}},
        {"images": [{"name": "é\n", "members": [{"a": []}]}, {}, 3], "more": [[1, [2]], None]},
        {"images": [{"id": str(number)} for number in range(2500)]},
    ],
    ids=["empty", "empty-arrays", "nested", "many"],
)
def test_a_document_is_the_same_when_it_is_written_item_by_item(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for arrays in (list, iter):
        emit_json({key: arrays(value) if isinstance(value, list) else value for key, value in document.items()})
        assert capsys.readouterr().out == json.dumps(document, indent=2) + "\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_only_a_terminal_gets_a_line_end_after_an_interruption(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.commands, "stop", click.Command("stop", callback=interrupted))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with pytest.raises(click.exceptions.Abort):
        cli.main(["stop"], standalone_mode=False)
    assert capsys.readouterr().err == ("\n" if terminal else "")
