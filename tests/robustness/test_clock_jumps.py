"""The machine's clock jumps by hours, there and back, while runs are under way (P5, P7).

Instants follow the clock: a timer is never early, and as late as the clock makes it. Leases do not: nobody loses a
task because somebody set the clock.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure import Client, EffectContext, JsonObject, Worker, Workflow
from perdure_server.app import open_server
from perdure_server.clock import SystemClock
from perdure_server.config import Config
from tests.faults.link import pause
from tests.robustness.checker.examine import examine
from tests.robustness.checker.export import take_export
from tests.robustness.checker.testimony import Testimony

HOURS_US = 3_600_000_000
RUNS = 20
PATIENCE_S = 60.0

pytestmark = pytest.mark.promise("P5", "P7")


class JumpingClock(SystemClock):
    """The machine's clocks; what time it is can be set, as an administrator sets it."""

    def __init__(self) -> None:
        self.offset_us = 0

    def now(self) -> int:
        """UTC, as it was set."""
        return super().now() + self.offset_us


def napping() -> Workflow:
    """A timer, an effect, a timer."""
    nap = Workflow("nap")
    nap.effect_node("first", "wait_until", {"delay_seconds": 0.2}, next="act")
    nap.effect_node("act", "act", {}, next="last", result_key="acted")
    nap.effect_node("last", "wait_until", {"delay_seconds": 0.2}, next="done")
    nap.complete_node("done")
    return nap


class Act:
    """The effect: waits for the gate, and counts."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.all_busy = asyncio.Event()
        self.executed: Counter[str] = Counter()

    async def __call__(self, ctx: EffectContext, payload: JsonObject) -> JsonObject:
        """Executes it."""
        self.executed[ctx.idempotency_key] += 1
        if len(self.executed) == RUNS:
            self.all_busy.set()
        await self.gate.wait()
        return payload


@asynccontextmanager
async def world(folder: Path, clock: JumpingClock) -> AsyncGenerator[tuple[Client, Act]]:
    """A server in this process, with short leases, and a worker."""
    config = Config(store=f"sqlite:///{folder}/perdure.db", listen="127.0.0.1:0", lease_seconds=3.0)
    act = Act()
    async with open_server(config, clock) as app, Client.connect(app.address) as client:
        worker = Worker(client, drain_timeout=1.0)
        worker.serve(napping())
        worker.effect("act")(act)
        async with worker:
            yield client, act


async def start(client: Client, name: str) -> list[str]:
    """Starts runs; their ids."""
    return [(await client.start("nap", run_id=f"{name}-{number}")).run_id for number in range(RUNS)]


async def end(client: Client, run_ids: list[str]) -> None:
    """Returns when all have completed."""
    for run_id in run_ids:
        run = await client.wait_run(run_id, until="ended", timeout=PATIENCE_S)
        assert run.status == "completed"


async def expect_sound(client: Client, act: Act, clock: JumpingClock, runs: int) -> None:
    """Everything ended, once, and no record is older than the one before it."""
    export = await take_export(client.connection.channel, "default", (), clock.now())
    assert examine(export, Testimony(is_final=True)) == []
    assert list((await client.audit_all_runs()).findings) == []
    assert len(act.executed) == runs
    assert set(act.executed.values()) == {1}, "a lease lapsed because the clock was set"


@pytest.mark.parametrize("hours", [6, -6])
async def test_leases_do_not_follow_the_clock(tmp_path: Path, hours: int) -> None:
    """All effects are under way when the clock jumps; none is handed out again."""
    clock = JumpingClock()
    async with world(tmp_path, clock) as (client, act):
        run_ids = await start(client, "r")
        await act.all_busy.wait()
        clock.offset_us += hours * HOURS_US
        await pause(4.0)  # longer than a lease: what is not renewed would lapse
        act.gate.set()
        await end(client, run_ids)
        await expect_sound(client, act, clock, RUNS)


async def test_timers_follow_the_clock_there_and_back(tmp_path: Path) -> None:
    """Six hours on, all that sleeps is due; six hours back, what was to come waits until the clock has come again."""
    clock = JumpingClock()
    async with world(tmp_path, clock) as (client, act):
        act.gate.set()
        before = await start(client, "before")
        clock.offset_us += 6 * HOURS_US
        await end(client, before)
        ahead = await start(client, "ahead")
        clock.offset_us -= 6 * HOURS_US
        back = await start(client, "back")
        await end(client, back)
        run = await client.get_run(ahead[-1])
        assert run.ended_at is None, "its timer is hours away again"
        clock.offset_us += 6 * HOURS_US
        await end(client, ahead)
        await expect_sound(client, act, clock, 3 * RUNS)


class OneClock(JumpingClock):
    """A clock whose spans follow what was set."""

    def monotonic(self) -> int:
        """The same count as `now`."""
        return self.now()


async def test_leases_that_follow_the_clock_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The defences: leases are measured by a clock that nobody sets, and one that jumps all the same holds them."""
    monkeypatch.setattr("perdure_server.scheduler.due.JUMP_US", 24 * HOURS_US)
    clock = OneClock()
    async with world(tmp_path, clock) as (client, act):
        run_ids = await start(client, "r")
        await act.all_busy.wait()
        clock.offset_us += 6 * HOURS_US
        await pause(4.0)
        act.gate.set()
        await end(client, run_ids)
        assert max(act.executed.values()) > 1
