"""Inputs of runs, taken one at a time: decided, committed, answered; tried again where that is right.

A slot is busy from the moment an input is taken until it is answered; the others wait in its queue. So
inputs of one run are serial in this process, and between processes the commit's guard decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure_server.engine import transition as t
from perdure_server.engine.catalog import UnknownWorkflowError
from perdure_server.engine.errors import (
    ConflictError,
    DamagedError,
    DrainingError,
    EngineError,
    RequestIdReusedError,
    RunNotFoundError,
    ScheduleChangedError,
    StoreUnavailableError,
)
from perdure_server.engine.loading import fill_slot
from perdure_server.engine.requests import check_request
from perdure_server.engine.run_slot import Call, Outcome, OutdatedError, RunCache, RunSlot
from perdure_server.kernel.decision import Ack, Reason, Rejection, SlotsTaken
from perdure_server.kernel.inputs import Input, StartRun
from perdure_server.kernel.model import RunState
from perdure_server.storage.port import RequestRow, RunKey, StoreDamagedError, StoreError, Verdict, VerdictKind

if TYPE_CHECKING:
    from perdure_server.engine.core import Engine

log = logging.getLogger(__name__)

MAX_TRIES = 8
RETRY_STORE_US = 1_000_000


def unavailable(error: StoreError) -> EngineError:
    """The store's failure as a caller sees it."""
    if isinstance(error, StoreDamagedError):
        return DamagedError(f"part of what is stored cannot be read: {error}; restore a backup")
    return StoreUnavailableError(f"the store does not answer: {error}", retry_after_us=RETRY_STORE_US)


class Intake:
    """Gives inputs to runs.

    Args:
        engine: whose runs.
        cache: runs in memory.
    """

    def __init__(self, engine: Engine, cache: RunCache) -> None:
        self._engine = engine
        self._cache = cache
        self._shared = engine.info.shared
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Ends what is being loaded."""
        for task in list(self._tasks):
            task.cancel()

    def give(self, key: RunKey, call: Call) -> None:
        """Puts a call into its run's queue; the run is loaded if it is not in memory."""
        if self._engine.closing:
            call.settle(DrainingError("the server is stopping", retry_after_us=RETRY_STORE_US))
            return
        slot = self._cache.get(key)
        if slot is None:
            slot = RunSlot(key)
            slot.busy = True
            call.fresh = True
            slot.pending.append(call)
            self._cache.put(slot)
            self._spawn(self._load(slot))
            return
        slot.pending.append(call)
        self._advance(slot)

    def outdate(self, key: RunKey, seq: int) -> None:
        """The store has the run at this seq: an older state in memory is used no longer."""
        slot = self._cache.peek(key)
        if slot is None or (slot.run is not None and slot.run.seq >= seq):
            return
        if slot.idle:
            self._cache.drop(key)
        else:  # before anything else that waits: what is under way may end without a look at the store
            slot.pending.appendleft(Call(partial(not_older, seq), _nobody_asked))

    def _advance(self, slot: RunSlot) -> None:
        while slot.pending and not slot.busy:
            self.take(slot, slot.pending.popleft())

    def take(self, slot: RunSlot, call: Call) -> None:
        """Decides one input, with the end of a child those behind it, and queues the commit, or answers it."""
        slot.busy = True
        if call.ends_child:
            self._join_ends(slot, call)
        try:
            event = self._input_of(slot, call)
            if event is None:
                self._resolve(slot, call, t.plain_outcome(slot))
                return
            work = t.decide_input(self._engine, slot, call, event)
        except UnknownWorkflowError as missing:
            self._spawn(self._decide_again(slot, call, missing))
            return
        except t.HorizonNeededError:
            self._spawn(self._decide_at_horizon(slot, call))
            return
        except OutdatedError:
            if call.fresh:
                self._resolve(slot, call, t.plain_outcome(slot))
            else:
                self._reload(slot, call)
            return
        except Rejection as rejection:
            if self._doubtful(slot, call):
                self._reload(slot, call)
            else:
                self._refuse(slot, call, rejection)
            return
        except Exception as error:  # the boundary of a decision: one run's defect stops no other
            log.exception("deciding failed", extra={"run_id": slot.key.run_id, "namespace": slot.key.namespace})
            self._fail(slot, call, error)
            return
        if work.commit is None and self._doubtful(slot, call):
            self._reload(slot, call)
            return
        if work.commit is None:
            self._resolve(slot, call, Outcome(work.run, work.ack))
            return
        self._engine.committer.enqueue(work.commit, partial(self._answered, slot, call, work))

    def _join_ends(self, slot: RunSlot, call: Call) -> None:
        """Takes along the ends of other children that wait next, so that a commit takes many: each is a record."""
        most, pending = self._engine.limits.chained_records // 2, slot.pending
        while pending and len(call.joined) + 1 < most and pending[0].ends_child:
            call.joined.append(pending.popleft())

    def _part_ends(self, slot: RunSlot, call: Call) -> None:
        """What was taken along waits behind the call again."""
        call.rejection = None
        slot.pending.extendleft(reversed(call.joined))
        call.joined = []

    def _input_of(self, slot: RunSlot, call: Call) -> Input | None:
        event = call.event
        if callable(event):
            if slot.run is None:
                raise RunNotFoundError(f"no run {slot.key.run_id!r} in namespace {slot.key.namespace!r}")
            return event(slot.run)
        return event

    def _answered(self, slot: RunSlot, call: Call, work: t.Transition, result: Verdict | StoreError) -> None:
        """The verdict of an input's commit, on the event loop."""
        if isinstance(result, StoreError):
            self._give_back(work, slot)
            self._cache.drop(slot.key)
            self._fail_all(slot, call, unavailable(result))
            return
        if result.kind is VerdictKind.COMMITTED:
            self._engine.note_positions(result)
            t.apply_committed(self._engine, slot, work, result, self._cache.put)
            self._resolve(
                slot,
                call,
                Outcome(work.run, work.ack, work.reply, False, result.event_positions, result.events_known),
            )
            return
        self._give_back(work, slot)
        if result.kind is VerdictKind.REQUEST_KNOWN:
            self._replay(slot, call, result.request)
        elif result.kind is VerdictKind.RUN_EXISTS and result.taken_run_id == slot.key.run_id and slot.run is None:
            self._refuse(slot, call, t.run_exists(slot.key))
        elif result.kind is VerdictKind.SCHEDULE_CHANGED:
            self._fail(slot, call, ScheduleChangedError("others changed the schedule at the same time"))
        elif result.kind is VerdictKind.NO_SLOT:
            self._no_slot(slot, call)
        elif result.kind is VerdictKind.FAILED:
            log.error("a commit cannot be kept: %s", result.error, extra={"run_id": slot.key.run_id})
            self._fail(slot, call, RuntimeError(f"a commit of run {slot.key.run_id!r} cannot be kept: {result.error}"))
        elif result.kind is VerdictKind.RUN_EXISTS:
            call.taken |= {result.taken_run_id}
            self._again(slot, call)
        else:
            self._engine.counters["conflicts"] += 1
            self._again(slot, call, reload=True)

    def _no_slot(self, slot: RunSlot, call: Call) -> None:
        """A run that is to start gets in line, or is refused; one that is in line stays there."""
        self._engine.counters["slots_refused"] += 1
        event = call.event
        if slot.run is None and isinstance(event, StartRun) and event.concurrency is not None:
            self._spawn(self._find_line(slot, call, event.concurrency.key))
        else:
            self._refuse(slot, call, Rejection(Reason.NOT_DUE, "the slot no longer applies"))

    async def _find_line(self, slot: RunSlot, call: Call, slot_key: str) -> None:
        try:
            line = await self._engine.read(self._engine.store.slot_line, slot.key.namespace, slot_key, 1)
        except EngineError as error:
            self._fail(slot, call, error)
            return
        call.line = SlotsTaken(line.holders[0].run_id if line.holders else "", line.waiting)
        self._again(slot, call)

    def _doubtful(self, slot: RunSlot, call: Call) -> bool:
        """Whether an answer that changes nothing may rest on a state which another process has changed since; no
        commit will tell."""
        return self._shared and not call.fresh and slot.run is not None

    def _reload(self, slot: RunSlot, call: Call) -> None:
        """Reads the run again, then takes the call."""
        self._part_ends(slot, call)
        call.fresh = True
        slot.pending.appendleft(call)
        self._spawn(self._load(slot))

    def _again(self, slot: RunSlot, call: Call, *, reload: bool = False) -> None:
        call.tries += 1
        if call.tries >= MAX_TRIES:
            message = "others changed the run at the same time, repeatedly; try again"
            self._fail(slot, call, ConflictError(message, retry_after_us=RETRY_STORE_US // 10))
            return
        if reload:
            self._reload(slot, call)
        else:
            self._part_ends(slot, call)
            slot.pending.appendleft(call)
            slot.busy = False
            self._advance(slot)

    def _refuse(self, slot: RunSlot, call: Call, rejection: Rejection) -> None:
        """A rejection: mail is consumed all the same, and a repeated request gets its first reply."""
        if call.mail and slot.run is not None:
            commit = t.consume_mail(slot, call)
            self._engine.committer.enqueue(commit, lambda result: self._after_mail(slot, call, rejection, result))
        elif call.request is not None:
            self._spawn(self._refuse_unless_replayed(slot, call, rejection))
        else:
            self._fail(slot, call, rejection)

    def _after_mail(self, slot: RunSlot, call: Call, rejection: Rejection, result: Verdict | StoreError) -> None:
        if isinstance(result, StoreError):
            self._fail(slot, call, unavailable(result))
        elif result.kind is VerdictKind.CONFLICT:
            self._again(slot, call, reload=True)
        else:
            self._fail(slot, call, rejection)

    async def _refuse_unless_replayed(self, slot: RunSlot, call: Call, rejection: Rejection) -> None:
        if call.request is None:
            raise ValueError("the call has no request id")
        try:
            reply = await self._engine.find_request(slot.key.namespace, call.request)
        except EngineError as error:
            self._fail(slot, call, error)
            return
        if reply is None or (slot.run is None and rejection.reason is not Reason.RUN_EXISTS):
            self._fail(slot, call, rejection)
        else:
            self._resolve(slot, call, Outcome(slot.run or t.no_run(slot.key), Ack.ACCEPTED, reply, replayed=True))

    def _replay(self, slot: RunSlot, call: Call, row: RequestRow | None) -> None:
        if row is None or call.request is None:
            self._fail(slot, call, ValueError("a known request without its row"))
            return
        try:
            reply = check_request(row, call.request)
        except RequestIdReusedError as error:
            self._fail(slot, call, error)
            return
        self._resolve(slot, call, Outcome(slot.run or t.no_run(slot.key), Ack.ACCEPTED, reply, replayed=True))

    def _resolve(self, slot: RunSlot, call: Call, outcome: Outcome) -> None:
        call.settle_all(outcome)
        slot.busy = False
        self._advance(slot)

    def _fail(self, slot: RunSlot, call: Call, error: Exception) -> None:
        call.settle_all(error)
        slot.busy = False
        self._advance(slot)

    def _fail_all(self, slot: RunSlot, call: Call, error: Exception) -> None:
        self._part_ends(slot, call)
        calls = [call, *slot.pending]
        slot.pending.clear()
        for waiting in calls:
            waiting.settle(error)

    def _give_back(self, work: t.Transition, slot: RunSlot) -> None:
        if work.placed_worker:
            self._engine.placement.unplace(slot.key.namespace, work.placed_worker)

    async def _load(self, slot: RunSlot) -> None:
        before = slot.run
        try:
            snapshot = await self._engine.read(self._engine.store.load_run, slot.key)
            if snapshot is None:
                raise RunNotFoundError(
                    f"no run {slot.key.run_id!r} in namespace {slot.key.namespace!r}",
                    field="run_id",
                )
            await fill_slot(self._engine, slot, snapshot)
        except Exception as error:  # the boundary of a load: its callers get it
            if not isinstance(error, EngineError):
                log.exception("loading failed", extra={"run_id": slot.key.run_id})
            if self._moved(slot):
                return
            self._cache.drop(slot.key)
            if slot.pending:
                self._fail_all(slot, slot.pending.popleft(), error)
            return
        if self._moved(slot):
            return
        slot.busy = False
        self._cache.put(slot)
        if before is not None and slot.run is not before:
            # Who looked at the run meanwhile was shown the older state.
            self._engine.watchers.changed(slot.key)
        self._advance(slot)

    def _moved(self, slot: RunSlot) -> bool:
        """Whether the run came into memory by another way meanwhile; its inputs then wait there."""
        current = self._cache.get(slot.key)
        if current is None or current is slot:
            return False
        current.pending.extend(slot.pending)
        slot.pending.clear()
        self._advance(current)
        return True

    async def _decide_again(self, slot: RunSlot, call: Call, missing: UnknownWorkflowError) -> None:
        try:
            spec = await self._engine.catalog.find(slot.key.namespace, missing.workflow_id, missing.version)
        except EngineError as error:
            self._fail(slot, call, error)
            return
        if spec is None:
            call.known_missing |= {(missing.workflow_id, missing.version)}
        self._again(slot, call)

    async def _decide_at_horizon(self, slot: RunSlot, call: Call) -> None:
        try:
            await self._engine.refresh_horizon()
        except EngineError as error:
            self._fail(slot, call, error)
            return
        call.at_horizon = True
        self._again(slot, call)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def not_older(seq: int, run: RunState) -> None:
    """The source of a call that wants the run at this seq or a later one. Raises: OutdatedError."""
    if run.seq < seq:
        raise OutdatedError(f"run {run.run_id} is at seq {run.seq}, wanted is {seq}")


def _nobody_asked(_result: Outcome | Exception) -> None:
    """Settles a call of the server's own; a failure shows again when the run is asked for."""
