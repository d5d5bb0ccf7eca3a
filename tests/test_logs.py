"""``--log-file`` and ``-v``: everything with its time, nothing that is secret, nothing forged, nothing spoilt."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from glancearchive.cli.logs import LogFile
from tests.archives import write_archive
from tests.cloud.cloud import Cloud
from tests.cloud.glance import Glance
from tests.cloud.keystone import PASSWORD
from tests.command import assert_harmless, environ, run
from tests.fake_glance import FakeGlance
from tests.glances import metadata
from tests.scripted_http import Reply
from tests.terminal import Terminal

LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d) "
    r"(?P<level>DEBUG|INFO|WARNING|ERROR) +(?P<thread>[\w-]+): (?P<message>.*)"
)
NAME = "evil\n2026-01-01T00:00:00.000+00:00 INFO    MainThread: forged \x1b[31m"


def messages(path: Path) -> list[str]:
    """The messages of a log file, each of whose lines is as it should be."""
    text = path.read_text(encoding="utf-8")
    assert_harmless(text)
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    times = [datetime.fromisoformat(one["time"]) for one in found if one]
    assert times == sorted(times)
    return [one["message"] for one in found if one]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "x.gla", (metadata(b"one", name=NAME), b"one"))


def test_everything_stands_in_it(glance_a: Glance, tmp_path: Path) -> None:
    client = glance_a.client()
    image_id = client.create(name=NAME, tags=["logged"])["id"]
    client.upload(image_id, b"data")
    log = tmp_path / "dump.log"
    arguments = ("dump", glance_a.url, tmp_path / "x.gla", "--tag", "logged", "--log-file", log)
    done = run(*arguments, "--quiet")
    assert (done.code, done.stderr) == (0, "")
    first, *between, last = messages(log)
    assert re.fullmatch(r"glancearchive \S+, Python \S+ on \w+: dump http.* --quiet", first)
    assert last == "ended with exit code 0"
    assert [one for one in between if one.startswith(f"copied: {image_id} ")]
    requests = [one for one in between if re.search(r": (GET|POST|PUT) /v2/\S+: 200 \[req-[0-9a-f-]{36}\]$", one)]
    assert [one for one in requests if f"reading image {image_id} from byte 0: GET" in one]
    # It is appended to.
    again = run(*arguments)
    assert again.code == 0
    assert messages(log)[: len(between) + 2] == [first, *between, last]
    assert [one for one in messages(log) if "nothing was done (see --append)" in one]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("verify", "none.gla"), 3, "error: none.gla: "),
        (("dump", "no-such-cloud", "x.gla"), 2, "unknown cloud 'no-such-cloud'"),
        (("extract", "x.gla", "no such image"), 2, "no image 'no such image'"),
    ],
)
def test_errors_stand_in_it(arguments: tuple[str, ...], code: int, said: str, archive: Path) -> None:
    log = archive.parent / "log"
    done = run(*arguments, "--log-file", log, cwd=archive.parent)
    assert done.code == code
    *_, error, last = messages(log)
    assert said in error
    assert last == f"ended with exit code {code}"


def test_warnings_and_findings_stand_in_it(tmp_path: Path) -> None:
    with FakeGlance(Reply(500, b"<b>no\nINFO</b>"), Reply(200, b"wrong")) as server:
        server.bad["name"] = NAME
        done = run("dump", server.url, tmp_path / "x.gla", "--log-file", tmp_path / "log", "--json", impatient=True)
    assert done.code == 1
    told = messages(tmp_path / "log")
    assert [one for one in told if "500 Internal Server Error: no INFO; attempt 2 of 3 in 1 s" in one]
    assert [one for one in told if one.startswith(f"failed: {server.bad['id']} ")]
    assert [one for one in told if one.startswith(f"copied: {server.good['id']} ")]


def test_lines_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    """Also when a thread is held up between what happened and its line."""
    first, second = (logging.LogRecord("x", logging.INFO, "", 0, text, None, None) for text in ("first", "second"))
    first.created, second.created = 1000.0, 2000.0
    with closing(LogFile(tmp_path / "log")) as log:
        log.handle(second)
        log.handle(first)
    assert messages(tmp_path / "log") == ["second", "first"]


def test_no_secret_is_ever_logged(cloud: Cloud, tmp_path: Path) -> None:
    """Neither of a login, nor of tokens that were renewed after a refusal, nor of uploads."""
    env = {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml), "HOME": str(tmp_path)}
    archive = write_archive(tmp_path / "x.gla", (metadata(b"secret?"), b"secret?"))
    log = tmp_path / "log"
    clouds = json.loads(cloud.clouds_yaml.read_text())["clouds"]
    secrets = {clouds["appcred-a"]["auth"]["application_credential_secret"], PASSWORD}
    output = ""
    for name in ("admin-a", "appcred-a", "reader-a"):
        assert name in clouds
        done = run("load", name, archive, "-vv", "--log-file", log, env=env)
        output += done.stderr + done.text
    text = log.read_text() + output
    assert len(re.findall(r"POST /v2/images: 201", text)) > 0
    assert [secret for secret in secrets if secret in text] == []
    assert "gAAAA" not in text  # how a Fernet token begins
    assert not re.search("x-auth-token|x-subject-token|authorization", text, re.IGNORECASE)


@pytest.mark.parametrize(
    "url", ["http://user:word@x", "http://user:pa/s@word@x:1", "http://x/?token=word", "http://user:wo@rd:word@x"]
)
def test_what_is_secret_in_a_url_is_not_logged(url: str, tmp_path: Path) -> None:
    done = run("dump", url, tmp_path / "x.gla", "--log-file", tmp_path / "log", "-vv")
    assert done.code == 2
    assert "word" not in (tmp_path / "log").read_text() + done.stderr
    assert len(messages(tmp_path / "log")) == 3


@pytest.mark.parametrize("option", [(), ("-v",), ("-vv",)])
def test_how_much_is_said(option: tuple[str, ...], tmp_path: Path) -> None:
    with FakeGlance() as server:
        done = run("dump", server.url, tmp_path / "x.gla", "--quiet", *option)
    assert done.code == 0
    assert ("GET /v2/images" in done.stderr) == (option == ("-vv",))
    assert all(line.startswith("glancearchive: ") for line in done.stderr.splitlines())
    with FakeGlance(Reply(403, b"{}")) as server:
        spoken = run("dump", server.url, tmp_path / "y.gla", *option)
    assert spoken.stderr.count("refused: ") == 1  # not once more by the log


def test_what_is_no_text_is_not_touched(archive: Path) -> None:
    before = archive.read_bytes()
    done = run("verify", archive.parent, "--log-file", archive)
    assert (done.code, done.error) == (2, f"--log-file {archive}: exists, and is no text; it was not touched")
    assert archive.read_bytes() == before


@pytest.mark.parametrize("given", ["new.gla", "sub/../new.gla", "new.gla.part", "link/new.gla", "text.img"])
def test_what_the_command_names_otherwise_is_not_its_log(given: str, tmp_path: Path) -> None:
    (tmp_path / "text.img").write_text("an image\n", encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    done = run("dump", "text.img", "new.gla", "--log-file", given, cwd=tmp_path)
    assert done.code == 2
    assert done.error == f"--log-file {given}: the command line names this file for something else, too"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "sub", "text.img"]
    assert (tmp_path / "text.img").read_text(encoding="utf-8") == "an image\n"


def test_a_log_may_be_called_as_an_image_is(archive: Path, tmp_path: Path) -> None:
    assert run("show", archive, "small", "--log-file", "small", cwd=tmp_path).error == (
        "no image 'small' in the archive (see: glancearchive list)"
    )


def test_a_file_that_cannot_be_opened(archive: Path) -> None:
    for path, why in (
        (archive.parent, "Is a directory"),
        (archive.parent / "none" / "log", "No such file or directory"),
    ):
        done = run("list", archive, "--log-file", path)
        assert (done.code, done.stdout, done.error) == (3, b"", f"--log-file {path}: {why}")


def test_a_full_disk_ends_the_log_alone(archive: Path) -> None:
    done = run("verify", archive, "--log-file", "/dev/full", "-v")
    assert done.code == 0
    assert done.stderr.count("/dev/full") == 1
    assert "No space left on device; nothing more is written to this log" in done.stderr


BROKEN = """
import glancearchive.cli.inspect as inspect
def choose(*_):
    raise RuntimeError("a defect\\nforged")
inspect.choose = choose
from glancearchive.cli import main
main()
"""


def test_a_defect_of_the_program_leaves_where_it_was(archive: Path) -> None:
    log = archive.parent / "log"
    program = [sys.executable, "-c", BROKEN, "show", str(archive), "x", "--log-file", str(log)]
    assert subprocess.run(program, env=environ(), capture_output=True, check=False).returncode == 1
    lines = log.read_text().splitlines()
    assert "    Traceback (most recent call last):" in lines
    assert "    RuntimeError: a defect" in lines
    assert all(LINE.fullmatch(line) or line.startswith("    ") for line in lines)


def test_lines_of_the_log_do_not_tear_the_display(glance_a: Glance, tmp_path: Path) -> None:
    client = glance_a.client()
    for number in range(10):
        client.upload(client.create(name=f"torn {number}", tags=["torn"])["id"], bytes(300_000))
    arguments = ("dump", glance_a.url, tmp_path / "x.gla", "--tag", "torn", "--bwlimit", "2M", "-vv")
    with Terminal(*arguments, columns=250, lines=60) as terminal:
        assert terminal.wait() == 0
        lines = terminal.everything.splitlines()
    assert len([one for one in lines if "GET /v2/images" in one]) >= 13
    assert all(re.match(r"glancearchive: |copied: |10 images: |took ", one) for one in lines), lines
