"""A TCP proxy in front of a server: counts bytes, cuts connections, slows them down, goes away and comes back."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

_PIECE = 1 << 16


class Wire:
    """Passes every connection on to `port`. `received` counts the bytes that went from the server to the client.

    `cuts` are used one by one, by the connections that are asked for ``/file``: it is cut after that
    many bytes of the answer, head included. `rate` is in bytes per second and connection, 0: as fast as it goes.
    """

    def __init__(self, port: int) -> None:
        self.received = 0
        self.sent = 0
        self.cuts: list[int] = []
        self.rate = 0.0
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
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream))
            except OSError:
                return
            with server:
                with self._lock:
                    self._open |= {client, server}
                    if self._closed:
                        return
                cut: list[int] = []
                up = threading.Thread(target=self._up, args=(client, server, cut), daemon=True)
                up.start()
                self._down(client, server, cut)
                for one in (client, server):
                    with suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
                up.join()
                with self._lock:
                    self._open -= {client, server}

    def _up(self, client: socket.socket, server: socket.socket, cut: list[int]) -> None:
        with suppress(OSError):
            while piece := client.recv(_PIECE):
                if piece.startswith(b"GET ") and b"/file " in piece[:200]:
                    with self._lock:
                        cut[:] = [self.cuts.pop(0)] if self.cuts else []
                self.sent += len(piece)
                server.sendall(piece)
                if self.rate:
                    time.sleep(len(piece) / self.rate)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _down(self, client: socket.socket, server: socket.socket, cut: list[int]) -> None:
        with suppress(OSError):
            while piece := server.recv(_PIECE):
                if cut:
                    piece = piece[: cut[0]]
                    cut[0] -= len(piece)
                client.sendall(piece)
                with self._lock:
                    self.received += len(piece)
                if cut and not cut[0]:
                    return
                if self.rate:
                    time.sleep(len(piece) / self.rate)
