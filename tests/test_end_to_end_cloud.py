"""The command line as OpenStack users have it: through a real Keystone, and through TLS."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.archives import write_archive
from tests.cloud.certificates import Certificates, make_certificates
from tests.cloud.cloud import Cloud
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.cloud.keystone import PASSWORD
from tests.command import Done, contents, run
from tests.glances import metadata

DATA = pattern(300_001)


@pytest.fixture
def user(cloud: Cloud) -> Callable[..., Done]:
    """The program, run by somebody with the cloud's clouds.yaml; `server` may name any cloud in it."""

    def go(*arguments: str | Path, **options: Any) -> Done:
        return run(*arguments, env={"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml)}, **options)

    return go


@pytest.fixture(scope="module")
def shared_out(cloud: Cloud) -> dict[str, str]:
    """Images of two projects and of the admin in region A, by what they are."""
    admin, member, other = (cloud.client(cloud.a, name) for name in ("admin", "member", "other"))
    made = {
        "alpha private": member.add(DATA, name="alpha private", visibility="private", tags=["t"])["id"],
        "alpha hidden": member.add(DATA, name="alpha hidden", os_hidden=True)["id"],
        "beta private": other.add(b"beta", name="beta private", visibility="private")["id"],
        "beta shared": other.add(b"shared", name="beta shared", visibility="shared")["id"],
        "beta shared, pending": other.add(b"shared", name="beta shared, pending", visibility="shared")["id"],
        "beta community": other.add(b"community", name="beta community", visibility="community")["id"],
        "public": admin.add(b"public", name="public", visibility="public", protected=True)["id"],
        "deactivated": other.add(b"off", name="deactivated", visibility="community")["id"],
    }
    alpha = cloud.projects["alpha"]
    other.add_member(made["beta shared"], alpha)
    other.add_member(made["beta shared, pending"], alpha)
    assert member.call("PUT", f"/v2/images/{made['beta shared']}/members/{alpha}", json={"status": "accepted"}).ok
    assert admin.call("POST", f"/v2/images/{made['deactivated']}/actions/deactivate").ok
    return made


def test_an_admin_carries_the_images_of_all_projects(
    cloud: Cloud, shared_out: dict[str, str], user: Callable[..., Done], tmp_path: Path
) -> None:
    dumped = user("dump", "admin-a", tmp_path / "a.gla", "--json")
    assert dumped.code == (0 if dumped.json["ok"] else 1)
    assert set(shared_out.values()) <= dumped.images.keys()
    for role, image_id in shared_out.items():
        assert dumped.images[image_id]["action"] == "copied", role
    loaded = user("load", "admin-b", tmp_path / "a.gla", "--json")
    assert loaded.code == (0 if loaded.json["ok"] else 1)
    here, there = cloud.client(cloud.a), cloud.client(cloud.b)
    for role, image_id in shared_out.items():
        outcome = loaded.images[image_id]
        assert (outcome["action"], outcome["reason"], outcome["dropped"]) == ("copied", "", []), role
        assert common(there.show(image_id)) == common(here.show(image_id)), role  # the owner too
    for role in ("beta shared", "beta shared, pending"):
        states = [
            {one["member_id"]: one["status"] for one in client.members(shared_out[role])} for client in (here, there)
        ]
        assert states[0] == states[1] != {}
    again = user("load", "admin-b", tmp_path / "a.gla", "--json")
    assert {again.images[image_id]["action"] for image_id in shared_out.values()} == {"present"}


def common(found: Mapping[str, Any]) -> dict[str, Any]:
    own = ("created_at", "updated_at", "self", "file", "schema", "stores")
    return {key: value for key, value in found.items() if key not in own}


def test_a_member_dumps_what_it_may_see(
    cloud: Cloud, shared_out: dict[str, str], user: Callable[..., Done], tmp_path: Path
) -> None:
    done = user("dump", "member-a", tmp_path / "a.gla", "--json")
    unseen = {"beta private"}
    for role, image_id in shared_out.items():
        assert (image_id in done.images) == (role not in unseen), role
    refused = done.images[shared_out["deactivated"]]
    assert (refused["action"], done.code) == ("refused", 1)
    assert "403" in refused["reason"]
    listed = run("list", tmp_path / "a.gla", "--json")
    assert listed.code == 0
    image = listed.images[refused["id"]]
    assert (image["status"], image["reason"]) == ("failed", refused["reason"])
    verified = run("verify", tmp_path / "a.gla", "--json")
    assert (verified.code, verified.images[refused["id"]]["status"]) == (1, "failed")
    assert run("extract", tmp_path / "a.gla", refused["id"], "-o", tmp_path / "x.img").code == 1
    assert contents(tmp_path).keys() == {"a.gla"}


def test_a_member_loads_what_it_may_own(cloud: Cloud, user: Callable[..., Done], tmp_path: Path) -> None:
    """A foreign owner and public visibility are refused to it; that is reported, and the images are there."""
    alpha, beta = cloud.projects["alpha"], cloud.projects["beta"]
    mine, foreign, public = metadata(DATA, owner=alpha), metadata(DATA, owner=beta), metadata(DATA, visibility="public")
    archive = write_archive(tmp_path / "a.gla", *((image, DATA) for image in (mine, foreign, public)))
    done = user("load", "member-b", archive, "--json")
    assert done.code == 1
    assert {image["action"] for image in done.images.values()} == {"copied"}
    dropped = {image_id: image["dropped"] for image_id, image in done.images.items()}
    assert dropped[mine["id"]] == []
    for image, field in ((foreign, "owner"), (public, "visibility")):
        (line,) = dropped[image["id"]]
        assert line.startswith(f"{field}: refused: ")
        assert "403" in line
    client = cloud.client(cloud.b, "member")
    for image in (mine, foreign, public):
        found = client.show(image["id"])
        assert (found["owner"], found["visibility"], found["status"]) == (alpha, "private", "active")
        assert found["os_hash_value"] == image["os_hash_value"]
    # The other project's admin sees the same images under another owner, and may put that right.
    fixed = user("load", "admin-b", archive, "--update-metadata", "--json")
    assert {one: image["action"] for one, image in fixed.images.items()} == {
        mine["id"]: "present",
        foreign["id"]: "updated",
        public["id"]: "updated",
    }
    assert fixed.code == 0
    assert cloud.client(cloud.b).show(foreign["id"])["owner"] == beta


def test_another_projects_id_is_a_conflict(cloud: Cloud, user: Callable[..., Done], tmp_path: Path) -> None:
    image = metadata(DATA)
    cloud.client(cloud.b, "other").add(DATA, id=image["id"], visibility="private")
    archive = write_archive(tmp_path / "a.gla", (image, DATA))
    done = user("load", "member-b", archive, "--json")
    (outcome,) = done.json["images"]
    assert (done.code, outcome["action"]) == (1, "conflict")
    assert "belongs to another project" in outcome["reason"]


def test_a_reader_may_not_load(cloud: Cloud, user: Callable[..., Done], tmp_path: Path) -> None:
    image = metadata(DATA)
    archive = write_archive(tmp_path / "a.gla", (image, DATA))
    done = user("load", "reader-b", archive, "--json")
    (outcome,) = done.json["images"]
    assert (done.code, outcome["action"]) == (1, "failed")
    assert "403" in outcome["reason"]


def variables(cloud: Cloud, **more: str) -> dict[str, str]:
    common = {"AUTH_URL": cloud.keystone.auth_url, "PROJECT_NAME": "beta", "PROJECT_DOMAIN_ID": "default"}
    return {f"OS_{name}": value for name, value in (common | more).items()}


def by_password(cloud: Cloud) -> tuple[str, dict[str, str]]:
    login = {"USERNAME": "other", "PASSWORD": PASSWORD, "USER_DOMAIN_ID": "default", "REGION_NAME": "RegionA"}
    return "envvars", variables(cloud, **login)


def by_token(cloud: Cloud) -> tuple[str, dict[str, str]]:
    return "envvars", variables(cloud, AUTH_TYPE="v3token", TOKEN=cloud.token("other"), REGION_NAME="RegionA")


def by_name(cloud: Cloud) -> tuple[str, dict[str, str]]:
    return "other-a", {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml)}


def by_application_credential(cloud: Cloud) -> tuple[str, dict[str, str]]:
    return "appcred-a", {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml)}


@pytest.mark.parametrize("way", [by_password, by_token, by_name, by_application_credential])
def test_ways_to_log_in(
    cloud: Cloud, shared_out: dict[str, str], tmp_path: Path, way: Callable[[Cloud], tuple[str, dict[str, str]]]
) -> None:
    server, env = way(cloud)
    done = run("dump", server, tmp_path / "a.gla", "--json", env=env)
    assert done.json["server"] == f"glance {cloud.a.url}"
    assert done.images[shared_out["public"]]["action"] == "copied"
    mine = "alpha private" if way is by_application_credential else "beta private"
    assert done.images[shared_out[mine]]["action"] == "copied"


def test_the_region_is_a_choice(cloud: Cloud, shared_out: dict[str, str], tmp_path: Path) -> None:
    document = json.loads(cloud.clouds_yaml.read_text())
    del document["clouds"]["admin-a"]["region_name"]
    document["clouds"]["admin-a"]["regions"] = ["RegionA", "RegionB"]
    (tmp_path / "clouds.yaml").write_text(json.dumps(document))  # where openstacksdk looks first
    only_b = cloud.client(cloud.b).add(b"b", name="only in B")["id"]
    for region, glance in (("RegionA", cloud.a), ("RegionB", cloud.b)):
        archive = tmp_path / f"{region}.gla"
        done = run("dump", "admin-a", archive, "--json", "--region", region, cwd=tmp_path)
        assert done.json["server"] == f"glance {glance.url}"
        assert (only_b in done.images) == (region == "RegionB")
    wrong = run("dump", "admin-a", tmp_path / "x.gla", "--region", "Atlantis", cwd=tmp_path)
    assert wrong.code == 2
    assert "Atlantis" in wrong.error
    internal = run(
        "dump", "admin-a", tmp_path / "i.gla", "--json", "--region", "RegionB", "--interface", "internal", cwd=tmp_path
    )
    assert only_b in internal.images


@pytest.fixture(scope="module")
def tls(cloud_environment: None, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Glance(tmp_path_factory.mktemp("tls"), certificate=certificates.certificate, key=certificates.key) as glance:
        glance.client().add(DATA, name="behind TLS")
        yield glance


def test_tls(tls: Glance, certificates: Certificates, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other")
    for options in ([], ["--cacert", str(other.ca)]):
        done = run("dump", tls.url, tmp_path / "a.gla", *options, impatient=True)
        assert done.code == 3
        assert "certificate verify failed" in done.error
    plain = run("dump", tls.address, tmp_path / "a.gla", impatient=True)
    assert (plain.code, bool(plain.error)) == (3, True)
    missing = run("dump", tls.url, tmp_path / "a.gla", "--cacert", tmp_path / "none.pem")
    assert (missing.code, "none.pem" in missing.error) == (2, True)
    assert not (tmp_path / "a.gla").exists()
    trusted = run("dump", tls.url, tmp_path / "trusted.gla", "--cacert", certificates.ca, "--json")
    insecure = run("dump", tls.url, tmp_path / "insecure.gla", "--insecure", "--json")
    environment = run("dump", tls.url, tmp_path / "env.gla", "--json", env={"REQUESTS_CA_BUNDLE": str(certificates.ca)})
    for done in (trusted, insecure, environment):
        assert (done.code, done.stderr) == (0, "")
        assert [image["name"] for image in done.json["images"]] == ["behind TLS"]
    image = metadata(DATA, id=str(uuid.uuid4()))
    archive = write_archive(tmp_path / "load.gla", (image, DATA))
    loaded = run("load", tls.url, archive, "--cacert", certificates.ca, "--json")
    assert loaded.code == 0
    assert tls.data_path(image["id"]).read_bytes() == DATA
