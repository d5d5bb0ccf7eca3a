"""One service under gunicorn, in a directory and on a loopback port that both survive a restart."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import requests

from tests.cloud.environment import HERE, CloudError, clean_environ, environment


class Server:
    """A service that is started, stopped, killed and started again on the same port and data.

    Use as a context manager, or call :meth:`start` and :meth:`stop`. The whole process group
    dies with the process that started it. Everything the service prints is in `log`.
    """

    application: ClassVar[str]  # module:variable, for gunicorn
    ready_path: ClassVar[str]  # what answers below 400 once the service works

    def __init__(
        self, directory: Path, *, threads: int = 8, certificate: Path | None = None, key: Path | None = None
    ) -> None:
        self.directory = directory.resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.threads = threads
        self.certificate = certificate
        self.key = key
        self.host = "127.0.0.1"
        self._socket: socket.socket | None = self._bind(0)
        self.port: int = self._socket.getsockname()[1]
        self.log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._configured = False

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://{self.address}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id, which is also the process group's; only while it runs."""
        assert self._process is not None
        return self._process.pid

    def configure(self) -> None:
        """Writes configuration and data; called once, before the first start."""
        raise NotImplementedError

    def environ(self) -> dict[str, str]:
        """Environment variables that lead the service to its configuration."""
        raise NotImplementedError

    def launch(self) -> None:
        """Starts the process without waiting for it, so that several come up side by side."""
        assert not self.running
        if not self._configured:
            self.configure()
            self._write_gunicorn_conf()
            self._configured = True
        # The port is bound here and handed down: nobody can take it between choosing and listening.
        listener = self._socket or self._bind(self.port)
        self._socket = None
        options = f"--config {self.directory / 'gunicorn.conf.py'} --bind fd://{listener.fileno()}"
        # Through the environment, because Keystone parses the command line itself.
        environ = clean_environ({**self.environ(), "GUNICORN_CMD_ARGS": options})
        with listener, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(environment().script("gunicorn"))],
                cwd=self.directory,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )

    def wait(self, seconds: float = 60) -> None:
        """Returns once the service answers; raises CloudError with the end of its log if it exits or takes too long."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                # The certificate is throw-away; whether it is trusted is what tests of the client are about.
                with requests.Session() as session:
                    session.trust_env = False
                    session.verify = str(self.certificate) if self.certificate else True
                    if session.get(self.url + self.ready_path, timeout=5).status_code < 400:
                        return
            except requests.RequestException:
                pass
            if not self.running:
                raise CloudError(f"{type(self).__name__} exited, its log ends:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise CloudError(f"{type(self).__name__} not ready in {seconds} s, its log ends:\n{self.log_tail()}")
            time.sleep(0.05)

    def start(self) -> Self:
        """:meth:`launch` and :meth:`wait`."""
        try:
            self.launch()
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stops it in good order, or by force after some seconds; port and data are kept for the next start."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to all its processes at once, as when the machine loses power, but with the page cache kept."""
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
        self._process = None
        # The workers are not our children to wait for, but the port is free once they are gone.
        self._bind(self.port).close()

    def restart(self) -> Self:
        """:meth:`stop` and :meth:`start`, on the same port and data."""
        self.stop()
        return self.start()

    def log_tail(self, lines: int = 40) -> str:
        """The last `lines` lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _bind(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deadline = time.monotonic() + 10
        while True:
            try:
                listener.bind((self.host, port))
            except OSError:
                if time.monotonic() > deadline:
                    listener.close()
                    raise
                time.sleep(0.01)
            else:
                return listener

    def _write_gunicorn_conf(self) -> None:
        common = (HERE / "gunicorn_settings.py").read_text(encoding="utf-8")
        settings = {"wsgi_app": self.application, "threads": self.threads}
        if self.certificate is not None:
            settings.update(certfile=str(self.certificate), keyfile=str(self.key))
        lines = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
        (self.directory / "gunicorn.conf.py").write_text(f"{common}\n\n{lines}", encoding="utf-8")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def write_ini(path: Path, sections: dict[str, dict[str, str | int | bool]]) -> None:
    """Writes an oslo.config file."""
    lines = []
    for name, options in sections.items():
        lines += [f"[{name}]", *(f"{option} = {value}" for option, value in options.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
