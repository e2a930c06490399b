"""Faults planted into a store, to see that the oracle finds them. Each happens once, at a given occasion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from perdure_server.storage.port import Commit, LeaseRenewal, RequestRow, Store, StoredEvent, Verdict, VerdictKind


class Fault:
    """A store with a fault; the plain store otherwise.

    One object stands before the stores of all lives of a server, so that the fault happens once.

    Args:
        occasion: the how manyth time that it could happen it does, from 1.
    """

    def __init__(self, occasion: int = 1) -> None:
        self.happened = False
        self._left = occasion
        self._store: Store

    def around(self, store: Store) -> Store:
        """The store of the next life, with the fault."""
        self._store = store
        return cast(Store, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def due(self) -> bool:
        """Whether it happens now, which is an occasion."""
        self._left -= 1
        self.happened = self.happened or self._left == 0
        return self._left == 0


class LostTimer(Fault):
    """A commit arms a timer, and the store forgets it."""

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        return self._store.commit(
            [self._without(one) if one.change.timers_put and self.due() else one for one in batch]
        )

    @staticmethod
    def _without(commit: Commit) -> Commit:
        return replace(commit, change=replace(commit.change, timers_put=()))


class SwappedEvents(Fault):
    """Two events of one name, one after the other, have each other's position."""

    def __init__(self, occasion: int = 1) -> None:
        super().__init__(occasion)
        self._last: dict[tuple[object, ...], int] = {}
        self._swapped: dict[int, int] = {}

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        verdicts = self._store.commit(batch)
        for one, verdict in zip(batch, verdicts, strict=True):
            for event, position in zip(one.events, verdict.event_positions, strict=False):
                key = (one.namespace, event.scope, event.scope_id, event.name)
                before = self._last.get(key, position)
                self._last[key] = position
                if before < position and self.due():
                    self._swapped = {before: position, position: before}
        return verdicts

    def read_events(self, *query: Any) -> list[StoredEvent]:
        """See StoreReader."""
        found = self._store.read_events(*query)
        there = [replace(one, position=self._swapped.get(one.position, one.position)) for one in found]
        return sorted(there, key=lambda one: one.position)


class ForgottenRequest(Fault):
    """A commit is kept, and the row of its request id is not: a repeat is carried out again."""

    def __init__(self, occasion: int = 1) -> None:
        super().__init__(occasion)
        self._forgotten: set[tuple[str, str, str]] = set()

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        given = [replace(one, request=None) if _name(one) in self._forgotten else one for one in batch]
        verdicts = self._store.commit(given)
        for one, verdict in zip(batch, verdicts, strict=True):
            if one.request is not None and verdict.kind is VerdictKind.COMMITTED and self.due():
                self._forgotten.add(_name(one))
        return verdicts

    def find_request(self, namespace: str, method: str, request_id: str) -> RequestRow | None:
        """See StoreReader."""
        name = namespace, method, request_id
        return None if name in self._forgotten else self._store.find_request(*name)


def _name(commit: Commit) -> tuple[str, str, str]:
    request = commit.request
    return (commit.namespace, request.method, request.request_id) if request is not None else ("", "", "")


class TwiceApplied(Fault):
    """A commit of one run is applied, and applied again behind itself."""

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        verdicts = self._store.commit(batch)
        for one in batch:
            if one.head is not None and one.records and not one.mail and self.due():
                self._store.commit([self._again(one)])
        return verdicts

    @staticmethod
    def _again(commit: Commit) -> Commit:
        assert commit.head is not None
        by = len(commit.records)
        records = tuple(replace(record, seq=record.seq + by) for record in commit.records)
        head = replace(commit.head, seq=commit.head.seq + by)
        again = replace(commit, expected_seq=commit.head.seq, head=head, records=records, keyframe=None)
        return replace(again, new_runs=(), events=(), request=None, mail_consumed=())


class UnrenewedLease(Fault):
    """A lease is said to be renewed, and is not."""

    def renew_leases(self, renewals: Sequence[LeaseRenewal]) -> list[bool]:
        """See StoreWriter."""
        if renewals and self.due():
            return [True] * len(renewals)
        return self._store.renew_leases(renewals)
