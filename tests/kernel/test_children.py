"""Child runs: started in three modes, their ends, and the cancel that goes down the tree."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decision import Mail, MailKind, Reason
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.kernel.records import ChildEnded, RunStarted
from perdure_server.kernel.values import Leaf
from tests.kernel.laws import check_ledger, check_run
from tests.kernel.ledgers import AT, fold
from tests.kernel.scene import Scene, leaf, workflow

CHILD = workflow("x", "y", workflow_id="child")
SPEC = workflow("a", "b", "oops")
CANCEL, ABANDON = m.ChildPolicy.CANCEL, m.ChildPolicy.ABANDON
COMPLETED, FAILED, CANCELLED = m.RunStatus.COMPLETED, m.RunStatus.FAILED, m.RunStatus.CANCELLED


def parent(request: m.StartSubworkflow | None = None, **fields: Any) -> Scene:
    """A run whose first node starts a child."""
    scene = Scene(SPEC, workflows=(CHILD,)).start(actor_id="actor-1", trace_context=m.TraceContext("t"))
    return scene.perform(request or m.StartSubworkflow("child"), **fields)


def ended(status: m.RunStatus = COMPLETED, output: Leaf | None = None, **fields: Any) -> i.ChildEndSeen:
    """The end of the first child."""
    failure = fields.get("failure")
    assert failure is None or isinstance(failure, m.Failure)
    return i.ChildEndSeen("child-1", status, output, failure)


@pytest.mark.promise("P1")
def test_a_child_starts_in_the_commit_of_its_parent_and_inherits() -> None:
    scene = parent(m.StartSubworkflow("child", vars=leaf({"n": 1}), labels=(("k", "v"),)))
    (new,) = scene.new_runs
    child = new.run
    assert (child.run_id, child.parent_run_id, child.root_run_id, child.depth) == ("child-1", "run-1", "run-1", 1)
    assert (child.session_id, child.actor_id, child.trace_context) == ("session-1", "actor-1", m.TraceContext("t"))
    assert (child.workflow_id, child.current_node, child.vars, child.labels) == ("child", "x", {"n": 1}, {"k": "v"})
    assert (child.drive, child.parent_step_id, child.created_at) == (m.Drive.AUTO, 3, AT)
    assert fold(new.records) == child
    check_ledger(new.records)
    check_run(child, scene.limits.vars_bytes)


def test_a_child_may_be_told_more() -> None:
    request = m.StartSubworkflow(
        "child", run_id="mine", entry_node="y", session_id="session-2", drive=m.Drive.MANUAL, async_=True
    )
    child = parent(request).new_runs[0].run
    assert (child.run_id, child.entry_node, child.session_id) == ("mine", "y", "session-2")
    assert (child.drive, child.activity, child.vars) == (m.Drive.MANUAL, m.Activity.IDLE, {})
    assert child.root_run_id == "run-1"


def test_a_childs_floor_is_the_horizon_of_its_start() -> None:
    scene = Scene(SPEC, workflows=(CHILD,)).start()
    scene.horizon = 77
    scene.perform(m.StartSubworkflow("child"))
    body = scene.new_runs[0].records[0].body
    assert isinstance(body, RunStarted)
    assert body.event_floor == 77


@pytest.mark.parametrize(("async_", "wait"), [(False, False), (False, True), (True, True)])
def test_an_awaited_child_is_waited_for(async_: bool, wait: bool) -> None:
    scene = parent(m.StartSubworkflow("child", async_=async_, wait=wait))
    assert scene.kinds(3) == ["waiting"]
    assert (scene.wait.reason, scene.wait.child_run_id) == (m.WaitReason.SUBWORKFLOW, "child-1")
    assert scene.wait.deadline_at == 0
    assert scene.run.children == {"child-1": m.Child("child-1", 3, True, CANCEL)}


def test_a_child_beside_lets_its_parent_go_on() -> None:
    scene = parent(m.StartSubworkflow("child", async_=True, on_parent_cancel=ABANDON))
    assert scene.kinds(3) == ["step_completed"]
    assert scene.where == "QUEUED b"
    assert scene.run.vars == {"out": {"sub_run_id": "child-1", "async": True}}
    assert scene.run.children == {"child-1": m.Child("child-1", 3, False, ABANDON)}


@pytest.mark.promise("P6")
def test_the_end_of_an_awaited_child_wakes_its_parent_with_the_output() -> None:
    scene = parent()
    scene.give(ended(output=Leaf(b'{ "n": 1.0 }')))
    body = scene.ledger[-1].body
    assert isinstance(body, ChildEnded)
    assert (body.child_run_id, body.child_status, body.wait_id) == ("child-1", COMPLETED, 4)
    assert body.result == Leaf(b'{"sub_run_id":"child-1","output":{ "n": 1.0 }}')
    assert scene.where == "QUEUED b"
    assert scene.run.vars == {"out": {"sub_run_id": "child-1", "output": {"n": 1.0}}}
    assert scene.run.children == {}
    assert scene.reason(ended()) is Reason.NOT_DUE, "a child ends once"


def test_an_awaited_child_without_a_way_on_ends_its_parent() -> None:
    scene = parent(next_node="")
    scene.give(ended(output=leaf({"n": 1})))
    assert scene.kinds(4) == ["child_ended", "completed"]
    assert scene.run.output == Leaf(b'{"success":true,"result":{"sub_run_id":"child-1","output":{"n":1}}}')


def test_the_end_of_a_child_beside_changes_nothing_else() -> None:
    scene = parent(m.StartSubworkflow("child", async_=True))
    before = scene.run
    scene.give(ended(FAILED, failure=m.Failure("BROKEN")))
    assert scene.ledger[-1].body == ChildEnded("child-1", FAILED)
    assert scene.run.children == {}
    assert (scene.run.step, scene.run.vars, scene.where) == (before.step, before.vars, "QUEUED b")


@pytest.mark.parametrize(
    ("status", "failure", "kind", "word"),
    [
        (FAILED, m.Failure("BROKEN", "it broke", details=leaf([1])), "CHILD_FAILED", "it broke"),
        (CANCELLED, m.Failure("CANCELLED", "enough"), "CHILD_CANCELLED", "enough"),
    ],
)
def test_an_awaited_child_that_fails_or_is_cancelled_fails_the_effect(
    status: m.RunStatus, failure: m.Failure, kind: str, word: str
) -> None:
    scene = parent()
    scene.give(ended(status, failure=failure))
    assert scene.kinds(4) == ["child_ended", "step_completed", "failed"]
    assert scene.run.status is FAILED
    assert scene.error.type == kind
    assert word in scene.error.message
    assert scene.error.details is not None
    details = scene.error.details.value
    assert isinstance(details, dict)
    assert details["sub_run_id"] == "child-1"
    error = details["error"]
    assert isinstance(error, dict)
    assert (error["type"], error["message"]) == (failure.type, failure.message)


@pytest.mark.parametrize(("status", "said"), [(FAILED, "failed: FAILED"), (CANCELLED, "was cancelled: CANCELLED")])
def test_a_child_that_ends_without_a_word_is_told_by_its_status(status: m.RunStatus, said: str) -> None:
    scene = parent()
    scene.give(ended(status))
    assert said in scene.error.message


def test_a_child_without_an_output_gives_null() -> None:
    scene = parent()
    scene.give(ended())
    assert scene.run.vars == {"out": {"sub_run_id": "child-1", "output": None}}


def test_a_failed_child_takes_the_effects_on_error_node() -> None:
    scene = Scene(SPEC, workflows=(CHILD,)).start()
    effect = m.Effect("start_subworkflow", m.StartSubworkflow("child"), "out", on_error_node="oops")
    scene.plan(effect=effect, next_node="b")
    scene.give(i.TurnTaken(scene.step.step_id))
    scene.give(ended(FAILED, failure=m.Failure("BROKEN", "it broke")))
    assert scene.where == "QUEUED oops"
    assert scene.kinds(4) == ["child_ended", "step_completed"]
    error = scene.run.vars["out"]
    assert isinstance(error, dict)
    assert error["type"] == "CHILD_FAILED"


def test_a_childs_output_too_large_for_the_vars_fails_the_effect() -> None:
    scene = parent()
    scene.limits = Limits(vars_bytes=100)
    scene.give(ended(output=leaf({"x": "y" * 200})))
    assert scene.error.type == "VARS_TOO_LARGE"
    assert scene.kinds(4) == ["child_ended", "step_completed", "failed"]


def test_the_wait_for_a_child_may_have_a_deadline() -> None:
    scene = parent(m.StartSubworkflow("child", timeout_us=9 * SECOND_US))
    assert scene.wait.deadline_at == AT + 9 * SECOND_US
    scene.fire(TimerKind.WAIT_DEADLINE)
    assert scene.error.type == "DEADLINE"
    assert scene.mail == [Mail("child-1", MailKind.CANCEL, "run-1")], "nobody waits for it any more"


def test_only_its_child_ends_the_wait() -> None:
    scene = parent()
    for answer in (i.Resume(scene.wait.wait_id, False, leaf(1)), i.Resume(0, True, leaf(1))):
        refused = scene.refused(answer)
        assert refused.reason is Reason.WAIT_NOT_RESUMABLE
        assert refused.metadata["child_run_id"] == "child-1"


REFUSALS = {
    "WORKFLOW_NOT_FOUND": m.StartSubworkflow("nobody"),
    "NODE_NOT_FOUND": m.StartSubworkflow("child", entry_node="nowhere"),
    "RUN_EXISTS": m.StartSubworkflow("child", run_id="taken"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_child_that_cannot_start_fails_the_effect(kind: str) -> None:
    scene = Scene(SPEC, workflows=(CHILD,)).start()
    scene.taken = frozenset({"taken"})
    scene.perform(REFUSALS[kind])
    assert (scene.error.type, scene.new_runs) == (kind, [])


def test_a_tree_is_at_most_so_deep() -> None:
    scene = Scene(SPEC, workflows=(CHILD,), limits=Limits(tree_depth=3)).start(depth=2)
    scene.perform(m.StartSubworkflow("child", async_=True))
    assert scene.new_runs[0].run.depth == 3
    deeper = Scene(SPEC, workflows=(CHILD,), limits=Limits(tree_depth=3)).start(depth=3)
    deeper.perform(m.StartSubworkflow("child", async_=True))
    assert (deeper.error.type, deeper.new_runs) == ("LIMIT_REACHED", [])


def test_open_children_are_limited_and_ended_ones_are_not_counted() -> None:
    scene = Scene(SPEC, workflows=(CHILD,), limits=Limits(open_children=2)).start()
    for _ in range(2):
        scene.perform(m.StartSubworkflow("child", async_=True), next_node="a")
    scene.give(ended())
    scene.perform(m.StartSubworkflow("child", async_=True), next_node="a")
    assert len(scene.run.children) == 2
    scene.perform(m.StartSubworkflow("child", async_=True), next_node="a")
    assert scene.error.type == "LIMIT_REACHED"
    assert len(scene.new_runs) == 3


def child_run(**fields: Any) -> Scene:
    """A run that has a parent."""
    return Scene(SPEC).start(parent_run_id="parent-1", root_run_id="root-1", depth=2, **fields)


TOLD = [Mail("parent-1", MailKind.CHILD_ENDED, "run-1")]


@pytest.mark.promise("P6")
def test_however_a_child_ends_its_parent_is_told_in_the_same_commit() -> None:
    completed, failed, cancelled, late = (child_run(deadline_at=AT + 5) for _ in range(4))
    assert completed.plan(complete_output=leaf({})).mail == TOLD
    assert failed.plan(fail=m.Failure("NO")).mail == TOLD
    assert cancelled.give(i.Cancel()).mail == TOLD
    assert late.fire(TimerKind.RUN_DEADLINE).mail == TOLD


def test_a_root_tells_nobody() -> None:
    scene = Scene(SPEC).start()
    scene.plan(complete_output=leaf({}))
    assert scene.mail == []


def with_two_children() -> Scene:
    """A run with one child to cancel and one to abandon, at node "a"."""
    scene = Scene(SPEC, workflows=(CHILD,)).start()
    for policy in (CANCEL, ABANDON):
        scene.perform(m.StartSubworkflow("child", async_=True, on_parent_cancel=policy), next_node="a")
    return scene


@pytest.mark.promise("P6")
def test_a_cancel_goes_down_by_policy() -> None:
    scene = with_two_children()
    assert scene.give(i.Cancel()).mail == [Mail("child-1", MailKind.CANCEL, "run-1")]
    assert scene.reason(ended(CANCELLED)) is Reason.NOT_DUE


def test_an_awaited_child_is_cancelled_with_its_parent() -> None:
    scene = parent()
    assert scene.give(i.Cancel()).mail == [Mail("child-1", MailKind.CANCEL, "run-1")]
    assert scene.run.waiting is None


def test_a_cancel_with_a_cleanup_goes_down_at_once_and_children_end_meanwhile() -> None:
    spec = workflow("a", "b", "cleanup", on_cancel_node="cleanup")
    scene = Scene(spec, workflows=(CHILD,)).start()
    scene.perform(m.StartSubworkflow("child"))
    assert scene.give(i.Cancel()).mail == [Mail("child-1", MailKind.CANCEL, "run-1")]
    scene.give(ended(CANCELLED))
    assert (scene.where, scene.run.children) == ("QUEUED cleanup", {})


def test_a_run_deadline_takes_the_children_along() -> None:
    scene = Scene(SPEC, workflows=(CHILD,)).start(deadline_at=AT + 5)
    scene.perform(m.StartSubworkflow("child"))
    assert scene.fire(TimerKind.RUN_DEADLINE).mail == [Mail("child-1", MailKind.CANCEL, "run-1")]


@pytest.mark.parametrize("outcome", [m.StepPlan(complete_output=leaf({})), m.StepPlan(fail=m.Failure("NO"))])
def test_a_child_beside_outlives_a_parent_that_ends_by_itself(outcome: m.StepPlan) -> None:
    scene = with_two_children()
    scene.lease()
    assert scene.report(outcome).mail == []
