"""Directories in glance-replicator's layout, by that program and by ``extract``, and what can be wrong with them."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glancearchive
from glancearchive.endpoints.directory import DirectorySource, is_replicated, is_replicated_file
from glancearchive.endpoints.glance_target import GlanceTarget
from glancearchive.endpoints.image_v1 import TABLE, is_v1, translate
from glancearchive.errors import ImageFileError, LocalError
from glancearchive.image import Action
from glancearchive.operations.dump import dump
from glancearchive.operations.transfer import transfer
from tests.archives import write_archive
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.command import ROOT, Done, run, unchanged
from tests.glance_v1 import PAGE, GlanceV1
from tests.glances import Counter, api, metadata
from tests.test_cli_bad_places import without_privileges
from tests.test_docs import table

DATA = pattern(700_001)
SMALL = b"a small image\n" * 300
PUBLIC, PRIVATE, QUEUED, EMPTY, KILLED = (str(uuid.UUID(int=number << 100)) for number in range(1, 6))
PROPERTIES = {"kernel_id": None, "os_distro": "debian", "hw_disk_bus": "scsi", "ünï": "ö", "empty": ""}


@pytest.fixture(scope="module")
def replicated(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``glance-replicator dump`` made of five images."""
    with GlanceV1() as glance:
        glance.add(DATA, id=PUBLIC, name="Grüße", is_public=True, protected=True, properties=PROPERTIES)
        glance.add(SMALL, id=PRIVATE, min_disk=3, min_ram=64)
        glance.add(None, id=QUEUED)
        glance.add(b"", id=EMPTY)
        glance.add(None, id=KILLED, status="killed")
        assert len(glance.images) > 2 * PAGE
        return glance.replicate(tmp_path_factory.mktemp("replicated"))


@pytest.fixture
def directory(replicated: Path, tmp_path: Path) -> Path:
    """A copy of it to be changed."""
    return Path(shutil.copytree(replicated, tmp_path / "directory"))


def dumped(directory: Path, *options: str) -> Done:
    return run("dump", directory, directory.parent / "x.gla", "--json", *options)


def recorded(path: Path) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The metadata and the members of each image of an archive."""
    with glancearchive.open(path) as archive:
        return {image.id: (dict(image.metadata), [dict(member) for member in image.members]) for image in archive}


# What is right.


def test_faults_of_images_that_were_not_chosen(directory: Path) -> None:
    (directory / f"{QUEUED}.img").write_bytes(DATA)
    (directory / f"{uuid.uuid4()}.img").write_bytes(DATA)
    archive = directory.parent / "none.gla"
    commands: tuple[list[str | Path], ...] = (
        ["size", directory],
        ["compare", directory, write_archive(archive)],
        ["dump", directory, directory.parent / "x.gla"],
    )
    for command in commands:
        one, whole = (
            run(*command, *more, "--json") for more in (["--image", PUBLIC], ["--append"] * (command[0] == "dump"))
        )
        stray = "data of an image"
        assert stray in whole.stderr
        assert stray not in one.stderr, command
        assert one.code == (1 if command[0] == "compare" else 0), one.stderr  # it is missing there
    done = run("size", directory, "--json", "--image", QUEUED)
    assert (done.code, [f"{QUEUED}.img" in fault for fault in done.json["faults"]]) == (1, [True])
    (directory / "notes").write_text("which belong to no image at all")
    assert run("size", directory, "--image", PUBLIC).code == 1


def test_dump(replicated: Path, tmp_path: Path) -> None:
    with unchanged(replicated):
        done = run("dump", replicated, tmp_path / "x.gla", "--json")
    assert (done.code, done.json["ok"], done.json["faults"]) == (0, True, [])
    assert done.json["server"] == "directory of glance-replicator"
    assert {
        image_id: (image["action"], image["verified"], image["size"]) for image_id, image in done.images.items()
    } == {
        PUBLIC: ("copied", "md5", len(DATA)),
        PRIVATE: ("copied", "md5", len(SMALL)),
        QUEUED: ("no-data", "", 0),
        EMPTY: ("copied", "md5", 0),
        KILLED: ("no-data", "", 0),
    }
    assert (done.images[QUEUED]["reason"], done.images[KILLED]["reason"]) == ("queued", "killed")
    with glancearchive.open(tmp_path / "x.gla") as archive:
        assert glancearchive.verify(archive, glancearchive.Depth.GLANCE).ok
        for image_id, data in {PUBLIC: DATA, PRIVATE: SMALL, EMPTY: b""}.items():
            (image,) = archive.find(image_id)
            assert image.open().read() == data
            assert image.hashes["sha512"] == hashlib.sha512(data).hexdigest()


def test_metadata_of_the_old_api_become_those_of_the_new_one(replicated: Path, tmp_path: Path) -> None:
    run("dump", replicated, tmp_path / "x.gla")
    assert recorded(tmp_path / "x.gla")[PUBLIC] == (
        {
            "id": PUBLIC,
            "name": "Grüße",
            "status": "active",
            "visibility": "public",
            "protected": True,
            "disk_format": "raw",
            "container_format": "bare",
            "size": len(DATA),
            "virtual_size": None,
            "checksum": hashlib.md5(DATA).hexdigest(),
            "min_disk": 0,
            "min_ram": 0,
            "owner": "5ef70662f8b34079a6eddb8da9d75fe8",
            "created_at": "2014-05-05T17:15:10Z",
            "updated_at": "2014-05-05T17:15:11Z",
            "os_distro": "debian",
            "hw_disk_bus": "scsi",
            "ünï": "ö",
            "empty": "",
        },
        [],
    )
    private = recorded(tmp_path / "x.gla")[PRIVATE][0]
    assert (private["visibility"], private["min_disk"], private["min_ram"]) == ("private", 3, 64)


def test_of_metadata_alone_all_data_are_missing(cloud_environment: None, tmp_path: Path) -> None:
    with GlanceV1() as glance:
        active, queued = glance.add(SMALL)["id"], glance.add(None)["id"]
        glance.replicate(tmp_path / "directory", "--metaonly")
    done = dumped(tmp_path / "directory")
    assert done.code == 1
    assert (done.images[active]["action"], done.images[queued]["action"]) == ("failed", "no-data")
    assert f"{active}.img: there is no such file" in done.images[active]["reason"]


def test_load_into_a_glance(replicated: Path, glance_a: Glance) -> None:
    source = DirectorySource(replicated)
    outcomes = {each.id: each for each in transfer(source, GlanceTarget(api(glance_a.url)), progress=Counter())}
    client = glance_a.client()
    assert outcomes[PUBLIC].action is Action.COPIED
    assert outcomes[PUBLIC].verified == "sha512"  # the Glance has one, so that of the file is computed
    assert client.download(PUBLIC) == DATA
    shown = client.show(PUBLIC)
    assert {key: shown[key] for key in ("name", "visibility", "protected", "os_distro", "ünï")} == {
        "name": "Grüße",
        "visibility": "public",
        "protected": True,
        "os_distro": "debian",
        "ünï": "ö",
    }
    assert client.show(QUEUED)["status"] == "queued"
    assert [each for each in outcomes.values() if not each.clean and each.id != KILLED] == []


def test_the_command_loads_a_directory(tmp_path: Path, glance_a: Glance) -> None:
    (tmp_path / "one.img").write_bytes(SMALL)
    run("dump", tmp_path / "one.img", tmp_path / "first.gla", "--glance-hash")
    assert run("extract", tmp_path / "first.gla", "-o", f"{tmp_path}/out/").code == 0
    done = run("load", glance_a.url, tmp_path / "out", "--json")
    (image,) = done.json["images"]
    assert (done.code, image["action"], image["verified"]) == (0, "copied", "sha512")
    damaged = tmp_path / "out" / f"{image['id']}.img"
    damaged.write_bytes(bytes([SMALL[0] ^ 1]) + SMALL[1:])
    assert run("load", glance_a.url, tmp_path / "out").code == 0  # it is there: nothing is read
    glance_a.client().delete(image["id"])
    (tmp_path / "files").mkdir()
    (tmp_path / "one.img").rename(tmp_path / "files" / "one.img")
    refused = run("load", glance_a.url, tmp_path / "files")
    assert (refused.code, "dump image files first" in refused.stderr) == (2, True)


# What extract wrote.


def test_what_extract_writes_is_read_again_the_same(tmp_path: Path) -> None:
    described = metadata(DATA, visibility="shared", tags=["lts"], os_distro="debian", os_version="04", owner="a" * 32)
    members = [
        {"member_id": "b" * 32, "status": "accepted", "image_id": described["id"], "schema": "/v2/schemas/member"}
    ]
    queued = {"id": str(uuid.uuid4()), "status": "queued", "size": None, "name": "queued"}
    path = write_archive(tmp_path / "first.gla", (described, DATA), members={described["id"]: members})
    before = recorded(path)
    assert run("extract", path, "-o", f"{tmp_path}/out/").code == 0
    (tmp_path / "out" / queued["id"]).write_text(json.dumps(queued))
    done = run("dump", tmp_path / "out", tmp_path / "second.gla", "--json")
    assert (done.code, done.images[described["id"]]["verified"]) == (0, "sha512")
    assert recorded(tmp_path / "second.gla") == before | {queued["id"]: (queued, [])}


def test_images_from_files_have_a_hash_to_compare_with_after_extract(tmp_path: Path) -> None:
    (tmp_path / "one.img").write_bytes(SMALL)
    run("dump", tmp_path / "one.img", tmp_path / "first.gla", "--glance-hash")
    assert run("extract", tmp_path / "first.gla", "-o", f"{tmp_path}/out/").code == 0
    done = run("dump", tmp_path / "out", tmp_path / "second.gla", "--json")
    (image,) = done.json["images"]
    assert (done.code, image["verified"]) == (0, "sha512")
    ((stated, _),) = recorded(tmp_path / "second.gla").values()
    ((original, _),) = recorded(tmp_path / "first.gla").values()
    assert stated == original | {"os_hash_algo": "sha512", "os_hash_value": hashlib.sha512(SMALL).hexdigest()}


def test_volume_backed_images_have_no_data(tmp_path: Path) -> None:
    described = metadata(b"", block_device_mapping="[]")
    (tmp_path / described["id"]).write_text(json.dumps(described))
    (image,) = DirectorySource(tmp_path).images()
    assert (image.absent.startswith("volume-backed"), image.held.lacking) == (True, "")


# What is wrong.


def cut_data(directory: Path) -> None:
    with (directory / f"{PUBLIC}.img").open("r+b") as file:
        file.truncate(len(DATA) - 1)


def flip_data(directory: Path) -> None:
    data = bytearray(DATA)
    data[600_000] ^= 4
    (directory / f"{PUBLIC}.img").write_bytes(data)


def answer_instead_of_data(directory: Path) -> None:
    """The old program writes whatever the server answers."""
    (directory / f"{PUBLIC}.img").write_bytes(b"<html><title>503 Service Unavailable</title></html>")


def edit(**changes: Any) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        path = directory / PUBLIC
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def write(text: str) -> Callable[[Path], None]:
    return lambda directory: (directory / PUBLIC).write_text(text) and None


def data_are_a_directory(directory: Path) -> None:
    (directory / f"{PUBLIC}.img").unlink()
    (directory / f"{PUBLIC}.img").mkdir()


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "data cut": (cut_data, f"{PUBLIC}.img: has {len(DATA) - 1} bytes, and its metadata say {len(DATA)}"),
    "data missing": (lambda directory: (directory / f"{PUBLIC}.img").unlink(), "there is no such file"),
    "data flipped": (flip_data, "its md5 is "),
    "data from an error": (answer_instead_of_data, "has 51 bytes"),
    "data a directory": (data_are_a_directory, "is no regular file"),
    "metadata cut": (write('{"id": "'), "is no JSON: Unterminated string"),
    "metadata empty": (write(" "), "is no JSON"),
    "metadata a list": (write("[]"), "is no JSON object"),
    "metadata binary": (lambda directory: (directory / PUBLIC).write_bytes(b"\xff\xfe") and None, "is no JSON"),
    "metadata deep": (write("[" * 200_000), "is no JSON"),
    "metadata huge": (write(" " * (4 << 20) + "{}"), "the limit is 4194304"),
    "metadata of another": (edit(id=PRIVATE), f"these are not the metadata of this image: id '{PRIVATE}'"),
    "metadata without status": (edit(status=None), "status None"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_image_fails_and_the_others_do_not(fault: str, directory: Path, tmp_path: Path) -> None:
    damage, reason = BROKEN[fault]
    damage(directory)
    source = DirectorySource(directory)
    outcomes = {each.id: each for each in dump(source, tmp_path / "x.gla", progress=Counter()).outcomes}
    assert source.faults == []
    assert (outcomes[PUBLIC].action, outcomes[PUBLIC].clean) == (Action.FAILED, False)
    assert reason in outcomes[PUBLIC].reason
    assert {outcomes[image_id].action for image_id in (PRIVATE, EMPTY)} == {Action.COPIED}
    with glancearchive.open(tmp_path / "x.gla") as archive:
        (image,) = archive.find(PUBLIC)
        assert (image.status, image.reason) == ("failed", outcomes[PUBLIC].reason)


def test_a_broken_image_is_taken_once_it_is_mended(directory: Path, replicated: Path) -> None:
    cut_data(directory)
    assert dumped(directory).code == 1
    shutil.copy(replicated / f"{PUBLIC}.img", directory)
    done = dumped(directory, "--append")
    assert (done.code, done.images[PUBLIC]["action"], done.images[PRIVATE]["action"]) == (0, "copied", "present")
    assert run("verify", directory.parent / "x.gla").code == 0


def test_what_cannot_be_read_is_told(directory: Path) -> None:
    for path in (directory / PUBLIC, directory / f"{PRIVATE}.img"):
        path.chmod(0)
    done = run("dump", directory, directory.parent / "x.gla", "--json", preexec=without_privileges)
    assert done.code == 1
    for image_id in (PUBLIC, PRIVATE):
        assert (done.images[image_id]["action"], image_id in done.images[image_id]["reason"]) == ("failed", True)
        assert "Permission denied" in done.images[image_id]["reason"]


STRAY: dict[str, tuple[str, str]] = {
    "a note": ("README.txt", "belongs to no image"),
    "an image file": ("debian.qcow2", "belongs to no image"),
    "data without metadata": (f"{uuid.UUID(int=99)}.img", "without its metadata"),
    "data of a queued image": (f"{QUEUED}.img", "data of an image that is queued"),
    "an unfinished download": (f"{PUBLIC}.img.tmp", "belongs to no image"),
}


@pytest.mark.parametrize("kind", STRAY)
def test_stray_files_are_told(kind: str, directory: Path) -> None:
    name, word = STRAY[kind]
    (directory / name).write_bytes(SMALL)
    done = dumped(directory)
    assert (done.code, done.json["ok"]) == (1, False)
    (fault,) = done.json["faults"]
    assert fault.startswith(str(directory / name))
    assert word in fault
    assert f"glancearchive: {fault}" in done.stderr
    assert sorted(image["action"] for image in done.images.values()) == ["copied"] * 3 + ["no-data"] * 2
    again = dumped(directory)
    assert (again.code, again.json["complete_before"], again.json["faults"]) == (1, True, [fault])


def test_directories_in_it_are_told(directory: Path) -> None:
    (directory / "lost+found").mkdir()
    (directory / f"{uuid.UUID(int=98)}").mkdir()
    done = dumped(directory)
    assert done.code == 1
    assert len(done.json["faults"]) == 1
    assert done.images[str(uuid.UUID(int=98))]["reason"].endswith("is no regular file")


def test_hidden_files_and_archives_cost_nothing_but_a_word(directory: Path) -> None:
    (directory / f".{PUBLIC}.img.part").write_bytes(b"half")
    (directory / "old.gla").write_bytes(b"")
    done = run("dump", directory, directory / "x.gla", "--json")
    assert (done.code, done.json["faults"]) == (0, [])
    assert "hidden files or directories that are left out: 1" in done.stderr
    assert "old.gla: an archive, left out" in done.stderr
    assert run("dump", directory, directory / "x.gla", "--append").code == 0


def test_a_finished_archive_that_lacks_an_image_is_not_the_end_of_it(directory: Path) -> None:
    assert dumped(directory).code == 0
    described = metadata(SMALL)
    (directory / described["id"]).write_text(json.dumps(described))
    (directory / f"{described['id']}.img").write_bytes(SMALL)
    again = dumped(directory)
    assert again.code == 3
    assert f"1 of the images are not in it, the first is {described['id']}" in again.error
    assert "--append" in again.error
    added = dumped(directory, "--append")
    assert (added.code, added.images[described["id"]]["action"]) == (0, "copied")


def test_no_digest_to_compare_with_is_told(directory: Path) -> None:
    edit(checksum=None)(directory)
    done = dumped(directory)
    assert (done.code, done.images[PUBLIC]["action"]) == (1, "copied")
    assert "no digest to compare with" in done.images[PUBLIC]["reason"]


def test_properties_that_cannot_be_carried_are_told(directory: Path) -> None:
    edit(properties={"status": "fine", "os_hash_value": "x", "ok": "yes"}, is_public="perhaps")(directory)
    done = dumped(directory)
    assert (done.code, done.images[PUBLIC]["action"]) == (1, "copied")
    told = " ".join(done.json["faults"])
    assert all(word in told for word in ("property status", "property os_hash_value", "is_public: 'perhaps'"))
    found = recorded(directory.parent / "x.gla")[PUBLIC][0]
    assert (found["ok"], found["status"], "visibility" in found) == ("yes", "active", False)


# Recognising it.


def test_a_directory_is_recognised(replicated: Path, tmp_path: Path) -> None:
    assert is_replicated(replicated)
    for name in (PUBLIC, f"{PUBLIC}.img"):
        assert is_replicated_file(replicated / name)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / PUBLIC).write_bytes(DATA)  # as a Glance keeps its images in a file system
    assert not is_replicated(tmp_path / "store")
    assert not is_replicated_file(tmp_path / "store" / PUBLIC)
    (tmp_path / "store" / f"{PRIVATE}.img").write_bytes(DATA)
    assert not is_replicated(tmp_path / "store")
    (tmp_path / "store" / PRIVATE).write_bytes(b"")
    assert is_replicated(tmp_path / "store")  # its metadata are lost, which is to be told


def test_reading_from_any_place(replicated: Path) -> None:
    source = DirectorySource(replicated)
    images = {image.id: image for image in source.images()}
    for offset in (0, 1, 65_536, len(DATA)):
        assert b"".join(source.read(images[PUBLIC], offset)) == DATA[offset:]


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot be listed"):
        list(DirectorySource(tmp_path / "none").images())


def test_data_that_go_away_after_they_were_listed(directory: Path) -> None:
    source = DirectorySource(directory)
    image = next(image for image in source.images() if image.id == PUBLIC)
    (directory / f"{PUBLIC}.img").unlink()
    with pytest.raises(ImageFileError, match="No such file"):
        list(source.read(image))


# The translation.


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"size": "5368709120"}, {"size": 5368709120}),
        ({"size": None}, {"size": None}),
        ({"created_at": "2010-02-03 09:34:01"}, {"created_at": "2010-02-03T09:34:01Z"}),
        ({"created_at": "2010-02-03T09:34:01"}, {"created_at": "2010-02-03T09:34:01Z"}),
        ({"created_at": "yesterday"}, {"created_at": "yesterday"}),
        ({"is_public": "True", "protected": "False"}, {"visibility": "public", "protected": False}),
        ({"deleted": False, "deleted_at": "", "date": "x", "location": "swift://u:p@h/c", "store": "s"}, {}),
        ({"properties": {"a": "b", "n": None, "i": 3}}, {"a": "b", "i": 3}),
        ({"something_else": "kept"}, {"something_else": "kept"}),
    ],
)
def test_translation(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert translate(old) == (new, [])


@pytest.mark.parametrize(
    "old",
    [
        {"is_public": None},
        {"protected": "maybe"},
        {"min_disk": "much"},
        {"properties": {"visibility": "public"}},
        {"name": "a", "properties": {"name": "b"}},
        {"properties": {"locations": "x"}},
    ],
)
def test_what_is_lost_in_translation_is_told(old: dict[str, Any]) -> None:
    new, lost = translate(old)
    assert len(lost) == 1
    assert new in ({}, {"name": "a"})


def test_which_metadata_are_old() -> None:
    assert is_v1({"is_public": True})
    assert is_v1({"properties": {}})
    assert not is_v1(metadata())
    assert not is_v1(metadata(properties="a property of that name", is_public="another"))


def test_the_table_is_documented() -> None:
    text = (ROOT / "docs" / "moving-from-glance-replicator.md").read_text(encoding="utf-8")
    rows = [
        [f"`{rule.field}`", f"`{rule.becomes}`" if rule.becomes not in ("", "*") else "", rule.how] for rule in TABLE
    ]
    assert table(text, "field") == rows
