"""A stand-in for a Glance of API v1 days, which no release has had since 2018, and glance-replicator run on it."""

from __future__ import annotations

import hashlib
import subprocess
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cloud.environment import clean_environ, environment
from tests.scripted_http import Reply, Request, ScriptedHttp

PAGE = 2  # images in one answer


class GlanceV1(ScriptedHttp):
    """Answers what ``glance-replicator dump`` asks: ``GET /v1/images/detail`` by pages, ``GET /v1/images/ID``."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, Any]] = []
        self.responders["GET", "/v1/images/detail"] = self._detail

    def add(self, data: bytes | None, **more: Any) -> dict[str, Any]:
        """An image as ``detail`` in Glance's ``glance/api/v1/images.py`` (Ocata) showed it; queued without data."""
        image: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "name": "an old image",
            "status": "queued" if data is None else "active",
            "disk_format": "raw",
            "container_format": "bare",
            "size": len(data or b""),
            "virtual_size": None,
            "checksum": None if data is None else hashlib.md5(data).hexdigest(),
            "min_disk": 0,
            "min_ram": 0,
            "is_public": False,
            "protected": False,
            "owner": "5ef70662f8b34079a6eddb8da9d75fe8",
            "created_at": "2014-05-05T17:15:10.000000",
            "updated_at": "2014-05-05T17:15:11.000000",
            "deleted": False,
            "deleted_at": None,
            "properties": {},
            **more,
        }
        self.images.append(image)
        if data is not None:
            self.on("GET", f"/v1/images/{image['id']}", Reply(200, data))
        return image

    def _detail(self, request: Request) -> Reply:
        marker = parse_qs(urlsplit(request.path).query).get("marker", [""])[0]
        ids = [image["id"] for image in self.images]
        begin = ids.index(marker) + 1 if marker else 0
        return Reply.json({"images": self.images[begin : begin + PAGE]})

    def replicate(self, directory: Path, *options: str) -> Path:
        """``glance-replicator dump`` into `directory`, by the program that Glance still ships."""
        directory.mkdir(exist_ok=True)
        program = str(environment().script("glance-replicator"))
        address = urlsplit(self.url).netloc
        # Positional arguments come before the command: bugs.launchpad.net/oslo.config/+bug/1392428
        done = subprocess.run(
            [program, *options, "dump", address, str(directory)],
            env=clean_environ({}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return directory
