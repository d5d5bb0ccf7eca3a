"""What the arguments of a command line stand for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from glancearchive.cli.origins import opened_origin
from glancearchive.endpoints.location import Kind, locate, require_server
from glancearchive.errors import LocalError, UsageError
from glancearchive.operations.select import Selection
from tests.archives import write_archive
from tests.command import environ, run
from tests.glances import metadata

DATA = b"an image\n" * 600
CLOUDS = "clouds:\n  mycloud: {auth_type: none, image_endpoint_override: 'http://127.0.0.1:1'}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with one of each kind, and a user without clouds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", os.devnull)
    for name in [name for name in os.environ if name.startswith("OS_") and name != "OS_CLIENT_CONFIG_FILE"]:
        monkeypatch.delenv(name)
    described = metadata(DATA)
    write_archive(tmp_path / "region.gla", (described, DATA))
    (tmp_path / "renamed").write_bytes((tmp_path / "region.gla").read_bytes())
    (tmp_path / "replicated").mkdir()
    (tmp_path / "replicated" / described["id"]).write_text("{}")
    (tmp_path / "images").mkdir()
    (tmp_path / "one.img").write_bytes(DATA)
    (tmp_path / "images" / "two.img").write_bytes(DATA)
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


@pytest.fixture
def clouds(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and a cloud `mycloud`."""
    (here / "clouds.yaml").write_text(CLOUDS)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(here / "clouds.yaml"))
    return here


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("region.gla", Kind.ARCHIVE),
        ("./region.gla", Kind.ARCHIVE),
        ("renamed", Kind.ARCHIVE),
        ("not-there.gla", Kind.ARCHIVE),
        ("replicated", Kind.REPLICATOR),
        ("images", Kind.FILES),
        ("images/", Kind.FILES),
        ("one.img", Kind.FILES),
        ("..", Kind.FILES),
        ("mycloud", Kind.SERVER),
        ("envvars", Kind.SERVER),
        ("", Kind.SERVER),
        ("glance.example.org", Kind.SERVER),
        ("10.0.0.1:9292", Kind.SERVER),
        ("[::1]:9292", Kind.SERVER),
        ("glance:9292/image", Kind.SERVER),
        ("https://glance.example.org/image", Kind.SERVER),
        ("ftp://glance.example.org", Kind.SERVER),  # whoever connects says what is wrong with it
    ],
)
def test_kinds(name: str, kind: Kind, here: Path) -> None:
    assert locate(name).kind is kind


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("./mycloud", "no such file or directory"),
        ("images/one.img", "no such file or directory"),
        ("debian.qcow2", "no such file or directory"),
        ("region.gla.part", "no such file or directory"),
        ("one.img/two", "Not a directory"),
        ("fifo", "no regular file, no directory and no archive"),
        ("x" * 300 + "/y", "File name too long"),
    ],
)
def test_paths_that_lead_nowhere(name: str, why: str, here: Path) -> None:
    with pytest.raises(LocalError, match=why):
        locate(name)


def test_an_archive_that_is_not_there(here: Path) -> None:
    with pytest.raises(LocalError, match="no such archive"), locate("not-there.gla").open():
        pass
    (here / "region.gla").rename(here / "region.gla.part")
    with pytest.raises(LocalError, match="is not finished"), locate("region.gla").open():
        pass
    assert locate("region.gla.part").kind is Kind.ARCHIVE


def test_a_directory_with_an_archive(here: Path) -> None:
    (here / "dv").mkdir()
    (here / "region.gla").rename(here / "dv" / "region.001.gla")
    (here / "dv" / "README").write_text("Read me.\n")
    assert locate("dv").kind is locate("dv", beside_archives=True).kind is Kind.ARCHIVE
    with locate("dv").open() as source:
        assert len(list(source.images())) == 1
    assert run("size", "dv", "--json").json["count"] == 1
    # An image beside it, by its content: then it is not clear what is meant, but to a dump, which may be writing there.
    (here / "dv" / "image").write_bytes(b"QFI\xfb\0\0\0\3" + bytes(4000))
    with pytest.raises(UsageError, match=r"has an archive in it and image files; name one of them: dv/region.001.gla"):
        locate("dv")
    assert locate("dv", beside_archives=True).kind is Kind.FILES
    (here / "dv" / "image").rename(here / "dv" / "other.gla")
    with pytest.raises(UsageError, match="has several archives, name one of them: other, region"):
        locate("dv")
    assert locate("dv", beside_archives=True).kind is Kind.FILES


def test_a_directory_with_an_archive_and_what_was_extracted_from_it(here: Path) -> None:
    """What takes either asks which is meant; what takes one of them only, takes that."""
    (here / "replicated" / "region.gla").write_bytes((here / "region.gla").read_bytes())
    words = "has an archive in it and the files of a directory of glance-replicator; name the archive: .*/region.gla"
    with pytest.raises(UsageError, match=words):
        locate("replicated")
    with pytest.raises(UsageError, match=words), opened_origin(Path("replicated"), (), Selection()):
        pass
    with opened_origin(Path("replicated/region.gla"), (), Selection()) as origin:
        assert origin.archive_id
    assert locate("replicated", beside_archives=True).kind is Kind.REPLICATOR
    for command in ("list", "verify"):
        assert len(run(command, "replicated", "--json").json["images"]) == 1
    for command in (["size"], ["compare", "images"]):
        done = run(*command, "replicated")
        assert (done.code, "name the archive: replicated/region.gla" in done.error) == (2, True)


@pytest.mark.parametrize("name", ["region.gla", "replicated", "images", "one.img"])
def test_sources(name: str, here: Path) -> None:
    with locate(name).open() as source:
        images = list(source.images())
        assert len(images) == 1
        if name != "replicated":
            assert b"".join(source.read(images[0])) == DATA
            assert list(source.faults) == []


def test_an_archive_tells_its_faults(here: Path) -> None:
    data = bytearray((here / "region.gla").read_bytes())
    (here / "region.gla").write_bytes(data + b"more")
    with locate("region.gla").open() as source:
        assert len(list(source.images())) == 1
        assert [fault.startswith("region.gla: bytes ") for fault in source.faults] == [True]


def test_several(here: Path) -> None:
    location = locate("images", "one.img", "region.gla")
    assert location.kind is Kind.FILES
    with location.open() as source:
        assert [image.name for image in source.images()] == ["two", "one"]


@pytest.mark.parametrize(("name", "what"), [("replicated", "glance-replicator"), ("mycloud", "a server")])
def test_what_cannot_be_named_with_others(name: str, what: str, here: Path) -> None:
    with pytest.raises(UsageError, match=what):
        locate("one.img", name)


def test_one_file_of_a_replicator_directory(here: Path) -> None:
    (name,) = (here / "replicated").iterdir()
    with pytest.raises(UsageError, match="has to be named instead: replicated"):
        locate(f"replicated/{name.name}")


def test_a_cloud_and_a_directory_of_one_name(clouds: Path, caplog: pytest.LogCaptureFixture) -> None:
    (clouds / "mycloud").mkdir()
    assert locate("mycloud").kind is Kind.SERVER
    assert [record.getMessage() for record in caplog.records] == [
        f"mycloud: the cloud of this name is meant; the path is .{os.sep}mycloud"
    ]
    caplog.clear()
    for name in ("./mycloud", "mycloud/", "images"):
        assert locate(name).kind is Kind.FILES
    assert caplog.records == []


def test_a_configuration_that_cannot_be_read_has_no_clouds(clouds: Path) -> None:
    for text in ("{", "clouds: []\n", "- a\n"):
        (clouds / "clouds.yaml").write_text(text)
        assert locate("images").kind is Kind.FILES


@pytest.mark.parametrize("name", ["region.gla", "replicated", "images", "./one.img"])
def test_where_a_server_is_needed(name: str, here: Path) -> None:
    with pytest.raises(UsageError, match="a server is needed"):
        require_server(name)
    require_server("mycloud")
    require_server("127.0.0.1:9292")


def test_it_needs_none_of_the_libraries_for_servers(here: Path) -> None:
    program = (
        "import sys\n"
        "from glancearchive.endpoints.location import locate\n"
        "for names in (['region.gla'], ['./replicated'], ['one.img', 'images/']):\n"
        "    with locate(*names).open() as source:\n"
        "        assert list(source.images())\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'openstack', 'keystoneauth1', 'requests'})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environ(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_server_by_its_address_needs_no_openstacksdk() -> None:
    """To import it is a third of what such a command would take to start."""
    program = (
        "import sys\n"
        "from glancearchive.endpoints.connect import connect\n"
        "from glancearchive.errors import ConnectError\n"
        "try:\n"
        "    connect('127.0.0.1:1')\n"
        "except ConnectError:\n"
        "    print('openstack' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environ(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


# On the command line.


def test_where_an_archive_is_needed(clouds: Path) -> None:
    env = {"OS_CLIENT_CONFIG_FILE": str(clouds / "clouds.yaml")}
    for command in (["list"], ["verify"], ["extract"], ["dump", "one.img"]):
        done = run(*command, "mycloud", env=env)
        assert (done.code, "mycloud is a cloud, and an archive is needed here" in done.stderr) == (2, True), done.stderr
        done = run(*command, "", env=env)
        assert (done.code, "an archive has a name, and this one is empty" in done.stderr) == (2, True), done.stderr
    assert "no such archive" in run("list", "./mycloud", env=env).stderr
    assert run("dump", "one.img", "./mycloud", env=env).code == 0
    assert run("list", "mycloud", env=env).code == 0  # it is there


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["region.gla", "x.gla"], 2, ["region.gla: is an archive; a dump takes a server or files"]),
        (["one.img", "region.gla", "images", "10.0.0.1:9292", "x.gla"], 2, ["10.0.0.1:9292: is a server"]),
        (["typo.qcow2", "x.gla"], 3, ["typo.qcow2: there is no such file or directory"]),
        (["one.img", "images/typo", "x.gla"], 3, ["images/typo: there is no such file or directory"]),
        (["nosuch.gla", "x.gla"], 3, ["nosuch.gla: no such archive"]),
        (["one.img", "images/two.img"], 3, ["images/two.img: exists already, and is no archive"]),
        (["typo", "x.gla"], 2, ["unknown cloud 'typo'", "known are: mycloud"]),
        (["", "x.gla"], 2, ["unknown cloud ''"]),
        (["one.img"], 2, ["Missing argument"]),
        (["one.img", "-"], 2, ["stdout"]),
    ],
)
def test_dump_of_something_else(arguments: list[str], code: int, words: list[str], clouds: Path) -> None:
    done = run("dump", *arguments, env={"OS_CLIENT_CONFIG_FILE": str(clouds / "clouds.yaml")})
    assert (done.code, done.stdout) == (code, b""), done.stderr
    assert all(word in done.stderr for word in words)
    assert not list(clouds.glob("x.gla*"))
