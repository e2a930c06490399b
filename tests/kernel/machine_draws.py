"""What the state machine draws from: workflows, plans, effects, failures."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hypothesis import strategies as st

from perdure_server.kernel import model as m
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.values import Leaf
from tests.kernel.scene import workflow

S: Final = SECOND_US
RETRY: Final = m.RetryPolicy(max_attempts=2)
TIMEOUTS: Final = m.Timeouts(schedule_to_start_us=60 * S, start_to_close_us=30 * S, heartbeat_us=10 * S)
DONE: Final = m.NodeSpec("done", m.NodeKind.COMPLETE, template=Leaf(b"{}"))
SPECS: Final = {
    spec.workflow_id: spec
    for spec in (
        workflow(
            m.NodeSpec("a", retry=RETRY, timeouts=TIMEOUTS),
            m.NodeSpec("b", on_error_node="a"),
            DONE,
            m.NodeSpec("cleanup", next="done"),
            on_cancel_node="cleanup",
            workflow_id="undoing",
        ),
        workflow("a", "b", DONE, workflow_id="plain"),
    )
}

OTHERS: Final = {
    name: replace(
        spec,
        version="1" * 64,
        nodes={
            **{node_id: node for node_id, node in spec.nodes.items() if node_id != "b"},
            "bb": m.NodeSpec("bb", on_error_node="a"),
        },
    )
    for name, spec in SPECS.items()
}
"""The workflows again, with "b" called "bb"."""

FLOWS = st.sampled_from(["undoing", "plain"])
INDEX = st.integers(0, 40)
DEADLINES = st.sampled_from([0, 0, 20 * S])
SCOPES = st.sampled_from([m.EventScope.SESSION, m.EventScope.GLOBAL, m.EventScope.RUN])
NAMES = st.sampled_from(["go", "stop"])

# Plans are drawn from a catalogue, one choice each: building them choice by choice costs more time than the
# kernel takes, and it is the number of steps that finds interleavings.
LATE = m.WaitTerms("?", timeout_us=20 * S)
LATE_TO_B = m.WaitTerms("?", timeout_us=20 * S, on_deadline_node="b")
TO_A = m.WaitTerms("?", resume_to_node="a")
LISTENING: Final[list[m.EffectRequest]] = [
    m.WaitEvent("go"),
    m.WaitEvent("go", terms=TO_A),
    m.WaitEvent("go", since_now=True),
    m.WaitEvent("*"),
    m.WaitEvent("stop", terms=LATE_TO_B),
    m.WaitEvent("go", m.EventScope.GLOBAL),
    m.WaitEvent("*", m.EventScope.GLOBAL, terms=LATE),
    m.WaitEvent("go", m.EventScope.RUN),
    m.WaitEvent(wait_key="mine"),
]
ASKING: Final[list[m.EffectRequest]] = [
    m.AskUser(TO_A),
    m.AskUser(LATE),
    m.AskUser(LATE_TO_B),
    m.WaitUntil(delay_us=5 * S),
    m.WaitUntil(delay_us=0),
]
TELLING: Final[list[m.EffectRequest]] = [
    m.AnswerUser("hello"),
    m.EmitEvent("go"),
    m.EmitEvent("stop", m.EventScope.GLOBAL),
    m.EmitEvent("go", event_id="always the same"),
]
PARENTING: Final[list[m.EffectRequest]] = [
    m.StartSubworkflow("plain"),
    m.StartSubworkflow("undoing", timeout_us=20 * S),
    m.StartSubworkflow("plain", async_=True, wait=True, on_parent_cancel=m.ChildPolicy.ABANDON),
    m.StartSubworkflow("plain", async_=True),
    m.StartSubworkflow("undoing", async_=True),
    m.StartSubworkflow("plain", async_=True, on_parent_cancel=m.ChildPolicy.ABANDON),
    m.StartSubworkflow("plain", drive=m.Drive.MANUAL),
    m.StartSubworkflow("nobody"),
]
JOINING: Final[list[m.EffectRequest]] = [
    m.Fanout(2, 2, 2, ("b", "done"), ("x", "y")),
    m.Fanout(3, 1, 2, ("b", "a", "done"), ("x", "y", "z")),
    m.Fanout(3, 2, 1, ("b",), items=Leaf(b"[1,2,3]")),
    m.Fanout(2, 2, 2, ("done",), items=Leaf(b"[1,2]")),
    m.Fanout(0, 0, 1, ("b",), items=Leaf(b"[]")),
]
REMOTE: Final = m.RemoteRequest(Leaf(b"{}"))
EFFECTS: Final = [
    *(m.Effect("own", request, "k") for request in [*LISTENING, *LISTENING, *LISTENING, *ASKING, *TELLING, *PARENTING]),
    *(m.Effect("own", request, on_error_node="b") for request in [*ASKING, *PARENTING]),
    *(m.Effect("own", request, "k", on_error_node=node) for request in JOINING for node in ("", "b")),
    *(
        m.Effect("remote", REMOTE, "k.l", retry, timeouts, on_error_node=on_error, risk=risk)
        for risk in (*m.Risk, m.Risk.IRREVERSIBLE, m.Risk.IRREVERSIBLE)
        for retry, timeouts, on_error in ((None, None, ""), (RETRY, TIMEOUTS, ""), (RETRY, TIMEOUTS, "b"))
    ),
]
APPEND: Final = m.VarsOp("/n", "append", Leaf(b"1"))
REPLACE: Final = m.VarsOp("/n/x", "set", Leaf(b"1"))
EFFECT_PLANS = st.sampled_from(
    [m.StepPlan(effect=effect, next_node=node) for effect in EFFECTS for node in ("a", "b")]
    + [m.StepPlan((APPEND,), effect=effect, next_node="a") for effect in EFFECTS]
)
PLANS = EFFECT_PLANS | st.sampled_from(
    [
        m.StepPlan(next_node="a"),
        m.StepPlan((APPEND,), next_node="b"),
        m.StepPlan((REPLACE,), next_node="a"),
        m.StepPlan(next_node="done"),
        m.StepPlan(),
        m.StepPlan(complete_output=Leaf(b"{}")),
        m.StepPlan(fail=m.Failure("NO", "no")),
        *(m.StepPlan(effect=effect) for effect in EFFECTS[::4]),
    ]
)
BUSY: Final = m.Failure("BUSY", "later", retryable=True)
RARE_FAILURES = st.sampled_from(
    [None] * 6 + [m.StepFailure(BUSY), m.StepFailure(BUSY, not_executed=True), m.StepFailure(m.Failure("BROKEN"))]
)
