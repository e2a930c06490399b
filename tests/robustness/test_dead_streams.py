"""Streams that are dead while something about them looks alive, each seen to strand somebody without its defence.

The public failures behind these: engines whose workers kept a stream that delivered nothing while their heartbeats
went through; whose streams were closed by an idle proxy and whose tasks then stayed "running"; whose observers went
on listening to a connection that had died behind a proxy.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from perdure import LedgerScope
from perdure.reopening import ReopeningStream
from perdure.worker.session import Session, StreamEnd
from perdure.worker.streams import Streams
from tests.faults.conduct import PASS, SWALLOW, Way
from tests.faults.proxy import Traffic
from tests.robustness.network import Network, Observer, network
from tests.robustness.server_process import Servers

pytestmark = pytest.mark.timeout(180)

SHORT_LEASE = 1.0
IDLE_CLOSE_S = 2.0
LONG_S = 3 * IDLE_CLOSE_S
"""For what must not happen: long enough that it would have."""

SLOW_PINGS: dict[str, Any] = {"lease_seconds": 30.0, "limits": {}}
"""A worker's stream may be quiet for 7.5 s."""


def stream_has_ended(traffic: Traffic) -> bool:
    """Whether a worker's stream has been closed: the worker has another connection, which is closed first."""
    return traffic.ended > 1


async def happens(work: Awaitable[object], within_s: float = LONG_S) -> bool:
    """Whether something happens within some time."""
    try:
        async with asyncio.timeout(within_s):
            await work
    except TimeoutError:
        return False
    return True


# A worker stream dead with healthy heartbeats.


async def hand_out_into_a_dead_stream(net: Network) -> None:
    """What the server sends is lost, what the worker sends arrives: its pings, its credit."""
    net.gate.set()
    await net.start_worker()
    await net.worker_line.set(SWALLOW, Way.DOWN)
    await net.start_runs([0])
    accepted = net.worker_line.traffic.accepted
    if await happens(net.worker_line.until(lambda traffic: traffic.accepted > accepted)):
        await net.worker_line.set(PASS)


@pytest.mark.promise("P7")
async def test_a_worker_stream_dead_with_healthy_heartbeats_is_left_by_the_worker(servers: Servers) -> None:
    """It hears nothing for three ping intervals, whatever it says itself, and opens another stream."""
    async with network(servers, lease_seconds=SHORT_LEASE) as net:
        await hand_out_into_a_dead_stream(net)
        await net.expect_sound([0])
        assert net.executed.total() == 1


async def test_without_the_rule_of_silence_a_dead_stream_eats_every_attempt(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hears pings and hands out, lease after lease, until the step counts as poisonous."""
    monkeypatch.setattr("perdure.worker.session._SILENT_INTERVALS", 1_000)
    async with network(servers, lease_seconds=SHORT_LEASE) as net:
        await hand_out_into_a_dead_stream(net)
        run = await net.client.wait_run("run-0", timeout=60)
        assert run.step is not None
        assert (run.activity, run.step.park_reason) == ("parked", "POISON")
        assert net.executed.total() == 0


# An idle proxy that closes the stream under a running task.


async def close_under_a_task(net: Network) -> None:
    """The effect is under way, nothing is said, the proxy closes the stream; then the effect has its result."""
    await net.start_worker()
    await net.start_runs([0])
    await net.busy.wait()
    await net.worker_line.until(stream_has_ended)
    net.gate.set()


@pytest.mark.promise("P5", "P7")
async def test_a_task_whose_stream_an_idle_proxy_closed_is_reported_on_the_next(servers: Servers) -> None:
    async with network(servers, IDLE_CLOSE_S, **SLOW_PINGS) as net:
        await close_under_a_task(net)
        await net.expect_sound([0])
        assert net.executed.total() == 1


async def test_without_reconnecting_a_task_stays_running_for_ever(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stay_away(self: Streams, session: Session, end: StreamEnd) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Streams, "_after", stay_away)
    async with network(servers, IDLE_CLOSE_S, **SLOW_PINGS) as net:
        await close_under_a_task(net)
        assert not await happens(net.client.wait_run("run-0", until="ended"))
        assert (await net.client.get_run("run-0")).activity == "leased"


@pytest.mark.promise("P7")
async def test_pings_keep_a_stream_open_behind_an_idle_proxy(servers: Servers) -> None:
    """At the defaults: a ping within 15 s, a proxy that closes after 30 s; here both are shorter."""
    async with network(servers, IDLE_CLOSE_S) as net:
        await net.start_worker()
        assert not await happens(net.worker_line.until(stream_has_ended))


async def test_without_pings_the_idle_proxy_closes_it(servers: Servers) -> None:
    async with network(servers, IDLE_CLOSE_S, **SLOW_PINGS) as net:
        await net.start_worker()
        assert await happens(net.worker_line.until(stream_has_ended))


# A subscription that died behind a proxy.


async def listen_to_a_dead_stream(net: Network) -> Observer:
    """An observer to whom nothing comes any more over the connections that stand; others work."""
    net.gate.set()
    await net.start_worker()
    observer = await net.observe("all", LedgerScope.all())
    accepted = net.observer_line.traffic.accepted
    await net.observer_line.set(SWALLOW, Way.DOWN)
    await net.start_runs([0])
    await net.ends([0])
    if await happens(net.observer_line.until(lambda traffic: traffic.accepted > accepted)):
        await net.observer_line.set(PASS)
    return observer


@pytest.mark.promise("P8")
async def test_a_subscription_that_died_behind_a_proxy_goes_on_elsewhere(servers: Servers) -> None:
    """No checkpoint for three intervals: the observer leaves the stream, and the connection with it."""
    async with network(servers) as net:
        observer = await listen_to_a_dead_stream(net)
        await net.expect_sound([0])
        assert observer.told


@pytest.mark.parametrize("missing", ["the rule of silence", "another connection"])
async def test_without_its_defence_a_dead_subscription_tells_nothing(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "the rule of silence":
        monkeypatch.setattr("perdure.subscription.SILENT_INTERVALS", 1_000)
    else:

        async def keep_connection(self: ReopeningStream[object]) -> None:
            pass

        monkeypatch.setattr(ReopeningStream, "_change_connection", keep_connection)
    async with network(servers) as net:
        observer = await listen_to_a_dead_stream(net)
        assert not observer.told


@pytest.mark.promise("P8")
async def test_checkpoints_keep_a_subscription_open_behind_an_idle_proxy(servers: Servers) -> None:
    async with network(servers, IDLE_CLOSE_S) as net:
        await net.observe("all", LedgerScope.all())
        assert not await happens(net.observer_line.until(lambda traffic: traffic.ended > 0))
