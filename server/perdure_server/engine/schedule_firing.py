"""Firing: one commit starts the run of an instant and advances its schedule, guarded by the schedule's version.

So an instant has one run whatever dies or runs twice: whoever commits second finds the schedule changed. The run's id
is made of the schedule's and the instant's, which also makes a backfill of an instant that had its run harmless.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from perdure_server.engine.commands import RequestId
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import (
    EngineError,
    RunNotFoundError,
    ScheduleChangedError,
    WorkflowNotFoundError,
)
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.inputs import StartRun
from perdure_server.kernel.instants import format_instant
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import RunState
from perdure_server.kernel.schedules import INSTANT_LABEL, SCHEDULE_LABEL, Overlap, Schedule
from perdure_server.storage.port import Commit, RunKey, ScheduleRow, ScheduleWrite, Verdict, VerdictKind
from perdure_server.timetable import moves
from perdure_server.timetable.moves import Move

MAX_TRIES: Final = 8
NEVER: Final = 2**63 - 1


def schedule_row(engine: Engine, schedule: Schedule) -> ScheduleRow:
    """The row of a schedule."""
    detail = engine.codec.encode_schedule(schedule)
    return ScheduleRow(schedule.schedule_id, schedule.version, schedule.wake_at, schedule.created_at, detail)


def require_kept(verdict: Verdict, schedule_id: str) -> None:
    """Raises: ScheduleChangedError; EngineError if the store refused the commit for another reason."""
    if verdict.kind is VerdictKind.SCHEDULE_CHANGED:
        raise ScheduleChangedError(f"others changed schedule {schedule_id!r} at the same time")
    if verdict.kind is not VerdictKind.COMMITTED:
        raise EngineError(f"schedule {schedule_id!r} cannot be kept: {verdict.error}")


async def advance_schedule(engine: Engine, namespace: str, schedule_id: str) -> int:
    """Makes one move.

    Returns: 0 if there was one to make; NEVER if nothing is due; else, an instant waits for a run to end, when the
    next one comes.

    Raises: ScheduleChangedError if another process made it at the same time; EngineError.
    """
    row = await engine.read(engine.store.find_schedule, namespace, schedule_id)
    if row is None:
        return NEVER
    schedule = await prune(engine, engine.codec.decode_schedule(row.detail))
    now = engine.clock.now()
    move = moves.next_move(schedule, now, engine.limits)
    if move is None:
        coming = schedule.due_at if schedule.due_at > now and not schedule.paused else NEVER - 1
        return coming if schedule.pending else NEVER
    if move.at is None:
        await _save(engine, schedule, move.schedule)
        return 0
    try:
        await carry_out(engine, schedule, move)
    except Rejection as rejection:
        if rejection.reason is Reason.RUN_EXISTS:
            await _save(engine, schedule, moves.passed(move, now))
        else:
            await _refuse(engine, schedule, move, rejection.reason.value, rejection.message)
    except WorkflowNotFoundError as error:
        await _refuse(engine, schedule, move, error.reason, error.message)
    return 0


async def carry_out(engine: Engine, schedule: Schedule, move: Move, request: RequestId | None = None) -> str:
    """Starts the run of a move, and advances the schedule with it; returns the run's id.

    Args:
        schedule: as it was when the move was made.

    Raises: ScheduleChangedError; Rejection and EngineError as StartRun.
    """
    start, at, now = schedule.spec.start, move.at or 0, engine.clock.now()
    spec = await engine.catalog.get(schedule.namespace, start.workflow_id, start.workflow_version)
    run_id = _run_id(schedule.schedule_id, at)
    event = StartRun(
        namespace=schedule.namespace,
        run_id=run_id,
        vars=start.vars,
        actor_id=start.actor_id,
        session_id=start.session_id,
        labels={**start.labels, SCHEDULE_LABEL: schedule.schedule_id, INSTANT_LABEL: format_instant(at)},
        deadline_at=now + start.deadline_us if start.deadline_us else 0,
        concurrency=start.concurrency,
    )
    after = moves.started(move, run_id, now)
    change = ScheduleWrite(schedule.schedule_id, schedule.version, schedule_row(engine, after))
    told = {"schedule_id": schedule.schedule_id, "outcome": "started", "run_id": run_id}

    def make_reply(_run: RunState) -> bytes:
        return json.dumps(told).encode()

    outcome = await engine.start(
        event, spec, request=request, make_reply=make_reply, schedule=change, victims=move.cancels
    )
    engine.counters["schedule_starts"] += 1
    if after.wake_at:
        engine.wakeups.schedule_armed(after.wake_at)
    if outcome.replayed and outcome.reply is not None:
        return json.loads(outcome.reply)["run_id"]
    return run_id


async def prune(engine: Engine, schedule: Schedule) -> Schedule:
    """The schedule without those of its runs that have ended; the version is the stored one."""
    if schedule.spec.overlap is Overlap.ALLOW_ALL and not schedule.pending:
        return schedule
    running: list[str] = []
    for run_id in schedule.running:
        try:
            if not (await engine.load(RunKey(schedule.namespace, run_id))).ended:
                running.append(run_id)
        except RunNotFoundError:
            continue
    return moves.with_running(schedule, tuple(running))


async def _refuse(engine: Engine, schedule: Schedule, move: Move, reason: str, message: str) -> None:
    engine.counters["schedule_refusals"] += 1
    await _save(engine, schedule, moves.refused(move, f"{reason}: {message}"[:1_000], engine.clock.now()))


async def _save(engine: Engine, before: Schedule, after: Schedule) -> None:
    change = ScheduleWrite(before.schedule_id, before.version, schedule_row(engine, after))
    verdict = await engine.commit(Commit(before.namespace, schedule=change))
    require_kept(verdict, before.schedule_id)


def _run_id(schedule_id: str, at: int) -> str:
    """The id of an instant's run: the schedule's, and the instant to the second, or to the microsecond."""
    moment = datetime.fromtimestamp(at // SECOND_US, tz=UTC).strftime("%Y%m%dT%H%M%S")
    rest = at % SECOND_US
    return f"{schedule_id}:{moment}.{rest:06d}Z" if rest else f"{schedule_id}:{moment}Z"
