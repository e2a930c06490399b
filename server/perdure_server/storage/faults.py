"""Fault points for robustness tests: a store around a store, whose process dies at a chosen commit.

Off unless the environment asks for it (read by `app.py` only):

    PERDURE_FAULT_KILL_AFTER_COMMIT=K   SIGKILL to itself when the K-th commit has returned, before anything is answered
    PERDURE_FAULT_KILL_BEFORE_COMMIT=K  SIGKILL to itself in place of the K-th commit
    PERDURE_FAULT_COMMIT_LOG=FILE       one line of JSON for each commit, written before it is made or answered

A commit is one call of `commit` (a group) or `change_catalog`; renewed and reset leases do not count.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from perdure_server.storage.port import CatalogChange, CatalogVerdict, Commit, NewRecord, Store, Verdict

KILL_AFTER: Final = "PERDURE_FAULT_KILL_AFTER_COMMIT"
KILL_BEFORE: Final = "PERDURE_FAULT_KILL_BEFORE_COMMIT"
COMMIT_LOG: Final = "PERDURE_FAULT_COMMIT_LOG"


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """When to die. 0: never; empty: no log."""

    kill_after: int = 0
    kill_before: int = 0
    commit_log: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> FaultPlan:
        """The plan that an environment asks for. Raises: ValueError for a K that is no number."""
        return cls(
            kill_after=int(environ.get(KILL_AFTER) or 0),
            kill_before=int(environ.get(KILL_BEFORE) or 0),
            commit_log=environ.get(COMMIT_LOG, ""),
        )

    def around(self, store: Store) -> Store:
        """The store with these faults; the store itself if there are none."""
        if self == FaultPlan():
            return store
        return cast(Store, FaultyStore(store, self))


class FaultyStore:
    """Counts commits and dies as planned; everything else is the store's own."""

    def __init__(self, store: Store, plan: FaultPlan) -> None:
        self._store = store
        self._plan = plan
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        self._before([_commit_facts(commit) for commit in batch])
        verdicts = self._store.commit(batch)
        self._after()
        return verdicts

    def change_catalog(self, change: CatalogChange) -> CatalogVerdict:
        """See StoreWriter."""
        request = change.request
        self._before([{"request": f"{request.method}/{request.request_id}" if request else ""}])
        verdict = self._store.change_catalog(change)
        self._after()
        return verdict

    def _before(self, commits: list[dict[str, Any]]) -> None:
        self._count += 1
        dies = "before" if self._count == self._plan.kill_before else ""
        if self._count == self._plan.kill_after:
            dies = "after"
        if self._plan.commit_log:
            self._log({"number": self._count, "dies": dies, "commits": commits})
        if dies == "before":
            _die()

    def _after(self) -> None:
        if self._count == self._plan.kill_after:
            _die()

    def _log(self, line: dict[str, Any]) -> None:
        descriptor = os.open(self._plan.commit_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        finally:
            os.close(descriptor)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _commit_facts(commit: Commit) -> dict[str, Any]:
    """What a commit is about: enough to recognise it in another execution of the same script."""
    return {
        "run": commit.key.run_id if commit.key else "",
        "records": _record_facts(commit.records),
        "new_runs": [[new.identity.run_id, _record_facts(new.records)] for new in commit.new_runs],
        "events": [event.name for event in commit.events],
        "mail": [mail.kind for mail in commit.mail],
        "mail_consumed": [kind for kind, _ in commit.mail_consumed],
        "request": f"{commit.request.method}/{commit.request.request_id}" if commit.request else "",
    }


def _record_facts(records: Sequence[NewRecord]) -> list[list[Any]]:
    return [[record.kind, record.node_id, record.status] for record in records]
