"""Data that a Glance imports, and may convert: what can be compared is, and the rest is said not to be."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glancearchive.endpoints import policy
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.endpoints.glance_import import ImportMethod, require_import
from glancearchive.errors import HeldError, UsageError
from glancearchive.image import Image, Outcome
from glancearchive.operations.compare import compare
from glancearchive.operations.load import load
from tests.cloud.cloud import Cloud
from tests.cloud.glance import Glance, KeystoneAccess
from tests.cloud.images import pattern
from tests.cloud.keystone import DOMAIN, PASSWORD
from tests.glances import Counter, Shelf, api, metadata

DATA = pattern(3_000_001)


@pytest.fixture
def importing(
    cloud: Cloud, make_glance: Callable[..., Glance], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Glance, GlanceApi]]:
    """`importing(*plugins)` starts a Glance behind the Keystone whose imports go through these plugins."""

    def start(*plugins: str, **sections: dict[str, Any]) -> tuple[Glance, GlanceApi]:
        keystone = cloud.keystone
        glance = make_glance(
            keystone=KeystoneAccess(keystone.auth_url, "glance", PASSWORD, "service"),
            options={"image_import_opts": {"image_import_plugins": f"[{','.join(plugins) or 'no_op'}]"}, **sections},
        )
        environment = {
            "AUTH_URL": keystone.auth_url,
            "USERNAME": "admin",
            "PASSWORD": PASSWORD,
            "PROJECT_NAME": "admin",
            "USER_DOMAIN_ID": DOMAIN,
            "PROJECT_DOMAIN_ID": DOMAIN,
            "IMAGE_ENDPOINT_OVERRIDE": glance.url,
        }
        for name, value in environment.items():
            monkeypatch.setenv(f"OS_{name}", value)
        return glance, api("envvars")

    return start


def imported(there: GlanceApi, image: Image, data: bytes = DATA, **options: Any) -> Outcome:
    shelf = Shelf((image, data))
    (outcome,) = load(shelf, there, progress=Counter(), method=ImportMethod.GLANCE_DIRECT, **options)
    return outcome


def test_what_is_not_converted_is_compared(cloud: Cloud, importing: Callable[..., tuple[Glance, GlanceApi]]) -> None:
    glance, there = importing()
    client = glance.client(cloud.token("admin"))
    image = Image(metadata(DATA, color="red", visibility="public"))
    assert (outcome := imported(there, image)).clean, outcome
    assert (outcome.action, outcome.verified) == ("copied", "sha512")
    found = client.show(image.id)
    assert (found["os_hash_value"], found["color"], found["visibility"]) == (
        image.metadata["os_hash_value"],
        "red",
        "public",
    )
    assert policy.MARK not in found
    assert policy.CONVERTED not in found
    assert imported(there, image).action == "present"
    assert client.download(image.id) == DATA


def test_a_load_that_was_interrupted_goes_on_with_what_is_staged(
    cloud: Cloud, importing: Callable[..., tuple[Glance, GlanceApi]]
) -> None:
    """Nothing is read for it: that the source has been damaged since does not matter."""
    glance, there = importing()
    client = glance.client(cloud.token("admin"))
    image = Image(metadata(DATA))
    client.create(**policy.creation_body(image, policy.mark_for(image)))
    headers = {"Content-Type": "application/octet-stream"}
    client.call("PUT", f"/v2/images/{image.id}/stage", data=DATA, headers=headers).raise_for_status()
    shelf = Shelf((image, DATA))
    shelf.broken = HeldError("damaged")
    (outcome,) = load(shelf, there, progress=Counter(), method=ImportMethod.GLANCE_DIRECT)
    assert (outcome.action, outcome.reason, outcome.clean) == ("copied", "", True)
    assert client.download(image.id) == DATA


def test_data_that_are_converted(cloud: Cloud, importing: Callable[..., tuple[Glance, GlanceApi]]) -> None:
    """Here by unpacking: the same formats, another size."""
    glance, there = importing("image_decompression")
    client = glance.client(cloud.token("admin"))
    packed = gzip.compress(DATA, 1)
    image = Image(metadata(packed, color="red", visibility="public"))
    outcome = imported(there, image, packed)
    assert (outcome.action, outcome.verified, outcome.clean) == ("converted", "", False)
    assert f"{len(packed)} bytes to {len(DATA)}" in outcome.reason
    assert "not comparable" in outcome.reason
    found = client.show(image.id)
    assert (found["color"], found["visibility"], found["size"]) == ("red", "public", len(DATA))
    assert policy.MARK not in found
    # It is known again, and compared but for its data.
    for options in ({}, {"method": ImportMethod.DIRECT}):
        shelf = Shelf((image, packed))
        (again,) = load(shelf, there, progress=Counter(), **options)
        assert (again.action, again.differences, again.dropped, shelf.reads) == ("converted", [], [], {})
    other = Image(image.metadata | {"color": "blue"})
    assert len(imported(there, other, packed).differences) == 1
    updated = imported(there, other, packed, update_metadata=True)
    assert (updated.action, updated.differences, client.show(image.id)["color"]) == ("converted", [], "blue")
    # Other data under the id are no conversion of these.
    foreign = Image(metadata(DATA[:-1], id=image.id))
    assert imported(there, foreign, DATA[:-1]).action == "conflict"


def test_a_disk_that_becomes_raw(
    cloud: Cloud, importing: Callable[..., tuple[Glance, GlanceApi]], tmp_path: Path
) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("no qemu-img")
    disk = tmp_path / "disk.qcow2"
    (tmp_path / "disk.raw").write_bytes(DATA[: 2 << 20])
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", tmp_path / "disk.raw", disk], check=True)
    glance, there = importing("image_conversion", image_conversion={"output_format": "raw"})
    data = disk.read_bytes()
    image = Image(metadata(data, disk_format="qcow2", virtual_size=2 << 20))
    outcome = imported(there, image, data)
    assert outcome.action == "converted"
    assert "disk_format qcow2 to raw" in outcome.reason
    client = glance.client(cloud.token("admin"))
    assert client.download(image.id) == DATA[: 2 << 20]
    assert client.show(image.id)["disk_format"] == "raw"
    again = imported(there, image, data)
    assert (again.action, again.differences, again.dropped) == ("converted", [], [])
    # What it says of itself shows that the result is too short.
    wrong = Image(metadata(data, disk_format="qcow2", virtual_size=3 << 20))
    failed = imported(there, wrong, data)
    assert (failed.action, "its virtual size is 3145728" in failed.reason) == ("failed", True)
    assert client.show(wrong.id)["visibility"] == "private"


def test_an_import_that_fails(cloud: Cloud, importing: Callable[..., tuple[Glance, GlanceApi]]) -> None:
    """What the target says of it is told, and nothing of it stays."""
    glance, there = importing("image_decompression")
    broken = bytearray(gzip.compress(DATA, 1))
    broken[len(broken) // 2] ^= 0x55
    image = Image(metadata(bytes(broken)))
    outcome = imported(there, image, bytes(broken))
    assert (outcome.action, "the target could not import it" in outcome.reason) == ("failed", True)
    assert "it was deleted" in outcome.reason
    assert image.id not in glance.client(cloud.token("admin")).images()


def test_a_glance_that_does_not_import(make_glance: Callable[..., Glance]) -> None:
    there = api(make_glance(options={"DEFAULT": {"enabled_import_methods": "[web-download]"}}).url)
    require_import(there, ImportMethod.DIRECT)
    with pytest.raises(UsageError, match=r"--import-method glance-direct: .* does not take it; .*: web-download$"):
        require_import(there, ImportMethod.GLANCE_DIRECT)


def test_a_comparison_names_what_was_converted() -> None:
    image = Image(metadata(DATA, disk_format="qcow2"))
    raw = metadata(DATA[::-1], id=image.id, disk_format="raw", size=2 * len(DATA))
    there = Image(raw | {policy.CONVERTED: policy.conversion_of(raw, image)})
    for sides in ((image, there), (there, image)):
        a, b = (Shelf((side, DATA)) for side in sides)
        (finding,) = compare(a, b, Counter(), read_data=True).findings
        assert (finding.kind, finding.fields) == ("converted", {})
    # A snapshot with copied properties has other data.
    snapshot = Image(metadata(b"other", id=image.id) | {policy.CONVERTED: there.metadata[policy.CONVERTED]})
    assert compare(Shelf((image, DATA)), Shelf((snapshot, DATA)), Counter()).findings[0].kind == "other-data"
