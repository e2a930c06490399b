"""The kernel's one entry: a run and an input give a decision. Pure; no clock, no ids but the environment's."""

from __future__ import annotations

from perdure_server.kernel import lifecycle, steps
from perdure_server.kernel.decision import Decision, Env, Reason, Rejection
from perdure_server.kernel.draft import Draft
from perdure_server.kernel.inputs import EffectSettled, Input, NodePlanned, StartRun
from perdure_server.kernel.model import RunState
from perdure_server.kernel.table import TABLE, Handler, absent, row_of


def decide(run: RunState | None, event: Input, env: Env) -> Decision:
    """What `event` does to `run`.

    Args:
        run: the run as it stands; None if there is none.
        event: what happened.
        env: time, workflow, ids and limits.

    Returns: the records of the one commit, possibly none, and what goes with them.

    Raises: Rejection if the run does not take the input; nothing has changed then.
    """
    if run is None:
        if not isinstance(event, StartRun):
            raise Rejection(Reason.RUN_NOT_FOUND, "no such run")
        return lifecycle.start_run(event, env)
    if isinstance(event, NodePlanned | EffectSettled) and run.abandoned == (event.step_id, event.attempt):
        return steps.late(Draft(run, env), event.report)
    draft = Draft(run, env)
    return _handler(run, event)(draft, event) or draft.decision()


def decide_next(decision: Decision, event: Input, env: Env) -> None:
    """Takes one more input into a decision, as if it came right after: for the same commit.

    Args:
        decision: has records; grows, and its run changes in place.
        event: an input of the server's own (a turn, a hand-out).
        env: as the decision's own.

    Raises: Rejection if the run does not take the input; the decision is then spoilt.
    """
    draft = Draft(decision.run, env, decision)
    _handler(decision.run, event)(draft, event)
    decision.run = draft.run


def _handler(run: RunState, event: Input) -> Handler:
    handler = TABLE.get((row_of(run), run.paused, type(event)))
    if handler is None:
        raise absent(event)
    return handler
