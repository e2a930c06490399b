"""A lock that keeps a second process away from a store that only one may serve."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from perdure_server.storage.port import StoreError


class ProcessLock:
    """Keeps other processes, and a second store of this one, away.

    An flock(2): it belongs to the open file, so the kernel drops it when the process ends, however it ends. The
    lock file stays; it holds the owner's process id, for the message only.

    Args:
        path: the lock file.
        unusable: what the error says first when the lock file cannot be opened.
        advice: what to do about that.
        taken: what the error says when another one holds it; `{owner}` is its process id.
    """

    def __init__(self, path: Path, *, unusable: str, advice: str, taken: str) -> None:
        self._path = path
        self._unusable = unusable
        self._advice = advice
        self._taken = taken
        self._descriptor = -1

    def acquire(self) -> None:
        """Raises: StoreError if another one holds the lock, or its file cannot be opened."""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(f"{self._unusable}: {error.strerror}; {self._advice}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
            self.release()
            raise StoreError(self._taken.replace("{owner}", owner or "unknown")) from error
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets go. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
