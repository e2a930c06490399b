"""Every field of every request: what is right is read, what is wrong is refused with the field's path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from perdure.v1 import (
    admin_service_pb2,
    common_pb2,
    model_pb2,
    run_service_pb2,
    worker_service_pb2,
    workflow_service_pb2,
)
from perdure_server.api.codec.plans import step_plan
from perdure_server.api.fields import Check
from perdure_server.api.problems import EdgeError
from perdure_server.api.run_validation import start_run, tick_run
from perdure_server.engine.commands import StartRunCommand
from perdure_server.kernel import model as m
from perdure_server.kernel.limits import DEFAULT_LIMITS
from perdure_server.kernel.values import Leaf
from tests.api.bad_values import ANY_SPAN, Kind, put
from tests.api.plan_rules import SECOND, SOON
from tests.api.request_rules import CASES, Case

# Fields that no value is wrong for, and fields whose checks have tests of their own.
FREE = {
    "any_wait": "a flag",
    "since_now": "a flag",
    "allow_free_text": "a flag",
    "retryable": "a flag",
    "not_executed": "a flag",
    "keys_only": "a flag",
    "async": "a flag",
    "wait": "a flag",
    "roots_only": "a flag",
    "paused_only": "a flag",
    "defaults_only": "a flag",
    "set_default": "a flag",
    "progress": "a flag",
    "task_token": "any bytes: foreign ones are answered by an ack",
    "held_task_tokens": "any bytes",
    "timeout": "excludes deadline: test_a_wait_has_one_deadline",
    "delay": "excludes until: test_delays",
    "spec": "test_workflow_spec",
    "worker": "a Hello: tests/dispatch and test_bad_calls",
    "max_tasks": "test_bad_calls",
    "request_id": "of changing calls in the table; PollTasks in test_bad_calls",
    "begins": "messages of task tokens",
    "heartbeats": "messages of task tokens",
    "reports": "test_work_codec",
    "rerun": "an empty message",
    "from_node": "a flag",
    "pause": "a flag",
    "dry_run": "a flag",
}


def wrong_values() -> Iterator[Any]:
    """Each wrong value of each field of each request."""
    for index, case in enumerate(CASES):
        for path, kinds in case.rules.items():
            for kind in kinds:
                for number, value in enumerate(kind.values):
                    yield pytest.param(case, path, kind, value, id=f"{index}-{case.name}.{path}-{kind.reason}-{number}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_with_all_fields_is_read(case: Case) -> None:
    assert case.decode(case.message, DEFAULT_LIMITS) is not None


@pytest.mark.parametrize(("case", "path", "kind", "value"), list(wrong_values()))
def test_a_wrong_value_is_refused_by_name(case: Case, path: str, kind: Kind, value: Any) -> None:
    message = type(case.message)()
    message.CopyFrom(case.message)
    put(message, path, value)
    with pytest.raises(EdgeError) as caught:
        case.decode(message, DEFAULT_LIMITS)
    error = caught.value
    assert error.reason == kind.reason
    assert [violation.field for violation in error.violations] == [path + kind.reported]
    assert error.violations[0].description
    assert error.violations[0].field in error.message


def fields_of(message: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    """All fields below a message, except those of timestamps and the like."""
    if message.full_name in seen or message.full_name.startswith("google."):
        return
    seen.add(message.full_name)
    for field in message.fields:
        yield field
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            yield from fields_of(field.message_type, seen)


def test_no_field_is_without_a_rule() -> None:
    seen: set[str] = set()
    requests = [
        message
        for module in (run_service_pb2, workflow_service_pb2, admin_service_pb2, worker_service_pb2)
        for name, message in module.DESCRIPTOR.message_types_by_name.items()
        if name.endswith("Request")
        and name not in ("WorkRequest", "RegisterWorkflowRequest", "ValidateWorkflowRequest")
    ]
    assert len(requests) > 20
    fields = {field.full_name: field for request in requests for field in fields_of(request, seen)}
    ruled: set[str] = set()
    for case in CASES:
        for path in case.rules:
            ruled.add(_field_name_at(case.message, path))
    missing = {
        name
        for name, field in fields.items()
        if field.message_type is None and name not in ruled and field.name not in FREE
    }
    assert not {name for name in missing if not _is_spec(name)}


def _is_spec(name: str) -> bool:
    return name.startswith(("perdure.v1.WorkflowSpec.", "perdure.v1.NodeSpec."))


def _field_name_at(message: Message, path: str) -> str:
    owner = message.DESCRIPTOR
    *parents, last = [part.partition("[")[0] for part in path.split(".")]
    for name in parents:
        below = owner.fields_by_name[name].message_type
        assert below is not None
        owner = below
    return owner.fields_by_name[last].full_name


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(EdgeError) as caught:
        CASES[0].decode(
            run_service_pb2.StartRunRequest(workflow_id="?", vars_json="[", run_id="\n", labels={"": ""}),
            DEFAULT_LIMITS,
        )
    assert [violation.field for violation in caught.value.violations] == [
        "workflow_id",
        "vars_json",
        "run_id",
        "labels",
    ]


def read(name: str, message: Message) -> object:
    """Reads a message as the case of that name does."""
    return next(case for case in CASES if case.name == name).decode(message, DEFAULT_LIMITS)


def paths(name: str, message: Message) -> list[str]:
    """Paths of what is wrong with a message."""
    with pytest.raises(EdgeError) as caught:
        read(name, message)
    return [violation.field for violation in caught.value.violations]


def plan_of(effect: model_pb2.Effect) -> model_pb2.StepPlan:
    """A plan with just an effect."""
    return model_pb2.StepPlan(effect=effect)


def test_a_wait_has_one_deadline() -> None:
    terms = model_pb2.WaitTerms(deadline=SOON, timeout=SECOND)
    wait = plan_of(model_pb2.Effect(wait_event=model_pb2.WaitEvent(name="e", terms=terms)))
    assert paths("StepPlan", wait) == ["effect.wait_event.terms.timeout"]
    terms.ClearField("deadline")
    wait.effect.wait_event.terms.CopyFrom(terms)
    assert read("StepPlan", wait)


def test_delays() -> None:
    for wrong in ANY_SPAN.values:
        wait = plan_of(model_pb2.Effect(wait_until=model_pb2.WaitUntil(delay=wrong)))
        assert paths("StepPlan", wait) == ["effect.wait_until.delay"]
    assert read("StepPlan", plan_of(model_pb2.Effect(wait_until=model_pb2.WaitUntil(delay=Duration()))))


@pytest.mark.parametrize(
    ("name", "message", "path"),
    [
        ("StepPlan", plan_of(model_pb2.Effect()), "effect.kind"),
        ("StepPlan", plan_of(model_pb2.Effect(wait_until=model_pb2.WaitUntil())), "effect.wait_until.when"),
        ("StepPlan", model_pb2.StepPlan(vars_ops=[model_pb2.VarsOp(path="/a")]), "vars_ops[0].op"),
        ("EffectOutcome", model_pb2.EffectOutcome(), "outcome"),
        ("ResolveStepRequest", run_service_pb2.ResolveStepRequest(run_id="r", step_id=1), "resolution"),
        (
            "ResolveStepRequest",
            run_service_pb2.ResolveStepRequest(run_id="r", step_id=1, completed=run_service_pb2.CompletedStep()),
            "completed.outcome",
        ),
    ],
)
def test_exactly_one_of_a_choice_must_be_set(name: str, message: Message, path: str) -> None:
    assert paths(name, message) == [path]


@pytest.mark.promise("P10")
def test_lists_are_bounded() -> None:
    ops = model_pb2.StepPlan(vars_ops=[model_pb2.VarsOp(path="/a", remove=True)] * 10_001)
    assert paths("StepPlan", ops) == ["vars_ops"]
    terms = model_pb2.WaitTerms(prompt="p", choices=["c"] * 1_001)
    ask = plan_of(model_pb2.Effect(ask_user=model_pb2.AskUser(terms=terms)))
    assert paths("StepPlan", ask) == ["effect.ask_user.terms.choices"]
    policy = common_pb2.RetryPolicy(non_retryable_types=["t"] * 101)
    retried = plan_of(model_pb2.Effect(llm_call=model_pb2.LlmCall(), retry=policy))
    assert paths("StepPlan", retried) == ["effect.retry.non_retryable_types"]
    assert paths("Hello", worker_service_pb2.Hello(worker_id="w", queues=["q"] * 1_001)) == ["queues"]


def test_empty_values_take_their_defaults() -> None:
    command = start_run(run_service_pb2.StartRunRequest(workflow_id="w"), DEFAULT_LIMITS)
    assert command == StartRunCommand("default", "w", Leaf(b"{}"))
    effect = model_pb2.Effect(custom=model_pb2.CustomEffect(type="t"))
    check = Check()
    found = step_plan(plan_of(effect), check, "")
    check.done()
    assert found.effect == m.Effect("t", m.RemoteRequest(Leaf(b"{}")))


def test_a_repeat_is_the_same_request_whatever_its_trace_or_patience() -> None:
    first = run_service_pb2.TickRunRequest(run_id="r", request_id="i", max_steps=3, wait=SECOND)
    patient = run_service_pb2.TickRunRequest(run_id="r", request_id="i", max_steps=3)
    other = run_service_pb2.TickRunRequest(run_id="r", request_id="i", max_steps=4)
    hashes = [tick_run(request, DEFAULT_LIMITS).request for request in (first, patient, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    traced = run_service_pb2.StartRunRequest(workflow_id="w", request_id="i", labels={"a": "1", "b": "2"})
    again = run_service_pb2.StartRunRequest(workflow_id="w", request_id="i", labels={"b": "2", "a": "1"})
    traced.trace_context.traceparent = "00-1"
    row = start_run(traced, DEFAULT_LIMITS).request
    assert row == start_run(again, DEFAULT_LIMITS).request
    assert row is not None
    assert row.method == "StartRun"
