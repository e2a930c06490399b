"""ResumeRun: an answer ends the wait that it names."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import jsonschema.exceptions
import referencing.exceptions

from perdure_server.engine.commands import Reply, ResumeRunCommand
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import AnswerNotAllowedError
from perdure_server.engine.replies import encode_reply, outcome_reply
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.inputs import Resume
from perdure_server.kernel.model import RunState
from perdure_server.kernel.records import RecordKind
from perdure_server.storage.port import RecordQuery

_NOT_NOW = (Reason.RUN_NOT_WAITING, Reason.RUN_ENDED, Reason.WAIT_ENDED)
_ENDINGS = {
    RecordKind.RESUMED,
    RecordKind.EVENT_CONSUMED,
    RecordKind.CHILD_ENDED,
    RecordKind.STEP_COMPLETED,
    RecordKind.CANCEL_REQUESTED,
    RecordKind.CANCELLED,
    RecordKind.FAILED,
}


async def resume_run(engine: Engine, command: ResumeRunCommand) -> Reply:
    """Ends a wait with an answer.

    Raises: Rejection (RUN_NOT_WAITING, WAIT_ENDED, WAIT_NOT_RESUMABLE, WAIT_KEY_MISMATCH,
    WAIT_ID_REQUIRED, ANSWER_NOT_ALLOWED, VARS_TOO_LARGE, RUN_ENDED); AnswerNotAllowedError if the
    answer does not meet the wait's schema.
    """
    event = Resume(command.wait_id, command.any_wait, command.payload, command.wait_key, command.resumed_by)

    def checked(run: RunState) -> Resume:
        wait = run.waiting
        if wait is not None and wait.answer_schema is not None and command.wait_id in (0, wait.wait_id):
            _check_schema(wait.answer_schema.value, command.payload.value)
        return event

    try:
        outcome = await engine.submit(command.key, checked, request=command.request, make_reply=encode_reply)
    except Rejection as rejection:
        if rejection.reason in _NOT_NOW and command.wait_id:
            raise await _tell_who_ended(engine, command, rejection) from rejection
        raise
    return outcome_reply(outcome)


def _check_schema(schema: Any, answer: Any) -> None:
    try:
        jsonschema.validate(answer, schema, cls=jsonschema.Draft202012Validator)
    except jsonschema.exceptions.ValidationError as error:
        where = "/".join(str(part) for part in error.absolute_path)
        raise AnswerNotAllowedError(
            f"the answer does not meet the wait's schema at {where!r}: {error.message[:400]}", field="payload_json"
        ) from error
    except (jsonschema.exceptions.SchemaError, referencing.exceptions.Unresolvable, RecursionError) as error:
        raise AnswerNotAllowedError(
            "the wait's own schema cannot be applied; cancel the run or let the deadline end the wait",
            field="payload_json",
        ) from error


async def _tell_who_ended(engine: Engine, command: ResumeRunCommand, rejection: Rejection) -> Rejection:
    """WAIT_ENDED with who ended it, if the wait that was named is one of the ledger."""
    query = RecordQuery(command.key.namespace, run_id=command.key.run_id, after_seq=command.wait_id - 1, limit=1_000)
    records = await engine.read(engine.store.read_records, query)
    if not records or records[0].seq != command.wait_id or records[0].kind != RecordKind.WAITING:
        return rejection
    ending = next((row for row in records[1:] if RecordKind(row.kind) in _ENDINGS), None)
    if ending is None:
        return rejection
    kind = RecordKind(ending.kind).name.lower()
    body = engine.codec.decode_record(ending.record, ending.payloads).body
    by = getattr(body, "resumed_by", "") or getattr(body, "cancelled_by", "") or getattr(body, "event_id", "")
    return Rejection(
        Reason.WAIT_ENDED,
        f"wait {command.wait_id} has ended: {kind} at seq {ending.seq}" + (f" by {json.dumps(by)}" if by else ""),
        wait_id=str(command.wait_id),
        ended_by=kind,
        ended_seq=str(ending.seq),
        by=by,
    )
