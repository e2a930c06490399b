"""Workflow specs: their version, their stored form, and everything that can be wrong with them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from perdure.v1 import common_pb2, workflow_service_pb2
from perdure.v1.model_pb2 import (
    NODE_KIND_COMPLETE,
    NODE_KIND_EFFECT,
    NODE_KIND_FAIL,
    NODE_KIND_WORKER,
    NodeSpec,
    WorkflowSpec,
)
from perdure_server.api.codec.shapes import build
from perdure_server.api.codec.workflows import decode_workflow, spec_bytes, spec_version
from perdure_server.api.problems import EdgeError
from perdure_server.api.workflow_validation import check_spec, register_workflow, validate_workflow
from perdure_server.kernel import model as m
from perdure_server.kernel.limits import DEFAULT_LIMITS
from perdure_server.kernel.values import Leaf


def spec(**nodes: NodeSpec) -> WorkflowSpec:
    """A workflow that starts at `a` and has a good end."""
    return WorkflowSpec(
        workflow_id="flow",
        entry_node="a",
        nodes={"end": NodeSpec(kind=NODE_KIND_COMPLETE, template_json="{}"), **nodes},
    )


SMALL_VERSION = "1bb531501d2a7d115a25e25d833b4c7e571c9b6de0742b4cde820daf5fbb981c"
FULL_VERSION = "8aaf60a9ffbe738a51d43baf6d8c86078673699b04998ee73f6c26e6842f1830"

FULL = NodeSpec(
    kind=NODE_KIND_EFFECT,
    next="end",
    queue="q",
    retry=common_pb2.RetryPolicy(
        max_attempts=3,
        initial_interval=Duration(nanos=500_000_000),
        backoff_coefficient=1.5,
        max_interval=Duration(seconds=90),
        non_retryable_types=["T"],
    ),
    timeouts=common_pb2.TaskTimeouts(start_to_close=Duration(seconds=5)),
    on_error_node="end",
    template_json='{"type":"charge","payload":{"sum":"${vars.sum}"}}',
    result_key="a.b",
    risk=common_pb2.EFFECT_RISK_IRREVERSIBLE,
    priority=-7,
)


def test_the_version_is_the_digest_of_the_canonical_json() -> None:
    message = spec(a=FULL)
    content = json.dumps(
        {
            "entry_node": "a",
            "nodes": {
                "a": {
                    "kind": "NODE_KIND_EFFECT",
                    "next": "end",
                    "on_error_node": "end",
                    "priority": -7,
                    "queue": "q",
                    "result_key": "a.b",
                    "retry": {
                        "backoff_coefficient": 1.5,
                        "initial_interval": "0.500s",
                        "max_attempts": 3,
                        "max_interval": "90s",
                        "non_retryable_types": ["T"],
                    },
                    "risk": "EFFECT_RISK_IRREVERSIBLE",
                    "template_json": '{"type":"charge","payload":{"sum":"${vars.sum}"}}',
                    "timeouts": {"start_to_close": "5s"},
                },
                "end": {"kind": "NODE_KIND_COMPLETE", "template_json": "{}"},
            },
            "workflow_id": "flow",
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )
    assert spec_version(message) == hashlib.sha256(content.encode()).hexdigest()


@pytest.mark.promise("P9")
def test_versions_are_frozen() -> None:
    assert spec_version(spec(a=NodeSpec(next="end"))) == SMALL_VERSION
    assert spec_version(spec(a=FULL)) == FULL_VERSION


def test_the_version_ignores_itself_and_the_order_of_nodes() -> None:
    message = spec(a=FULL, b=NodeSpec(next="end"))
    again = WorkflowSpec.FromString(message.SerializeToString(deterministic=True))
    again.version = "anything"
    assert spec_version(again) == spec_version(message)
    assert json_format.MessageToDict(again)["version"] == "anything"
    again.nodes["b"].next = "a"
    assert spec_version(again) != spec_version(message)


def test_the_stored_form_reads_back() -> None:
    message = spec(a=FULL)
    version = spec_version(message)
    found = decode_workflow(spec_bytes(message, version))
    assert (found.workflow_id, found.version, found.entry_node) == ("flow", version, "a")
    assert found.nodes["a"] == m.NodeSpec(
        node_id="a",
        kind=m.NodeKind.EFFECT,
        next="end",
        queue="q",
        retry=m.RetryPolicy(3, 500_000, 1.5, 90_000_000, ("T",)),
        timeouts=m.Timeouts(start_to_close_us=5_000_000),
        on_error_node="end",
        template=Leaf(b'{"type":"charge","payload":{"sum":"${vars.sum}"}}'),
        result_key="a.b",
        risk=m.Risk.IRREVERSIBLE,
        priority=-7,
    )
    assert found.nodes["end"].queue == "default"


def problems(message: WorkflowSpec) -> dict[str, str]:
    """What is wrong, by field."""
    return dict(check_spec(message, DEFAULT_LIMITS).problems)


def worker(**fields: Any) -> WorkflowSpec:
    """A workflow with such a node `a`."""
    return spec(a=build(NodeSpec, {"next": "end", **fields}))


def effect(template: str, **fields: Any) -> WorkflowSpec:
    """A workflow whose node `a` is an effect with this template."""
    return spec(a=NodeSpec(kind=NODE_KIND_EFFECT, next="end", template_json=template, **fields))


GOOD = [
    worker(),
    worker(kind=NODE_KIND_WORKER, inputs=["", "/a/b~1c", "/~0"]),
    worker(next="", on_error_node="end"),
    effect('{"type":"wait_until","payload":{"delay_seconds":1}}'),
    effect('{"type":"custom","payload":{"a":"$${literal}"}}'),
    effect('{"type":"ask_user","payload":{"prompt":"?","resume_to_node":"end"}}'),
    spec(a=NodeSpec(kind=NODE_KIND_FAIL, template_json='{"type":"NO","message":"${vars.why}"}')),
    spec(a=FULL),
]


@pytest.mark.parametrize("message", GOOD)
def test_good_specs_have_no_problems_and_a_version(message: WorkflowSpec) -> None:
    checked = check_spec(message, DEFAULT_LIMITS)
    assert checked.problems == ()
    assert checked.version == spec_version(message)


BAD = [
    (WorkflowSpec(workflow_id="f", entry_node="a"), "nodes"),
    (spec(), "entry_node"),
    (WorkflowSpec(entry_node="end", nodes=spec().nodes), "workflow_id"),
    (worker(next="gone"), "nodes[a].next"),
    (worker(on_error_node="gone"), "nodes[a].on_error_node"),
    (worker(next="a b"), "nodes[a].next"),
    (worker(queue="a b"), "nodes[a].queue"),
    (worker(kind=10), "nodes[a].kind"),
    (worker(risk=9), "nodes[a].risk"),
    (worker(priority=101), "nodes[a].priority"),
    (worker(inputs=["a"]), "nodes[a].inputs[0]"),
    (worker(inputs=["/~2"]), "nodes[a].inputs[0]"),
    (worker(template_json="{}"), "nodes[a].template_json"),
    (worker(result_key="x" * 513), "nodes[a].result_key"),
    (worker(retry=common_pb2.RetryPolicy(max_attempts=-1)), "nodes[a].retry.max_attempts"),
    (worker(timeouts=common_pb2.TaskTimeouts(heartbeat=Duration())), "nodes[a].timeouts.heartbeat"),
    (effect(""), "nodes[a].template_json"),
    (effect("{"), "nodes[a].template_json"),
    (effect("[]"), "nodes[a].template_json"),
    (effect('{"type":"x","type":"y"}'), "nodes[a].template_json"),
    (effect('{"payload":{}}'), "nodes[a].template_json"),
    (effect('{"type":"x","payload":1}'), "nodes[a].template_json"),
    (effect('{"type":"wait_until","payload":{}}'), "nodes[a].template_json"),
    (effect('{"type":"x","payload":{"a":"with ${vars.b} inside"}}'), "nodes[a].template_json.payload.a"),
    (effect('{"type":"x"}', inputs=["/a"]), "nodes[a].inputs"),
    (
        effect('{"type":"ask_user","payload":{"prompt":"?","resume_to_node":"gone"}}'),
        "nodes[a].template_json.payload.resume_to_node",
    ),
    (spec(a=NodeSpec(kind=NODE_KIND_COMPLETE, next="end", template_json="{}")), "nodes[a].next"),
    (spec(a=NodeSpec(kind=NODE_KIND_COMPLETE)), "nodes[a].template_json"),
    (spec(a=NodeSpec(kind=NODE_KIND_FAIL, template_json='{"type":1}')), "nodes[a].template_json"),
    (spec(**{"a": NodeSpec(next="end"), "not an id": NodeSpec(next="end")}), "nodes[not an id]"),
]


@pytest.mark.parametrize(("message", "field"), BAD, ids=[f"{index}-{field}" for index, (_, field) in enumerate(BAD)])
def test_a_problem_is_named_by_its_field(message: WorkflowSpec, field: str) -> None:
    found = problems(message)
    assert list(found) == [field]
    assert found[field]
    assert check_spec(message, DEFAULT_LIMITS).version == ""


def test_a_cancel_node_must_exist() -> None:
    message = worker()
    message.on_cancel_node = "gone"
    assert list(problems(message)) == ["on_cancel_node"]


@pytest.mark.promise("P10")
def test_nodes_are_bounded() -> None:
    nodes = {f"n{number}": NodeSpec(next="end") for number in range(1_998)}
    most = spec(a=NodeSpec(next="end"), **nodes)
    assert len(most.nodes) == 2_000
    assert problems(most) == {}
    most.nodes["one-more"].next = "end"
    assert problems(most) == {"nodes": "has 2001 items; at most 2000 are accepted"}


def test_all_problems_are_told() -> None:
    message = spec(a=NodeSpec(next="x", on_error_node="y"), b=NodeSpec(next="z"))
    assert set(problems(message)) == {"nodes[a].next", "nodes[a].on_error_node", "nodes[b].next"}
    request = workflow_service_pb2.RegisterWorkflowRequest(spec=message)
    with pytest.raises(EdgeError) as caught:
        register_workflow(request, DEFAULT_LIMITS)
    assert caught.value.reason == "INVALID_SPEC"
    assert {violation.field for violation in caught.value.violations} == {
        "spec.nodes[a].next",
        "spec.nodes[a].on_error_node",
        "spec.nodes[b].next",
    }
    assert caught.value.metadata == {"problems": "3"}


def test_the_request_around_a_spec_is_checked_first() -> None:
    request = workflow_service_pb2.RegisterWorkflowRequest(namespace="?", request_id="x" * 129)
    with pytest.raises(EdgeError) as caught:
        register_workflow(request, DEFAULT_LIMITS)
    assert [violation.field for violation in caught.value.violations] == ["namespace", "request_id"]
    with pytest.raises(EdgeError):
        validate_workflow(workflow_service_pb2.ValidateWorkflowRequest(namespace="?"), DEFAULT_LIMITS)


@pytest.mark.promise("P10")
def test_a_spec_fits_a_message() -> None:
    message = effect('{"type":"t","payload":{"a":"' + "x" * 3_000 + '"}}')
    found = check_spec(message, replace(DEFAULT_LIMITS, message_bytes=2_000)).problems
    assert [problem.field for problem in found] == ["nodes"]
    assert check_spec(message, DEFAULT_LIMITS).problems == ()
