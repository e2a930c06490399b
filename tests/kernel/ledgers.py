"""Ledgers written by hand, one for each state a run can be in, and the workflow they belong to.

They are written as a reader of the contract would write them and folded through `evolve`; `decide` has no
part in them. Every run but those of BACKOFF_START, BACKOFF_SLOT and IDLE first started a child, "beside", that runs on
beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from perdure_server.kernel.evolve import evolve
from perdure_server.kernel.limits import SECOND_US
from perdure_server.kernel.model import (
    AnswerUser,
    AskUser,
    ChildPolicy,
    Concurrency,
    Drive,
    EffectRequest,
    EventScope,
    Failure,
    Fanout,
    NodeEntry,
    NodeKind,
    NodeSpec,
    OpenEffect,
    ParkReason,
    RemoteRequest,
    RetryPolicy,
    Risk,
    RunState,
    RunStatus,
    StartSubworkflow,
    Timeouts,
    WaitEvent,
    WaitReason,
    WaitTerms,
    WaitUntil,
    WorkflowSpec,
)
from perdure_server.kernel.records import (
    Body,
    BranchesStarted,
    Cancelled,
    CancelRequested,
    ChildEnded,
    ChildLink,
    Completed,
    Failed,
    Parked,
    Paused,
    Record,
    RequeueCause,
    Requeued,
    RunStarted,
    StepBegun,
    StepCompleted,
    StepStarted,
    StepStatus,
    Waiting,
)
from perdure_server.kernel.values import Leaf

AT: Final = 1_700_000_000 * SECOND_US
"""When every hand-written ledger begins; its records are one second apart."""

DAY_US: Final = 86_400 * SECOND_US
DEADLINE_AT: Final = AT + 2 * DAY_US
WAIT_DEADLINE_AT: Final = AT + DAY_US
UNTIL_AT: Final = AT + DAY_US
START_AT: Final = AT + 3_600 * SECOND_US
RETRY_AT: Final = AT + 600 * SECOND_US
HORIZON: Final = 100
FLOOR: Final = 10

RETRY: Final = RetryPolicy(max_attempts=3)
TIMEOUTS: Final = Timeouts(
    schedule_to_start_us=60 * SECOND_US, start_to_close_us=30 * SECOND_US, heartbeat_us=10 * SECOND_US
)

SPEC: Final = WorkflowSpec(
    workflow_id="orders",
    version="0" * 64,
    entry_node="first",
    nodes={
        node.node_id: node
        for node in (
            NodeSpec("first"),
            NodeSpec("work", retry=RETRY, timeouts=TIMEOUTS),
            NodeSpec("after"),
            NodeSpec("late"),
            NodeSpec("oops"),
            NodeSpec("cleanup"),
            NodeSpec("done", NodeKind.COMPLETE, template=Leaf(b'{"ok":true}')),
        )
    },
)
SPEC_WITH_CLEANUP: Final = replace(SPEC, on_cancel_node="cleanup")
TARGET: Final = replace(
    SPEC,
    version="1" * 64,
    nodes={
        **{node_id: node for node_id, node in SPEC.nodes.items() if node_id != "work"},
        "labour": NodeSpec("labour", queue="heavy"),
    },
)
"""Another version, in which "work" is called "labour"."""


def fold(records: Iterable[Record]) -> RunState:
    """The state that a ledger tells, from nothing."""
    run: RunState | None = None
    for record in records:
        run = evolve(run, record)
    assert run is not None
    return run


def entry(node_id: str, visit: int = 1) -> NodeEntry:
    """The entry of a node of SPEC."""
    if node_id == "done":
        return NodeEntry(node_id, visit, server_side=True)
    return NodeEntry(node_id, visit, timeouts=TIMEOUTS if node_id == "work" else Timeouts())


def open_effect(
    kind: str, request: EffectRequest, *, server_side: bool = True, risk: Risk = Risk.IDEMPOTENT
) -> OpenEffect:
    """An effect of node "work" on the way to "after"."""
    return OpenEffect(
        type=kind,
        request=request,
        server_side=server_side,
        result_key="answer",
        next_node="after",
        idempotency_key="K" * 32,
        retry=RETRY,
        timeouts=Timeouts() if server_side else TIMEOUTS,
        queue="default",
        priority=0,
        on_error_node="",
        risk=risk,
    )


def run_started(
    first: str = "first", *, drive: Drive = Drive.AUTO, start_at: int = 0, labels: Mapping[str, str] | None = None
) -> Record:
    """The first record of every ledger here."""
    body = RunStarted(
        namespace="default",
        run_id="run-1",
        root_run_id="run-1",
        session_id="session-1",
        actor_id="actor-1",
        workflow_id=SPEC.workflow_id,
        workflow_version=SPEC.version,
        entry=entry(first),
        vars=Leaf(b'{"x":1}'),
        drive=drive,
        start_at=start_at,
        deadline_at=DEADLINE_AT,
        labels=labels or {},
        event_floor=FLOOR,
    )
    return Record(1, AT, body, node_id=first, visit=1, step_id=1)


def in_line(record: Record) -> Record:
    """The same start with a concurrency key that has no slot."""
    assert isinstance(record.body, RunStarted)
    return replace(record, body=replace(record.body, concurrency=Concurrency("key", 1), in_line=True))


class Ledger:
    """A ledger that is being written; `add` numbers and dates its records.

    Args:
        first: the run_started record.
    """

    def __init__(self, first: Record) -> None:
        self.records: list[Record] = [first]
        self.step_id = 1
        self.node_id = first.node_id
        self.attempt = 0

    def add(self, body: Body, status: StepStatus = StepStatus.NONE, attempt: int = 0) -> Ledger:
        """Appends a record about the present step; a new step begins where the body says so."""
        seq = len(self.records) + 1
        record = Record(
            seq,
            AT + (seq - 1) * SECOND_US,
            body,
            node_id=self.node_id,
            visit=1,
            step_id=self.step_id,
            status=status,
            attempt=attempt,
            worker_id="worker-1" if attempt else "",
        )
        self.records.append(record)
        if isinstance(body, StepCompleted | CancelRequested):
            following = body.next
            if following is not None:
                self.node_id = following.node_id
            if following is not None or (isinstance(body, StepCompleted) and body.effect is not None):
                self.step_id, self.attempt = seq, 0
        return self

    def leased(self) -> Ledger:
        """A worker gets the present step."""
        self.attempt += 1
        return self.add(StepStarted(self._effect_type()), StepStatus.STARTED, self.attempt)

    def lapsed(self) -> Ledger:
        """Its lease runs out."""
        return self.add(Requeued(RequeueCause.LAPSED), attempt=self.attempt)

    def planned(self, effect: OpenEffect) -> Ledger:
        """The node's worker asks for an effect."""
        return self.add(StepCompleted(effect=effect), StepStatus.COMPLETED, self.attempt)

    def turned(self, request: EffectRequest, kind: str) -> Ledger:
        """The present node is leased and plans an effect of the server's own."""
        return self.leased().planned(open_effect(kind, request))

    def _effect_type(self) -> str:
        opened = self.records[self.step_id - 1].body
        return opened.effect.type if isinstance(opened, StepCompleted) and opened.effect else ""


def at_work(target: str = "work") -> Ledger:
    """A run that started the child "beside" and then entered `target`; four records."""
    ledger = Ledger(run_started())
    ledger.turned(StartSubworkflow("children", async_=True), "start_subworkflow")
    child = ChildLink("beside", awaited=False, on_parent_cancel=ChildPolicy.CANCEL)
    done = StepCompleted(
        "start_subworkflow",
        next=entry(target),
        result=Leaf(b'{"sub_run_id":"beside","async":true}'),
        result_key="answer",
        child=child,
    )
    return ledger.add(done, StepStatus.COMPLETED)


def charge(risk: Risk = Risk.IRREVERSIBLE) -> OpenEffect:
    """A worker's effect."""
    return open_effect("charge", RemoteRequest(Leaf(b'{"amount":5}')), server_side=False, risk=risk)


def waiting(request: EffectRequest, kind: str, body: Waiting) -> Ledger:
    """A run at work that waits."""
    return at_work().turned(request, kind).add(body, StepStatus.WAITING)


def _waits() -> dict[str, Ledger]:
    terms = WaitTerms(prompt="Go on?", choices=("yes", "no"), deadline_at=WAIT_DEADLINE_AT)
    return {
        "WAITING_EVENT": waiting(
            WaitEvent("go", terms=WaitTerms(deadline_at=WAIT_DEADLINE_AT)),
            "wait_event",
            Waiting(
                WaitReason.EVENT,
                event_name="go",
                event_scope=EventScope.SESSION,
                event_scope_id="session-1",
                event_floor=FLOOR,
                deadline_at=WAIT_DEADLINE_AT,
                resume_to_node="after",
                result_key="answer",
            ),
        ),
        "WAITING_USER": waiting(
            AskUser(replace(terms, on_deadline_node="late")),
            "ask_user",
            Waiting(
                WaitReason.USER,
                wait_key="user:run-1:work",
                deadline_at=WAIT_DEADLINE_AT,
                on_deadline_node="late",
                resume_to_node="after",
                result_key="answer",
                prompt="Go on?",
                choices=("yes", "no"),
            ),
        ),
        "WAITING_UNTIL": waiting(
            WaitUntil(UNTIL_AT),
            "wait_until",
            Waiting(WaitReason.UNTIL, until_at=UNTIL_AT, resume_to_node="after", result_key="answer"),
        ),
        "WAITING_CHILD": waiting(
            StartSubworkflow("children"),
            "start_subworkflow",
            Waiting(
                WaitReason.SUBWORKFLOW,
                resume_to_node="after",
                result_key="answer",
                child=ChildLink("awaited", awaited=True, on_parent_cancel=ChildPolicy.CANCEL),
            ),
        ),
    }


FANOUT: Final = Fanout(3, 2, 2, ("first", "first", "first"), ("x", "y", "z"))


def joining(request: Fanout) -> Ledger:
    """A run at work that joins three branches, of which "branch-1" is under way."""
    body = Waiting(
        WaitReason.JOIN,
        wait_key="parallel:run-1:work",
        resume_to_node="after",
        result_key="answer",
        needed=request.needed,
    )
    ledger = waiting(request, "parallel", body)
    return ledger.add(BranchesStarted(len(ledger.records), 1, ("branch-1",)))


def crowded(request: Fanout) -> Ledger:
    """The same with "branch-2" completed and "branch-3" under way too."""
    ledger = joining(request)
    wait_id = len(ledger.records) - 1
    ledger.add(BranchesStarted(wait_id, 2, ("branch-2",)))
    ledger.add(ChildEnded("branch-2", RunStatus.COMPLETED, result=Leaf(b'{"n":2}'), place=2))
    return ledger.add(BranchesStarted(wait_id, 3, ("branch-3",)))


def _joins() -> dict[str, Ledger]:
    return {
        "WAITING_JOIN": joining(FANOUT),
        "WAITING_JOIN_FULL": crowded(FANOUT),
        "WAITING_JOIN_ALL": crowded(replace(FANOUT, needed=3)),
    }


def _failed(ledger: Ledger) -> Ledger:
    """The leased step fails for good, and the run with it."""
    failure = Failure("BROKEN", "no")
    return ledger.add(StepCompleted(failure=failure), StepStatus.FAILED, ledger.attempt).add(Failed(failure))


def _canonical() -> dict[str, Ledger]:
    failure = Failure("BUSY", "try again", retryable=True)
    return {
        "QUEUED_NODE": at_work(),
        "QUEUED_LAPSED": at_work().leased().lapsed(),
        "QUEUED_EFFECT": at_work().leased().planned(charge()),
        "QUEUED_TURN": at_work().turned(AnswerUser("hello"), "answer_user"),
        "QUEUED_SERVER_NODE": at_work("done"),
        "LEASED_NODE": at_work().leased(),
        "LEASED_EFFECT": at_work().leased().planned(charge()).leased(),
        "LEASED_BEGUN": at_work().leased().planned(charge()).leased().add(StepBegun("charge"), StepStatus.STARTED, 1),
        "BACKOFF_RETRY": at_work()
        .leased()
        .add(StepCompleted(failure=failure, retry_at=RETRY_AT), StepStatus.FAILED, 1),
        "BACKOFF_START": Ledger(run_started("work", start_at=START_AT)),
        "BACKOFF_SLOT": Ledger(in_line(run_started("work"))),
        **_waits(),
        **_joins(),
        "PARKED_POISON": at_work().leased().add(Parked(ParkReason.POISON, 5), attempt=1),
        "PARKED_IN_DOUBT": at_work()
        .leased()
        .planned(charge())
        .leased()
        .add(StepBegun("charge"), StepStatus.STARTED, 1)
        .add(Parked(ParkReason.IN_DOUBT, 1), attempt=1),
        "IDLE": Ledger(run_started("work", drive=Drive.MANUAL)),
        "CANCELLING": at_work().leased().add(CancelRequested("enough", entry("cleanup"))),
        "ENDED_COMPLETED": at_work().leased().add(StepCompleted(), StepStatus.COMPLETED, 1).add(Completed(Leaf(b"{}"))),
        "ENDED_CANCELLED": at_work().leased().add(Cancelled("enough")),
        "ENDED_FAILED": _failed(at_work().leased().planned(charge(Risk.IDEMPOTENT)).leased()),
        "ENDED_IN_DOUBT": _failed(
            at_work().leased().planned(charge()).leased().add(StepBegun("charge"), StepStatus.STARTED, 1)
        ),
        "ENDED_DEADLINE": at_work().leased().add(Failed(Failure("RUN_DEADLINE"))),
    }


CANONICAL: Final[Mapping[str, tuple[Record, ...]]] = {
    name: tuple(ledger.records) for name, ledger in _canonical().items()
}
"""Name of a row of the table to the ledger of a run that stands there."""


def canonical_ledger(row: str, *, paused: bool) -> list[Record]:
    """The ledger of a row; with `paused`, a paused record at its end."""
    records = list(CANONICAL[row])
    if paused:
        seq = len(records) + 1
        records.append(Record(seq, AT + (seq - 1) * SECOND_US, Paused()))
    return records


def spec_of(row: str) -> WorkflowSpec:
    """The workflow of a row's run."""
    return SPEC_WITH_CLEANUP if row == "CANCELLING" else SPEC
