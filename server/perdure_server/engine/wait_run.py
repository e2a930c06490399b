"""WaitRun and WatchRun: waiting for a run's next state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from perdure_server.clock import Clock
from perdure_server.engine.core import Engine
from perdure_server.kernel.model import Activity, RunState
from perdure_server.storage.port import RunKey

_MOVING = (Activity.QUEUED, Activity.LEASED, Activity.BACKOFF)


def settled(run: RunState) -> bool:
    """Nothing more happens without somebody: not queued, leased or in backoff, or paused and not leased."""
    if run.paused:
        return run.activity is not Activity.LEASED
    return run.activity not in _MOVING


async def wait_run(
    engine: Engine, key: RunKey, *, ended_only: bool, min_seq: int, wait_us: int
) -> tuple[RunState, bool]:
    """The run once it is settled (or ended) and has `min_seq`, or as it stands when the time is up or the server
    goes away.

    Args:
        wait_us: longest wait, microseconds.

    Returns: the run, and whether what was waited for came. Raises: RunNotFoundError.
    """
    if engine.shared and min_seq > 1:
        await engine.refresh(key, min_seq)  # another process may have told the caller of this seq
    with engine.watchers.watch(key) as signal:
        timer = asyncio.ensure_future(engine.clock.sleep(wait_us))
        try:
            while True:
                signal.clear()
                run = await engine.load(key)
                if run.seq >= min_seq and (run.ended if ended_only else settled(run)):
                    return run, True
                if timer.done() or engine.watchers.ended:
                    return run, False
                await _either(signal, timer)
        finally:
            timer.cancel()


async def watch_run(engine: Engine, key: RunKey, heartbeat_us: int) -> AsyncIterator[RunState | None]:
    """The run as it stands, then after changes (coalesced); None as a heartbeat; ends with the run.

    Raises: RunNotFoundError.
    """
    with engine.watchers.watch(key) as signal:
        seen = 0
        while True:
            signal.clear()
            run = await engine.load(key)
            if run.seq > seen:
                seen = run.seq
                yield run
            if run.ended:
                return
            if not signal.is_set() and not await _signal_within(signal, engine.clock, heartbeat_us):
                yield None


async def _signal_within(signal: asyncio.Event, clock: Clock, limit_us: int) -> bool:
    timer = asyncio.ensure_future(clock.sleep(limit_us))
    try:
        await _either(signal, timer)
    finally:
        timer.cancel()
    return signal.is_set()


async def _either(signal: asyncio.Event, timer: asyncio.Future[None]) -> None:
    waiter = asyncio.ensure_future(signal.wait())
    try:
        await asyncio.wait((waiter, timer), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
