"""Chores: started once, retried later and later, in nobody's way."""

from __future__ import annotations

import asyncio

import pytest

from perdure_server.clock import VirtualClock
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.scheduler import chores as module
from perdure_server.scheduler.chores import FIRST_WAIT_US, LAST_WAIT_US, Chores
from perdure_server.storage.port import RunKey

RUN = RunKey("default", "r1")


class Work:
    """Work that ends when a test says how."""

    def __init__(self) -> None:
        self.begun = 0
        self.end: asyncio.Future[None] | None = None

    def __call__(self) -> asyncio.Future[None]:
        self.begun += 1
        self.end = asyncio.get_running_loop().create_future()
        return self.end

    def fail(self, error: Exception) -> None:
        """Ends it badly."""
        assert self.end is not None
        self.end.set_exception(error)


async def test_a_chore_is_under_way_once() -> None:
    done: list[int] = []
    chores, work = Chores(VirtualClock(), lambda: done.append(1)), Work()
    assert chores.start("a", RUN, work)
    assert not chores.start("a", RUN, work)
    assert (chores.busy, chores.open) == (True, 1)
    assert work.end is not None
    work.end.set_result(None)
    await chores.idle()
    await asyncio.sleep(0)
    assert (chores.busy, chores.open, done) == (False, 0, [1])
    assert chores.start("a", RUN, work)
    await chores.stop()


@pytest.mark.parametrize("error", [ValueError("broken"), Rejection(Reason.NOT_DUE, "no longer")])
async def test_one_that_fails_waits_longer_each_time(error: Exception) -> None:
    clock = VirtualClock()
    chores, work = Chores(clock, lambda: None), Work()
    wait_us = FIRST_WAIT_US
    for tries in range(1, 12):
        assert chores.start("a", RUN, work)
        work.fail(error)
        await chores.idle()
        await asyncio.sleep(0)
        assert work.begun == tries
        assert chores.next_try_at == clock.monotonic() + wait_us
        clock.advance(wait_us - 1)
        assert not chores.start("a", RUN, work)
        clock.advance(1)
        wait_us = min(wait_us * 2, LAST_WAIT_US)
    assert wait_us == LAST_WAIT_US
    assert chores.failures == (0 if isinstance(error, Rejection) else 11)
    assert chores.next_try_at == 0
    clock.advance(2 * LAST_WAIT_US + 1)
    chores.forget_old()
    assert chores.open == 0


async def test_a_success_begins_the_count_anew() -> None:
    clock = VirtualClock()
    chores, work = Chores(clock, lambda: None), Work()
    for _ in range(3):
        chores.start("a", RUN, work)
        work.fail(ValueError("broken"))
        await chores.idle()
        await asyncio.sleep(0)
        clock.advance(LAST_WAIT_US)
    chores.start("a", RUN, work)
    assert work.end is not None
    work.end.set_result(None)
    await chores.idle()
    await asyncio.sleep(0)
    chores.start("a", RUN, work)
    work.fail(ValueError("broken"))
    await chores.idle()
    await asyncio.sleep(0)
    assert chores.next_try_at == clock.monotonic() + FIRST_WAIT_US


async def test_there_are_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNDER_WAY", 3)
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    chores, work = Chores(VirtualClock(), lambda: None), Work()
    started = [chores.start(number, RUN, work) for number in range(4)]
    assert started == [True, True, True, False]
    assert chores.full
    await chores.stop()
    assert not chores.busy
    for number in range(4):
        chores.start(number, RUN, work)
        work.fail(ValueError("broken"))
        await chores.idle()
        await asyncio.sleep(0)
    assert chores.open == 2
