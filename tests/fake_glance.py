"""A Glance of two images by script, whose answers about the one can be anything; the other is always well."""

from __future__ import annotations

from typing import Any

from tests.cloud.images import pattern
from tests.glances import metadata
from tests.scripted_http import Reply, ScriptedHttp

DATA = pattern(3_000_001)
GOOD = b"the good image"


class FakeGlance(ScriptedHttp):
    """Serves the image `bad`, whose data are answered by `replies`, and the image `good`."""

    def __init__(self, *replies: Reply, **more: Any) -> None:
        super().__init__()
        self.bad = metadata(DATA, name="the bad image", created_at="2020-01-01T00:00:00Z") | more
        self.good = metadata(GOOD, name="the good image", created_at="2021-01-01T00:00:00Z")
        self.on("GET", "/v2/images", Reply.json({"images": [self.bad, self.good]}))
        self.on("GET", self.data_path(self.good), Reply(200, GOOD))
        self.on("GET", self.data_path(self.bad), *(replies or (Reply(200, DATA),)))

    @staticmethod
    def data_path(image: dict[str, Any]) -> str:
        return f"/v2/images/{image['id']}/file"
