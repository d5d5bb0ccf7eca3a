"""A real Glance with SQLite and the file store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import requests

from tests.cloud.environment import Environment, environment
from tests.cloud.server import Server, write_ini

MIB = 1 << 20
FLAVORS = ("", "keystone")


@dataclass(frozen=True)
class KeystoneAccess:
    """How a Glance reaches its Keystone: the service user it checks tokens with."""

    auth_url: str  # ends in /v3
    username: str
    password: str
    project_name: str
    ca: Path | None = None


class Glance(Server):
    """A Glance 33 on loopback.

    Without `keystone` everybody may do everything (as the deployment without authentication does). `store_chunk_size`
    is the unit in bytes of reads and writes of the file store; with Glance's own 64 KiB uploads take twice as long.
    `hashing_algorithm` and `disk_formats` are Glance's options; `options` are added to its configuration file
    last, as {section: {option: value}}.
    """

    application: ClassVar[str] = "glance.wsgi.api:application"
    ready_path: ClassVar[str] = "/healthcheck"

    def __init__(
        self,
        directory: Path,
        *,
        keystone: KeystoneAccess | None = None,
        store_chunk_size: int = MIB,
        hashing_algorithm: str = "sha512",
        disk_formats: Sequence[str] = (),
        options: Mapping[str, Mapping[str, str | int | bool]] | None = None,
        threads: int = 8,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        super().__init__(directory, threads=threads, certificate=certificate, key=key)
        self.keystone = keystone
        self.store_chunk_size = store_chunk_size
        self.hashing_algorithm = hashing_algorithm
        self.disk_formats = disk_formats
        self.options = options or {}
        self.store = self.directory / "images"  # one file per image with data, named by the image's id
        self.database = self.directory / "glance.sqlite"

    def environ(self) -> dict[str, str]:
        return {"OS_GLANCE_CONFIG_DIR": str(self.directory)}

    def configure(self) -> None:
        template = environment().template("glance-33", _make_template)
        if not self.database.exists():
            shutil.copy(template / "glance.sqlite", self.database)
        for name in ("images", "staging", "tasks", "cache", "lock"):
            (self.directory / name).mkdir(exist_ok=True)
        write_ini(self.directory / "glance-api.conf", self._sections(template))

    def data_path(self, image_id: str) -> Path:
        """Where the store keeps the data of an image: for tests that damage it."""
        return self.store / image_id

    def client(self, token: str | None = None) -> GlanceClient:
        """A plain client; `token` where the Glance stands behind a Keystone."""
        return GlanceClient(self.url, token=token, verify=str(self.certificate) if self.certificate else True)

    def _sections(self, template: Path) -> dict[str, dict[str, str | int | bool]]:
        sections: dict[str, dict[str, str | int | bool]] = {
            "DEFAULT": {
                "enabled_backends": "main:file",
                "worker_self_reference_url": self.url,
                "hashing_algorithm": self.hashing_algorithm,
                "image_cache_dir": str(self.directory / "cache"),
            },
            "database": {
                "connection": f"sqlite:///{self.database}",
                "connection_parameters": "timeout=60",
                # Survives a killed process, not a power failure: a test cannot tell, and runs far quicker.
                "sqlite_synchronous": False,
            },
            "glance_store": {"default_backend": "main"},
            "main": {
                "filesystem_store_datadir": str(self.store),
                "filesystem_store_chunk_size": self.store_chunk_size,
            },
            "os_glance_staging_store": {"filesystem_store_datadir": str(self.directory / "staging")},
            "os_glance_tasks_store": {"filesystem_store_datadir": str(self.directory / "tasks")},
            "oslo_concurrency": {"lock_path": str(self.directory / "lock")},
            "paste_deploy": {"config_file": str(environment().root / "etc" / "glance" / "glance-api-paste.ini")},
        }
        if self.disk_formats:
            sections["image_format"] = {"disk_formats": ",".join(self.disk_formats)}
        if self.keystone is None:
            # Without a Keystone nobody has a role, and the default rules refuse even to create.
            sections["oslo_policy"] = {
                "policy_file": str(template / "allow-all.yaml"),
                "enforce_scope": False,
                "enforce_new_defaults": False,
            }
        else:
            sections["paste_deploy"]["flavor"] = "keystone"
            sections["keystone_authtoken"] = {
                "www_authenticate_uri": self.keystone.auth_url,
                "auth_url": self.keystone.auth_url,
                "auth_type": "password",
                "username": self.keystone.username,
                "password": self.keystone.password,
                "project_name": self.keystone.project_name,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            }
            if self.keystone.ca is not None:
                sections["keystone_authtoken"]["cafile"] = str(self.keystone.ca)
        for section, options in self.options.items():
            sections.setdefault(section, {}).update(options)
        return sections


class GlanceClient:
    """Glance's API, raw: every call returns the response as it came, nothing is retried. Not the code under test."""

    def __init__(self, url: str, *, token: str | None = None, verify: str | bool = True) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = verify
        self.session.headers["Accept"] = "application/json"
        # gunicorn closes idle connections after two seconds; a fresh one each time cannot be reset.
        self.session.headers["Connection"] = "close"
        if token is not None:
            self.session.headers["X-Auth-Token"] = token

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request; `path` begins with /v2. `options` are those of `requests`."""
        return self.session.request(method, self.url + path, timeout=300, **options)

    def create(self, **metadata: Any) -> dict[str, Any]:
        """Creates an image without data and returns its metadata."""
        metadata = {"disk_format": "raw", "container_format": "bare", **metadata}
        return _json(self.call("POST", "/v2/images", json=metadata))

    def upload(self, image_id: str, data: bytes | Path) -> None:
        """Uploads data with its true size declared."""
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        headers = {"Content-Type": "application/octet-stream", "x-openstack-image-size": str(size)}
        path = f"/v2/images/{image_id}/file"
        if isinstance(data, Path):
            with data.open("rb") as file:
                # http.client would read 8 KiB at a time from a file; requests sends an empty one as chunked.
                body: Any = _Sized(file, size) if size else b""
                response = self.call("PUT", path, data=body, headers=headers)
        else:
            response = self.call("PUT", path, data=data, headers=headers)
        _checked(response)

    def add(self, data: bytes | Path, **metadata: Any) -> dict[str, Any]:
        """Creates an image, uploads its data and returns its metadata as it then is."""
        image = self.create(**metadata)
        self.upload(image["id"], data)
        return self.show(image["id"])

    def show(self, image_id: str) -> dict[str, Any]:
        return _json(self.call("GET", f"/v2/images/{image_id}"))

    def patch(self, image_id: str, *operations: Mapping[str, Any]) -> dict[str, Any]:
        """JSON patch, as ``{"op": "replace", "path": "/visibility", "value": "shared"}``."""
        headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        return _json(self.call("PATCH", f"/v2/images/{image_id}", data=json.dumps(operations), headers=headers))

    def delete(self, image_id: str) -> None:
        _checked(self.call("DELETE", f"/v2/images/{image_id}"))

    def download(self, image_id: str) -> bytes:
        response = self.call("GET", f"/v2/images/{image_id}/file")
        return _checked(response).content

    def add_member(self, image_id: str, project_id: str, status: str | None = None) -> None:
        """Shares an image with a project; `status` (``"accepted"``) is set too where the caller may."""
        _checked(self.call("POST", f"/v2/images/{image_id}/members", json={"member": project_id}))
        if status is not None:
            path = f"/v2/images/{image_id}/members/{project_id}"
            _checked(self.call("PUT", path, json={"status": status}))

    def members(self, image_id: str) -> list[dict[str, Any]]:
        return list(_json(self.call("GET", f"/v2/images/{image_id}/members"))["members"])

    def images(self) -> dict[str, dict[str, Any]]:
        """Everything the caller may list, hidden images included, by id."""
        found: dict[str, dict[str, Any]] = {}
        for hidden in ("false", "true"):
            marker = ""
            while True:
                query = {"os_hidden": hidden, "limit": "1000", "sort": "created_at:asc,id:asc", "visibility": "all"}
                page = _json(self.call("GET", "/v2/images", params=query | ({"marker": marker} if marker else {})))
                if not page["images"]:
                    break
                found.update((image["id"], image) for image in page["images"])
                marker = page["images"][-1]["id"]
        return found

    def purge(self) -> None:
        """Deletes all images, protected ones too. Their ids stay burnt."""
        for image in self.images().values():
            if image["protected"]:
                self.patch(image["id"], {"op": "replace", "path": "/protected", "value": False})
            self.delete(image["id"])


class _Sized:
    """A body of a known length that is read a MiB at a time."""

    def __init__(self, file: Any, size: int) -> None:
        self._file = file
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(MIB):
            yield chunk


def _json(response: requests.Response) -> dict[str, Any]:
    return dict(_checked(response).json())


def _checked(response: requests.Response) -> requests.Response:
    """The response, or an HTTPError that says what the server said."""
    if not response.ok:
        request = f"{response.request.method} {response.request.path_url}"
        raise requests.HTTPError(f"{request}: {response.status_code}: {response.text}", response=response)
    return response


def _make_template(directory: Path) -> None:
    env: Environment = environment()
    conf = directory / "sync.conf"
    write_ini(conf, {"database": {"connection": f"sqlite:///{directory / 'glance.sqlite'}"}})
    env.run(env.script("glance-manage"), "--config-file", conf, "db_sync")
    program = "from glance import policies\nfor rule in policies.list_rules(): print(rule.name)"
    rules = sorted(set(env.run(env.python, "-c", program).split()))
    (directory / "allow-all.yaml").write_text("".join(f'"{rule}": ""\n' for rule in rules), encoding="utf-8")
