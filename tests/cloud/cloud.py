"""One Keystone with two Glances, which is what an operator with a clouds.yaml has before them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cloud.glance import Glance, GlanceClient
from tests.cloud.keystone import ADMIN, DOMAIN, PASSWORD, Keystone

REGIONS = ("RegionA", "RegionB")


@dataclass(frozen=True)
class Account:
    """A user with one role on one project; `name` is the user's name and the stem of its names in clouds.yaml."""

    name: str
    project: str
    role: str


ACCOUNTS = (
    Account(ADMIN, ADMIN, "admin"),
    Account("member", "alpha", "member"),
    Account("reader", "alpha", "reader"),
    Account("other", "beta", "member"),
)


class Cloud:
    """A Keystone and two Glances, `a` in RegionA and `b` in RegionB of its catalog.

    `projects` maps project names (admin, alpha, beta) to ids. `clouds_yaml` names, for each account (admin, member and
    reader of alpha, other of beta), ``NAME-a`` and ``NAME-b``, and for member ``appcred-a`` and ``appcred-b``, which
    use an application credential. With `certificate`, `key` and `ca` all three speak TLS.
    """

    def __init__(
        self,
        directory: Path,
        *,
        token_seconds: int = 3600,
        certificate: Path | None = None,
        key: Path | None = None,
        ca: Path | None = None,
    ) -> None:
        self.directory = directory
        self.keystone = Keystone(directory / "keystone", token_seconds=token_seconds, certificate=certificate, key=key)
        self._certificate, self._key, self._ca = certificate, key, ca
        self.a: Glance
        self.b: Glance
        self.projects: dict[str, str] = {}
        self.clouds_yaml = directory / "clouds.yaml"

    def start(self) -> Self:
        self.keystone.start()
        try:
            self._populate()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stops all three, in any state."""
        for server in (getattr(self, "a", None), getattr(self, "b", None), self.keystone):
            if server is not None:
                server.stop()

    def token(self, account: str) -> str:
        """A fresh token of one of the accounts."""
        project = next(known.project for known in ACCOUNTS if known.name == account)
        return self.keystone.token(account, project)

    def client(self, glance: Glance, account: str = ADMIN) -> GlanceClient:
        """A plain client of `glance` (one of `a` and `b`) with a fresh token of an account."""
        return glance.client(self.token(account))

    def _populate(self) -> None:
        keystone = self.keystone
        access = keystone.service_access()
        self.a, self.b = (
            Glance(self.directory / name, keystone=access, certificate=self._certificate, key=self._key)
            for name in ("glance-a", "glance-b")
        )
        self.a.launch()
        self.b.launch()
        self.projects[ADMIN] = keystone.find("projects", ADMIN)
        for account in ACCOUNTS[1:]:
            if account.project not in self.projects:
                self.projects[account.project] = keystone.create_project(account.project)
            keystone.assign(keystone.create_user(account.name), self.projects[account.project], account.role)
        keystone.register("identity", "keystone", dict.fromkeys(REGIONS, keystone.auth_url))
        keystone.register("image", "glance", dict(zip(REGIONS, (self.a.url, self.b.url), strict=True)))
        self._write_clouds_yaml()
        self.a.wait()
        self.b.wait()

    def _write_clouds_yaml(self) -> None:
        credential = self.keystone.application_credential("member", "alpha", "for-tests")
        clouds: dict[str, Any] = {}
        for letter, region in zip("ab", REGIONS, strict=True):
            common: dict[str, Any] = {"region_name": region, "interface": "public", "identity_api_version": "3"}
            if self._ca is not None:
                common["cacert"] = str(self._ca)
            for account in ACCOUNTS:
                auth = {
                    "auth_url": self.keystone.auth_url,
                    "username": account.name,
                    "password": PASSWORD,
                    "project_name": account.project,
                    "user_domain_id": DOMAIN,
                    "project_domain_id": DOMAIN,
                }
                clouds[f"{account.name}-{letter}"] = {**common, "auth": auth}
            auth = {
                "auth_url": self.keystone.auth_url,
                "application_credential_id": credential[0],
                "application_credential_secret": credential[1],
            }
            clouds[f"appcred-{letter}"] = {**common, "auth_type": "v3applicationcredential", "auth": auth}
        # JSON is YAML.
        self.clouds_yaml.write_text(json.dumps({"clouds": clouds}, indent=2), encoding="utf-8")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
