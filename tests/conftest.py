"""Real servers and real images for every test that asks for them; a test that does not ask starts none.

The first use of all builds the environment of the servers, which takes a minute: `make test` does it beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.archives import write_archive
from tests.cloud.certificates import Certificates, make_certificates
from tests.cloud.cloud import Cloud
from tests.cloud.environment import environment
from tests.cloud.glance import Glance
from tests.cloud.images import ImageSet, make_images
from tests.command import Done
from tests.faults.zygote import Zygote
from tests.glances import SMALL


@pytest.fixture(scope="session")
def cloud_environment() -> None:
    """The virtual environment of the servers."""
    environment()


@pytest.fixture(scope="session")
def glance_a(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """A Glance without authentication. Shared by all tests: make images with ids of your own, expect others' beside."""
    with Glance(tmp_path_factory.mktemp("glance-a")) as glance:
        yield glance


@pytest.fixture(scope="session")
def glance_b(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """Another one, as the target."""
    with Glance(tmp_path_factory.mktemp("glance-b")) as glance:
        yield glance


@pytest.fixture
def make_glance(cloud_environment: None, tmp_path: Path) -> Iterator[Callable[..., Glance]]:
    """`make_glance(**options)` starts a Glance of the test's own, empty, to be killed or configured (two seconds)."""
    with ExitStack() as stack:

        def make(**options: Any) -> Glance:
            number = len(list(tmp_path.glob("own-glance-*")))
            return stack.enter_context(Glance(tmp_path / f"own-glance-{number}", **options))

        yield make


@pytest.fixture(scope="session")
def cloud(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A Keystone with two Glances in two regions, and a clouds.yaml; see :class:`tests.cloud.cloud.Cloud`."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="session")
def certificates(cloud_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA that nobody trusts yet and a server certificate by it."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Up to five small images of real file systems, of 16 MiB but for the sparse one of 128 MiB; never change them."""
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def small_images(image_set: ImageSet) -> Path:
    """The directory with the files of `image_set`."""
    return image_set.images[0].path.parent


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """Starts processes of the program in milliseconds."""
    with Zygote() as running:
        yield running


@pytest.fixture
def user(cloud: Cloud, zygote: Zygote) -> Callable[..., Done]:
    """`user(*arguments)` runs the program for somebody with the clouds.yaml of `cloud`."""

    def go(*arguments: str | Path) -> Done:
        return zygote.run(*arguments, env={"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml)})

    return go


@pytest.fixture
def make_archive(tmp_path: Path) -> Callable[..., Path]:
    """`make_archive(metadata, …)` writes an archive of images with these metadata and the data `SMALL`."""

    def write(*images: dict[str, Any], **options: Any) -> Path:
        return write_archive(tmp_path / "a.gla", *((image, SMALL) for image in images), **options)

    return write
