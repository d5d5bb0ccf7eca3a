"""Getting at an image service, as OpenStack users name it: real Keystone, real TLS, and things that are no Glance."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from glancearchive.endpoints.connect import connect
from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.errors import (
    AccessError,
    ConnectError,
    GlanceArchiveError,
    NotGlanceError,
    UnavailableError,
    UsageError,
)
from tests.cloud.certificates import Certificates
from tests.cloud.cloud import Cloud
from tests.cloud.glance import Glance
from tests.cloud.keystone import PASSWORD
from tests.scripted_http import Reply, ScriptedHttp


@pytest.fixture
def no_clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user without any OpenStack configuration."""
    for name in list(__import__("os").environ):
        if name.startswith("OS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clouds(cloud: Cloud, no_clouds: None, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A user with the clouds.yaml of the running cloud."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    return cloud


@contextmanager
def speaking(first_line: bytes) -> Iterator[str]:
    """A server that says one thing, whatever it is asked; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(first_line)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    "form", ["{address}", "http://{address}", "{url}/", "{url}/v2", "{url}/v2/", "HTTP://{address}/v2"]
)
def test_every_form_of_an_address_is_the_same_endpoint(glance_a: Glance, form: str) -> None:
    server = form.format(address=glance_a.address, url=glance_a.url)
    assert connect(server).label == f"glance {glance_a.url}"


def test_a_glance_under_a_path(glance_a: Glance) -> None:
    with ScriptedHttp() as server:
        server.on("GET", "/image/v2/images", Reply.json({"images": []}))
        assert connect(f"{server.url}/image/v2").label == f"glance {server.url}/image"


@pytest.mark.parametrize("account", ["admin-a", "member-a", "reader-a", "appcred-a"])
def test_a_cloud_of_clouds_yaml(clouds: Cloud, account: str) -> None:
    cloud = connect(account)
    assert cloud.label == f"glance {clouds.a.url}"
    list(GlanceApi(cloud).images())


@pytest.fixture
def regions(clouds: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A clouds.yaml that lists regions, one of which has no Glance."""
    document = json.loads(clouds.clouds_yaml.read_text())
    del document["clouds"]["admin-a"]["region_name"]
    document["clouds"]["admin-a"]["regions"] = ["RegionA", "RegionB", "RegionC"]
    (tmp_path / "regions.yaml").write_text(json.dumps(document))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "regions.yaml"))
    return clouds


def test_a_region_by_option(regions: Cloud) -> None:
    assert connect("admin-a").label == f"glance {regions.a.url}"
    assert connect("admin-a", region="RegionB").label == f"glance {regions.b.url}"
    with pytest.raises(NotGlanceError, match="offers no image service in RegionC"):
        connect("admin-a", region="RegionC")
    with pytest.raises(UsageError, match="RegionX is not a valid region name"):
        connect("admin-a", region="RegionX")


def test_the_os_variables(cloud: Cloud, no_clouds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "AUTH_URL": cloud.keystone.auth_url,
        "USERNAME": "member",
        "PASSWORD": PASSWORD,
        "PROJECT_NAME": "alpha",
        "USER_DOMAIN_ID": "default",
        "PROJECT_DOMAIN_ID": "default",
        "REGION_NAME": "RegionB",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"OS_{name}", value)
    assert connect("envvars").label == f"glance {cloud.b.url}"


def test_a_token(cloud: Cloud, no_clouds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "AUTH_TYPE": "v3token",
        "AUTH_URL": cloud.keystone.auth_url,
        "TOKEN": cloud.token("member"),
        "PROJECT_NAME": "alpha",
        "PROJECT_DOMAIN_ID": "default",
        "REGION_NAME": "RegionA",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"OS_{name}", value)
    assert connect("envvars").label == f"glance {cloud.a.url}"


def test_an_unknown_cloud_names_the_known_ones(clouds: Cloud) -> None:
    with pytest.raises(UsageError, match=r"unknown cloud 'nowhere'; known are: admin-a, admin-b, appcred-a"):
        connect("nowhere")


def test_no_configuration_at_all(no_clouds: None) -> None:
    with pytest.raises(UsageError, match=r"no clouds\.yaml was found"):
        connect("nowhere")
    with pytest.raises(UsageError, match="none are set"):
        connect("envvars")


def test_a_wrong_password(clouds: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads(clouds.clouds_yaml.read_text())
    document["clouds"]["admin-a"]["auth"]["password"] = "wrong"
    (tmp_path / "wrong.yaml").write_text(json.dumps(document))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "wrong.yaml"))
    with pytest.raises(AccessError, match="asking Keystone for a token: 401") as caught:
        connect("admin-a")
    assert caught.value.status == 401
    assert f"asking {clouds.keystone.auth_url} for the image service of 'admin-a': " in str(caught.value)
    assert "look at the user, the password, the project" in str(caught.value)
    assert_one_line(caught.value)


def test_an_incomplete_or_broken_configuration(
    no_clouds: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    for text in (
        '{"clouds": {"x": {"auth": {"auth_url": "http://127.0.0.1:1/v3"}}}}',
        '{"clouds": {"x": {"auth_type": "nonsense"}}}',
    ):
        (tmp_path / "clouds.yaml").write_text(text)
        with pytest.raises(UsageError, match="the configuration of cloud 'x'") as caught:
            connect("x")
        assert_one_line(caught.value)
    (tmp_path / "clouds.yaml").write_text("clouds: [")
    with pytest.raises(UsageError) as caught:
        connect("x")
    assert_one_line(caught.value)


def test_a_keystone_that_is_not_there(no_clouds: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = {"auth_url": "http://127.0.0.1:1/v3", "username": "u", "password": "p", "project_name": "p"}
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"x": {"auth": auth}}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    with pytest.raises(ConnectError, match=r"asking http://127\.0\.0\.1:1/v3 for the image service of 'x': ") as caught:
        connect("x")
    assert_one_line(caught.value)


def test_a_glance_that_wants_a_token(cloud: Cloud) -> None:
    with pytest.raises(AccessError, match=r"name a cloud of clouds\.yaml, or envvars") as caught:
        connect(cloud.a.url)
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "server",
    ["http://", "ftp://x:1/", "http://a:99999", "http://user:secret@a", "http://a/?x=1", "host:123456", "http://[::1"],
)
def test_addresses_that_make_no_sense(server: str, no_clouds: None) -> None:
    with pytest.raises(UsageError) as caught:
        connect(server)
    assert "secret" not in str(caught.value)


def test_nobody_there() -> None:
    with pytest.raises(ConnectError, match="Connection refused") as caught:
        connect("127.0.0.1:1")
    assert_one_line(caught.value)
    with pytest.raises(ConnectError) as caught:
        connect("http://nobody.invalid:9292")
    assert_one_line(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(
            200,
            b"<html><head><title>Welcome</title></head><body><h1>It works</h1></body></html>",
            {"Content-Type": "text/html"},
        ),
        Reply(404, b"<html><body>Not Found</body></html>", {"Content-Type": "text/html"}),
        Reply(300, b'{"versions": [{"id": "v1.1"}]}', {"Content-Type": "application/json"}),
        Reply(302, b"", {"Location": "/login"}),
        Reply(400, b"The plain HTTP request was sent to HTTPS port"),
        Reply.json({"images": "none"}),
        Reply.json(["images"]),
        Reply(200, b""),
        Reply(200, b"\xff\xfe\x00"),
    ],
    ids=["html", "html 404", "only v1", "login page", "TLS port", "no list", "no object", "empty", "binary"],
)
def test_a_server_that_is_no_glance(reply: Reply) -> None:
    with ScriptedHttp() as server:
        server.on("GET", "/v2/images", reply)
        with pytest.raises(NotGlanceError) as caught:
            connect(server.url)
    assert_one_line(caught.value)


def test_a_server_that_does_not_speak_http() -> None:
    with speaking(b"SSH-2.0-OpenSSH_9.2\r\n") as address, pytest.raises(NotGlanceError, match=r"SSH-2\.0") as caught:
        connect(address)
    assert_one_line(caught.value)


def test_a_server_in_trouble() -> None:
    with ScriptedHttp() as server:
        server.on(
            "GET", "/v2/images", Reply(503, b"<html><body>Down for maintenance</body></html>", {"Retry-After": "30"})
        )
        with pytest.raises(UnavailableError, match="503 Service Unavailable: Down for maintenance") as caught:
            connect(server.url)
    assert caught.value.retry_after == 30


def test_tls(make_glance: Callable[..., Any], certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    glance = make_glance(certificate=certificates.certificate, key=certificates.key)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(ConnectError, match=r"certificate verify failed.*; --cacert names a file") as caught:
        connect(glance.url)
    assert_one_line(caught.value)
    with ScriptedHttp() as plain, pytest.raises(ConnectError, match="; no TLS is spoken there"):
        connect(plain.url.replace("http:", "https:"))
    with pytest.raises(GlanceArchiveError):
        connect(glance.address)  # plain HTTP to a TLS port
    for options in ({"cacert": str(certificates.ca)}, {"insecure": True}):
        assert connect(glance.url, **options).label == f"glance {glance.url}"
    with pytest.raises(UsageError, match="no-such-file"):
        connect(glance.url, cacert="no-such-file.pem")
    with pytest.raises(UsageError, match="no-such-file"):
        connect(glance.url, cert="no-such-file.pem")


def assert_one_line(error: GlanceArchiveError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 600
    assert "Traceback" not in str(error)
    assert "HTTPConnectionPool" not in str(error)
