"""Reading from real Glances, through faults where it says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from glancearchive.endpoints.glance_source import GlanceSource, absence
from glancearchive.endpoints.retry import Patience
from glancearchive.errors import AccessError, ConnectError, NoDataError, StreamError, UnavailableError
from glancearchive.image import Image
from glancearchive.zeros import are_zeros
from tests.cloud.cloud import Cloud
from tests.cloud.glance import MIB, Glance
from tests.glances import DATA, IMPATIENT, api, metadata
from tests.scripted_http import FORWARD, Reply, ScriptedHttp


def source(url: str, patience: Patience = IMPATIENT, **options: Any) -> GlanceSource:
    return GlanceSource(api(url, patience, **options))


def stored(glance: Glance, data: bytes = DATA, **more: Any) -> Image:
    return Image(glance.client().add(data, **more))


def read(url: str, image: Image, offset: int = 0) -> bytes:
    return b"".join(bytes(piece) for piece in source(url).read(image, offset))


@pytest.fixture
def proxy(glance_a: Glance) -> Iterator[ScriptedHttp]:
    with ScriptedHttp(glance_a.url) as running:
        yield running


@pytest.mark.parametrize("offset", [0, 1, MIB, len(DATA) - 1, len(DATA)])
def test_data_from_any_byte(glance_a: Glance, offset: int) -> None:
    assert read(glance_a.url, stored(glance_a), offset) == DATA[offset:]


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, MIB), (5, 2 * MIB), (MIB, MIB), (4 * MIB, len(DATA))])
def test_a_range(glance_a: Glance, proxy: ScriptedHttp, begin: int, end: int) -> None:
    image = stored(glance_a)
    assert b"".join(map(bytes, source(proxy.url).read_range(image, begin, end))) == DATA[begin:end]
    asked = [request.headers.get("Range") for request in proxy.requests if request.path == file_of(image)]
    assert asked == ([f"bytes={begin}-{end - 1}"] if end > begin else [])


def test_a_range_goes_on_after_a_cut(glance_a: Glance, proxy: ScriptedHttp) -> None:
    image = stored(glance_a)
    proxy.on("GET", file_of(image), Reply(forward=True, cut=MIB + 17), FORWARD)
    assert b"".join(map(bytes, source(proxy.url).read_range(image, MIB, 4 * MIB))) == DATA[MIB : 4 * MIB]


def test_a_range_of_a_store_without_ranges(glance_a: Glance, proxy: ScriptedHttp) -> None:
    """It is read from the start, up to the end of the range; the source remembers."""
    image = stored(glance_a)
    proxy.on("GET", file_of(image), Reply.json({"message": "not supported"}, 400), FORWARD)
    reader = source(proxy.url)
    assert b"".join(map(bytes, reader.read_range(image, MIB, 2 * MIB))) == DATA[MIB : 2 * MIB]
    assert not reader.serves_ranges
    assert b"".join(map(bytes, reader.read_range(image, 2 * MIB, 3 * MIB))) == DATA[2 * MIB : 3 * MIB]
    assert [request.headers.get("Range") for request in proxy.requests if request.path == file_of(image)] == [
        f"bytes={MIB}-{2 * MIB - 1}",
        None,
        None,
    ]


def test_a_range_that_is_answered_with_all(glance_a: Glance, proxy: ScriptedHttp) -> None:
    image = stored(glance_a)
    proxy.on("GET", file_of(image), Reply(200, DATA))
    assert b"".join(map(bytes, source(proxy.url).read_range(image, MIB, 2 * MIB))) == DATA[MIB : 2 * MIB]


def test_pieces_are_large_but_not_too_large(glance_a: Glance) -> None:
    sizes = [len(piece) for piece in source(glance_a.url).read(stored(glance_a))]
    assert max(sizes) <= 4 * MIB
    assert min(sizes[:-1]) >= MIB


def test_zeros_are_made_out_where_they_arrive(glance_a: Glance) -> None:
    data = b"data" + bytes(MIB - 4) + bytes(2 * MIB) + b"data"
    pieces = list(source(glance_a.url).read(stored(glance_a, data)))
    assert [are_zeros(piece) for piece in pieces] == [False, True, True, False]
    assert b"".join(map(bytes, pieces)) == data


def test_an_empty_image(glance_a: Glance) -> None:
    assert read(glance_a.url, stored(glance_a, b"")) == b""


def test_several_images_at_once(glance_a: Glance) -> None:
    images = [stored(glance_a, bytes([number]) * MIB) for number in range(6)]
    reader = source(glance_a.url)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda image: b"".join(map(bytes, reader.read(image))), images))
    assert found == [bytes([number]) * MIB for number in range(6)]


def test_listing_with_members_hidden_and_queued(glance_a: Glance) -> None:
    client = glance_a.client()
    shared = client.create(visibility="shared")["id"]
    client.add_member(shared, "p1", "accepted")
    hidden = stored(glance_a, b"x", os_hidden=True, visibility="community").id
    found = {image.id: image for image in source(glance_a.url).images()}
    assert found[shared].absent == "queued"
    assert [(member["member_id"], member["status"]) for member in found[shared].members] == [("p1", "accepted")]
    assert found[hidden].absent == ""
    assert found[hidden].metadata == client.show(hidden)
    assert found.keys() == client.images().keys()


def test_absence() -> None:
    assert absence(metadata()) == ""
    assert absence(metadata(status="importing")) == "importing"
    assert absence(metadata(status="deactivated")) == ""
    assert absence(metadata(b"")) == ""
    assert absence(metadata(b"", block_device_mapping="[]")).startswith("volume-backed")


def test_data_that_the_store_has_lost(glance_a: Glance) -> None:
    image = stored(glance_a)
    glance_a.data_path(image.id).unlink()
    with pytest.raises(NoDataError, match="lost the data"):
        read(glance_a.url, image)


def test_a_truncated_object_in_the_store(glance_a: Glance) -> None:
    image = stored(glance_a)
    path = glance_a.data_path(image.id)
    path.write_bytes(DATA[: 2 * MIB])
    with pytest.raises(StreamError, match="at byte 2097152"):
        read(glance_a.url, image)


def test_a_deleted_image(glance_a: Glance) -> None:
    image = stored(glance_a)
    glance_a.client().delete(image.id)
    with pytest.raises(NoDataError, match="404"):
        read(glance_a.url, image)


def test_a_deactivated_image_is_for_admins(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    image = Image(cloud.client(cloud.a, "member").add(DATA))
    admin = cloud.client(cloud.a)
    assert admin.call("POST", f"/v2/images/{image.id}/actions/deactivate").status_code == 204
    with pytest.raises(NoDataError, match="403"):
        read("member-a", image)
    assert read("admin-a", image) == DATA


def test_what_a_member_may_see(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    member, other = cloud.client(cloud.a, "member"), cloud.client(cloud.a, "other")
    own = member.create(visibility="private")["id"]
    theirs = other.create(visibility="private")["id"]
    community = other.create(visibility="community")["id"]
    pending = other.create(visibility="shared")["id"]
    other.add_member(pending, cloud.projects["alpha"])
    found = {image.id: image for image in source("member-a").images()}
    assert found.keys() >= {own, community, pending}
    assert theirs not in found
    assert found.keys() >= member.images().keys() | {pending}
    assert {image.id for image in source("admin-a").images()} >= {own, theirs, community, pending}


# Faults on the way.


def file_of(image: Image) -> str:
    return f"/v2/images/{image.id}/file"


@pytest.mark.parametrize("offset", [0, 3 * MIB])
def test_a_cut_connection_is_continued_at_the_byte_it_had(glance_a: Glance, proxy: ScriptedHttp, offset: int) -> None:
    image = stored(glance_a)
    proxy.on("GET", file_of(image), Reply(forward=True, cut=MIB + 17), FORWARD)
    assert read(proxy.url, image, offset) == DATA[offset:]
    ranges = [request.headers.get("Range") for request in proxy.requests if request.path == file_of(image)]
    assert ranges[0] == (f"bytes={offset}-" if offset else None)
    begin = int(str(ranges[1]).removeprefix("bytes=").removesuffix("-"))
    assert offset + MIB - (1 << 16) <= begin <= offset + MIB + 17


def test_a_store_without_ranges_is_read_again_from_the_start(glance_a: Glance, proxy: ScriptedHttp) -> None:
    image = stored(glance_a)
    refusal = Reply.json({"message": "Getting images randomly from this store is not supported."}, 400)
    proxy.on("GET", file_of(image), Reply(forward=True, cut=3 * MIB), refusal, FORWARD)
    assert read(proxy.url, image) == DATA
    proxy.on("GET", file_of(image), refusal, FORWARD)
    assert read(proxy.url, image, 2 * MIB + 5) == DATA[2 * MIB + 5 :]


def test_a_range_that_is_answered_with_everything(glance_a: Glance, proxy: ScriptedHttp) -> None:
    image = stored(glance_a)
    whole = Reply(200, DATA)
    proxy.on("GET", file_of(image), Reply(forward=True, cut=3 * MIB), whole)
    assert read(proxy.url, image) == DATA


def test_a_206_with_everything_in_it(glance_a: Glance, proxy: ScriptedHttp) -> None:
    image = stored(glance_a)
    promise = {"Content-Range": f"bytes {2 * MIB}-{len(DATA) - 1}/{len(DATA)}"}
    proxy.on("GET", file_of(image), Reply(206, DATA, promise))
    assert read(proxy.url, image, 2 * MIB) == DATA[2 * MIB :]


def test_a_206_that_begins_elsewhere_than_it_says(glance_a: Glance, proxy: ScriptedHttp) -> None:
    image = stored(glance_a)
    begin = 2 * MIB - (1 << 16)
    lie = {"Content-Range": f"bytes {begin}-{len(DATA) - 1}/{len(DATA)}"}
    proxy.on(
        "GET", file_of(image), Reply(forward=True, cut=2 * MIB), Reply(206, DATA[: len(DATA) - begin], lie), FORWARD
    )
    assert read(proxy.url, image) == DATA


@pytest.mark.parametrize("range_header", ["", "bytes */5", "bytes 5-4/3", "bytes 0-10/5244114"])
def test_a_206_that_makes_no_sense(glance_a: Glance, proxy: ScriptedHttp, range_header: str) -> None:
    image = stored(glance_a)
    proxy.on("GET", file_of(image), Reply(206, DATA[MIB:], {"Content-Range": range_header}), FORWARD)
    assert read(proxy.url, image, MIB) == DATA[MIB:]


def test_data_that_change_between_two_attempts(glance_a: Glance, proxy: ScriptedHttp) -> None:
    image = stored(glance_a)
    proxy.on("GET", file_of(image), Reply(forward=True, cut=2 * MIB), Reply(200, bytes(len(DATA))))
    with pytest.raises(StreamError, match="not those sent before"):
        read(proxy.url, image)


def test_more_data_than_there_should_be(glance_a: Glance, proxy: ScriptedHttp) -> None:
    image = stored(glance_a)
    for reply in (Reply(200, DATA + b"!"), Reply(200, DATA + b"!", {"Content-Length": ""})):
        proxy.on("GET", file_of(image), reply)
        with pytest.raises(StreamError):
            read(proxy.url, image)


def test_an_end_without_an_announced_length(glance_a: Glance, proxy: ScriptedHttp) -> None:
    """As behind Glance's cache, and as a cut connection looks then."""
    image = stored(glance_a)
    proxy.on("GET", file_of(image), Reply(200, DATA, {"Content-Length": ""}))
    assert read(proxy.url, image) == DATA
    proxy.on("GET", file_of(image), Reply(200, DATA[:-5], {"Content-Length": ""}), FORWARD)
    assert read(proxy.url, image) == DATA


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_server_in_trouble_is_waited_for(glance_a: Glance, proxy: ScriptedHttp, status: int) -> None:
    image = stored(glance_a)
    trouble = Reply(status, b"<html><body>later</body></html>", {"Retry-After": "9"})
    waits: list[float] = []
    proxy.on("GET", file_of(image), trouble, Reply(forward=True, cut=MIB), trouble, FORWARD)
    reader = source(proxy.url, Patience(attempts=4, sleep=waits.append))
    assert b"".join(map(bytes, reader.read(image))) == DATA
    assert waits == [9.0, 1.0, 9.0]
    proxy.on("GET", file_of(image), trouble)
    with pytest.raises(UnavailableError, match=f"{status} .*: later"):
        list(reader.read(image))
    proxy.on("GET", file_of(image), Reply(drop=True))
    with pytest.raises(ConnectError):
        list(reader.read(image))


def test_cuts_without_end_are_given_up_and_cuts_with_progress_are_not(glance_a: Glance, proxy: ScriptedHttp) -> None:
    image = stored(glance_a)
    proxy.on("GET", file_of(image), *[Reply(forward=True, cut=MIB)] * 8, FORWARD)
    assert read(proxy.url, image) == DATA
    proxy.on("GET", file_of(image), Reply(200, DATA, cut=2 * MIB))
    with pytest.raises(StreamError, match="byte 2097152"):
        read(proxy.url, image)


def test_a_401_that_stays(glance_a: Glance, proxy: ScriptedHttp) -> None:
    image = stored(glance_a)
    proxy.on("GET", file_of(image), Reply(401, b"no"))
    with pytest.raises(AccessError):
        read(proxy.url, image)


def test_a_token_that_runs_out_between_two_attempts(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy stands for the Glance that no longer knows the token; a new one is fetched from the real Keystone."""
    image = Image(cloud.client(cloud.a).add(DATA))
    with ScriptedHttp(cloud.a.url) as proxy:
        text = cloud.clouds_yaml.read_text().replace(
            '"region_name": "RegionA"', f'"region_name": "RegionA", "image_endpoint_override": "{proxy.url}"'
        )
        (tmp_path / "clouds.yaml").write_text(text)
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
        reader = source("admin-a")
        proxy.on("GET", file_of(image), Reply(forward=True, cut=MIB), Reply(401, b"expired"), FORWARD)
        # Two tokens of one second are equal but for their time.
        time.sleep(1.1)
        assert b"".join(map(bytes, reader.read(image))) == DATA
        tokens = [request.headers["X-Auth-Token"] for request in proxy.requests if request.path == file_of(image)]
    assert tokens[0] == tokens[1] != tokens[2]
