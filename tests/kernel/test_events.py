"""Events: emitted to the log, and consumed from it by the waits that ask for them."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decision import EventAppend, Reason
from perdure_server.kernel.keys import idempotency_key
from perdure_server.kernel.limits import Limits
from perdure_server.kernel.records import EventConsumed
from perdure_server.kernel.values import Leaf
from tests.kernel.ledgers import AT
from tests.kernel.scene import Scene, leaf, workflow

SESSION, WORKFLOW, RUN, GLOBAL = m.EventScope.SESSION, m.EventScope.WORKFLOW, m.EventScope.RUN, m.EventScope.GLOBAL
SPEC = workflow("a", "b", "oops")
FLOOR = 20


def listening(request: m.WaitEvent | None = None, **fields: Any) -> Scene:
    """A run, started at horizon 20, that waits for the event "go" of its session; the horizon is 100."""
    scene = Scene(SPEC)
    scene.horizon = FLOOR
    scene.start()
    scene.horizon = 100
    return scene.perform(request or m.WaitEvent("go"), **fields)


def event(
    scene: Scene,
    position: int = 50,
    name: str = "go",
    scope: m.EventScope = SESSION,
    scope_id: str = "session-1",
    **fields: Any,
) -> i.EventMatched:
    """An event of the log, offered to the run's wait."""
    wait_id = scene.run.waiting.wait_id if scene.run.waiting else 0
    envelope = fields.pop("envelope", leaf({"event_id": f"event-{position}"}))
    assert isinstance(envelope, Leaf)
    return i.EventMatched(wait_id, position, f"event-{position}", scope, scope_id, name, envelope)


def test_an_event_wait_tells_what_it_listens_to() -> None:
    wait = listening().wait
    assert (wait.reason, wait.event_name, wait.event_scope, wait.event_scope_id) == (
        m.WaitReason.EVENT,
        "go",
        SESSION,
        "session-1",
    )
    assert (wait.event_floor, wait.wait_key, wait.resume_to_node, wait.result_key) == (FLOOR, "", "b", "out")


@pytest.mark.parametrize(
    ("scope", "scope_id", "expected"),
    [
        (SESSION, "", "session-1"),
        (SESSION, "other", "other"),
        (WORKFLOW, "", "flow"),
        (WORKFLOW, "other", "other"),
        (RUN, "", "run-1"),
        (RUN, "other", "other"),
        (GLOBAL, "", ""),
        (GLOBAL, "ignored", ""),
    ],
)
def test_a_scope_defaults_to_the_runs_own(scope: m.EventScope, scope_id: str, expected: str) -> None:
    scene = listening(m.WaitEvent("go", scope, scope_id))
    assert (scene.wait.event_scope, scene.wait.event_scope_id) == (scope, expected)
    scene.give(event(scene, scope=scope, scope_id=expected))
    assert scene.where == "QUEUED b"


@pytest.mark.promise("P6")
def test_an_event_ends_the_wait_and_moves_the_mark() -> None:
    scene = listening()
    wait_id = scene.wait.wait_id
    scene.give(event(scene))
    assert scene.ledger[-1].body == EventConsumed(
        wait_id, 50, "event-50", "go", leaf({"event_id": "event-50"}), m.NodeEntry("b", 1)
    )
    assert (scene.where, scene.run.waiting) == ("QUEUED b", None)
    assert scene.run.vars == {"out": {"event_id": "event-50"}}
    assert scene.run.consumed == {(int(SESSION), "session-1", "go"): 50}


def test_an_event_without_a_way_on_ends_the_run_with_its_envelope() -> None:
    scene = listening(next_node="")
    scene.give(event(scene))
    assert scene.kinds(4) == ["event_consumed", "completed"]
    assert scene.run.output == Leaf(b'{"success":true,"result":{"event_id":"event-50"}}')


@pytest.mark.parametrize(
    "wrong",
    [{"name": "stop"}, {"scope": RUN}, {"scope_id": "session-2"}, {"position": FLOOR}, {"position": FLOOR - 1}],
    ids=str,
)
def test_another_event_does_not_end_the_wait(wrong: dict[str, object]) -> None:
    scene = listening()
    assert scene.reason(event(scene, **wrong)) is Reason.NOT_DUE  # type: ignore[arg-type]


def test_an_event_for_another_wait_of_the_run_is_not_due() -> None:
    scene = listening()
    stale = event(scene)
    scene.answer("never mind")
    scene.perform(m.WaitEvent("go"), next_node="a")
    assert scene.reason(stale) is Reason.NOT_DUE


@pytest.mark.promise("P6")
def test_an_event_from_before_the_wait_is_heard_once() -> None:
    scene = listening(next_node="a")
    scene.give(event(scene, position=FLOOR + 1))
    scene.perform(m.WaitEvent("go"))
    assert scene.reason(event(scene, position=FLOOR + 1)) is Reason.NOT_DUE
    scene.give(event(scene, position=FLOOR + 2))
    assert scene.run.consumed == {(int(SESSION), "session-1", "go"): FLOOR + 2}


def test_the_very_first_event_of_a_store_is_heard() -> None:
    scene = Scene(SPEC).start()
    scene.horizon = 1
    scene.perform(m.WaitEvent("go"))
    scene.give(event(scene, position=1))
    assert scene.where == "QUEUED b"


def test_marks_of_different_keys_are_independent() -> None:
    scene = listening(next_node="a")
    scene.give(event(scene, position=60))
    scene.perform(m.WaitEvent("*"), next_node="a")
    scene.give(event(scene, position=30))
    scene.perform(m.WaitEvent("go", RUN), next_node="a")
    scene.give(event(scene, position=25, scope=RUN, scope_id="run-1"))
    assert scene.run.consumed == {
        (int(SESSION), "session-1", "go"): 60,
        (int(SESSION), "session-1", "*"): 30,
        (int(RUN), "run-1", "go"): 25,
    }


def test_a_star_hears_every_event_of_its_scope() -> None:
    scene = listening(m.WaitEvent("*"))
    assert scene.reason(event(scene, scope_id="session-2")) is Reason.NOT_DUE
    scene.give(event(scene, name="whatever"))
    assert scene.run.consumed == {(int(SESSION), "session-1", "*"): 50}
    body = scene.ledger[-1].body
    assert isinstance(body, EventConsumed)
    assert body.name == "whatever"


def test_since_now_hears_only_what_comes_later() -> None:
    scene = listening(m.WaitEvent("go", since_now=True))
    assert scene.wait.event_floor == 100
    assert scene.reason(event(scene, position=100)) is Reason.NOT_DUE
    scene.horizon = 101
    scene.give(event(scene, position=101))
    assert scene.where == "QUEUED b"


def test_a_wait_with_a_key_of_its_own_hears_no_event() -> None:
    scene = listening(m.WaitEvent(wait_key="mine"))
    assert (scene.wait.wait_key, scene.wait.event_name) == ("mine", "")
    assert scene.reason(event(scene)) is Reason.NOT_DUE
    assert scene.reason(event(scene, name="", scope_id="")) is Reason.NOT_DUE
    scene.answer(1)
    assert scene.run.vars == {"out": 1}


def test_a_resume_ends_an_event_wait_and_moves_no_mark() -> None:
    scene = listening()
    scene.answer("instead")
    assert (scene.run.vars, scene.run.consumed) == ({"out": "instead"}, {})


def test_a_question_hears_no_event() -> None:
    scene = Scene(SPEC).start().perform(m.AskUser(m.WaitTerms(prompt="?")))
    assert scene.reason(event(scene)) is Reason.NOT_DUE


def test_an_event_too_large_for_the_vars_fails_the_step() -> None:
    scene = listening()
    scene.limits = Limits(vars_bytes=100)
    scene.give(event(scene, envelope=leaf("x" * 200)))
    assert scene.run.status is m.RunStatus.FAILED
    assert scene.error.type == "VARS_TOO_LARGE"


def emitting(request: m.EmitEvent) -> Scene:
    """A run that emits."""
    return Scene(SPEC).start().perform(request)


def test_an_event_is_appended_with_the_commit_that_settles_its_effect() -> None:
    scene = emitting(m.EmitEvent("go", payload=leaf({"k": 1})))
    key = idempotency_key("default", "run-1", "a", 1)
    assert scene.events == [
        EventAppend(
            scope=SESSION,
            scope_id="session-1",
            name="go",
            event_id=key,
            payload=leaf({"k": 1}),
            at=AT,
            run_id="run-1",
            workflow_id="flow",
            node_id="a",
            session_id="session-1",
        )
    ]
    assert scene.kinds(3) == ["step_completed"]
    assert scene.run.vars == {"out": {"event_id": key, "name": "go", "scope": "session"}}


def test_an_event_may_bring_its_own_id() -> None:
    assert emitting(m.EmitEvent("go", event_id="mine")).events[0].event_id == "mine"


@pytest.mark.parametrize(
    ("payload", "delivered"),
    [(None, b"{}"), (Leaf(b"null"), b"{}"), (Leaf(b'{ "k": 1 }'), b'{ "k": 1 }'), (Leaf(b"5"), b'{"value":5}')]
    + [(Leaf(text), b'{"value":' + text + b"}") for text in (b"0", b'""', b"[]", b"false", b"1.50")],
)
def test_anything_but_an_object_is_delivered_as_a_value(payload: Leaf | None, delivered: bytes) -> None:
    assert emitting(m.EmitEvent("go", payload=payload)).events[0].payload.data == delivered


@pytest.mark.parametrize(
    ("scope", "scope_id", "expected"),
    [(WORKFLOW, "", "flow"), (RUN, "", "run-1"), (RUN, "run-9", "run-9"), (GLOBAL, "", ""), (GLOBAL, "x", "")],
)
def test_an_event_goes_to_its_scope(scope: m.EventScope, scope_id: str, expected: str) -> None:
    emitted = emitting(m.EmitEvent("go", scope, scope_id)).events[0]
    assert (emitted.scope, emitted.scope_id) == (scope, expected)


def test_a_loop_emits_every_time() -> None:
    scene = Scene(SPEC).start()
    scene.perform(m.EmitEvent("go"), next_node="a")
    scene.perform(m.EmitEvent("go"), next_node="a")
    assert len({emitted.event_id for emitted in scene.events}) == 2
