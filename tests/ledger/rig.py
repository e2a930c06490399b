"""A ledger layer over a store that tests write by hand, and readers that decode what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from grpc.aio import UnaryStreamCall

from perdure.v1 import ledger_service_pb2 as pb
from perdure.v1 import records_pb2
from perdure_server.api.ledger_service import encode_message
from perdure_server.api.sealed_header import inspect_record
from perdure_server.clock import VirtualClock
from perdure_server.engine.sealing import genesis_hash
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US, Limits
from perdure_server.ledger.reads import Beginning, Start
from perdure_server.ledger.selection import ScopeKind, Selection, View
from perdure_server.ledger.service import Ledger
from perdure_server.ledger.subscription import SubscribeCommand, Subscription
from perdure_server.ledger.tailer import RingBounds
from perdure_server.storage.port import (
    RecordQuery,
    RunIdentity,
    RunKey,
    RunSnapshot,
    StoredRecord,
    StoreError,
    StoreInfo,
)
from tests.ledger.writer import RunLedger, Step, hold

T = TypeVar("T")
ALL = Selection.of("default", ScopeKind.ALL)
EPOCH = "0123456789abcdef0123456789abcdef"


class HeldStore:
    """Records in a list, in position order.

    Args:
        page_records: a page ends here although the query would take more, as one that ends by bytes.
    """

    def __init__(self, epoch: str = EPOCH, shared: bool = False, page_records: int = 10_000) -> None:
        self.records: list[StoredRecord] = []
        self.ledgers: dict[RunKey, RunLedger] = {}
        self.position = 0
        self.queries: list[RecordQuery] = []
        self.failing = False
        self._info = StoreInfo("held", epoch, shared, {})
        self._page_records = page_records

    def commit(self, ledger: RunLedger, *steps: Step) -> list[StoredRecord]:
        """Writes records of a run; returns them as they are held."""
        prev_hash = ledger.head_hash if ledger.seq else genesis_hash(ledger.namespace, ledger.run_id)
        before = ledger.seq
        ledger.commit(*steps)
        added: list[StoredRecord] = []
        for record in ledger.records[before:]:
            self.position += 1
            added.append(hold(ledger, record, self.position, prev_hash))
            prev_hash = record.record_hash
        self.ledgers[ledger.key] = ledger
        self.records.extend(added)
        return added

    def emit(self) -> None:
        """An event takes a position."""
        self.position += 1

    def info(self) -> StoreInfo:
        """Identity."""
        return self._info

    def horizon(self) -> int:
        """The last position."""
        if self.failing:
            raise StoreError("it fails")
        return self.position

    def load_run(self, key: RunKey) -> RunSnapshot | None:
        """Identity and head; no records."""
        ledger = self.ledgers.get(key)
        if ledger is None:
            return None
        creating = RunLedger(ledger.run_id, ledger.namespace).commit().new_runs
        identity: RunIdentity = creating[0].identity
        return RunSnapshot(identity, ledger.head(), ledger.seq, b"", ())

    def read_records(self, query: RecordQuery) -> list[StoredRecord]:
        """One page, by the words of the port."""
        if self.failing:
            raise StoreError("it fails")
        self.queries.append(query)
        page: list[StoredRecord] = []
        held_bytes = 0
        for record in self.records:
            if not _matches(query, record, query.until_position or self.position):
                continue
            page.append(record)
            held_bytes += len(record.record) + sum(len(payload.data or b"") for payload in record.payloads)
            if len(page) >= min(query.limit, self._page_records) or held_bytes >= query.byte_limit:
                break
        return page


def _matches(query: RecordQuery, record: StoredRecord, until: int) -> bool:
    wanted = (
        (query.namespace, record.namespace),
        (query.run_id or record.run_id, record.run_id),
        (query.root_run_id or record.root_run_id, record.root_run_id),
        (query.session_id or record.session_id, record.session_id),
        (query.workflow_id or record.workflow_id, record.workflow_id),
    )
    return (
        all(asked == held for asked, held in wanted)
        and query.after_position < record.position <= until
        and record.seq > query.after_seq
        and (not query.kinds or record.kind in query.kinds)
        and (not query.statuses or record.status in query.statuses)
        and (not query.node_ids or record.node_id in query.node_ids)
    )


class HeldAccess:
    """Gives others a few turns of the loop before each read, as a reader thread would."""

    def __init__(self, store: HeldStore, turns: int = 1) -> None:
        self.store = store
        self.turns = turns

    async def read(self, query: Callable[..., T], *args: Any) -> T:
        """The result of `query(*args)`."""
        await give_turns(self.turns)
        result = query(*args)
        await give_turns(self.turns)
        return result


async def give_turns(count: int) -> None:
    """Lets everything else on the loop run `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


def select(scope: ScopeKind = ScopeKind.ALL, scope_id: str = "", **conditions: Any) -> Selection:
    """A selection of the default namespace."""
    return Selection.of("default", scope, scope_id, **conditions)


def subscribe_to(selection: Selection = ALL, start: Start | None = None, **options: Any) -> SubscribeCommand:
    """A command with everyday values."""
    values: dict[str, Any] = {
        "selection": selection,
        "start": start or Beginning(),
        "view": View.RECORD,
        "max_batch_records": 512,
        "max_batch_bytes": DEFAULT_LIMITS.batch_bytes,
        "checkpoint_interval_us": 15 * SECOND_US,
        **options,
    }
    return SubscribeCommand(**values)


class Rig:
    """A store, a clock and the ledger layer over them."""

    def __init__(
        self,
        store: HeldStore | None = None,
        ring: RingBounds | None = None,
        limits: Limits = DEFAULT_LIMITS,
        turns: int = 1,
    ) -> None:
        self.store = store or HeldStore()
        self.clock = VirtualClock()
        self.access = HeldAccess(self.store, turns)
        self.ids = 0
        self.ledger = Ledger(self.access, self.clock, limits, self._new_id, inspect_record, ring)

    def _new_id(self, now: int) -> str:
        self.ids += 1
        return f"subscription-{self.ids}"

    def commit(self, ledger: RunLedger, *steps: Step) -> list[StoredRecord]:
        """Commits records and announces them."""
        records = self.store.commit(ledger, *steps)
        self.ledger.records_committed(records)
        return records

    async def advance(self, delta_us: int) -> None:
        """Moves time on and lets the loops see it."""
        self.clock.advance(delta_us)
        await give_turns(20)

    @asynccontextmanager
    async def subscription(self, command: SubscribeCommand | None = None, caller: str = "me") -> AsyncGenerator[Stream]:
        """An open subscription as a stream of decoded messages."""
        async with await self.ledger.subscribe(command or subscribe_to(), caller) as subscription:
            yield Stream(subscription)


@asynccontextmanager
async def running(rig: Rig) -> AsyncGenerator[Rig]:
    """The rig, started, and stopped in the end."""
    await rig.ledger.start()
    try:
        yield rig
    finally:
        await rig.ledger.stop()


class Stream:
    """Reads a subscription as a client does: encoded, then decoded by the generated types."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.messages: list[pb.SubscribeLedgerResponse] = []

    @property
    def events(self) -> list[str]:
        """Names of the events read so far."""
        return [str(message.WhichOneof("event")) for message in self.messages]

    @property
    def entries(self) -> list[records_pb2.LedgerEntry]:
        """All entries read so far."""
        return [entry for message in self.messages for entry in message.batch.entries]

    @property
    def positions(self) -> list[int]:
        """Positions of the entries read so far."""
        return [entry.position for entry in self.entries]

    @property
    def cursor(self) -> str:
        """Cursor of the last message."""
        return self.messages[-1].cursor

    async def read(self) -> pb.SubscribeLedgerResponse | None:
        """The next message."""
        message = await self.subscription.next()
        if message is None:
            return None
        with self.subscription.writing():
            answer = pb.SubscribeLedgerResponse.FromString(encode_message(message))
        self.messages.append(answer)
        return answer

    async def read_until(self, event: str) -> pb.SubscribeLedgerResponse:
        """Reads until the next message of this name. Fails if the stream ends before."""
        while (message := await self.read()) is not None:
            if message.WhichOneof("event") == event:
                return message
        raise AssertionError(f"the stream ended without {event}: {self.events}")

    async def read_positions(self, count: int) -> list[int]:
        """Reads until `count` entries have come in all."""
        while len(self.positions) < count:
            assert await self.read() is not None, f"the stream ended with {self.positions}"
        return self.positions


async def next_message(call: UnaryStreamCall[Any, Any]) -> pb.SubscribeLedgerResponse:
    """The next message of a stream over the wire that goes on."""
    message = await call.read()
    assert isinstance(message, pb.SubscribeLedgerResponse)
    return message


def matching(store: HeldStore, selection: Selection, after: int = 0) -> Sequence[StoredRecord]:
    """What a reader of the selection should get, in order."""
    query = selection.query(after, store.position, 10**9, 10**12)
    return [record for record in store.records if _matches(query, record, store.position)]
