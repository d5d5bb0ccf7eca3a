"""A real Keystone with SQLite and fernet tokens, and the little of its API that a test cloud needs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any, ClassVar

import requests

from tests.cloud.environment import environment
from tests.cloud.glance import KeystoneAccess
from tests.cloud.server import Server, write_ini

ADMIN = "admin"  # user and project of the bootstrap
PASSWORD = "not-a-secret"  # of the admin and of every user made here
DOMAIN = "default"


class Keystone(Server):
    """A Keystone 30 on loopback; user and project `admin` exist from the start, everything else is made by the methods.

    `token_seconds` is the life of a token.
    """

    application: ClassVar[str] = "keystone.wsgi.api:application"
    ready_path: ClassVar[str] = "/v3"

    def __init__(
        self,
        directory: Path,
        *,
        token_seconds: int = 3600,
        threads: int = 8,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        super().__init__(directory, threads=threads, certificate=certificate, key=key)
        self.token_seconds = token_seconds
        self._admin = (0.0, "")  # when it was made, and the token
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(certificate) if certificate else True
        self._session.headers["Connection"] = "close"

    @property
    def auth_url(self) -> str:
        return f"{self.url}/v3"

    def environ(self) -> dict[str, str]:
        return {"OS_KEYSTONE_CONFIG_DIR": str(self.directory)}

    def configure(self) -> None:
        template = environment().template("keystone-30", _make_template)
        if not (self.directory / "keystone.sqlite").exists():
            shutil.copy(template / "keystone.sqlite", self.directory)
            shutil.copytree(template / "fernet-keys", self.directory / "fernet-keys")
            shutil.copytree(template / "credential-keys", self.directory / "credential-keys")
        _write_conf(self.directory, expiration=self.token_seconds, public_endpoint=self.url)

    def token(self, user: str = ADMIN, project: str = ADMIN, password: str = PASSWORD) -> str:
        """A fresh token of `user`, scoped to `project` (names, in the default domain)."""
        identity = {"user": {"name": user, "domain": {"id": DOMAIN}, "password": password}}
        auth = {
            "identity": {"methods": ["password"], "password": identity},
            "scope": {"project": {"name": project, "domain": {"id": DOMAIN}}},
        }
        response = self._session.post(f"{self.auth_url}/auth/tokens", json={"auth": auth}, timeout=60)
        response.raise_for_status()
        return str(response.headers["X-Subject-Token"])

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """One request below /v3, as the admin unless a `token` is given; returns the decoded JSON or None."""
        headers = {"X-Auth-Token": token or self._admin_token()}
        response = self._session.request(method, self.auth_url + path, json=body, headers=headers, timeout=60)
        response.raise_for_status()
        return response.json() if response.content else None

    def _admin_token(self) -> str:
        made, token = self._admin
        if not token or time.monotonic() - made > self.token_seconds / 4:
            made, token = self._admin = (time.monotonic(), self.token())
        return token

    def create_project(self, name: str) -> str:
        """Creates a project in the default domain and returns its id."""
        body = {"project": {"name": name, "domain_id": DOMAIN}}
        return str(self.call("POST", "/projects", body)["project"]["id"])

    def create_user(self, name: str, password: str = PASSWORD) -> str:
        """Creates a user in the default domain, without any role, and returns its id."""
        body = {"user": {"name": name, "domain_id": DOMAIN, "password": password}}
        return str(self.call("POST", "/users", body)["user"]["id"])

    def find(self, kind: str, name: str) -> str:
        """The id of the one `kind` (``"projects"``, ``"users"``, ``"roles"``) of this name."""
        found = self.call("GET", f"/{kind}?name={name}")[kind]
        assert len(found) == 1, f"{len(found)} {kind} named {name}"
        return str(found[0]["id"])

    def assign(self, user_id: str, project_id: str, role: str) -> None:
        """Gives a user a role on a project; Keystone comes with admin, manager, member, reader and service."""
        self.call("PUT", f"/projects/{project_id}/users/{user_id}/roles/{self.find('roles', role)}")

    def application_credential(self, user: str, project: str, name: str) -> tuple[str, str]:
        """Makes an application credential of a user for a project; returns its id and secret."""
        token = self.token(user, project)
        path = f"/users/{self.find('users', user)}/application_credentials"
        kind = "application_credential"
        made = self.call("POST", path, {kind: {"name": name}}, token=token)[kind]
        return str(made["id"]), str(made["secret"])

    def register(self, service_type: str, name: str, endpoints: dict[str, str]) -> None:
        """Puts a service into the catalog, with `endpoints` as {region: url}, each under all three interfaces."""
        body = {"service": {"type": service_type, "name": name}}
        service = self.call("POST", "/services", body)["service"]["id"]
        known = {region["id"] for region in self.call("GET", "/regions")["regions"]}
        for region, url in endpoints.items():
            if region not in known:
                self.call("POST", "/regions", {"region": {"id": region}})
            for interface in ("public", "internal", "admin"):
                endpoint = {"service_id": service, "region_id": region, "interface": interface, "url": url}
                self.call("POST", "/endpoints", {"endpoint": endpoint})

    def service_access(self) -> KeystoneAccess:
        """Makes the service user that a Glance checks tokens with."""
        user, project = self.create_user("glance"), self.create_project("service")
        self.assign(user, project, "admin")
        self.assign(user, project, "service")
        return KeystoneAccess(self.auth_url, "glance", PASSWORD, "service", self.certificate)


def _write_conf(directory: Path, **changes: str | int) -> None:
    write_ini(
        directory / "keystone.conf",
        {
            "DEFAULT": {"public_endpoint": changes.get("public_endpoint", "http://127.0.0.1")},
            "database": {
                "connection": f"sqlite:///{directory / 'keystone.sqlite'}",
                "connection_parameters": "timeout=60",
                "sqlite_synchronous": False,
            },
            "token": {"expiration": changes.get("expiration", 3600)},
            "fernet_tokens": {"key_repository": str(directory / "fernet-keys")},
            # Not used here, but set up with the others, by default below /etc.
            "fernet_receipts": {"key_repository": str(directory / "fernet-keys")},
            "credential": {"key_repository": str(directory / "credential-keys")},
            # The fewest rounds bcrypt has: every token costs a password check.
            "identity": {"password_hash_rounds": 4},
        },
    )


def _make_template(directory: Path) -> None:
    _write_conf(directory)
    env = environment()
    for name in ("fernet-keys", "credential-keys"):
        (directory / name).mkdir(mode=0o700)
    owner = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    steps = [
        ["db_sync"],
        ["fernet_setup", *owner],
        ["credential_setup", *owner],
        ["bootstrap", "--bootstrap-password", PASSWORD],
    ]
    for step in steps:
        env.run(env.script("keystone-manage"), "--config-file", directory / "keystone.conf", *step)
