"""A real PostgreSQL for the tests: one cluster a session, on loopback, with a fresh database for whoever asks.

It is started when the first test needs it and ends with the process, however that ends. fsync is on. As root it
runs as the user `postgres`, because PostgreSQL refuses to run as root. Tests that use it carry the mark `postgres`
and are skipped where there are no binaries: `apt-get install postgresql` brings them.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final, Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

READY: Final = "database system is ready to accept connections"
READY_WITHIN_S: Final = 60.0
PASSWORD: Final = "a b:c@d/é"
"""With what a URL must escape."""

SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "fsync": "on",
    "deadlock_timeout": "200ms",
    "log_min_messages": "warning",
}

_PARENT: Final = ThreadPoolExecutor(1, thread_name_prefix="postgres-parent")
"""Whose children the servers are: they die with this thread, which lives as long as the process."""

Stop = Literal["fast", "immediate", "kill"]
SIGNALS: Final[dict[Stop, signal.Signals]] = {
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
    "kill": signal.SIGKILL,
}


@cache
def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    if binaries() is None:
        return "no PostgreSQL binaries (apt-get install postgresql)"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and there is no setpriv to be another user with"
    return ""


@cache
def binaries() -> Path | None:
    """The folder of initdb and postgres: that of the newest version, or of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    in_path = shutil.which("initdb")
    return found[-1].parent if found else Path(in_path).resolve().parent if in_path else None


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A PostgreSQL server with its own data folder.

    Args:
        data: where its data goes, a folder that does not exist yet; None: beside the others of the session.
        wal: the same for the write-ahead log, in small pieces; None: with the data.
        settings: of postgresql.conf, beside SETTINGS.
    """

    def __init__(self, *, data: Path | None = None, wal: Path | None = None, **settings: str) -> None:
        bin_folder = binaries()
        if bin_folder is None:
            raise RuntimeError(missing())
        self._bin = bin_folder
        self._settings = {**SETTINGS, **settings}
        self._folder = Path(tempfile.mkdtemp(prefix="perdure-postgres-"))
        self._data = data or self._folder / "data"
        self._wal = wal
        self._process: subprocess.Popen[str] | None = None
        self._numbers = count()
        self._log: list[str] = []
        self._reader: threading.Thread | None = None
        self.port = free_port()
        self._make()
        self.start()

    def _as_user(self, *command: str) -> list[str]:
        dies_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        if os.geteuid() != 0:
            return [*dies_with_us, *command]
        return [*dies_with_us, "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]

    def _make(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        secret = self._folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        command = [
            *(str(self._bin / "initdb"), "--no-sync", "--username=perdure", f"--pwfile={secret}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", str(self._data)),
            *((f"--waldir={self._wal}", "--wal-segsize=1") if self._wal else ()),
        ]
        made = subprocess.run(
            self._as_user(*command), capture_output=True, text=True, check=False, cwd="/", env=_ENVIRONMENT
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed:\n{made.stdout}{made.stderr}")
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in self._settings.items())

    def start(self) -> None:
        """Returns when it takes connections."""
        ready = threading.Event()
        command = (str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port))
        process = _PARENT.submit(
            subprocess.Popen, self._as_user(*command), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            cwd="/", env=_ENVIRONMENT,
        ).result()  # fmt: skip
        self._process = process
        self._reader = threading.Thread(target=self._read_log, args=(process, ready), daemon=True)
        self._reader.start()
        if not ready.wait(READY_WITHIN_S) or process.poll() is not None:
            process.kill()
            raise RuntimeError("PostgreSQL does not start:\n" + "".join(self._log))

    def _read_log(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self._log = [*self._log[-200:], line]
                if READY in line:
                    ready.set()
        ready.set()

    @property
    def log(self) -> str:
        """The end of what the server has logged."""
        return "".join(self._log)

    def stop(self, how: Stop = "fast") -> None:
        """Ends it: orderly, by its own crash, or by SIGKILL (its children notice and end by themselves)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(SIGNALS[how])
            process.wait(READY_WITHIN_S)
            if self._reader is not None:
                self._reader.join(READY_WITHIN_S)

    def restart(self, how: Stop = "fast", while_down: Callable[[], object] = lambda: None) -> None:
        """Stops it, calls `while_down`, and starts it again on the same data."""
        self.stop(how)
        while_down()
        self.start()

    def remove(self) -> None:
        """Stops it and deletes its data."""
        self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def conninfo(self, database: str, user: str = "perdure", password: str = PASSWORD) -> str:
        """For psycopg."""
        return make_conninfo(host="127.0.0.1", port=self.port, dbname=database, user=user, password=password)

    def url(self, database: str, user: str = "perdure", password: str = PASSWORD, port: int = 0) -> str:
        """For `--store`. `port`: of something between the server and the cluster."""
        return f"postgresql://{user}:{_quoted(password)}@127.0.0.1:{port or self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """One statement as superuser, in autocommit mode; its rows."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, template: str = "template1") -> str:
        """The name of a new database, made like the template."""
        name = f"d{os.getpid()}_{next(self._numbers)}"
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(made)
        return name

    def drop_database(self, name: str) -> None:
        """Deletes a database, and ends whoever is connected to it."""
        dropped = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(dropped)


_ENVIRONMENT: Final = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "TZ": "UTC"}


def _quoted(text: str) -> str:
    return "".join(char if char.isalnum() and char.isascii() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


@cache
def cluster() -> Cluster:
    """The session's cluster. Whoever stops or restarts it disturbs others: use a `Cluster` of your own for that."""
    started = Cluster()
    atexit.register(started.remove)
    return started
