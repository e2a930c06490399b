"""Random commits, rings, filters, reconnects and losses: every matching record exactly once per cursor chain,
in one order (P8)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.v1 import ledger_service_pb2 as pb
from perdure_server.api.ledger_service import encode_message
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.records import RecordKind
from perdure_server.ledger.cursor import CursorCodec
from perdure_server.ledger.reads import AfterCursor, Beginning, Now, Start
from perdure_server.ledger.selection import ScopeKind, Selection, View
from perdure_server.ledger.subscription import SubscribeCommand
from perdure_server.ledger.tailer import RingBounds
from tests.ledger.rig import EPOCH, HeldStore, Rig, give_turns, matching, running, select, subscribe_to
from tests.ledger.writer import COMPLETED, STARTED, RunLedger, Step

WAITS = Step(RecordKind.WAITING, "wait")
STEPS = (COMPLETED, WAITS, Step(RecordKind.RESUMED, "wait", payload=b"{}"))

SELECTIONS = (
    select(),
    select(ScopeKind.RUN, "a"),
    select(ScopeKind.TREE, "a"),
    select(ScopeKind.SESSION, "s"),
    select(ScopeKind.WORKFLOW, "w"),
    select(kinds=[RecordKind.WAITING]),
    select(ScopeKind.RUN, "a", node_ids=["work", "first"]),
    Selection.of("other", ScopeKind.ALL),
)


def ledgers() -> list[RunLedger]:
    """Four runs that share scopes."""
    return [
        RunLedger("a", session_id="s"),
        RunLedger("b", root_run_id="a", session_id="s", workflow_id="w"),
        RunLedger("c", session_id="s", workflow_id="w"),
        RunLedger("a", namespace="other", session_id="s"),
    ]


@dataclass
class Reader:
    """A client that stores cursor and records together, and begins again at any stored cursor.

    Args:
        seen: (cursor, how many records it covers), one for each message.
    """

    selection: Selection
    view: View
    max_records: int
    rig: Rig
    start: Start
    first_position: int = 0
    positions: list[int] = field(default_factory=list[int])
    seen: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    task: asyncio.Task[None] | None = None

    def connect(self) -> None:
        """Opens the stream and reads on in the background."""
        self.task = asyncio.create_task(self._follow())

    async def disconnect(self) -> None:
        """Cuts the stream off, wherever it is."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
            assert self.task.cancelled()

    async def reconnect(self, back: int) -> None:
        """Goes back to the cursor `back` messages ago and forgets what came after it."""
        await self.disconnect()
        if self.seen:
            del self.seen[len(self.seen) - min(back, len(self.seen) - 1) :]
            cursor, covered = self.seen[-1]
            del self.positions[covered:]
            self.start = AfterCursor(cursor)
        self.connect()

    def command(self) -> SubscribeCommand:
        """What it asks for."""
        return subscribe_to(self.selection, self.start, view=self.view, max_batch_records=self.max_records)

    def fix_now(self, connected_at: int, cursor: str) -> None:
        """`now` lies between the call and its first message; that message's cursor tells where."""
        self.first_position = CursorCodec(EPOCH).decode(self.selection, cursor, "cursor").position
        assert connected_at <= self.first_position <= self.rig.store.position

    async def _follow(self) -> None:
        connected_at = self.rig.store.position
        async with await self.rig.ledger.subscribe(self.command(), "me") as subscription:
            while (message := await subscription.next()) is not None:
                with subscription.writing():
                    answer = pb.SubscribeLedgerResponse.FromString(encode_message(message))
                    await give_turns(1)
                if not self.seen and isinstance(self.start, Now):
                    self.fix_now(connected_at, answer.cursor)
                self.positions += [entry.position for entry in answer.batch.entries]
                self.seen.append((answer.cursor, len(self.positions)))


readers = st.lists(
    st.tuples(
        st.sampled_from(SELECTIONS), st.sampled_from(View), st.integers(1, 4), st.sampled_from([Beginning(), Now()])
    ),
    min_size=1,
    max_size=4,
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(0, 3), st.integers(1, 5)),
        st.tuples(st.just("lose"), st.integers(0, 3), st.integers(1, 3)),
        st.tuples(st.just("reconnect"), st.integers(0, 3), st.integers(0, 4)),
        st.tuples(st.just("turns"), st.just(0), st.integers(0, 40)),
        st.tuples(st.just("time"), st.just(0), st.integers(1, 16)),
        st.tuples(st.just("event"), st.just(0), st.just(0)),
    ),
    max_size=30,
)
rings = st.builds(RingBounds, st.integers(0, 6), st.sampled_from([0, 300, 2_000, 10**9]))


def steps_of(ledger: RunLedger, count: int) -> Iterator[Step]:
    """The next steps of a run."""
    for number in range(count):
        yield STARTED if ledger.seq + number == 0 else STEPS[(ledger.seq + number) % len(STEPS)]


async def act(rig: Rig, runs: list[RunLedger], clients: list[Reader], action: tuple[str, int, int]) -> None:
    """One action."""
    name, which, count = action
    match name:
        case "commit":
            rig.commit(runs[which], *steps_of(runs[which], count))
        case "lose":
            rig.store.commit(runs[which], *steps_of(runs[which], count))
        case "reconnect":
            await clients[which % len(clients)].reconnect(count)
        case "time":
            await rig.advance(count * SECOND_US)
        case "event":
            rig.store.emit()
        case _:
            await give_turns(count)


@pytest.mark.promise("P8")
@settings(max_examples=150)
@given(readers, actions, rings, st.integers(0, 4), st.integers(1, 5), st.booleans(), st.integers(0, 6))
def test_every_matching_record_comes_exactly_once_per_cursor_chain_in_one_order(
    wanted: list[tuple[Selection, View, int, Start]],
    script: list[tuple[str, int, int]],
    ring: RingBounds,
    turns: int,
    page_records: int,
    shared: bool,
    before: int,
) -> None:
    async def scenario() -> None:
        store = HeldStore(shared=shared, page_records=page_records)
        runs = ledgers()
        for number in range(before):
            store.commit(runs[number % 4], *steps_of(runs[number % 4], 2))
        store.commit(runs[0], STARTED if runs[0].seq == 0 else COMPLETED)
        async with running(Rig(store, ring=ring, turns=turns)) as rig:
            clients = [Reader(selection, view, size, rig, start) for selection, view, size, start in wanted]
            for client in clients:
                client.connect()
            await give_turns(10 * (turns + 1))
            for action in script:
                await act(rig, runs, clients, action)
            await settle(rig, clients)
            for client in clients:
                check(rig, client)
                await client.disconnect()
            assert rig.ledger.open_streams == 0
            assert rig.ledger.tailer.watched_namespaces() == []

    asyncio.run(scenario())


async def settle(rig: Rig, clients: list[Reader]) -> None:
    """Until nothing more comes."""
    for _ in range(4):
        counts = [0]
        while counts != (counts := [len(client.positions) for client in clients]):
            await give_turns(200)
        await rig.advance(SECOND_US)


def check(rig: Rig, client: Reader) -> None:
    """The chain holds what the store has, and every message's cursor lies where it says."""
    expected = matching(rig.store, client.selection, client.first_position)
    assert client.positions == [record.position for record in expected]
    assert client.task is not None
    assert not client.task.done()
