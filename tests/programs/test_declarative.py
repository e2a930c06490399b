"""Plans of the nodes that the server runs."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_server.kernel import model as m
from perdure_server.kernel.nodes import ChoiceRule
from perdure_server.kernel.values import Json, Leaf
from perdure_server.programs.declarative import plan_for, scope_of


def run_with(vars_: dict[str, Json]) -> m.RunState:
    """A run with these vars."""
    return m.RunState("default", "run-1", "run-1", "flow", "v1", "a", vars=vars_, labels={"k": "v"}, actor_id="me")


def planned(node: m.NodeSpec, **vars_: Json) -> Any:
    """The plan of a node over these vars."""
    return plan_for(node, scope_of(run_with(vars_)))


def choice(*rules: tuple[str, str], **fields: Any) -> m.NodeSpec:
    """A CHOICE node."""
    return m.NodeSpec("pick", m.NodeKind.CHOICE, choices=tuple(ChoiceRule(*rule) for rule in rules), **fields)


def test_the_first_true_choice_is_taken() -> None:
    node = choice(("vars.n > 10", "big"), ("vars.n > 5", "middle"), ("vars.n > 1", "small"), next="other")
    assert [planned(node, n=n).next_node for n in (11, 6, 2, 0)] == ["big", "middle", "small", "other"]


def test_a_choice_without_a_way_fails_its_step() -> None:
    found = planned(choice(("vars.n > 10", "big")), n=1)
    assert isinstance(found, m.StepFailure)
    assert (found.failure.type, found.failure.retryable) == ("NO_CHOICE", False)


@pytest.mark.parametrize("when", ["vars.gone", "vars.n", "vars.text > 1", "[1][7] == 1"])
def test_a_condition_that_is_no_bool_fails_its_step_and_says_which(when: str) -> None:
    found = planned(choice(("false", "a"), (when, "b"), next="c"), n=1, text="secret")
    assert isinstance(found, m.StepFailure)
    assert found.failure.type == "EXPRESSION_FAILED"
    assert found.failure.message.startswith(f"choices[1].when: {when}: ")
    assert "secret" not in found.failure.message


def test_a_condition_sees_the_run() -> None:
    assert planned(choice(("run.labels.k == 'v' && run.actor_id == 'me' && run.depth == 0", "yes"))).next_node == "yes"


def test_changes_are_made_in_order_from_the_vars_before() -> None:
    node = m.NodeSpec(
        "set",
        m.NodeKind.ASSIGN,
        next="after",
        assign=(
            m.VarsOp("/n", "set", Leaf(b'"${vars.n + 1}"')),
            m.VarsOp("/copy", "set", Leaf(b'{"was":"${vars.n}","lit":"$${x}"}')),
            m.VarsOp("/list", "append", Leaf(b'["${vars.n}",1E2]')),
            m.VarsOp("/gone", "remove"),
        ),
    )
    found = planned(node, n=1)
    assert found.next_node == "after"
    assert [(op.path, op.op, op.value and op.value.value) for op in found.vars_ops] == [
        ("/n", "set", 2),
        ("/copy", "set", {"was": 1, "lit": "${x}"}),
        ("/list", "append", [1, 100.0]),
        ("/gone", "remove", None),
    ]


def test_an_assignment_that_fails_changes_nothing_and_says_where() -> None:
    node = m.NodeSpec(
        "set",
        m.NodeKind.ASSIGN,
        next="after",
        assign=(m.VarsOp("/a", "set", Leaf(b"1")), m.VarsOp("/b", "set", Leaf(b'{"c":"${vars.gone + 1}"}'))),
    )
    found = planned(node)
    assert isinstance(found, m.StepFailure)
    assert found.failure.message == "assign[1]: c: ${vars.gone + 1}: key not found in map: gone"


def test_an_effect_may_hold_expressions() -> None:
    template = Leaf(b'{"type":"charge","payload":{"sum":"${vars.price * 2.0}","id":"${run.run_id}"}}')
    found = planned(m.NodeSpec("pay", m.NodeKind.EFFECT, template=template, result_key="r", next="b"), price=1.25)
    assert found.effect is not None
    assert found.effect.request == m.RemoteRequest(Leaf(b'{"sum":2.5,"id":"run-1"}'))


def test_an_expression_that_fails_in_an_end_fails_the_step() -> None:
    for kind in (m.NodeKind.COMPLETE, m.NodeKind.FAIL, m.NodeKind.EFFECT):
        found = planned(m.NodeSpec("x", kind, template=Leaf(b'{"type":"t","payload":{"a":"${1 / 0}"}}')))
        assert isinstance(found, m.StepFailure)
        assert found.failure.message == "payload.a: ${1 / 0}: divide by zero"


def test_a_subworkflow_is_the_effect_of_that_name() -> None:
    request = m.StartSubworkflow("child", "v2", Leaf(b'{"n":"${vars.n + 1}"}'), async_=True, wait=True, timeout_us=5)
    found = planned(m.NodeSpec("sub", m.NodeKind.SUBWORKFLOW, subworkflow=request, result_key="r"), n=1)
    assert found.effect is not None
    assert (found.effect.type, found.effect.result_key) == ("start_subworkflow", "r")
    assert found.effect.request == m.StartSubworkflow("child", "v2", Leaf(b'{"n":2}'), True, True, timeout_us=5)


def test_a_node_without_what_it_needs_is_a_bad_plan() -> None:
    for kind in (m.NodeKind.COMPLETE, m.NodeKind.SUBWORKFLOW):
        found = planned(m.NodeSpec("x", kind))
        assert found.fail.type == "BAD_PLAN"
