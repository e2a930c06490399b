"""A decision in the making: records are added one by one, and the run is always their fold."""

from __future__ import annotations

from perdure_server.kernel.decision import Decision, Env, EventAppend, Mail, MailKind, NewRun, Reason, Rejection
from perdure_server.kernel.evolve import advance
from perdure_server.kernel.model import NO_TIMEOUTS, ChildPolicy, NodeEntry, NodeKind, NodeSpec, RunState, Step
from perdure_server.kernel.records import Body, Record, StepStatus


class Draft:
    """The run so far, and what its commit will hold.

    Args:
        run: the run before.
        env: what the decision may look at. Spans (delays, timeouts, backoff) count from `env.now`; records are
            stamped `at`, which a clock that was set back does not take back.
        begun: a decision of this run that is gone on with: what is added goes into it. If it has records, its
            run belongs to it and is changed in place.
    """

    __slots__ = ("_is_own", "at", "env", "events", "mail", "new_runs", "records", "run")

    def __init__(self, run: RunState, env: Env, begun: Decision | None = None) -> None:
        self.run = run
        self.env = env
        self.at = max(env.now, run.updated_at)
        begun = begun or Decision(run, [])
        self.records: list[Record] = begun.records
        self.new_runs: list[NewRun] = begun.new_runs
        self.events: list[EventAppend] = begun.events
        self.mail: list[Mail] = begun.mail
        self._is_own = bool(self.records)

    @property
    def step(self) -> Step:
        """The open step; the caller knows that there is one."""
        if self.run.step is None:
            raise ValueError(f"run {self.run.run_id} has no open step at seq {self.run.seq}")
        return self.run.step

    def add(
        self, body: Body, status: StepStatus = StepStatus.NONE, *, attempt: int | None = None, worker_id: str = ""
    ) -> None:
        """Adds the next record; its header speaks of the open step, if there is one.

        The first one copies the run; from then on it belongs to the draft and is changed in place.
        """
        if not self._is_own:
            self.run = self.run.copy()
            self._is_own = True
        run, step = self.run, self.run.step
        if step is None:
            record = Record(run.seq + 1, self.at, body, run.current_node, run.visits.get(run.current_node, 0))
        else:
            record = Record(
                run.seq + 1,
                self.at,
                body,
                step.node_id,
                step.visit,
                step.step_id,
                status,
                step.attempt if attempt is None else attempt,
                step.effect.idempotency_key if step.effect else "",
                worker_id or step.worker_id,
            )
        advance(run, record)
        self.records.append(record)

    def entry(self, node_id: str) -> NodeEntry:
        """The entry of a node of the run's workflow, with the visit it would be."""
        node = self.node(node_id)
        return node_entry(node, self.run.visits.get(node_id, 0) + 1)

    def node(self, node_id: str) -> NodeSpec:
        """A node of the run's workflow; the caller has checked that it exists."""
        return self.env.spec.nodes[node_id]

    def tell_parent(self) -> None:
        """The run has ended: its parent, if any, hears of it."""
        if self.run.parent_run_id:
            self.mail.append(Mail(self.run.parent_run_id, MailKind.CHILD_ENDED, self.run.run_id))

    def cancel_children(self, only_child: str = "") -> None:
        """Sends a cancel to the children that were started to go down with this run."""
        for child in self.run.children.values():
            wanted = not only_child or child.run_id == only_child
            if wanted and child.on_parent_cancel is ChildPolicy.CANCEL:
                self.mail.append(Mail(child.run_id, MailKind.CANCEL, self.run.run_id))

    def cancel_branches(self, step_id: int) -> None:
        """Sends a cancel to the branches or items of a join that are still under way."""
        for child in self.run.children.values():
            if child.place and child.step_id == step_id:
                self.mail.append(Mail(child.run_id, MailKind.CANCEL, self.run.run_id))

    def decision(self) -> Decision:
        """What has been drafted."""
        return Decision(self.run, self.records, self.new_runs, self.events, self.mail)


def node_entry(node: NodeSpec, visit: int) -> NodeEntry:
    """The entry of a node for a given visit."""
    server_side = node.kind is not NodeKind.WORKER
    if server_side:
        return NodeEntry(node.node_id, visit, server_side=True)
    return NodeEntry(
        node.node_id,
        visit,
        queue=node.queue,
        priority=node.priority,
        timeouts=node.timeouts or NO_TIMEOUTS,
    )


def not_due(what: str) -> Rejection:
    """A signal of the server's own that no longer applies."""
    return Rejection(Reason.NOT_DUE, f"{what} no longer applies")


def stale(step_id: int, attempt: int) -> Rejection:
    """A token that is not the newest attempt of the open step."""
    return Rejection(
        Reason.STALE_ATTEMPT,
        f"attempt {attempt} of step {step_id} is not the run's open attempt; drop it",
        step_id=str(step_id),
        attempt=str(attempt),
    )
