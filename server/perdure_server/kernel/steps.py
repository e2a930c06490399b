"""Steps: handed out, begun, planned, settled, failed, lapsed, timed out, released, resolved."""

from __future__ import annotations

from collections.abc import Iterable

from perdure_server.kernel import model as m
from perdure_server.kernel.decision import Ack, Decision, Reason, Rejection
from perdure_server.kernel.draft import Draft, not_due, stale
from perdure_server.kernel.effects import open_effect, settle, take_turn
from perdure_server.kernel.endings import (
    BAD_PLAN,
    PAYLOAD_TOO_LARGE,
    VARS_TOO_LARGE,
    end_completed,
    end_failed,
    fail_attempt,
    fail_plan,
    fits,
)
from perdure_server.kernel.inputs import (
    EffectBegun,
    EffectSettled,
    LeaseLapsed,
    NodePlanned,
    ResolveStep,
    StepLeased,
    StepReleased,
    TurnTaken,
)
from perdure_server.kernel.records import (
    LateResult,
    Parked,
    RequeueCause,
    Requeued,
    Resolution,
    StepBegun,
    StepCompleted,
    StepStarted,
    StepStatus,
    Unparked,
)
from perdure_server.kernel.values import Leaf, dump_json
from perdure_server.kernel.vars import VarsError, apply_ops, ops_size


def lease(draft: Draft, event: StepLeased) -> None:
    """Hands the step out: attempt + 1, the new fencing token."""
    step = draft.step
    if step.step_id != event.step_id or step.server_side or draft.run.paused:
        raise not_due("the hand-out")
    _start_attempt(draft, event.worker_id)


def release(draft: Draft, event: StepReleased) -> None:
    """A worker gives the step back; no failure, no lapse."""
    _leased_attempt(draft, event.step_id, event.attempt)
    not_before = draft.env.now + event.delay_us if event.delay_us > 0 else 0
    draft.add(Requeued(RequeueCause.RELEASED, not_before))


def lapse(draft: Draft, event: LeaseLapsed) -> None:
    """The lease ran out: hand out again, or park (POISON, IN_DOUBT)."""
    step = draft.step
    if (step.step_id, step.attempt) != (event.step_id, event.attempt):
        raise not_due("the lapse")
    if _in_doubt(step):
        draft.add(Parked(m.ParkReason.IN_DOUBT, step.lapses))
    elif step.lapses + 1 >= draft.env.limits.max_lapses:
        draft.add(Parked(m.ParkReason.POISON, step.lapses + 1))
    else:
        draft.add(Requeued(RequeueCause.LAPSED))


def time_out(draft: Draft, what: str) -> None:
    """A task timeout: counts as a failure, but a begun irreversible effect is parked."""
    step = draft.step
    if _in_doubt(step):
        draft.add(Parked(m.ParkReason.IN_DOUBT, step.lapses))
        return
    failure = m.Failure("TIMEOUT", f"{what} timeout", retryable=True, details=Leaf.of({"timeout": what}))
    fail_attempt(draft, m.StepFailure(failure))


def begin(draft: Draft, event: EffectBegun) -> Decision:
    """The worker may execute its irreversible effect; asking again is answered again."""
    step = _leased_attempt(draft, event.step_id, event.attempt)
    if step.effect is None or step.effect.risk is not m.Risk.IRREVERSIBLE:
        raise Rejection(Reason.BAD_REPORT, "only an irreversible effect is begun; just execute this one")
    if not step.begun:
        draft.add(StepBegun(step.effect.type), StepStatus.STARTED)
    decision = draft.decision()
    decision.ack = Ack.DUPLICATE if step.begun else Ack.ACCEPTED
    return decision


def late(draft: Draft, report: bytes) -> Decision:
    """The report of the attempt that was leased when a cancel or deadline came: kept, without effect."""
    draft.add(LateResult(report))
    decision = draft.decision()
    decision.ack = Ack.STALE
    return decision


def node_planned(draft: Draft, event: NodePlanned) -> None:
    """A node's plan or failure, from its worker or from the server's own turn."""
    step = _leased_attempt(draft, event.step_id, event.attempt) if event.attempt else _own_turn(draft, event.step_id)
    if step.effect is not None:
        raise Rejection(Reason.BAD_REPORT, "the task is an effect: report its outcome, not a plan")
    if not event.attempt and draft.run.turns >= draft.env.limits.server_turns and not _ends(event.outcome):
        why = f"{draft.run.turns:,} nodes in a row ran in the server without an effect or a wait; it goes round"
        fail_plan(draft, m.Failure("LOOP_LIMIT", _naming(draft, why)))
    elif isinstance(event.outcome, m.StepFailure):
        fail_attempt(draft, event.outcome)
    elif event.effect_outcome is not None and event.outcome.effect is None:
        raise Rejection(Reason.BAD_REPORT, "the plan has no effect to settle", field="effect_outcome")
    else:
        accept_plan(draft, event.outcome, event.effect_outcome)


def _ends(outcome: m.StepPlan | m.StepFailure) -> bool:
    """Whether a plan leaves the row of nodes that the server runs."""
    if isinstance(outcome, m.StepFailure):
        return False
    return outcome.effect is not None or outcome.fail is not None or outcome.complete_output is not None


def effect_settled(draft: Draft, event: EffectSettled) -> None:
    """The outcome of an effect, from its worker."""
    step = _leased_attempt(draft, event.step_id, event.attempt)
    if step.effect is None:
        raise Rejection(Reason.BAD_REPORT, "the task is a node: report its plan, not an effect's outcome")
    if step.effect.risk is m.Risk.IRREVERSIBLE and not step.begun and not isinstance(event.outcome, m.StepFailure):
        raise Rejection(Reason.BAD_REPORT, "an irreversible effect is reported only after its begin was acked")
    settle_checked(draft, event.outcome)


def turn_taken(draft: Draft, event: TurnTaken) -> None:
    """The server settles an effect of its own."""
    step = _own_turn(draft, event.step_id)
    if step.effect is None:
        raise not_due("the turn")
    take_turn(draft, event.answer)


def resolve(draft: Draft, event: ResolveStep) -> None:
    """A person or program decides about the parked step."""
    step = draft.step
    if step.step_id != event.step_id:
        raise Rejection(
            Reason.STEP_NOT_PARKED,
            f"step {event.step_id} is not the parked one; that is step {step.step_id}",
            field="step_id",
        )
    is_node = step.effect is None
    if event.resolution is Resolution.COMPLETED and is_node != (event.plan is not None):
        wanted = "plan" if is_node else "result_json"
        raise Rejection(Reason.INVALID_FIELD, f"this step is completed with {wanted}", field=f"completed.{wanted}")
    _check_resolution(draft, event)
    draft.add(Unparked(event.resolution, event.resolved_by))
    if event.resolution is Resolution.COMPLETED and event.plan is not None:
        accept_plan(draft, event.plan, None)
    elif event.resolution is Resolution.COMPLETED:
        settle(draft, m.EffectResult(event.result))
    elif event.resolution is Resolution.FAILED:
        fail_attempt(draft, m.StepFailure(event.failure or m.Failure("RESOLVED_AS_FAILED")), final=True)


def _check_resolution(draft: Draft, event: ResolveStep) -> None:
    """What a person gives is refused where a worker's would fail the run: the step stays parked."""
    effect = draft.step.effect
    if effect is not None and not fits(draft, effect.result_key, event.result):
        limit = draft.env.limits.vars_bytes
        raise Rejection(
            Reason.VARS_TOO_LARGE,
            f"the result would make vars larger than {limit} bytes",
            field="completed.result_json",
        )
    if event.plan is not None:
        node = draft.node(draft.step.node_id)
        problem = _plan_problem(draft, event.plan, event.plan.next_node or node.next)
        if problem is not None:
            raise Rejection(Reason.INVALID_FIELD, problem.message, field="completed.plan")


def accept_plan(draft: Draft, plan: m.StepPlan, outcome: m.EffectOutcome | None) -> None:
    """Carries a plan out: fail, else complete, else effect, else next_node."""
    node = draft.node(draft.step.node_id)
    next_node = plan.next_node or node.next
    failure = _plan_problem(draft, plan, next_node)
    if failure is not None:
        fail_plan(draft, failure)
        return
    if plan.fail is not None:
        draft.add(StepCompleted(vars_ops=plan.vars_ops), StepStatus.COMPLETED)
        end_failed(draft, plan.fail)
    elif plan.complete_output is not None:
        draft.add(StepCompleted(vars_ops=plan.vars_ops), StepStatus.COMPLETED)
        end_completed(draft, plan.complete_output)
    elif plan.effect is not None:
        _open(draft, plan, next_node, outcome)
    else:
        body = StepCompleted(vars_ops=plan.vars_ops, next=draft.entry(next_node))
        draft.add(body, StepStatus.COMPLETED)


def settle_checked(draft: Draft, outcome: m.EffectOutcome) -> None:
    """Settles with a worker's outcome; a wait that leads nowhere fails the run."""
    if isinstance(outcome, m.WaitRequest):
        missing = _missing_node(draft, (outcome.terms.resume_to_node, outcome.terms.on_deadline_node))
        if missing:
            fail_plan(draft, _bad_plan(draft, f"its wait leads to node {missing!r}, which does not exist"))
            return
    settle(draft, outcome)


def _open(draft: Draft, plan: m.StepPlan, next_node: str, outcome: m.EffectOutcome | None) -> None:
    if plan.effect is None:
        raise ValueError("the plan has no effect")
    effect = open_effect(draft, plan.effect, next_node)
    if outcome is not None and (effect.server_side or effect.risk is m.Risk.IRREVERSIBLE):
        raise Rejection(
            Reason.BAD_REPORT,
            "an effect outcome goes with a worker's effect that is not irreversible; report the plan alone",
            field="effect_outcome",
        )
    worker_id = draft.step.worker_id
    draft.add(StepCompleted(vars_ops=plan.vars_ops, effect=effect), StepStatus.COMPLETED)
    if outcome is not None:
        _start_attempt(draft, worker_id)
        settle_checked(draft, outcome)


def _start_attempt(draft: Draft, worker_id: str) -> None:
    step = draft.step
    effect_type = step.effect.type if step.effect else ""
    draft.add(StepStarted(effect_type), StepStatus.STARTED, attempt=step.attempt + 1, worker_id=worker_id)


def _plan_problem(draft: Draft, plan: m.StepPlan, next_node: str) -> m.Failure | None:
    ends = plan.fail is not None or plan.complete_output is not None
    if ends and plan.effect is not None:
        return _bad_plan(draft, "it has both an end (fail or complete) and an effect")
    if not ends and plan.effect is None and not next_node:
        return _bad_plan(draft, "it has neither fail, complete, effect nor next node")
    missing = "" if ends else _missing_node(draft, _named_nodes(plan, next_node))
    if missing:
        return _bad_plan(draft, f"it leads to node {missing!r}, which does not exist")
    too_large = _too_large(draft, plan)
    if too_large is not None:
        return too_large
    return _ops_problem(draft, plan.vars_ops)


def _named_nodes(plan: m.StepPlan, next_node: str) -> list[str]:
    nodes = [next_node]
    if plan.effect is not None:
        nodes.append(plan.effect.on_error_node)
        request = plan.effect.request
        if isinstance(request, m.WaitEvent | m.AskUser):
            nodes += [request.terms.resume_to_node, request.terms.on_deadline_node]
    return nodes


def _missing_node(draft: Draft, nodes: Iterable[str]) -> str:
    known = draft.env.spec.nodes
    return next((node for node in nodes if node and node not in known), "")


def _too_large(draft: Draft, plan: m.StepPlan) -> m.Failure | None:
    limits = draft.env.limits
    sizes = [op.value.size for op in plan.vars_ops if op.value is not None]
    if plan.complete_output is not None:
        sizes.append(plan.complete_output.size)
    if plan.effect is not None:
        sizes += [leaf.size for leaf in _request_leaves(plan.effect.request)]
    if max(sizes, default=0) > limits.payload_bytes:
        return m.Failure(PAYLOAD_TOO_LARGE, _naming(draft, f"a value is over {limits.payload_bytes} bytes"))
    if sum(sizes) > limits.record_payload_bytes:
        total = limits.record_payload_bytes
        return m.Failure(PAYLOAD_TOO_LARGE, _naming(draft, f"its values are over {total} bytes together"))
    return None


def _request_leaves(request: m.EffectRequest) -> list[Leaf]:
    match request:
        case m.RemoteRequest():
            leaves = [request.payload]
        case m.EmitEvent():
            leaves = [request.payload]
        case m.StartSubworkflow():
            leaves = [request.vars]
        case m.Fanout():
            leaves = [request.items]
        case m.WaitEvent() | m.AskUser():
            leaves = [request.terms.details, request.terms.answer_schema]
        case _:
            leaves = []
    return [leaf for leaf in leaves if leaf is not None]


def _ops_problem(draft: Draft, ops: tuple[m.VarsOp, ...]) -> m.Failure | None:
    if not ops:
        return None
    try:
        after = apply_ops(draft.run.vars, ops)
    except VarsError as error:
        return _bad_plan(draft, str(error))
    limit = draft.env.limits.vars_bytes
    if draft.run.vars_bytes + ops_size(ops) > limit and len(dump_json(after)) > limit:
        return m.Failure(VARS_TOO_LARGE, _naming(draft, f"vars would be over {limit} bytes"))
    return None


def _bad_plan(draft: Draft, why: str) -> m.Failure:
    return m.Failure(BAD_PLAN, _naming(draft, why))


def _naming(draft: Draft, why: str) -> str:
    return f"the plan of node {draft.step.node_id!r} cannot be carried out: {why}"


def _leased_attempt(draft: Draft, step_id: int, attempt: int) -> m.Step:
    step = draft.run.step
    if (
        step is None
        or draft.run.activity is not m.Activity.LEASED
        or (step.step_id, step.attempt) != (step_id, attempt)
    ):
        raise stale(step_id, attempt)
    return step


def _own_turn(draft: Draft, step_id: int) -> m.Step:
    step, run = draft.run.step, draft.run
    if step is None or run.paused or not step.server_side or run.activity is not m.Activity.QUEUED:
        raise not_due("the turn")
    if step.step_id != step_id:
        raise not_due("the turn")
    return step


def _in_doubt(step: m.Step) -> bool:
    return step.begun and step.effect is not None and step.effect.risk is m.Risk.IRREVERSIBLE
