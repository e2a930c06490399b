"""The script's workflows: every kind of effect, every way in which a step or wait ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import worker_service_pb2 as worker
from tests.robustness.crash.worker import Plan

TOUR = "tour"
LISTENER = "listener"
ERRAND = "errand"
DOOMED = "doomed"
PATIENT = "patient"
STEPS = "steps"
HOUSE = "house"
PLAIN = "plain"
DOUBT = "doubt"
POISON = "poison"
DECLARED = "declared"
BROKEN = "broken"
HASTY = "hasty"
WARD = "ward"
TARDY = "tardy"
MENDED = "mended"
MOVED = "moved"
FAN = "fan"

SHORT_MS = 150
"""Timeouts that are meant to pass."""


def custom(do: str, *, name: str = "work", next_node: str = "", **fields: Any) -> worker.NodeReport:
    """A plan with a custom effect that the worker executes as `do` says, stored under `name`."""
    payload = json.dumps({"do": do, "result": {"done": name, "note": f"é {name}"}})
    effect = model_pb2.Effect(
        custom=model_pb2.CustomEffect(type="errand", payload_json=payload), result_key=f"results.{name}", **fields
    )
    return planned(effect, next_node)


def planned(effect: model_pb2.Effect, next_node: str = "", **ops: Any) -> worker.NodeReport:
    """A plan with an effect; `ops` are set in vars first."""
    vars_ops = [model_pb2.VarsOp(path=f"/{key}", set_json=json.dumps(value)) for key, value in ops.items()]
    return worker.NodeReport(plan=model_pb2.StepPlan(effect=effect, next_node=next_node, vars_ops=vars_ops))


def goes_to(next_node: str, **ops: Any) -> worker.NodeReport:
    """A plan that enters a node."""
    report = planned(model_pb2.Effect(), next_node, **ops)
    report.plan.ClearField("effect")
    return report


def completes(**output: Any) -> worker.NodeReport:
    """A plan that completes the run."""
    return worker.NodeReport(plan=model_pb2.StepPlan(complete_output_json=json.dumps(output)))


def asks(prompt: str, next_node: str, **terms: Any) -> worker.NodeReport:
    """A plan that asks a person."""
    effect = model_pb2.Effect(ask_user=model_pb2.AskUser(terms=model_pb2.WaitTerms(prompt=prompt, **terms)))
    effect.result_key = f"answers.{next_node}"
    return planned(effect, next_node)


def starts(workflow_id: str, next_node: str, **fields: Any) -> worker.NodeReport:
    """A plan that starts a child run."""
    on_error_node = fields.pop("on_error_node", "")
    child = model_pb2.StartSubworkflow(workflow_id=workflow_id, vars_json='{"who":"child"}', **fields)
    effect = model_pb2.Effect(start_subworkflow=child, result_key=f"children.{next_node}", on_error_node=on_error_node)
    return planned(effect, next_node)


def hears(
    name: str, next_node: str, scope: common_pb2.EventScope.ValueType = common_pb2.EVENT_SCOPE_SESSION
) -> worker.NodeReport:
    """A plan that waits for an event."""
    wait = model_pb2.WaitEvent(name=name, scope=scope)
    return planned(model_pb2.Effect(wait_event=wait, result_key=f"heard.{name}"), next_node)


def timeouts(**named_ms: int) -> common_pb2.TaskTimeouts:
    """Task timeouts in milliseconds."""
    message = common_pb2.TaskTimeouts()
    for name, milliseconds in named_ms.items():
        getattr(message, name).FromMilliseconds(milliseconds)
    return message


def _retry(attempts: int) -> common_pb2.RetryPolicy:
    policy = common_pb2.RetryPolicy(max_attempts=attempts)
    policy.initial_interval.FromMilliseconds(20)
    return policy


def _nap() -> worker.NodeReport:
    effect = model_pb2.Effect(result_key="nap")
    effect.wait_until.delay.FromMilliseconds(SHORT_MS)
    return planned(effect, "ask")


def _patience() -> worker.NodeReport:
    report = asks("Anybody?", "never", on_deadline_node="job")
    report.plan.effect.ask_user.terms.timeout.FromMilliseconds(SHORT_MS)
    report.plan.next_node = "done"
    return report


def _inlined() -> worker.NodeReport:
    """A plan whose effect the worker has executed with it."""
    effect = model_pb2.Effect(llm_call=model_pb2.LlmCall(payload_json='{"do":"ok"}'), result_key="results.model")
    report = planned(effect, "tools", asked=True)
    report.effect_outcome.result_json = '{"text":"hello"}'
    return report


_IRREVERSIBLE = common_pb2.EFFECT_RISK_IRREVERSIBLE

PLANS: Mapping[tuple[str, str], Plan] = {
    (TOUR, "begin"): lambda _vars: custom("ok", name="steady", next_node="shaky", priority=5),
    (TOUR, "shaky"): lambda _vars: custom("fail_once", name="shaky", next_node="refused", retry=_retry(3)),
    (TOUR, "refused"): lambda _vars: custom("fail", name="refused", next_node="done", on_error_node="charge"),
    (TOUR, "charge"): lambda _vars: custom("ok", name="charge", next_node="model", risk=_IRREVERSIBLE),
    (TOUR, "model"): lambda _vars: _inlined(),
    (TOUR, "tools"): lambda _vars: planned(
        model_pb2.Effect(tool_calls=model_pb2.ToolCalls(payload_json='{"do":"ok","result":[1,2]}'), result_key="tools"),
        "gate",
    ),
    (TOUR, "gate"): lambda _vars: asks("Ready?", "early", details_json='{"n":1}', assignee="ann"),
    (TOUR, "early"): lambda _vars: hears("early", "late"),
    (TOUR, "late"): lambda _vars: hears("late", "nap"),
    (TOUR, "nap"): lambda _vars: _nap(),
    (TOUR, "ask"): lambda _vars: asks("Which?", "tell", choices=["red", "blue"], allow_free_text=False),
    (TOUR, "tell"): lambda _vars: planned(
        model_pb2.Effect(answer_user=model_pb2.AnswerUser(message="Noted."), result_key="told"), "announce"
    ),
    (TOUR, "announce"): lambda _vars: planned(
        model_pb2.Effect(
            emit_event=model_pb2.EmitEvent(
                name="news", scope=common_pb2.EVENT_SCOPE_GLOBAL, payload_json='{"hot":true}'
            ),
            result_key="announced",
        ),
        "child_sync",
    ),
    (TOUR, "child_sync"): lambda _vars: starts(ERRAND, "child_wait"),
    (TOUR, "child_wait"): lambda _vars: starts(ERRAND, "child_async", run_id="kid-wait", wait=True, **{"async": True}),
    (TOUR, "child_async"): lambda _vars: starts(PATIENT, "meeting", run_id="kid-async", **{"async": True}),
    (TOUR, "meeting"): lambda _vars: asks("Is the child back?", "child_fail"),
    (TOUR, "child_fail"): lambda _vars: starts(DOOMED, "done", run_id="kid-fail", on_error_node="look"),
    (TOUR, "look"): lambda _vars: planned(
        model_pb2.Effect(vars_query=model_pb2.VarsQuery(path="results"), result_key="looked"), "stuck"
    ),
    (TOUR, "stuck"): lambda _vars: custom(
        "ok", next_node="done", queue="nobody", on_error_node="slow", timeouts=timeouts(schedule_to_start=SHORT_MS)
    ),
    (TOUR, "slow"): lambda _vars: custom(
        "hang", next_node="done", on_error_node="silent", timeouts=timeouts(start_to_close=SHORT_MS)
    ),
    (TOUR, "silent"): lambda _vars: custom(
        "hang", next_node="done", on_error_node="patience", timeouts=timeouts(heartbeat=SHORT_MS)
    ),
    (TOUR, "patience"): lambda _vars: _patience(),
    (TOUR, "job"): lambda _vars: custom("wait", name="job", next_node="done"),
    (TOUR, "done"): lambda vars_: completes(saw=sorted(vars_), results=vars_["results"]),
    (LISTENER, "listen"): lambda _vars: hears("news", "heard", common_pb2.EVENT_SCOPE_GLOBAL),
    (ERRAND, "fetch"): lambda _vars: custom("ok", name="fetched", next_node="out"),
    (PATIENT, "stay"): lambda _vars: asks("Come home?", "leave"),
    (PATIENT, "leave"): lambda _vars: completes(home=True),
    (STEPS, "one"): lambda _vars: goes_to("two", one=1),
    (STEPS, "two"): lambda _vars: custom("ok", name="two", next_node="three"),
    (STEPS, "three"): lambda vars_: completes(one=vars_["one"]),
    (HOUSE, "hold"): lambda _vars: starts(PATIENT, "never", run_id="guest"),
    (HOUSE, "never"): lambda _vars: completes(),
    (HOUSE, "sweep"): lambda _vars: custom("ok", name="swept", next_node="closed"),
    (HOUSE, "closed"): lambda _vars: completes(closed=True),
    (WARD, "hold"): lambda _vars: starts(PATIENT, "never", run_id="kid-cancel", on_error_node="bereft"),
    (WARD, "never"): lambda _vars: completes(),
    (WARD, "bereft"): lambda vars_: completes(why=vars_["children"]["never"]["type"]),
    (TARDY, "dawdle"): lambda _vars: custom("late", name="dawdled", next_node="never"),
    (TARDY, "never"): lambda _vars: completes(),
    (DOUBT, "first"): lambda _vars: custom("forget_once", name="first", next_node="second", risk=_IRREVERSIBLE),
    (DOUBT, "second"): lambda _vars: custom("forget_once", name="second", next_node="third", risk=_IRREVERSIBLE),
    (DOUBT, "third"): lambda _vars: custom(
        "forget_once", name="third", next_node="never", risk=_IRREVERSIBLE, on_error_node="settled"
    ),
    (DOUBT, "never"): lambda _vars: completes(),
    (DOUBT, "settled"): lambda vars_: completes(results=vars_["results"]),
    (MENDED, "pay"): lambda _vars: custom("fail_once", name="pay", next_node="send"),
    (MENDED, "send"): lambda _vars: custom("fail", name="send", next_node="make", risk=_IRREVERSIBLE),
    (MENDED, "make"): lambda vars_: custom("ok" if "mended" in vars_ else "fail", name="made", next_node="whole"),
    (MENDED, "whole"): lambda vars_: completes(results=vars_["results"]),
    (POISON, "sip"): lambda _vars: custom("forget", name="sip", next_node="never", on_error_node="spat"),
    (POISON, "never"): lambda _vars: completes(),
    (POISON, "spat"): lambda _vars: completes(alive=True),
}
"""What the script's worker plans at each node."""


def _worker_nodes(workflow_id: str) -> dict[str, model_pb2.NodeSpec]:
    return {node: model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_WORKER) for name, node in PLANS if name == workflow_id}


def _effect(type_: str, next_node: str, **payload: Any) -> model_pb2.NodeSpec:
    template = json.dumps({"type": type_, "payload": payload})
    return model_pb2.NodeSpec(
        kind=model_pb2.NODE_KIND_EFFECT, template_json=template, next=next_node, result_key=f"results.{type_}"
    )


def _asks(prompt: str, next_node: str = "", result_key: str = "") -> model_pb2.NodeSpec:
    node = _effect("ask_user", next_node, prompt=prompt)
    node.result_key = result_key
    return node


def _moved() -> list[model_pb2.WorkflowSpec]:
    """A workflow in two versions that call its nodes differently."""
    return [
        model_pb2.WorkflowSpec(
            workflow_id=MOVED,
            entry_node=ask,
            nodes={ask: _asks("Where?", end, "where"), end: _complete(**{end: "${vars.where}"})},
        )
        for ask, end in (("ask", "end"), ("question", "finish"))
    ]


def _fan() -> dict[str, model_pb2.NodeSpec]:
    """Everything that the server does by itself; persons decide the order in which branches end."""
    both = [model_pb2.BranchSpec(name=name, entry_node=name, vars_json="{}") for name in ("left", "right")]
    race = [model_pb2.BranchSpec(name=name, entry_node=name) for name in ("fast", "slow")]
    items = model_pb2.ForeachSpec(
        items="vars.list.filter(n, n > 1)", entry_node="item", vars_json='{"n":"${item}"}', max_concurrency=1
    )
    kinds = model_pb2.NodeSpec
    return {
        "pick": kinds(
            kind=model_pb2.NODE_KIND_CHOICE,
            choices=[model_pb2.ChoiceRule(when="size(vars.list) > 2", next="set")],
            next="over",
        ),
        "set": kinds(
            kind=model_pb2.NODE_KIND_ASSIGN,
            assign=[model_pb2.VarsOp(path="/total", set_json='"${vars.list[0] + vars.list[1]}"')],
            next="both",
        ),
        "both": kinds(kind=model_pb2.NODE_KIND_PARALLEL, branches=both, result_key="both", next="race"),
        "left": _asks("Left?", "said", "answer"),
        "right": _asks("Right?", "said", "answer"),
        "said": _complete(said="${vars.answer}", branch="${run.branch}"),
        "race": kinds(
            kind=model_pb2.NODE_KIND_PARALLEL,
            branches=race,
            join=model_pb2.JoinSpec(mode=model_pb2.JOIN_MODE_ANY),
            result_key="race",
            next="calm",
        ),
        "fast": _asks("Fast?"),
        "slow": _asks("Slow?"),
        "calm": _asks("Has everybody gone?", "each"),
        "each": kinds(kind=model_pb2.NODE_KIND_FOREACH, foreach=items, result_key="items", next="errand"),
        "item": _complete(n="${vars.n}"),
        "errand": kinds(
            kind=model_pb2.NODE_KIND_SUBWORKFLOW,
            subworkflow=model_pb2.SubworkflowSpec(workflow_id=ERRAND),
            result_key="errand",
            next="over",
        ),
        "over": _complete(both="${vars.both}", race="${vars.race}", items="${vars.items}", total="${vars.total}"),
    }


def _complete(**output: Any) -> model_pb2.NodeSpec:
    return model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_COMPLETE, template_json=json.dumps(output))


def _fail(type_: str) -> model_pb2.NodeSpec:
    template = json.dumps({"type": type_, "message": "it had to be", "retryable": False, "details": {"why": [1]}})
    return model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_FAIL, template_json=template)


def specs() -> list[model_pb2.WorkflowSpec]:
    """The specs, in the order in which the script registers them."""
    declared = {
        LISTENER: {"heard": _complete(heard="${vars.heard.news.payload}")},
        ERRAND: {"out": _complete(fetched="${vars.results.fetched}")},
        DOOMED: {"end": _fail("DOOM")},
        HOUSE: {"tidy": _effect("ask_user", "sweep", prompt="All out?")},
        PLAIN: {"ask": _effect("ask_user", "", prompt="Still there?")},
        DECLARED: {
            "say": _effect("answer_user", "look", message="hello"),
            "look": _effect("vars_query", "work", path="results"),
            "work": _effect("errand", "out", do="ok", result="${vars.name}"),
            "out": _complete(name="${vars.name}", missing="${vars.nothing}"),
        },
        BROKEN: {"say": _effect("answer_user", "end", message="oh"), "end": _fail("BROKEN")},
        HASTY: {"ask": _effect("ask_user", "", prompt="Quick?")},
        FAN: _fan(),
    }
    worked = (TOUR, LISTENER, ERRAND, DOOMED, PATIENT, STEPS, HOUSE, PLAIN, WARD, TARDY, DOUBT, POISON, MENDED)
    order = (*worked, DECLARED, BROKEN, HASTY, FAN)
    found: list[model_pb2.WorkflowSpec] = []
    for workflow_id in order:
        nodes = {**_worker_nodes(workflow_id), **declared.get(workflow_id, {})}
        found.append(
            model_pb2.WorkflowSpec(
                workflow_id=workflow_id,
                entry_node=next(iter(nodes)),
                nodes=nodes,
                on_cancel_node="tidy" if workflow_id == HOUSE else "",
            )
        )
    return [*found, *_moved()]
