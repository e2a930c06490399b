"""An event loop in a thread, for callers that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class Portal:
    """Runs coroutines on one event loop in one thread. All users of a process share it.

    grpc's asyncio half wants one event loop a process; the thread ends when the last user has gone.
    """

    _lock = threading.Lock()
    _shared: Portal | None = None

    def __init__(self) -> None:
        self._users = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="perdure-sync", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls) -> Portal:
        """The portal, started if need be; `release` it once."""
        with cls._lock:
            if cls._shared is None:
                cls._shared = Portal()
            cls._shared._users += 1
            return cls._shared

    def release(self) -> None:
        """Ends the thread if nobody else uses it."""
        cls = type(self)
        with cls._lock:
            self._users -= 1
            if self._users:
                return
            cls._shared = None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Waits for a coroutine's result. An interrupt of the waiting thread cancels it.

        Raises:
            RuntimeError: called on the portal's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("perdure.sync cannot be used from its own event loop; use perdure.Client there")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
