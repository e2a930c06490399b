"""Branches and items: child runs of the same version, started some at a time, and joined (DESIGN 4)."""

from __future__ import annotations

from perdure_server.kernel import model as m
from perdure_server.kernel.draft import Draft, not_due
from perdure_server.kernel.effects import opened, refuse_effect
from perdure_server.kernel.endings import (
    PAYLOAD_TOO_LARGE,
    VARS_TOO_LARGE,
    end_completed,
    fail_attempt,
    fits,
    success_output,
)
from perdure_server.kernel.evolve import error_object
from perdure_server.kernel.inputs import BranchesDue, ChildEndSeen, StartRun
from perdure_server.kernel.joins import fanout_of, joined_result, room
from perdure_server.kernel.lifecycle import begin_run
from perdure_server.kernel.records import BranchesStarted, ChildEnded, Joined, StepStatus
from perdure_server.kernel.values import Leaf

EMPTY_OUTPUT = Leaf(b"null", None)


def start_branches(draft: Draft, event: BranchesDue) -> None:
    """Starts the next branches or items, as many as there is room for."""
    run, step, join = draft.run, draft.step, draft.run.join
    if join is None or step.step_id != event.step_id or event.first != join.started + 1 or not room(run):
        raise not_due("the start of branches")
    if event.failure is not None:
        _give_up(draft, event.failure)
        return
    limits = draft.env.limits
    most = min(room(run), limits.open_children - len(run.children))
    if most <= 0:
        _give_up(draft, m.Failure("LIMIT_REACHED", f"a run has at most {limits.open_children} open children"))
        return
    given = event.vars[:most]
    problem = _problem(draft, event.first, given)
    if problem is not None:
        _give_up(draft, problem)
        return
    run_ids = tuple(_begin(draft, place, vars_) for place, vars_ in enumerate(given, start=event.first))
    draft.add(BranchesStarted(join.wait_id, event.first, run_ids))


def branch_ended(draft: Draft, event: ChildEndSeen, child: m.Child) -> None:
    """A branch or item has ended: its output is kept; enough of them end the wait, too many failures too."""
    wait, limits = draft.run.waiting, draft.env.limits
    if wait is None or draft.run.join is None:
        raise not_due("the branch's end")
    completed = event.status is m.RunStatus.COMPLETED
    output = (event.output or EMPTY_OUTPUT) if completed else None
    if output is not None and draft.run.join.size + output.size > limits.payload_bytes:
        draft.add(ChildEnded(event.child_run_id, event.status))
        text = f"the outputs of its branches are over {limits.payload_bytes} bytes together"
        _give_up(draft, m.Failure(PAYLOAD_TOO_LARGE, text))
        return
    draft.add(ChildEnded(event.child_run_id, event.status, result=output, place=child.place))
    request, join = fanout_of(draft.run), draft.run.join
    if len(join.results) >= request.needed:
        _join(draft, wait, joined_result(request, join.results))
    elif request.total - join.failed < request.needed:
        _give_up(draft, _branch_failure(draft, event, child))


def _join(draft: Draft, wait: m.Wait, result: Leaf) -> None:
    draft.cancel_branches(draft.step.step_id)
    if not fits(draft, wait.result_key, result):
        limit = draft.env.limits.vars_bytes
        refuse_effect(draft, VARS_TOO_LARGE, f"the outputs of its branches would make vars larger than {limit} bytes")
        return
    entry = draft.entry(wait.resume_to_node) if wait.resume_to_node else None
    draft.add(Joined(wait.wait_id, entry), StepStatus.COMPLETED)
    if entry is None:
        end_completed(draft, success_output(result))


def _give_up(draft: Draft, failure: m.Failure) -> None:
    """The join can no longer be met: the others are cancelled, and the effect fails for good."""
    draft.cancel_branches(draft.step.step_id)
    fail_attempt(draft, m.StepFailure(failure), final=True)


def _problem(draft: Draft, first: int, given: tuple[Leaf, ...]) -> m.Failure | None:
    limits = draft.env.limits
    for place, vars_ in enumerate(given, start=first):
        what = f"the vars of branch {branch_name(fanout_of(draft.run), place)!r} take more than"
        if vars_.size > limits.payload_bytes:
            return m.Failure(PAYLOAD_TOO_LARGE, f"{what} {limits.payload_bytes} bytes")
        if vars_.stored_size > limits.vars_bytes:
            return m.Failure(VARS_TOO_LARGE, f"{what} {limits.vars_bytes} bytes")
        node_id = entry_node(fanout_of(draft.run), place)
        if node_id not in draft.env.spec.nodes:
            return m.Failure("NODE_NOT_FOUND", f"the workflow has no node {node_id!r}")
    return None


def _begin(draft: Draft, place: int, vars_: Leaf) -> str:
    run, env, request = draft.run, draft.env, fanout_of(draft.run)
    child_id = env.new_id()
    start_run = StartRun(
        namespace=run.namespace,
        run_id=child_id,
        vars=vars_,
        actor_id=run.actor_id,
        session_id=run.session_id,
        entry_node=entry_node(request, place),
        trace_context=run.trace_context,
        root_run_id=run.root_run_id,
        parent_run_id=run.run_id,
        parent_step_id=draft.step.step_id,
        depth=run.depth + 1,
        branch="/".join(filter(None, (run.branch, draft.step.node_id, branch_name(request, place)))),
    )
    draft.new_runs.append(begin_run(start_run, env, draft.at))
    return child_id


def branch_name(request: m.Fanout, place: int) -> str:
    """The name of a branch; of an item its index."""
    return request.names[place - 1] if request.names else str(place - 1)


def entry_node(request: m.Fanout, place: int) -> str:
    """The node that a branch or item starts at."""
    return request.entry_nodes[place - 1 if request.names else 0]


def _branch_failure(draft: Draft, event: ChildEndSeen, child: m.Child) -> m.Failure:
    cancelled = event.status is m.RunStatus.CANCELLED
    error = event.failure or m.Failure("CANCELLED" if cancelled else "FAILED")
    name = branch_name(fanout_of(draft.run), child.place)
    what = "was cancelled" if cancelled else "failed"
    kind = opened(draft).type
    message = f"{'Item' if kind == 'foreach' else 'Branch'} '{name}' {what}: {error.message or error.type}"
    known = {"sub_run_id": event.child_run_id, "branch": name}
    details = Leaf.of({**known, "error": error_object(error)})
    if details.size > draft.env.limits.payload_bytes:
        details = Leaf.of({"sub_run_id": event.child_run_id, "branch": name})
    limit = draft.env.limits.message_chars
    return m.Failure("CHILD_CANCELLED" if cancelled else "CHILD_FAILED", message[:limit], details=details)
