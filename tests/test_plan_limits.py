"""What the limits of a Glance, of a project and of a token mean for a load, told beforehand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from glancearchive.endpoints.cloud import Cloud as ImageService
from glancearchive.endpoints.cloud import Login
from glancearchive.endpoints.keystone import Projects
from glancearchive.endpoints.prospects import Prospects
from glancearchive.errors import UnavailableError
from glancearchive.image import Image
from glancearchive.operations.outlook import Outlook
from tests.archives import write_archive
from tests.cloud.cloud import Cloud
from tests.cloud.glance import Glance, KeystoneAccess
from tests.cloud.keystone import DOMAIN, PASSWORD
from tests.command import run
from tests.fake_glance import FakeGlance
from tests.faults.zygote import Zygote
from tests.glances import IMPATIENT, api, metadata, planned
from tests.glances import SMALL as DATA
from tests.scripted_http import FORWARD, Reply, ScriptedHttp


def usage(**limits: tuple[int, int]) -> Reply:
    return Reply.json({"usage": {name: {"limit": one, "usage": used} for name, (one, used) in limits.items()}})


def test_formats_and_fields_that_are_refused(make_glance: Callable[..., Glance]) -> None:
    glance = make_glance(disk_formats=["raw", "qcow2"])
    long = metadata(DATA, name="n" * 256, visibility="secret")
    images = [Image(metadata(DATA, disk_format="vhdx")), Image(long), Image(metadata(DATA))]
    found = list(planned(glance.url, *images).values())
    by_id = {one.id: one for one in found}
    first, second, third = (by_id[image.id] for image in images)
    assert (first.action, first.reason) == ("failed", "the target does not take disk_format 'vhdx', only raw, qcow2")
    assert [line.partition(":")[0] for line in second.dropped] == ["name", "visibility"]
    assert third.clean
    assert glance.client().images() == {}


@pytest.mark.parametrize(
    ("limits", "findings"),
    [
        ({}, []),
        ({"image_size_total": (-1, 5), "image_count_total": (-1, 7)}, []),
        ({"image_size_total": (8, 2), "image_count_total": (9, 7)}, []),
        (
            {"image_size_total": (8, 6), "image_count_total": (9, 8)},
            [
                "quota image_size_total: 3 MiB would be needed, and 2 of 8 are left",
                "quota image_count_total: 2 images would be needed, and 1 of 9 are left",
            ],
        ),
        ({"image_size_total": (1, 9)}, ["quota image_size_total: 1 MiB would be needed, and 0 of 1 are left"]),
    ],
)
def test_quotas(limits: dict[str, tuple[int, int]], findings: list[str]) -> None:
    """A Glance tells them only where Keystone keeps them."""
    small, large = (Image(metadata(b"", size=size)) for size in (1 << 20, 2 << 20))
    with FakeGlance(Reply(403, b"")) as glance:
        glance.on("GET", "/v2/images", Reply.json({"images": []}))
        glance.on("GET", "/v2/info/usage", usage(**limits))
        outlook = Outlook(Prospects(api(glance.url)))
        found = planned(glance.url, small, large, outlook=outlook)
        assert outlook.findings() == findings
        refused = bool(limits) and limits["image_size_total"][0] == 1
        assert found[large.id].action == ("failed" if refused else "copied")


def test_quotas_that_keystone_keeps(
    cloud: Cloud, make_glance: Callable[..., Glance], zygote: Zygote, make_archive: Callable[..., Path]
) -> None:
    """A project may have three images and 2 MiB: what is planned and what then happens are the same."""
    keystone = cloud.keystone
    (service,) = keystone.call("GET", "/services?type=image")["services"]
    endpoints = keystone.call("GET", f"/endpoints?service_id={service['id']}&interface=public")["endpoints"]
    endpoint = next(one for one in endpoints if one["region_id"] == "RegionB")
    limits = {"image_size_total": 2, "image_stage_total": 2, "image_count_total": 3, "image_count_uploading": 9}
    keystone.call(
        "POST",
        "/registered_limits",
        {
            "registered_limits": [
                {
                    "service_id": service["id"],
                    "region_id": "RegionB",
                    "resource_name": name,
                    "default_limit": limit,
                }
                for name, limit in limits.items()
            ]
        },
    )
    keystone.call("PUT", f"/system/users/{keystone.find('users', 'glance')}/roles/{keystone.find('roles', 'reader')}")
    access = {
        "auth_url": keystone.auth_url,
        "auth_type": "password",
        "username": "glance",
        "password": PASSWORD,
        "user_domain_id": DOMAIN,
        "system_scope": "all",
        "endpoint_id": endpoint["id"],
    }
    glance = make_glance(
        keystone=KeystoneAccess(keystone.auth_url, "glance", PASSWORD, "service"),
        options={"DEFAULT": {"use_keystone_limits": True}, "oslo_limit": access},
    )
    glance.client(cloud.token("other")).add(DATA)
    env = {
        "OS_AUTH_URL": keystone.auth_url,
        "OS_USERNAME": "other",
        "OS_PASSWORD": PASSWORD,
        "OS_PROJECT_NAME": "beta",
        "OS_USER_DOMAIN_ID": DOMAIN,
        "OS_PROJECT_DOMAIN_ID": DOMAIN,
        "OS_IMAGE_ENDPOINT_OVERRIDE": glance.url,
    }
    few, many = ([metadata(DATA, owner=cloud.projects["beta"]) for _ in range(count)] for count in (2, 3))
    path = make_archive(*few)
    plan = zygote.run("plan", path, "envvars", "--json", env=env)
    assert (plan.code, plan.json["findings"]) == (0, [])
    path.unlink()
    path = make_archive(*many)
    plan = zygote.run("plan", path, "envvars", "--json", env=env)
    assert (plan.code, plan.json["findings"]) == (
        1,
        ["quota image_count_total: 3 images would be needed, and 2 of 3 are left"],
    )
    dry = zygote.run("load", "envvars", path, "--json", "--dry-run", env=env)
    assert (dry.code, dry.json["faults"]) == (1, plan.json["findings"])
    done = zygote.run("load", "envvars", path, "--json", env=env)
    assert sorted(image["action"] for image in done.json["images"]) == ["copied", "copied", "failed"]


def test_a_glance_that_does_not_tell() -> None:
    """Whatever it refuses to say is named; and one that takes any marker says nothing about ids."""
    image = Image(metadata(DATA))
    with FakeGlance(Reply(403, b"")) as glance:
        glance.on("GET", "/v2/images", Reply.json({"images": []}))
        glance.on("GET", "/v2/info/usage", Reply(403, b"no"))
        outlook = Outlook(Prospects(api(glance.url)))
        assert planned(glance.url, image, outlook=outlook)[image.id].clean
        usage_, ids = outlook.unknown()
    assert "/v2/info/usage" in usage_
    assert "whether the ids of 1 image can be had is unknown" in ids


def test_time_against_the_life_of_a_token(glance_b: Glance) -> None:
    prospects = Prospects(api(glance_b.url))
    outlook = Outlook(prospects)
    outlook.expect(Image(metadata(b"", size=10_000)))
    assert (outlook.seconds(None), outlook.seconds(3000), outlook.token_seconds()) == (None, 4, None)
    now = datetime.now(UTC)
    for renewable, life, findings in ((True, 2, 0), (False, 1000, 0), (False, 2, 1), (False, -5, 1)):
        prospects.login = Login("p", frozenset({"member"}), now + timedelta(seconds=life), renewable)
        assert outlook.token_seconds(now) == (None if renewable else max(life, 0))
        lines = outlook.findings(3000)
        assert len(lines) == findings
        assert all("cannot be renewed, and the load takes 4 s" in line for line in lines)


def test_a_token_that_was_given(cloud: Cloud, zygote: Zygote, tmp_path: Path) -> None:
    env = {
        "OS_AUTH_TYPE": "v3token",
        "OS_AUTH_URL": cloud.keystone.auth_url,
        "OS_TOKEN": cloud.token("member"),
        "OS_PROJECT_ID": cloud.projects["alpha"],
        "OS_REGION_NAME": "RegionB",
        "OS_IDENTITY_API_VERSION": "3",
    }
    data = bytes(120 << 20)
    path = write_archive(tmp_path / "large.gla", (metadata(data), data))
    quick = zygote.run("plan", path, "envvars", "--json", "--rate", "1G", env=env)
    assert (quick.code, quick.json["findings"], quick.json["seconds"]) == (0, [], 1)
    assert 0 < quick.json["token_seconds"] <= cloud.keystone.token_seconds
    slow = zygote.run("plan", path, "envvars", "--json", "--rate", "32KiB", env=env)
    assert (slow.code, slow.json["ok"], slow.json["seconds"]) == (1, False, 3840)


def test_the_rate_is_measured(glance_b: Glance, make_archive: Callable[..., Path]) -> None:
    """With random data in an image of our own, of which nothing is left."""
    client = glance_b.client()
    left = "glancearchive trial for the rate"
    client.add(b"x", name=left, glancearchive_transfer=left)  # by a plan that was killed
    others = {image for image, one in client.images().items() if one["name"] != left}
    path = make_archive(metadata(DATA))
    done = run("plan", path, glance_b.url, "--measure", "--json")
    assert (done.code, client.images().keys()) == (0, others)
    assert done.json["rate"] > 0
    assert done.json["seconds"] == -(-len(DATA) // done.json["rate"])
    assert run("plan", path, glance_b.url, "--measure", "--rate", "1M").code == 2


def test_a_rate_that_cannot_be_measured(cloud: Cloud, make_archive: Callable[..., Path]) -> None:
    env = {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml)}
    done = run("plan", make_archive(metadata(DATA)), "reader-b", "--measure", "--json", env=env)
    assert (done.code, done.json["rate"], done.json["seconds"]) == (1, None, None)
    assert "the rate could not be measured: creating image" in done.stderr


def test_a_keystone_in_trouble_is_asked_again(cloud: Cloud) -> None:
    alpha = cloud.projects["alpha"]
    with ScriptedHttp(cloud.keystone.url) as proxy:
        for path in (f"/v3/projects/{alpha}", "/v3/projects"):
            proxy.on("GET", path, Reply(503, b"soon"), Reply(429, b"soon"), FORWARD)
        proxy.on("POST", "/v3/auth/tokens", Reply(503, b"soon"), FORWARD)
        auth = v3.Password(
            f"{proxy.url}/v3",
            username="admin",
            password=PASSWORD,
            project_name="admin",
            user_domain_id=DOMAIN,
            project_domain_id=DOMAIN,
        )
        projects = Projects(ImageService(Session(auth=auth), cloud.b.url), IMPATIENT)
        assert projects.exists(alpha)
        assert projects.find("beta") == cloud.projects["beta"]
        assert proxy.count("GET", f"/v3/projects/{alpha}") == 3
        proxy.on("GET", "/v3/projects/other", Reply(503, b"for ever"))
        with pytest.raises(UnavailableError, match="looking up project other: 503"):
            projects.exists("other")
