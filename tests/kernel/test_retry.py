"""RetryRun: a failed run goes on at the step it failed at, whatever it failed of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decide import decide
from perdure_server.kernel.decision import Ack, MailKind, Reason
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.keys import idempotency_key
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import Record, Reopened, Resolution
from tests.kernel.ledgers import AT
from tests.kernel.scene import RETRY, Scene, custom, failure, leaf, workflow

pytestmark = pytest.mark.promise("P7")

SMALL = Limits(vars_bytes=200, payload_bytes=100, record_payload_bytes=150)
LONG = leaf("x" * 250)


def _node_fails() -> Scene:
    scene = Scene().start()
    scene.lease()
    scene.report(failure())
    return scene


def _effect_exhausted() -> Scene:
    scene = Scene().start().open(custom(retry=RETRY))
    for _ in range(2):
        scene.settle(failure())
        scene.fire(TimerKind.RETRY)
        scene.lease()
    scene.settle(failure())
    return scene


def _bad_plan() -> Scene:
    scene = Scene().start()
    scene.plan(next_node="nowhere")
    return scene


def _payload_too_large() -> Scene:
    scene = Scene(limits=SMALL).start()
    scene.plan(complete_output=leaf({"x": "x" * 100}))
    return scene


def _vars_too_large() -> Scene:
    scene = Scene(limits=SMALL).start().open(custom("out"))
    scene.settle(m.EffectResult(LONG))
    return scene


def _wait_deadline() -> Scene:
    scene = Scene().start().perform(m.AskUser(m.WaitTerms("?", timeout_us=SECOND_US)))
    scene.fire(TimerKind.WAIT_DEADLINE)
    return scene


def _plan_fails() -> Scene:
    scene = Scene().start()
    scene.plan(fail=m.Failure("NO", "no"), vars_ops=(m.VarsOp("/n", "set", leaf(1)),))
    return scene


def _fail_node() -> Scene:
    end = m.NodeSpec("end", m.NodeKind.FAIL, template=leaf({"type": "NO"}))
    scene = Scene(workflow("a", end)).start()
    scene.plan(next_node="end")
    scene.give(i.NodePlanned(scene.step.step_id, 0, m.StepPlan(fail=m.Failure("NO"))))
    return scene


def _child_fails() -> Scene:
    scene = Scene(workflows=[workflow("c", workflow_id="child")]).start().perform(m.StartSubworkflow("child"))
    scene.give(i.ChildEndSeen(scene.wait.child_run_id, m.RunStatus.FAILED, None, m.Failure("BROKEN")))
    return scene


def _resolved_as_failed() -> Scene:
    scene = Scene(limits=Limits(max_lapses=1)).start()
    scene.lease()
    scene.lapse()
    scene.give(i.ResolveStep(scene.step.step_id, Resolution.FAILED))
    return scene


def _wait_leads_nowhere() -> Scene:
    scene = Scene().start().open(custom("out"))
    scene.settle(m.WaitRequest(m.WaitReason.JOB, terms=m.WaitTerms(resume_to_node="nowhere")))
    return scene


WAYS: dict[str, tuple[Callable[[], Scene], str, int]] = {
    "node fails": (_node_fails, "NODE", 1),
    "effect exhausted": (_effect_exhausted, "EFFECT", 3),
    "bad plan": (_bad_plan, "NODE", 1),
    "payload too large": (_payload_too_large, "NODE", 1),
    "vars too large": (_vars_too_large, "EFFECT", 1),
    "wait deadline": (_wait_deadline, "EFFECT", 0),
    "plan fails": (_plan_fails, "NODE", 1),
    "fail node": (_fail_node, "NODE", 0),
    "child fails": (_child_fails, "EFFECT", 0),
    "resolved as failed": (_resolved_as_failed, "NODE", 1),
    "wait leads nowhere": (_wait_leads_nowhere, "EFFECT", 1),
}


@pytest.mark.promise("P5")
@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_open_again_where_it_failed(way: str) -> None:
    make, what, attempt = WAYS[way]
    scene = make()
    before = scene.run
    failed = before.failed_step
    assert before.status is m.RunStatus.FAILED
    assert failed is not None
    scene.wake(60)
    scene.give(i.Retry(retried_by="ann"))
    step = scene.step
    assert scene.where == f"QUEUED {failed.node_id}"
    assert (step.effect is None) == (what == "NODE")
    assert step.effect == failed.effect, "the same key, request and ways on"
    assert (step.visit, step.attempt, step.failures, step.lapses) == (failed.visit, attempt, 0, 0)
    assert step.step_id == scene.run.seq
    assert (step.park_reason, step.begun, step.worker_id) == (None, False, "")
    assert (scene.run.error, scene.run.ended_at, scene.run.reopened) == (None, 0, 1)
    assert scene.run.vars == before.vars
    assert scene.run.visits == before.visits
    assert scene.last(Reopened).body == replace(_body(scene.last(Reopened)), retried_by="ann")


def _body(record: Record) -> Reopened:
    assert isinstance(record.body, Reopened)
    return record.body


@pytest.mark.promise("P5")
def test_attempts_go_on_and_the_key_stays_over_two_retries() -> None:
    scene = _effect_exhausted()
    key = idempotency_key("default", "run-1", "a", 1)
    for attempt in (4, 5):
        scene.give(i.Retry())
        scene.lease()
        record = scene.ledger[-1]
        assert (record.attempt, record.idempotency_key, record.visit) == (attempt, key, 1)
        scene.settle(failure(retryable=False))
    scene.give(i.Retry())
    scene.lease()
    scene.done("ok")
    assert (scene.where, scene.run.vars) == ("QUEUED b", {})
    assert (scene.run.failed_step, scene.run.reopened) == (None, 3)


def test_a_retried_effect_has_all_its_attempts_again() -> None:
    scene = _effect_exhausted()
    scene.give(i.Retry())
    scene.lease()
    scene.settle(failure())
    assert (scene.run.activity, scene.step.failures) == (m.Activity.BACKOFF, 1)


@pytest.mark.promise("P5")
def test_from_the_node_a_new_plan_is_made_and_its_effect_never_repeats_an_attempt() -> None:
    scene = _effect_exhausted()
    scene.give(i.Retry((m.VarsOp("/amount", "set", leaf(7)),), from_node=True))
    assert (scene.where, scene.step.effect, scene.run.vars) == ("QUEUED a", None, {"amount": 7})
    scene.open(custom("out", type_="refund"))
    record = scene.ledger[-1]
    assert (record.attempt, record.idempotency_key) == (4, idempotency_key("default", "run-1", "a", 1))
    scene.settle(failure(retryable=False))
    scene.give(i.Retry(from_node=True))
    scene.open(custom("out"))
    assert scene.ledger[-1].attempt == 5


def test_from_the_node_twice_the_attempts_of_its_effect_are_not_forgotten() -> None:
    scene = _effect_exhausted()
    scene.give(i.Retry(from_node=True))
    scene.plan(next_node="nowhere")
    scene.give(i.Retry())
    assert scene.step.attempt == 1, "the node's own attempts go on"
    scene.open(custom("out"))
    assert scene.ledger[-1].attempt == 4


@pytest.mark.parametrize("status", ["running", "waiting", "completed", "cancelled"])
def test_only_a_failed_run_is_retried(status: str) -> None:
    scene = Scene().start()
    if status == "waiting":
        scene.perform(m.AskUser(m.WaitTerms("?")))
    elif status == "completed":
        scene.plan(complete_output=leaf({}))
    elif status == "cancelled":
        scene.give(i.Cancel())
    refused = scene.refused(i.Retry())
    assert (refused.reason, refused.metadata) == (Reason.RUN_NOT_FAILED, {"status": status.upper()})
    assert status in refused.message


def test_a_failure_on_the_way_of_a_cancel_is_a_cancel_and_not_retried() -> None:
    scene = Scene(workflow("a", "cleanup", on_cancel_node="cleanup")).start()
    scene.give(i.Cancel("enough"))
    scene.lease()
    scene.report(failure())
    assert scene.reason(i.Retry()) is Reason.RUN_NOT_FAILED
    assert scene.run.failed_step is None


@pytest.mark.parametrize("way", ["queued", "leased", "waiting", "parked", "backoff"])
def test_a_run_deadline_needs_a_new_one(way: str) -> None:
    scene = Scene(limits=Limits(max_lapses=1)).start(deadline_at=AT + 100 * SECOND_US)
    if way == "waiting":
        scene.perform(m.AskUser(m.WaitTerms("?", resume_to_node="b")))
    elif way in {"leased", "parked"}:
        scene.lease()
    elif way == "backoff":
        scene.open(custom(retry=RETRY))
        scene.settle(replace(failure(), retry_after_us=3_600 * SECOND_US))
    if way == "parked":
        scene.lapse()
    scene.fire(TimerKind.RUN_DEADLINE)
    refused = scene.refused(i.Retry())
    assert (refused.reason, refused.field) == (Reason.DEADLINE_PASSED, "deadline")
    assert scene.reason(i.Retry(deadline_at=scene.now)) is Reason.DEADLINE_PASSED
    scene.give(i.Retry(deadline_at=scene.now + SECOND_US))
    assert scene.where == "QUEUED a"
    assert obligations(scene.run).timers[TimerKind.RUN_DEADLINE] == scene.now + SECOND_US
    assert scene.step.retry_at == 0


def test_a_wait_that_was_cut_off_is_asked_for_again() -> None:
    scene = Scene().start(deadline_at=AT + 100 * SECOND_US).perform(m.AskUser(m.WaitTerms("?", timeout_us=SECOND_US)))
    first = scene.wait
    scene.fire(TimerKind.WAIT_DEADLINE)
    scene.give(i.Retry(deadline_at=AT + 200 * SECOND_US))
    scene.give(i.TurnTaken(scene.step.step_id))
    assert scene.wait.wait_id > first.wait_id
    assert scene.wait.deadline_at == scene.now + SECOND_US, "counted from the new wait"
    assert scene.reason(i.Resume(first.wait_id, False, leaf(1))) is Reason.WAIT_ENDED


def test_a_fixed_wait_deadline_that_has_passed_asks_for_a_new_plan() -> None:
    scene = Scene().start().perform(m.AskUser(m.WaitTerms("?", deadline_at=AT + SECOND_US)))
    scene.fire(TimerKind.WAIT_DEADLINE)
    refused = scene.refused(i.Retry())
    assert (refused.reason, refused.field) == (Reason.DEADLINE_PASSED, "from_node")
    scene.give(i.Retry(from_node=True))
    assert (scene.where, scene.step.effect) == ("QUEUED a", None)


def _begun() -> Scene:
    scene = Scene().start(deadline_at=AT + 100 * SECOND_US).open(custom("out", risk=m.Risk.IRREVERSIBLE))
    scene.begin()
    return scene


@pytest.mark.promise("P5")
@pytest.mark.parametrize("way", ["deadline", "reported", "too large"])
def test_what_may_have_been_executed_is_parked_not_handed_out(way: str) -> None:
    scene = _begun()
    if way == "deadline":
        scene.fire(TimerKind.RUN_DEADLINE)
    elif way == "reported":
        scene.settle(failure())
    else:
        scene.limits = replace(scene.limits, vars_bytes=10)
        scene.done("x" * 100)
    later = scene.now + 1_000 * SECOND_US
    assert scene.run.status is m.RunStatus.FAILED
    assert scene.reason(i.Retry(from_node=True, deadline_at=later)) is Reason.EFFECT_IN_DOUBT
    scene.give(i.Retry(deadline_at=later))
    assert (scene.where, scene.step.park_reason) == ("PARKED a", m.ParkReason.IN_DOUBT)
    assert _body(scene.last(Reopened)).in_doubt
    scene.limits = Limits()
    scene.give(i.ResolveStep(scene.step.step_id, Resolution.RERUN))
    scene.lease()
    assert (scene.step.attempt, scene.step.begun) == (2, False)


def test_what_had_not_begun_is_handed_out_again() -> None:
    scene = Scene().start().open(custom("out", risk=m.Risk.IRREVERSIBLE))
    scene.settle(failure())
    scene.give(i.Retry())
    assert scene.where == "QUEUED a"


@pytest.mark.promise("P5")
def test_the_report_of_the_attempt_that_a_deadline_cut_off_stays_late() -> None:
    scene = Scene().start(deadline_at=AT + 100 * SECOND_US).open(custom("out"))
    late = i.EffectSettled(scene.step.step_id, scene.step.attempt, m.EffectResult(leaf("late")), b"report")
    scene.fire(TimerKind.RUN_DEADLINE)
    scene.give(i.Retry(deadline_at=scene.now + SECOND_US))
    scene.lease()
    assert scene.give(late).ack is Ack.STALE
    assert scene.reason(late) is Reason.STALE_ATTEMPT
    scene.done("new")
    assert scene.run.vars == {"out": "new"}


def test_a_repair_is_applied_before_the_step_is_due_and_kept_in_the_record() -> None:
    scene = _bad_plan()
    ops = (m.VarsOp("/a/b", "set", leaf([1])), m.VarsOp("/a/b", "append", leaf(2)))
    scene.give(i.Retry(ops))
    assert scene.run.vars == {"a": {"b": [1, 2]}}
    assert _body(scene.last(Reopened)).vars_ops == ops


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (m.VarsOp("/a", "append", leaf(1)), Reason.INVALID_FIELD),
        (m.VarsOp("a", "set", leaf(1)), Reason.INVALID_FIELD),
        (m.VarsOp("/b", "set", leaf("x" * 145)), Reason.VARS_TOO_LARGE),
        (m.VarsOp("/b", "set", leaf("x" * 160)), Reason.PAYLOAD_TOO_LARGE),
    ],
)
def test_a_repair_that_cannot_be_made_is_refused(op: m.VarsOp, reason: Reason) -> None:
    scene = Scene(limits=SMALL).start({"a": "x" * 60})
    scene.lease()
    scene.report(failure())
    refused = scene.refused(i.Retry((op,)))
    assert (refused.reason, refused.field) == (reason, "vars_ops")
    assert scene.run.vars == {"a": "x" * 60}


def test_a_run_may_be_opened_paused() -> None:
    scene = _effect_exhausted()
    scene.give(i.Retry(paused=True))
    task = obligations(scene.run).task
    assert task is not None
    assert (scene.run.paused, task.held) == (True, True)
    scene.give(i.Unpause())
    scene.lease()


def test_a_manual_run_takes_its_failed_step_without_a_new_entry() -> None:
    scene = Scene().start(drive=m.Drive.MANUAL)
    scene.give(i.TickBudget(1))
    scene.lease()
    scene.report(failure())
    scene.give(i.Retry())
    assert scene.where == "QUEUED a"
    scene.plan(next_node="b")
    assert scene.where == "IDLE b"


def test_children_started_beside_a_run_are_left_behind_when_it_is_retried() -> None:
    """It does not know which of them have ended meanwhile, so its cancel reaches none of them."""
    scene = Scene(workflows=[workflow("c", workflow_id="child")]).start()
    scene.perform(m.StartSubworkflow("child", async_=True))
    assert len(scene.run.children) == 1
    scene.lease()
    scene.report(failure())
    scene.give(i.Retry())
    assert (scene.run.children, obligations(scene.run).children) == ({}, frozenset())
    scene.mail.clear()
    scene.give(i.Cancel())
    assert scene.mail == []


def test_a_retried_parent_starts_a_new_child_and_the_old_one_wakes_nobody() -> None:
    scene = _child_fails()
    scene.give(i.Retry())
    scene.give(i.TurnTaken(scene.step.step_id))
    assert scene.wait.child_run_id == "child-2"
    old = i.ChildEndSeen("child-1", m.RunStatus.COMPLETED, leaf({}), None)
    assert scene.reason(old) is Reason.NOT_DUE
    scene.give(i.ChildEndSeen("child-2", m.RunStatus.COMPLETED, leaf({}), None))
    assert scene.where == "QUEUED b"


@pytest.mark.promise("P6")
def test_a_retried_child_tells_its_parent_of_its_next_end() -> None:
    scene = Scene().start(parent_run_id="parent", root_run_id="parent", depth=1)
    scene.lease()
    scene.report(failure())
    scene.mail.clear()
    scene.give(i.Retry())
    assert scene.mail == []
    scene.plan(complete_output=leaf({}))
    assert [(mail.to_run_id, mail.kind) for mail in scene.mail] == [("parent", MailKind.CHILD_ENDED)]


def test_a_run_that_failed_as_it_started_can_be_retried() -> None:
    scene = Scene().start(deadline_at=AT - SECOND_US)
    assert scene.run.status is m.RunStatus.FAILED
    scene.give(i.Retry(deadline_at=AT + SECOND_US))
    assert scene.where == "QUEUED a"


def test_without_a_failed_step_nothing_is_made_up() -> None:
    scene = _bad_plan()
    run = replace(scene.run, failed_step=None)
    with pytest.raises(Exception, match="only a failed run"):
        decide(run, i.Retry(), scene.env())


def _in_doubt_with_a_key(spec: m.WorkflowSpec | None = None, drive: m.Drive = m.Drive.AUTO) -> Scene:
    """Retried: what it had begun may have been executed."""
    scene = Scene(spec).start(concurrency=m.Concurrency("key", 1), drive=drive)
    if drive is m.Drive.MANUAL:
        scene.give(i.TickBudget(1))
    scene.open(custom("out", risk=m.Risk.IRREVERSIBLE))
    scene.begin()
    scene.settle(failure())
    scene.give(i.Retry())
    assert (scene.where, obligations(scene.run).slot) == ("PARKED a", None), "nothing of it moves"
    return scene


def test_what_is_in_doubt_gets_in_line_once_it_is_resolved() -> None:
    scene = _in_doubt_with_a_key()
    scene.give(i.ResolveStep(scene.step.step_id, Resolution.RERUN))
    assert (scene.where, obligations(scene.run).task) == ("BACKOFF a", None)
    scene.give(i.SlotGranted())
    scene.lease()
    assert scene.step.attempt == 2


@pytest.mark.parametrize("drive", m.Drive)
def test_after_what_was_in_doubt_the_next_node_waits_for_a_slot(drive: m.Drive) -> None:
    scene = _in_doubt_with_a_key(drive=drive)
    scene.give(i.ResolveStep(scene.step.step_id, Resolution.COMPLETED, leaf("by hand")))
    slot = obligations(scene.run).slot
    assert slot is not None
    assert (scene.where, slot.held, scene.run.vars) == ("BACKOFF b", False, {"out": "by hand"})
    scene.give(i.SlotGranted())
    assert scene.where == ("QUEUED b" if drive is m.Drive.AUTO else "IDLE b"), "a new entry is paid for"


def test_what_is_in_doubt_is_cancelled_without_a_slot() -> None:
    scene = _in_doubt_with_a_key(workflow("a", "b", "cleanup", on_cancel_node="cleanup"))
    scene.give(i.Cancel())
    assert (scene.where, obligations(scene.run).slot) == ("QUEUED cleanup", None)


def test_what_parks_on_the_way_of_a_cancel_needs_no_slot_either() -> None:
    scene = _in_doubt_with_a_key(workflow("a", "b", "cleanup", on_cancel_node="cleanup"))
    scene.limits = Limits(max_lapses=1)
    scene.give(i.Cancel())
    scene.lease()
    scene.lapse()
    assert scene.where == "PARKED cleanup"
    scene.give(i.ResolveStep(scene.step.step_id, Resolution.RERUN))
    assert (scene.where, obligations(scene.run).slot) == ("QUEUED cleanup", None)


def test_a_manual_run_in_line_again_does_not_pay_twice() -> None:
    end = m.NodeSpec("end", m.NodeKind.FAIL, template=leaf({"type": "NO"}))
    scene = Scene(workflow("a", end)).start(concurrency=m.Concurrency("key", 1), drive=m.Drive.MANUAL)
    scene.give(i.TickBudget(2))
    scene.plan(next_node="end")
    scene.give(i.NodePlanned(scene.step.step_id, 0, m.StepPlan(fail=m.Failure("NO"))))
    scene.give(i.Retry())
    scene.give(i.SlotGranted())
    assert (scene.where, scene.run.step_budget) == ("QUEUED end", 0)


def test_a_run_with_a_concurrency_key_gets_in_line_again() -> None:
    scene = Scene().start(concurrency=m.Concurrency("key", 1))
    scene.lease()
    scene.report(failure())
    assert obligations(scene.run).slot is None
    scene.give(i.Retry())
    slot = obligations(scene.run).slot
    assert slot is not None
    assert (scene.where, slot.held) == ("BACKOFF a", False)
    scene.give(i.SlotGranted())
    scene.lease()
    assert scene.step.attempt == 2
