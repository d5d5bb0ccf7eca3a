"""What an archive in volumes is for: three disks, of which one is lost and one comes back with bad sectors."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import glancearchive
from tests.cloud.glance import Glance
from tests.command import contents
from tests.faults.media import exfat, ext4, faulty_disk, read_only
from tests.faults.world import Region, assert_innocent, assert_loaded
from tests.faults.zygote import Zygote

STEPS: dict[str, Any] = {"frame": 1 << 18}
SECTOR = 4096


def any_whole(volumes: list[Path], region: Region) -> bool:
    """Whether one of the images without a byte but zeros is described in these volumes."""
    blank = {image_id for image_id, data in region.data.items() if not data.strip(b"\0")}
    with glancearchive.open(*volumes) as archive:
        return any(image.id in blank and image.status == "complete" for image in archive)


def test_three_disks(zygote: Zygote, region: Region, target: Glance, tmp_path: Path) -> None:
    need = tmp_path / "region.need"
    with ExitStack() as stack:
        disks = []
        for number, kind in enumerate([exfat, ext4, ext4, ext4]):
            (tmp_path / str(number)).mkdir()
            disks.append(stack.enter_context(kind(tmp_path / str(number))))
        # At home: three volumes, each on a disk of its own.
        options = ["--volume-size", "4M", "--read-back", "--json"]
        done = zygote.run("dump", region.glance.url, disks[0] / "region.gla", *options, **STEPS)
        assert done.code == 0, done.stderr
        assert (done.json["read_back"]["ok"], done.json["read_back"]["cache"]) == (True, "dropped")
        volumes = sorted(disks[0].iterdir())
        assert [path.name for path in volumes] == ["region.001.gla", "region.002.gla", "region.003.gla"]
        with glancearchive.open(*volumes) as archive:
            places = [frame.offset for frame in archive.catalog.frames if frame.volume == 3]
        for path, disk in zip(volumes[1:], disks[1:3], strict=True):
            shutil.move(path, disk)
        # On the way the second is lost, and two sectors of the third go bad. They are mounted read-only.
        # (Where images lie is chance: the first is lost where without the second nothing would be whole.)
        kept = 0 if any_whole([disks[0] / volumes[0].name, disks[2] / volumes[2].name], region) else 1
        lost = volumes[1 - kept].name
        bad = [(place // SECTOR * SECTOR + SECTOR, place // SECTOR * SECTOR + 2 * SECTOR) for place in places[1:3]]
        first = stack.enter_context(read_only(disks[kept], tmp_path / "first")) / volumes[kept].name
        worn = stack.enter_context(faulty_disk(disks[2], tmp_path / "worn", bad=bad)) / "region.003.gla"
        before = contents(disks[kept])
        loaded = zygote.run("load", target.url, first, "--with", worn, "--need", need, "--json")
        assert loaded.code == 1
        actions = [image["action"] for image in loaded.json["images"]]
        assert set(actions) == {"copied", "held"}, loaded.json["images"]
        reasons = " ".join(image["reason"] for image in loaded.json["images"] if image["action"] == "held")
        assert lost in reasons
        assert "region.003.gla: bytes" in reasons
        assert_innocent(target, region)
        # The need-list goes home, a repair disk comes back, smaller than what was dumped.
        answer = zygote.run("dump", region.glance.url, disks[3] / "repair.gla", "--for", need, "--json")
        assert answer.code == 0, answer.stderr
        assert (disks[3] / "repair.gla").stat().st_size < done.json["stored"]
        repair = stack.enter_context(read_only(disks[3], tmp_path / "repair")) / "repair.gla"
        finished = zygote.run("load", target.url, first, "--with", worn, "--with", repair, "--json")
        for image_id, image in finished.images.items():
            before_it = loaded.images.get(image_id, {"action": "not heard of"})["action"]
            assert image["action"] == ("present" if before_it == "copied" else "copied"), finished.stderr
        assert_loaded(target, region)
        assert zygote.run("compare", region.glance.url, target.url).code == 0
        assert contents(disks[kept]) == before
