"""Due work: timers, lapsed leases, turns and mail, read together and given to their runs side by side.

One loop reads what is due and starts it; it does not wait for any of it. What one run does with its input is
none of the others' business (D15): each item is a chore of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from perdure_server.engine.core import NEWEST, Engine
from perdure_server.engine.run_slot import Outcome
from perdure_server.kernel.decision import Mail, MailKind
from perdure_server.kernel.inputs import Cancel, ChildEndSeen, Input, LeaseLapsed, TimerFired, TimerKind
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import RunStatus
from perdure_server.loop import Loop
from perdure_server.scheduler.chores import Chores
from perdure_server.scheduler.spread import LEASE_FIRST_US, Spread
from perdure_server.scheduler.superseding import superseded
from perdure_server.storage.port import DueLease, DueMail, DueTimer, DueWork, RunKey

T = TypeVar("T")

PAGE: Final = 1_000
OWN_POLL_US: Final = 5 * SECOND_US
"""Longest pause on a store that only this process writes: a net below lost wake-ups, and for new leases."""
SHARED_POLL_US: Final = 250_000
"""The same on a store that others write too: here this is how their work becomes known."""
JUMP_US: Final = 60 * SECOND_US
"""A lease clock that went on by more than this without us makes all leases look lapsed: they are held."""
SLICE: Final = 64
"""Inputs given to runs in one go: deciding a thousand would keep workers and callers waiting."""
NEVER: Final = 2**63 - 1


class SenderNotEndedError(Exception):
    """A message tells of a run's end, and the run has not ended as far as can be seen here."""


class DueLoop:
    """The loop over `due_work`.

    Timers are compared as UTC instants (D4), leases in the store's lease clock. A timer fires within some
    milliseconds: the loop sleeps until the earliest one, and a timer that is armed earlier wakes it.

    Args:
        engine: gives inputs to runs.
    """

    def __init__(self, engine: Engine) -> None:
        self.loop = Loop("due-work", engine.clock, self._step)
        self.chores = Chores(engine.clock, self._chore_ended)
        self._engine = engine
        self._poll_us = SHARED_POLL_US if engine.info.shared else min(OWN_POLL_US, engine.limits.lease_us // 4)
        self._next_timer_at = 0
        self._next_lease_at = 0
        self._seen_lease_clock: int | None = None
        self._hold_until = 0
        self._more = False
        self._spread = Spread(engine.clock, engine.replica_id) if engine.shared else None
        self.behind = False
        """The last pass left due work to the next one, which follows at once."""

    # --- wake-ups ------------------------------------------------------------------------------

    def timer_armed(self, due_at: int) -> None:
        """A timer was set; wakes the loop if it comes before all that the loop knows."""
        if due_at < self._next_timer_at:
            self._next_timer_at = due_at
            self.loop.wake()

    def lease_deadline(self, due_at: int) -> None:
        """A lease has a deadline (lease clock) that may come before all that the loop knows."""
        if due_at < self._next_lease_at:
            self._next_lease_at = due_at
            self.loop.wake()

    def mail_sent(self, namespace: str, mail: Sequence[Mail]) -> None:
        """Messages wait for their receivers. Of thousands, as a cancel of a wide fan-out sends, most are left to the
        loop, which lets others run between them."""
        for message in mail[:SLICE]:
            key = RunKey(namespace, message.to_run_id)
            self._deliver(DueMail(key, message.kind.value, message.from_run_id))
        if len(mail) > SLICE:
            self.loop.wake()

    # --- the loop --------------------------------------------------------------------------------

    async def _step(self) -> int:
        engine = self._engine
        now, lease_now = engine.clock.now(), engine.lease_now()
        self._next_timer_at = self._next_lease_at = NEVER
        await self._watch_clock(lease_now)
        self.chores.forget_old()
        if self._spread is not None:
            self._spread.forget_old()
        limit = PAGE + self.chores.open
        work = await engine.read(engine.store.due_work, now, lease_now, limit)
        leases = work.leases if lease_now >= self._hold_until else ()
        started = await _each(self._fire, work.timers)
        started += await _each(self._lapse, leases)
        started += await _each(self._turn, work.turns)
        started += await _each(self._find_mail, work.mail)
        lengths = map(len, (work.timers, work.leases, work.turns, work.mail))
        more = any(length >= limit for length in lengths)
        self._more = more and self.chores.full
        self.behind = more and started > 0
        return 0 if self.behind else self._pause(work)

    def _pause(self, work: DueWork) -> int:
        """Microseconds until something may be due."""
        engine = self._engine
        if work.next_timer_at:
            self._next_timer_at = min(self._next_timer_at, work.next_timer_at)
        if work.next_lease_at:
            self._next_lease_at = min(self._next_lease_at, work.next_lease_at)
        until_timer = self._next_timer_at - engine.clock.now()
        pauses = [self._poll_us, until_timer, self._next_lease_at - engine.lease_now()]
        next_try_at = self.chores.next_try_at
        if next_try_at:
            pauses.append(next_try_at - engine.clock.monotonic())
        if self._spread is not None and self._spread.next_at:
            pauses.append(self._spread.next_at - engine.clock.monotonic())
        return max(min(pauses), 0)

    async def _watch_clock(self, lease_now: int) -> None:
        """Notices a lease clock that jumped, or a process that stood still: nobody could renew meanwhile.

        After a jump back leases would last until the clock is where it was: all get one TTL from now.
        """
        engine, seen = self._engine, self._seen_lease_clock
        if seen is not None and not -JUMP_US <= lease_now - seen <= JUMP_US + self._poll_us:
            self._hold_until = lease_now + engine.limits.lease_us
            if lease_now < seen:
                await engine.write(engine.store.reset_leases, self._hold_until)
        self._seen_lease_clock = lease_now

    def _chore_ended(self) -> None:
        if self._more and self.chores.has_room:
            self.loop.wake()

    # --- what is done about it -------------------------------------------------------------------

    def _mine(self, name: tuple[object, ...], key: RunKey) -> bool:
        """Whether this process takes up what it found, or leaves it to another one for now."""
        return self._spread is None or self._engine.knows(key) or self._spread.allows(name, key)

    def _lapsed(self, name: tuple[object, ...], lease: DueLease) -> bool:
        """The same for a lease. One that seems to be long over makes any process wait: perhaps the lease clock has
        jumped, and others, who know already, have renewed it."""
        if self._spread is None:
            return True
        recent = self._engine.lease_now() - lease.due_at < JUMP_US
        return (recent and self._engine.knows(lease.key)) or self._spread.allows(name, lease.key, LEASE_FIRST_US)

    def _fire(self, timer: DueTimer) -> bool:
        event = TimerFired(TimerKind(timer.kind), timer.due_at)
        name = ("timer", timer.key, timer.kind, timer.due_at)
        started = self._mine(name, timer.key) and self._give(name, timer.key, event)
        if started:
            self._engine.measures.timer_lateness_us.add(self._engine.clock.now() - timer.due_at)
        return started

    def _lapse(self, lease: DueLease) -> bool:
        step_id, attempt = lease.step_id, lease.attempt
        event: Input = LeaseLapsed(step_id, attempt)
        if lease.heartbeat:
            event = TimerFired(TimerKind.HEARTBEAT, lease.due_at, step_id, attempt)
        name = ("lease", lease.key, step_id, attempt, lease.due_at)
        return self._lapsed(name, lease) and self._give(name, lease.key, event)

    def _turn(self, key: RunKey) -> bool:
        name = ("turn", key)
        return self._mine(name, key) and self.chores.start(name, key, partial(self._engine.run_turns, key))

    def _find_mail(self, mail: DueMail) -> bool:
        name = ("mail", mail.key, mail.kind, mail.from_run_id)
        return self._mine(name, mail.key) and self._deliver(mail)

    def _deliver(self, mail: DueMail) -> bool:
        name = ("mail", mail.key, mail.kind, mail.from_run_id)
        self._more = self._more or self.chores.full
        return self.chores.start(name, mail.key, partial(deliver_mail, self._engine, mail))

    def _give(self, name: tuple[object, ...], key: RunKey, event: Input) -> bool:
        return self.chores.start(name, key, partial(self._engine.submit_nowait, key, event))


async def _each(start: Callable[[T], bool], items: Sequence[T]) -> int:
    """Starts what is due, letting others run now and then; how many it started."""
    started = 0
    for number, item in enumerate(items, start=1):
        started += start(item)
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return started


async def deliver_mail(engine: Engine, mail: DueMail) -> Outcome:
    """Gives a message to its receiver; the commit that takes it consumes it, and so does a refusal.

    Raises: Rejection if the run does not need it any more; SenderNotEndedError; EngineError.
    """
    namespace = mail.key.namespace
    sender = await engine.load(RunKey(namespace, mail.from_run_id))
    child_ended = MailKind(mail.kind) is MailKind.CHILD_ENDED
    if engine.shared and not (sender.ended if child_ended else sender.cancelling or sender.ended):
        sender = await engine.refresh(RunKey(namespace, mail.from_run_id), NEWEST)
    if child_ended:
        if not sender.ended:
            raise SenderNotEndedError(f"run {sender.run_id} has not ended at seq {sender.seq}")
        event: Input = ChildEndSeen(sender.run_id, sender.status, sender.output, sender.error)
    elif MailKind(mail.kind) is MailKind.SUPERSEDE:
        return await engine.submit(mail.key, superseded(sender.run_id), mail=((mail.kind, mail.from_run_id),))
    else:
        cancelled = sender.cancelling or sender.status is RunStatus.CANCELLED
        reason = sender.cancel_reason if cancelled else f"Cancelled by run {sender.run_id}"
        event = Cancel(reason, cancelled_by=f"run:{sender.run_id}")
    return await engine.submit(mail.key, event, mail=((mail.kind, mail.from_run_id),))
