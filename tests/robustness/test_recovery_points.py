"""A real PostgreSQL is stopped and started while a server takes up what a dead one left: turns, mail, timers, leases
(P1, P5, P6, P7).

First a server leaves much of each behind: the database refuses every step of the kind, and then the server is killed.
The next one begins with all that. At the record that a draw names its transaction is held, so that the database is
stopped in the middle of it; when it is back, everything that was left must come to its end, once.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import psycopg
import pytest

from perdure import Client, RunStatus, Workflow
from perdure.flow import Set
from tests.faults.link import pause
from tests.faults.proxy import FaultProxy
from tests.postgres import Cluster, Stop
from tests.robustness.network import CONFIG, PATIENCE_S, Network, errand_workflow
from tests.robustness.server_process import Servers

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.promise("P1", "P5", "P6", "P7"),
    pytest.mark.timeout(400),
]

EACH: Final = 12
"""Runs of each kind."""

CHAINED: Final = 64
"""Records that one commit chains at most; then a turn is left."""

STRANDED_S: Final = 12.0
"""Who gives up leaves runs that have not ended after so long."""


@dataclass(frozen=True, slots=True)
class Point:
    """A kind of work that is taken up.

    Args:
        record: a condition on the record that it writes, one for each run.
        left: a query: how much of it there is.
    """

    record: str
    left: str


POINTS: Final = {
    "turns": Point(f"NEW.seq = {CHAINED + 1}", "SELECT count(*) FROM turns"),
    "mail": Point("NEW.kind = 9", "SELECT count(*) FROM mail"),
    "timers": Point("NEW.kind = 7", "SELECT count(*) FROM timers"),
    "leases": Point("NEW.kind = 5", "SELECT count(*) FROM tasks WHERE leased = 1"),
}
LATER: Final = " OR ".join(f"({POINTS[name].record})" for name in ("turns", "mail", "timers"))

_BOUNDED: Final = [("turns", "immediate"), ("mail", "fast"), ("timers", "immediate"), ("leases", "fast")]
_LONG: Final = [("turns", "fast"), ("mail", "immediate"), ("timers", "fast"), ("leases", "immediate")]
CASES: Final = [*_BOUNDED, *(pytest.param(*case, marks=pytest.mark.long) for case in _LONG)]

_REFUSAL: Final = f"""
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {LATER} THEN RAISE 'not in this life' USING ERRCODE = 'check_violation'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON records FOR EACH ROW EXECUTE FUNCTION refuse()
"""
_HOLD: Final = """
DROP TRIGGER refuse ON records;
CREATE SEQUENCE met;
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('met') = {number} THEN PERFORM pg_advisory_xact_lock_shared(1, 1); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER hold AFTER INSERT ON records FOR EACH ROW WHEN ({record}) EXECUTE FUNCTION hold()
"""
_HELD: Final = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND NOT granted"


@pytest.fixture(scope="module")
def database() -> Generator[Cluster]:
    """A PostgreSQL that may be stopped."""
    cluster = Cluster()
    yield cluster
    cluster.remove()


def march() -> Workflow:
    """More steps of the server's own than one commit chains."""
    workflow = Workflow("march")
    for number in range(CHAINED + 20):
        workflow.assign_node(f"s{number}", Set("/at", number), next=f"s{number + 1}")
    workflow.complete_node(f"s{CHAINED + 20}")
    return workflow


def nap() -> Workflow:
    """A timer."""
    workflow = Workflow("nap")
    workflow.effect_node("sleep", "wait_until", {"delay_seconds": 0.1}, next="done")
    workflow.complete_node("done")
    return workflow


def family() -> Workflow:
    """A child, whose end is told by mail."""
    workflow = Workflow("family")
    workflow.effect_node("send", "start_subworkflow", {"workflow_id": "child"}, next="done")
    workflow.complete_node("done")
    return workflow


def child() -> Workflow:
    """Ends at once."""
    workflow = Workflow("child")
    workflow.complete_node("done")
    return workflow


class Estate:
    """What a server that was killed has left in a database.

    Args:
        network: the next server's, with the worker of the last one, which is cut off.
        config: of the next server.
    """

    def __init__(self, servers: Servers, database: Cluster, store: str, network: Network, config: dict[str, str]):
        self._servers = servers
        self._database = database
        self._store = store
        self._config = config
        self.network = network

    async def take_up(self, point: str, how: Stop, defect: str = "") -> int:
        """A server begins, and the database is restarted while it writes one of the records of the point; its number
        of them."""
        number = random.randrange(1, EACH + 1)
        await self._ask(_HOLD.format(number=number, record=POINTS[point].record))
        conninfo = self._database.conninfo(self._store)
        holder = await asyncio.to_thread(psycopg.connect, conninfo, autocommit=True)
        await asyncio.to_thread(holder.execute, "SELECT pg_advisory_lock(1, 1)")
        server = await self._servers.start(self._config, defect=defect)
        assert server.is_alive, server.tail()
        async with asyncio.timeout(PATIENCE_S):
            while await self._ask(_HELD) != 1:
                await pause(0.02)
        await asyncio.to_thread(self._database.restart, how)
        holder.close()
        self.network.worker_line.refuses = False
        self.network.gate.set()
        return number

    async def left(self, point: str) -> int:
        """How much of it there is to be taken up."""
        return await self._ask(POINTS[point].left)

    async def _ask(self, statement: str) -> int:
        rows = await asyncio.to_thread(self._database.execute, statement, self._store)
        return int(str(rows[0][0])) if rows else 0


@asynccontextmanager
async def estate(servers: Servers, database: Cluster) -> AsyncGenerator[Estate]:
    """A server leaves some of everything."""
    store = database.new_database()
    config = {**CONFIG, "store": database.url(store)}
    first = await servers.start(config)
    async with (
        Client.connect(first.address) as client,
        FaultProxy.open(first.address) as line,
        AsyncExitStack() as stack,
    ):
        for workflow in (errand_workflow(), march(), nap(), child(), family()):
            await client.register_workflow(workflow, set_default=True)
        await asyncio.to_thread(database.execute, _REFUSAL, store)
        network = Network(first, client, line, line, stack)
        await network.start_worker()
        left = Estate(servers, database, store, network, {**config, "listen": first.address})
        starts = [network.start_runs(range(EACH))]
        starts += [start_all(client, kind) for kind in ("march", "nap", "family")]
        await asyncio.gather(*starts)
        async with asyncio.timeout(PATIENCE_S):
            while [await left.left(point) for point in POINTS] != [EACH] * len(POINTS):
                await pause(0.1)
        line.refuses = True
        await line.cut()
        await first.stop(signal.SIGKILL)
        yield left


async def start_all(client: Client, kind: str) -> None:
    """Starts the runs of a kind."""
    await asyncio.gather(*(client.start(kind, run_id=f"{kind}-{number}") for number in range(EACH)))


@pytest.mark.parametrize(("point", "how"), CASES)
async def test_a_database_that_restarts_in_the_middle_of_a_recovery_costs_time_only(
    servers: Servers, database: Cluster, point: str, how: Stop
) -> None:
    async with estate(servers, database) as left:
        number = await left.take_up(point, how)
        assert await unended(left.network.client, PATIENCE_S) == [], number
        await left.network.expect_sound(range(EACH))


async def test_a_server_that_does_not_try_again_what_failed_strands_runs(servers: Servers, database: Cluster) -> None:
    """What the test above shows would not hold by itself."""
    async with estate(servers, database) as left:
        await left.take_up("mail", "fast", defect="give_up")
        stranded = await unended(left.network.client, STRANDED_S)
    assert any(run_id.startswith("family") for run_id in stranded), stranded


async def unended(client: Client, within_s: float) -> list[str]:
    """Runs that have not completed after so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            for run in await client.list_runs().all():
                await client.wait_run(run.run_id, until="ended")
    return [run.run_id for run in await client.list_runs().all() if run.status != RunStatus.COMPLETED]
