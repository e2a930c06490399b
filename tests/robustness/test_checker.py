"""The checker finds what is planted, and nothing in a ledger that is right."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import records_pb2 as pb
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.ledger_service_pb2 import LedgerScope
from tests.robustness.checker.export import Export
from tests.robustness.checker.ledger_maker import SALT, LedgerMaker
from tests.robustness.checker.sealed import next_hash
from tests.robustness.checker.tampering import TAMPERINGS
from tests.robustness.checker.testimony import (
    AckedBegin,
    AckedReport,
    Answered,
    Executed,
    StreamedRecord,
    Testimony,
)
from tests.robustness.example_ledgers import (
    DONE,
    EFFECT,
    FAILED,
    HEARS,
    NODE,
    SESSION,
    STARTED,
    WAITS,
    acting,
    consumed,
    ended,
    event,
    failing,
    family,
    found,
    of,
    retried,
    waiting,
)

CHECKER = Path(__file__).parent / "checker"


def test_a_right_ledger_has_no_findings() -> None:
    right = [ended(acting()), consumed(waiting(**HEARS), 7)]
    assert found(of(*right, events={SESSION: [event(7)]})) == set()


@pytest.mark.parametrize("how", TAMPERINGS)
@pytest.mark.parametrize("index", range(6))
def test_a_record_that_is_tampered_with_is_found(how: str, index: int) -> None:
    maker = ended(acting())
    altered = TAMPERINGS[how](maker.entries, index)
    streamed = [
        StreamedRecord("c", maker.run_id, seq, entry.position, entry.record_hash)
        for seq, entry in enumerate(maker.entries, start=1)
    ]
    export = replace(of(maker), entries={maker.run_id: altered})
    assert altered == maker.entries or found(export, Testimony(streamed=streamed))


@pytest.mark.parametrize("how", ["lost", "doubled", "swapped", "edited", "payload edited"])
@pytest.mark.parametrize("index", range(5))
def test_most_tampering_shows_without_any_witness(how: str, index: int) -> None:
    """All but the loss of the end: that takes somebody who was told of it."""
    maker = ended(acting())
    altered = TAMPERINGS[how](maker.entries, index)
    assert altered == maker.entries or found(replace(of(maker), entries={maker.run_id: altered}))


def payloads(salt: bytes, data: bytes) -> list[pb.Payload]:
    """The one payload of an entry."""
    return [pb.Payload(index=0, inline=pb.InlinePayload(salt=salt, data=data))]


CHANGED: list[tuple[dict[str, Any], str]] = [
    ({"prev_hash": bytes(32)}, "CHAIN_BROKEN"),
    ({"record_hash": bytes(32)}, "RECORD_EDITED"),
    ({"position": 1}, "POSITION_DISORDER"),
    ({"record_bytes": b"\xff"}, "NOT_A_RECORD"),
    ({"payloads": payloads(SALT, b'"evil"')}, "PAYLOAD_EDITED"),
    ({"payloads": payloads(b"salt", b'"good"')}, "PAYLOAD_EDITED"),
    ({"payloads": []}, "PAYLOADS_DIFFER"),
]


@pytest.mark.parametrize(("change", "kind"), CHANGED)
def test_what_a_changed_entry_is_called(change: dict[str, Any], kind: str) -> None:
    maker = ended(acting())
    fields: dict[str, Any] = {field.name: value for field, value in maker.entries[4].ListFields()}
    maker.entries[4] = pb.LedgerEntry(**{**fields, **change})
    assert kind in found(of(maker))


# One kind of wrong ledger after the other; the chain of each is intact.


def settled_twice() -> Export:
    maker = acting()
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=3, attempt=1, status=DONE, effect_type="act", result=b'"bad"')
    return of(ended(maker))


def stale_merged() -> Export:
    maker = LedgerMaker("acting")
    maker.add(STARTED, entry=NODE, workflow_id="w")
    for attempt in (1, 2):
        maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=1, attempt=attempt)
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=1, attempt=1, status=DONE, next=NODE)
    return of(maker)


def attempt_left_out() -> Export:
    maker = LedgerMaker("acting")
    maker.add(STARTED, entry=NODE, workflow_id="w")
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=1, attempt=2)
    return of(maker)


def begun_twice() -> Export:
    maker = LedgerMaker("acting")
    maker.add(STARTED, entry=NODE, workflow_id="w")
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=1, attempt=1)
    for _ in range(2):
        maker.add(pb.RECORD_KIND_STEP_BEGUN, step_id=1, attempt=1)
    return of(maker)


def goes_on_after_its_end() -> Export:
    maker = ended(acting())
    maker.add(pb.RECORD_KIND_PAUSED)
    return of(maker)


def opened_although_it_completed() -> Export:
    maker = ended(acting())
    maker.add(pb.RECORD_KIND_REOPENED)
    return of(maker)


def retried_from_the_first_attempt() -> Export:
    return of(ended(retried(attempt=1)))


def retried_from_the_first_attempt_of_the_effect() -> Export:
    """Its node is planned anew; the effect of the new plan has the key of the one before."""
    maker = failing()
    maker.add(pb.RECORD_KIND_REOPENED, entry=NODE)
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=7, attempt=1)
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=7, attempt=1, status=DONE, effect=EFFECT)
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=9, attempt=1)
    return of(maker)


def new_deadline_has_passed() -> Export:
    return of(retried(deadline=Timestamp(seconds=10)))


def step_of_another_record() -> Export:
    maker = LedgerMaker("acting")
    maker.add(STARTED, entry=NODE, workflow_id="w")
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=7, attempt=1)
    return of(maker)


def wait_ended_twice() -> Export:
    maker = consumed(waiting(**HEARS), 7)
    maker.add(pb.RECORD_KIND_RESUMED, step_id=4, wait_id=3, cause=pb.Resumed.CAUSE_ANSWER, payload=b"1", next=NODE)
    return of(maker, events={SESSION: [event(7)]})


def wait_of_nobody() -> Export:
    maker = waiting(**HEARS)
    maker.add(pb.RECORD_KIND_RESUMED, step_id=2, wait_id=2, cause=pb.Resumed.CAUSE_ANSWER, payload=b"1", next=NODE)
    return of(maker)


def wait_in_a_wait() -> Export:
    maker = waiting(**HEARS)
    maker.add(pb.RECORD_KIND_WAITING, step_id=2, status=WAITS)
    return of(maker)


def event_did_not_come() -> Export:
    return of(waiting(**HEARS), events={SESSION: [event(7)]})


def event_was_passed() -> Export:
    return of(consumed(waiting(**HEARS), 9), events={SESSION: [event(7), event(9)]})


def event_below_the_floor() -> Export:
    return of(consumed(waiting(**HEARS, event_floor=7), 7), events={SESSION: [event(7)]})


def event_of_nobody() -> Export:
    return of(consumed(waiting(**HEARS), 7), events={SESSION: []})


def another_payload() -> Export:
    return of(consumed(waiting(**HEARS), 7), events={SESSION: [event(7, text='{"a":1}')]})


def emitting(
    logged: int, emitted: model_pb2.EmitEvent, status: pb.StepStatus.ValueType = DONE, step_id: int = 2
) -> Export:
    """A run that has emitted an event, which the log has so many times."""
    effect = model_pb2.Effect(emit_event=emitted).SerializeToString()
    opened = pb.OpenEffect(type="emit_event", server_side=True, payload=pb.PayloadRef(index=0, size=len(effect)))
    opened.payload.commitment = hashlib.sha256(SALT + effect).digest()
    maker = LedgerMaker("emitting")
    maker.add(STARTED, entry=NODE, workflow_id="w")
    entry = maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=1, status=DONE, effect=opened)
    entry.payloads.extend(payloads(SALT, effect))
    completed = maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=step_id, status=status, effect_type="emit_event")
    maker.entries[2] = resealed_with(completed, session_id="own", idempotency_key="key")
    own = runs.Event(event_id="key", name="go")
    return of(maker, events={SESSION: [event(7)] * logged, (SESSION[0], "own"): [own] * logged})


GO = model_pb2.EmitEvent(name="go", scope_id="s", event_id="e7")
OWN = model_pb2.EmitEvent(name="go")
"""In the run's own session, under the effect's key."""


@pytest.mark.parametrize("emitted", [GO, OWN])
def test_an_event_that_was_emitted_once_is_right(emitted: model_pb2.EmitEvent) -> None:
    assert found(emitting(1, emitted)) == set()
    assert found(emitting(0, emitted)) == {"EVENT_LOST"}


def test_events_of_other_effects_and_scopes_are_not_looked_for() -> None:
    assert found(emitting(0, GO, status=FAILED)) == set()
    assert found(emitting(0, model_pb2.EmitEvent(name="go", scope=common_pb2.EVENT_SCOPE_GLOBAL))) == set()
    assert found(emitting(0, GO, step_id=9)) == {"FOREIGN_STEP"}
    assert found(of(ended(acting()), events={(SESSION[0], ""): []})) == set()


def instant_has_passed() -> Export:
    return of(waiting(until=Timestamp(seconds=10)))


def deadline_has_passed() -> Export:
    return of(waiting(deadline=Timestamp(seconds=10)))


def run_deadline_has_passed() -> Export:
    maker = LedgerMaker("late")
    maker.add(STARTED, entry=NODE, workflow_id="w", deadline=Timestamp(seconds=10))
    return of(maker)


def retry_was_due() -> Export:
    maker = LedgerMaker("late")
    maker.add(STARTED, entry=NODE, workflow_id="w")
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=1, attempt=1)
    retry_at = Timestamp(seconds=10)
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=1, attempt=1, status=FAILED, retry_at=retry_at)
    return of(maker)


def foundling() -> Export:
    """A child that its parent does not know."""
    export = family(0, child_ends=False)
    parent = LedgerMaker("parent")
    parent.add(STARTED, entry=NODE, workflow_id="w")
    return replace(export, entries={**export.entries, "parent": parent.entries})


def childless() -> Export:
    """A parent whose child is not there."""
    export = family(0, child_ends=False)
    return replace(export, entries={"parent": export.entries["parent"]})


def header(**fields: Any) -> Export:
    """A run whose second record says something else about itself."""
    maker = LedgerMaker("acting")
    maker.add(STARTED, entry=NODE, workflow_id="w")
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=1, attempt=1)
    maker.entries[1] = resealed_with(maker.entries[1], **fields)
    return of(maker)


def resealed_with(entry: pb.LedgerEntry, **fields: Any) -> pb.LedgerEntry:
    """An entry with other header fields, and a hash that fits them."""
    record = pb.StepRecord.FromString(entry.record_bytes)
    record.MergeFrom(pb.StepRecord(**fields))
    data = record.SerializeToString()
    return pb.LedgerEntry(
        record_bytes=data,
        prev_hash=entry.prev_hash,
        record_hash=next_hash(entry.prev_hash, data),
        position=entry.position,
    )


def test_a_family_whose_child_ended_once_is_right() -> None:
    assert found(family(1)) == set()
    assert found(family(0, child_ends=False)) == set()


WRONG: dict[Callable[[], Export], str] = {
    settled_twice: "EFFECT_DOUBLED",
    stale_merged: "STALE_MERGED",
    attempt_left_out: "ATTEMPT_GAP",
    begun_twice: "BEGUN_TWICE",
    goes_on_after_its_end: "AFTER_END",
    opened_although_it_completed: "REOPENED_UNFAILED",
    retried_from_the_first_attempt: "ATTEMPT_GAP",
    retried_from_the_first_attempt_of_the_effect: "ATTEMPT_GAP",
    new_deadline_has_passed: "TIMER_LOST",
    step_of_another_record: "FOREIGN_STEP",
    wait_ended_twice: "WAIT_DOUBLED",
    wait_of_nobody: "WAIT_UNKNOWN",
    wait_in_a_wait: "WAIT_IN_WAIT",
    event_did_not_come: "EVENT_LOST",
    event_was_passed: "EVENT_LOST",
    event_below_the_floor: "EVENT_DOUBLED",
    event_of_nobody: "EVENT_INVENTED",
    another_payload: "EVENT_DIFFERS",
    instant_has_passed: "TIMER_LOST",
    deadline_has_passed: "TIMER_LOST",
    run_deadline_has_passed: "TIMER_LOST",
    retry_was_due: "TIMER_LOST",
    lambda: emitting(0, GO): "EVENT_LOST",
    lambda: emitting(2, GO): "EVENT_DOUBLED",
    lambda: header(seq=3): "SEQ_GAP",
    lambda: header(run_id="other"): "FOREIGN_RECORD",
    lambda: header(kind=pb.RECORD_KIND_PAUSED): "KIND_DIFFERS",
    lambda: header(run_started=pb.RunStarted()): "BAD_START",
    lambda: header(at=Timestamp(seconds=-10)): "TIME_BACKWARDS",
    foundling: "CHILD_UNKNOWN",
    childless: "CHILD_MISSING",
    lambda: family(0): "CHILD_END_LOST",
    lambda: family(2): "CHILD_END_DOUBLED",
    lambda: family(1, child_ends=False): "CHILD_END_INVENTED",
}


@pytest.mark.parametrize(("make", "kind"), WRONG.items(), ids=list(WRONG.values()))
def test_a_wrong_ledger_is_found(make: Callable[[], Export], kind: str) -> None:
    assert kind in found(make())


def test_every_finding_has_a_ledger_that_shows_it() -> None:
    """A law that no test here breaks would not be missed."""
    words = re.compile(r'Finding\(\s*"([A-Z_]+)"')
    raised = {word for path in CHECKER.glob("*.py") for word in words.findall(path.read_text(encoding="utf-8"))}
    shown = {*WRONG.values(), *(kind for _, kind in CHANGED), *(kind for *_, told in TOLD for kind in told)}
    assert shown | {"STREAM_DISORDER"} == raised


def test_the_checker_shares_no_code_with_the_server() -> None:
    imports = "".join(path.read_text(encoding="utf-8") for path in CHECKER.glob("*.py"))
    assert "perdure.v1" in imports
    assert "perdure_server" not in imports


# What clients were told.


def task(step_id: int = 3, attempt: int = 1) -> worker.Task:
    """The effect's task of the acting run."""
    return worker.Task(run=worker.TaskRun(run_id="acting"), node_id="node", step_id=step_id, attempt=attempt)


def reported(result: str, status: worker.AckStatus.ValueType, step_id: int = 3, attempt: int = 1) -> Testimony:
    """A worker was answered."""
    report = worker.TaskReport(effect=model_pb2.EffectOutcome(result_json=result))
    return Testimony(reports=[AckedReport(task(step_id, attempt), report, status)])


def answered(request: Any, reply: Any) -> Testimony:
    """A host was answered."""
    return Testimony(answered=[Answered(request, reply)])


def resume(payload: str, seq: int = 4) -> Testimony:
    """A ResumeRun was answered."""
    request = runs.ResumeRunRequest(run_id="waiting", request_id="r", wait_id=3, payload_json=payload)
    return answered(request, runs.ResumeRunResponse(run_id="waiting", seq=seq))


def resumed() -> LedgerMaker:
    """A run whose wait was answered with 1."""
    maker = waiting()
    answer: dict[str, Any] = {"cause": pb.Resumed.CAUSE_ANSWER, "payload": b"1", "next": NODE}
    maker.add(pb.RECORD_KIND_RESUMED, step_id=2, status=DONE, wait_id=3, **answer)
    return maker


def resumed_twice() -> LedgerMaker:
    """A run whose one wait was answered twice."""
    maker = resumed()
    answer: dict[str, Any] = {"cause": pb.Resumed.CAUSE_ANSWER, "payload": b"1", "next": NODE}
    maker.add(pb.RECORD_KIND_RESUMED, step_id=2, status=DONE, wait_id=3, **answer)
    return maker


def moved(version: str) -> LedgerMaker:
    """A run that goes on in another version."""
    maker = acting()
    maker.add(pb.RECORD_KIND_MIGRATED, to_version=version, node_map={"a": "b"})
    return maker


ACCEPTED, STALE = worker.ACK_STATUS_ACCEPTED, worker.ACK_STATUS_STALE
START = runs.StartRunRequest(run_id="acting", workflow_id="w", vars_json="{}")
TICK = runs.TickRunRequest(run_id="acting", request_id="t", max_steps=3)
RETRIED = runs.RetryRunRequest(run_id="acting", request_id="y", retried_by="eve")
MOVED = runs.MigrateRunRequest(run_id="acting", request_id="m", workflow_version="v2", node_map={"a": "b"})
EMIT = runs.EmitEventRequest(scope_id="s", name="go")

TOLD: list[tuple[LedgerMaker, Testimony, set[str]]] = [
    (ended(acting()), reported('"good"', ACCEPTED), set()),
    (ended(acting()), reported('"good"', worker.ACK_STATUS_DUPLICATE), set()),
    (ended(acting()), reported('"other"', ACCEPTED), {"REPORT_DIFFERS"}),
    (ended(acting()), reported('"good"', ACCEPTED, step_id=9), {"REPORT_LOST"}),
    (ended(acting()), reported('"good"', STALE), {"STALE_MERGED"}),
    (ended(acting()), reported('"late"', STALE, attempt=2), set()),
    (ended(acting()), Testimony(begins=[AckedBegin(task(), ACCEPTED)]), {"BEGIN_LOST"}),
    (ended(acting()), answered(START, runs.StartRunResponse(run_id="acting", seq=1)), set()),
    (ended(acting()), answered(START, runs.StartRunResponse(run_id="gone", seq=1)), {"REPLY_LOST"}),
    (ended(acting()), answered(START, runs.StartRunResponse(run_id="acting", seq=99)), {"REPLY_LOST"}),
    (ended(acting()), answered(TICK, runs.TickRunResponse(run_id="acting", seq=1)), {"BUDGET_DIFFERS"}),
    (ended(acting()), answered(EMIT, runs.EmitEventResponse(event_id="e")), {"EVENT_LOST"}),
    (resumed(), resume("1"), set()),
    (resumed(), resume("2"), {"REPLY_LOST"}),
    (waiting(), resume("1", seq=3), {"REPLY_LOST"}),
    (resumed_twice(), resume("1", seq=5), {"RESUME_DOUBLED", "WAIT_DOUBLED", "FOREIGN_STEP"}),
    (ended(acting()), Testimony(streamed=[StreamedRecord("c", "acting", 1, 1, bytes(32))]), {"STREAMED_DIFFERS"}),
    (retried(retried_by="eve"), answered(RETRIED, runs.RetryRunResponse(run_id="acting", seq=7)), set()),
    (retried(retried_by="bob"), answered(RETRIED, runs.RetryRunResponse(run_id="acting", seq=7)), {"REPLY_LOST"}),
    (failing(), answered(RETRIED, runs.RetryRunResponse(run_id="acting", seq=6)), {"REPLY_LOST"}),
    (moved("v2"), answered(MOVED, runs.MigrateRunResponse(run_id="acting", seq=6)), set()),
    (moved("v3"), answered(MOVED, runs.MigrateRunResponse(run_id="acting", seq=6)), {"REPLY_LOST"}),
    (
        ended(acting()),
        Testimony(streamed=[StreamedRecord("c", "gone", 1, 1, b"")]),
        {"STREAMED_LOST", "STREAM_SKIPPED"},
    ),
    (
        ended(acting()),
        Testimony(streamed=[StreamedRecord("c", "acting", 2, 2, acting().entries[1].record_hash)]),
        {"STREAM_GAP"},
    ),
]


def begun_after(*resolutions: pb.Unparked.Resolution.ValueType) -> LedgerMaker:
    """A run whose irreversible effect was begun, and again after each resolution; it has completed."""
    maker = acting()
    del maker.entries[4:]
    maker.add(pb.RECORD_KIND_STEP_BEGUN, step_id=3, attempt=1)
    for attempt, resolution in enumerate(resolutions, start=2):
        maker.add(pb.RECORD_KIND_PARKED, step_id=3, attempt=attempt - 1)
        maker.add(pb.RECORD_KIND_UNPARKED, step_id=3, resolution=resolution)
        maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=3, attempt=attempt)
        maker.add(pb.RECORD_KIND_STEP_BEGUN, step_id=3, attempt=attempt)
    return ended(maker)


def follower(scope: LedgerScope, records: int) -> Testimony:
    """The chain of a subscriber that was told of the first records of the acting run and has come to its end."""
    entries = ended(acting()).entries[:records]
    streamed = [StreamedRecord("c", "acting", n, e.position, e.record_hash) for n, e in enumerate(entries, start=1)]
    return Testimony(streamed=streamed, scopes={"c": scope}, is_final=True)


RERUN, SETTLED = pb.Unparked.RESOLUTION_RERUN, pb.Unparked.RESOLUTION_COMPLETED
FINAL = Testimony(is_final=True)

TOLD.extend(
    [
        (ended(acting()), FINAL, set()),
        (acting(), FINAL, {"RUN_STRANDED"}),
        (failing(), FINAL, {"RUN_FAILED"}),
        (begun_after(), Testimony(executed=[Executed("")]), set()),
        (begun_after(), Testimony(executed=[Executed("")] * 2), {"EFFECT_REPEATED"}),
        (begun_after(RERUN), Testimony(executed=[Executed("")] * 2), set()),
        (begun_after(SETTLED), Testimony(), {"BEGUN_AGAIN"}),
        (ended(acting()), follower(LedgerScope(run_id="acting"), 6), set()),
        (ended(acting()), follower(LedgerScope(all=True), 6), set()),
        (ended(acting()), follower(LedgerScope(all=True), 5), {"STREAM_SHORT"}),
        (ended(acting()), follower(LedgerScope(all=True), 0), {"STREAM_SHORT"}),
        (ended(acting()), follower(LedgerScope(workflow_id="w"), 0), {"STREAM_SHORT"}),
        (ended(acting()), follower(LedgerScope(workflow_id="other"), 0), set()),
        (ended(acting()), follower(LedgerScope(root_run_id="other"), 6), {"STREAM_STRAY"}),
        (ended(acting()), follower(LedgerScope(session_id="other"), 1), {"STREAM_STRAY"}),
    ]
)


@pytest.mark.parametrize(("maker", "testimony", "expected"), TOLD)
def test_what_clients_were_told_is_held_against_the_ledger(
    maker: LedgerMaker, testimony: Testimony, expected: set[str]
) -> None:
    assert found(of(maker, events={SESSION: []}), testimony) == expected


def test_a_record_that_a_stream_has_passed_is_found() -> None:
    positions = [0]
    first, second = LedgerMaker("first", positions), LedgerMaker("second", positions)
    for maker in (first, second):
        maker.add(STARTED, entry=NODE, workflow_id="w")
    streamed = [StreamedRecord("c", "second", 1, 2, second.entries[0].record_hash)]
    assert found(of(first, second), Testimony(streamed=streamed)) == {"STREAM_SKIPPED"}


def test_a_record_streamed_twice_is_found() -> None:
    maker = ended(acting())
    first = StreamedRecord("c", "acting", 1, 1, maker.entries[0].record_hash)
    assert found(of(maker), Testimony(streamed=[first, first])) == {"STREAM_DISORDER", "STREAM_GAP"}
