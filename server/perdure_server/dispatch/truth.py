"""What the ledger knows of an attempt's report, for tokens that their run does not take (any more)."""

from __future__ import annotations

from typing import Final

from perdure_server.dispatch.messages import TaskToken
from perdure_server.engine.core import Engine
from perdure_server.kernel.records import (
    Record,
    RecordKind,
    RequeueCause,
    Requeued,
    StepCompleted,
    Unparked,
    Waiting,
)
from perdure_server.kernel.values import Json
from perdure_server.storage.port import RecordQuery

PAGE: Final = 100

_TELLING: Final = (
    RecordKind.STEP_COMPLETED,
    RecordKind.WAITING,
    RecordKind.REQUEUED,
    RecordKind.UNPARKED,
)
_TIMEOUTS: Final = ("schedule_to_start", "start_to_close", "heartbeat")


async def was_reported(engine: Engine, token: TaskToken) -> bool:
    """Whether a report of this attempt was committed: its step was completed, waited or gave back by it.

    Not so if a timeout or somebody's decision about the parked step came instead. Reads the records after
    the one that made the step due, page by page, up to the next step.

    Raises: StoreUnavailableError.
    """
    after_seq = token.step_id
    while True:
        query = RecordQuery(
            token.namespace,
            run_id=token.run_id,
            kinds=tuple(int(kind) for kind in _TELLING),
            after_seq=after_seq,
            limit=PAGE,
        )
        rows = await engine.read(engine.store.read_records, query)
        for row in rows:
            record = engine.codec.decode_record(row.record, row.payloads)
            if record.step_id > token.step_id:
                return False
            if (record.step_id, record.attempt) == (token.step_id, token.attempt):
                told = _by_report(record)
                if told is not None:
                    return told
            after_seq = row.seq
        if not rows:
            return False


def _by_report(record: Record) -> bool | None:
    """Whether a report of the record's attempt made it; None if it tells nothing about that."""
    body = record.body
    if isinstance(body, Unparked):
        return False
    if isinstance(body, Requeued):
        return True if body.cause is RequeueCause.RELEASED else None
    if isinstance(body, StepCompleted):
        return not _timed_out(body)
    return isinstance(body, Waiting)


def _timed_out(body: StepCompleted) -> bool:
    failure = body.failure
    if failure is None or failure.type != "TIMEOUT" or failure.details is None:
        return False
    details: Json = failure.details.value
    return isinstance(details, dict) and details.get("timeout") in _TIMEOUTS
