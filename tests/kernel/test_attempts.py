"""Attempts: failures and their retries, lapses, timeouts, releases, begins, parking and ResolveStep."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decision import Ack, Reason
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import (
    Parked,
    RequeueCause,
    Requeued,
    Resolution,
    StepCompleted,
    StepStarted,
    StepStatus,
)
from tests.kernel.ledgers import AT
from tests.kernel.scene import RETRY, Scene, custom, failure, leaf, workflow

S = SECOND_US


def retrying(policy: m.RetryPolicy, **fields: Any) -> Scene:
    """A leased effect under a policy."""
    return Scene(workflow("a", "b", "oops")).start().open(custom("out", retry=policy, **fields))


def delays(policy: m.RetryPolicy) -> list[int]:
    """The delays of all retries until the effect is given up, in microseconds."""
    scene = retrying(policy)
    found: list[int] = []
    while True:
        scene.settle(failure())
        if scene.run.ended:
            return found
        assert scene.where == "BACKOFF a"
        found.append(scene.due_at(TimerKind.RETRY) - scene.now)
        scene.fire(TimerKind.RETRY)
        scene.lease()


def test_delays_double_from_one_second_up_to_a_minute() -> None:
    policy = m.RetryPolicy(max_attempts=9)
    assert delays(policy) == [1 * S, 2 * S, 4 * S, 8 * S, 16 * S, 32 * S, 60 * S, 60 * S]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (m.RetryPolicy(4, 3 * S, 1.0, 60 * S), [3 * S] * 3),
        (m.RetryPolicy(4, 2 * S, 1.5, 60 * S), [2 * S, 3 * S, 4_500_000]),
        (m.RetryPolicy(4, 90 * S, 2.0, 60 * S), [60 * S] * 3),
        (m.RetryPolicy(3, 0, 2.0, 60 * S), [0, 0]),
        (m.RetryPolicy(3, 5 * S, 2.0, 0), [0, 0]),
        (m.RetryPolicy(4, 1, 10.0, 60 * S), [1, 10, 100]),
        (m.RetryPolicy(1, 1 * S, 2.0, 60 * S), []),
    ],
)
def test_delays_follow_the_policy(policy: m.RetryPolicy, expected: list[int]) -> None:
    assert delays(policy) == expected


def test_a_delay_after_very_many_failures_is_the_longest_one() -> None:
    scene = retrying(m.RetryPolicy(max_attempts=1_000_000, backoff_coefficient=1e6))
    for _ in range(60):
        scene.settle(failure())
        assert scene.due_at(TimerKind.RETRY) - scene.now in {S, 60 * S}
        scene.fire(TimerKind.RETRY)
        scene.lease()


def test_a_failed_attempt_is_recorded_with_its_failure_and_retry() -> None:
    scene = retrying(RETRY)
    scene.wake(7)
    scene.settle(failure("BUSY", "later"))
    record = scene.ledger[-1]
    body = record.body
    assert isinstance(body, StepCompleted)
    assert body.failure == m.Failure("BUSY", "later", retryable=True)
    assert body.retry_at == AT + 8 * S
    assert (record.attempt, record.status, body.effect_type) == (1, StepStatus.FAILED, "charge")
    assert (scene.step.failures, scene.step.last_failure, scene.step.worker_id) == (1, body.failure, "")


def test_the_retry_is_due_at_its_instant_and_not_before() -> None:
    scene = retrying(RETRY)
    scene.settle(failure())
    scene.now += S - 1
    assert scene.reason(scene.timer(TimerKind.RETRY)) is Reason.NOT_DUE
    scene.now += 1
    scene.give(scene.timer(TimerKind.RETRY))
    body = scene.ledger[-1].body
    assert isinstance(body, Requeued)
    assert body.cause is RequeueCause.RETRY_DUE
    assert scene.where == "QUEUED a"
    task = obligations(scene.run).task
    assert task is not None
    assert (task.attempt, task.queued_at) == (1, scene.now)


def test_retry_after_goes_before_the_policys_delay() -> None:
    scene = retrying(RETRY)
    scene.settle(m.StepFailure(failure().failure, retry_after_us=17 * S))
    assert scene.due_at(TimerKind.RETRY) == scene.now + 17 * S
    scene.fire(TimerKind.RETRY)
    scene.lease()
    scene.settle(m.StepFailure(failure().failure, retry_after_us=0))
    assert scene.due_at(TimerKind.RETRY) == scene.now


@pytest.mark.parametrize(
    ("policy", "kind", "retryable"),
    [
        (m.RetryPolicy(max_attempts=5, non_retryable_types=("BROKEN", "GONE")), "GONE", True),
        (m.RetryPolicy(max_attempts=5), "BUSY", False),
        (m.NO_RETRY, "BUSY", True),
    ],
    ids=["non-retryable type", "says that another attempt will not help", "one attempt"],
)
def test_a_final_failure_is_not_retried(policy: m.RetryPolicy, kind: str, retryable: bool) -> None:
    scene = retrying(policy)
    scene.settle(failure(kind, "why", retryable=retryable))
    assert scene.kinds(4) == ["step_completed", "failed"]
    assert scene.error.type == kind
    assert scene.error.message == "Effect failed after 1 attempts: why"


def test_an_exhausted_effect_fails_the_run_with_its_last_failure() -> None:
    scene = retrying(m.RetryPolicy(max_attempts=2))
    scene.settle(failure("FIRST"))
    scene.fire(TimerKind.RETRY)
    scene.lease()
    details = leaf({"code": 7})
    scene.settle(m.StepFailure(m.Failure("LAST", "no use", True, details)))
    assert scene.error == m.Failure("LAST", "Effect failed after 2 attempts: no use", True, details)
    body = scene.last(StepCompleted).body
    assert isinstance(body, StepCompleted)
    assert (body.failure, body.retry_at) == (m.Failure("LAST", "no use", True, details), 0)


def test_a_failure_without_words_is_told_by_its_type() -> None:
    scene = retrying(m.NO_RETRY)
    scene.settle(failure("BUSY", ""))
    assert scene.error.message == "Effect failed after 1 attempts: BUSY"


@pytest.mark.parametrize(("result_key", "stored_at"), [("out.err", "out"), ("", "_error")])
def test_an_exhausted_effect_goes_to_its_on_error_node(result_key: str, stored_at: str) -> None:
    scene = Scene(workflow("a", "b", "oops")).start({"x": 1})
    scene.open(custom(result_key, on_error_node="oops"))
    scene.settle(m.StepFailure(m.Failure("BUSY", "why", True, leaf([1]))))
    assert scene.kinds(4) == ["step_completed"]
    assert scene.where == "QUEUED oops"
    error = {"type": "BUSY", "message": "why", "retryable": True, "details": [1]}
    assert scene.run.vars == {"x": 1, stored_at: {"err": error} if result_key else error}
    assert scene.run.visits == {"a": 1, "oops": 1}


def test_a_node_whose_handler_fails_ends_the_run() -> None:
    scene = Scene().start()
    scene.lease()
    scene.report(failure("Boom", "bang"))
    assert scene.kinds(2) == ["step_completed", "failed"]
    assert scene.error.type == "Boom"
    assert scene.error.message == "Node 'a' failed after 1 attempts: bang"


def test_a_nodes_policy_retries_its_handler() -> None:
    scene = Scene(workflow(m.NodeSpec("a", retry=m.RetryPolicy(max_attempts=2), on_error_node="oops"), "oops")).start()
    scene.lease()
    scene.report(failure())
    assert scene.where == "BACKOFF a"
    scene.fire(TimerKind.RETRY)
    scene.lease()
    assert scene.step.attempt == 2
    assert scene.run.visits == {"a": 1}, "a retry is no visit"
    scene.report(failure())
    assert scene.where == "QUEUED oops"
    assert scene.run.vars["_error"] == {"type": "BUSY", "message": "try again", "retryable": True, "details": None}


def test_waiting_is_not_retried() -> None:
    scene = retrying(RETRY)
    scene.settle(m.WaitRequest(m.WaitReason.JOB))
    assert scene.kinds(4) == ["waiting"]
    assert scene.where == "WAITING a"


@pytest.mark.promise("P5")
def test_a_lapse_hands_the_step_out_again_at_a_higher_attempt() -> None:
    scene = retrying(m.NO_RETRY)
    scene.wake(30)
    scene.lapse()
    body = scene.ledger[-1].body
    assert isinstance(body, Requeued)
    assert body.cause is RequeueCause.LAPSED
    assert scene.where == "QUEUED a"
    assert (scene.step.lapses, scene.step.failures, scene.step.queued_at) == (1, 0, scene.now)
    step_id = scene.step.step_id
    scene.lease("worker-2")
    assert scene.step.attempt == 2
    late = i.EffectSettled(step_id, 1, m.EffectResult(leaf("late")))
    refused = scene.refused(late)
    assert refused.reason is Reason.STALE_ATTEMPT
    assert refused.metadata == {"step_id": str(step_id), "attempt": "1"}
    scene.done("second")
    assert scene.run.vars == {"out": "second"}


def test_five_lapses_park_the_step_as_poison() -> None:
    scene = retrying(RETRY)
    for number in (1, 2, 3, 4):
        scene.lapse()
        assert (scene.where, scene.step.lapses) == ("QUEUED a", number)
        scene.lease()
    scene.lapse()
    assert scene.where == "PARKED a"
    assert scene.step.park_reason is m.ParkReason.POISON
    body = scene.ledger[-1].body
    assert body == Parked(m.ParkReason.POISON, 5)
    assert (scene.step.attempt, scene.step.failures) == (5, 0)
    assert scene.run.status is m.RunStatus.RUNNING


def test_lapses_and_failures_are_counted_apart() -> None:
    scene = Scene(limits=Limits(max_lapses=2)).start().open(custom(retry=RETRY))
    scene.lapse()
    scene.lease()
    scene.settle(failure())
    assert (scene.step.lapses, scene.step.failures) == (1, 1)
    assert scene.due_at(TimerKind.RETRY) == scene.now + S, "the first failure, whatever lapsed before"
    scene.fire(TimerKind.RETRY)
    scene.lease()
    assert scene.step.attempt == 3
    scene.lapse()
    assert scene.where == "PARKED a"


def test_a_lapse_of_another_attempt_or_step_is_not_due() -> None:
    scene = retrying(RETRY)
    step_id = scene.step.step_id
    for stale in (i.LeaseLapsed(step_id, 2), i.LeaseLapsed(step_id + 1, 1), i.LeaseLapsed(1, 1)):
        assert scene.reason(stale) is Reason.NOT_DUE


def test_a_release_counts_as_nothing() -> None:
    scene = retrying(RETRY)
    scene.give(i.StepReleased(scene.step.step_id, 1))
    assert scene.ledger[-1].body == Requeued(RequeueCause.RELEASED, 0)
    assert scene.where == "QUEUED a"
    assert (scene.step.lapses, scene.step.failures, scene.step.attempt) == (0, 0, 1)
    scene.lease()
    assert scene.step.attempt == 2


def test_a_release_may_ask_for_a_delay() -> None:
    scene = retrying(RETRY)
    scene.give(i.StepReleased(scene.step.step_id, 1, 5 * S))
    assert scene.ledger[-1].body == Requeued(RequeueCause.RELEASED, scene.now + 5 * S)
    assert scene.where == "BACKOFF a"
    assert scene.due_at(TimerKind.RETRY) == scene.now + 5 * S
    scene.fire(TimerKind.RETRY)
    assert (scene.where, scene.step.failures) == ("QUEUED a", 0)


def test_the_shortest_delay_of_a_release_is_a_delay() -> None:
    scene = retrying(RETRY)
    scene.give(i.StepReleased(scene.step.step_id, 1, 1))
    assert scene.due_at(TimerKind.RETRY) == scene.now + 1


def test_a_hand_out_says_what_is_handed_out() -> None:
    scene = retrying(RETRY)
    assert [record.body for record in scene.ledger if isinstance(record.body, StepStarted)] == [
        StepStarted(""),
        StepStarted("charge"),
    ]


TIMEOUTS = m.Timeouts(schedule_to_start_us=60 * S, start_to_close_us=30 * S, heartbeat_us=10 * S)


def test_a_step_that_nobody_takes_in_time_has_failed_once() -> None:
    scene = Scene().start()
    scene.plan(effect=custom(retry=RETRY, timeouts=TIMEOUTS), next_node="b")
    assert scene.due_at(TimerKind.SCHEDULE_TO_START) == scene.now + 60 * S
    scene.fire(TimerKind.SCHEDULE_TO_START)
    assert scene.where == "BACKOFF a"
    assert (scene.step.failures, scene.step.attempt) == (1, 0)
    assert scene.step.last_failure is not None
    assert scene.step.last_failure.type == "TIMEOUT"
    scene.fire(TimerKind.RETRY)
    assert scene.due_at(TimerKind.SCHEDULE_TO_START) == scene.now + 60 * S, "from when it was due again"


def test_an_attempt_that_takes_too_long_has_failed() -> None:
    scene = retrying(RETRY, timeouts=TIMEOUTS)
    assert scene.due_at(TimerKind.START_TO_CLOSE) == scene.now + 30 * S
    assert TimerKind.SCHEDULE_TO_START not in obligations(scene.run).timers
    scene.fire(TimerKind.START_TO_CLOSE)
    assert scene.where == "BACKOFF a"
    stale = i.EffectSettled(scene.step.step_id, 1, m.EffectResult(leaf(1)))
    assert scene.reason(stale) is Reason.STALE_ATTEMPT
    scene.fire(TimerKind.RETRY)
    scene.wake(3)
    scene.lease()
    assert scene.due_at(TimerKind.START_TO_CLOSE) == scene.now + 30 * S, "each attempt by itself"


def test_silence_of_the_handler_fails_its_attempt() -> None:
    scene = retrying(RETRY, timeouts=TIMEOUTS)
    step_id = scene.step.step_id
    for stale in ((step_id, 2), (step_id + 1, 1)):
        assert scene.reason(i.TimerFired(TimerKind.HEARTBEAT, scene.now, *stale)) is Reason.NOT_DUE
    scene.give(i.TimerFired(TimerKind.HEARTBEAT, scene.now, step_id, 1))
    assert scene.where == "BACKOFF a"
    assert scene.reason(i.TimerFired(TimerKind.HEARTBEAT, scene.now, step_id, 1)) is Reason.NOT_DUE


def test_without_a_heartbeat_timeout_silence_is_no_failure() -> None:
    scene = retrying(RETRY)
    assert scene.reason(i.TimerFired(TimerKind.HEARTBEAT, scene.now, scene.step.step_id, 1)) is Reason.NOT_DUE


@pytest.mark.parametrize("kind", [TimerKind.START_TO_CLOSE, TimerKind.SCHEDULE_TO_START, TimerKind.HEARTBEAT])
def test_timeouts_count_against_the_policy(kind: TimerKind) -> None:
    scene = Scene().start()
    scene.plan(effect=custom("out", timeouts=TIMEOUTS, on_error_node="b"), next_node="b")
    if kind is not TimerKind.SCHEDULE_TO_START:
        scene.lease()
    scene.now += 60 * S
    scene.give(scene.timer(kind))
    assert scene.where == "QUEUED b"
    error = scene.run.vars["out"]
    assert isinstance(error, dict)
    assert (error["type"], error["details"]) == ("TIMEOUT", {"timeout": kind.name.lower()})


def test_a_timeout_can_be_final_by_its_type() -> None:
    policy = m.RetryPolicy(max_attempts=5, non_retryable_types=("TIMEOUT",))
    scene = retrying(policy, timeouts=TIMEOUTS)
    scene.fire(TimerKind.START_TO_CLOSE)
    assert scene.error.type == "TIMEOUT"


def irreversible(**fields: Any) -> Scene:
    """A leased irreversible effect that may be retried."""
    return retrying(RETRY, risk=m.Risk.IRREVERSIBLE, timeouts=TIMEOUTS, **fields)


@pytest.mark.promise("P5")
def test_a_begin_is_a_record_and_a_repeat_is_acked_again() -> None:
    scene = irreversible()
    assert scene.begin().ack is Ack.ACCEPTED
    assert scene.kinds(4) == ["step_begun"]
    assert (scene.ledger[-1].attempt, scene.ledger[-1].status) == (1, StepStatus.STARTED)
    assert scene.step.begun
    again = scene.begin()
    assert (again.ack, again.records) == (Ack.DUPLICATE, [])


def test_a_begin_with_another_token_is_stale() -> None:
    scene = irreversible()
    step_id = scene.step.step_id
    assert scene.reason(i.EffectBegun(step_id, 2)) is Reason.STALE_ATTEMPT
    assert scene.reason(i.EffectBegun(1, 1)) is Reason.STALE_ATTEMPT


def test_only_an_irreversible_effect_begins() -> None:
    scene = retrying(RETRY)
    assert scene.reason(i.EffectBegun(scene.step.step_id, 1)) is Reason.BAD_REPORT


@pytest.mark.parametrize("outcome", [m.EffectResult(leaf(1)), m.WaitRequest(m.WaitReason.JOB)])
def test_an_irreversible_effect_is_not_settled_before_its_begin(outcome: m.EffectOutcome) -> None:
    scene = irreversible()
    assert scene.reason(i.EffectSettled(scene.step.step_id, 1, outcome)) is Reason.BAD_REPORT
    scene.begin()
    scene.settle(outcome)
    assert scene.where in {"QUEUED b", "WAITING a"}


def test_before_its_begin_an_irreversible_effect_is_handed_out_again() -> None:
    scene = irreversible()
    scene.lapse()
    assert scene.where == "QUEUED a"
    scene.lease()
    scene.fire(TimerKind.START_TO_CLOSE)
    assert scene.where == "BACKOFF a"
    scene.fire(TimerKind.RETRY)
    scene.lease()
    scene.settle(failure())
    assert scene.where == "BACKOFF a"


@pytest.mark.promise("P5")
@pytest.mark.parametrize("how", ["lapse", "start_to_close", "heartbeat"])
def test_a_begun_effect_without_a_report_is_in_doubt(how: str) -> None:
    scene = irreversible()
    scene.begin()
    scene.now += 60 * S
    scene.give(i.LeaseLapsed(scene.step.step_id, 1) if how == "lapse" else scene.timer(TimerKind[how.upper()]))
    assert scene.where == "PARKED a"
    assert scene.step.park_reason is m.ParkReason.IN_DOUBT
    assert scene.kinds(5) == ["parked"]
    report = i.EffectSettled(scene.step.step_id, 1, m.EffectResult(leaf(1)))
    assert scene.reason(report) is Reason.STALE_ATTEMPT


def test_after_its_begin_a_failure_is_final() -> None:
    scene = irreversible(on_error_node="oops")
    scene.begin()
    scene.settle(failure())
    assert scene.where == "QUEUED oops"
    assert scene.kinds(5) == ["step_completed"]


def test_a_begun_effect_that_was_not_executed_is_tried_again() -> None:
    scene = irreversible()
    scene.begin()
    scene.settle(m.StepFailure(failure().failure, not_executed=True))
    assert scene.where == "BACKOFF a"
    assert not scene.step.begun
    scene.fire(TimerKind.RETRY)
    scene.lease()
    scene.lapse()
    assert scene.where == "QUEUED a", "the new attempt has not begun"


def test_not_executed_does_not_outlive_the_policy() -> None:
    scene = retrying(m.NO_RETRY, risk=m.Risk.IRREVERSIBLE)
    scene.begin()
    scene.settle(m.StepFailure(failure().failure, not_executed=True))
    assert scene.run.status is m.RunStatus.FAILED


def test_a_release_of_a_begun_effect_says_that_nothing_was_executed() -> None:
    scene = irreversible()
    scene.begin()
    scene.give(i.StepReleased(scene.step.step_id, 1))
    assert (scene.where, scene.step.begun) == ("QUEUED a", False)


def in_doubt(**fields: Any) -> Scene:
    """A parked irreversible effect."""
    scene = irreversible(**fields)
    scene.begin()
    scene.lapse()
    return scene


def resolve(scene: Scene, resolution: Resolution, **fields: Any) -> None:
    """Somebody decides about the parked step."""
    scene.give(i.ResolveStep(scene.step.step_id, resolution, resolved_by="somebody", **fields))


@pytest.mark.promise("P7")
def test_a_parked_step_is_rerun_as_itself() -> None:
    scene = in_doubt()
    before = scene.step
    resolve(scene, Resolution.RERUN)
    assert scene.kinds(6) == ["unparked"]
    assert scene.where == "QUEUED a"
    after = scene.step
    assert (after.step_id, after.visit, after.effect) == (before.step_id, before.visit, before.effect)
    assert (after.lapses, after.park_reason, after.begun) == (0, None, False)
    scene.lease()
    assert scene.step.attempt == 2
    scene.begin()
    scene.done("charged")
    assert scene.run.vars == {"out": "charged"}


def test_a_rerun_resets_lapses() -> None:
    scene = Scene(limits=Limits(max_lapses=2)).start().open(custom())
    scene.lapse()
    scene.lease()
    scene.lapse()
    assert scene.where == "PARKED a"
    resolve(scene, Resolution.RERUN)
    scene.lease()
    scene.lapse()
    assert (scene.where, scene.step.lapses) == ("QUEUED a", 1)


def test_a_parked_effect_is_completed_with_a_result() -> None:
    scene = in_doubt()
    resolve(scene, Resolution.COMPLETED, result=leaf("by hand"))
    assert scene.kinds(6) == ["unparked", "step_completed"]
    assert (scene.where, scene.run.vars) == ("QUEUED b", {"out": "by hand"})


def test_a_parked_node_is_completed_with_a_plan() -> None:
    scene = Scene(limits=Limits(max_lapses=1)).start()
    scene.lease()
    scene.lapse()
    resolve(scene, Resolution.COMPLETED, plan=m.StepPlan(next_node="b", vars_ops=(m.VarsOp("/n", "set", leaf(1)),)))
    assert (scene.where, scene.run.vars) == ("QUEUED b", {"n": 1})


def test_a_node_is_not_completed_with_a_result_nor_an_effect_with_a_plan() -> None:
    node = Scene(limits=Limits(max_lapses=1)).start()
    node.lease()
    node.lapse()
    refused = node.refused(i.ResolveStep(1, Resolution.COMPLETED, result=leaf(1)))
    assert (refused.reason, refused.field) == (Reason.INVALID_FIELD, "completed.plan")
    effect = in_doubt()
    given = i.ResolveStep(effect.step.step_id, Resolution.COMPLETED, plan=m.StepPlan(next_node="b"))
    refused = effect.refused(given)
    assert (refused.reason, refused.field) == (Reason.INVALID_FIELD, "completed.result_json")


@pytest.mark.parametrize("on_error_node", ["", "oops"])
def test_a_parked_step_is_failed_for_good(on_error_node: str) -> None:
    scene = in_doubt(on_error_node=on_error_node)
    resolve(scene, Resolution.FAILED, failure=m.Failure("LOST", "nobody knows", retryable=True))
    if on_error_node:
        assert scene.kinds(6) == ["unparked", "step_completed"]
        assert scene.where == "QUEUED oops"
    else:
        assert scene.kinds(6) == ["unparked", "step_completed", "failed"]
        assert scene.error.type == "LOST"


def test_a_step_that_is_failed_without_a_word_says_so() -> None:
    scene = in_doubt()
    resolve(scene, Resolution.FAILED)
    assert scene.error.type == "RESOLVED_AS_FAILED"


def parked_node(*nodes: str | m.NodeSpec) -> Scene:
    """A parked node."""
    scene = Scene(workflow(*nodes) if nodes else None, limits=Limits(max_lapses=1)).start()
    scene.lease()
    scene.lapse()
    assert scene.where == "PARKED a"
    return scene


def test_a_rerun_takes_no_plan() -> None:
    scene = parked_node()
    resolve(scene, Resolution.RERUN, plan=m.StepPlan(next_node="b"))
    assert scene.where == "QUEUED a"


def test_a_given_plan_takes_the_nodes_own_way_on() -> None:
    scene = parked_node(m.NodeSpec("a", next="b"), "b")
    resolve(scene, Resolution.COMPLETED, plan=m.StepPlan())
    assert scene.where == "QUEUED b"


@pytest.mark.parametrize("plan", [m.StepPlan(), m.StepPlan(next_node="nowhere")])
def test_a_given_plan_that_cannot_be_carried_out_is_refused_and_the_step_stays_parked(plan: m.StepPlan) -> None:
    refused = parked_node().refused(i.ResolveStep(1, Resolution.COMPLETED, plan=plan))
    assert (refused.reason, refused.field) == (Reason.INVALID_FIELD, "completed.plan")


def test_only_the_parked_step_is_resolved() -> None:
    scene = in_doubt()
    refused = scene.refused(i.ResolveStep(1, Resolution.RERUN))
    assert (refused.reason, refused.field) == (Reason.STEP_NOT_PARKED, "step_id")
    assert str(scene.step.step_id) in refused.message


def test_a_result_that_does_not_fit_is_refused_and_the_step_stays_parked() -> None:
    scene = in_doubt()
    scene.limits = Limits(vars_bytes=100)
    given = i.ResolveStep(scene.step.step_id, Resolution.COMPLETED, result=leaf("x" * 200))
    refused = scene.refused(given)
    assert (refused.reason, refused.field) == (Reason.VARS_TOO_LARGE, "completed.result_json")
