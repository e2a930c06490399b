"""A tiny store and server around the kernel: runs, their ledgers, one event log, mailboxes and a clock.

Commits are what `decide` answers; nothing else moves a run. Everything that the promises speak of is noted
down independently: who holds which attempt, what was reported, what was emitted, who told whom.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decide import decide
from perdure_server.kernel.decision import Ack, Decision, Env, EventAppend, Mail, MailKind, Reason, Rejection
from perdure_server.kernel.limits import Limits
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import (
    BranchesStarted,
    Cancelled,
    CancelRequested,
    EventConsumed,
    LateResult,
    Record,
    RecordKind,
    Resumed,
    RunStarted,
    StepCompleted,
    Waiting,
)
from perdure_server.kernel.values import Leaf
from tests.kernel.laws import check_children, check_ledger, check_run
from tests.kernel.ledgers import AT, fold

LIMITS = Limits(max_lapses=3, tree_depth=3, open_children=3)
INTERNAL = (i.TurnTaken, i.BranchesDue, i.StepLeased, i.LeaseLapsed, i.TimerFired, i.EventMatched, i.ChildEndSeen)


@dataclass(frozen=True)
class Token:
    """One attempt that was handed to a worker."""

    run_id: str
    step_id: int
    attempt: int
    effect: bool


@dataclass(frozen=True)
class Emitted:
    """One event of the log."""

    position: int
    event: EventAppend


@dataclass
class World:
    """All runs there are.

    Args:
        specs: the workflows, by id, in the versions that runs start with.
        others: further versions, by id.
    """

    specs: dict[str, m.WorkflowSpec]
    others: dict[str, m.WorkflowSpec] = field(default_factory=dict[str, m.WorkflowSpec])
    now: int = AT
    position: int = 0
    runs: dict[str, m.RunState] = field(default_factory=dict[str, m.RunState])
    ledgers: dict[str, list[Record]] = field(default_factory=dict[str, list[Record]])
    events: list[Emitted] = field(default_factory=list[Emitted])
    mail: list[Mail] = field(default_factory=list[Mail])
    tokens: list[Token] = field(default_factory=list[Token])
    reported: dict[str, str] = field(default_factory=dict[str, str])
    late: list[bytes] = field(default_factory=list[bytes])
    owed: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def env(self, run: m.RunState | None, workflow_id: str = "") -> Env:
        """What a decision about `run` may look at."""
        return Env(
            now=self.now,
            spec=self.spec_of(run) if run else self.specs[workflow_id],
            horizon=self.position,
            new_id=lambda: f"run-{next(self.numbers)}",
            workflows=lambda name, _version: self.specs.get(name),
            limits=LIMITS,
        )

    def spec_of(self, run: m.RunState) -> m.WorkflowSpec:
        """The version that a run is of."""
        return next(
            kind[run.workflow_id]
            for kind in (self.specs, self.others)
            if kind[run.workflow_id].version == run.workflow_version
        )

    def start(self, workflow_id: str, event: i.StartRun) -> None:
        """Starts a run."""
        self._commit(event.run_id, decide(None, event, self.env(None, workflow_id)))

    def submit(self, run_id: str, event: i.Input) -> Decision | Rejection:
        """One input to one run: committed, or refused and nothing has changed."""
        run = self.runs[run_id]
        before = _snapshot(run)
        try:
            decision = decide(run, event, self.env(run))
        except Rejection as rejection:
            self._check_refusal(run, before, event, rejection.reason)
            return rejection
        assert _snapshot(run) == before, "a state is never changed in place"
        self._commit(run_id, decision)
        deadline = isinstance(event, i.TimerFired) and event.timer is i.TimerKind.RUN_DEADLINE
        if (deadline or isinstance(event, i.Cancel)) and run.activity is m.Activity.LEASED and run.step is not None:
            self.owed[run_id] = (run.step.step_id, run.step.attempt)
        return decision

    def _check_refusal(self, run: m.RunState, before: dict[str, object], event: i.Input, reason: Reason) -> None:
        assert _snapshot(run) == before, "a refused input changes nothing"
        internal = isinstance(event, INTERNAL) or (isinstance(event, i.NodePlanned) and not event.attempt)
        assert internal or reason is not Reason.NOT_DUE, f"{event} must get a reason that its sender knows"

    def _commit(self, run_id: str, decision: Decision) -> None:
        links = {run_id for record in decision.records for run_id in _links(record)}
        assert {new.run.run_id for new in decision.new_runs} == links, "child and link are one commit"
        for new in decision.new_runs:
            assert new.run.run_id not in self.runs
            self._write(new.run.run_id, list(new.records), new.run)
        before = self.runs.get(run_id)
        self._write(run_id, decision.records, decision.run)
        self._check_cascade(run_id, before.children if before else {}, decision)
        for event in decision.events:
            self.emit(event)
        self.mail += [mail for mail in decision.mail if mail not in self.mail]
        self._check_told(run_id, decision)

    def _write(self, run_id: str, records: list[Record], run: m.RunState) -> None:
        ledger = self.ledgers.setdefault(run_id, [])
        ledger += records
        self.position += len(records)
        self.runs[run_id] = run
        assert fold(ledger) == run, "the state is the fold of the ledger"
        check_ledger(ledger)
        check_run(run, LIMITS.vars_bytes)
        check_children(ledger, run)
        for record in records:
            if record.kind is RecordKind.STEP_STARTED:
                effect = run.step is not None and run.step.effect is not None
                self.tokens.append(Token(run_id, record.step_id, record.attempt, effect))

    def _check_cascade(self, run_id: str, children: Mapping[str, m.Child], decision: Decision) -> None:
        """A cancel goes to the children that were started to go down with their parent."""
        bodies = [record.body for record in decision.records]
        if len(bodies) == 1 and isinstance(bodies[0], Cancelled | CancelRequested):
            told = {mail.to_run_id for mail in decision.mail if mail.kind is MailKind.CANCEL}
            policy = m.ChildPolicy.CANCEL
            assert told == {child.run_id for child in children.values() if child.on_parent_cancel is policy}, run_id

    def _check_told(self, run_id: str, decision: Decision) -> None:
        """The end of a child leaves in the commit that ends it."""
        run = self.runs[run_id]
        ended_now = any(
            record.kind in {RecordKind.COMPLETED, RecordKind.FAILED, RecordKind.CANCELLED}
            for record in decision.records
        )
        if ended_now and run.parent_run_id:
            assert Mail(run.parent_run_id, MailKind.CHILD_ENDED, run_id) in decision.mail

    def emit(self, event: EventAppend) -> None:
        """Appends to the log, unless the event is known."""
        key = (event.scope, event.scope_id, event.name, event.event_id)
        known = {(e.event.scope, e.event.scope_id, e.event.name, e.event.event_id) for e in self.events}
        if key not in known:
            self.position += 1
            self.events.append(Emitted(self.position, event))

    def restart(self) -> None:
        """Everything in memory is lost; runs are what their ledgers say."""
        self.runs = {run_id: fold(ledger) for run_id, ledger in self.ledgers.items()}

    def fits(self, run_id: str, emitted: Emitted) -> bool:
        """Whether the run's wait may have an event, read from ledger and log alone."""
        ledger = self.ledgers[run_id]
        started, wait = ledger[0].body, self.runs[run_id].waiting
        if wait is None:
            return False
        asked = ledger[wait.wait_id - 1].body
        assert isinstance(started, RunStarted)
        assert isinstance(asked, Waiting)
        key = (asked.event_scope, asked.event_scope_id, asked.event_name)
        floor = max([started.event_floor, asked.event_floor, *self._consumed(run_id, key)])
        event = emitted.event
        heard = bool(asked.event_name) and asked.event_name in {"*", event.name}
        return heard and emitted.position > floor and (event.scope, event.scope_id) == key[:2]

    def _consumed(self, run_id: str, key: tuple[m.EventScope, str, str]) -> list[int]:
        ledger = self.ledgers[run_id]
        positions: list[int] = []
        for record in ledger:
            if isinstance(record.body, EventConsumed):
                asked = ledger[record.body.wait_id - 1].body
                assert isinstance(asked, Waiting)
                if (asked.event_scope, asked.event_scope_id, asked.event_name) == key:
                    positions.append(record.body.position)
        assert positions == sorted(set(positions)), "an event is consumed once a key, in order"
        return positions

    def match(self, run_id: str) -> bool:
        """Gives the run's wait the lowest event that it may have, if there is one, and no other."""
        for emitted in self.events:
            if self.runs[run_id].waiting is not None and not self.fits(run_id, emitted):
                self.offer(run_id, emitted)
        found = next((emitted for emitted in self.events if self.fits(run_id, emitted)), None)
        if found is not None:
            self.offer(run_id, found)
        return found is not None

    def offer(self, run_id: str, emitted: Emitted) -> None:
        """Offers an event to the run's wait: taken if the wait may have it, and then once."""
        event, wait, fits = emitted.event, self.runs[run_id].waiting, self.fits(run_id, emitted)
        envelope = Leaf.of({"event_id": event.event_id})
        wait_id = wait.wait_id if wait else 0
        offered = i.EventMatched(
            wait_id, emitted.position, event.event_id, event.scope, event.scope_id, event.name, envelope
        )
        taken = self.submit(run_id, offered)
        assert isinstance(taken, Decision) == fits, f"an event is taken if the wait may have it: {taken}"
        assert isinstance(self.submit(run_id, offered), Rejection), "and taken once"

    def deliver(self, mail: Mail) -> None:
        """Hands one mail to its receiver; it is consumed either way, unless the child was opened again meanwhile."""
        if mail.kind is MailKind.CHILD_ENDED and not self.runs[mail.from_run_id].ended:
            assert self.runs[mail.from_run_id].reopened, "a child's end is told when it has ended"
            return
        self.mail.remove(mail)
        receiver = self.runs[mail.to_run_id]
        if mail.kind is MailKind.CANCEL:
            taken = self.submit(mail.to_run_id, i.Cancel("parent cancelled"))
            assert isinstance(taken, Decision)
            return
        child = self.runs[mail.from_run_id]
        told = self.submit(mail.to_run_id, i.ChildEndSeen(child.run_id, child.status, child.output, child.error))
        forgotten = receiver.reopened or child.reopened
        assert isinstance(told, Decision) or receiver.ended or forgotten, "a run that goes on hears of its children"

    def report(self, token: Token, outcome: m.StepPlan | m.EffectOutcome, carried: m.EffectOutcome | None) -> None:
        """A worker reports one of its attempts, new or old. `late` tells which reports must be kept."""
        run = self.runs[token.run_id]
        report = f"report {next(self.numbers)}".encode()
        if token.effect:
            assert not isinstance(outcome, m.StepPlan)
            event: i.Input = i.EffectSettled(token.step_id, token.attempt, outcome, report)
        else:
            assert isinstance(outcome, m.StepPlan | m.StepFailure)
            event = i.NodePlanned(token.step_id, token.attempt, outcome, carried, report)
        owed = self.owed.get(token.run_id) == (token.step_id, token.attempt)
        answer = self.submit(token.run_id, event)
        assert owed == (isinstance(answer, Decision) and answer.ack is Ack.STALE), "kept late, and once"
        newest = run.step is not None and (run.step.step_id, run.step.attempt) == (token.step_id, token.attempt)
        holds = newest and run.activity is m.Activity.LEASED
        if isinstance(answer, Rejection):
            stale = answer.reason is Reason.STALE_ATTEMPT
            assert stale != holds, "refused as stale if, and only if, another attempt counts"
        elif answer.ack is Ack.STALE:
            assert not holds
            self.late.append(report)
            del self.owed[token.run_id]
        else:
            assert holds, "only the newest attempt of the open step is merged"
            plan = answer.records[0].body
            opened = isinstance(plan, StepCompleted) and plan.effect is not None
            self._note(token, outcome, carried if opened else None)

    def _note(self, token: Token, *outcomes: m.StepPlan | m.EffectOutcome | None) -> None:
        for outcome in outcomes:
            if isinstance(outcome, m.EffectResult) and outcome.result is not None:
                self.reported[outcome.result.text] = token.run_id

    def check_merged(self) -> None:
        """Every accepted result stands in one ledger once, and no other; every late report was kept once."""
        merged: list[tuple[str, str]] = []
        kept: list[bytes] = []
        for run_id, ledger in self.ledgers.items():
            for record in ledger:
                body = record.body
                if isinstance(body, StepCompleted) and body.result and b"merge" in body.result.data:
                    merged.append((body.result.text, run_id))
                if isinstance(body, LateResult):
                    kept.append(body.report)
        assert sorted(merged) == sorted(self.reported.items())
        assert sorted(kept) == sorted(self.late)

    def check_answers(self, run_id: str, payload: Leaf, wait_id: int) -> None:
        """An accepted answer ended its wait and stands in the ledger."""
        answers = [
            record.body
            for record in self.ledgers[run_id]
            if isinstance(record.body, Resumed) and record.body.wait_id == wait_id
        ]
        assert [answer.payload for answer in answers] == [payload]
        waiting = self.runs[run_id].waiting
        assert waiting is None or waiting.wait_id != wait_id

    def token_of(self, run: m.RunState) -> Token:
        """The attempt that a leased run has out."""
        assert run.step is not None
        return Token(run.run_id, run.step.step_id, run.step.attempt, run.step.effect is not None)

    def tasks(self, *, leased: bool) -> list[m.RunState]:
        """Runs whose task a worker could take, or has."""
        found: list[m.RunState] = []
        for run in self.runs.values():
            task = obligations(run).task
            if task is not None and task.leased == leased and not task.held:
                found.append(run)
        return found

    def turns(self) -> list[m.RunState]:
        """Runs with a turn of the server's own."""
        return [run for run in self.runs.values() if obligations(run).turn is False]

    def take_turn(self, run: m.RunState) -> None:
        """The server's own next step of a run. It is due, so it must be taken."""
        assert run.step is not None
        if run.join is not None:
            vars_ = (Leaf(b"{}"),) * (1 + run.join.started % 2)
            event: i.Input = i.BranchesDue(run.step.step_id, run.join.started + 1, vars_)
        elif run.step.effect is None:
            event = i.NodePlanned(run.step.step_id, 0, m.StepPlan(complete_output=Leaf(b"{}")))
        else:
            event = i.TurnTaken(run.step.step_id)
        taken = self.submit(run.run_id, event)
        assert isinstance(taken, Decision), f"a due turn is taken, not {taken}"


def _snapshot(run: m.RunState) -> dict[str, object]:
    """All that a state holds, in mappings of its own."""
    return {
        name: dict(value) if isinstance(value, Mapping) else value  # type: ignore[arg-type]
        for name, value in vars(run).items()
    }


def _links(record: Record) -> tuple[str, ...]:
    body = record.body
    if isinstance(body, BranchesStarted):
        return body.run_ids
    child = body.child if isinstance(body, StepCompleted | Waiting) else None
    return () if child is None else (child.run_id,)
