"""What the tests of faults share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.glance import Glance
from tests.faults.world import Region, make_archive, reset
from tests.faults.zygote import Zygote


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory whose fsync costs nothing, where there is one."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="package")
def zygote() -> Iterator[Zygote]:
    with Zygote() as running:
        yield running


@pytest.fixture(scope="package")
def other_zygote() -> Iterator[Zygote]:
    """For two processes at the same time."""
    with Zygote() as running:
        yield running


@pytest.fixture(scope="package")
def region(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    """A Glance with five images, which are never changed."""
    with Glance(tmp_path_factory.mktemp("faults-source")) as glance:
        made = Region(glance)
        made.fill()
        yield made


@pytest.fixture(scope="package")
def archive(zygote: Zygote, region: Region, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted dump of `region`."""
    return make_archive(zygote, region, tmp_path_factory.mktemp("faults-archive") / "region.gla")


@pytest.fixture(scope="package")
def target_glance(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    with Glance(tmp_path_factory.mktemp("faults-target")) as glance:
        yield glance


@pytest.fixture
def target(target_glance: Glance) -> Glance:
    """A Glance without images, and without any memory of images."""
    reset(target_glance)
    return target_glance
