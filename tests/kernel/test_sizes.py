"""P10 in the kernel: what is too large is refused or fails by name, and nothing grows past its limit."""

from __future__ import annotations

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.bounds import ID_CHARS
from perdure_server.kernel.decision import Reason
from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.limits import DEFAULT_LIMITS, KIB, MIB, Limits
from perdure_server.kernel.values import Json, Leaf, dump_json
from tests.kernel.scene import Scene, custom, failure, leaf, workflow

pytestmark = pytest.mark.promise("P10")

SPEC = workflow("a", "b", "oops")
SMALL = Limits(payload_bytes=100, record_payload_bytes=250, vars_bytes=200)


def small(**vars_: str) -> Scene:
    """A run under small limits, leased at its first node."""
    scene = Scene(SPEC, limits=SMALL).start(dict(vars_))
    scene.lease()
    return scene


def text(size: int) -> m.VarsOp:
    """Sets /t to a text whose JSON has `size` bytes."""
    return m.VarsOp("/t", "set", leaf("x" * (size - 2)))


def test_the_limits_are_the_promised_ones() -> None:
    limits = DEFAULT_LIMITS
    assert (limits.payload_bytes, limits.record_payload_bytes, limits.vars_bytes) == (MIB, 3 * MIB, 2 * MIB)
    assert (limits.message_bytes, limits.receive_bytes, limits.batch_bytes) == (3584 * KIB, 8 * MIB, 256 * KIB)
    assert (limits.json_depth, ID_CHARS, limits.labels, limits.label_bytes) == (128, 128, 32, 256)
    assert (limits.workflow_nodes, limits.open_children, limits.tree_depth) == (2_000, 10_000, 32)
    assert (limits.streams_per_caller, limits.max_lapses, limits.chained_records) == (100, 5, 64)
    assert limits.as_dict()["payload_bytes"] == MIB


TOO_LARGE = {
    "an op": m.StepPlan(vars_ops=(text(101),), next_node="b"),
    "the output": m.StepPlan(complete_output=leaf({"x": "y" * 100})),
    "an effect's payload": m.StepPlan(
        effect=m.Effect("charge", m.RemoteRequest(leaf({"x": "y" * 100}))), next_node="b"
    ),
    "an event's payload": m.StepPlan(
        effect=m.Effect("emit_event", m.EmitEvent("go", payload=leaf("y" * 100))), next_node="b"
    ),
    "a child's vars": m.StepPlan(
        effect=m.Effect("start_subworkflow", m.StartSubworkflow("w", vars=leaf({"x": "y" * 100}))), next_node="b"
    ),
    "a question's details": m.StepPlan(
        effect=m.Effect("ask_user", m.AskUser(m.WaitTerms(prompt="?", details=leaf("y" * 100)))), next_node="b"
    ),
    "an answer's schema": m.StepPlan(
        effect=m.Effect("wait_event", m.WaitEvent("go", terms=m.WaitTerms(answer_schema=leaf("y" * 100)))),
        next_node="b",
    ),
    "all together": m.StepPlan(
        vars_ops=(text(90), text(90)),
        effect=m.Effect("charge", m.RemoteRequest(leaf({"x": "y" * 80}))),
        next_node="b",
    ),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_a_plan_with_a_payload_that_is_too_large_fails_the_run(what: str) -> None:
    scene = small()
    scene.report(TOO_LARGE[what])
    assert scene.kinds(2) == ["step_completed", "failed"]
    assert scene.error.type == "PAYLOAD_TOO_LARGE"
    assert "'a'" in scene.error.message
    assert scene.run.vars == {}


def test_a_payload_of_exactly_the_limit_is_taken() -> None:
    scene = small()
    scene.report(m.StepPlan(vars_ops=(text(100),), next_node="b"))
    assert scene.where == "QUEUED b"


def test_payloads_of_exactly_the_limit_together_are_taken() -> None:
    scene = small()
    effect = m.Effect("charge", m.RemoteRequest(leaf({"x": "y" * 42})))
    assert effect.request == m.RemoteRequest(leaf({"x": "y" * 42}))
    scene.report(m.StepPlan(vars_ops=(text(100), text(100)), effect=effect, next_node="b"))
    assert scene.where == "QUEUED a"


def test_vars_of_exactly_the_limit_are_taken() -> None:
    exactly = Scene(SPEC, limits=Limits(vars_bytes=100)).start()
    exactly.plan(vars_ops=(m.VarsOp("/t", "set", leaf("x" * 92)),), next_node="b")
    assert len(dump_json(dict(exactly.run.vars))) == 100
    assert exactly.where == "QUEUED b"
    over = Scene(SPEC, limits=Limits(vars_bytes=99)).start()
    over.plan(vars_ops=(m.VarsOp("/t", "set", leaf("x" * 92)),), next_node="b")
    assert over.error.type == "VARS_TOO_LARGE"


@pytest.mark.parametrize(("limit", "where"), [(100, "QUEUED b"), (99, "FAILED")])
def test_a_result_may_fill_the_vars_to_the_limit(limit: int, where: str) -> None:
    scene = Scene(SPEC, limits=Limits(vars_bytes=limit)).start().open(custom("t"))
    scene.done("x" * 92)
    assert scene.where == where


def test_ops_that_make_vars_too_large_fail_the_run() -> None:
    scene = small(a="x" * 60)
    room = 200 - len(dump_json(dict(scene.run.vars))) - len(b',"t":""')
    fits = Scene(SPEC, limits=SMALL).start({"a": "x" * 60})
    fits.plan(vars_ops=(m.VarsOp("/t", "set", leaf("y" * 50)), m.VarsOp("/t", "set", leaf("y" * 60))), next_node="b")
    assert fits.where == "QUEUED b"
    assert room > 90
    scene.report(m.StepPlan(vars_ops=(text(90), m.VarsOp("/u", "set", leaf("z" * 60))), next_node="b"))
    assert scene.error.type == "VARS_TOO_LARGE"
    assert scene.run.vars == {"a": "x" * 60}


def test_vars_that_grow_when_they_are_written_again_count_as_written() -> None:
    """1E15 is written 1000000000000000.0."""
    grown = Leaf(b'{"x":[' + b",".join([b"1E15"] * 20) + b"]}")
    assert grown.size < 200 < len(dump_json(grown.value))
    refused = Scene(SPEC, limits=SMALL).refused(i.StartRun("default", "run-1", grown))
    assert (refused.reason, refused.field) == (Reason.VARS_TOO_LARGE, "vars_json")
    child = workflow("x", workflow_id="child")
    scene = Scene(SPEC, limits=Limits(vars_bytes=200), workflows=(child,)).start()
    scene.perform(m.StartSubworkflow("child", vars=grown))
    assert (scene.error.type, scene.new_runs) == ("VARS_TOO_LARGE", [])
    again = Scene(SPEC, limits=Limits(vars_bytes=200)).start()
    again.plan(vars_ops=(m.VarsOp("/x", "set", grown),), next_node="b")
    assert again.error.type == "VARS_TOO_LARGE"


def test_vars_may_be_rewritten_for_ever() -> None:
    scene = Scene(SPEC, limits=SMALL).start()
    for _ in range(30):
        scene.plan(vars_ops=(text(90),), next_node="a")
    assert scene.where == "QUEUED a"


def test_a_result_that_makes_vars_too_large_fails_the_effect() -> None:
    scene = Scene(SPEC, limits=Limits(vars_bytes=300)).start({"a": "x" * 100})
    scene.open(custom("out", on_error_node="oops", retry=m.RetryPolicy(max_attempts=9)))
    scene.done("y" * 200)
    assert scene.where == "QUEUED oops"
    error = scene.run.vars["out"]
    assert isinstance(error, dict)
    assert error["type"] == "VARS_TOO_LARGE"


def test_a_result_that_is_not_stored_needs_no_room() -> None:
    scene = Scene(SPEC, limits=SMALL).start({"a": "x" * 180})
    scene.open(custom(""))
    scene.done("y" * 95)
    assert scene.where == "QUEUED b"


def test_an_error_that_does_not_fit_fails_the_run() -> None:
    scene = Scene(SPEC, limits=SMALL).start({"a": "x" * 180})
    scene.open(custom(on_error_node="oops"))
    scene.settle(failure())
    assert scene.run.status is m.RunStatus.FAILED
    assert scene.error.type == "BUSY"


def test_an_answer_that_does_not_fit_is_refused_and_the_wait_stays() -> None:
    scene = Scene(SPEC, limits=SMALL).start({"a": "x" * 150})
    scene.perform(m.AskUser(m.WaitTerms(prompt="?")))
    refused = scene.refused(i.Resume(scene.wait.wait_id, False, leaf("y" * 50)))
    assert (refused.reason, refused.field) == (Reason.VARS_TOO_LARGE, "payload_json")
    scene.answer("short")
    assert scene.where == "QUEUED b"


def test_an_instant_whose_result_does_not_fit_fails_the_step() -> None:
    scene = Scene(SPEC, limits=SMALL).start({"a": "x" * 185})
    scene.perform(m.WaitUntil(delay_us=1))
    scene.fire(TimerKind.UNTIL)
    assert scene.error.type == "VARS_TOO_LARGE"


def test_a_message_is_cut_at_its_limit() -> None:
    limits = Limits(message_chars=60)
    scene = Scene(SPEC, limits=limits).start().open(custom())
    scene.settle(failure("BUSY", "x" * 500))
    assert len(scene.error.message) == 60
    assert scene.error.message.startswith("Effect failed after 1 attempts: xxx")


def test_the_error_of_a_child_is_cut_where_it_would_be_too_large() -> None:
    child = workflow("x", workflow_id="child")
    scene = Scene(SPEC, limits=SMALL, workflows=(child,)).start().perform(m.StartSubworkflow("child"))
    broken = m.Failure("BROKEN", "why", details=leaf("y" * 300))
    scene.give(i.ChildEndSeen("child-1", m.RunStatus.FAILED, None, broken))
    assert scene.error.type == "CHILD_FAILED"
    assert scene.error.details == leaf({"sub_run_id": "child-1"})


@pytest.mark.parametrize(("spare", "whole"), [(0, True), (-1, False)])
def test_the_error_of_a_child_may_be_as_large_as_a_payload(spare: int, whole: bool) -> None:
    error: Json = {"type": "BROKEN", "message": "why", "retryable": False, "details": None}
    expected = leaf({"sub_run_id": "child-1", "error": error})
    limits = Limits(payload_bytes=expected.size + spare)
    scene = Scene(SPEC, limits=limits, workflows=(workflow("x", workflow_id="child"),)).start()
    scene.perform(m.StartSubworkflow("child"))
    scene.give(i.ChildEndSeen("child-1", m.RunStatus.FAILED, None, m.Failure("BROKEN", "why")))
    assert scene.error.details == (expected if whole else leaf({"sub_run_id": "child-1"}))


def test_a_null_result_takes_no_room() -> None:
    scene = Scene(SPEC, limits=Limits(vars_bytes=9)).start({"a": 11}).open(custom("key"))
    scene.done(None)
    assert (scene.where, scene.run.vars) == ("QUEUED b", {"a": 11})
