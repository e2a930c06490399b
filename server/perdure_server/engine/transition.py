"""One transition of one run: from an input to its Commit, and from its verdict to memory and wake-ups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from perdure_server.engine import rows
from perdure_server.engine.run_slot import Call, Outcome, RunSlot
from perdure_server.engine.turns import chain_turns, lease_at_birth
from perdure_server.kernel.decide import decide, decide_next
from perdure_server.kernel.decision import (
    NO_OBLIGATIONS,
    Ack,
    Decision,
    Env,
    EventAppend,
    Mail,
    MailKind,
    NewRun,
    Obligations,
    Reason,
    Rejection,
)
from perdure_server.kernel.inputs import ChildEndSeen, Input, Migrate
from perdure_server.kernel.joins import fanout_of
from perdure_server.kernel.model import RunState, WorkflowSpec
from perdure_server.kernel.obligations import obligations
from perdure_server.storage.port import (
    Commit,
    EventRow,
    IdentityChange,
    MailRow,
    RequestRow,
    RunCreate,
    RunHead,
    RunKey,
    StoredRecord,
    Verdict,
    WaitRow,
)

if TYPE_CHECKING:
    from perdure_server.engine.core import Engine


CHILD_BYTES: Final = 160
"""About what a keyframe takes for an open child."""


class HorizonNeededError(LookupError):
    """A decision rests on the horizon, which must be read first: other processes move it, too."""


@dataclass(slots=True)
class NewSlot:
    """A child that the transition creates, ready for memory."""

    run: RunState
    sealed: rows.Sealed
    due: Obligations
    wait_row: WaitRow | None


@dataclass(slots=True)
class Transition:
    """A decided input. `commit` None: nothing changes."""

    run: RunState
    ack: Ack
    commit: Commit | None
    decision: Decision
    sealed: rows.Sealed | None = None
    due: Obligations = NO_OBLIGATIONS
    wait_row: WaitRow | None = None
    new_slots: tuple[NewSlot, ...] = ()
    reply: bytes | None = None
    keyframe: bool = False
    placed_worker: str = ""
    spec: WorkflowSpec | None = None
    """The run's workflow from here on; None: as before."""


def decide_input(engine: Engine, slot: RunSlot, call: Call, event: Input) -> Transition:
    """Decides, chains the server's turns, leases the task at birth, and builds the Commit.

    Raises: Rejection; UnknownWorkflowError if a child's workflow must be loaded first; HorizonNeededError.
    """
    if slot.spec is None:
        raise Rejection(Reason.RUN_NOT_FOUND, "no such run")
    env = engine.event_env(slot.spec, slot.key.namespace, call)
    decision = _decide_joined(slot, call, env) if call.joined else decide(slot.run, event, env)
    placed, spec = "", None
    if isinstance(event, Migrate):
        spec, env = event.target, replace(env, spec=event.target)
    for victim in call.victims:
        decision.mail.append(Mail(victim, MailKind.SUPERSEDE, slot.key.run_id))
    if decision.records:
        chain_turns(decision, env)
        if engine.shared and not call.at_horizon and _sets_floor(slot.run, decision):
            raise HorizonNeededError
        placed = lease_at_birth(decision, env, engine.placement)
    request = _request_row(engine, call, decision.run)
    if not (decision.records or decision.events or call.mail) and request is None:
        return Transition(decision.run, decision.ack, None, decision)
    try:
        work = _prepare(engine, slot, decision, call, request)
    except BaseException:
        if placed:
            engine.placement.unplace(slot.key.namespace, placed)
        raise
    work.placed_worker, work.spec = placed, spec
    return work


def consume_mail(slot: RunSlot, call: Call) -> Commit:
    """A Commit that only deletes messages which the run does not take."""
    if slot.run is None:
        raise ValueError("mail for a run that is not loaded")
    head = rows.head_row(slot.run, slot.head_hash, slot.wait_row)
    return Commit(slot.key.namespace, slot.key, expected_seq=slot.run.seq, head=head, mail_consumed=call.all_mail)


def plain_outcome(slot: RunSlot) -> Outcome:
    """The answer to a call that only wants the state."""
    if slot.run is None:
        raise ValueError("the run is not loaded")
    return Outcome(slot.run, Ack.ACCEPTED)


def run_exists(key: RunKey) -> Rejection:
    """A new run's id is taken."""
    return Rejection(
        Reason.RUN_EXISTS, f"run id {key.run_id!r} is taken; a run id names one ledger for ever", field="run_id"
    )


def no_run(key: RunKey) -> RunState:
    """Stands for a run that a replayed reply speaks of and that is not in memory."""
    return RunState(key.namespace, key.run_id, key.run_id, "", "", "")


def apply_committed(
    engine: Engine, slot: RunSlot, work: Transition, verdict: Verdict, keep: Callable[[RunSlot], None]
) -> None:
    """Takes a committed transition into memory, then wakes whoever waits for it."""
    before = slot.run
    stored: list[StoredRecord] = []
    count = 0
    if work.sealed is not None:
        count = len(work.sealed.rows)
        stored += rows.stored_records(work.run, work.sealed, verdict.positions[:count])
        _advance_slot(slot, work)
    for new in work.new_slots:
        size = len(new.sealed.rows)
        stored += rows.stored_records(new.run, new.sealed, verdict.positions[count : count + size])
        count += size
        keep(_slot_of(engine, new))
    engine.counters["records"] += len(stored)
    for record in stored:
        engine.measures.record_kinds[record.kind] += 1
    keep(slot)
    _wake(engine, slot, before, work, stored)


def _decide_joined(slot: RunSlot, call: Call, env: Env) -> Decision:
    """Decides the ends of several children, one after another, for one commit.

    Each costs its own records only: a commit for each would cost the run's head, its rows and a place in a
    transaction ten thousand times.

    Raises: Rejection if the run takes none of them.
    """
    decision: Decision | None = None
    for each in (call, *call.joined):
        each.rejection = None
        if not isinstance(each.event, ChildEndSeen):
            raise TypeError(f"{type(each.event).__name__} is not taken with others")
        try:
            if decision is None:
                decision = decide(slot.run, each.event, env)
            else:
                decide_next(decision, each.event, env)
        except Rejection as rejection:  # before it added anything: `decision` is as it was
            each.rejection = rejection
    if decision is None:
        raise call.rejection or ValueError("nothing was decided")
    return decision


def _sets_floor(before: RunState | None, decision: Decision) -> bool:
    """Whether the decision says from which event on a run listens: for new runs, or a new wait."""
    if before is None or decision.new_runs:
        return True
    wait = decision.run.waiting
    if wait is None or not wait.event_name:
        return False
    return before.waiting is None or before.waiting.wait_id != wait.wait_id


def _prepare(engine: Engine, slot: RunSlot, decision: Decision, call: Call, request: RequestRow | None) -> Transition:
    run, codec = decision.run, engine.codec
    due = obligations(run)
    wait = _wait_row(engine, slot, run)
    sealed = rows.seal(codec, run, decision.records, slot.head_hash)
    head = rows.head_row(run, sealed.head_hash, wait)
    lease_now, lease_us = engine.lease_now(), engine.limits.lease_us
    change = rows.change_rows(run, slot.due, due, lease_now, lease_us)
    change.slot_asked = rows.slot_asked(run, decision.records)
    identity = _identity_change(slot.run, run)
    if identity is not None and due.task is not None:
        change = replace(change, task_set=True, task=rows.task_row(run, due.task, lease_now, lease_us))
    new_slots = tuple(_new_slot(engine, new) for new in decision.new_runs)
    creates = tuple(_create(engine, new) for new in new_slots)
    keyframe = None
    if slot.run is None:
        own = RunCreate(rows.identity_row(run), head, sealed.rows, change)
        creates = (own, *creates)
    elif _keyframe_due(engine, slot, run, sealed):
        keyframe = codec.encode_state(run)
    commit = Commit(
        namespace=slot.key.namespace,
        key=slot.key if slot.run is not None else None,
        expected_seq=slot.run.seq if slot.run is not None else 0,
        head=head if slot.run is not None else None,
        identity=identity,
        records=sealed.rows if slot.run is not None else (),
        keyframe=keyframe,
        change=change if slot.run is not None else _NOTHING,
        new_runs=creates,
        mail=tuple(MailRow(mail.to_run_id, mail.kind.value, mail.from_run_id) for mail in decision.mail),
        mail_consumed=call.all_mail,
        events=tuple(event_row(event) for event in decision.events),
        request=request,
        schedule=call.schedule,
    )
    return Transition(
        run,
        decision.ack,
        commit,
        decision,
        sealed,
        due,
        wait,
        new_slots,
        reply=request.reply if request else None,
        keyframe=keyframe is not None,
    )


_NOTHING = Commit("").change


def _identity_change(before: RunState | None, run: RunState) -> IdentityChange | None:
    """What the transition changes of a known run's identity, which its task's row repeats."""
    if before is None:
        return None
    if (before.workflow_version, before.deadline_at) == (run.workflow_version, run.deadline_at):
        return None
    return IdentityChange(run.workflow_version, run.deadline_at)


def event_row(event: EventAppend) -> EventRow:
    """An event as the log holds it."""
    return EventRow(
        scope=int(event.scope),
        scope_id=event.scope_id,
        name=event.name,
        event_id=event.event_id,
        payload=event.payload.data,
        at=event.at,
        run_id=event.run_id,
        workflow_id=event.workflow_id,
        node_id=event.node_id,
        session_id=event.session_id,
        emitted_by=event.emitted_by,
    )


def _request_row(engine: Engine, call: Call, run: RunState) -> RequestRow | None:
    request = call.request
    if request is None or call.make_reply is None:
        return None
    return RequestRow(request.method, request.request_id, request.body_hash, call.make_reply(run), engine.clock.now())


def _wait_row(engine: Engine, slot: RunSlot, run: RunState) -> WaitRow | None:
    known = slot.wait_row
    if known is not None and slot.run is not None and run.waiting is slot.run.waiting and run.join is None:
        return known
    return rows.wait_row(engine.codec, run.waiting)


def _keyframe_due(engine: Engine, slot: RunSlot, run: RunState, sealed: rows.Sealed) -> bool:
    records = slot.since_records + len(sealed.rows)
    return records > engine.limits.keyframe_records and slot.since_bytes + sealed.size > _state_bytes(run)


def _state_bytes(run: RunState) -> int:
    """About what a run's state takes: its vars, and what it may hold thousands of."""
    size = run.vars_bytes + CHILD_BYTES * len(run.children)
    if run.join is not None:
        items = fanout_of(run).items
        size += run.join.size + (items.size if items is not None else 0)
    return size


def _new_slot(engine: Engine, new: NewRun) -> NewSlot:
    sealed = rows.seal(engine.codec, new.run, new.records, b"")
    return NewSlot(new.run, sealed, obligations(new.run), rows.wait_row(engine.codec, new.run.waiting))


def _create(engine: Engine, new: NewSlot) -> RunCreate:
    head: RunHead = rows.head_row(new.run, new.sealed.head_hash, new.wait_row)
    change = rows.change_rows(new.run, NO_OBLIGATIONS, new.due, engine.lease_now(), engine.limits.lease_us)
    return RunCreate(rows.identity_row(new.run), head, new.sealed.rows, change)


def _advance_slot(slot: RunSlot, work: Transition) -> None:
    sealed = work.sealed
    if sealed is None:
        return
    slot.run = work.run
    slot.spec = work.spec or slot.spec
    slot.head_hash = sealed.head_hash
    slot.due = work.due
    slot.wait_row = work.wait_row
    slot.since_records = 0 if work.keyframe else slot.since_records + len(sealed.rows)
    slot.since_bytes = 0 if work.keyframe else slot.since_bytes + sealed.size


def _slot_of(engine: Engine, new: NewSlot) -> RunSlot:
    slot = RunSlot(RunKey(new.run.namespace, new.run.run_id))
    slot.run = new.run
    slot.spec = engine.catalog.peek(new.run.namespace, new.run.workflow_id, new.run.workflow_version)
    slot.head_hash = new.sealed.head_hash
    slot.due = new.due
    slot.wait_row = new.wait_row
    slot.since_records = len(new.sealed.rows)
    slot.since_bytes = new.sealed.size
    return slot


def _wake(engine: Engine, slot: RunSlot, before: RunState | None, work: Transition, stored: list[StoredRecord]) -> None:
    wakeups, run = engine.wakeups, work.run
    if stored:
        wakeups.records_committed(stored)
    _wake_run(engine, before, run, work.due)
    if rows.newly_leased(before.step if before else None, run, work.due):
        engine.placement.deliver(run)
    for new in work.new_slots:
        _wake_run(engine, None, new.run, new.due)
    if work.decision.events:
        wakeups.events_appended(slot.key.namespace, work.decision.events)
    if work.decision.mail:
        wakeups.mail_sent(slot.key.namespace, work.decision.mail)


def _wake_run(engine: Engine, before: RunState | None, run: RunState, due: Obligations) -> None:
    wakeups, key = engine.wakeups, RunKey(run.namespace, run.run_id)
    wakeups.run_changed(before, run)
    engine.watchers.changed(key)
    if due.task is not None and not due.task.leased and not due.task.held:
        wakeups.task_ready(run, due.task)
    if due.turn is False:
        engine.run_turns(key)
    if due.timers:
        wakeups.timer_armed(min(due.timers.values()))
    wait = run.waiting
    if wait is not None and wait.event_name and (before is None or before.waiting != wait):
        wakeups.wait_registered(run)
