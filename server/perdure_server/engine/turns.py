"""Turns: next steps of the server's own, chained into the commit that made them due; and births of tasks."""

from __future__ import annotations

from perdure_server.engine.ports import Placement
from perdure_server.kernel.decide import decide_next
from perdure_server.kernel.decision import Decision, Env
from perdure_server.kernel.inputs import Input, NodePlanned, StepLeased, TurnTaken
from perdure_server.kernel.model import Activity, RunState, VarsQuery
from perdure_server.kernel.obligations import task_due
from perdure_server.programs import vars_query
from perdure_server.programs.branch_vars import branches_due
from perdure_server.programs.declarative import plan_for, scope_of


def turn_input(run: RunState, env: Env) -> Input | None:
    """The input of the run's next turn; None if none is due now."""
    step = run.step
    if step is None or not step.server_side or run.paused:
        return None
    if run.join is not None:
        return branches_due(run, env.spec.nodes[step.node_id], env.limits)
    if run.activity is not Activity.QUEUED:
        return None
    if step.effect is None:
        return NodePlanned(step.step_id, 0, plan_for(env.spec.nodes[step.node_id], scope_of(run)))
    request = step.effect.request
    answer = vars_query.answer(run.vars, request) if isinstance(request, VarsQuery) else None
    return TurnTaken(step.step_id, answer)


def chain_turns(decision: Decision, env: Env) -> None:
    """Takes the turns that a decision made due, up to `chained_records` records and about `branch_batch` new runs;
    the rest is a turn row."""
    limits = env.limits
    while len(decision.records) < limits.chained_records and len(decision.new_runs) < limits.branch_batch:
        event = turn_input(decision.run, env)
        if event is None:
            return
        decide_next(decision, event, env)


def lease_at_birth(decision: Decision, env: Env, placement: Placement) -> str:
    """Leases a task that the decision made due to a worker that can take it now.

    Returns: the worker's id, or "" if there is none; its credit is taken.
    """
    run = decision.run
    step = run.step
    if run.activity is not Activity.QUEUED or run.paused or step is None or step.server_side:
        return ""
    task = task_due(run)
    worker_id = placement.place(run, task) if task else None
    if worker_id is None:
        return ""
    decide_next(decision, StepLeased(step.step_id, worker_id), env)
    return worker_id
