"""The ledger layer over the real stores, read in real threads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from perdure.v1 import ledger_service_pb2 as pb
from perdure_server.api.sealed_header import inspect_record
from perdure_server.clock import VirtualClock
from perdure_server.engine.sealing import genesis_hash
from perdure_server.kernel.limits import DEFAULT_LIMITS
from perdure_server.ledger.pages import ListRecordsCommand
from perdure_server.ledger.reads import AfterCursor, Beginning, Start
from perdure_server.ledger.selection import ScopeKind, Selection, View
from perdure_server.ledger.service import Ledger
from perdure_server.ledger.tailer import RingBounds
from perdure_server.ledger.wire import page_response
from perdure_server.storage.journal.store import open_journal
from perdure_server.storage.memory.store import MemoryStore
from perdure_server.storage.port import Commit, Store, StoredRecord, Verdict, VerdictKind
from perdure_server.storage.sql.sqlite import open_sqlite
from tests.ledger.rig import ALL, EPOCH, Stream, select, subscribe_to
from tests.ledger.writer import COMPLETED, ENDS, START_AT, STARTED, RunLedger, Step, an_event, hold

T = TypeVar("T")
Open = Callable[[], Store]


@pytest.fixture(params=["memory", "journal", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the store under test."""
    if request.param == "memory":
        return lambda: MemoryStore(genesis=genesis_hash, epoch=EPOCH)
    if request.param == "journal":
        return lambda: open_journal(tmp_path / "journal", genesis=genesis_hash, epoch=EPOCH)
    return lambda: open_sqlite(tmp_path / "ledger.db", genesis=genesis_hash, epoch=EPOCH, now=START_AT)


@dataclass
class Process:
    """A process with one store: its ledger layer, and a stand-in for the engine's commits and reads."""

    store: Store
    ring: RingBounds

    def __post_init__(self) -> None:
        self.ledger = Ledger(
            self, VirtualClock(), DEFAULT_LIMITS, lambda now: "subscription", inspect_record, self.ring
        )

    async def read(self, query: Callable[..., T], *args: Any) -> T:
        """In a reader thread."""
        return await asyncio.to_thread(query, *args)

    async def commit(self, ledger: RunLedger, *steps: Step) -> None:
        """Commits in a thread, then announces."""
        prev_hash, before = ledger.head_hash, ledger.seq
        commit = ledger.commit(*steps)
        verdict = await asyncio.to_thread(self._write, commit)
        added: list[StoredRecord] = []
        for record, position in zip(ledger.records[before:], verdict.positions, strict=True):
            added.append(hold(ledger, record, position, prev_hash))
            prev_hash = record.record_hash
        self.ledger.records_committed(added)

    async def emit(self, event_id: str) -> None:
        """An event takes a position."""
        await asyncio.to_thread(self._write, Commit("default", events=(an_event(event_id),)))

    def _write(self, commit: Commit) -> Verdict:
        (verdict,) = self.store.commit([commit])
        assert verdict.kind is VerdictKind.COMMITTED
        return verdict

    @asynccontextmanager
    async def follow(
        self, selection: Selection = ALL, start: Start | None = None, **options: Any
    ) -> AsyncGenerator[Stream]:
        """An open subscription."""
        command = subscribe_to(selection, start, **options)
        async with await self.ledger.subscribe(command, "me") as subscription:
            yield Stream(subscription)


@asynccontextmanager
async def process(store: Store, ring: RingBounds | None = None) -> AsyncGenerator[Process]:
    """A process that runs on the store, which it closes in the end."""
    running = Process(store, ring or RingBounds())
    await running.ledger.start()
    try:
        yield running
    finally:
        await running.ledger.stop()
        store.close()


def seqs(stream: Stream) -> list[tuple[str, int]]:
    """(run, seq) of every entry."""
    return [(entry.record.run_id, entry.record.seq) for entry in stream.entries]


@pytest.mark.promise("P8")
async def test_what_was_committed_is_read_then_followed(open_store: Open) -> None:
    async with process(open_store()) as host:
        one, two = RunLedger("a"), RunLedger("b", session_id="a")
        await host.commit(one, STARTED, COMPLETED)
        await host.emit("e1")
        await host.commit(two, STARTED)
        async with host.follow() as everything, host.follow(select(ScopeKind.SESSION, "a")) as session:
            await everything.read_until("caught_up")
            await session.read_until("caught_up")
            await host.commit(two, COMPLETED, ENDS)
            await host.commit(one, ENDS)
            await everything.read_positions(6)
            await session.read_positions(6)
        expected = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3), ("a", 3)]
        assert seqs(everything) == seqs(session) == expected


SCOPES: Sequence[Selection] = (
    ALL,
    select(ScopeKind.RUN, "r1"),
    select(ScopeKind.TREE, "r0"),
    select(ScopeKind.SESSION, "r0"),
    select(ScopeKind.WORKFLOW, "w1"),
    select(kinds=[COMPLETED.kind], node_ids=["work"]),
)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("ring", [RingBounds(), RingBounds(records=5)], ids=["", "tiny ring"])
async def test_readers_that_come_and_go_while_commits_go_on_see_everything_once(
    open_store: Open, ring: RingBounds
) -> None:
    async with process(open_store(), ring) as host:
        ledgers = [
            RunLedger(f"r{number}", root_run_id="r0" if number < 3 else "", workflow_id=f"w{number % 2}")
            for number in range(5)
        ]
        for ledger in ledgers:
            await host.commit(ledger, STARTED)
        chains: list[list[int]] = [[] for _ in SCOPES]
        done = asyncio.Event()

        async def read_chain(place: int) -> None:
            start: Start = Beginning()
            while not done.is_set() or not chains[place] or chains[place][-1] < last[place]:
                async with host.follow(SCOPES[place], start, max_batch_records=7) as stream:
                    for _ in range(2 + place + len(chains[place]) % 4):
                        await stream.read()
                        if "caught_up" in stream.events:
                            break
                chains[place] += stream.positions
                start = AfterCursor(stream.cursor)

        last = [0 for _ in SCOPES]
        readers = [asyncio.create_task(read_chain(place)) for place in range(len(SCOPES))]
        for number in range(60):
            await host.commit(ledgers[number % 5], *[COMPLETED] * (1 + number % 3))
            if number % 7 == 0:
                await host.emit(f"e{number}")
        expected = [
            [record.position for record in host.store.read_records(scope.query(0, 0, 10_000, 10**9))]
            for scope in SCOPES
        ]
        last[:] = [positions[-1] for positions in expected]
        done.set()
        await asyncio.gather(*readers)
        assert chains == expected


@pytest.mark.promise("P8")
async def test_pages_end_by_bytes_without_a_gap(open_store: Open) -> None:
    large = replace(COMPLETED, payload=b"x" * 900_000)
    async with process(open_store()) as host:
        ledger = RunLedger("a")
        for _ in range(10):
            await host.commit(ledger, STARTED if ledger.seq == 0 else COMPLETED, large)
        async with host.follow(max_batch_bytes=1) as stream:
            await stream.read_until("caught_up")
            assert seqs(stream) == [("a", seq) for seq in range(1, 21)]
        found: list[int] = []
        token = ""
        while True:
            page = await host.ledger.list_records(ListRecordsCommand(ALL, View.RECORD, 1_000, page_token=token))
            message = pb.ListRecordsResponse.FromString(page_response(page.frames, "", page.cursor))
            assert message.ByteSize() <= DEFAULT_LIMITS.message_bytes
            found += [entry.record.seq for entry in message.entries]
            token = page.next_page_token
            if not token:
                break
        assert found == list(range(1, 21))


@pytest.mark.promise("P9")
async def test_a_run_is_verified(open_store: Open) -> None:
    async with process(open_store()) as host:
        ledger = RunLedger("a")
        await host.commit(ledger, STARTED, COMPLETED)
        await host.commit(RunLedger("b"), STARTED)
        await host.commit(ledger, COMPLETED, ENDS)
        verified = await host.ledger.verify_run(ledger.key)
        assert verified.report.intact
        assert (verified.report.seq, verified.report.head_hash) == (4, ledger.head_hash)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("kind", ["journal", "sqlite"])
async def test_a_cursor_outlives_the_process(tmp_path: Path, kind: str) -> None:
    def open_again() -> Store:
        if kind == "journal":
            return open_journal(tmp_path / "journal", genesis=genesis_hash, epoch="new epoch")
        return open_sqlite(tmp_path / "ledger.db", genesis=genesis_hash, epoch="new epoch", now=START_AT)

    ledger = RunLedger("a")
    async with process(open_again()) as host:
        await host.commit(ledger, STARTED)
        async with host.follow() as stream:
            await stream.read_until("caught_up")
    async with process(open_again()) as host:
        await host.commit(ledger, COMPLETED)
        async with host.follow(start=AfterCursor(stream.cursor)) as again:
            await again.read_until("caught_up")
            assert seqs(again) == [("a", 2)]


# What a hand in the file does to a run of four records, and the seq that verification names.
DAMAGES = {
    "a record's bytes edited": ("UPDATE records SET record = CAST(record || x'1a00' AS BLOB) WHERE seq = 2", 2),
    "a record deleted": ("DELETE FROM records WHERE seq = 2", 2),
    "the tail deleted": ("DELETE FROM records WHERE seq > 2", 3),
    "everything deleted": ("DELETE FROM records", 1),
    "a payload edited": ("UPDATE payloads SET data = x'7b7d'", 1),
    "a payload deleted": ("DELETE FROM payloads", 1),
    "a record hash edited": ("UPDATE records SET record_hash = zeroblob(32) WHERE seq = 3", 3),
    "the head's hash edited": ("UPDATE runs SET head_hash = zeroblob(32)", 4),
    # The store will not show such a head; every record fits, so what is at fault comes after the last.
    "the head moved back": ("UPDATE runs SET seq = 2", 5),
    "a kind edited": ("UPDATE records SET kind = 17 WHERE seq = 3", 3),
}


@pytest.mark.promise("P9")
@pytest.mark.parametrize("name", DAMAGES)
async def test_what_a_hand_in_the_file_did_is_found_and_named(name: str, tmp_path: Path) -> None:
    statement, bad_seq = DAMAGES[name]
    path, ledger = tmp_path / "ledger.db", RunLedger("a")
    async with process(open_sqlite(path, genesis=genesis_hash, epoch=EPOCH, now=START_AT)) as host:
        await host.commit(ledger, STARTED, COMPLETED, COMPLETED, COMPLETED)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    assert connection.execute(statement).rowcount > 0
    connection.commit()
    connection.close()
    async with process(open_sqlite(path, genesis=genesis_hash, epoch=EPOCH, now=START_AT)) as host:
        verified = await host.ledger.verify_run(ledger.key)
    assert not verified.report.intact
    assert verified.report.first_bad_seq == bad_seq
