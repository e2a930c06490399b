"""A proxy before a PostgreSQL that loses a chosen COMMIT, or the answer to it.

It looks for COMMIT in what clients send. While nothing is to be lost it passes on whatever comes.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Final

COMMIT: Final = b"COMMIT\0"
"""As the text of a statement ends in every message of the protocol that carries one."""

_PIECE: Final = 1 << 16


class Loss(Enum):
    """What is lost at the next COMMIT. The client's connection ends in every case."""

    COMMAND = "the server's connection ends before it"
    COMMAND_SILENTLY = "the server waits for it, and does not learn that the client has gone"
    ANSWER = "it is carried out"


class LosingProxy:
    """A proxy in front of a port of loopback. Made by `losing_proxy`.

    Attributes:
        port: where it listens.
        next: what becomes of the next COMMIT; None: nothing.
        lost: how many COMMITs met that.
        happened: set when one did.
        refuses: new connections are closed at once.
        refuses_after: it refuses from the next loss on.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.next: Loss | None = None
        self.lost = 0
        self.happened = threading.Event()
        self.refuses = False
        self.refuses_after = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends all connections."""
        for one in (self._listener, *self._sockets):
            _end(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refuses:
                    _end(client)
                    continue
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += (client, server)
                up = threading.Thread(target=self._carry_up, args=(client, server), daemon=True)
                down = threading.Thread(target=_carry, args=(server, client), daemon=True)
                for thread in (up, down):
                    thread.start()

    def _carry_up(self, client: socket.socket, server: socket.socket) -> None:
        tail = b""
        with suppress(OSError):
            while data := client.recv(_PIECE):
                loss = self.next
                if loss is not None and COMMIT in tail + data:
                    self.next = None
                    self.lost += 1
                    self.refuses = self.refuses_after
                    self._lose(loss, client, server, data)
                    self.happened.set()
                    return
                tail = data[-len(COMMIT) + 1 :]
                server.sendall(data)
        _end(server)

    def _lose(self, loss: Loss, client: socket.socket, server: socket.socket, data: bytes) -> None:
        if loss is Loss.ANSWER:
            # Nobody reads from the client any more, so the server's answer ends here; its connection ends once it
            # has done all that it was sent, or the COMMIT could still be refused for the client's going.
            _end(client)
            server.sendall(data)
            with suppress(OSError):
                server.shutdown(socket.SHUT_WR)
            return
        if loss is Loss.COMMAND:
            _end(server)
        _end(client)


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_PIECE):
            target.sendall(data)
    _end(target)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def losing_proxy(target: int) -> Generator[LosingProxy]:
    """A proxy in front of this port for the length of a block."""
    proxy = LosingProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
