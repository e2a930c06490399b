"""Plans: what they lead to, in which order, and what a bad one does."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decide import decide
from perdure_server.kernel.decision import Env, Reason, Rejection
from perdure_server.kernel.keys import idempotency_key
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import RunStarted, StepCompleted, StepStatus
from perdure_server.kernel.values import Leaf
from tests.kernel.ledgers import AT
from tests.kernel.scene import RETRY, Scene, custom, failure, leaf, workflow

SET_N = (m.VarsOp("/n", "set", leaf(1)),)


def test_a_new_run_stands_at_the_entry_node_with_what_it_was_given() -> None:
    scene = Scene()
    scene.horizon = 41
    scene.start({"x": 1}, actor_id="actor-1", labels={"k": "v"}, deadline_at=AT + 9, trace_context=m.TraceContext("t"))
    run = scene.run
    assert scene.where == "QUEUED a"
    assert run.status is m.RunStatus.RUNNING
    assert (run.vars, run.actor_id, run.session_id, run.labels) == ({"x": 1}, "actor-1", "session-1", {"k": "v"})
    assert (run.root_run_id, run.parent_run_id, run.depth) == ("run-1", "", 0)
    assert (run.created_at, run.updated_at, run.deadline_at, run.event_floor) == (AT, AT, AT + 9, 41)
    assert run.visits == {"a": 1}
    assert (run.workflow_id, run.workflow_version) == ("flow", "0" * 64)
    assert run.trace_context == m.TraceContext("t")
    assert scene.kinds() == ["run_started"]
    assert obligations(run).task is not None


def test_a_run_without_a_session_has_its_own() -> None:
    assert Scene().start(session_id="").run.session_id == "run-1"


def test_a_run_may_start_at_another_node() -> None:
    scene = Scene().start(entry_node="b")
    assert scene.where == "QUEUED b"
    assert scene.run.entry_node == "b"


def test_an_unknown_entry_node_is_refused_by_name() -> None:
    refused = Scene().refused(i.StartRun("default", "run-1", leaf({}), entry_node="nowhere"))
    assert refused.reason is Reason.NODE_NOT_FOUND
    assert refused.field == "entry_node"
    assert "nowhere" in refused.message


def test_a_start_in_the_future_waits_for_its_instant() -> None:
    scene = Scene().start(start_at=AT + SECOND_US)
    assert scene.where == "BACKOFF a"
    assert scene.due_at(i.TimerKind.START) == AT + SECOND_US
    assert scene.reason(scene.timer(i.TimerKind.START)) is Reason.NOT_DUE
    scene.fire(i.TimerKind.START)
    assert scene.where == "QUEUED a"
    assert scene.run.visits == {"a": 1}


@pytest.mark.parametrize("start_at", [AT, AT - SECOND_US])
def test_a_start_that_is_not_in_the_future_is_due_now(start_at: int) -> None:
    assert Scene().start(start_at=start_at).where == "QUEUED a"


def test_a_node_is_handed_out_with_its_own_queue_priority_and_timeouts() -> None:
    timeouts = m.Timeouts(schedule_to_start_us=7)
    scene = Scene(workflow(m.NodeSpec("a", queue="slow", priority=3, timeouts=timeouts))).start()
    task = obligations(scene.run).task
    assert task is not None
    assert (task.queue, task.priority, task.node_id, task.effect_type) == ("slow", 3, "a", "")
    assert (task.step_id, task.attempt, task.leased, task.held, task.queued_at) == (1, 0, False, False, AT)
    assert scene.due_at(i.TimerKind.SCHEDULE_TO_START) == AT + 7


def test_a_leased_step_is_its_workers() -> None:
    scene = Scene().start()
    scene.wake(5)
    scene.lease("worker-7")
    record = scene.ledger[-1]
    assert (record.attempt, record.worker_id, record.step_id, record.node_id, record.visit) == (
        1,
        "worker-7",
        1,
        "a",
        1,
    )
    assert record.status is StepStatus.STARTED
    assert record.at == AT + 5 * SECOND_US
    task = obligations(scene.run).task
    assert task is not None
    assert (task.leased, task.worker_id, task.attempt) == (True, "worker-7", 1)
    assert scene.run.step is not None
    assert scene.run.step.started_at == AT + 5 * SECOND_US


def test_a_plan_with_a_next_node_enters_it_in_one_record() -> None:
    scene = Scene().start()
    scene.plan(next_node="b", vars_ops=SET_N)
    assert scene.kinds(2) == ["step_completed"]
    assert scene.where == "QUEUED b"
    assert scene.run.vars == {"n": 1}
    assert scene.step.step_id == 3
    assert scene.step.attempt == 0
    assert scene.ledger[2].status is StepStatus.COMPLETED
    assert scene.ledger[2].step_id == 1


def test_a_plan_without_a_next_node_takes_the_nodes_own() -> None:
    scene = Scene(workflow(m.NodeSpec("a", next="b"), "b")).start()
    scene.plan()
    assert scene.where == "QUEUED b"


def test_a_plans_next_node_goes_before_the_nodes_own() -> None:
    scene = Scene(workflow(m.NodeSpec("a", next="b"), "b", "c")).start()
    scene.plan(next_node="c")
    assert scene.where == "QUEUED c"


def test_complete_ends_the_run_with_the_output_as_it_was_sent() -> None:
    scene = Scene().start()
    scene.wake(3)
    scene.plan(complete_output=Leaf(b'{ "n":1.0}'), vars_ops=SET_N)
    assert scene.kinds(2) == ["step_completed", "completed"]
    assert scene.run.status is m.RunStatus.COMPLETED
    assert scene.run.output == Leaf(b'{ "n":1.0}')
    assert scene.run.vars == {"n": 1}
    assert scene.run.ended_at == AT + 3 * SECOND_US


def test_an_empty_object_completes_too() -> None:
    scene = Scene().start()
    scene.plan(complete_output=leaf({}), next_node="b")
    assert scene.run.status is m.RunStatus.COMPLETED


def test_fail_goes_before_complete_and_next() -> None:
    scene = Scene(workflow(m.NodeSpec("a", on_error_node="b", retry=RETRY), "b")).start()
    why = m.Failure("NO_STOCK", "none left", details=leaf([1]))
    scene.plan(fail=why, complete_output=leaf({}), next_node="b", vars_ops=SET_N)
    assert scene.run.status is m.RunStatus.FAILED
    assert scene.error == why
    assert scene.run.vars == {"n": 1}
    assert scene.run.output is None


def test_complete_goes_before_a_next_node_that_does_not_exist() -> None:
    scene = Scene().start()
    scene.plan(complete_output=leaf({}), next_node="nowhere")
    assert scene.run.status is m.RunStatus.COMPLETED


BAD_PLANS = {
    "nothing": m.StepPlan(),
    "only ops": m.StepPlan(vars_ops=SET_N),
    "fail and effect": m.StepPlan(fail=m.Failure("X"), effect=custom()),
    "complete and effect": m.StepPlan(complete_output=leaf({}), effect=custom(), next_node="b"),
    "unknown next": m.StepPlan(next_node="nowhere"),
    "unknown next of an effect": m.StepPlan(effect=custom(), next_node="nowhere"),
    "unknown on_error": m.StepPlan(effect=custom(on_error_node="nowhere"), next_node="b"),
    "unknown resume_to": m.StepPlan(
        effect=m.Effect("ask_user", m.AskUser(m.WaitTerms(prompt="?", resume_to_node="nowhere"))), next_node="b"
    ),
    "unknown on_deadline": m.StepPlan(
        effect=m.Effect("wait_event", m.WaitEvent("go", terms=m.WaitTerms(on_deadline_node="nowhere"))), next_node="b"
    ),
    "append to a string": m.StepPlan(vars_ops=(m.VarsOp("/s", "append", leaf(1)),), next_node="b"),
    "root set to a list": m.StepPlan(vars_ops=(m.VarsOp("", "set", leaf([])),), next_node="b"),
    "no pointer": m.StepPlan(vars_ops=(m.VarsOp("s", "set", leaf(1)),), next_node="b"),
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_a_bad_plan_fails_the_run_and_names_the_node(name: str) -> None:
    scene = Scene(workflow(m.NodeSpec("a", retry=RETRY, on_error_node="b"), "b")).start({"s": "text"})
    scene.lease()
    scene.report(BAD_PLANS[name])
    assert scene.kinds(2) == ["step_completed", "failed"]
    assert scene.ledger[2].status is StepStatus.FAILED
    assert scene.error.type == "BAD_PLAN"
    assert "'a'" in scene.error.message
    assert scene.run.vars == {"s": "text"}, "a plan that is not carried out changes nothing"


def test_an_effect_is_opened_with_its_own_step_and_settled_there() -> None:
    scene = Scene().start()
    scene.plan(effect=custom("a.b.c"), next_node="b", vars_ops=(m.VarsOp("/a", "set", leaf(5)),))
    assert scene.where == "QUEUED a"
    assert scene.step.step_id == 3
    assert scene.run.vars == {"a": 5}, "vars_ops are applied before the effect"
    task = obligations(scene.run).task
    assert task is not None
    assert (task.effect_type, task.attempt) == ("charge", 0)
    scene.lease()
    scene.done("R")
    assert scene.where == "QUEUED b"
    assert scene.run.vars == {"a": {"b": {"c": "R"}}}
    assert scene.kinds(2) == ["step_completed", "step_started", "step_completed"]
    assert scene.ledger[-1].step_id == 3
    assert scene.run.visits == {"a": 1, "b": 1}


def test_vars_ops_stay_when_the_effect_fails() -> None:
    scene = Scene().start()
    scene.plan(effect=custom(), next_node="b", vars_ops=SET_N)
    scene.lease()
    scene.settle(failure())
    assert scene.run.status is m.RunStatus.FAILED
    assert scene.run.vars == {"n": 1}


@pytest.mark.parametrize("result", [None, Leaf(b"null"), Leaf(b" null ")])
def test_a_null_result_stores_nothing(result: Leaf | None) -> None:
    scene = Scene().start()
    scene.open(custom("a.b"))
    scene.settle(m.EffectResult(result))
    assert scene.run.vars == {}
    assert scene.where == "QUEUED b"


def test_without_a_result_key_the_result_is_in_the_ledger_only() -> None:
    scene = Scene().start()
    scene.open(custom())
    scene.done([1])
    assert scene.run.vars == {}
    body = scene.ledger[-1].body
    assert isinstance(body, StepCompleted)
    assert body.result == leaf([1])


@pytest.mark.parametrize(("result", "text"), [("x", b'"x"'), (None, b"null")])
def test_an_effect_without_a_next_node_ends_the_run_with_its_result(result: str | None, text: bytes) -> None:
    scene = Scene(workflow("a")).start()
    scene.open(custom("k"), next_node="")
    scene.done(result)
    assert scene.kinds(4) == ["step_completed", "completed"]
    assert scene.run.output == Leaf(b'{"success":true,"result":' + text + b"}")
    assert scene.run.vars == ({"k": "x"} if result else {})


def test_an_effect_takes_what_it_leaves_open_from_its_node() -> None:
    retry, timeouts = m.RetryPolicy(max_attempts=4), m.Timeouts(start_to_close_us=5)
    node = m.NodeSpec("a", queue="q", retry=retry, timeouts=timeouts, on_error_node="b", priority=2)
    scene = Scene(workflow(node, "b")).start()
    scene.plan(effect=custom(), next_node="b")
    effect = scene.step.effect
    assert effect is not None
    assert (effect.queue, effect.retry, effect.timeouts) == ("q", retry, timeouts)
    assert (effect.on_error_node, effect.priority) == ("b", 2)
    assert (scene.step.queue, scene.step.priority, scene.step.timeouts) == ("q", 2, timeouts)


def test_what_an_effect_says_goes_before_its_node() -> None:
    retry, timeouts = m.RetryPolicy(max_attempts=4), m.Timeouts(start_to_close_us=5)
    node = m.NodeSpec("a", queue="q", retry=RETRY, timeouts=m.Timeouts(1, 1, 1), on_error_node="b", priority=2)
    scene = Scene(workflow(node, "b", "c")).start()
    mine = custom(queue="r", retry=retry, timeouts=timeouts, on_error_node="c", priority=-1, risk=m.Risk.READ)
    scene.plan(effect=mine, next_node="b")
    effect = scene.step.effect
    assert effect is not None
    assert (effect.queue, effect.retry, effect.timeouts) == ("r", retry, timeouts)
    assert (effect.on_error_node, effect.priority, effect.risk) == ("c", -1, m.Risk.READ)


def test_without_any_policy_there_is_one_attempt_on_the_default_queue() -> None:
    scene = Scene().start()
    scene.plan(effect=custom(), next_node="b")
    effect = scene.step.effect
    assert effect is not None
    assert (effect.retry.max_attempts, effect.queue, effect.timeouts) == (1, "default", m.NO_TIMEOUTS)


def test_a_plan_may_carry_the_outcome_of_its_effect() -> None:
    scene = Scene().start()
    scene.plan(m.EffectResult(leaf(7)), effect=custom("n"), next_node="b")
    assert scene.kinds(2) == ["step_completed", "step_started", "step_completed"]
    assert scene.where == "QUEUED b"
    assert scene.run.vars == {"n": 7}
    started = scene.ledger[3]
    assert (started.step_id, started.attempt, started.worker_id) == (3, 1, "worker-1")


def test_a_carried_failure_is_retried_like_any_other() -> None:
    scene = Scene().start()
    scene.plan(failure(), effect=custom("n", retry=RETRY), next_node="b")
    assert scene.where == "BACKOFF a"
    assert (scene.step.attempt, scene.step.failures) == (1, 1)


def test_a_carried_wait_waits() -> None:
    scene = Scene().start()
    scene.plan(m.WaitRequest(m.WaitReason.JOB), effect=custom("n"), next_node="b")
    assert scene.where == "WAITING a"
    scene.answer(5)
    assert scene.run.vars == {"n": 5}


@pytest.mark.parametrize(
    "effect",
    [custom(risk=m.Risk.IRREVERSIBLE), m.Effect("answer_user", m.AnswerUser("hello"))],
    ids=["irreversible", "the server's own"],
)
def test_an_outcome_of_an_effect_that_is_not_the_workers_to_settle_is_refused(effect: m.Effect) -> None:
    scene = Scene().start()
    scene.lease()
    plan = m.StepPlan(effect=effect, next_node="b")
    report = i.NodePlanned(1, 1, plan, m.EffectResult(leaf(1)))
    refused = scene.refused(report)
    assert (refused.reason, refused.field) == (Reason.BAD_REPORT, "effect_outcome")
    scene.report(plan)
    assert scene.where == "QUEUED a", "the lease stands: the plan alone is taken"


def test_an_outcome_without_an_effect_is_refused() -> None:
    scene = Scene().start()
    scene.lease()
    refused = scene.refused(i.NodePlanned(1, 1, m.StepPlan(next_node="b"), m.EffectResult(leaf(1))))
    assert (refused.reason, refused.field) == (Reason.BAD_REPORT, "effect_outcome")


def test_the_server_makes_the_plan_of_a_node_of_its_own() -> None:
    spec = workflow("a", m.NodeSpec("b", m.NodeKind.COMPLETE, template=leaf({})))
    scene = Scene(spec).start()
    scene.plan(next_node="b")
    due = obligations(scene.run)
    assert (due.task, due.turn) == (None, False)
    assert scene.reason(i.NodePlanned(scene.step.step_id + 1, 0, m.StepPlan())) is Reason.NOT_DUE
    scene.give(i.NodePlanned(scene.step.step_id, 0, m.StepPlan(complete_output=leaf({"ok": True}))))
    assert scene.run.output == leaf({"ok": True})


def test_the_server_makes_no_plan_for_a_workers_node() -> None:
    assert Scene().start().reason(i.NodePlanned(1, 0, m.StepPlan(next_node="b"))) is Reason.NOT_DUE


@pytest.mark.promise("P4")
def test_every_entry_of_a_node_is_a_visit_and_has_its_own_key() -> None:
    scene = Scene(workflow("a", "b")).start()
    keys: list[str] = []
    for visit in (1, 2, 3):
        scene.open(custom("n"), next_node="a")
        assert (scene.step.visit, scene.run.visits) == (visit, {"a": visit})
        assert scene.step.effect is not None
        keys.append(scene.step.effect.idempotency_key)
        scene.done(visit)
    assert len(set(keys)) == 3, "a loop really repeats a call"
    assert keys == [idempotency_key("default", "run-1", "a", visit) for visit in (1, 2, 3)]


@pytest.mark.promise("P5")
def test_a_retry_keeps_step_visit_and_key() -> None:
    scene = Scene().start()
    scene.open(custom(retry=RETRY))
    before = scene.step
    scene.settle(failure())
    scene.fire(i.TimerKind.RETRY)
    scene.lease()
    after = scene.step
    assert (after.step_id, after.visit, after.effect) == (before.step_id, before.visit, before.effect)
    assert after.attempt == before.attempt + 1
    assert scene.ledger[-1].idempotency_key == scene.ledger[3].idempotency_key != ""


def test_an_effect_may_bring_its_own_key() -> None:
    scene = Scene().start()
    scene.open(custom(idempotency_key="mine"))
    assert scene.step.effect is not None
    assert scene.step.effect.idempotency_key == "mine"


def test_the_idempotency_key_is_the_documented_hash() -> None:
    def prefixed(text: str) -> bytes:
        data = text.encode()
        return struct.pack(">I", len(data)) + data

    place = ("perdure/effect/v1", "default", "run-1", "näh")
    material = b"".join(map(prefixed, place)) + struct.pack(">Q", 258)
    expected = base64.b32encode(hashlib.sha256(material).digest()).decode()[:32]
    assert idempotency_key("default", "run-1", "näh", 258) == expected
    assert len(expected) == 32


def test_idempotency_keys_of_different_places_differ() -> None:
    places = [("a", "bc", "d", 1), ("ab", "c", "d", 1), ("a", "b", "cd", 1), ("a", "bc", "d", 2)]
    assert len({idempotency_key(*place) for place in places}) == len(places)


def test_the_first_record_names_everything_the_run_is() -> None:
    scene = Scene().start({"x": 1}, start_at=AT + 1, drive=m.Drive.MANUAL)
    body = scene.ledger[0].body
    assert isinstance(body, RunStarted)
    assert (body.namespace, body.run_id, body.start_at, body.drive) == ("default", "run-1", AT + 1, m.Drive.MANUAL)
    assert body.vars == leaf({"x": 1})


def test_time_that_goes_backwards_does_not_show_in_the_ledger() -> None:
    scene = Scene().start()
    scene.now = AT - SECOND_US
    scene.lease()
    assert scene.ledger[-1].at == AT


def test_an_input_for_no_run_is_not_found() -> None:
    with pytest.raises(Rejection) as refused:
        decide(None, i.Cancel(), Env(now=AT, spec=workflow("a")))
    assert refused.value.reason is Reason.RUN_NOT_FOUND


@pytest.mark.promise("P10")
def test_a_run_that_goes_round_in_the_server_ends() -> None:
    spec = workflow(m.NodeSpec("x", m.NodeKind.ASSIGN, on_error_node="x"), m.NodeSpec("y", m.NodeKind.CHOICE))
    scene = Scene(spec, limits=Limits(server_turns=5)).start()
    for turn in range(5):
        assert scene.run.turns == turn
        node, to = ("x", "y") if turn % 2 == 0 else ("y", "x")
        assert scene.where == f"QUEUED {node}"
        scene.give(i.NodePlanned(scene.step.step_id, 0, m.StepPlan(next_node=to)))
    scene.give(i.NodePlanned(scene.step.step_id, 0, m.StepPlan(next_node="x")))
    assert (scene.where, scene.error.type) == ("FAILED", "LOOP_LIMIT")
    assert "5 nodes in a row" in scene.error.message


def test_a_node_that_fails_for_ever_ends_too() -> None:
    spec = workflow(m.NodeSpec("x", m.NodeKind.CHOICE, on_error_node="x"))
    scene = Scene(spec, limits=Limits(server_turns=3)).start()
    for _ in range(4):
        scene.give(i.NodePlanned(scene.step.step_id, 0, failure("EXPRESSION_FAILED", retryable=False)))
    assert (scene.where, scene.error.type) == ("FAILED", "LOOP_LIMIT")


def test_an_effect_a_wait_and_a_worker_start_the_count_anew() -> None:
    spec = workflow(m.NodeSpec("x", m.NodeKind.ASSIGN), m.NodeSpec("w"))
    scene = Scene(spec, limits=Limits(server_turns=2)).start()
    for _ in range(3):
        scene.give(i.NodePlanned(scene.step.step_id, 0, m.StepPlan(next_node="w")))
        assert scene.run.turns == 1
        scene.plan(next_node="x")
        assert scene.run.turns == 0
    wait = m.Effect("wait_event", m.WaitEvent(wait_key="k"))
    for _ in range(2):
        scene.give(i.NodePlanned(scene.step.step_id, 0, m.StepPlan(effect=wait, next_node="x")))
        scene.give(i.TurnTaken(scene.step.step_id))
        scene.answer(1)
        assert scene.run.turns == 0
        scene.give(i.NodePlanned(scene.step.step_id, 0, m.StepPlan(next_node="x")))
        assert scene.run.turns == 1
