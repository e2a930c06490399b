"""RetryRun: a failed run goes on at the step it failed at, with the same visit and the same key."""

from __future__ import annotations

from perdure_server.kernel import model as m
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.draft import Draft, node_entry
from perdure_server.kernel.inputs import Retry
from perdure_server.kernel.records import Reopened
from perdure_server.kernel.values import dump_json
from perdure_server.kernel.vars import VarsError, apply_ops, ops_size


def retry(draft: Draft, event: Retry) -> None:
    """Opens a failed run at its failed step.

    An irreversible effect that had begun is parked IN_DOUBT instead of being handed out: whatever its failure
    said, it may have been executed.

    Raises: Rejection RUN_NOT_FAILED, DEADLINE_PASSED, EFFECT_IN_DOUBT, INVALID_FIELD, PAYLOAD_TOO_LARGE,
    VARS_TOO_LARGE.
    """
    run, failed = draft.run, draft.run.failed_step
    if run.status is not m.RunStatus.FAILED or failed is None:
        raise not_failed(run)
    deadline_at = event.deadline_at or run.deadline_at
    if 0 < deadline_at <= draft.env.now:
        raise Rejection(
            Reason.DEADLINE_PASSED,
            "the run's deadline has passed: name a deadline that is to come",
            field="deadline",
        )
    in_doubt = _in_doubt(failed)
    if in_doubt and event.from_node:
        raise Rejection(
            Reason.EFFECT_IN_DOUBT,
            "the effect may have been executed: retry it without from_node, then resolve its parked step",
            field="from_node",
        )
    keeps_effect = failed.effect is not None and not event.from_node
    if keeps_effect:
        _check_wait_deadline(draft, failed)
    _check_ops(draft, event.vars_ops)
    draft.add(
        Reopened(
            entry=None if keeps_effect else node_entry(draft.node(failed.node_id), failed.visit),
            vars_ops=event.vars_ops,
            deadline_at=deadline_at,
            paused=event.paused,
            in_doubt=in_doubt,
            retried_by=event.retried_by,
        )
    )


def not_failed(run: m.RunState) -> Rejection:
    """RetryRun on a run that is under way, completed or cancelled."""
    return Rejection(
        Reason.RUN_NOT_FAILED,
        f"the run is {run.status.name.lower()}; only a failed run is retried",
        status=run.status.name,
    )


def _in_doubt(step: m.Step) -> bool:
    return step.begun and step.effect is not None and step.effect.risk is m.Risk.IRREVERSIBLE


def _check_wait_deadline(draft: Draft, failed: m.Step) -> None:
    """An effect that asks for a wait with a fixed deadline would fail again at once when that has passed."""
    request = failed.effect.request if failed.effect is not None else None
    if isinstance(request, m.WaitEvent | m.AskUser) and 0 < request.terms.deadline_at <= draft.env.now:
        raise Rejection(
            Reason.DEADLINE_PASSED,
            "the deadline that the plan gave its wait has passed: retry with from_node, for a new plan",
            field="from_node",
        )


def _check_ops(draft: Draft, ops: tuple[m.VarsOp, ...]) -> None:
    if not ops:
        return
    limits = draft.env.limits
    if sum(op.value.size for op in ops if op.value is not None) > limits.record_payload_bytes:
        raise Rejection(
            Reason.PAYLOAD_TOO_LARGE,
            f"the values are over {limits.record_payload_bytes} bytes together",
            field="vars_ops",
        )
    try:
        after = apply_ops(draft.run.vars, ops)
    except VarsError as error:
        raise Rejection(Reason.INVALID_FIELD, str(error), field="vars_ops") from error
    if draft.run.vars_bytes + ops_size(ops) > limits.vars_bytes and len(dump_json(after)) > limits.vars_bytes:
        raise Rejection(Reason.VARS_TOO_LARGE, f"vars would be over {limits.vars_bytes} bytes", field="vars_ops")
