"""What people see: counts by a clock of the test's own, screens on a terminal that is read back, lines in a pipe."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glancearchive.cli.output import size_text, time_text
from glancearchive.cli.tally import Tally
from glancearchive.cli.transfers import Announced
from glancearchive.cli.wording import line
from glancearchive.image import Buffer, Holding, Image
from tests.archives import write_archive
from tests.cloud.glance import MIB, Glance
from tests.cloud.images import pattern
from tests.command import assert_harmless, environ, finished, run
from tests.fake_glance import FakeGlance
from tests.glances import metadata
from tests.scripted_http import FORWARD, Reply, ScriptedHttp
from tests.terminal import Terminal

NAME = "Grüße 你好 \x1b[31mred\r\x07"
SHOWN = r"Grüße 你好 \x1b[31mred\r\x07"
BAR = "━"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def image(name: str, size: int | None = 100, **more: Any) -> Image:
    return Image({"id": name, "name": f"name of {name}", "size": size}, **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(clock: Clock) -> Tally:
    return Tally(clock)


# Counts.


def test_images_and_bytes(tally: Tally, clock: Clock) -> None:
    a, b, c = image("a", 1000), image("b", 3000), image("c", None)
    for each in (a, b, c):
        tally.expect(each)
    tally.start(a, 0)
    tally.advance(a, 400)
    clock.now += 2
    now = tally.snapshot()
    assert (now.ready, now.images, now.done, now.total, now.moved, now.kept) == (0, 3, 400, 4000, 400, 0)
    assert (now.rate, now.elapsed, now.complete, now.left) == (200, 2, False, None)
    tally.all_expected()
    assert tally.snapshot().left == 18
    (one,) = tally.snapshot().under_way
    assert (one.id, one.name, one.position, one.size, one.rate, one.left) == ("a", "name of a", 400, 1000, 200, 3)
    tally.advance(a, 600)
    tally.ended("a", "copied", 1000)
    tally.ended("c", "no-data", 0)
    tally.ended("b", "failed", 0)  # nothing of it is left to do
    now = tally.snapshot()
    assert (now.ready, now.done, now.total, now.under_way, now.left) == (3, 4000, 4000, (), 0)
    assert now.ended == {"copied": 1, "no-data": 1, "failed": 1}


def test_what_was_there_before_is_no_progress(tally: Tally, clock: Clock) -> None:
    there, begun = image("there", 5000), image("begun", 1000)
    tally.expect(there)
    tally.expect(begun)
    tally.all_expected()
    tally.ended("there", "present", 5000)
    for position in (200, 400, 600):  # read back, from the archive
        clock.now += 1
        tally.start(begun, position)
    now = tally.snapshot()
    assert (now.done, now.kept, now.moved, now.rate, now.left) == (5600, 5000, 0, 0, None)
    tally.advance(begun, 400)
    tally.ended("begun", "copied", 1000)
    now = tally.snapshot()
    assert (now.done, now.kept, now.moved) == (6000, 5600, 400)


def test_what_is_sent_again_is_not_done_twice(tally: Tally) -> None:
    one = image("one", 1000)
    tally.expect(one)
    for _ in range(2):
        tally.start(one, 0)
        tally.advance(one, 900)
    now = tally.snapshot()
    assert (now.done, now.total, now.moved, now.under_way[0].position) == (900, 1000, 1800, 900)
    tally.start(one, 0)
    assert tally.snapshot().done == 0


def test_the_rate_is_that_of_the_last_half_minute(tally: Tally, clock: Clock) -> None:
    one = image("one", 1 << 40)
    for second in range(60):
        clock.now += 1
        tally.advance(one, 1000 if second < 30 else 10)
        tally.snapshot()
    assert tally.snapshot().rate == pytest.approx(10, rel=0.01)
    assert tally.snapshot().under_way[0].rate == pytest.approx(10, rel=0.01)
    clock.now += 3600  # looked at rarely, as in a log
    assert tally.snapshot().rate < 1


def test_what_an_archive_saves_is_that_of_this_run(tally: Tally) -> None:
    stored = [5000]
    tally.stores(lambda: stored[0])
    assert (tally.snapshot().stored, tally.snapshot().saved) == (5000, None)
    tally.advance(image("one", 10_000), 4000)
    stored[0] += 1000
    assert (tally.snapshot().stored, tally.snapshot().saved) == (6000, 0.75)


def test_images_that_nobody_announced(tally: Tally) -> None:
    """Nobody tells of their end either."""
    one = image("one", 100)
    tally.advance(one, 60)
    assert [each.id for each in tally.snapshot().under_way] == ["one"]
    tally.advance(one, 40)
    tally.advance(image("size unknown", None), 40)
    now = tally.snapshot()
    assert (now.under_way, now.images, now.total, now.moved) == ((), 0, 0, 140)


def test_images_are_announced_some_time_before(tally: Tally) -> None:
    class Many:
        label = "many"
        asked = 0

        def images(self) -> Iterator[Image]:
            for number in range(5000):
                self.asked += 1
                yield image(str(number), 10)

        def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
            yield b"x"

    many = Many()
    images = Announced(many, tally).images()
    assert next(images).id == "0"
    assert (many.asked, tally.snapshot().images, tally.snapshot().complete) == (2001, 2001, False)
    assert [one.id for one in images] == [str(number) for number in range(1, 5000)]
    assert (tally.snapshot().total, tally.snapshot().complete) == (50_000, True)


def test_images_without_data_are_no_work(tally: Tally) -> None:
    class Few:
        label = "few"

        def images(self) -> Iterator[Image]:
            yield image("a", 10, absent="queued")
            yield image("b", 10, held=Holding(lacking="damaged"))
            yield image("c", 10)

        def read(self, image: Image, offset: int = 0) -> Iterator[Buffer]:
            yield b"x"

    list(Announced(Few(), tally).images())
    assert (tally.snapshot().images, tally.snapshot().total) == (3, 10)


# Words.


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3600, "1:00:00"), (86399, "23:59:59"), (273_900, "3 d 04:05")],
)
def test_times(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_sizes() -> None:
    assert [size_text(size) for size in (None, 0, 1023, 1023.7, 1536, 5 << 40)] == [
        "-",
        "0 B",
        "1023 B",
        "1023 B",
        "1.5 KiB",
        "5.0 TiB",
    ]


def test_a_line(tally: Tally, clock: Clock) -> None:
    tally.stores(lambda: 100 * MIB)
    one = image("one", 2048 * MIB)
    tally.expect(one)
    tally.expect(image("two", 0))
    tally.start(one, 512 * MIB)
    tally.advance(one, 600 * MIB)
    clock.now += 10
    assert line("dumped", tally.snapshot()) == (
        "dumped: 0 of 2+ images, 1.1 GiB of 2.0 GiB (54%), 60.0 MiB/s; stored 100.0 MiB, 100% saved; at name of one 54%"
    )
    tally.all_expected()
    tally.ended("two", "present", 0)
    tally.advance(one, 936 * MIB - 1)
    assert line("dumped", tally.snapshot()).startswith("dumped: 1 of 2 images, 2.0 GiB of 2.0 GiB (99%), ")


def test_a_line_is_not_long_however_much_is_under_way(tally: Tally) -> None:
    for number in range(64):
        one = image("x" * 200 + str(number), 1000)
        tally.expect(one)
        tally.start(one, 0)
    assert line("loaded", tally.snapshot()).endswith(" and 61 more")
    assert len(line("loaded", tally.snapshot())) < 400


# Screens.

SCENE = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
from glancearchive.cli.output import note
from glancearchive.cli.progress import showing_progress
from glancearchive.image import Image
with showing_progress("dumped", quiet=False) as progress:
    for number in range(300):
        name = "%s " + "long " * 30 + str(number)
        image = Image({"id": str(number), "name": name, "size": 5 << 30})
        progress.expect(image)
        if number < 64:
            progress.start(image, number << 26)
    progress.all_expected()
    for number in range(100):
        note(f"copied: line {number}", "green")
    signal.sigwait({signal.SIGUSR1})
    note("copied: the last line", "green")
print("done")
"""


@pytest.mark.parametrize(("columns", "lines"), [(250, 50), (120, 24), (80, 24), (60, 10), (40, 6), (25, 5)])
def test_hundreds_of_images_on_every_terminal(columns: int, lines: int) -> None:
    program = [sys.executable, "-c", SCENE.replace("%s", r"G\\x1b[31m 你")]
    with Terminal(program=program, columns=columns, lines=lines) as terminal:
        shown = terminal.until(lambda text: "0 of 300" in text and "more under way" in text[-columns:])
        rows = [one for one in shown.splitlines() if one.startswith("G")]
        assert len(rows) == max(1, min(16, lines - 4))
        assert all(one.startswith(r"G\x1b[31m"[: columns // 4]) for one in rows)
        assert (BAR in shown) == (columns >= 80)
        assert ("of 5.0 GiB" in shown) == (columns >= 60)
        assert ("0 B/s" in shown) == (columns >= 100)
        assert re.search(rf"copied: line 99\n(.*\n){{{len(rows)}}}.*0 of 300", shown), shown
        assert not terminal.screen.cursor.hidden
        terminal.signal(signal.SIGUSR1)
        assert terminal.wait() == 0
        lasting = terminal.everything.splitlines()
    assert lasting == [
        *(f"copied: line {number}" for number in range(100)),
        "copied: the last line",
        "done",
    ]


@pytest.fixture(scope="module")
def filled(glance_a: Glance) -> dict[str, str]:
    """Ids of images by name."""
    client = glance_a.client()
    ids = {}
    for name, size in (("slow", 4 * MIB), (NAME, MIB), ("small", 1000)):
        ids[name] = str(client.create(name=name, tags=["progress"])["id"])
        client.upload(ids[name], pattern(size, size))
    return ids


CHOSEN = ("--tag", "progress")


def test_a_dump_that_is_interrupted_and_gone_on_with(glance_a: Glance, filled: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "x.gla"
    dump = ("dump", glance_a.url, path, *CHOSEN)
    with Terminal(*dump, "--bwlimit", "1500K") as terminal:
        shown = terminal.until(lambda text: "2 of 3 images" in text and BAR in text)
        assert SHOWN in shown
        assert re.search(r"slow +━.* \d+% +\d\.\d MiB of 4\.0 MiB +\d+\.\d [KM]iB/s +\d:\d\d", shown), shown
        assert re.search(r"2 of 3 images +━.* \d+% +\d\.\d MiB of 5\.0 MiB +\d+\.\d [KM]iB/s +\d:\d\d", shown), shown
        assert re.search(r"^2 copied, stored ", shown, re.MULTILINE)
        terminal.type(b"\x03")
        assert terminal.wait() == 130
        assert "glancearchive: error: interrupted" in terminal.text
        assert f"{path}.part; the same command goes on" in terminal.text.replace("\n", "")
        assert re.search(r"^glancearchive: dumped: 2 of 3 images, \d\.\d MiB of 5\.0 MiB ", terminal.text, re.MULTILINE)
        assert BAR not in terminal.text  # nothing of the display is left
        assert not terminal.screen.cursor.hidden
        assert terminal.screen.cursor.x == 0
    with Terminal(*dump, "--bwlimit", "1M") as terminal:
        shown = terminal.until(lambda text: "were there" in text)
        assert "going on with" in shown
        assert terminal.wait() == 0
        assert re.search(r"^3 images: .*2 present", terminal.text, re.MULTILINE), terminal.text
        assert "were there already" in terminal.text
        assert BAR not in terminal.everything


def test_the_second_interruption_leaves_a_line_of_its_own(glance_a: Glance, filled: Any, tmp_path: Path) -> None:
    with Terminal("dump", glance_a.url, tmp_path / "x.gla", *CHOSEN, "--bwlimit", "100K") as terminal:
        terminal.until(lambda text: "of 3 images" in text)
        terminal.type(b"\x03\x03")
        terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 130
        assert terminal.screen.cursor.x == 0
        assert not terminal.screen.cursor.hidden


def test_a_retry_is_told_above_the_display(glance_a: Glance, filled: dict[str, str], tmp_path: Path) -> None:
    with ScriptedHttp(glance_a.url) as proxy:
        data = f"/v2/images/{filled['slow']}/file"
        proxy.on("GET", data, Reply(forward=True, cut=MIB), Reply(503, b"busy", {"Retry-After": "2"}), FORWARD)
        with Terminal("dump", proxy.url, tmp_path / "x.gla", *CHOSEN, columns=200) as terminal:
            shown = terminal.until(lambda text: "attempt 3" in text and "2 of 3 images" in text)
            *_, told = [one for one in shown.splitlines() if "attempt" in one]
            assert told.endswith("503 Service Unavailable: busy; attempt 3 of 7 in 2 s")
            assert filled["slow"] in told
            assert BAR not in shown[: shown.index("attempt 3")]
            assert terminal.wait() == 0
            assert "3 images: 3 copied" in terminal.text


def test_what_is_sent_again_goes_back(filled: Any, glance_a: Glance, glance_b: Glance, tmp_path: Path) -> None:
    """An upload that was cut begins at its start, and so does its bar."""
    described = metadata(data := pattern(5 * MIB, 9), name="cut upload")
    archive = write_archive(tmp_path / "x.gla", (described, data))
    upload = ("PUT", f"/v2/images/{described['id']}/file")
    with ScriptedHttp(glance_b.url) as proxy:
        proxy.on(*upload, Reply(cut_request=4 * MIB), FORWARD)
        with Terminal("load", proxy.url, archive, "--bwlimit", "4M", columns=200) as terminal:
            terminal.until(lambda text: "attempt 2" in text)
            terminal.until(lambda text: re.search(r"cut upload .* (0|[1-3]?\d)% ", text))
            assert terminal.wait() == 0
            assert re.search(r"took \d:\d\d for [89]\.\d MiB", terminal.text)


def test_colours(server: FakeGlance, tmp_path: Path) -> None:
    server.on("GET", server.data_path(server.bad), Reply(403, b"{}"))
    for name, env, sought in (
        ("a", {}, True),
        ("b", {"NO_COLOR": "1"}, False),
        ("c", {"NO_COLOR": ""}, True),
        ("d", {"TERM": "dumb"}, False),
    ):
        with Terminal("dump", server.url, tmp_path / f"{name}.gla", env=env) as terminal:
            assert terminal.wait() == 1
            assert (b"\x1b[31mrefused\x1b[0m: " in terminal.raw) == sought, name
            assert (b"\x1b[32mcopied\x1b[0m: " in terminal.raw) == sought, name
            assert bool(re.search(rb"\x1b\[[0-9;]*(3[0-7]|38;)[0-9;]*m", terminal.raw)) == sought, name
            assert (b"\x1b" in terminal.raw) == (env.get("TERM") != "dumb")


def test_a_log_has_lines_and_nothing_else(glance_a: Glance, filled: dict[str, str], tmp_path: Path) -> None:
    done = run("dump", glance_a.url, tmp_path / "x.gla", *CHOSEN)
    assert done.code == 0
    assert_harmless(done.stderr)
    assert_harmless(done.stdout)
    assert sorted(re.findall(r"^copied: (\S+) ", done.stderr, re.MULTILINE)) == sorted(filled.values())
    assert len(done.stderr.splitlines()) == 3
    first, second = done.text.splitlines()
    assert re.fullmatch(r"3 images: 3 copied; 5\.0 MiB, stored in 5\.\d MiB: .*x\.gla", first)
    assert re.fullmatch(r"took \d+:\d\d for 5\.0 MiB, \d+\.\d [MG]iB/s", second)


TICKS = """
import glancearchive.cli.progress as progress
progress._LOG = 0.1
from glancearchive.cli import main
main()
"""


def test_lines_now_and_then(glance_a: Glance, filled: Any, tmp_path: Path) -> None:
    """However many pieces go through; the interval is made short here."""
    arguments = ["dump", glance_a.url, tmp_path / "x.gla", *CHOSEN, "--bwlimit", "5M"]
    done = subprocess.run(
        [sys.executable, "-c", TICKS, *map(str, arguments)], env=environ(), capture_output=True, check=False
    )
    told = finished(done.returncode, done.stdout, done.stderr)
    lines = re.findall(r"^dumped: \d of 3 images, .* MiB of 5\.0 MiB \(\d+%\), .*/s.*$", told.stderr, re.MULTILINE)
    assert len(lines) > 2
    assert_harmless(told.stderr)


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_nothing_is_shown_when_nothing_is_wanted(option: str, glance_a: Glance, filled: Any, tmp_path: Path) -> None:
    out = tmp_path / "stdout"
    with Terminal("dump", glance_a.url, tmp_path / "x.gla", *CHOSEN, option, stdout=out) as terminal:
        assert terminal.wait() == 0
        assert terminal.raw == b""
    assert out.read_text().startswith("3 images: 3 copied" if option == "--quiet" else "{")


def test_what_has_to_be_looked_at_is_said_at_the_end(server: FakeGlance, tmp_path: Path) -> None:
    bad = [{**server.bad, "id": f"bad-{number}", "name": NAME} for number in range(25)]
    server.on("GET", "/v2/images", Reply.json({"images": [*bad, server.good]}))
    done = run("dump", server.url, tmp_path / "x.gla", "--quiet")
    assert done.code == 1
    first, second, *findings, last = done.text.splitlines()
    assert first.startswith("26 images: 1 copied, 25 refused; 14 B, stored in ")
    assert second.startswith("took 0:0")
    assert len(findings) == 20
    assert all(one.startswith("refused: bad-") and repr(NAME)[1:-1] in one for one in findings)
    assert last == "and 5 more images to be looked at: see above, or --json"
    assert done.stderr.count("refused: ") == 25


def test_dropped_and_differing_fields_are_counted(glance_b: Glance, tmp_path: Path) -> None:
    described = metadata(b"counted", cinder_encryption_key_deletion_policy="on_image_deletion")
    archive = write_archive(tmp_path / "x.gla", (described, b"counted"))
    done = run("load", glance_b.url, archive)
    assert done.code == 1
    assert done.text.startswith("1 image: 1 copied; 1 metadata field dropped; 7 B into ")
    assert done.text.splitlines()[-1].endswith("sha512 verified (metadata fields: 1 dropped)")


def test_verify_and_extract_on_a_terminal(tmp_path: Path) -> None:
    described = metadata(data := pattern(20 * MIB, 4), name=NAME)
    archive = write_archive(tmp_path / "x.gla", (described, data))
    with Terminal("verify", "--glance-hash", archive) as terminal:
        assert terminal.wait() == 0
        assert terminal.text.startswith("1 of 1 image is whole")
        assert b"\x1b[32mok\x1b[0m: " in terminal.raw
    with Terminal("extract", archive, "-o", f"{tmp_path}/out/") as terminal:
        assert terminal.wait() == 0
        assert terminal.text == f"extracted: {described['id']} ({NAME!r}), 20.0 MiB\n1 of 1 image extracted, 20.0 MiB"


def test_rich_is_for_terminals_alone(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "x.gla", (metadata(b"x"), b"x"))
    program = "import sys; from glancearchive.cli import cli; cli.main(sys.argv[1:], standalone_mode=False)"
    program += "; sys.exit('rich' in sys.modules)"
    for command in ("list", "verify"):
        assert (
            subprocess.run([sys.executable, "-c", program, command, archive], env=environ(), check=False).returncode
            == 0
        )


@pytest.fixture
def server() -> Iterator[FakeGlance]:
    with FakeGlance() as running:
        yield running


def test_a_long_name_does_not_make_the_table_unreadable(tmp_path: Path) -> None:
    """On a terminal it is cut, elsewhere it is whole; it moves nothing in the other lines."""
    names = ["short", "n" * 255, "名" * 100]
    archive = write_archive(
        tmp_path / "x.gla", *((metadata(b"x", id=f"i{len(name)}", name=name), b"x") for name in names)
    )
    with Terminal("list", archive, columns=120) as terminal:
        assert terminal.wait() == 0
    shown = [line for line in terminal.everything.splitlines() if line.startswith(("ID", "i"))]
    assert len(shown) == 4
    assert [line.index("complete") for line in shown[1:3]] == [shown[0].index("STATUS")] * 2
    assert f"{'n' * 47}…  complete" in shown[2]
    lines = run("list", archive).text.splitlines()
    assert lines[1].index("complete") == lines[0].index("STATUS") == shown[0].index("STATUS")
    assert all(name in line for name, line in zip(names, lines[1:], strict=True))
