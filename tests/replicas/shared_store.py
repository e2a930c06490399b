"""A store that several replicas in this process share: what a test needs to bring them into every order.

The data is one memory store. Each replica has a view of its own, with its own lease clock. The test may keep the
horizon back, withhold hints, hold commits and reads of one replica, and let one replica's calls fail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from perdure_server.engine.sealing import genesis_hash
from perdure_server.storage.memory import MemoryStore
from perdure_server.storage.port import (
    NO_LIMIT,
    Commit,
    RecordQuery,
    RunKey,
    RunSnapshot,
    StoredEvent,
    StoredRecord,
    StoreError,
    StoreInfo,
    Verdict,
)


class SharedData:
    """What replicas share."""

    def __init__(self) -> None:
        self.store = MemoryStore(genesis=genesis_hash, epoch="0" * 32)
        self.views: list[ReplicaStore] = []
        self.held_horizon: int | None = None
        self.hints = True

    def hold_horizon(self) -> None:
        """As if a writer with the next position had not committed yet."""
        self.held_horizon = self.store.horizon()

    def release_horizon(self) -> None:
        """That writer has gone."""
        self.held_horizon = None

    def view(self) -> ReplicaStore:
        """A replica's view."""
        self.views.append(ReplicaStore(self))
        return self.views[-1]


class ReplicaStore:
    """One replica's way to the data. What is not said here is the memory store's.

    Attributes:
        offset: from the monotonic clock to the store's lease clock, microseconds.
        failing: why every call fails; empty: they do not.
        answers_lost: so many of the next commits are kept, and fail all the same: nobody learns what became of them.
        gate: each commit waits until it is set.
        after_load: called on the reading thread with each snapshot, before it is handed over.
    """

    def __init__(self, data: SharedData) -> None:
        self.data = data
        self.offset = 0
        self.failing = ""
        self.answers_lost = 0
        self.gate = threading.Event()
        self.gate.set()
        self.after_load: Callable[[RunSnapshot | None], None] = lambda _snapshot: None
        self.calls: list[str] = []
        self._calls_left: int | None = None
        self._hinted = threading.Event()
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.data.store, name)

        def call(*args: Any) -> Any:
            self._check(name)
            return method(*args)

        return call

    def fail_after(self, calls: int) -> None:
        """So many more calls are answered; hints and lease clock are none."""
        self._calls_left = calls

    def _check(self, name: str) -> None:
        self.calls.append(name)
        if self._calls_left is not None and name != "wait_for_change":
            if self._calls_left == 0:
                self.failing, self._calls_left = "the database restarts", None
            else:
                self._calls_left -= 1
        if self._closed:
            raise StoreError("the store is closed")
        if self.failing:
            raise StoreError(self.failing)

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        self.gate.wait(30)
        self._check("commit")
        verdicts = self.data.store.commit(batch)
        if self.data.hints:
            for view in self.data.views:
                if view is not self:
                    view.hint()
        if self.answers_lost:
            self.answers_lost -= 1
            raise StoreError("the database went away during a commit, which was unknown")
        return verdicts

    def hint(self) -> None:
        """Another replica has committed."""
        self._hinted.set()

    def info(self) -> StoreInfo:
        """See StoreReader."""
        return replace(self.data.store.info(), kind="shared memory", shared=True)

    def load_run(self, key: RunKey) -> RunSnapshot | None:
        """See StoreReader."""
        self._check("load_run")
        snapshot = self.data.store.load_run(key)
        self.after_load(snapshot)
        return snapshot

    def horizon(self) -> int:
        """See StoreReader."""
        self._check("horizon")
        position = self.data.store.horizon()
        return position if self.data.held_horizon is None else min(position, self.data.held_horizon)

    def read_records(self, query: RecordQuery) -> list[StoredRecord]:
        """See StoreReader."""
        self._check("read_records")
        until = query.until_position or (NO_LIMIT if query.run_id else self.horizon())
        return self.data.store.read_records(replace(query, until_position=until))

    def read_events(
        self,
        namespace: str,
        scope: int,
        scope_id: str,
        name: str,
        after_position: int,
        until_position: int,
        limit: int,
    ) -> list[StoredEvent]:
        """See StoreReader."""
        self._check("read_events")
        until = until_position or self.horizon()
        return self.data.store.read_events(namespace, scope, scope_id, name, after_position, until, limit)

    def lease_offset(self) -> int:
        """See StoreReader."""
        return self.offset

    def wait_for_change(self, timeout_us: int) -> bool:
        """See StoreReader."""
        self._check("wait_for_change")
        hinted = self._hinted.wait(min(timeout_us, 50_000) / 1_000_000)
        self._hinted.clear()
        return hinted

    def close(self) -> None:
        """Ends this view only."""
        self._closed = True
        self._hinted.set()
