"""Records as JSON and as lines, for every kind of record there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from google.protobuf.message import Message

from perdure.ledger import LedgerEntry
from perdure.v1 import common_pb2, model_pb2, records_pb2
from perdure.values import RecordKind
from perdure_server.cli.ledger_form import entry_form
from perdure_server.cli.ledger_lines import telling

AT = datetime(2027, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


class Slots:
    """The payloads of one record as it is built."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []

    def put(self, content: bytes | str | Message) -> records_pb2.PayloadRef:
        """A new slot with this content."""
        data = content.encode() if isinstance(content, str) else content
        self.contents.append(data.SerializeToString() if isinstance(data, Message) else data)
        return records_pb2.PayloadRef(index=len(self.contents) - 1, size=len(self.contents[-1]))


def entry(body: Message, slots: Slots) -> LedgerEntry:
    """An entry whose record has this body."""
    name = next(
        field.name for field in records_pb2.StepRecord.DESCRIPTOR.fields if field.message_type is body.DESCRIPTOR
    )
    record = records_pb2.StepRecord(run_id="r-1", seq=7, kind=RecordKind(name).wire, node_id="pay", step_id=3)
    record.at.FromDatetime(AT)
    getattr(record, name).CopyFrom(body)
    message = records_pb2.LedgerEntry(record=record, position=40, prev_hash=b"\x01", record_hash=b"\x02")
    for index, content in enumerate(slots.contents):
        inline = records_pb2.InlinePayload(salt=bytes(16), data=content)
        message.payloads.append(records_pb2.Payload(index=index, inline=inline))
    return LedgerEntry.from_wire(message)


def failure(slots: Slots) -> records_pb2.FailureRef:
    text = records_pb2.FailureText(message="no money", details_json='{"missing": 3}')
    return records_pb2.FailureRef(type="DECLINED", text=slots.put(text))


Told = tuple[Message, Slots, str]

TO_SHIP = records_pb2.NodeEntry(node_id="ship", visit=1)


def told(line: str, body: Message, slots: Slots | None = None) -> Told:
    """A body, its payloads, and the line about it."""
    return body, slots or Slots(), line


def steps() -> Iterator[Told]:
    """Records about steps."""
    slots = Slots()
    started = records_pb2.RunStarted(workflow_id="order", workflow_version="abcdef0123456789", parent_run_id="p")
    started.vars.CopyFrom(slots.put('{"amount":9007199254740993}'))
    yield told('order @ abcdef012345  child of p  {"amount": 9007199254740993}', started, slots)
    yield told("handed out", records_pb2.StepStarted())
    yield told("charge handed out", records_pb2.StepStarted(effect_type="charge"))
    yield told("charge may begin now", records_pb2.StepBegun(effect_type="charge"))

    slots = Slots()
    ops = records_pb2.VarsOps(ops=[model_pb2.VarsOp(path="/a", set_json="1"), model_pb2.VarsOp(path="/b", remove=True)])
    planned = records_pb2.StepCompleted(vars_ops=slots.put(ops), next=TO_SHIP)
    yield told("sets /a, /b  → ship", planned, slots)

    slots = Slots()
    custom = records_pb2.OpenEffect(type="charge", payload=slots.put('{"amount":1}'))
    yield told('asks for charge {"amount": 1}', records_pb2.StepCompleted(effect=custom), slots)

    slots = Slots()
    question = model_pb2.Effect(ask_user=model_pb2.AskUser(terms=model_pb2.WaitTerms(prompt="Go on?")))
    asking = records_pb2.OpenEffect(type="ask_user", server_side=True, payload=slots.put(question))
    yield told('asks for ask_user "Go on?"', records_pb2.StepCompleted(effect=asking), slots)

    slots = Slots()
    done = records_pb2.StepCompleted(effect_type="charge", result=slots.put('{"ok":true}'), next=TO_SHIP)
    yield told('charge {"ok": true}  → ship', done, slots)

    slots = Slots()
    failed = records_pb2.StepCompleted(effect_type="charge", failure=failure(slots))
    failed.retry_at.FromDatetime(AT)
    yield told("DECLINED: no money  again at 2027-01-31T12:00:00.123456Z", failed, slots)

    yield told("its lease ran out", records_pb2.Requeued(cause=records_pb2.Requeued.CAUSE_LAPSED))


def waits() -> Iterator[Told]:
    """Records about waits."""
    slots = Slots()
    text = records_pb2.WaitText(prompt="Approve?", choices=["yes", "no"])
    waiting = records_pb2.Waiting(reason=common_pb2.WAIT_REASON_USER, assignee="ada", text=slots.put(text))
    yield told("user  Approve?  [yes, no]  for ada", waiting, slots)

    slots = Slots()
    answer = records_pb2.Resumed.CAUSE_ANSWER
    resumed = records_pb2.Resumed(cause=answer, resumed_by="ada", payload=slots.put('"yes"'), next=TO_SHIP)
    yield told('answer  "yes"  by ada  → ship', resumed, slots)

    slots = Slots()
    consumed = records_pb2.EventConsumed(name="paid", payload=slots.put('{"event_id":"e","payload":{"n":1}}'))
    yield told('event paid  {"n": 1}', consumed, slots)

    slots = Slots()
    ended = records_pb2.ChildEnded(child_run_id="c", child_status=common_pb2.RUN_STATUS_COMPLETED)
    ended.result.CopyFrom(slots.put('{"sub_run_id":"c","output":{"n":1}}'))
    yield told('c completed  {"n": 1}', ended, slots)

    started = records_pb2.BranchesStarted(first=3, run_ids=["c3", "c4", "c5", "c6"])
    yield told("3 to 6  c3 c4 c5 ...", started)
    slots = Slots()
    ended = records_pb2.ChildEnded(child_run_id="c3", child_status=common_pb2.RUN_STATUS_COMPLETED, place=3)
    ended.result.CopyFrom(slots.put('{"n":1}'))
    yield told('c3 completed  branch 3  {"n": 1}', ended, slots)
    yield told("enough branches completed  → ship", records_pb2.Joined(next=TO_SHIP))

    slots = Slots()
    fanout = records_pb2.Fanout(total=2, needed=1, items_json="[1,2]", entry_node="a")
    asking = records_pb2.OpenEffect(type="foreach", server_side=True, payload=slots.put(fanout))
    yield told("asks for foreach 1 of 2", records_pb2.StepCompleted(effect=asking), slots)


def decisions() -> Iterator[Told]:
    """Records of what people decided, and of ends."""
    in_doubt = "IN_DOUBT: begun, and nobody knows whether it happened  `perdure run resolve` decides"
    yield told(in_doubt, records_pb2.Parked(reason=records_pb2.Parked.REASON_IN_DOUBT))
    yield told(
        "rerun  by ada", records_pb2.Unparked(resolution=records_pb2.Unparked.RESOLUTION_RERUN, resolved_by="ada")
    )
    slots = Slots()
    yield told("lunch  by ada", records_pb2.Paused(reason=slots.put("lunch"), paused_by="ada"), slots)
    yield told("by ada", records_pb2.Unpaused(unpaused_by="ada"))
    yield told("3 node entries", records_pb2.BudgetAdded(steps=3))
    slots = Slots()
    cancel = records_pb2.CancelRequested(reason=slots.put("no longer wanted"), cancelled_by="ada", next=TO_SHIP)
    yield told("no longer wanted  by ada  → ship", cancel, slots)
    slots = Slots()
    yield told('{"total": 3}', records_pb2.Completed(output=slots.put('{"total":3}')), slots)
    slots = Slots()
    yield told("DECLINED: no money", records_pb2.Failed(failure=failure(slots)), slots)
    slots = Slots()
    yield told(
        "over  DECLINED: no money", records_pb2.Cancelled(reason=slots.put("over"), failure=failure(slots)), slots
    )
    yield told("kept without effect", records_pb2.LateResult())


def repairs() -> Iterator[Told]:
    """Records of runs that were opened again, or moved."""
    slots = Slots()
    ops = records_pb2.VarsOps(ops=[model_pb2.VarsOp(path="/a", set_json="1")])
    again = records_pb2.Reopened(vars_ops=slots.put(ops), entry=TO_SHIP, paused=True, retried_by="ada")
    yield told("repairs /a  from the node  paused  by ada", again, slots)
    in_doubt = "IN_DOUBT: it may have been executed; `perdure run resolve` decides  the effect again"
    yield told(in_doubt, records_pb2.Reopened(in_doubt=True))
    moved = records_pb2.Migrated(from_version="a" * 64, to_version="b" * 64, entry=TO_SHIP, requeued=True)
    yield told(f"{'a' * 12} to {'b' * 12}  at ship  handed out again", moved)


def bodies() -> list[Told]:
    """A body of each kind."""
    return [*steps(), *waits(), *decisions(), *repairs()]


@pytest.mark.parametrize(("body", "slots", "line"), bodies(), ids=lambda value: type(value).__name__)
def test_what_a_record_tells(body: Message, slots: Slots, line: str) -> None:
    assert telling(entry_form(entry(body, slots))) == line


def test_every_kind_is_told() -> None:
    told = {entry_form(entry(body, slots))["kind"] for body, slots, _ in bodies()}
    assert told == {str(kind) for kind in RecordKind if kind != "unspecified"}


def test_payloads_are_cut_for_a_terminal_only() -> None:
    slots = Slots()
    form = entry_form(entry(records_pb2.Completed(output=slots.put('{"text":"' + "x" * 500 + '"}')), slots))
    assert len(telling(form)) > 500
    assert len(telling(form, 90)) == 90


def test_the_json_of_an_entry_is_stable() -> None:
    slots = Slots()
    failed = records_pb2.Failed(failure=failure(slots))
    assert entry_form(entry(failed, slots)) == {
        "run_id": "r-1",
        "seq": 7,
        "kind": "failed",
        "at": "2027-01-31T12:00:00.123456Z",
        "node_id": "pay",
        "visit": 0,
        "step_id": 3,
        "status": None,
        "attempt": 0,
        "worker_id": "",
        "idempotency_key": "",
        "actor_id": "",
        "session_id": "",
        "root_run_id": "",
        "position": 40,
        "prev_hash": "01",
        "record_hash": "02",
        "body": {"failure": {"type": "DECLINED", "text": {"message": "no money", "details": {"missing": 3}}}},
    }


def test_an_erased_payload_is_null() -> None:
    slots = Slots()
    whole = entry(records_pb2.Completed(output=slots.put("{}")), slots)
    message = records_pb2.LedgerEntry(record=whole.record)
    message.payloads.append(records_pb2.Payload(index=0, erased=records_pb2.ErasedPayload()))
    assert entry_form(LedgerEntry.from_wire(message))["body"] == {"output": None}
