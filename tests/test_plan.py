"""What a load would do, told beforehand: nothing is written, and what then happens is what was said."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from glancearchive.endpoints import policy
from glancearchive.endpoints.glance_import import ImportMethod
from glancearchive.endpoints.ids import IdPolicy, Ids, new_id
from glancearchive.errors import ImageFileError
from glancearchive.format.places import Split
from glancearchive.format.writer import ArchiveWriter
from glancearchive.image import Holding, Image, Outcome
from glancearchive.operations.dump import dump
from glancearchive.operations.load import load
from glancearchive.operations.plan import plan_dump, plan_load
from tests.cloud.cloud import Cloud
from tests.cloud.glance import Glance
from tests.cloud.images import pattern
from tests.command import Done, run
from tests.glances import SMALL as DATA
from tests.glances import Counter, Shelf, api, metadata, planned


def burn(glance: Any) -> str:
    """An id that is burnt in the Glance that this client speaks to."""
    image = str(glance.create()["id"])
    glance.delete(image)
    return image


def rows(done: Done) -> dict[str, tuple[Any, ...]]:
    fields = ("action", "reason", "dropped", "differences", "new_id")
    return {one: tuple(image[field] for field in fields) for one, image in done.images.items()}


def test_an_admin_is_told_of_burnt_ids(
    cloud: Cloud, user: Callable[..., Done], make_archive: Callable[..., Path]
) -> None:
    there = cloud.client(cloud.b)
    burnt, free = metadata(DATA, id=burn(there)), metadata(DATA)
    path = make_archive(burnt, free)
    before = there.images()
    plan = user("plan", path, "admin-b", "--json")
    assert (plan.code, plan.json["ok"], plan.json["unknown"]) == (1, False, [])
    assert plan.images[free["id"]]["action"] == "copied"
    found = plan.images[burnt["id"]]
    assert (found["action"], "an image that was deleted there" in found["reason"]) == ("conflict", True)
    assert found["reason"].endswith("--id-policy new loads it under another id")
    assert plan.json["bytes"] == len(DATA)
    assert rows(user("load", "admin-b", path, "--json", "--dry-run")) == rows(plan)
    renewed = user("plan", path, "admin-b", "--json", "--id-policy", "new")
    new = new_id(Image(burnt), 0)
    assert (renewed.code, renewed.images[burnt["id"]]["new_id"]) == (0, new)
    assert there.images() == before
    done = user("load", "admin-b", path, "--json", "--id-policy", "new")
    assert (done.code, rows(done)) == (0, rows(renewed))


def test_a_member_is_told_what_it_may_know(
    cloud: Cloud, user: Callable[..., Done], make_archive: Callable[..., Path]
) -> None:
    alpha, beta = cloud.projects["alpha"], cloud.projects["beta"]
    theirs = cloud.client(cloud.b, "other").create()["id"]
    images = {
        "burnt": metadata(DATA, id=burn(cloud.client(cloud.b, "other")), owner=alpha),
        "invisible": metadata(DATA, id=theirs, owner=alpha),
        "mine": metadata(DATA, owner=alpha, visibility="community", color="red"),
        "public": metadata(DATA, owner=alpha, visibility="public"),
        "foreign": metadata(DATA, owner=beta),
        "shared": metadata(DATA, owner=alpha, visibility="shared"),
    }
    members = {images["shared"]["id"]: [{"member_id": beta, "status": "accepted"}]}
    path = make_archive(*images.values(), members=members)
    plan = user("plan", path, "member-b", "--json")
    done = user("load", "member-b", path, "--json")
    assert (plan.code, done.code) == (1, 1)
    found = {name: plan.images[image["id"]] for name, image in images.items()}
    then = {name: done.images[image["id"]] for name, image in images.items()}
    assert found["invisible"]["reason"].startswith("its id is that of an image there which belongs to another project")
    assert (plan.json["unknown"], found["burnt"]["action"]) == (
        [
            "whether the ids of 5 images can be had is unknown until tried: "
            "at most an admin is told which ids were deleted there"
        ],
        "copied",
    )
    assert then["burnt"]["action"] == "conflict"
    for name in images.keys() - {"burnt"}:
        assert found[name]["action"] == then[name]["action"], name
        fields = [[line.partition(":")[0] for line in one[name]["dropped"]] for one in (found, then)]
        assert fields[0] == fields[1], name
    assert [line for name in ("public", "foreign", "shared") for line in found[name]["dropped"]] == [
        "visibility: would be refused: public takes the role admin",
        "owner: would be refused: giving an image to another project takes the role admin",
        f"member {beta} accepted: would be refused: only the member or an admin sets this",
    ]


def test_metadata_that_are_brought_into_line(
    cloud: Cloud, user: Callable[..., Done], make_archive: Callable[..., Path]
) -> None:
    """That an image is public already is no loss, though this user could not make it so."""
    same = metadata(DATA, owner=cloud.projects["alpha"], visibility="public")
    carried = ("id", "name", "owner", "visibility")
    cloud.client(cloud.b).add(DATA, **{key: same[key] for key in carried})
    path = make_archive(same | {"color": "red"})
    for arguments in (["plan", path, "member-b"], ["load", "member-b", path, "--dry-run"], ["load", "member-b", path]):
        done = user(*arguments, "--update-metadata", "--json")
        assert (done.code, rows(done)) == (0, {same["id"]: ("updated", "", [], [], "")})
    assert cloud.client(cloud.b).show(same["id"])["color"] == "red"


def test_a_reader_may_not_create(cloud: Cloud, user: Callable[..., Done], make_archive: Callable[..., Path]) -> None:
    path = make_archive(metadata(DATA))
    for arguments in (["plan", path, "reader-b"], ["load", "reader-b", path]):
        (image,) = user(*arguments, "--json").json["images"]
        assert image["action"] == "failed"
    assert "takes the role member, and the roles there are: reader" in user("plan", path, "reader-b", "--json").stderr


def test_projects_that_do_not_exist_there(
    cloud: Cloud, user: Callable[..., Done], make_archive: Callable[..., Path]
) -> None:
    gone, partner, alpha = "0" * 32, "1" * 32, cloud.projects["alpha"]
    image = metadata(DATA, owner=gone, visibility="shared")
    path = make_archive(image, members={image["id"]: [{"member_id": one} for one in (partner, alpha)]})
    plan = user("plan", path, "admin-b", "--json")
    assert plan.code == 1
    assert plan.images[image["id"]]["dropped"] == [
        f"member {partner}: there is no such project at the target",
        f"owner: {gone}: there is no such project at the target",
    ]
    maps = "--map", "owner", f"{gone}=alpha", "--map", "owner", f"{partner}=beta"
    assert user("plan", path, "admin-b", *maps).code == 0


def test_references_are_followed_as_a_load_does(glance_b: Glance) -> None:
    """An image that was there refers to one that gets another id now."""
    kernel = Image(metadata(DATA, id=burn(glance_b.client())))
    user_ = metadata(DATA, kernel_id=kernel.id)
    outside = glance_b.client().add(b"elsewhere", glancearchive_source_id=str(uuid.uuid4()))
    other = metadata(DATA, kernel_id=outside["glancearchive_source_id"])
    for image in (user_, other):
        carried = ("id", "name", "kernel_id", "visibility")
        glance_b.client().add(DATA, **{key: image[key] for key in carried})
    found = planned(glance_b.url, Image(user_), Image(other), kernel, ids=Ids(IdPolicy.NEW))
    assert found[kernel.id].new_id == new_id(kernel, 0)
    assert found[user_["id"]].differences == [f"kernel_id: target has {kernel.id!r}, source has {new_id(kernel, 0)!r}"]
    assert found[other["id"]].differences == [
        f"kernel_id: target has {outside['glancearchive_source_id']!r}, source has {outside['id']!r}"
    ]


def test_words_for_people(cloud: Cloud, user: Callable[..., Done], make_archive: Callable[..., Path]) -> None:
    path = make_archive(metadata(DATA, name="an image"))
    before = cloud.client(cloud.b).images()
    done = user("plan", path, "admin-b", "--rate", "40K")
    assert done.code == 0
    assert done.text.startswith("about 0:03 at 39.1 KiB/s\ndry run: 1 image: 1 copied; ")
    assert "dry run: copied: " in done.stderr
    assert cloud.client(cloud.b).images() == before


def test_an_image_that_a_load_began_needs_no_id(glance_b: Glance) -> None:
    image = Image(metadata(DATA))
    glance_b.client().create(**policy.creation_body(image, policy.mark_for(image)))
    assert planned(glance_b.url, image)[image.id].clean
    with closing(sqlite3.connect(glance_b.database, timeout=60)) as database, database:
        database.execute("UPDATE images SET deleted = 1, status = 'deleted' WHERE id = ?", (image.id,))
    assert planned(glance_b.url, image)[image.id].action == "conflict"


@pytest.mark.parametrize("status", ["saving", "spoilt"])
def test_an_image_that_a_load_began_and_that_is_stuck(status: str, glance_b: Glance) -> None:
    image = Image(metadata(DATA))
    glance_b.client().create(**policy.creation_body(image, policy.mark_for(image)))
    state, checksum = ("queued", "x") if status == "spoilt" else (status, None)
    with closing(sqlite3.connect(glance_b.database, timeout=60)) as database, database:
        database.execute("UPDATE images SET status = ?, checksum = ? WHERE id = ?", (state, checksum, image.id))
    before = glance_b.client().show(image.id)
    outcome = planned(glance_b.url, image)[image.id]
    assert outcome.action == "failed"
    assert {"saving": "stays saving", "spoilt": "unusable"}[status] in outcome.reason
    assert glance_b.client().show(image.id) == before


def test_images_that_would_have_to_be_read_are_no_finding(glance_b: Glance, tmp_path: Path) -> None:
    """Files have no digest before they are read, and are no finding for that."""
    (tmp_path / "disk.img").write_bytes(DATA)
    path = tmp_path / "files.gla"
    assert run("dump", tmp_path / "disk.img", path).code == 0
    assert run("load", glance_b.url, path).code == 0
    plan = run("plan", path, glance_b.url, "--json")
    assert (plan.code, [(image["action"], image["reason"]) for image in plan.json["images"]]) == (0, [("present", "")])
    assert plan.json["unknown"] == [
        "whether the data of 1 image are those that are there is unknown until they are read"
    ]


def test_images_that_would_be_held(glance_b: Glance, tmp_path: Path) -> None:
    """What the volumes at hand do not have is known without reading any data; what is there already is not needed."""
    size = 4_400_000
    data = {name: pattern(3 << 20, seed=number) for number, name in enumerate("abc")}
    images = {name: metadata(data[name], name=name) for name in data}
    writer = ArchiveWriter(tmp_path / "v.gla", source="a test", split=Split(size), threads=1)
    for name, image in images.items():
        entry = writer.begin(image["id"], image)
        entry.write(data[name])
        entry.finish({"sha512": image["os_hash_value"]}, "sha512")
    writer.finish()
    volumes = sorted(tmp_path.glob("v.*.gla"))
    assert len(volumes) > 2
    whole = run("plan", volumes[0], glance_b.url, "--json")
    assert (whole.code, {one["action"] for one in whole.json["images"]}) == (0, {"copied"})
    volumes[1].unlink()
    for change in ("nothing", "b is there"):
        if change == "b is there":
            glance_b.client().add(data["b"], id=images["b"]["id"], name="b")
        plan = run("plan", volumes[0], glance_b.url, "--json")
        dry = run("load", glance_b.url, volumes[0], "--json", "--dry-run")
        actions = {one["name"]: one["action"] for one in plan.json["images"]}
        assert (plan.code, dry.images) == (1, plan.images)
        assert actions["b"] == ("held" if change == "nothing" else "present")
        assert "held" in actions.values()
        for one in plan.json["images"]:
            assert (volumes[1].name in one["reason"], one["size"] == 0) == ((one["action"] == "held"),) * 2
    done = run("load", glance_b.url, volumes[0], "--json")
    assert {one["name"]: one["action"] for one in done.json["images"]} == actions


@pytest.mark.parametrize("changed", ["disk_format", "data"])
def test_an_image_that_an_interrupted_load_left_with_its_data(changed: str, glance_b: Glance) -> None:
    """What the Glance has made of it in an import is told, and so is other data; nothing is deleted."""
    image = Image(metadata(DATA, disk_format="vhd" if changed == "disk_format" else "raw", virtual_size=None))
    client = glance_b.client()
    client.create(**{**policy.creation_body(image, policy.mark_for(image)), "disk_format": "raw"})
    client.upload(image.id, DATA)
    assert planned(glance_b.url, image)[image.id].clean
    with closing(sqlite3.connect(glance_b.database, timeout=60)) as database, database:
        database.execute(
            "UPDATE images SET disk_format = 'raw', size = 5, os_hash_value = ?, checksum = ? WHERE id = ?",
            ("0" * 128, "1" * 32, image.id),
        )
    before = client.show(image.id)
    direct = planned(glance_b.url, image)[image.id]
    imported = planned(glance_b.url, image, method=ImportMethod.GLANCE_DIRECT)[image.id]
    assert (direct.action, imported.action) == ("failed", "converted")
    if changed == "disk_format":
        assert "converted by an import (disk_format vhd to raw)" in direct.reason
        assert "disk_format vhd to raw, 100001 bytes to 5" in imported.reason
    else:
        assert "the target stored something else: 5 bytes instead of 100001; a load deletes it" in direct.reason
    assert client.show(image.id) == before


def test_an_image_whose_metadata_are_lost(glance_b: Glance) -> None:
    """Its data would have to say that it is the one that is there, and they cannot be had."""
    there = glance_b.client().add(DATA, name="there", color="red", visibility="private")
    lost = Image({"id": there["id"]}, held=Holding(lacking="is no JSON"))
    known = Image(metadata(DATA, id=there["id"], name="there", color="red"), held=Holding(lacking="is cut"))
    for image, action, reason in ((lost, "failed", "is no JSON"), (known, "present", "")):
        outcome = planned(glance_b.url, image)[image.id]
        assert (outcome.action, outcome.reason, outcome.differences) == (action, reason, [])
        shelf = Shelf((image, DATA))
        shelf.broken = ImageFileError("is no JSON")
        (done,) = load(shelf, api(glance_b.url), progress=Counter())
        assert (done.action, done.reason) == (action, reason)


@pytest.mark.parametrize("status", ["active", "saving"])
def test_an_image_of_unknown_size_is_not_read_to_count_it(status: str, glance_b: Glance) -> None:
    image = Image(metadata(DATA, size=None))
    client = glance_b.client()
    client.create(**policy.creation_body(image, policy.mark_for(image)))
    client.upload(image.id, DATA)
    with closing(sqlite3.connect(glance_b.database, timeout=60)) as database, database:
        database.execute("UPDATE images SET status = ? WHERE id = ?", (status, image.id))
    shelf = Shelf((image, DATA))
    (outcome,) = plan_load(shelf, api(glance_b.url), progress=Counter())
    assert (outcome.action, shelf.reads) == ("copied" if status == "active" else "failed", {})


KEY = {"cinder_encryption_key_deletion_policy": "on_image_deletion"}  # a copy does not have it


def told(*outcomes: Outcome) -> list[tuple[Any, ...]]:
    return sorted((one.id, one.action, one.reason, one.dropped, one.clean) for one in outcomes)


def test_a_dump_of_what_is_half_loaded_and_of_what_a_load_would_change(tmp_path: Path) -> None:
    """What only a load changes is no matter for a dump; that an image is not to be used is said by both."""
    ids = [str(uuid.UUID(int=number << 100)) for number in range(1, 4)]
    half, key, kept = (
        metadata(DATA, id=ids[0]),
        metadata(DATA, id=ids[1], **KEY),
        metadata(DATA, id=ids[2], status="queued", size=None, checksum=None, os_hash_value=None),
    )
    half[policy.MARK] = policy.mark_for(Image(half))
    kept[policy.MARK] = f"{ids[2]} no-data"
    shelf = Shelf((Image(half), DATA), (Image(key), DATA), (Image(kept, absent="queued"), b""))
    path = tmp_path / "a.gla"
    for added in range(2):
        foreseen = told(*plan_dump(shelf, path, progress=Counter()))
        assert told(*dump(shelf, path, progress=Counter(), append=True).outcomes) == foreseen
        assert [(row[1], row[3], row[4]) for row in foreseen] == [
            ("present" if added else "copied", [], False),
            ("present" if added else "copied", [], True),
            ("no-data", [], False),
        ]
        assert all("was not finished" in row[2] for row in (foreseen[0], foreseen[2]))


def test_an_image_without_data_of_which_a_load_would_change_something(glance_b: Glance) -> None:
    image = Image(metadata(DATA, status="queued", size=None, checksum=None, os_hash_value=None, **KEY), absent="queued")
    foreseen = planned(glance_b.url, image)[image.id]
    (done,) = load(Shelf((image, b"")), api(glance_b.url), progress=Counter())
    assert told(foreseen) == told(done)
    assert (done.action, len(done.dropped)) == ("no-data", 1)
