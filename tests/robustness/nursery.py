"""A process that has imported the server and forks one whenever it is told to: `python -m tests.robustness.nursery
SOCKET`.

Importing takes seconds, a fork milliseconds, and a suite that kills servers starts hundreds of them. Nothing of gRPC
exists before the fork, so each child is a server process like any other. Whoever connects to the Unix socket asks for
children with lines of JSON, and is told what becomes of them:

    in   {"id": 1, "config": {...}, "environment": {...}, "log": FILE, "defect": ""}
    out  {"id": 1, "pid": 4711} | {"id": 1, "listening": "127.0.0.1:1234"} | {"id": 1, "status": -9}

The children of a connection end with it; the nursery ends when its standard input does.
"""

from __future__ import annotations

import gc
import json
import os
import re
import select
import signal
import socket
import sys
import traceback
from dataclasses import replace
from typing import Any

from perdure_server import app
from perdure_server.config import Config, ConfigError
from perdure_server.kernel.limits import DEFAULT_LIMITS
from tests.robustness import defects

_LISTENING = re.compile(rb"listening on ([^,\s]+),")


class Child:
    """A server that was forked off: its process, and the pipe of its standard error."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.number: int = order["id"]
        self.output, write_end = os.pipe()
        self._log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self.seen = b""
        self.listens = False
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(write_end, 2)
            _become_server(order)
        os.close(write_end)
        self.process = os.pidfd_open(self.pid)

    def read(self) -> str:
        """Copies what the child wrote into its log; returns the address once it says that it listens."""
        data = os.read(self.output, 65_536)
        os.write(self._log, data)
        if self.listens:
            return ""
        self.seen += data
        found = _LISTENING.search(self.seen)
        self.listens = found is not None
        return found[1].decode() if found else ""

    def end(self) -> int:
        """What the child ended with: its exit code, or minus the signal."""
        while data := os.read(self.output, 65_536):
            os.write(self._log, data)
        for descriptor in (self._log, self.output, self.process):
            os.close(descriptor)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def _become_server(order: dict[str, Any]) -> None:
    """In the child: serves as `perdure serve` would, and never returns."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.environ.update(order["environment"])
        if order["defect"]:
            defects.plant(order["defect"])
        limits = replace(DEFAULT_LIMITS, **order["config"].pop("limits", {}))
        app.run(Config(**order["config"], limits=limits))
        os._exit(0)
    except (ConfigError, app.StartError) as error:
        os.write(2, f"cannot serve: {error}\n".encode())
    finally:
        if sys.exc_info()[0] is not None:
            os.write(2, traceback.format_exc().encode())
        os._exit(70)


class Ward:
    """Takes the orders of one connection and watches its children; a process of its own.

    Args:
        connection: where the orders come from.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._children: dict[int, Child] = {}
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._input = b""

    def run(self) -> None:
        """Returns when the connection ends; the children are killed."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._connection.fileno():
                    if not self._take_orders():
                        self._kill_all()
                        return
                elif descriptor in self._children:
                    self._look_after(descriptor)

    def _take_orders(self) -> bool:
        data = self._connection.recv(65_536)
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            child = Child(json.loads(line))
            for descriptor in (child.output, child.process):
                self._children[descriptor] = child
                self._poll.register(descriptor, select.POLLIN)
            self._tell(id=child.number, pid=child.pid)
        return bool(data)

    def _look_after(self, descriptor: int) -> None:
        child = self._children[descriptor]
        if descriptor == child.output:
            address = child.read()
            if address:
                self._tell(id=child.number, listening=address)
            return
        for registered in (child.output, child.process):
            self._poll.unregister(registered)
            del self._children[registered]
        self._tell(id=child.number, status=child.end())

    def _kill_all(self) -> None:
        for child in set(self._children.values()):
            os.kill(child.pid, signal.SIGKILL)
            child.end()

    def _tell(self, **facts: Any) -> None:
        self._connection.sendall(json.dumps(facts).encode() + b"\n")


def main(path: str) -> None:
    """Serves connections until standard input ends."""
    # Wards that end are nobody's business.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    gc.collect()
    gc.freeze()
    os.write(1, b"ready\n")
    while True:
        readable, _, _ = select.select([0, listener], [], [])
        if 0 in readable:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            Ward(connection).run()
            os._exit(0)
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
