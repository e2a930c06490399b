"""The workflows that the oracle's runs are of: every kind of node, effect, wait and end."""

from __future__ import annotations

from typing import Final

from perdure import ANY, Append, Branch, Join, RetryPolicy, Set, Timeouts, Workflow
from perdure.v1 import model_pb2

SESSIONS: Final = ("s1", "s2")
EVENT_NAMES: Final = ("go", "stop")
NODES: Final = ("first", "second", "third")
"""Of "steps", which workers plan."""


def specs() -> dict[str, list[model_pb2.WorkflowSpec]]:
    """By name; the first version is registered before the first operation, others by operations."""
    made = [
        [_steps("first"), _steps("second")],
        [_effects(3), _effects(1)],
        [_asks("confirm"), _asks("check")],
        [_hears("session"), _hears("global")],
        [_watches()],
        [_sleeps(5), _sleeps(70)],
        [_fans()],
        [_calls()],
        [_emits()],
        [_fails()],
        [_doubtful()],
        [_leaves()],
    ]
    return {versions[0].workflow_id: versions for versions in made}


def _steps(entry: str) -> model_pb2.WorkflowSpec:
    """Nodes of workers, with retries, timeouts, inputs, priorities and a node for errors."""
    flow = Workflow("steps", entry=entry)
    retry = RetryPolicy(max_attempts=3, initial_interval=2.0)
    flow.node("first", next="second", inputs=("/n", "/list"))(print)
    flow.node("second", next="third", retry=retry, on_error_node="sorry", priority=5)(print)
    flow.node("third", retry=retry, timeouts=Timeouts(heartbeat=4.0, start_to_close=20.0))(print)
    flow.complete_node("sorry", {"why": "${vars}"})
    return flow.spec()


def _effects(attempts: int) -> model_pb2.WorkflowSpec:
    """Effects of workers, one after the other."""
    flow = Workflow("effects")
    retry = RetryPolicy(max_attempts=attempts, initial_interval=1.0)
    flow.effect_node("one", "echo", {"n": "${vars.n}"}, result_key="r.one", next="two", retry=retry)
    flow.effect_node("two", "llm", {"x": 1}, result_key="r.two", next="end", on_error_node="sorry", priority=-3)
    flow.complete_node("end", {"r": "${vars.r}"})
    flow.fail_node("sorry", "Sorry", "given up", details={"at": "${vars.n}"})
    return flow.spec()


def _asks(node: str) -> model_pb2.WorkflowSpec:
    """A person, twice, with a deadline; the node of the second question is named otherwise in each version."""
    flow = Workflow("asks")
    first = {"prompt": "ok?", "choices": ["yes", "no"], "assignee": "ann", "timeout_seconds": 600}
    flow.effect_node("ask", "ask_user", first, result_key="said", next=node)
    second = {"prompt": "sure?", "assignee": "bob", "timeout_seconds": 40, "on_deadline_node": "late"}
    flow.effect_node(node, "ask_user", second, result_key="sure", next="end")
    flow.complete_node("late", {"late": True})
    flow.complete_node("end", {"said": "${vars.said}", "sure": "${vars.sure}"})
    return flow.spec()


def _hears(scope: str) -> model_pb2.WorkflowSpec:
    """Events, up to three, of a session or of everybody."""
    flow = Workflow("hears")
    flow.effect_node("listen", "wait_event", {"name": "go", "scope": scope}, result_key="heard", next="note")
    flow.assign_node("note", Append("/list", "${vars.heard.name}"), Set("/n", "${vars.n + 1}"), next="more")
    flow.choice_node("more", ("vars.n < 3", "listen"), otherwise="end")
    flow.complete_node("end", {"list": "${vars.list}"})
    return flow.spec()


def _watches() -> model_pb2.WorkflowSpec:
    """Any event of a workflow, a wait that only hears what comes later, and one of the run's own with a key."""
    flow = Workflow("watches")
    flow.effect_node("any", "wait_event", {"name": "*", "scope": "workflow", "scope_id": "watches"}, next="own")
    flow.effect_node("own", "wait_event", {"name": "go", "scope": "run", "since_now": True}, next="key")
    flow.effect_node("key", "wait_event", {"wait_key": "job-1"}, result_key="got", next="end")
    flow.complete_node("end", {"got": "${vars.got}"})
    return flow.spec()


def _sleeps(seconds: int) -> model_pb2.WorkflowSpec:
    """Time."""
    flow = Workflow("sleeps")
    flow.effect_node("nap", "wait_until", {"delay_seconds": seconds}, next="again")
    flow.effect_node("again", "wait_until", {"delay_seconds": 0.5}, next="end")
    flow.complete_node("end", {"slept": True})
    return flow.spec()


def _fans() -> model_pb2.WorkflowSpec:
    """Branches and items: all of some, any of others."""
    flow = Workflow("fans")
    branches = {"quick": Branch("quick", {"n": "${vars.n}"}), "asks": "ask", "works": "work"}
    flow.parallel_node("fan", branches, join=Join(2), next="each", result_key="found", on_error_node="sorry")
    flow.complete_node("quick", {"n": "${vars.n + 1}"})
    flow.effect_node("ask", "ask_user", {"prompt": "?"}, result_key="answer")
    flow.effect_node("work", "echo", {"b": 1}, result_key="worked")
    flow.foreach_node("each", "[1, 2, 3]", "item", max_concurrency=2, result_key="items", next="race")
    flow.effect_node("item", "echo", {"i": "${vars.item}"}, result_key="i")
    flow.parallel_node("race", {"a": "nap", "b": "ask"}, join=ANY, next="end", result_key="won")
    flow.effect_node("nap", "wait_until", {"delay_seconds": 30})
    flow.complete_node("end", {"found": "${vars.found}", "items": "${vars.items}"})
    flow.complete_node("sorry", {"why": "${vars.found}"})
    return flow.spec()


def _calls() -> model_pb2.WorkflowSpec:
    """Other workflows, awaited and not."""
    flow = Workflow("calls")
    flow.subworkflow_node("aside", "sleeps", {"n": 1}, in_background=True, next="ask")
    flow.subworkflow_node("ask", "asks", {"n": "${vars.n}"}, result_key="child", next="fail", on_error_node="fail")
    flow.subworkflow_node("fail", "fails", {}, result_key="failed", next="end", on_error_node="end")
    flow.complete_node("end", {"child": "${vars.child}"})
    return flow.spec()


def _emits() -> model_pb2.WorkflowSpec:
    """Tells its session, then everybody, then a person."""
    flow = Workflow("emits")
    flow.effect_node("tell", "emit_event", {"name": "go", "payload": {"n": "${vars.n}"}}, next="all")
    flow.effect_node("all", "emit_event", {"name": "go", "scope": "global"}, result_key="told", next="say")
    flow.effect_node("say", "answer_user", {"message": "done"}, result_key="said", next="look")
    flow.effect_node("look", "vars_query", {"path": "told"}, result_key="seen", next="end")
    flow.complete_node("end", {"seen": "${vars.seen}"})
    return flow.spec()


def _fails() -> model_pb2.WorkflowSpec:
    """Fails once its worker's effect is done, or with it."""
    flow = Workflow("fails")
    flow.effect_node("try", "echo", {}, result_key="tried", next="judge")
    flow.choice_node("judge", ("has(vars.good)", "end"), otherwise="lost")
    flow.complete_node("end", {"good": "${vars.good}"})
    flow.fail_node("lost", "Lost", "not good", retryable=True)
    return flow.spec()


def _doubtful() -> model_pb2.WorkflowSpec:
    """An effect that may not happen twice: its run is parked when its worker falls silent."""
    flow = Workflow("doubtful")
    patience = Timeouts(start_to_close=30.0)
    flow.effect_node("charge", "charge", {"eur": 5}, risk="irreversible", timeouts=patience, result_key="paid")
    return flow.spec()


def _leaves() -> model_pb2.WorkflowSpec:
    """Tidies up when it is cancelled."""
    flow = Workflow("leaves", on_cancel_node="tidy")
    flow.effect_node("stay", "echo", {"here": True}, result_key="stayed", next="ask")
    flow.effect_node("ask", "ask_user", {"prompt": "stay?"}, result_key="said")
    flow.effect_node("tidy", "echo", {"tidy": True}, result_key="tidied")
    return flow.spec()
