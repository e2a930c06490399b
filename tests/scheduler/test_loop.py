"""Background loops: passes, wake-ups, failures, ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from perdure_server.clock import VirtualClock
from perdure_server.loop import FIRST_BACKOFF_US, LAST_BACKOFF_US, Loop


class Steps:
    """Passes that answer as they are told."""

    def __init__(self, delay_us: int = 1_000_000) -> None:
        self.passes = 0
        self.delay_us = delay_us
        self.failing = False
        self.during: Callable[[], None] = lambda: None

    async def __call__(self) -> int:
        self.passes += 1
        self.during()
        if self.failing:
            raise ValueError("broken")
        return self.delay_us


async def turns(count: int = 10) -> None:
    """Lets others run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_loop_begins_with_a_pass_and_then_keeps_its_delay() -> None:
    clock, steps = VirtualClock(), Steps()
    loop = Loop("test", clock, steps)
    loop.start()
    await loop.ready()
    assert steps.passes == 1
    clock.advance(999_999)
    await turns()
    assert steps.passes == 1
    clock.advance(1)
    await turns()
    assert steps.passes == 2
    await loop.stop()
    clock.advance(10_000_000)
    await turns()
    assert steps.passes == 2


async def test_time_that_goes_by_before_the_pause_begins_counts() -> None:
    clock, steps = VirtualClock(), Steps()
    loop = Loop("test", clock, steps)
    loop.start()
    await loop.ready()  # the pause has not begun when this returns
    clock.advance(1_000_000)
    await turns()
    assert steps.passes == 2
    await loop.stop()


async def test_a_wake_up_makes_a_pass_at_once_and_none_is_lost_during_one() -> None:
    clock, steps = VirtualClock(), Steps()
    loop = Loop("test", clock, steps)
    loop.start()
    await loop.ready()
    await turns()
    loop.wake()
    loop.wake()
    await turns()
    assert steps.passes == 2

    def wake_once() -> None:
        steps.during = lambda: None
        loop.wake()

    steps.during = wake_once
    loop.wake()
    await turns()
    assert steps.passes == 4
    await loop.stop()


async def test_a_pass_that_begins_after_the_question_is_the_answer() -> None:
    clock, steps = VirtualClock(), Steps()
    loop = Loop("test", clock, steps)
    loop.start()
    for expected in range(1, 4):
        await loop.next_pass()
        assert steps.passes == expected
    await loop.stop()


async def test_failures_are_counted_logged_and_waited_after(caplog: pytest.LogCaptureFixture) -> None:
    clock, steps = VirtualClock(), Steps()
    steps.failing = True
    loop = Loop("fragile", clock, steps)
    loop.start()
    await loop.ready()
    pauses: list[int] = []
    pause = FIRST_BACKOFF_US
    while len(pauses) < 10:
        clock.advance(pause - 1)
        await turns()
        before = steps.passes
        clock.advance(1)
        await turns()
        assert steps.passes == before + 1
        pauses.append(pause)
        pause = min(pause * 2, LAST_BACKOFF_US)
    assert pauses[-1] == LAST_BACKOFF_US
    assert loop.failures == steps.passes
    assert all("fragile" in record.getMessage() for record in caplog.records)
    steps.failing = False
    loop.wake()
    await turns()
    steps.failing = True
    loop.wake()
    await turns()
    before = steps.passes
    clock.advance(FIRST_BACKOFF_US)
    await turns()
    assert steps.passes == before + 1  # a success begins the count anew
    await loop.stop()


async def test_start_and_stop_may_be_repeated() -> None:
    steps = Steps()
    loop = Loop("test", VirtualClock(), steps)
    await loop.stop()
    loop.start()
    loop.start()
    await loop.ready()
    assert loop.running
    await loop.stop()
    await loop.stop()
    assert not loop.running
    assert steps.passes == 1
    with pytest.raises(RuntimeError, match="does not run"):
        await loop.next_pass()


async def test_whoever_waits_for_a_pass_of_a_stopped_loop_is_released() -> None:
    steps = Steps()
    loop = Loop("test", VirtualClock(), steps)
    loop.start()
    waiting = asyncio.ensure_future(loop.ready())
    await asyncio.sleep(0)
    await loop.stop()
    await asyncio.wait([waiting])
    assert waiting.cancelled() or steps.passes == 1


async def test_a_loop_without_pauses_lets_others_run() -> None:
    steps = Steps(delay_us=0)
    loop = Loop("busy", VirtualClock(), steps)
    loop.start()
    await turns(50)
    assert steps.passes > 5
    await loop.stop()


async def test_what_fails_again_the_same_way_is_told_in_a_line_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = Steps()
    loop = Loop("fragile", VirtualClock(), steps)
    steps.failing = True
    loop.start()
    for _ in range(3):
        await loop.next_pass()
    steps.failing = False
    await loop.next_pass()
    await loop.stop()
    told = [(record.getMessage(), record.exc_info is not None and bool(record.exc_info)) for record in caplog.records]
    failed = "a pass of the loop fragile failed: broken"
    assert told == [
        (failed, True),
        (failed, False),
        (failed, False),
        ("the loop fragile goes on, after 3 passes that failed", False),
    ]
