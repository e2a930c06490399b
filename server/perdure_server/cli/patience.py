"""Says what a command waits for while the server does not answer."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from perdure_server.cli.output import Output

if TYPE_CHECKING:
    from perdure import PerdureError

PATIENCE_S: Final = 1.0
"""A server that lets somebody wait for longer is spoken of."""


class Patience:
    """Speaks once, on standard error.

    Args:
        output: of the command.
        address: of the server.
        timeout: seconds for which calls are repeated.
    """

    def __init__(self, output: Output, address: str, timeout: float) -> None:
        self._output = output
        self._address = address
        self._timeout = timeout
        self._since: float | None = None
        self._has_spoken = False

    @contextmanager
    def connecting(self, timeout: float) -> Generator[None]:
        """While a connection is made, which may take so many seconds."""
        import asyncio

        loop = asyncio.get_running_loop()
        timer = loop.call_later(PATIENCE_S, self._say, "nobody answers", timeout)
        try:
            yield
        finally:
            timer.cancel()

    def failed(self, error: PerdureError) -> None:
        """A call has failed and is about to be repeated."""
        import asyncio

        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        if now - self._since >= PATIENCE_S:
            self._say(error.message, self._timeout)

    def _say(self, what: str, timeout: float) -> None:
        if not self._has_spoken:
            self._has_spoken = True
            self._output.note(f"{self._address}: {what}; trying for {timeout:g} s (--timeout)")
