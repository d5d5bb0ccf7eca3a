"""A TCP proxy in front of a server: counts bytes, cuts connections, slows and stalls them, goes away and comes back."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

_PIECE = 1 << 16


class Wire:
    """Passes every connection on to `port`. `received` and `sent` count the bytes that came to the client and from it.

    `cuts` are used one by one, by the connections that are asked for ``/file``: it is cut after that
    many bytes of the answer, head included. `stalls` likewise, where data are asked for or sent: after that many bytes
    of them nothing arrives any more, and the connection stays open. `rate` is in bytes per second and connection, 0: as
    fast as it goes. `delay` is how many seconds every piece of up to 64 KiB is held back, either way. While it is
    `away` every new connection is closed at once.
    """

    def __init__(self, port: int) -> None:
        self.received = 0
        self.sent = 0
        self.cuts: list[int] = []
        self.stalls: list[int] = []
        self.rate = 0.0
        self.delay = 0.0
        self.away = False
        self._upstream = port
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        for thread in self._threads:
            thread.join()

    def drop(self) -> None:
        """Reset every connection there is."""
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _spawn(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            if self.away:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream))
            except OSError:
                return
            with server:
                with self._lock:
                    self._open |= {client, server}
                    if self._closed:
                        return
                link = _Link()
                up = threading.Thread(target=self._up, args=(client, server, link), daemon=True)
                up.start()
                self._down(client, server, link)
                for one in (client, server):
                    with suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
                up.join()
                with self._lock:
                    self._open -= {client, server}

    def _up(self, client: socket.socket, server: socket.socket, link: _Link) -> None:
        with suppress(OSError):
            while piece := client.recv(_PIECE):
                self._plan(piece, link)
                self.sent += len(piece)
                if link.stall_up is not None:
                    piece = piece[: link.stall_up]
                    link.stall_up -= len(piece)
                self._hold(len(piece))
                server.sendall(piece)
        link.abandoned.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR if link.stall_up == 0 else socket.SHUT_WR)

    def _plan(self, piece: bytes, link: _Link) -> None:
        """What is to happen to a request that begins in `piece`."""
        if b"/file " not in piece[:200]:
            return
        with self._lock:
            if piece.startswith(b"GET "):
                link.cut = self.cuts.pop(0) if self.cuts else None
                link.stall_down = self.stalls.pop(0) if self.stalls else None
            elif piece.startswith(b"PUT "):
                link.stall_up = self.stalls.pop(0) if self.stalls else None

    def _hold(self, size: int) -> None:
        if self.rate or self.delay:
            time.sleep(self.delay + (size / self.rate if self.rate else 0))

    def _down(self, client: socket.socket, server: socket.socket, link: _Link) -> None:
        with suppress(OSError):
            while piece := server.recv(_PIECE):
                if link.cut is not None:
                    piece = piece[: link.cut]
                    link.cut -= len(piece)
                if link.stall_down is not None:
                    piece = piece[: link.stall_down]
                    link.stall_down -= len(piece)
                self._hold(len(piece))
                client.sendall(piece)
                with self._lock:
                    self.received += len(piece)
                if link.stall_down == 0:
                    link.abandoned.wait()
                if 0 in (link.cut, link.stall_down):
                    return


class _Link:
    """What is to happen to one connection: bytes that are left until then, None for never."""

    def __init__(self) -> None:
        self.cut: int | None = None
        self.stall_up: int | None = None
        self.stall_down: int | None = None
        self.abandoned = threading.Event()  # by the client
