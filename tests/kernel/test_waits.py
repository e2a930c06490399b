"""Waits: for a person, an instant, a job; how they end, and what does not end them."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decision import Reason
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import ResumeCause, Resumed, StepStatus
from perdure_server.kernel.values import Leaf
from tests.kernel.ledgers import AT, fold
from tests.kernel.scene import Scene, custom, leaf, workflow

S = SECOND_US
SPEC = workflow("a", "b", "late", "oops", "elsewhere")


def asked(terms: m.WaitTerms | None = None, **fields: Any) -> Scene:
    """A run that asks a person."""
    request = m.AskUser(terms or m.WaitTerms(prompt="Go on?"))
    return Scene(SPEC).start().perform(request, **fields)


def test_a_question_waits_with_its_terms() -> None:
    terms = m.WaitTerms(
        prompt="Continue?",
        choices=("y", "n"),
        allow_free_text=False,
        details=leaf({"order": 7}),
        answer_schema=leaf({"type": "string"}),
        assignee="ops",
        deadline_at=AT + 60 * S,
        on_deadline_node="late",
    )
    scene = asked(terms)
    assert scene.kinds(3) == ["waiting"]
    assert scene.run.status is m.RunStatus.WAITING
    assert scene.where == "WAITING a"
    assert scene.ledger[-1].status is StepStatus.WAITING
    wait = scene.wait
    assert (wait.reason, wait.wait_key, wait.wait_id) == (m.WaitReason.USER, "user:run-1:a", 4)
    assert (wait.resume_to_node, wait.result_key, wait.node_id, wait.since_at) == ("b", "out", "a", AT)
    assert (wait.prompt, wait.choices, wait.allow_free_text) == ("Continue?", ("y", "n"), False)
    assert (wait.details, wait.answer_schema) == (leaf({"order": 7}), leaf({"type": "string"}))
    assert (wait.assignee, wait.deadline_at, wait.on_deadline_node) == ("ops", AT + 60 * S, "late")
    assert scene.due_at(TimerKind.WAIT_DEADLINE) == AT + 60 * S
    assert obligations(scene.run).task is None


def test_the_answer_goes_on_at_the_next_node_and_the_waiting_node_is_not_run_again() -> None:
    scene = asked()
    wait_id = scene.wait.wait_id
    scene.wake(5)
    scene.give(i.Resume(wait_id, False, leaf({"response": "y"}), "user:run-1:a", "ann"))
    assert scene.ledger[-1].body == Resumed(
        wait_id, ResumeCause.ANSWER, leaf({"response": "y"}), m.NodeEntry("b", 1), "ann"
    )
    assert scene.where == "QUEUED b"
    assert scene.run.status is m.RunStatus.RUNNING
    assert scene.run.waiting is None
    assert scene.run.vars == {"out": {"response": "y"}}
    assert scene.run.visits == {"a": 1, "b": 1}


def test_resume_to_node_goes_before_the_plans_next_node() -> None:
    scene = asked(m.WaitTerms(prompt="?", resume_to_node="elsewhere"))
    scene.answer("y")
    assert scene.where == "QUEUED elsewhere"


def test_an_answer_without_a_way_on_ends_the_run() -> None:
    scene = asked(next_node="")
    scene.answer({"response": "hi"})
    assert scene.kinds(4) == ["resumed", "completed"]
    assert scene.run.output == Leaf(b'{"success":true,"result":{"response":"hi"}}')
    assert scene.run.vars == {"out": {"response": "hi"}}


def test_a_null_answer_stores_nothing() -> None:
    scene = asked()
    scene.answer(None)
    assert (scene.where, scene.run.vars) == ("QUEUED b", {})


def test_an_answer_names_its_wait() -> None:
    scene = asked()
    refused = scene.refused(i.Resume(0, False, leaf("y")))
    assert (refused.reason, refused.field) == (Reason.WAIT_ID_REQUIRED, "wait_id")
    scene.give(i.Resume(0, True, leaf("y")))
    assert scene.where == "QUEUED b"


@pytest.mark.promise("P6")
def test_an_answer_to_an_ended_wait_does_not_reach_the_next_one() -> None:
    scene = asked()
    first = scene.wait.wait_id
    scene.answer("first")
    scene.perform(m.AskUser(m.WaitTerms(prompt="Again?")), next_node="a", result_key="second")
    for any_wait in (False, True):
        refused = scene.refused(i.Resume(first, any_wait, leaf("first, once more")))
        assert refused.reason is Reason.WAIT_ENDED
        assert refused.metadata == {"wait_id": str(first), "current_wait_id": str(scene.wait.wait_id)}
    assert "second" not in scene.run.vars


def test_a_key_must_be_the_waits_own() -> None:
    scene = asked()
    refused = scene.refused(i.Resume(scene.wait.wait_id, False, leaf("y"), wait_key="other"))
    assert (refused.reason, refused.field) == (Reason.WAIT_KEY_MISMATCH, "wait_key")
    assert refused.metadata == {"wait_key": "user:run-1:a"}
    refused = scene.refused(i.Resume(0, True, leaf("y"), wait_key="other"))
    assert refused.reason is Reason.WAIT_KEY_MISMATCH


def test_a_question_may_have_a_key_of_its_own() -> None:
    scene = Scene(SPEC).start().perform(m.AskUser(m.WaitTerms(prompt="?"), wait_key="mine"))
    assert scene.wait.wait_key == "mine"


CLOSED = m.WaitTerms(prompt="?", choices=("yes", "no"), allow_free_text=False)


@pytest.mark.parametrize("answer", ["yes", {"response": "no"}, {"response": "yes", "why": 1}])
def test_an_answer_among_the_choices_is_taken(answer: dict[str, object] | str) -> None:
    scene = asked(CLOSED)
    scene.answer(answer)  # type: ignore[arg-type]
    assert scene.where == "QUEUED b"


@pytest.mark.parametrize(
    "answer", ["maybe", None, 1, ["yes"], {"response": "maybe"}, {"answer": "yes"}, {}, {"yes": 1}]
)
def test_an_answer_outside_the_choices_is_refused(answer: object) -> None:
    scene = asked(CLOSED)
    refused = scene.refused(i.Resume(scene.wait.wait_id, False, leaf(answer)))  # type: ignore[arg-type]
    assert (refused.reason, refused.field) == (Reason.ANSWER_NOT_ALLOWED, "payload_json")
    assert "yes" in refused.message


def test_a_refusal_does_not_repeat_a_thousand_choices() -> None:
    many = m.WaitTerms(prompt="?", choices=tuple("x" * 90 for _ in range(100)), allow_free_text=False)
    scene = asked(many)
    refused = scene.refused(i.Resume(scene.wait.wait_id, False, leaf("no")))
    assert len(refused.message) == 1_000


@pytest.mark.parametrize(
    "terms", [m.WaitTerms(prompt="?", choices=("yes",)), m.WaitTerms(prompt="?", allow_free_text=False)]
)
def test_choices_are_proposals_unless_free_text_is_refused(terms: m.WaitTerms) -> None:
    scene = asked(terms)
    scene.answer("something else")
    assert scene.where == "QUEUED b"


def test_a_deadline_may_be_relative_to_the_wait() -> None:
    scene = Scene(SPEC).start()
    scene.wake(100)
    scene.perform(m.AskUser(m.WaitTerms(prompt="?", timeout_us=5 * S, on_deadline_node="late")))
    assert scene.wait.deadline_at == AT + 105 * S


def test_a_deadline_goes_to_its_node() -> None:
    scene = asked(m.WaitTerms(prompt="?", timeout_us=5 * S, on_deadline_node="late"))
    wait_id = scene.wait.wait_id
    assert scene.reason(scene.timer(TimerKind.WAIT_DEADLINE)) is Reason.NOT_DUE
    scene.fire(TimerKind.WAIT_DEADLINE)
    assert scene.ledger[-1].body == Resumed(wait_id, ResumeCause.DEADLINE, None, m.NodeEntry("late", 1))
    assert (scene.where, scene.run.vars) == ("QUEUED late", {})
    assert scene.run.visits == {"a": 1, "late": 1}
    assert scene.reason(i.Resume(wait_id, False, leaf("late"))) is Reason.RUN_NOT_WAITING


def test_a_deadline_without_a_node_fails_the_step() -> None:
    scene = asked(m.WaitTerms(prompt="?", timeout_us=5 * S))
    scene.fire(TimerKind.WAIT_DEADLINE)
    assert scene.run.status is m.RunStatus.FAILED
    assert scene.error.type == "DEADLINE"
    assert scene.run.waiting is None


def test_a_deadline_without_a_node_takes_the_steps_on_error_node() -> None:
    scene = Scene(SPEC).start()
    request = m.AskUser(m.WaitTerms(prompt="?", timeout_us=5 * S))
    effect = m.Effect("ask_user", request, "out", on_error_node="oops", retry=m.RetryPolicy(max_attempts=9))
    scene.plan(effect=effect, next_node="b")
    scene.give(i.TurnTaken(scene.step.step_id))
    scene.fire(TimerKind.WAIT_DEADLINE)
    assert scene.where == "QUEUED oops"
    error = scene.run.vars["out"]
    assert isinstance(error, dict)
    assert error["type"] == "DEADLINE"


def until(request: m.WaitUntil, **fields: Any) -> Scene:
    """A run that waits for an instant."""
    return Scene(SPEC).start().perform(request, **fields)


@pytest.mark.parametrize(
    "request_", [m.WaitUntil(until_at=AT + 90 * S), m.WaitUntil(delay_us=90 * S)], ids=["until", "delay"]
)
def test_a_run_waits_for_an_instant(request_: m.WaitUntil) -> None:
    scene = until(request_)
    assert (scene.wait.reason, scene.wait.until_at, scene.wait.wait_key) == (m.WaitReason.UNTIL, AT + 90 * S, "")
    assert scene.due_at(TimerKind.UNTIL) == AT + 90 * S
    scene.now = AT + 90 * S - 1
    assert scene.reason(scene.timer(TimerKind.UNTIL)) is Reason.NOT_DUE
    scene.fire(TimerKind.UNTIL)
    body = scene.ledger[-1].body
    assert isinstance(body, Resumed)
    assert body.cause is ResumeCause.TIMER
    assert scene.where == "QUEUED b"
    assert scene.run.vars == {"out": {"until": "2023-11-14T22:14:50.000000Z", "ready": True}}


def test_an_instant_without_a_way_on_ends_the_run() -> None:
    scene = until(m.WaitUntil(delay_us=S), next_node="")
    scene.fire(TimerKind.UNTIL)
    assert scene.run.status is m.RunStatus.COMPLETED
    assert scene.kinds(4) == ["resumed", "completed"]


@pytest.mark.parametrize("request_", [m.WaitUntil(until_at=AT - 1), m.WaitUntil(until_at=AT), m.WaitUntil(delay_us=0)])
def test_an_instant_that_has_come_is_not_waited_for(request_: m.WaitUntil) -> None:
    scene = until(request_)
    assert scene.kinds(3) == ["step_completed"]
    assert scene.where == "QUEUED b"
    stored = scene.run.vars["out"]
    assert isinstance(stored, dict)
    assert stored["ready"] is True


def test_an_instant_is_ended_early_by_its_wait_id_only() -> None:
    scene = until(m.WaitUntil(delay_us=90 * S))
    assert scene.reason(i.Resume(0, True, leaf("now"))) is Reason.WAIT_NOT_RESUMABLE
    assert scene.reason(i.Resume(scene.wait.wait_id + 1, False, leaf("now"))) is Reason.WAIT_ENDED
    scene.answer("now")
    assert (scene.where, scene.run.vars) == ("QUEUED b", {"out": "now"})
    assert scene.reason(scene.timer(TimerKind.UNTIL)) is Reason.NOT_DUE


@pytest.mark.parametrize("reason", [m.WaitReason.EVENT, m.WaitReason.USER, m.WaitReason.JOB])
def test_a_workers_effect_may_ask_for_a_wait(reason: m.WaitReason) -> None:
    scene = Scene(SPEC).start().open(custom("out"))
    terms = m.WaitTerms(prompt="?", choices=("x",), timeout_us=S, on_deadline_node="late", resume_to_node="elsewhere")
    scene.settle(m.WaitRequest(reason, terms=terms))
    wait = scene.wait
    assert (wait.reason, wait.wait_key) == (reason, f"{reason.name.lower()}:run-1:a")
    assert (wait.prompt, wait.choices, wait.on_deadline_node) == ("?", ("x",), "late")
    assert (wait.event_name, wait.deadline_at) == ("", scene.now + S)
    scene.answer(7)
    assert (scene.where, scene.run.vars) == ("QUEUED elsewhere", {"out": 7})


def test_a_workers_wait_may_have_a_key_of_its_own() -> None:
    scene = Scene(SPEC).start().open(custom("out"))
    scene.settle(m.WaitRequest(m.WaitReason.JOB, "job-7"))
    assert scene.wait.wait_key == "job-7"


@pytest.mark.parametrize("terms", [m.WaitTerms(resume_to_node="nowhere"), m.WaitTerms(on_deadline_node="nowhere")])
def test_a_workers_wait_that_leads_nowhere_fails_the_run(terms: m.WaitTerms) -> None:
    scene = Scene(SPEC).start().open(custom("out"))
    scene.settle(m.WaitRequest(m.WaitReason.JOB, terms=terms))
    assert scene.error.type == "BAD_PLAN"
    assert "'a'" in scene.error.message


def test_a_report_after_the_wait_began_is_stale() -> None:
    scene = Scene(SPEC).start().open(custom("out"))
    step_id = scene.step.step_id
    scene.settle(m.WaitRequest(m.WaitReason.JOB))
    assert scene.reason(i.EffectSettled(step_id, 1, m.EffectResult(leaf(1)))) is Reason.STALE_ATTEMPT


def test_a_message_to_a_person_completes_at_once() -> None:
    scene = Scene(SPEC).start().perform(m.AnswerUser("hello", "warning"))
    assert scene.where == "QUEUED b"
    assert scene.run.vars == {"out": {"message": "hello", "level": "warning"}}


def test_vars_are_answered_with_the_envelope_made_outside() -> None:
    scene = Scene(SPEC).start()
    scene.plan(effect=m.Effect("vars_query", m.VarsQuery(), "out"), next_node="b")
    scene.give(i.TurnTaken(scene.step.step_id, leaf({"mode": "executed", "results": []})))
    assert scene.run.vars == {"out": {"mode": "executed", "results": []}}


def test_a_turn_of_another_step_is_not_due() -> None:
    scene = Scene(SPEC).start()
    scene.plan(effect=m.Effect("answer_user", m.AnswerUser("x")), next_node="b")
    assert scene.reason(i.TurnTaken(scene.step.step_id + 1)) is Reason.NOT_DUE
    assert scene.reason(i.TurnTaken(1)) is Reason.NOT_DUE


def test_the_server_does_not_settle_a_workers_effect() -> None:
    scene = Scene(SPEC).start()
    scene.plan(effect=custom(), next_node="b")
    assert scene.reason(i.TurnTaken(scene.step.step_id)) is Reason.NOT_DUE


@pytest.mark.promise("P7")
def test_a_runs_deadline_fails_it_wherever_it_stands() -> None:
    scene = Scene(SPEC).start(deadline_at=AT + 60 * S)
    scene.perform(m.AskUser(m.WaitTerms(prompt="?")))
    assert scene.reason(scene.timer(TimerKind.RUN_DEADLINE)) is Reason.NOT_DUE
    scene.fire(TimerKind.RUN_DEADLINE)
    assert scene.run.status is m.RunStatus.FAILED
    assert scene.error.type == "RUN_DEADLINE"
    assert scene.kinds(4) == ["failed"]
    assert scene.run.waiting is None


def test_a_run_without_a_deadline_has_none() -> None:
    scene = Scene(SPEC).start()
    assert scene.reason(scene.timer(TimerKind.RUN_DEADLINE)) is Reason.NOT_DUE


def test_a_run_that_waits_is_nobodys() -> None:
    """The worker whose effect became a wait does not hold the step any more."""
    scene = Scene().start().open(custom("n"))
    assert scene.step.worker_id == "worker-1"
    scene.settle(m.WaitRequest(m.WaitReason.JOB))
    assert (scene.where, scene.step.worker_id) == ("WAITING a", "")


@pytest.mark.promise("P3")
def test_between_the_answer_and_the_end_a_run_waits_no_more() -> None:
    """An answer without a node to resume to is the output: two records, and a state after each."""
    scene = Scene().start().perform(m.AskUser(terms=m.WaitTerms()), next_node="")
    waiting = scene.run.seq
    scene.answer({"ok": True})
    assert scene.kinds(waiting) == ["resumed", "completed"]
    between = fold(scene.ledger[:-1])
    assert (between.seq, between.waiting, between.status) == (waiting + 1, None, m.RunStatus.RUNNING)
