"""Workflows of nodes that the server runs: everything that can be wrong with them, and where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format

from perdure.v1 import workflow_service_pb2
from perdure.v1.model_pb2 import WorkflowSpec
from perdure_server.api.codec.workflows import decode_workflow, spec_bytes
from perdure_server.api.workflow_validation import check_spec, validate_workflow
from perdure_server.kernel import model as m
from perdure_server.kernel.bounds import MAX_BRANCHES, MAX_CHOICES, MAX_EXPRESSIONS
from perdure_server.kernel.limits import DEFAULT_LIMITS
from perdure_server.kernel.nodes import BranchSpec, ChoiceRule, ForeachSpec, JoinMode, JoinSpec
from perdure_server.kernel.values import Leaf

END = {"kind": "NODE_KIND_COMPLETE", "template_json": "{}"}


def spec(**nodes: Any) -> WorkflowSpec:
    """A workflow that starts at `a`; nodes as JSON, kinds without their prefix."""
    given = {"end": END, **nodes}
    for node in given.values():
        if not node["kind"].startswith("NODE_KIND_"):
            node["kind"] = f"NODE_KIND_{node['kind']}"
    return json_format.ParseDict({"workflow_id": "flow", "entry_node": "a", "nodes": given}, WorkflowSpec())


def choice(*rules: tuple[str, str], **fields: Any) -> dict[str, Any]:
    """A CHOICE node."""
    return {"kind": "CHOICE", "choices": [{"when": when, "next": to} for when, to in rules], **fields}


def parallel(*names: str, **fields: Any) -> dict[str, Any]:
    """A PARALLEL node whose branches start at `end`."""
    branches = [{"name": name, "entry_node": "end"} for name in names]
    return {"kind": "PARALLEL", "branches": branches, "next": "end", **fields}


def foreach(items: str = "vars.items", **fields: Any) -> dict[str, Any]:
    """A FOREACH node; `fields` of its ForeachSpec."""
    return {"kind": "FOREACH", "next": "end", "foreach": {"items": items, "entry_node": "end", **fields}}


def assign(value: Any, **fields: Any) -> dict[str, Any]:
    """An ASSIGN node with one change."""
    return {"kind": "ASSIGN", "next": "end", "assign": [{"path": "/x", "set_json": json.dumps(value)}], **fields}


def subworkflow(**fields: Any) -> dict[str, Any]:
    """A SUBWORKFLOW node; `fields` of its SubworkflowSpec."""
    return {"kind": "SUBWORKFLOW", "next": "end", "subworkflow": {"workflow_id": "child", **fields}}


def problems(message: WorkflowSpec) -> dict[str, str]:
    """What is wrong, by field."""
    return dict(check_spec(message, DEFAULT_LIMITS).problems)


GOOD = [
    spec(a=choice(("vars.n > 1", "end"), next="end")),
    spec(a=choice(("vars.ok", "end"))),
    spec(a=assign({"sum": "${vars.a + vars.b}", "plain": "${vars.a}"})),
    spec(a=parallel("x", "y", join={"mode": "JOIN_MODE_COUNT", "count": 2}, result_key="r", on_error_node="end")),
    spec(a=parallel("x", "y", join={"mode": "JOIN_MODE_ANY"})),
    spec(a=foreach(vars_json='{"id":"${item.id}","n":"${index + 1}"}', max_concurrency=10_000)),
    spec(a=foreach("vars.items.filter(i, i.open)")),
    spec(a=foreach("[1, 2, 3]")),
    spec(a=subworkflow(vars_json='{"n":"${vars.n + 1}"}', timeout="5s")),
]


@pytest.mark.parametrize("message", GOOD, ids=range(len(GOOD)))
def test_good_specs_have_no_problems(message: WorkflowSpec) -> None:
    checked = check_spec(message, DEFAULT_LIMITS)
    assert (checked.problems, checked.warnings) == ((), ())
    assert checked.version


BAD: list[tuple[dict[str, Any], str, str]] = [
    (choice(("vars.n >", "end")), "nodes[a].choices[0].when", "Syntax error"),
    (
        choice(("true", "end"), ("vars.n + 1", "end")),
        "nodes[a].choices[1].when",
        "of type int; it must be true or false",
    ),
    (choice(("item > 1", "end")), "nodes[a].choices[0].when", "undeclared reference to 'item'"),
    (choice(("true", "gone")), "nodes[a].choices[0].next", "does not have"),
    (choice(("", "end")), "nodes[a].choices[0].when", "is required"),
    (choice(), "nodes[a].choices", "is required for kind CHOICE"),
    (choice(("true", "end"), result_key="r"), "nodes[a].result_key", "means nothing for kind CHOICE"),
    (choice(("true", "end"), queue="q"), "nodes[a].queue", "means nothing for kind CHOICE"),
    (choice(("true", "end"), template_json="{}"), "nodes[a].template_json", "it is for COMPLETE, EFFECT, FAIL"),
    (choice(*[("true", "end")] * (MAX_CHOICES + 1)), "nodes[a].choices", "at most 100"),
    (assign("${1 +}"), "nodes[a].assign[0].set_json", "Syntax error"),
    (assign({"k": ["${env.X}"]}), "nodes[a].assign[0].set_json.k[0]", "undeclared reference"),
    (assign("x${vars.a}"), "nodes[a].assign[0].set_json", "only a whole string"),
    ({"kind": "ASSIGN", "assign": [{"path": "/x", "remove": True}]}, "nodes[a].next", "is required for kind ASSIGN"),
    ({"kind": "ASSIGN", "next": "end"}, "nodes[a].assign", "is required for kind ASSIGN"),
    ({"kind": "ASSIGN", "next": "end", "assign": [{"path": "/x"}]}, "nodes[a].assign[0].op", "exactly one"),
    (parallel(), "nodes[a].branches", "is required for kind PARALLEL"),
    (parallel("x", "x"), "nodes[a].branches[1].name", "another branch"),
    (parallel("x y"), "nodes[a].branches[0].name", "characters"),
    (parallel("x", join={"mode": "JOIN_MODE_COUNT", "count": 2}), "nodes[a].join.count", "can never be met"),
    (parallel("x", join={"mode": "JOIN_MODE_COUNT"}), "nodes[a].join.count", "it must be 1 to"),
    (parallel("x", join={"mode": "JOIN_MODE_ALL", "count": 1}), "nodes[a].join.count", "means nothing"),
    (parallel("x", retry={"max_attempts": 2}), "nodes[a].retry", "means nothing for kind PARALLEL"),
    (
        {"kind": "PARALLEL", "next": "end", "branches": [{"name": "x", "entry_node": "gone"}]},
        "nodes[a].branches[0].entry_node",
        "does not have",
    ),
    (
        {
            "kind": "PARALLEL",
            "next": "end",
            "branches": [{"name": "x", "entry_node": "end", "vars_json": '{"a":"${1+}"}'}],
        },
        "nodes[a].branches[0].vars_json.a",
        "Syntax error",
    ),
    (foreach(""), "nodes[a].foreach.items", "is required"),
    (foreach("vars.items.size()"), "nodes[a].foreach.items", "of type int; it must be a list"),
    (foreach(vars_json="[]"), "nodes[a].foreach.vars_json", "object"),
    (foreach(vars_json='{"a":"${thing}"}'), "nodes[a].foreach.vars_json.a", "undeclared reference"),
    (foreach(max_concurrency=10_001), "nodes[a].foreach.max_concurrency", "1 to 10000"),
    (foreach(max_concurrency=-1), "nodes[a].foreach.max_concurrency", "1 to 10000"),
    ({"kind": "FOREACH", "next": "end"}, "nodes[a].foreach", "is required for kind FOREACH"),
    ({"kind": "WORKER", "next": "end", "foreach": {}}, "nodes[a].foreach", "it is for FOREACH"),
    (subworkflow(workflow_id=""), "nodes[a].subworkflow.workflow_id", "is required"),
    (subworkflow(vars_json='{"a":"${1+}"}'), "nodes[a].subworkflow.vars_json.a", "Syntax error"),
    (subworkflow(timeout="0s"), "nodes[a].subworkflow.timeout", "at least"),
    (subworkflow(on_parent_cancel=7), "nodes[a].subworkflow.on_parent_cancel", "not one of"),
    ({"kind": "SUBWORKFLOW", "next": "end"}, "nodes[a].subworkflow", "is required for kind SUBWORKFLOW"),
]


@pytest.mark.parametrize(("node", "field", "part"), BAD, ids=[f"{n}-{bad[1]}" for n, bad in enumerate(BAD)])
def test_a_problem_is_named_by_its_place(node: dict[str, Any], field: str, part: str) -> None:
    found = problems(spec(a=node))
    assert field in found
    assert part in found[field]
    assert not [other for other in found if not other.startswith(field.rpartition(".")[0])]


def test_all_faults_are_told_at_once() -> None:
    found = problems(spec(a=choice(("1 +", "gone"), ("x", "end")), b=assign({"p": "${1+}", "q": "${y}"}, next="gone")))
    assert set(found) == {
        "nodes[a].choices[0].when",
        "nodes[a].choices[0].next",
        "nodes[a].choices[1].when",
        "nodes[b].assign[0].set_json.p",
        "nodes[b].assign[0].set_json.q",
        "nodes[b].next",
    }


def test_a_cycle_of_choices_only_is_refused_and_told() -> None:
    message = spec(
        a=choice(("vars.x", "b"), next="end"), b=choice(("vars.y", "end"), next="c"), c=choice(("vars.z", "b"))
    )
    [(field, text)] = problems(message).items()
    assert field in {"nodes[b]", "nodes[c]"}
    assert "b -> c -> b" in text or "c -> b -> c" in text
    again = spec(a=choice(("vars.x", "b"), next="end"), b=assign(1, next="a"))
    assert problems(again) == {}, "something changes on the way"
    over_error = spec(a=choice(("vars.x", "end"), on_error_node="a"))
    assert list(problems(over_error)) == ["nodes[a]"]


def test_a_node_that_no_way_leads_to_is_a_warning() -> None:
    message = spec(a=choice(("vars.x", "end")), lost=assign(1, next="end"), cleanup=assign(1, next="end"))
    message.on_cancel_node = "cleanup"
    checked = check_spec(message, DEFAULT_LIMITS)
    assert checked.problems == ()
    assert [field for field, _ in checked.warnings] == ["nodes[lost]"]
    branches = spec(a=foreach(entry_node="body"), body=assign(1, next="end"))
    assert check_spec(branches, DEFAULT_LIMITS).warnings == ()
    by_worker = spec(a={"kind": "WORKER"}, lost=assign(1, next="end"))
    assert check_spec(by_worker, DEFAULT_LIMITS).warnings == (), "a worker's plan may name any node"
    _, again = validate_workflow(workflow_service_pb2.ValidateWorkflowRequest(spec=message), DEFAULT_LIMITS)
    assert again == checked


@pytest.mark.promise("P10")
def test_a_hundred_thousand_branches_are_refused() -> None:
    message = spec(a=parallel(*[f"b{number}" for number in range(100_000)]))
    found = problems(message)
    assert f"at most {MAX_BRANCHES} are accepted" in found["nodes[a].branches"]
    most = spec(a=parallel(*[f"b{number}" for number in range(MAX_BRANCHES)]))
    assert problems(most) == {}


@pytest.mark.promise("P10")
def test_expressions_are_bounded_in_number_before_one_is_compiled() -> None:
    rules = [{"when": f"vars.x == {number}", "next": "end"} for number in range(MAX_CHOICES)]
    nodes = {f"n{number}": {"kind": "CHOICE", "choices": rules} for number in range(MAX_EXPRESSIONS // MAX_CHOICES)}
    found = problems(spec(a=choice(("1 +", "end")), **nodes))
    assert list(found) == ["nodes"]
    assert "5001 expressions; at most 5000" in found["nodes"]


def test_the_stored_form_reads_back() -> None:
    message = spec(
        a=choice(("vars.n > 1", "p"), next="end"),
        p=parallel("x", join={"mode": "JOIN_MODE_ANY"}),
        f=foreach(vars_json='{"i":"${item}"}', max_concurrency=3),
        s=subworkflow(workflow_version="v1", timeout="5s"),
        w=assign("${vars.n}"),
    )
    found = decode_workflow(spec_bytes(message, "v")).nodes
    assert found["a"].choices == (ChoiceRule("vars.n > 1", "p"),)
    assert (found["p"].branches, found["p"].join) == ((BranchSpec("x", "end"),), JoinSpec(JoinMode.ANY))
    assert found["f"].foreach == ForeachSpec("vars.items", "end", Leaf(b'{"i":"${item}"}'), 3)
    assert found["s"].subworkflow == m.StartSubworkflow("child", "v1", timeout_us=5_000_000)
    assert found["w"].assign == (m.VarsOp("/x", "set", Leaf(b'"${vars.n}"')),)
