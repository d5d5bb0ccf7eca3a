"""A server that misbehaves by script: alone, or in front of a real Glance whose answers it passes on.

It is for what a real server will not do on demand: cut a connection, lie about
a length, answer 401 in the middle of an upload.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

_HOP = frozenset({"connection", "transfer-encoding", "host", "keep-alive"})


@dataclass(frozen=True)
class Reply:
    """One answer.

    `forward` takes the real server's answer and changes only what is set here.
    `cut` closes the connection after that many bytes of the answer's body;
    `cut_request` does so after that many bytes of the request's body, passed on.
    `hasty` answers without reading the request's body. `drop` closes at once.
    """

    status: int = 0
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    forward: bool = False
    cut: int | None = None
    cut_request: int | None = None
    hasty: bool = False
    drop: bool = False
    lose: bool = False  # the request takes effect, the answer is lost

    @classmethod
    def json(cls, document: Any, status: int = 200) -> Reply:
        return cls(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


FORWARD = Reply(forward=True)


@dataclass(frozen=True)
class Request:
    """What arrived; `path` includes the query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class ScriptedHttp:
    """Answers by `script`: replies by method and path (without query), used one by one, the last one for ever.

    Without a script for a request it goes to `upstream`, a URL, or is a 404.
    """

    def __init__(self, upstream: str = "") -> None:
        self.upstream = urlsplit(upstream)
        self.requests: list[Request] = []
        self.responders: dict[tuple[str, str], Callable[[Request], Reply]] = {}
        self._script: dict[tuple[str, str], list[Reply]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def on(self, method: str, path: str, *replies: Reply) -> None:
        self._script[method, path] = list(replies)

    def count(self, method: str, path: str) -> int:
        """How often this was asked."""
        return sum(request.method == method and request.path.split("?")[0] == path for request in self.requests)

    def take(self, method: str, path: str) -> Reply:
        with self._lock:
            replies = self._script.get((method, path.split("?")[0]), [])
            if len(replies) > 1:
                return replies.pop(0)
            return replies[0] if replies else (FORWARD if self.upstream.netloc else Reply(404, b"{}"))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(scripted: ScriptedHttp) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def setup(self) -> None:
            super().setup()
            self._connections: list[http.client.HTTPConnection] = []

        def finish(self) -> None:
            for connection in self._connections:
                connection.close()
            super().finish()

        def answer(self) -> None:
            reply = scripted.take(self.command, self.path)
            self.close_connection = True
            length = int(self.headers.get("Content-Length") or 0)
            if reply.drop:
                return
            if reply.cut_request is not None:
                self._forward(self._pieces(min(length, reply.cut_request)), length)
                return
            body = b"" if reply.hasty else b"".join(self._pieces(length))
            request = Request(self.command, self.path, dict(self.headers), body)
            scripted.requests.append(request)
            if responder := scripted.responders.get((self.command, self.path.split("?")[0])):
                reply = responder(request)
            if reply.forward or reply.lose:
                self._relay(reply, self._forward(iter([body]), length))
            else:
                self._send(reply.status, dict(reply.headers), reply.body or b"", reply)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

        def _pieces(self, length: int) -> Iterator[bytes]:
            while length and (piece := self.rfile.read1(min(length, 1 << 20))):
                length -= len(piece)
                yield piece

        def _forward(self, pieces: Iterator[bytes], length: int) -> http.client.HTTPResponse | None:
            """Pass the request on; with fewer pieces than `length` says, there is no answer."""
            upstream = http.client.HTTPConnection(scripted.upstream.hostname or "", scripted.upstream.port, timeout=60)
            upstream.putrequest(self.command, self.path, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP:
                    upstream.putheader(name, value)
            upstream.endheaders()
            self._connections.append(upstream)
            sent = 0
            with suppress(ConnectionError):  # an answer may come before all was sent
                for piece in pieces:
                    upstream.send(piece)
                    sent += len(piece)
                if sent < length:
                    return None
            try:
                return upstream.getresponse()
            except ConnectionError:
                return None

        def _relay(self, reply: Reply, answer: http.client.HTTPResponse | None) -> None:
            if answer is None:
                return
            body = answer.read()
            if reply.lose:
                return
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            if self.command == "GET" and reply.body is not None:
                body = reply.body
            self._send(reply.status or answer.status, {**headers, **reply.headers}, body, reply)

        def _send(self, status: int, headers: dict[str, str], body: bytes, reply: Reply) -> None:
            with suppress(ConnectionError):
                self.send_response(status)
                if status != 204:
                    headers.setdefault("Content-Length", str(len(body)))
                for name, value in {**headers, "Connection": "close"}.items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body if reply.cut is None else body[: reply.cut])

    return Handler
