"""What people do to schedules: create, update, delete, pause, trigger, backfill. Each is one guarded commit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from perdure_server.engine.commands import RequestId
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import (
    ConflictError,
    InvalidFieldError,
    LimitReachedError,
    ScheduleChangedError,
    ScheduleExistsError,
    ScheduleNotFoundError,
    WorkflowNotFoundError,
)
from perdure_server.engine.requests import check_request
from perdure_server.engine.schedule_firing import MAX_TRIES, carry_out, prune, require_kept, schedule_row
from perdure_server.kernel.schedules import Overlap, Schedule, ScheduleSpec
from perdure_server.storage.port import Commit, RequestRow, ScheduleWrite, VerdictKind
from perdure_server.timetable import moves

Kept = dict[str, Any]
"""What a request id keeps of a reply: the schedule's id, and what only this call could tell."""

RETRY_US: Final = 100_000


async def load_schedule(engine: Engine, namespace: str, schedule_id: str) -> Schedule:
    """A schedule as it stands. Raises: ScheduleNotFoundError."""
    row = await engine.read(engine.store.find_schedule, namespace, schedule_id)
    if row is None:
        raise ScheduleNotFoundError(
            f"no schedule {schedule_id!r} in namespace {namespace!r}", field="schedule_id", schedule_id=schedule_id
        )
    return engine.codec.decode_schedule(row.detail)


async def create_schedule(
    engine: Engine,
    namespace: str,
    schedule_id: str,
    spec: ScheduleSpec,
    *,
    paused: bool,
    note: str,
    request: RequestId | None,
) -> Kept:
    """Creates a schedule. Raises: ScheduleExistsError, LimitReachedError, WorkflowNotFoundError, EngineError."""
    if (kept := await _replied(engine, namespace, request)) is not None:
        return kept
    await _require_workflow(engine, namespace, spec)
    most = engine.limits.schedules
    if len(await engine.read(engine.store.list_schedules, namespace, "", most)) >= most:
        raise LimitReachedError(f"a namespace has at most {most} schedules; delete some")
    made = moves.created(namespace, schedule_id, spec, engine.clock.now(), paused=paused, note=note)
    try:
        return await _commit(engine, made, 0, request, {"schedule_id": schedule_id})
    except ScheduleChangedError as error:
        raise ScheduleExistsError(
            f"schedule {schedule_id!r} exists; update it", field="schedule_id", schedule_id=schedule_id
        ) from error


async def update_schedule(
    engine: Engine, namespace: str, schedule_id: str, spec: ScheduleSpec, revision: int, request: RequestId | None
) -> Kept:
    """Another spec. Raises: ScheduleNotFoundError, ScheduleChangedError, WorkflowNotFoundError, EngineError."""
    if (kept := await _replied(engine, namespace, request)) is not None:
        return kept
    await _require_workflow(engine, namespace, spec)
    now = engine.clock.now()
    return await _change(
        engine, namespace, schedule_id, lambda schedule: moves.changed(schedule, spec, now), request, revision
    )


async def pause_schedule(
    engine: Engine, namespace: str, schedule_id: str, note: str, request: RequestId | None, *, paused: bool
) -> Kept:
    """Pauses or unpauses. Raises: ScheduleNotFoundError, EngineError."""
    now = engine.clock.now()
    return await _change(
        engine, namespace, schedule_id, lambda schedule: moves.with_pause(schedule, paused, note, now), request
    )


async def backfill_schedule(
    engine: Engine,
    namespace: str,
    schedule_id: str,
    span: tuple[int, int],
    overlap: Overlap | None,
    request: RequestId | None,
) -> Kept:
    """Lets the instants of a span wait. Raises: LimitReachedError, InvalidFieldError, ScheduleNotFoundError."""
    now, most = engine.clock.now(), engine.limits.backfill_instants
    start, end = span
    if end > now:
        raise InvalidFieldError("end: must not be in the future, whose instants come by themselves", field="end")

    def change(schedule: Schedule) -> Schedule:
        made = moves.backfilled(schedule, start, end, overlap or schedule.spec.overlap, most, now)
        if made is None:
            raise LimitReachedError(f"more than {most} instants would wait; backfill a shorter span", field="end")
        return made

    return await _change(engine, namespace, schedule_id, change, request, told=_waiting)


async def trigger_schedule(
    engine: Engine, namespace: str, schedule_id: str, overlap: Overlap | None, request: RequestId | None
) -> Kept:
    """An instant now, also while paused. Raises: ScheduleNotFoundError, EngineError; Rejection as StartRun."""
    for _ in range(MAX_TRIES):
        if (kept := await _replied(engine, namespace, request)) is not None:
            return kept
        schedule = await prune(engine, await load_schedule(engine, namespace, schedule_id))
        policy = overlap or schedule.spec.overlap
        move = moves.asked_now(schedule, policy, engine.clock.now(), engine.limits)
        try:
            if move.at is not None:
                run_id = await carry_out(engine, schedule, move, request)
                return {"schedule_id": schedule_id, "outcome": "started", "run_id": run_id}
            outcome = "waiting" if len(move.schedule.pending) > len(schedule.pending) else "skipped"
            told = {"schedule_id": schedule_id, "outcome": outcome, "run_id": ""}
            return await _commit(engine, move.schedule, schedule.version, request, told)
        except ScheduleChangedError:
            continue
    raise _conflict(schedule_id)


async def delete_schedule(engine: Engine, namespace: str, schedule_id: str, request: RequestId | None) -> Kept:
    """Deletes a schedule; its runs go on. Raises: ScheduleNotFoundError, EngineError."""
    for _ in range(MAX_TRIES):
        if (kept := await _replied(engine, namespace, request)) is not None:
            return kept
        schedule = await load_schedule(engine, namespace, schedule_id)
        change = ScheduleWrite(schedule_id, schedule.version, None)
        try:
            return await _write(engine, namespace, change, request, {"schedule_id": schedule_id})
        except ScheduleChangedError:
            continue
    raise _conflict(schedule_id)


async def _replied(engine: Engine, namespace: str, request: RequestId | None) -> Kept | None:
    """What a call with this request id was answered; looked at before anything that may have changed since."""
    kept = await engine.find_request(namespace, request) if request is not None else None
    return None if kept is None else json.loads(kept)


async def _require_workflow(engine: Engine, namespace: str, spec: ScheduleSpec) -> None:
    try:
        await engine.catalog.get(namespace, spec.start.workflow_id, spec.start.workflow_version)
    except WorkflowNotFoundError as error:
        raise WorkflowNotFoundError(error.message, f"spec.start.{error.field}", 0, **error.metadata) from error


def _waiting(before: Schedule, after: Schedule) -> Kept:
    return {"instants": len(after.pending) - len(before.pending)}


def _nothing(_before: Schedule, _after: Schedule) -> Kept:
    return {}


async def _change(
    engine: Engine,
    namespace: str,
    schedule_id: str,
    change: Callable[[Schedule], Schedule],
    request: RequestId | None,
    revision: int = 0,
    told: Callable[[Schedule, Schedule], Kept] = _nothing,
) -> Kept:
    for _ in range(MAX_TRIES):
        if (kept := await _replied(engine, namespace, request)) is not None:
            return kept
        schedule = await load_schedule(engine, namespace, schedule_id)
        if revision and revision != schedule.revision:
            raise ScheduleChangedError(
                f"schedule {schedule_id!r} is at revision {schedule.revision}, not {revision}; read it again",
                field="revision",
                revision=str(schedule.revision),
                schedule_id=schedule_id,
            )
        after = change(schedule)
        try:
            reply = {"schedule_id": schedule_id, **told(schedule, after)}
            return await _commit(engine, after, schedule.version, request, reply)
        except ScheduleChangedError:
            continue
    raise _conflict(schedule_id)


async def _commit(engine: Engine, schedule: Schedule, expected: int, request: RequestId | None, reply: Kept) -> Kept:
    change = ScheduleWrite(schedule.schedule_id, expected, schedule_row(engine, schedule))
    return await _write(engine, schedule.namespace, change, request, reply)


async def _write(engine: Engine, namespace: str, change: ScheduleWrite, request: RequestId | None, reply: Kept) -> Kept:
    row = None
    if request is not None:
        kept = json.dumps(reply).encode()
        row = RequestRow(request.method, request.request_id, request.body_hash, kept, engine.clock.now())
    verdict = await engine.commit(Commit(namespace, schedule=change, request=row))
    if verdict.kind is VerdictKind.REQUEST_KNOWN and verdict.request is not None and request is not None:
        return json.loads(check_request(verdict.request, request))
    require_kept(verdict, change.schedule_id)
    if change.row is not None and change.row.next_at:
        engine.wakeups.schedule_armed(change.row.next_at)
    return reply


def _conflict(schedule_id: str) -> ConflictError:
    message = f"others changed schedule {schedule_id!r} at the same time, repeatedly; try again"
    return ConflictError(message, retry_after_us=RETRY_US)
