"""What every test server's gunicorn does beside serving; `server.py` appends the settings of one server.

Runs inside the environment of the servers, not in that of the tests.
"""

import os
import signal
import sys
import threading
from typing import Any

import sqlalchemy.engine  # type: ignore[import-not-found]
from sqlalchemy import event

worker_class = "gthread"
timeout = 600
graceful_timeout = 2
errorlog = "-"
accesslog = "-"
access_log_format = '%(t)s "%(r)s" %(s)s %(b)s %(D)sus'
control_socket_disable = True


# oslo.db begins SQLite transactions as readers; two that then want to write at the same time are a deadlock, which
# SQLite ends with "database is locked", whatever the busy timeout. Beginning as a writer makes the second one wait.
@event.listens_for(sqlalchemy.engine.Engine, "before_cursor_execute", retval=True)  # type: ignore[untyped-decorator]
def _begin_as_writer(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> Any:
    return ("BEGIN IMMEDIATE" if statement == "BEGIN" else statement), parameters


# The other end of stdin is a pipe held by the process that started us: its end, however it comes, ends the server.
def _die_with_the_parent() -> None:
    while os.read(sys.__stdin__.fileno(), 1):  # type: ignore[union-attr]
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def post_worker_init(_worker: Any) -> None:
    threading.Thread(target=_die_with_the_parent, daemon=True).start()
