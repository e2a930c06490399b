"""Cancel, pause and manual drive: what people do to a run from outside."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decision import Ack, Reason
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import (
    BudgetAdded,
    Cancelled,
    CancelRequested,
    LateResult,
    Paused,
    Resolution,
    Unpaused,
)
from perdure_server.kernel.values import Leaf
from tests.kernel.ledgers import AT
from tests.kernel.scene import RETRY, Scene, custom, failure, leaf, workflow

SPEC = workflow("a", "b", "oops")
WITH_CLEANUP = workflow("a", "b", m.NodeSpec("cleanup", retry=RETRY), "cleanup2", "oops", on_cancel_node="cleanup")


def test_a_cancel_ends_the_run_with_its_reason() -> None:
    scene = Scene(SPEC).start()
    scene.wake(4)
    scene.give(i.Cancel("enough", "ann"))
    assert scene.ledger[-1].body == Cancelled("enough", cancelled_by="ann")
    assert scene.run.status is m.RunStatus.CANCELLED
    assert scene.error == m.Failure("CANCELLED", "enough")
    assert (scene.run.output, scene.run.ended_at) == (None, AT + 4 * SECOND_US)


def test_a_cancel_without_a_reason_says_so_much() -> None:
    scene = Scene(SPEC).start()
    scene.give(i.Cancel())
    assert scene.error.message == "Cancelled"


def test_a_cancel_of_an_ended_run_changes_nothing() -> None:
    scene = Scene(SPEC).start()
    scene.plan(complete_output=leaf({}))
    assert scene.give(i.Cancel()).records == []
    assert scene.run.status is m.RunStatus.COMPLETED


def leased_effect(spec: m.WorkflowSpec) -> Scene:
    """A run in the middle of an effect."""
    return Scene(spec).start().open(custom("out"))


@pytest.mark.promise("P6")
@pytest.mark.parametrize("spec", [SPEC, WITH_CLEANUP], ids=["at once", "with a cleanup"])
def test_the_report_of_the_cancelled_attempt_is_kept_once_and_stale(spec: m.WorkflowSpec) -> None:
    scene = leased_effect(spec)
    step_id = scene.step.step_id
    scene.give(i.Cancel())
    before = scene.run
    report = i.EffectSettled(step_id, 1, m.EffectResult(leaf("late")), b"as sent")
    decision = scene.give(report)
    assert decision.ack is Ack.STALE
    assert [record.body for record in decision.records] == [LateResult(b"as sent")]
    assert (scene.run.status, scene.run.vars, scene.run.seq) == (before.status, {}, before.seq + 1)
    assert scene.reason(report) is Reason.STALE_ATTEMPT
    other = i.EffectSettled(step_id, 2, m.EffectResult(leaf("late")), b"as sent")
    assert scene.reason(other) is Reason.STALE_ATTEMPT


def test_a_late_node_report_is_kept_too() -> None:
    scene = Scene(SPEC).start()
    scene.lease()
    scene.give(i.Cancel())
    decision = scene.give(i.NodePlanned(1, 1, m.StepPlan(next_node="b"), report=b"as sent"))
    assert (decision.ack, scene.kinds(3)) == (Ack.STALE, ["late_result"])


def test_the_report_after_a_run_deadline_is_kept_too() -> None:
    scene = Scene(SPEC).start(deadline_at=AT + 5)
    scene.lease()
    scene.fire(TimerKind.RUN_DEADLINE)
    decision = scene.give(i.NodePlanned(1, 1, failure(), report=b"as sent"))
    assert (decision.ack, scene.kinds(3)) == (Ack.STALE, ["late_result"])


@pytest.mark.parametrize(("left", "status"), [(-1, "FAILED"), (0, "FAILED"), (1, "RUNNING")])
def test_a_run_whose_deadline_has_passed_fails_as_it_starts(left: int, status: str) -> None:
    """Also one that would end within its first commit."""
    scene = Scene()
    scene.start(deadline_at=scene.now + left)
    assert scene.run.status.name == status
    if status == "FAILED":
        assert scene.error.type == "RUN_DEADLINE"
        assert [record.kind.name for record in scene.ledger] == ["RUN_STARTED", "FAILED"]


def test_nothing_is_late_after_a_cancel_without_a_lease() -> None:
    scene = Scene(SPEC).start()
    scene.lease()
    scene.lapse()
    scene.give(i.Cancel())
    assert scene.reason(i.NodePlanned(1, 1, m.StepPlan(next_node="b"))) is Reason.STALE_ATTEMPT


def test_time_does_not_go_back_after_a_late_result() -> None:
    scene = leased_effect(WITH_CLEANUP)
    step_id = scene.step.step_id
    scene.give(i.Cancel())
    scene.wake(10)
    scene.give(i.EffectSettled(step_id, 1, m.EffectResult(leaf("late"))))
    scene.wake(-5)
    scene.lease()
    assert scene.ledger[-1].at == AT + 10 * SECOND_US
    assert scene.run.updated_at == AT + 10 * SECOND_US


def cancelling(**fields: Any) -> Scene:
    """A run on the way of its cancel."""
    scene = Scene(WITH_CLEANUP).start(**fields)
    scene.give(i.Cancel("enough", "ann"))
    return scene


def test_a_cancel_enters_the_on_cancel_node() -> None:
    scene = cancelling()
    assert scene.ledger[-1].body == CancelRequested("enough", m.NodeEntry("cleanup", 1), "ann")
    assert scene.where == "QUEUED cleanup"
    assert scene.run.status is m.RunStatus.RUNNING
    assert (scene.run.cancelling, scene.run.visits) == (True, {"a": 1, "cleanup": 1})
    scene.plan(next_node="cleanup2")
    assert (scene.where, scene.run.cancelling) == ("QUEUED cleanup2", True)


def test_a_path_that_completes_ends_cancelled_and_keeps_its_output() -> None:
    scene = cancelling()
    scene.plan(complete_output=leaf({"undone": True}))
    assert scene.ledger[-1].body == Cancelled("enough", output=leaf({"undone": True}))
    assert scene.run.status is m.RunStatus.CANCELLED
    assert scene.run.output == leaf({"undone": True})
    assert scene.error == m.Failure("CANCELLED", "enough")
    assert not scene.run.cancelling


def test_a_path_that_ends_with_an_effect_keeps_its_result() -> None:
    scene = cancelling()
    scene.plan(effect=custom())
    scene.lease()
    scene.done(5)
    assert scene.run.status is m.RunStatus.CANCELLED
    assert scene.run.output == Leaf(b'{"success":true,"result":5}')


@pytest.mark.parametrize("outcome", [m.StepPlan(fail=m.Failure("NO", "no")), m.StepPlan()], ids=["fail", "bad plan"])
def test_a_path_that_fails_ends_cancelled_and_keeps_its_error(outcome: m.StepPlan) -> None:
    scene = cancelling()
    scene.lease()
    scene.report(outcome)
    assert scene.run.status is m.RunStatus.CANCELLED
    assert scene.error.type in {"NO", "BAD_PLAN"}
    body = scene.ledger[-1].body
    assert isinstance(body, Cancelled)
    assert (body.reason, body.failure) == ("enough", scene.error)


def test_a_run_deadline_on_the_path_ends_it_cancelled() -> None:
    scene = cancelling(deadline_at=AT + 5)
    scene.fire(TimerKind.RUN_DEADLINE)
    assert (scene.run.status, scene.error.type) == (m.RunStatus.CANCELLED, "RUN_DEADLINE")


def test_a_path_retries_waits_and_pauses_like_any_other() -> None:
    scene = cancelling()
    scene.lease()
    scene.report(failure())
    assert scene.where == "BACKOFF cleanup"
    scene.give(i.Pause())
    scene.fire(TimerKind.RETRY)
    assert scene.reason(i.StepLeased(scene.step.step_id, "worker-1")) is Reason.NOT_DUE
    scene.give(i.Unpause())
    scene.perform(m.AskUser(m.WaitTerms(prompt="undo by hand")), next_node="cleanup2")
    scene.answer("done")
    scene.plan(complete_output=leaf({}))
    assert scene.run.status is m.RunStatus.CANCELLED


def test_a_second_cancel_ends_the_path_at_once() -> None:
    scene = cancelling()
    scene.lease()
    scene.give(i.Cancel("really", "bob"))
    assert scene.ledger[-1].body == Cancelled("enough", cancelled_by="bob")
    assert scene.run.status is m.RunStatus.CANCELLED
    assert scene.error == m.Failure("CANCELLED", "enough"), "why it was cancelled does not change"
    late = i.NodePlanned(scene.ledger[1].seq, 1, m.StepPlan(next_node="b"), report=b"as sent")
    assert scene.give(late).ack is Ack.STALE


@pytest.mark.promise("P7")
def test_a_manual_budget_does_not_apply_on_the_path() -> None:
    scene = cancelling(drive=m.Drive.MANUAL)
    assert (scene.where, scene.run.step_budget) == ("QUEUED cleanup", 0)
    scene.plan(next_node="cleanup2")
    assert scene.where == "QUEUED cleanup2"
    scene.plan(complete_output=leaf({}))
    assert scene.run.status is m.RunStatus.CANCELLED


def test_the_path_leaves_an_unused_budget_alone() -> None:
    scene = Scene(WITH_CLEANUP).start(drive=m.Drive.MANUAL)
    scene.give(i.TickBudget(5))
    scene.give(i.Cancel())
    assert (scene.where, scene.run.step_budget) == ("QUEUED cleanup", 4)


@pytest.mark.parametrize("spec", [SPEC, WITH_CLEANUP])
def test_a_cancel_clears_a_pause(spec: m.WorkflowSpec) -> None:
    scene = Scene(spec).start()
    scene.give(i.Pause())
    scene.give(i.Cancel())
    assert not scene.run.paused


def paused() -> Scene:
    """A paused run at its first node."""
    scene = Scene(WITH_CLEANUP).start()
    scene.give(i.Pause("a while", "ann"))
    return scene


def test_a_pause_is_recorded_and_holds_the_task() -> None:
    scene = paused()
    assert scene.ledger[-1].body == Paused("a while", "ann")
    assert scene.where == "QUEUED a"
    task = obligations(scene.run).task
    assert task is not None
    assert task.held
    assert scene.reason(i.StepLeased(1, "worker-1")) is Reason.NOT_DUE
    assert scene.give(i.Pause("again")).records == []


def test_an_unpause_lets_the_task_go() -> None:
    scene = paused()
    scene.wake(100)
    scene.give(i.Unpause("bob"))
    assert scene.ledger[-1].body == Unpaused("bob")
    task = obligations(scene.run).task
    assert task is not None
    assert (task.held, task.queued_at) == (False, scene.now)
    assert scene.give(i.Unpause()).records == []
    scene.lease()
    assert scene.where == "LEASED a"


def test_nobody_is_late_for_a_held_task() -> None:
    timeouts = m.Timeouts(schedule_to_start_us=60 * SECOND_US)
    scene = Scene(workflow(m.NodeSpec("a", timeouts=timeouts))).start()
    scene.give(i.Pause())
    scene.wake(600)
    assert scene.reason(scene.timer(TimerKind.SCHEDULE_TO_START)) is Reason.NOT_DUE
    scene.give(i.Unpause())
    assert scene.due_at(TimerKind.SCHEDULE_TO_START) == scene.now + 60 * SECOND_US


def test_a_pause_holds_a_turn() -> None:
    scene = Scene(SPEC).start()
    scene.lease()
    scene.give(i.Pause())
    scene.report(m.StepPlan(effect=m.Effect("answer_user", m.AnswerUser("hello"), "out"), next_node="b"))
    assert (obligations(scene.run).turn, obligations(scene.run).task) == (True, None)
    assert scene.reason(i.TurnTaken(scene.step.step_id)) is Reason.NOT_DUE
    scene.give(i.Unpause())
    assert obligations(scene.run).turn is False
    scene.give(i.TurnTaken(scene.step.step_id))
    assert scene.where == "QUEUED b"


@pytest.mark.promise("P6")
def test_what_arrives_during_a_pause_is_recorded_and_nothing_starts() -> None:
    scene = Scene(SPEC).start()
    scene.perform(m.WaitEvent("go"), next_node="a")
    scene.horizon = 9
    scene.give(i.Pause())
    event = i.EventMatched(scene.wait.wait_id, 5, "e", m.EventScope.SESSION, "session-1", "go", leaf({"n": 1}))
    scene.give(event)
    assert (scene.where, scene.run.paused, scene.run.vars) == ("QUEUED a", True, {"out": {"n": 1}})
    task = obligations(scene.run).task
    assert task is not None
    assert task.held


@pytest.mark.promise("P6")
def test_an_answer_during_a_pause_ends_the_wait() -> None:
    scene = Scene(SPEC).start().perform(m.AskUser(m.WaitTerms(prompt="?")))
    scene.give(i.Pause())
    assert scene.where == "WAITING a"
    scene.answer("yes")
    assert (scene.where, scene.run.paused) == ("QUEUED b", True)


def test_an_attempt_under_way_goes_on_during_a_pause() -> None:
    scene = Scene(SPEC).start().open(custom("out", risk=m.Risk.IRREVERSIBLE))
    scene.give(i.Pause())
    task = obligations(scene.run).task
    assert task is not None
    assert (task.leased, task.held) == (True, False)
    assert scene.begin().ack is Ack.ACCEPTED
    scene.done(1)
    assert (scene.where, scene.run.paused) == ("QUEUED b", True)


def test_a_rerun_during_a_pause_leaves_a_held_task() -> None:
    scene = Scene(SPEC).start().open(custom("out", risk=m.Risk.IRREVERSIBLE))
    scene.begin()
    scene.lapse()
    scene.give(i.Pause())
    scene.give(i.ResolveStep(scene.step.step_id, Resolution.RERUN))
    task = obligations(scene.run).task
    assert task is not None
    assert (task.held, scene.where) == (True, "QUEUED a")


def test_a_run_may_end_while_paused() -> None:
    scene = Scene(SPEC).start()
    scene.lease()
    scene.give(i.Pause())
    scene.report(m.StepPlan(complete_output=leaf({})))
    assert (scene.run.status, scene.run.paused) == (m.RunStatus.COMPLETED, False)


def manual(spec: m.WorkflowSpec = SPEC, **fields: Any) -> Scene:
    """A manual run."""
    return Scene(spec).start(drive=m.Drive.MANUAL, **fields)


def test_a_manual_run_is_idle_until_it_gets_a_budget() -> None:
    scene = manual()
    assert (scene.where, scene.run.step_budget) == ("IDLE a", 0)
    assert scene.run.status is m.RunStatus.RUNNING
    due = obligations(scene.run)
    assert (due.task, due.turn) == (None, None)
    scene.wake(9)
    scene.give(i.TickBudget(1))
    assert scene.ledger[-1].body == BudgetAdded(1)
    assert (scene.where, scene.run.step_budget) == ("QUEUED a", 0)
    task = obligations(scene.run).task
    assert task is not None
    assert task.queued_at == scene.now


def test_every_entry_takes_one_and_then_the_run_is_idle_again() -> None:
    scene = manual(workflow("a", "b"))
    scene.give(i.TickBudget(3))
    entered = ["a"]
    for node in ("b", "a"):
        scene.plan(next_node=node)
        entered.append(node)
        assert scene.where == f"QUEUED {node}"
    scene.plan(next_node="b")
    assert (scene.where, scene.run.step_budget) == ("IDLE b", 0)
    assert scene.run.visits == {"a": 2, "b": 2}, "the entry is recorded, its step waits for a budget"


def test_what_is_left_of_a_budget_ends_with_the_run() -> None:
    scene = manual()
    scene.give(i.TickBudget(3))
    scene.plan(complete_output=leaf({}))
    assert (scene.where, scene.run.step_budget) == ("COMPLETED", 0)


def test_budgets_add_up() -> None:
    scene = manual()
    scene.give(i.TickBudget(2))
    scene.give(i.TickBudget(5))
    assert (scene.where, scene.run.step_budget) == ("QUEUED a", 6)


def test_a_budget_of_nothing_changes_nothing() -> None:
    scene = manual()
    assert scene.give(i.TickBudget(0)).records == []
    assert scene.where == "IDLE a"


def test_an_auto_run_takes_no_budget() -> None:
    assert Scene(SPEC).start().reason(i.TickBudget(1)) is Reason.RUN_NOT_MANUAL


def test_effects_attempts_and_waits_take_no_budget() -> None:
    scene = manual()
    scene.give(i.TickBudget(1))
    scene.open(custom("out", retry=RETRY))
    scene.settle(failure())
    scene.fire(TimerKind.RETRY)
    scene.lease()
    scene.lapse()
    scene.lease()
    scene.settle(m.WaitRequest(m.WaitReason.JOB))
    scene.answer("done")
    assert (scene.where, scene.run.vars) == ("IDLE b", {"out": "done"})


def test_a_start_in_the_future_still_needs_a_budget() -> None:
    scene = manual(start_at=AT + SECOND_US)
    scene.fire(TimerKind.START)
    assert scene.where == "IDLE a"
    early = manual(start_at=AT + SECOND_US)
    early.give(i.TickBudget(2))
    assert (early.where, early.run.step_budget) == ("BACKOFF a", 2)
    early.fire(TimerKind.START)
    assert (early.where, early.run.step_budget) == ("QUEUED a", 1)


def test_a_budget_during_a_pause_leaves_a_held_task() -> None:
    scene = manual()
    scene.give(i.Pause())
    scene.give(i.TickBudget(1))
    task = obligations(scene.run).task
    assert task is not None
    assert task.held


def test_on_error_and_on_deadline_entries_take_budget_too() -> None:
    scene = manual()
    scene.give(i.TickBudget(1))
    scene.open(custom(on_error_node="oops"))
    scene.settle(failure())
    assert scene.where == "IDLE oops"
    late = manual()
    late.give(i.TickBudget(1))
    late.perform(m.AskUser(m.WaitTerms(prompt="?", timeout_us=1, on_deadline_node="oops")))
    late.fire(TimerKind.WAIT_DEADLINE)
    assert late.where == "IDLE oops"
