"""The demo judges by itself whether two Glances hold the same: its judgement is held against differences made here."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.comparison import Row, compare, render
from demo.subjects import Subject, choose, guess_format, put
from tests.cloud.glance import Glance, GlanceClient
from tests.cloud.images import pattern
from tests.command import ROOT, run

Change = Callable[[GlanceClient, str], object]


def patched(path: str, value: Any) -> Change:
    return lambda client, image_id: client.patch(image_id, {"op": "add", "path": path, "value": value})


def removed(path: str) -> Change:
    return lambda client, image_id: client.patch(image_id, {"op": "remove", "path": path})


def rows_after(first: Glance, second: Glance, *changes: Change) -> Row:
    """Puts the same image into both, changes it in the second, and returns what the comparison says of it."""
    chosen = str(uuid.uuid4())
    for glance in (first, second):
        client = glance.client()
        client.add(b"the same", id=chosen, name="Grüße", visibility="shared", tags=["b", "a"], empty="", kept="x")
        client.add_member(chosen, "a-project", "accepted")
    for change in changes:
        change(second.client(), chosen)
    return next(row for row in compare(first.client(), second.client()) if row.image["id"] == chosen)


def test_what_is_the_same_is_the_same(glance_a: Glance, glance_b: Glance) -> None:
    row = rows_after(glance_a, glance_b)
    assert row.same, render([row])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(patched("/name", "Grusse"), id="name"),
        pytest.param(patched("/tags", ["a"]), id="tags"),
        pytest.param(patched("/os_hidden", True), id="hidden"),
        pytest.param(patched("/protected", True), id="protected"),
        pytest.param(patched("/min_ram", 1), id="min_ram"),
        pytest.param(patched("/more", "x"), id="property added"),
        pytest.param(removed("/empty"), id="empty property removed"),
        pytest.param(lambda client, image: client.add_member(image, "another"), id="member added"),
        pytest.param(
            lambda client, image: client.call(
                "PUT", f"/v2/images/{image}/members/a-project", json={"status": "pending"}
            ),
            id="member status",
        ),
    ],
)
def test_every_difference_in_metadata_is_seen(glance_a: Glance, glance_b: Glance, change: Change) -> None:
    row = rows_after(glance_a, glance_b, change)
    assert len(row.metadata) == 1, render([row])
    assert not row.data
    assert "DIFFERENT" in render([row])


def test_other_data_and_no_image_are_seen(glance_a: Glance, glance_b: Glance) -> None:
    chosen = str(uuid.uuid4())
    only = glance_a.client().add(b"only here")["id"]
    glance_a.client().add(b"one thing", id=chosen)
    glance_b.client().add(b"or another", id=chosen)
    rows = {row.image["id"]: row for row in compare(glance_a.client(), glance_b.client())}
    assert [difference.split(":")[0] for difference in rows[chosen].data] == ["checksum", "os_hash_value", "size"]
    assert rows[only].data == ("is missing",)
    assert not rows[chosen].same


def test_formats_are_guessed_by_content_before_name(tmp_path: Path) -> None:
    def guess(name: str, head: bytes) -> str | None:
        (tmp_path / name).write_bytes(head)
        return guess_format(tmp_path / name)

    assert guess("disk.img", b"QFI\xfb" + bytes(100)) == "qcow2"
    assert guess("disk.raw", bytes(100)) == "raw"
    assert guess("disk.img", bytes(32769) + b"CD001" + bytes(100)) == "iso"
    assert guess("README.txt", b"no image") is None
    assert guess("disk.qcow2", b"no image") is None


def test_own_images_are_taken_and_others_named(
    tmp_path: Path, glance_a: Glance, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "disk.img").write_bytes(pattern(5000))
    (tmp_path / "bad.vmdk").write_bytes(b"KDMV" + pattern(5000))
    (tmp_path / "notes.txt").write_text("no image")
    client = glance_a.client()
    subjects = list(choose(tmp_path, tmp_path / "scratch", 1))
    assert [subject.name for subject in subjects] == ["bad.vmdk", "disk.img", "still waiting for its data"]
    sizes = [put(client, Subject(subject.name, subject.path, subject.disk_format)) for subject in subjects]
    assert sizes == [0, 5000, 0]
    told = capsys.readouterr().out
    assert "left out: notes.txt" in told
    assert "left out: bad.vmdk: the server says 415" in told


def interruptible() -> None:
    """In the new process: a shell has what it starts in the background ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_the_glances_to_practise_on_run_until_they_are_interrupted(
    number: int, code: int, cloud_environment: None
) -> None:
    program = [sys.executable, "-m", "demo.practice"]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible) as process:
        try:
            assert process.stdout is not None
            told = "".join(iter(process.stdout.readline, "\n"))  # up to the first empty line
            told += "".join(iter(process.stdout.readline, "\n"))
            variable = re.search("export (OS_CLIENT_CONFIG_FILE)=(.*)", told)
            assert variable, told
            assert run("size", "here", "--json", env={variable[1]: variable[2]}).json["count"] == 4
            process.send_signal(number)
            assert process.wait(60) == code
        finally:
            process.kill()
    assert not Path(variable[2]).exists()
