"""Defects that a test plants in a server, to see that a suite finds them. Each takes one defence away.

The command with one of them: `python -m tests.robustness.defects NAME serve ...`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import sqlalchemy as sa
from google.rpc import status_pb2

from perdure_server import app, cli
from perdure_server.api import fields, guard
from perdure_server.api.errors import PublicError
from perdure_server.kernel import steps
from perdure_server.kernel.draft import Draft
from perdure_server.kernel.limits import DEFAULT_LIMITS, Limits
from perdure_server.kernel.model import Step
from perdure_server.kernel.values import Leaf
from perdure_server.ledger.messages import CaughtUp, Message
from perdure_server.ledger.subscription import Subscription
from perdure_server.runtime import Runtime
from perdure_server.scheduler.chores import Chores
from perdure_server.storage.port import Commit, RunKey, Store, Verdict
from perdure_server.storage.rows import EventRow
from perdure_server.storage.sql import postgres, postgres_link, schema
from tests.contract.ownership import UnsyncedDisk

DIE_IN_TEAR = "PERDURE_DEFECT_DIE_IN_TEAR"


def plant(name: str) -> None:
    """Changes the server's code in this process."""
    DEFECTS[name]()


class ForgetfulStore:
    """Keeps no request ids: a call that is sent again acts again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        return self._store.commit([replace(each, request=None) for each in batch])


class LossyStore:
    """Answers every twentieth event and keeps it where nobody will look for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._events = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        return self._store.commit([replace(each, events=tuple(map(self._kept, each.events))) for each in batch])

    def _kept(self, event: EventRow) -> EventRow:
        self._events += 1
        return event if self._events % 20 else replace(event, name="astray")


class TornStore:
    """Writes a transition in two commits: what the run is, then what others are to hear of it.

    A process with DIE_IN_TEAR in its environment dies between the first two.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, batch: Sequence[Commit]) -> list[Verdict]:
        """See StoreWriter."""
        verdicts: list[Verdict] = []
        for each in batch:
            if each.head is None or not (each.mail or each.events):
                verdicts += self._store.commit([each])
                continue
            verdicts += self._store.commit([replace(each, mail=(), events=())])
            if DIE_IN_TEAR in os.environ:
                os.kill(os.getpid(), signal.SIGKILL)
            rest = Commit(each.namespace, each.key, each.head.seq, each.head, mail=each.mail, events=each.events)
            self._store.commit([rest])
        return verdicts


def _around_the_store(make: Callable[[Store], object]) -> None:
    open_store = app.open_store

    def opened(url: str, now: int) -> Store:
        return cast(Store, make(open_store(url, now)))

    app.open_store = opened


def _unsynced() -> None:
    """No store waits for the disk."""
    app.open_sqlite = partial(app.open_sqlite, synchronous="OFF")
    app.open_journal = partial(app.open_journal, disk=UnsyncedDisk)
    postgres_link.__dict__["WRITER_SETTINGS"] = {**postgres_link.WRITER_SETTINGS, "synchronous_commit": "off"}


def _bare_errors() -> None:
    """Errors carry no details."""
    guard.__dict__["DETAILS_KEY"] = "lost-bin"


def _open_errors() -> None:
    """Errors tell where in the source they come from."""
    status_of = guard.status_of

    def with_place(error: PublicError) -> status_pb2.Status:
        status = status_of(error)
        status.message += f' File "{guard.__file__}"'
        return status

    guard.__dict__["status_of"] = with_place


def _any_json() -> None:
    """JSON is not checked."""

    def take(text: str, field: str, *, object_only: bool = False, limits: Limits = DEFAULT_LIMITS) -> Leaf:
        return Leaf(text.encode())

    fields.__dict__["check_json"] = take


def _no_fence() -> None:
    """The report of any attempt settles the step."""

    def any_attempt(draft: Draft, step_id: int, attempt: int) -> Step:
        return draft.step

    steps.__dict__["_leased_attempt"] = any_attempt


def _greedy_streams() -> None:
    """A subscription reads the ledger ahead of its client."""
    take = Subscription.next

    async def take_ahead(self: Subscription) -> Message | None:
        if self not in ahead:
            ahead[self] = []
            while (message := await take(self)) is not None:
                ahead[self].append(message)
                if isinstance(message.event, CaughtUp):
                    break
        return ahead[self].pop(0) if ahead[self] else await take(self)

    ahead: dict[Subscription, list[Message]] = {}
    Subscription.next = take_ahead


def _silent_drain() -> None:
    """A server that stops tells nobody."""

    def tell_nobody(self: Runtime, timeout_us: int = 0) -> None:
        pass

    Runtime.drain = tell_nobody


def _eager_horizon() -> None:
    """Readers on PostgreSQL read up to the highest position that is committed, whatever is still to come below it."""
    highest = [sa.select(sa.func.max(table.c.position)).scalar_subquery() for table in (schema.records, schema.events)]

    def read_highest(connection: sa.Connection, advisory_key: int) -> int:
        return connection.execute(sa.select(sa.func.greatest(*highest, 0))).scalar_one()

    postgres.__dict__["read_horizon"] = read_highest


def _give_up() -> None:
    """A timer, a lapse, a turn or a message that could not be taken up is not tried again."""
    start = Chores.start

    def start_new(self: Chores, key: Hashable, run: RunKey, work: Callable[[], Awaitable[Any]]) -> bool:
        if (self, key) in tried:
            return False
        started = start(self, key, run, work)
        if started:
            tried.add((self, key))
        return started

    tried: set[tuple[Chores, Hashable]] = set()
    Chores.start = start_new


DEFECTS: Mapping[str, Callable[[], None]] = {
    "forget_requests": partial(_around_the_store, ForgetfulStore),
    "lose_events": partial(_around_the_store, LossyStore),
    "torn": partial(_around_the_store, TornStore),
    "unsynced": _unsynced,
    "bare_errors": _bare_errors,
    "open_errors": _open_errors,
    "any_json": _any_json,
    "no_fence": _no_fence,
    "silent_drain": _silent_drain,
    "greedy_streams": _greedy_streams,
    "eager_horizon": _eager_horizon,
    "give_up": _give_up,
}

if __name__ == "__main__":
    plant(sys.argv.pop(1))
    cli.main()
