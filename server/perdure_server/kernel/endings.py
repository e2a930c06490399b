"""How attempts, steps and runs end."""

from __future__ import annotations

import math

from perdure_server.kernel.draft import Draft
from perdure_server.kernel.evolve import error_object
from perdure_server.kernel.model import NO_RETRY, Failure, RetryPolicy, Step, StepFailure
from perdure_server.kernel.records import Cancelled, Completed, Failed, StepCompleted, StepStatus
from perdure_server.kernel.values import Leaf, dump_json
from perdure_server.kernel.vars import key_size, key_tokens, set_at

ERROR_KEY = "_error"
BAD_PLAN = "BAD_PLAN"
VARS_TOO_LARGE = "VARS_TOO_LARGE"
PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"


def success_output(result: Leaf | None) -> Leaf:
    """The output of a run that ends with an effect's result: {"success":true,"result":...}."""
    data = result.data if result is not None else b"null"
    return Leaf(b'{"success":true,"result":' + data + b"}")


def end_completed(draft: Draft, output: Leaf) -> None:
    """Ends the run with an output (cancelled, keeping it, on a cancel's path)."""
    run = draft.run
    if run.cancelling:
        draft.add(Cancelled(run.cancel_reason, output=output))
    else:
        draft.add(Completed(output))
    draft.tell_parent()


def end_failed(draft: Draft, failure: Failure) -> None:
    """Ends the run with an error (cancelled, keeping it, on a cancel's path)."""
    run = draft.run
    if run.cancelling:
        draft.add(Cancelled(run.cancel_reason, failure=failure))
    else:
        draft.add(Failed(failure))
    draft.tell_parent()


def deadline_passed() -> Failure:
    """The error of a run whose deadline has passed."""
    return Failure("RUN_DEADLINE", "the run's deadline has passed")


def fits(draft: Draft, result_key: str, value: Leaf | None) -> bool:
    """Whether the run's vars stay within their limit when `value` is stored at `result_key`."""
    if not result_key or value is None or value.data == b"null":
        return True
    run, limit = draft.run, draft.env.limits.vars_bytes
    if run.vars_bytes + key_size(result_key, value) <= limit:
        return True
    after = set_at(run.vars, key_tokens(result_key), value.value)
    return len(dump_json(after)) <= limit


def fail_attempt(draft: Draft, report: StepFailure, *, final: bool = False) -> None:
    """One more failure of the open step: another attempt later, its on_error_node, or the run's end."""
    step, failure = draft.step, report.failure
    policy = retry_policy(draft, step)
    failures = step.failures + 1
    retry = (
        not final
        and failure.retryable
        and failures < policy.max_attempts
        and failure.type not in policy.non_retryable_types
    )
    if retry:
        delay = backoff_us(policy, failures) if report.retry_after_us is None else report.retry_after_us
        body = StepCompleted(_effect_type(step), failure=failure, retry_at=draft.env.now + delay)
        draft.add(body, StepStatus.FAILED)
        return
    _give_up(draft, step, failure, failures)


def fail_plan(draft: Draft, failure: Failure) -> None:
    """The step's plan cannot be carried out: the run fails, whatever its retry policy."""
    draft.add(StepCompleted(_effect_type(draft.step), failure=failure), StepStatus.FAILED)
    end_failed(draft, failure)


def retry_policy(draft: Draft, step: Step) -> RetryPolicy:
    """The policy that counts the step's failures."""
    if step.effect is not None:
        return step.effect.retry
    return draft.node(step.node_id).retry or NO_RETRY


def backoff_us(policy: RetryPolicy, failures: int) -> int:
    """min(initial * coefficient^(failures-1), max), in microseconds."""
    if policy.initial_interval_us <= 0:
        return 0
    exponent = (failures - 1) * math.log(policy.backoff_coefficient) if policy.backoff_coefficient > 1 else 0.0
    if exponent + math.log(policy.initial_interval_us) >= math.log(max(policy.max_interval_us, 1)):
        return policy.max_interval_us
    return min(round(policy.initial_interval_us * math.exp(exponent)), policy.max_interval_us)


def _give_up(draft: Draft, step: Step, failure: Failure, failures: int) -> None:
    effect = step.effect
    node = draft.node(step.node_id)
    on_error = effect.on_error_node if effect else node.on_error_node
    own_key = node.result_key if step.server_side else ""
    error_key = (effect.result_key if effect else own_key) or ERROR_KEY
    if on_error and fits(draft, error_key, Leaf.of(error_object(failure))):
        body = StepCompleted(_effect_type(step), failure=failure, error_key=error_key, next=draft.entry(on_error))
        draft.add(body, StepStatus.FAILED)
        return
    draft.add(StepCompleted(_effect_type(step), failure=failure), StepStatus.FAILED)
    subject = "Effect" if effect else f"Node '{step.node_id}'"
    message = f"{subject} failed after {failures} attempts: {failure.message or failure.type}"
    message = message[: draft.env.limits.message_chars]
    end_failed(draft, Failure(failure.type, message, failure.retryable, failure.details))


def _effect_type(step: Step) -> str:
    return step.effect.type if step.effect else ""
