"""What happens between servers and their PostgreSQL costs time and nothing else (P1, P2, P5, P7, P8).

The database is stopped and started, or the network between it and two servers misbehaves, while runs are under way.
Each server has a worker and observers of its own; afterwards all runs have ended, the audit finds nothing, and each
observer has had each record once, in one order.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from perdure import Client, LedgerScope
from tests.faults.conduct import BOTH, HOLD, PASS, SWALLOW, Conduct, Way
from tests.faults.link import pause
from tests.faults.proxy import FaultProxy
from tests.postgres import Cluster, Stop
from tests.robustness.kill_loop.calls import NOT_YET
from tests.robustness.network import CONFIG, PATIENCE_S, SESSION, Network, errand_workflow
from tests.robustness.server_process import ServerProcess, Servers

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.promise("P1", "P2", "P5", "P7", "P8"),
    pytest.mark.timeout(400),
]

_HEALTH: Any = health_pb2_grpc  # its stubs have no types
BEFORE, DURING, AFTER = range(5), range(5, 20), range(20, 30)
QUICK = "&tcp_user_timeout=3000&keepalives_idle=1&keepalives_interval=1&keepalives_count=3&connect_timeout=2"
"""A database that is silent is noticed within some seconds."""


@pytest.fixture(scope="module")
def database() -> Generator[Cluster]:
    """A PostgreSQL that may be stopped."""
    cluster = Cluster()
    yield cluster
    cluster.remove()


class Replicas:
    """Two servers, each with a worker and observers, and one proxy between both and their database.

    Args:
        database: their PostgreSQL.
        line: the proxy.
        networks: of each server.
    """

    def __init__(self, database: Cluster, line: FaultProxy, networks: list[Network]) -> None:
        self.database = database
        self.line = line
        self.networks = networks

    async def start_runs(self, numbers: range) -> None:
        """Starts runs at both, one after the other."""
        for number in numbers:
            while True:
                with suppress(*NOT_YET):
                    await self.networks[number % 2].start_runs([number])
                    break

    async def expect_sound(self, numbers: range) -> None:
        """All runs end, and nobody has anything to complain about."""
        async with asyncio.timeout(3 * PATIENCE_S):
            for network in self.networks:
                await network.ends(numbers)
                assert list((await network.client.audit_all_runs()).findings) == []
                assert await network.findings() == []
        chains = [[(told.run_id, told.seq) for told in seen.told] for net in self.networks for seen in net.observers]
        assert all(chain == chains[0] for chain in chains)

    async def until_ready(self, is_ready: bool) -> None:
        """Returns once both say that they are ready, or that they are not."""
        async with asyncio.timeout(PATIENCE_S):
            for network in self.networks:
                while await readiness(network.server) != is_ready:
                    await pause(0.1)


async def readiness(server: ServerProcess) -> bool:
    """What a server's health check answers."""
    async with server.channel() as channel:
        reply = await _HEALTH.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
    return reply.status == health_pb2.HealthCheckResponse.SERVING


@asynccontextmanager
async def replicas(servers: Servers, database: Cluster, idle_close_s: float = 0.0) -> AsyncGenerator[Replicas]:
    """Two servers on a new database, with a worker and two observers each."""
    async with AsyncExitStack() as stack:
        address = f"127.0.0.1:{database.port}"
        line = await stack.enter_async_context(FaultProxy.open(address, idle_close_s=idle_close_s))
        url = database.url(database.new_database(), port=int(line.address.rpartition(":")[2]))
        networks: list[Network] = []
        for number in range(2):
            server = await servers.start({**CONFIG, "store": url + "?" + QUICK[1:]})
            assert server.is_alive, server.tail()
            client = await stack.enter_async_context(Client.connect(server.address))
            if number == 0:
                await client.register_workflow(errand_workflow())
            lines = [await stack.enter_async_context(FaultProxy.open(server.address)) for _ in range(2)]
            inner = await stack.enter_async_context(AsyncExitStack())
            network = Network(server, client, lines[0], lines[1], inner)
            network.gate.set()
            await network.start_worker(f"w{number}")
            await network.observe(f"all-{number}", LedgerScope.all())
            await network.observe(f"session-{number}", LedgerScope.session(SESSION))
            networks.append(network)
        yield Replicas(database, line, networks)


Fault = Callable[[Replicas], AbstractAsyncContextManager[None]]


def treated(conduct: Conduct, *ways: Way) -> Fault:
    """The bytes are treated so for the length of the fault."""

    @asynccontextmanager
    async def fault(world: Replicas) -> AsyncGenerator[None]:
        await world.line.set(conduct, *ways)
        yield
        await world.line.set(PASS)

    return fault


def half_open(*ways: Way) -> Fault:
    """The connections lose bytes until the servers have made others."""

    @asynccontextmanager
    async def fault(world: Replicas) -> AsyncGenerator[None]:
        accepted = world.line.traffic.accepted
        await world.line.set(SWALLOW, *ways)
        yield
        await world.line.until(lambda traffic: traffic.accepted > accepted)
        await world.line.set(PASS)

    return fault


def ended(end: Callable[[FaultProxy], Awaitable[None]]) -> Fault:
    """All connections end, three times, each time when some have been made."""

    @asynccontextmanager
    async def fault(world: Replicas) -> AsyncGenerator[None]:
        yield
        for _ in range(3):
            connected = world.line.traffic.connected
            await end(world.line)
            await world.line.until(lambda traffic, before=connected: traffic.connected > before)

    return fault


def stopped(how: Stop) -> Fault:
    """The database is stopped; nobody is ready until it is back."""

    @asynccontextmanager
    async def fault(world: Replicas) -> AsyncGenerator[None]:
        await asyncio.to_thread(world.database.stop, how)
        yield
        await world.until_ready(False)
        await asyncio.to_thread(world.database.start)

    return fault


FAULTS: dict[str, Fault] = {
    "delay": treated(Conduct(delay_s=0.1)),
    "nothing for a while": treated(HOLD),
    "answers are late": treated(Conduct(delay_s=0.3), Way.DOWN),
    "half-open": half_open(*BOTH),
    "answers get lost": half_open(Way.DOWN),
    "cut": ended(FaultProxy.cut),
    "reset": ended(FaultProxy.reset),
    "database restarts": stopped("fast"),
    "database crashes": stopped("immediate"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_between_servers_and_database_costs_time_only(
    servers: Servers, database: Cluster, fault: str
) -> None:
    async with replicas(servers, database) as world:
        await world.start_runs(BEFORE)
        async with FAULTS[fault](world):
            starting = asyncio.create_task(world.start_runs(DURING))
            await pause(1.0)
        await starting
        await world.until_ready(True)
        await world.start_runs(AFTER)
        await world.expect_sound(range(AFTER.stop))


async def test_a_proxy_that_closes_idle_connections_costs_time_only(servers: Servers, database: Cluster) -> None:
    async with replicas(servers, database, idle_close_s=3.0) as world:
        await world.start_runs(BEFORE)
        for numbers in (range(5, 10), range(10, 20)):
            ended_before = world.line.traffic.ended
            await world.line.until(lambda traffic, before=ended_before: traffic.ended > before)
            await world.start_runs(numbers)
        await world.expect_sound(range(20))


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_a_database_that_restarts_during_recovery_strands_nobody(
    servers: Servers, database: Cluster, how: Stop
) -> None:
    """Both servers are killed while effects are under way; new ones have just begun to take up what they left when
    the database goes."""
    url = database.url(database.new_database())
    config = {**CONFIG, "store": url}
    first = [await servers.start(config) for _ in range(2)]
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client.connect(first[0].address))
        await client.register_workflow(errand_workflow())
        line = await stack.enter_async_context(FaultProxy.open(first[0].address))
        network = Network(first[0], client, line, line, stack)
        await network.start_worker("w")
        await network.start_runs(range(30))
        await network.busy.wait()
        for server in first:
            await server.stop(signal.SIGKILL)
        second = [await servers.start({**config, "listen": old.address}) for old in first]
        assert all(server.is_alive for server in second)
        await asyncio.to_thread(database.restart, how)
        network.gate.set()
        await network.expect_sound(range(30))
        other = await stack.enter_async_context(Client.connect(second[1].address))
        assert list((await other.audit_all_runs()).findings) == []
