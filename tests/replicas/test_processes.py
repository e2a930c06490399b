"""`perdure serve` several times on one PostgreSQL database: real processes, real clients (P6, P7, P8)."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime

import psycopg
import pytest

from perdure import (
    Client,
    EffectContext,
    JsonObject,
    LedgerEntry,
    LedgerScope,
    RecordKind,
    RunFilter,
    ScheduleSpec,
    Worker,
    Workflow,
)
from perdure_server.storage.sql.postgres_numbers import ADVISORY_KEY
from tests.acceptance.scene import asking, listening
from tests.e2e.processes import PERDURE
from tests.postgres import cluster, free_port
from tests.replicas.processes import WITHIN_S, Servers

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]


@pytest.fixture
def servers() -> Generator[Servers]:
    """Servers on a database of the test's own."""
    database = cluster().new_database()
    started = Servers(cluster().url(database))
    yield started
    started.close()
    cluster().drop_database(database)


@asynccontextmanager
async def clients(addresses: list[str]) -> AsyncGenerator[list[Client]]:
    """A client of each."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Client.connect(address)) for address in addresses]


def steps(number: int) -> Workflow:
    """Some effects of a worker, one after the other."""
    workflow = Workflow("steps")
    for step in range(number):
        following = f"s{step + 1}" if step + 1 < number else ""
        workflow.effect_node(f"s{step}", "echo", {"n": step}, result_key=f"r{step}", next=following)
    return workflow


def worker_of(client: Client, worker_id: str) -> Worker:
    """A worker that answers `echo`."""
    worker = Worker(client, worker_id=worker_id, drain_timeout=0)

    @worker.effect("echo")
    async def echo(_ctx: EffectContext, payload: JsonObject) -> JsonObject:
        return payload

    return worker


@pytest.mark.promise("P6")
async def test_what_happens_at_one_replica_reaches_the_others(servers: Servers) -> None:
    addresses = servers.start_together(3)
    async with clients(addresses) as (a, b, c):
        for workflow in (asking(), listening(), steps(3)):
            await a.register_workflow(workflow, set_default=True)
        async with worker_of(c, "w1"), asyncio.timeout(WITHIN_S):
            worked = await a.start("steps", {})
            assert (await b.run(worked.run_id).wait(until="ended", timeout=WITHIN_S)).status == "completed"
            asked = await a.start("asking", {})
            waiting = (await b.run(asked.run_id).wait(timeout=WITHIN_S)).waiting
            assert waiting is not None
            watching = asyncio.ensure_future(c.run(asked.run_id).wait(until="ended", timeout=WITHIN_S))
            await b.run(asked.run_id).resume("y", wait_id=waiting.wait_id)
            assert (await watching).status == "completed"
            heard = await a.start("listening", {})
            await c.emit_event("go", {"x": 1}, scope_id=heard.run_id)
            assert (await b.run(heard.run_id).wait(until="ended", timeout=WITHIN_S)).status == "completed"


@contextmanager
def writing(url: str) -> Generator[None]:
    """A long transaction of a writer: as long as it lasts, no replica learns what others commit."""
    with psycopg.connect(url) as connection:
        held = f"SELECT pg_advisory_xact_lock_shared(({ADVISORY_KEY}) + last_value) FROM ledger_positions"
        connection.execute(held.encode())
        yield


@pytest.mark.promise("P6")
async def test_a_client_is_shown_no_older_state_than_it_was_told(servers: Servers) -> None:
    """One replica acknowledges, and dies; its client goes on at the other one, which knows nothing of it yet."""
    dies, stays = servers.start_together(2)
    failing = Workflow("failing")
    failing.fail_node("end", "DOOM", "it had to be")
    async with Client.connect(f"ipv4:{dies},{stays}") as told, Client.connect(stays) as other:
        await told.register_workflow(failing, set_default=True)
        run = await told.start(failing)
        await run.wait(until="ended", timeout=WITHIN_S)
        assert (await other.get_run(run.run_id)).status == "failed"
        with writing(servers.url):
            reply = await run.retry(pause=True)
            servers.end(dies, kill=True)
            assert (await other.get_run(run.run_id)).status == "failed", "nobody has told it"
            assert (await other.wait_run(run.run_id, until="ended", timeout=WITHIN_S)).seq < reply.seq
            with pytest.raises(TimeoutError):
                await run.wait(until="ended", timeout=1)
            state = await run.state()
            assert (state.paused, state.seq) == (True, reply.seq)


async def follow(client: Client, runs: int) -> list[LedgerEntry]:
    """The whole ledger, until so many runs have ended."""
    entries: list[LedgerEntry] = []
    ended = 0
    async with client.subscribe(LedgerScope.all()) as subscription:
        async for entry in subscription:
            entries.append(entry)
            ended += entry.kind.is_terminal
            if ended == runs:
                break
    return entries


@pytest.mark.promise("P8")
async def test_observers_of_all_replicas_see_one_order_while_replicas_come_and_go(servers: Servers) -> None:
    """Workers and clients at two replicas, one of which is restarted; a third one dies."""
    runs = 200
    stays, restarts, dies = servers.start_together(3)
    async with clients([stays, restarts, dies]) as (a, b, c), asyncio.timeout(4 * WITHIN_S):
        await a.register_workflow(steps(3), set_default=True)
        async with worker_of(a, "wa"), worker_of(b, "wb"):
            observers = [asyncio.ensure_future(follow(client, runs)) for client in (a, b)]
            for number in range(runs):
                await (a, b, c)[number % (3 if number < 60 else 1)].start("steps", {}, run_id=f"r{number}")
                if number == 60:
                    servers.end(dies, kill=True)
                if number == 100:
                    await asyncio.to_thread(servers.end, restarts)
                    await asyncio.to_thread(servers.start, restarts)
            chains = await asyncio.gather(*observers)
            listed = await a.list_records(LedgerScope.all()).all()
        order = [(entry.run_id, entry.seq) for entry in listed]
        assert len(set(order)) == len(order)
        for chain in chains:
            assert [(entry.run_id, entry.seq) for entry in chain] == order[: len(chain)]
            assert len(chain) == len(order)
        by_run: dict[str, list[int]] = {}
        for run_id, seq in order:
            by_run.setdefault(run_id, []).append(seq)
        assert len(by_run) == runs
        assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in by_run.values())
        for number in range(runs):
            kinds = [entry.kind for entry in listed if entry.run_id == f"r{number}"]
            assert kinds.count(RecordKind.COMPLETED) == 1
        assert (await a.audit_all_runs()).findings == []


def test_a_server_that_starts_while_the_database_is_away_ends_with_the_reason() -> None:
    store = cluster().url("postgres", password="hunter2", port=free_port())
    command = [*PERDURE, "serve", "--listen", "127.0.0.1:0", "--store", store]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert ended.returncode != 0
    assert "cannot be reached" in ended.stderr
    assert "hunter2" not in ended.stderr + ended.stdout


@pytest.mark.promise("P5")
async def test_each_instant_of_a_schedule_starts_one_run_while_replicas_come_and_go(servers: Servers) -> None:
    """All of them look at the schedule every second; one dies, another one comes."""
    stays, dies = servers.start_together(2)
    labelled = RunFilter(labels={"perdure.schedule": "s"})
    async with clients([stays, dies]) as (a, b), asyncio.timeout(2 * WITHIN_S):
        quick = Workflow("quick")
        quick.complete_node("done", {"ok": True})
        await a.register_workflow(quick)
        await b.create_schedule("s", ScheduleSpec("quick", every=[1], overlap="allow_all"))

        async def fired(number: int) -> None:
            entries = 0
            async with a.subscribe(LedgerScope.all()) as subscription:
                async for entry in subscription:
                    entries += entry.kind is RecordKind.RUN_STARTED
                    if entries == number:
                        return

        await fired(3)
        servers.end(dies, kill=True)
        await fired(6)
        await asyncio.to_thread(servers.start)
        await fired(10)
        await a.pause_schedule("s")
        found = await a.get_schedule("s")
        listed = await a.list_runs(labelled).all()
        instants = [datetime.fromisoformat(run.labels["perdure.scheduled_at"]).timestamp() for run in listed]
        assert len(set(instants)) == len(instants) == found.started
        assert max(instants) - min(instants) + 1 == len(instants), "none is left out"
