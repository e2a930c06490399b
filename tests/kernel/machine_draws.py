"""What the state machine draws from: workflows, plans, effects, failures."""

from __future__ import annotations

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

FLOWS = st.sampled_from(["undoing", "plain"])
NODES = st.sampled_from(["a", "b", "a", "b", "a", "b", "done"])
NEXT = st.sampled_from(["a", "b", "a", "b", "a", "b", "done", ""])
INDEX = st.integers(0, 40)
DEADLINES = st.sampled_from([0, 0, 20 * S])
SCOPES = st.sampled_from([m.EventScope.SESSION, m.EventScope.GLOBAL, m.EventScope.RUN])
NAMES = st.sampled_from(["go", "stop"])
KEYS = st.sampled_from(["", "k", "k.l"])
ON_ERROR = st.sampled_from(["", "b"])

TERMS = st.builds(
    m.WaitTerms,
    prompt=st.just("?"),
    timeout_us=DEADLINES,
    on_deadline_node=st.sampled_from(["", "b"]),
    resume_to_node=st.sampled_from(["", "a"]),
)
REQUESTS = st.one_of(
    st.builds(
        m.WaitEvent, name=st.sampled_from(["go", "stop", "*"]), scope=SCOPES, since_now=st.booleans(), terms=TERMS
    ),
    st.builds(m.AskUser, terms=TERMS),
    st.builds(m.WaitUntil, delay_us=st.sampled_from([0, 5 * S])),
    st.just(m.AnswerUser("hello")),
    st.builds(m.EmitEvent, name=NAMES, scope=SCOPES),
    st.builds(
        m.StartSubworkflow,
        workflow_id=st.sampled_from(["undoing", "plain", "plain", "nobody"]),
        async_=st.booleans(),
        wait=st.booleans(),
        on_parent_cancel=st.sampled_from(m.ChildPolicy),
        timeout_us=DEADLINES,
    ),
)
OWN_EFFECTS = st.builds(m.Effect, st.just("own"), REQUESTS, result_key=KEYS, on_error_node=ON_ERROR)
REMOTE_EFFECTS = st.builds(
    m.Effect,
    st.just("remote"),
    st.just(m.RemoteRequest(Leaf(b"{}"))),
    result_key=KEYS,
    retry=st.sampled_from([None, RETRY]),
    timeouts=st.sampled_from([None, TIMEOUTS]),
    on_error_node=ON_ERROR,
    risk=st.sampled_from(m.Risk),
)
APPEND = m.VarsOp("/n", "append", Leaf(b"1"))
REPLACE = m.VarsOp("/n/x", "set", Leaf(b"1"))
OPS = st.sampled_from([(), (), (APPEND,), (REPLACE,)])

EFFECT_PLANS = st.builds(m.StepPlan, vars_ops=OPS, effect=OWN_EFFECTS | REMOTE_EFFECTS, next_node=NODES)
PLANS = st.one_of(
    st.builds(m.StepPlan, vars_ops=OPS, next_node=NEXT),
    st.builds(m.StepPlan, vars_ops=OPS, effect=OWN_EFFECTS | REMOTE_EFFECTS, next_node=NEXT),
    EFFECT_PLANS,
    EFFECT_PLANS,
    st.sampled_from([m.StepPlan(complete_output=Leaf(b"{}")), m.StepPlan(fail=m.Failure("NO", "no"))]),
)
FAILURES = st.builds(
    m.StepFailure,
    st.builds(m.Failure, st.just("BUSY"), st.just("later"), st.booleans()),
    not_executed=st.booleans(),
)
RARE_FAILURES = st.none() | st.none() | st.none() | FAILURES
