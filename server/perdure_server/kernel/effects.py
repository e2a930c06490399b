"""Effects: opened from a plan with the node's defaults, settled by a worker's outcome or by the server."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from perdure_server.kernel import model as m
from perdure_server.kernel.decision import EventAppend, Reason, Rejection
from perdure_server.kernel.draft import Draft
from perdure_server.kernel.endings import VARS_TOO_LARGE, end_completed, fail_attempt, fits, success_output
from perdure_server.kernel.inputs import StartRun
from perdure_server.kernel.instants import format_instant
from perdure_server.kernel.joins import joined_result
from perdure_server.kernel.keys import idempotency_key
from perdure_server.kernel.lifecycle import begin_run, event_payload
from perdure_server.kernel.records import ChildLink, StepCompleted, StepStatus, Waiting
from perdure_server.kernel.values import Leaf


def open_effect(draft: Draft, effect: m.Effect, next_node: str) -> m.OpenEffect:
    """The effect of a plan with all defaults resolved from its node."""
    step, node = draft.step, draft.node(draft.step.node_id)
    run = draft.run
    key = effect.idempotency_key or idempotency_key(run.namespace, run.run_id, step.node_id, step.visit)
    return m.OpenEffect(
        type=effect.type,
        request=effect.request,
        server_side=not isinstance(effect.request, m.RemoteRequest),
        result_key=effect.result_key,
        next_node=next_node,
        idempotency_key=key,
        retry=effect.retry or node.retry or m.NO_RETRY,
        timeouts=effect.timeouts or node.timeouts or m.NO_TIMEOUTS,
        queue=effect.queue or node.queue,
        priority=effect.priority or node.priority,
        on_error_node=effect.on_error_node or node.on_error_node,
        risk=effect.risk,
    )


def settle(draft: Draft, outcome: m.EffectOutcome) -> None:
    """The open effect has an outcome."""
    if isinstance(outcome, m.EffectResult):
        complete_effect(draft, outcome.result)
    elif isinstance(outcome, m.WaitRequest):
        _wait_for_worker(draft, outcome)
    else:
        begun = draft.step.begun and not outcome.not_executed
        fail_attempt(draft, outcome, final=begun)


def complete_effect(draft: Draft, result: Leaf | None, child: ChildLink | None = None) -> None:
    """Stores the result and goes on, or ends the run with it."""
    effect = opened(draft)
    if not fits(draft, effect.result_key, result):
        limit = draft.env.limits.vars_bytes
        refuse_effect(draft, VARS_TOO_LARGE, f"the result would make vars larger than {limit} bytes")
        return
    entry = draft.entry(effect.next_node) if effect.next_node else None
    body = StepCompleted(effect.type, result=result, result_key=effect.result_key, next=entry, child=child)
    draft.add(body, StepStatus.COMPLETED)
    if entry is None:
        end_completed(draft, success_output(result))


def refuse_effect(draft: Draft, kind: str, message: str, details: Leaf | None = None) -> None:
    """The open effect fails for good."""
    fail_attempt(draft, m.StepFailure(m.Failure(kind, message, details=details)), final=True)


def opened(draft: Draft) -> m.OpenEffect:
    """The effect of the open step; the caller knows that there is one."""
    effect = draft.step.effect
    if effect is None:
        raise ValueError(f"step {draft.step.step_id} of run {draft.run.run_id} is no effect")
    return effect


def take_turn(draft: Draft, answer: Leaf | None) -> None:
    """Settles the open effect if it is the server's own."""
    request = opened(draft).request
    match request:
        case m.WaitEvent():
            _wait_event(draft, request)
        case m.WaitUntil():
            _wait_until(draft, request)
        case m.AskUser():
            key = request.wait_key or f"user:{draft.run.run_id}:{draft.step.node_id}"
            register(draft, Waiting(m.WaitReason.USER, wait_key=key), request.terms)
        case m.AnswerUser():
            complete_effect(draft, Leaf.of({"message": request.message, "level": request.level}))
        case m.EmitEvent():
            _emit(draft, request)
        case m.StartSubworkflow():
            _start_child(draft, request)
        case m.VarsQuery():
            if answer is None:
                raise ValueError("a vars_query turn needs its answer")
            complete_effect(draft, answer)
        case m.Fanout():
            _join(draft, request)
        case m.RemoteRequest():
            raise Rejection(Reason.NOT_DUE, "the effect is a worker's")


def register(draft: Draft, wait: Waiting, terms: m.WaitTerms) -> None:
    """Registers a wait with the terms of its question and the open effect's way on."""
    effect = opened(draft)
    deadline = terms.deadline_at or (draft.env.now + terms.timeout_us if terms.timeout_us else 0)
    body = replace(
        wait,
        deadline_at=deadline,
        on_deadline_node=terms.on_deadline_node,
        resume_to_node=terms.resume_to_node or effect.next_node,
        result_key=effect.result_key,
        prompt=terms.prompt,
        choices=terms.choices,
        allow_free_text=terms.allow_free_text,
        details=terms.details,
        answer_schema=terms.answer_schema,
        assignee=terms.assignee,
    )
    draft.add(body, StepStatus.WAITING)


def scope_id_of(run: m.RunState, scope: m.EventScope, scope_id: str) -> str:
    """The scope's id; a run's own session, workflow or run where it names none."""
    if scope is m.EventScope.GLOBAL:
        return ""
    own = {
        m.EventScope.SESSION: run.session_id,
        m.EventScope.WORKFLOW: run.workflow_id,
        m.EventScope.RUN: run.run_id,
    }
    return scope_id or own[scope]


def _wait_for_worker(draft: Draft, request: m.WaitRequest) -> None:
    default = f"{request.reason.name.lower()}:{draft.run.run_id}:{draft.step.node_id}"
    register(draft, Waiting(request.reason, wait_key=request.wait_key or default), request.terms)


def _wait_event(draft: Draft, request: m.WaitEvent) -> None:
    run = draft.run
    if request.wait_key:
        wait = Waiting(m.WaitReason.EVENT, wait_key=request.wait_key)
    else:
        wait = Waiting(
            m.WaitReason.EVENT,
            event_name=request.name,
            event_scope=request.scope,
            event_scope_id=scope_id_of(run, request.scope, request.scope_id),
            event_floor=max(draft.env.horizon, run.event_floor) if request.since_now else run.event_floor,
        )
    register(draft, wait, request.terms)


def _wait_until(draft: Draft, request: m.WaitUntil) -> None:
    until = request.until_at if request.delay_us is None else draft.env.now + request.delay_us
    if until <= draft.env.now:
        complete_effect(draft, ready_result(until))
        return
    register(draft, Waiting(m.WaitReason.UNTIL, until_at=until), m.NO_TERMS)


@lru_cache(maxsize=64)
def ready_result(until: int) -> Leaf:
    """The result of a wait_until: {"until": RFC 3339, "ready": true}. Thousands may come due at one instant."""
    return Leaf.of({"until": format_instant(until), "ready": True})


def _emit(draft: Draft, request: m.EmitEvent) -> None:
    run, effect, step = draft.run, opened(draft), draft.step
    event = EventAppend(
        scope=request.scope,
        scope_id=scope_id_of(run, request.scope, request.scope_id),
        name=request.name,
        event_id=request.event_id or effect.idempotency_key,
        payload=event_payload(request.payload),
        at=draft.at,
        run_id=run.run_id,
        workflow_id=run.workflow_id,
        node_id=step.node_id,
        session_id=run.session_id,
    )
    draft.events.append(event)
    complete_effect(draft, Leaf.of({"event_id": event.event_id, "name": event.name, "scope": event.scope.name.lower()}))


def _join(draft: Draft, request: m.Fanout) -> None:
    """Waits for branches or items; the first of them start with the next turn."""
    limits, effect = draft.env.limits, opened(draft)
    if draft.run.depth + 1 > limits.tree_depth:
        refuse_effect(draft, "LIMIT_REACHED", f"runs nest at most {limits.tree_depth} deep")
    elif request.needed > request.total:
        text = f"{request.needed} must complete, and there are {request.total}"
        refuse_effect(draft, "JOIN_NOT_REACHABLE", text)
    elif not request.total:
        complete_effect(draft, joined_result(request, {}))
    else:
        key = f"{effect.type}:{draft.run.run_id}:{draft.step.node_id}"
        register(draft, Waiting(m.WaitReason.JOIN, wait_key=key, needed=request.needed), m.NO_TERMS)


def _start_child(draft: Draft, request: m.StartSubworkflow) -> None:
    run, env, step = draft.run, draft.env, draft.step
    problem = _child_problem(draft, request)
    spec = env.workflows(request.workflow_id, request.workflow_version)
    if problem is not None or spec is None:
        kind, message = problem or ("WORKFLOW_NOT_FOUND", f"no workflow {request.workflow_id!r} is registered")
        refuse_effect(draft, kind, message)
        return
    if request.entry_node and request.entry_node not in spec.nodes:
        refuse_effect(draft, "NODE_NOT_FOUND", f"workflow {spec.workflow_id!r} has no node {request.entry_node!r}")
        return
    child_id = request.run_id or env.new_id()
    start = StartRun(
        namespace=run.namespace,
        run_id=child_id,
        vars=request.vars or Leaf(b"{}"),
        actor_id=run.actor_id,
        session_id=request.session_id or run.session_id,
        labels=dict(request.labels),
        drive=request.drive,
        entry_node=request.entry_node,
        trace_context=run.trace_context,
        root_run_id=run.root_run_id,
        parent_run_id=run.run_id,
        parent_step_id=step.step_id,
        depth=run.depth + 1,
    )
    draft.new_runs.append(begin_run(start, replace(env, spec=spec), draft.at))
    awaited = request.wait or not request.async_
    link = ChildLink(child_id, awaited, request.on_parent_cancel)
    if awaited:
        terms = m.WaitTerms(timeout_us=request.timeout_us)
        key = f"subworkflow:{child_id}"
        register(draft, Waiting(m.WaitReason.SUBWORKFLOW, wait_key=key, child=link), terms)
    else:
        complete_effect(draft, Leaf.of({"sub_run_id": child_id, "async": True}), link)


def _child_problem(draft: Draft, request: m.StartSubworkflow) -> tuple[str, str] | None:
    run, limits = draft.run, draft.env.limits
    if run.depth + 1 > limits.tree_depth:
        return "LIMIT_REACHED", f"runs nest at most {limits.tree_depth} deep"
    if len(run.children) >= limits.open_children:
        return "LIMIT_REACHED", f"a run has at most {limits.open_children} open children"
    if request.run_id and request.run_id in draft.env.taken_run_ids:
        return "RUN_EXISTS", f"run id {request.run_id!r} is taken"
    if request.vars is not None and request.vars.stored_size > limits.vars_bytes:
        return VARS_TOO_LARGE, f"the child's vars take more than {limits.vars_bytes} bytes"
    return None
