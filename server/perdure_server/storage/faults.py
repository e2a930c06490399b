"""Fault points for robustness tests: a store around a store, whose process dies at a chosen commit.

Off unless the environment asks for it (read by `app.py` only):

    PERDURE_FAULT_KILL_AFTER_COMMIT=K   SIGKILL to itself when the K-th commit has returned, before anything is answered
    PERDURE_FAULT_KILL_BEFORE_COMMIT=K  SIGKILL to itself in place of the K-th commit
    PERDURE_FAULT_COMMIT_LOG=FILE       one line of JSON for each commit, written before it is made

K is a number, or a JSON array of facts and a number n: the n-th commit in the log that has these facts, which are some
of those that the log has. With K = "new" the process dies at the first commit that does what no death in the log was
at: with a new process after each death, all of them together die at every commit once. Processes that share a log take
turns at it, so replicas with one plan die of it once. A commit is one call of `commit` (a group) or `change_catalog`;
renewed and reset leases do not count.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from io import FileIO
from typing import Any, Final, cast

from perdure_server.kernel.records import RecordKind
from perdure_server.storage.port import CatalogChange, CatalogVerdict, Commit, NewRecord, Store, Verdict

KILL_AFTER: Final = "PERDURE_FAULT_KILL_AFTER_COMMIT"
KILL_BEFORE: Final = "PERDURE_FAULT_KILL_BEFORE_COMMIT"
COMMIT_LOG: Final = "PERDURE_FAULT_COMMIT_LOG"


NEW: Final = "new"

_HAND_OUTS: Final = (RecordKind.STEP_STARTED, RecordKind.REQUEUED)
_GENERATED_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """When to die: at which commit (see above); empty: never."""

    kill_after: str = ""
    kill_before: str = ""
    commit_log: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> FaultPlan:
        """The plan that an environment asks for."""
        return cls(environ.get(KILL_AFTER, ""), environ.get(KILL_BEFORE, ""), environ.get(COMMIT_LOG, ""))

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
        self._read = 0
        """How much of the log is known here."""
        self._alike: Counter[str] = Counter()
        """How many commits have had the facts of the plan, by point."""
        self._deaths: set[tuple[str, str]] = set()
        """What commits did at which a process has died, by point."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        dies = self._count_one([_commit_facts(commit) for commit in batch])
        verdicts = self._store.commit(batch)
        if dies:
            _die()
        return verdicts

    def change_catalog(self, change: CatalogChange) -> CatalogVerdict:
        """See StoreWriter."""
        request = change.request
        dies = self._count_one([{"request": f"{request.method}/{request.request_id}" if request else ""}])
        verdict = self._store.change_catalog(change)
        if dies:
            _die()
        return verdict

    def _count_one(self, commits: list[dict[str, Any]]) -> bool:
        """Notes a commit, and dies before it if that is planned. Returns: whether to die after it."""
        self._count += 1
        with self._turn() as log:
            before = self._is_meant(self._plan.kill_before, "before", commits)
            after = self._is_meant(self._plan.kill_after, "after", commits)
            dies = "before" if before else "after" if after else ""
            self._take_in(dies, commits)
            line = {"number": self._count, "process": os.getpid(), "dies": dies, "commits": commits}
            if log is not None:
                log.write(json.dumps(line).encode() + b"\n")
                self._read = log.tell()
            if before:
                _die()
        return after

    @contextmanager
    def _turn(self) -> Generator[FileIO | None]:
        """The log, if there is one: what others wrote is known, and none of them writes meanwhile."""
        if not self._plan.commit_log:
            yield None
            return
        with open(self._plan.commit_log, "a+b", buffering=0) as log:
            flock(log, LOCK_EX)
            log.seek(self._read)
            for line in map(json.loads, log.readall().splitlines()):
                self._take_in(line["dies"], line["commits"])
            yield log

    def _take_in(self, dies: str, commits: list[dict[str, Any]]) -> None:
        if dies:
            self._deaths.add((dies, json.dumps(commits, sort_keys=True)))
        for point, wanted in (("before", self._plan.kill_before), ("after", self._plan.kill_after)):
            if wanted.startswith("["):
                self._alike[point] += _alike(json.loads(wanted)[0], commits)

    def _is_meant(self, wanted: str, point: str, commits: list[dict[str, Any]]) -> bool:
        if wanted == NEW:
            return (point, json.dumps(commits, sort_keys=True)) not in self._deaths
        if not wanted.startswith("["):
            return wanted == str(self._count)
        facts, nth = json.loads(wanted)
        earlier = self._alike[point]
        return earlier < nth <= earlier + _alike(facts, commits)


def _alike(facts: Mapping[str, Any], commits: Sequence[Mapping[str, Any]]) -> int:
    """How many of these commits have these facts."""
    return sum(all(commit.get(key) == value for key, value in facts.items()) for commit in commits)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _commit_facts(commit: Commit) -> dict[str, Any]:
    """What a commit is about: enough to recognise it in another execution of the same script."""
    return {
        "run": _plain(commit.key.run_id) if commit.key else "",
        "records": _record_facts(commit.records),
        "handed_out": _record_facts(commit.records, of_hand_outs=True),
        "new_runs": [[_plain(new.identity.run_id), _record_facts(new.records)] for new in commit.new_runs],
        "events": [event.name for event in commit.events],
        "mail": [mail.kind for mail in commit.mail],
        "mail_consumed": [kind for kind, _ in commit.mail_consumed],
        "schedule": commit.schedule.schedule_id if commit.schedule else "",
        "request": f"{commit.request.method}/{commit.request.request_id}" if commit.request else "",
    }


def _plain(run_id: str) -> str:
    return "*" if _GENERATED_ID.fullmatch(run_id) else run_id


def _record_facts(records: Sequence[NewRecord], *, of_hand_outs: bool = False) -> list[list[Any]]:
    """Hand-outs apart: whether one shares the commit that made its step due depends on who is connected just then."""
    chosen = [record for record in records if (record.kind in _HAND_OUTS) == of_hand_outs]
    return [[record.kind, record.node_id, record.status] for record in chosen]
