"""One run driven by hand: inputs go through `decide`, and every answer is checked against the laws."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decide import decide
from perdure_server.kernel.decision import Decision, Env, EventAppend, Mail, NewRun, Reason, Rejection
from perdure_server.kernel.inputs import Input, TimerKind
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US, Limits
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import Body, Record
from perdure_server.kernel.values import Json, Leaf
from tests.kernel.laws import check_children, check_ledger, check_run
from tests.kernel.ledgers import AT, fold

RETRY: Final = m.RetryPolicy(max_attempts=3)


def leaf(value: Json) -> Leaf:
    """A JSON value."""
    return Leaf.of(value)


def workflow(*nodes: str | m.NodeSpec, on_cancel_node: str = "", workflow_id: str = "flow") -> m.WorkflowSpec:
    """A workflow of worker nodes (by name) and written-out nodes; it is entered at the first."""
    specs = [m.NodeSpec(node) if isinstance(node, str) else node for node in nodes]
    return m.WorkflowSpec(
        workflow_id,
        version="0" * 64,
        entry_node=specs[0].node_id,
        nodes={spec.node_id: spec for spec in specs},
        on_cancel_node=on_cancel_node,
    )


def custom(result_key: str = "", type_: str = "charge", **fields: Any) -> m.Effect:
    """A worker's effect."""
    effect = m.Effect(type_, m.RemoteRequest(leaf({})), result_key)
    return replace(effect, **fields)


class Scene:
    """A run, its ledger, and what it sent away.

    Args:
        spec: its workflow; by default two worker nodes "a" and "b".
        limits: limits in force.
        workflows: what start_subworkflow finds, by id.
    """

    def __init__(
        self,
        spec: m.WorkflowSpec | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
        workflows: Sequence[m.WorkflowSpec] = (),
    ) -> None:
        self.spec = spec or workflow("a", "b")
        self.limits = limits
        self.workflows = {known.workflow_id: known for known in workflows}
        self.now = AT
        self.horizon = 0
        self.taken: frozenset[str] = frozenset()
        self.ledger: list[Record] = []
        self.mail: list[Mail] = []
        self.events: list[EventAppend] = []
        self.new_runs: list[NewRun] = []
        self._ids = itertools.count(1)
        self._run: m.RunState | None = None

    @property
    def run(self) -> m.RunState:
        """The run as it stands."""
        assert self._run is not None
        return self._run

    @property
    def step(self) -> m.Step:
        """Its open step."""
        assert self.run.step is not None
        return self.run.step

    @property
    def wait(self) -> m.Wait:
        """Its wait."""
        assert self.run.waiting is not None
        return self.run.waiting

    @property
    def error(self) -> m.Failure:
        """Why it failed."""
        assert self.run.error is not None
        return self.run.error

    @property
    def where(self) -> str:
        """Activity and node, for example "QUEUED b"; the status once it has ended."""
        run = self.run
        return run.status.name if run.ended else f"{run.activity.name} {run.current_node}"

    def env(self) -> Env:
        """What `decide` may look at now."""
        return Env(
            now=self.now,
            spec=self.spec,
            horizon=self.horizon,
            new_id=lambda: f"child-{next(self._ids)}",
            workflows=lambda workflow_id, _version: self.workflows.get(workflow_id),
            taken_run_ids=self.taken,
            limits=self.limits,
        )

    def give(self, event: Input) -> Decision:
        """Commits what `event` does, after checking it against the laws."""
        decision = decide(self._run, event, self.env())
        self.ledger += decision.records
        assert fold(self.ledger) == decision.run, "the state is the fold of the ledger"
        check_ledger(self.ledger)
        check_run(decision.run, self.limits.vars_bytes)
        check_children(self.ledger, decision.run)
        self._run = decision.run
        self.mail += decision.mail
        self.events += decision.events
        self.new_runs += decision.new_runs
        return decision

    def refused(self, event: Input) -> Rejection:
        """How `event` is refused."""
        with pytest.raises(Rejection) as refused:
            decide(self._run, event, self.env())
        return refused.value

    def reason(self, event: Input) -> Reason:
        """Why `event` is refused."""
        return self.refused(event).reason

    def start(self, vars_: Json = None, **fields: Any) -> Scene:
        """Starts the run "run-1" of session "session-1"."""
        event = i.StartRun("default", "run-1", leaf(vars_ or {}), session_id="session-1")
        self.give(replace(event, **fields))
        return self

    def lease(self, worker_id: str = "worker-1") -> Decision:
        """A worker gets the step."""
        return self.give(i.StepLeased(self.step.step_id, worker_id))

    def report(self, outcome: m.StepPlan | m.StepFailure, effect_outcome: m.EffectOutcome | None = None) -> Decision:
        """The leased node's report."""
        return self.give(i.NodePlanned(self.step.step_id, self.step.attempt, outcome, effect_outcome))

    def plan(self, effect_outcome: m.EffectOutcome | None = None, **fields: Any) -> Decision:
        """The node is leased and plans."""
        self.lease()
        return self.report(replace(m.StepPlan(), **fields), effect_outcome)

    def perform(self, request: m.EffectRequest, next_node: str = "b", result_key: str = "out") -> Scene:
        """The node plans an effect of the server's own, and the server takes its turn."""
        self.plan(effect=m.Effect("own", request, result_key), next_node=next_node)
        self.give(i.TurnTaken(self.step.step_id))
        return self

    def open(self, effect: m.Effect, next_node: str = "b") -> Scene:
        """The node plans a worker's effect, and the effect is leased."""
        self.plan(effect=effect, next_node=next_node)
        self.lease()
        return self

    def settle(self, outcome: m.EffectOutcome) -> Decision:
        """The leased effect's outcome."""
        return self.give(i.EffectSettled(self.step.step_id, self.step.attempt, outcome))

    def done(self, result: Json) -> Decision:
        """The leased effect completes."""
        return self.settle(m.EffectResult(leaf(result)))

    def begin(self) -> Decision:
        """The leased effect begins."""
        return self.give(i.EffectBegun(self.step.step_id, self.step.attempt))

    def lapse(self) -> Decision:
        """The lease runs out."""
        return self.give(i.LeaseLapsed(self.step.step_id, self.step.attempt))

    def answer(self, payload: Json) -> Decision:
        """Somebody answers the wait."""
        return self.give(i.Resume(self.wait.wait_id, False, leaf(payload)))

    def due_at(self, kind: TimerKind) -> int:
        """When a timer is due."""
        return obligations(self.run).timers[kind]

    def fire(self, kind: TimerKind) -> Decision:
        """Time passes until a timer is due, and it fires."""
        self.now = max(self.now, self.due_at(kind))
        return self.give(self.timer(kind))

    def timer(self, kind: TimerKind) -> i.TimerFired:
        """A timer's input, due or not."""
        due_at = obligations(self.run).timers.get(kind, self.now)
        return i.TimerFired(kind, due_at, self.step.step_id, self.step.attempt)

    def wake(self, seconds: int) -> None:
        """Time passes."""
        self.now += seconds * SECOND_US

    def kinds(self, since: int = 0) -> list[str]:
        """Kinds of the records after seq `since`."""
        return [record.kind.name.lower() for record in self.ledger[since:]]

    def last(self, kind: type[Body]) -> Record:
        """The last record with a body of this kind."""
        return next(record for record in reversed(self.ledger) if isinstance(record.body, kind))


def failure(type_: str = "BUSY", message: str = "try again", *, retryable: bool = True) -> m.StepFailure:
    """A failure as a worker reports it."""
    return m.StepFailure(m.Failure(type_, message, retryable))
