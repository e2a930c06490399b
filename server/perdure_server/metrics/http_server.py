"""The small HTTP server for monitoring: GET /metrics, /healthz and /readyz, nothing else.

It lives on the event loop, so that /healthz answers only while that loop turns. It is bounded: so many
connections at once, a request of so many bytes within so many seconds, one answer a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

MOST_CONNECTIONS: Final = 32
MOST_REQUEST_BYTES: Final = 8_192
PATIENCE_S: Final = 10.0
"""For a request to arrive and its answer to leave."""

TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT
    allow: str = ""


Page = Callable[[], Awaitable[Answer]]


class HttpServer:
    """Serves pages to monitoring.

    Args:
        host, port: where it listens; port 0 takes a free one.
        pages: by path.
    """

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        self.port = port
        self._host = host
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens. Raises: OSError if it cannot."""
        self._server = await asyncio.start_server(self._serve, self._host, self.port, limit=MOST_REQUEST_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends, cutting off whoever is still connected. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._respond(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()  # gone, too slow, or we stop: nobody is left to be told
        finally:
            self._connections.discard(task)
            writer.close()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            answer, with_body = _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), True
        else:
            answer, with_body = await self._answer(head)
        writer.write(_head(answer) + (answer.body if with_body else b""))
        await writer.drain()

    async def _answer(self, head: bytes) -> tuple[Answer, bool]:
        """The answer to a request, and whether its body is wanted."""
        parts = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            return _refusal(HTTPStatus.BAD_REQUEST), True
        method, path = parts[0], parts[1].partition("?")[0]
        page = self._pages.get(path)
        if page is None:
            return _refusal(HTTPStatus.NOT_FOUND, f"there are {', '.join(sorted(self._pages))}"), method != "HEAD"
        if method not in {"GET", "HEAD"}:
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", allow="GET, HEAD"), True
        return await page(), method == "GET"


def _refusal(status: HTTPStatus, more: str = "", *, allow: str = "") -> Answer:
    text = f"{status.phrase}: {more}\n" if more else f"{status.phrase}\n"
    return Answer(text.encode(), status, allow=allow)


def _head(answer: Answer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if answer.allow:
        lines.append(f"Allow: {answer.allow}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")
