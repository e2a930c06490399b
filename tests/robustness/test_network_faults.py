"""What a network does to a worker or an observer costs time and nothing else (P5, P7, P8).

Each fault acts while runs are under way: some have been started before it, most are started during it.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from perdure import LedgerScope
from tests.faults.conduct import HOLD, PASS, SWALLOW, Conduct, Way
from tests.faults.proxy import FaultProxy
from tests.robustness.network import SESSION, Network, network
from tests.robustness.server_process import Servers

pytestmark = [pytest.mark.promise("P5", "P7", "P8"), pytest.mark.timeout(300)]

BEFORE, DURING = range(5), range(5, 25)

Fault = Callable[[FaultProxy], AbstractAsyncContextManager[None]]


def treated(conduct: Conduct, *ways: Way) -> Fault:
    """The bytes are treated so for the length of the fault."""

    @asynccontextmanager
    async def fault(proxy: FaultProxy) -> AsyncGenerator[None]:
        await proxy.set(conduct, *ways)
        yield
        await proxy.set(PASS)

    return fault


def half_open(*ways: Way) -> Fault:
    """The connection loses bytes until its client has opened another one."""

    @asynccontextmanager
    async def fault(proxy: FaultProxy) -> AsyncGenerator[None]:
        accepted = proxy.traffic.accepted
        await proxy.set(SWALLOW, *ways)
        yield
        await proxy.until(lambda traffic: traffic.accepted > accepted)
        await proxy.set(PASS)

    return fault


@asynccontextmanager
async def cut_three_times(proxy: FaultProxy) -> AsyncGenerator[None]:
    """A FIN to both sides, again when they have come back."""
    await again_and_again(proxy, proxy.cut)
    yield


@asynccontextmanager
async def reset_three_times(proxy: FaultProxy) -> AsyncGenerator[None]:
    """The same with a RST."""
    await again_and_again(proxy, proxy.reset)
    yield


async def again_and_again(proxy: FaultProxy, end: Callable[[], object]) -> None:
    """Ends the connections three times, each time when there is one."""
    for _ in range(3):
        connected = proxy.traffic.connected
        await _awaited(end())
        await proxy.until(lambda traffic, before=connected: traffic.connected > before)


async def _awaited(work: object) -> None:
    assert asyncio.iscoroutine(work)
    await work


@asynccontextmanager
async def refused(proxy: FaultProxy) -> AsyncGenerator[None]:
    """Nobody can be reached, until three attempts have failed."""
    proxy.refuses = True
    await proxy.reset()
    yield
    await proxy.until(lambda traffic: traffic.refused >= 3)
    proxy.refuses = False


FAULTS: dict[str, Fault] = {
    "delay": treated(Conduct(delay_s=0.4)),
    "slow drip": treated(Conduct(bytes_per_s=8_000)),
    "partition that heals": treated(HOLD),
    "cut": cut_three_times,
    "reset": reset_three_times,
    "refused": refused,
    "half-open": half_open(),
    "half-open upwards": half_open(Way.UP),
    "half-open downwards": half_open(Way.DOWN),
}


async def line_up(net: Network) -> None:
    """A worker and observers of every breadth; the gate stands open."""
    net.gate.set()
    await net.start_worker()
    await net.observe("all", LedgerScope.all())
    await net.observe("session", LedgerScope.session(SESSION))
    await net.start_runs(BEFORE)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_between_worker_and_server_costs_time_only(servers: Servers, fault: str) -> None:
    async with network(servers) as net:
        await line_up(net)
        async with FAULTS[fault](net.worker_line):
            await net.start_runs(DURING)
        await net.expect_sound([*BEFORE, *DURING])


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_between_observer_and_server_costs_time_only(servers: Servers, fault: str) -> None:
    async with network(servers) as net:
        await line_up(net)
        async with FAULTS[fault](net.observer_line):
            await net.start_runs(DURING)
        await net.expect_sound([*BEFORE, *DURING])


async def test_a_server_that_stands_still_for_a_while_costs_time_only(servers: Servers) -> None:
    """SIGSTOP, the best half-open connection there is: every peer is silent, and no socket knows it."""
    async with network(servers) as net:
        await line_up(net)
        accepted = net.worker_line.traffic.accepted
        os.kill(net.server.pid, signal.SIGSTOP)
        try:
            await net.worker_line.until(lambda traffic: traffic.accepted > accepted)
        finally:
            os.kill(net.server.pid, signal.SIGCONT)
        await net.start_runs(DURING)
        await net.expect_sound([*BEFORE, *DURING])
