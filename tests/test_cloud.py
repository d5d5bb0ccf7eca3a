"""The test servers behave as the real thing does, in what the other tests build on."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.cloud.certificates import Certificates
from tests.cloud.cloud import Cloud
from tests.cloud.glance import MIB, Glance
from tests.cloud.images import ImageSet, make_images, pattern


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthcheck", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_an_image_comes_back_as_it_went_in(glance_a: Glance) -> None:
    client = glance_a.client()
    data = pattern(3 * MIB + 17)
    image = client.add(data, name="Grüße", tags=["a"], architecture="x86_64")
    assert image["status"] == "active"
    assert (image["size"], image["os_hash_algo"]) == (len(data), "sha512")
    assert image["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert client.download(image["id"]) == data
    assert image["id"] in client.images()


def test_the_file_store_serves_ranges(glance_a: Glance) -> None:
    client = glance_a.client()
    data = pattern(100_000)
    path = f"/v2/images/{client.add(data)['id']}/file"
    part = client.call("GET", path, headers={"Range": "bytes=5000-5999"})
    assert part.status_code == 206
    assert part.content == data[5000:6000]
    assert part.headers["Content-MD5"] == hashlib.md5(data).hexdigest()
    assert client.call("GET", path, headers={"Range": "bytes=100000-"}).status_code == 416


def test_a_declared_size_is_held_to(glance_a: Glance) -> None:
    client = glance_a.client()
    image = client.create()
    headers = {"Content-Type": "application/octet-stream", "x-openstack-image-size": "11"}
    answer = client.call("PUT", f"/v2/images/{image['id']}/file", data=b"0123456789", headers=headers)
    assert answer.status_code == 400
    assert client.show(image["id"])["status"] == "queued"


def test_an_id_can_be_chosen_once(glance_a: Glance) -> None:
    client = glance_a.client()
    chosen = str(uuid.uuid4())
    assert client.create(id=chosen)["id"] == chosen
    client.delete(chosen)
    assert client.call("GET", f"/v2/images/{chosen}").status_code == 404
    assert client.call("POST", "/v2/images", json={"id": chosen}).status_code == 409


def test_without_keystone_anybody_may_do_anything(glance_a: Glance) -> None:
    client = glance_a.client()
    image = client.add(b"x" * 512, visibility="shared", protected=True, os_hidden=True, owner="somebody")
    client.add_member(image["id"], "a-project", "accepted")
    assert [(member["member_id"], member["status"]) for member in client.members(image["id"])] == [
        ("a-project", "accepted")
    ]
    assert client.call("DELETE", f"/v2/images/{image['id']}").status_code == 403
    assert client.patch(image["id"], {"op": "replace", "path": "/visibility", "value": "public"})["owner"] == "somebody"


def test_many_writers_at_once_are_not_locked_out(glance_a: Glance) -> None:
    def add(number: int) -> str:
        client = glance_a.client()
        return str(client.add(pattern(1000 * number, number), name=f"one of many {number}")["status"])

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(add, range(1, 33))) == {"active"}


def test_a_killed_server_comes_back_on_its_port_with_its_images(make_glance: Callable[..., Glance]) -> None:
    glance = make_glance()
    address, image = glance.address, glance.client().add(b"kept" * 1000)
    glance.kill()
    with pytest.raises(requests.ConnectionError):
        glance.client().images()
    glance.start()
    assert glance.address == address
    assert glance.client().download(image["id"]) == b"kept" * 1000


def test_options_reach_the_server(make_glance: Callable[..., Glance], certificates: Certificates) -> None:
    glance = make_glance(
        hashing_algorithm="sha256",
        disk_formats=("raw", "qcow2"),
        options={"DEFAULT": {"image_property_quota": 3}},
        certificate=certificates.certificate,
        key=certificates.key,
    )
    client = glance.client()
    assert glance.url.startswith("https://")
    assert client.add(b"x" * 1000)["os_hash_algo"] == "sha256"
    assert client.call("POST", "/v2/images", json={"disk_format": "vmdk"}).status_code == 400
    assert client.call("POST", "/v2/images", json=dict.fromkeys("abcd", "x")).status_code == 413
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(glance.url, timeout=10)


def test_a_server_ends_with_the_process_that_started_it(cloud_environment: None, tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from tests.cloud.glance import Glance\n"
        "glance = Glance(Path(sys.argv[1])).start(); print(glance.url, flush=True); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "glance")]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    url = done.stdout.strip()
    assert url.startswith("http://"), done.stderr
    deadline = time.monotonic() + 10
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not answers(url)


def test_keystone_guards_its_glances(cloud: Cloud) -> None:
    assert cloud.a.client().call("GET", "/v2/images").status_code == 401
    assert cloud.a.client("no-such-token").call("GET", "/v2/images").status_code == 401
    assert cloud.client(cloud.a).call("GET", "/v2/images").status_code == 200


def test_a_shared_image_is_seen_by_its_members(cloud: Cloud) -> None:
    owner, other = cloud.client(cloud.a, "member"), cloud.client(cloud.a, "other")
    image = owner.add(b"x" * 1000, visibility="shared")
    path = f"/v2/images/{image['id']}"
    assert image["owner"] == cloud.projects["alpha"]
    assert other.call("GET", path).status_code == 404
    owner.add_member(image["id"], cloud.projects["beta"])
    assert other.call("GET", path).status_code == 200
    assert image["id"] not in other.images()
    accept = f"{path}/members/{cloud.projects['beta']}"
    assert owner.call("PUT", accept, json={"status": "accepted"}).status_code == 403
    assert other.call("PUT", accept, json={"status": "accepted"}).status_code == 200
    assert image["id"] in other.images()
    assert cloud.client(cloud.b, "member").images().keys().isdisjoint({image["id"]})


def test_a_reader_lists_but_neither_creates_nor_reads(cloud: Cloud) -> None:
    image = cloud.client(cloud.a, "member").add(b"x" * 1000)
    reader = cloud.client(cloud.a, "reader")
    assert image["id"] in reader.images()
    assert reader.call("GET", f"/v2/images/{image['id']}/file").status_code == 403
    assert reader.call("POST", "/v2/images", json={}).status_code == 403


def test_only_an_admin_makes_public_and_gives_away(cloud: Cloud) -> None:
    member, admin = cloud.client(cloud.a, "member"), cloud.client(cloud.a)
    for body in ({"visibility": "public"}, {"owner": cloud.projects["beta"]}):
        assert member.call("POST", "/v2/images", json=body).status_code == 403
        assert admin.call("POST", "/v2/images", json=body).status_code == 201


def test_images_are_what_they_say(image_set: ImageSet) -> None:
    assert {image.name for image in image_set} >= {"base", "sibling", "sparse"}
    base, sibling = (image_set[name].path.read_bytes() for name in ("base", "sibling"))
    blocks = [{data[at : at + 4096] for at in range(0, len(data), 4096)} for data in (base, sibling)]
    assert len(blocks[0] & blocks[1]) > len(blocks[0]) / 2
    assert blocks[1] - blocks[0]
    sparse = image_set["sparse"].path.stat()
    assert sparse.st_blocks * 512 < sparse.st_size / 4


def test_raw_images_need_no_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.cloud.images._tool", lambda name: None)
    made = make_images(tmp_path, megabytes=1)
    assert [image.disk_format for image in made] == ["raw", "raw", "raw"]
    assert len(made.skipped) == 2
