"""What a batch finds: the tables, and before them what its own earlier Commits are about to change.

A batch is decided before it is written, and applied after it is on disk, so that no reader sees what a crash could
take back (P2).
"""

from __future__ import annotations

from collections.abc import Iterator

from perdure_server.storage.journal.changes import UnstorableError, encode_commit
from perdure_server.storage.memory.tables import Chain, EventKey, Tables, event_key, refusal, slot_free, slots_wanted
from perdure_server.storage.port import Commit, RequestRow, RunKey, ScheduleRow, SlotRow, Verdict, VerdictKind


class Stage:
    """Decides about the Commits of one batch.

    Args:
        tables: what is on disk already; only read.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._chains: dict[RunKey, Chain] = {}
        self._requests: dict[tuple[str, str, str], RequestRow] = {}
        self._events: set[EventKey] = set()
        self._schedules: dict[tuple[str, str], ScheduleRow | None] = {}
        self._slots: dict[RunKey, tuple[SlotRow | None, int]] = {}
        self._position = tables.position
        self.lines: list[bytes] = []
        """JSON of the Commits that were accepted, in order."""

    def decide(self, commit: Commit) -> Verdict | None:
        """Why a Commit is not kept; None if it was accepted."""
        verdict = refusal(commit, self._find_request, self._find_chain, self._find_schedule, self._slots_free)
        if verdict is not None:
            return verdict
        try:
            line = encode_commit(commit, self._position + 1)
        except UnstorableError as error:
            return Verdict(VerdictKind.FAILED, error=str(error))
        self.lines.append(line)
        self._note(commit)
        return None

    def _note(self, commit: Commit) -> None:
        if commit.key is not None and commit.records:
            last = commit.records[-1]
            self._chains[commit.key] = Chain(last.seq, last.record_hash)
        self._position += len(commit.records)
        if commit.key is not None and commit.change.slot_set:
            self._slots[commit.key] = (commit.change.slot, self._own_slot(commit.key, self._position)[1])
        for new in commit.new_runs:
            last = new.records[-1]
            self._chains[RunKey(commit.namespace, new.identity.run_id)] = Chain(last.seq, last.record_hash)
            self._position += len(new.records)
            if new.change.slot_set:
                self._slots[RunKey(commit.namespace, new.identity.run_id)] = (new.change.slot, self._position)
        for event in commit.events:
            key = event_key(commit.namespace, event)
            if key not in self._events and key not in self._tables.events:
                self._events.add(key)
                self._position += 1
        if commit.schedule:
            self._schedules[commit.namespace, commit.schedule.schedule_id] = commit.schedule.row
        if commit.request:
            self._requests[commit.namespace, commit.request.method, commit.request.request_id] = commit.request

    def _own_slot(self, key: RunKey, rank: int) -> tuple[SlotRow | None, int]:
        return self._slots.get(key) or self._tables.slots.get(key) or (None, rank)

    def _slots_free(self, commit: Commit) -> bool:
        return all(
            slot_free(row, self._own_slot(key, self._position + 1), self._slots_of(key.namespace, row.key))
            for key, row in slots_wanted(commit)
        )

    def _slots_of(self, namespace: str, key: str) -> Iterator[tuple[RunKey, SlotRow, int]]:
        for place in self._tables.slots_of(namespace, key):
            if place[0] not in self._slots:
                yield place
        for owner, (row, rank) in self._slots.items():
            if row is not None and owner.namespace == namespace and row.key == key:
                yield owner, row, rank

    def _find_request(self, namespace: str, method: str, request_id: str) -> RequestRow | None:
        staged = self._requests.get((namespace, method, request_id))
        return staged or self._tables.find_request(namespace, method, request_id)

    def _find_schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        key = namespace, schedule_id
        return self._schedules[key] if key in self._schedules else self._tables.find_schedule(*key)

    def _find_chain(self, key: RunKey) -> Chain | None:
        return self._chains.get(key) or self._tables.find_chain(key)
