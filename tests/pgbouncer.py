"""A real PgBouncer for the tests, in transaction mode, in front of the session's cluster.

It refuses to run as root; as root it runs as the user `postgres`, like the cluster. Where there is no binary, whoever
asks is skipped: `apt-get install pgbouncer` brings it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from tests.postgres import PASSWORD, cluster, free_port

POOL_SIZE: Final = 4
"""Connections to the server for all clients: fewer than one store has, so that they must take turns."""


@cache
def missing() -> str:
    """Why there can be none here; empty if there can."""
    return "" if _binary() else "no pgbouncer (apt-get install pgbouncer)"


def _binary() -> str | None:
    return shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@contextmanager
def pgbouncer() -> Generator[int]:
    """The port of one, for the length of a block."""
    binary = _binary()
    if binary is None:
        raise RuntimeError(missing())
    folder = Path(tempfile.mkdtemp(prefix="perdure-pgbouncer-"))
    port = free_port()
    (folder / "users.txt").write_text(f'"perdure" "{PASSWORD}"\n', encoding="utf-8")
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"""[databases]
* = host=127.0.0.1 port={cluster().port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder / "users.txt"}
pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = 200
""",
        encoding="utf-8",
    )
    as_user = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        as_user += ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "postgres", "postgres")
    process = subprocess.Popen([*as_user, binary, str(settings)], stderr=subprocess.PIPE, text=True, cwd="/")
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if "process up" in line:
            break
    try:
        with socket.create_connection(("127.0.0.1", port)):
            yield port
    except ConnectionRefusedError as error:
        raise RuntimeError("PgBouncer does not start:\n" + "".join(said)) from error
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        shutil.rmtree(folder, ignore_errors=True)
