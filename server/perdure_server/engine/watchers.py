"""Who waits for a run to change, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from perdure_server.storage.port import RunKey


class Watchers:
    """Signals by run; a signal is set whenever the run has a new committed state."""

    def __init__(self) -> None:
        self._signals: dict[RunKey, set[asyncio.Event]] = {}
        self.ended = False
        """The server goes away: who waits takes the run as it stands."""

    @contextmanager
    def watch(self, key: RunKey) -> Generator[asyncio.Event]:
        """A signal for as long as the context lasts; the watcher clears it before it reads the run."""
        signal = asyncio.Event()
        self._signals.setdefault(key, set()).add(signal)
        try:
            yield signal
        finally:
            signals = self._signals[key]
            signals.discard(signal)
            if not signals:
                del self._signals[key]

    def changed(self, key: RunKey) -> None:
        """The run has a new state."""
        for signal in self._signals.get(key, ()):
            signal.set()

    def changed_all(self) -> None:
        """Any run may have a new state."""
        for signals in self._signals.values():
            for signal in signals:
                signal.set()

    def end(self) -> None:
        """Nobody waits any longer. Idempotent."""
        self.ended = True
        self.changed_all()

    def __len__(self) -> int:
        return sum(len(signals) for signals in self._signals.values())
