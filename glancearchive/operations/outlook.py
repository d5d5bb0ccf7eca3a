"""What a load comes to as a whole, before it is begun: how much, how long, and what of that is in the way."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from math import ceil

from glancearchive.endpoints.glance_import import ImportMethod
from glancearchive.endpoints.prospects import Prospects
from glancearchive.image import Image
from glancearchive.plural import counted


class Outlook:
    """What concerns a load as a whole, known once all its images were looked at."""

    def __init__(self, prospects: Prospects, method: ImportMethod = ImportMethod.DIRECT) -> None:
        self.prospects = prospects
        self.staged = method is ImportMethod.GLANCE_DIRECT
        self._lock = threading.Lock()
        self._staying = _Amount()
        self._leaving = _Amount()
        self._unread = 0

    def expect(self, image: Image) -> None:
        """`image` would be created."""
        with self._lock:
            (self._staying if self.prospects.stays(image) else self._leaving).add(image.size or 0)

    def expect_reading(self) -> None:
        """The data of an image that is there would have to be read to compare them."""
        with self._lock:
            self._unread += 1

    @property
    def bytes(self) -> int:
        """Image data that would be uploaded."""
        return self._staying.bytes + self._leaving.bytes

    def seconds(self, rate: int | None) -> int | None:
        """How long that takes at `rate` bytes a second; None without a rate."""
        return ceil(self.bytes / rate) if rate else None

    def token_seconds(self, now: datetime | None = None) -> int | None:
        """How long the caller's token is still good for; None without one, or where it is renewed by itself."""
        login = self.prospects.login
        if login is None or login.renewable or login.expires is None:
            return None
        return max(int((login.expires - (now or datetime.now(UTC))).total_seconds()), 0)

    def findings(self, rate: int | None = None) -> list[str]:
        """One line for each limit that stands in the way."""
        lines = []
        for quota, needed in (
            (self.prospects.size, ceil((self._staying.bytes + self._leaving.largest) / (1 << 20))),
            (self.prospects.count, self._staying.count + min(self._leaving.count, 1)),
        ):
            if quota and quota.left is not None and needed > quota.left:
                unit = "images" if quota.unit == 1 else "MiB"
                lines.append(
                    f"quota {quota.name}: {needed} {unit} would be needed, and {quota.left} of {quota.limit} are left"
                )
        seconds, life = self.seconds(rate), self.token_seconds()
        if life is not None and (seconds or 0) >= life:
            lines.append(
                f"the token is good for {life} s and cannot be renewed, and the load takes {seconds or 0} s: "
                "log in with a password or an application credential"
            )
        return lines

    def unknown(self) -> list[str]:
        """One line for each thing that only the attempt shows."""
        lines = list(self.prospects.untold)
        count = self._staying.count + self._leaving.count
        if count and not self.prospects.sees_deleted:
            lines.append(
                f"whether the ids of {counted(count, 'image')} can be had is unknown until tried: "
                "at most an admin is told which ids were deleted there"
            )
        if count and self.staged:
            lines.append(
                f"whether the target converts {counted(count, 'image')} on import is unknown until tried: "
                "what it has converted cannot be compared, which is a finding"
            )
        if self._unread:
            images = counted(self._unread, "image")
            lines.append(f"whether the data of {images} are those that are there is unknown until they are read")
        return lines


class _Amount:
    """Images, added up."""

    count = bytes = largest = 0

    def add(self, size: int) -> None:
        self.count += 1
        self.bytes += size
        self.largest = max(self.largest, size)
