"""The ledger of a whole server: what its engine writes is streamed, listed and verified."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import pytest

from perdure.v1 import common_pb2, model_pb2, records_pb2, run_service_pb2, workflow_service_pb2
from perdure.v1 import ledger_service_pb2 as pb
from perdure_server.kernel.records import RecordKind
from tests.api.served import Served, refusal, serve
from tests.ledger.rig import next_message

ALL = pb.LedgerScope(all=True)
ASK = json.dumps({"type": "ask_user", "payload": {"prompt": "go on?"}})


def effect(template: str, follower: str) -> model_pb2.NodeSpec:
    """A node that runs an effect of the server's own."""
    return model_pb2.NodeSpec(
        kind=model_pb2.NODE_KIND_EFFECT, template_json=template, next=follower, result_key="answer"
    )


async def register(served: Served) -> None:
    """A workflow that asks a person, then ends."""
    spec = model_pb2.WorkflowSpec(
        workflow_id="orders",
        entry_node="ask",
        nodes={
            "ask": effect(ASK, "end"),
            "end": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_COMPLETE, template_json='{"said":"${vars.answer}"}'),
        },
    )
    await served.workflows.RegisterWorkflow(workflow_service_pb2.RegisterWorkflowRequest(spec=spec, set_default=True))


async def run_to_its_end(served: Served, run_id: str) -> None:
    """Starts a run, waits for its question and answers it."""
    await served.runs.StartRun(run_service_pb2.StartRunRequest(workflow_id="orders", run_id=run_id))
    await served.runs.WaitRun(run_service_pb2.WaitRunRequest(run_id=run_id))
    await served.runs.ResumeRun(
        run_service_pb2.ResumeRunRequest(run_id=run_id, any_wait=True, payload_json='{"yes":true}')
    )


async def entries_of(served: Served, **fields: Any) -> list[records_pb2.LedgerEntry]:
    """Everything a subscription sends until its goodbye."""
    request = pb.SubscribeLedgerRequest(**fields)
    entries: list[records_pb2.LedgerEntry] = []
    async for message in served.ledger.SubscribeLedger(request):
        entries += message.batch.entries
        if message.HasField("goodbye"):
            assert message.goodbye.reason == pb.Goodbye.REASON_COMPLETE
    return entries


def lp(text: str) -> bytes:
    """lp(x) of the contract."""
    return struct.pack(">I", len(text.encode())) + text.encode()


@pytest.mark.promise("P9")
async def test_a_client_verifies_what_it_was_streamed_by_the_contracts_words_alone() -> None:
    async with serve() as served:
        await register(served)
        await run_to_its_end(served, "r-1")
        entries = await entries_of(
            served,
            scope=pb.LedgerScope(run_id="r-1"),
            beginning=True,
            stop_when_terminal=True,
            view=pb.RECORD_VIEW_RECORD_BYTES,
        )
        verified = await served.ledger.VerifyRun(pb.VerifyRunRequest(run_id="r-1"))
    prev_hash = hashlib.sha256(lp("perdure/run/v1") + lp("default") + lp("r-1")).digest()
    records: list[records_pb2.StepRecord] = []
    for entry in entries:
        assert entry.prev_hash == prev_hash
        prev_hash = hashlib.sha256(b"perdure/record/v1" + prev_hash + entry.record_bytes).digest()
        assert entry.record_hash == prev_hash
        records.append(records_pb2.StepRecord.FromString(entry.record_bytes))
        for payload in entry.payloads:
            committed = hashlib.sha256(payload.inline.salt + payload.inline.data).digest()
            assert committed in entry.record_bytes
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert len(records) > 4
    assert records[-1].kind == records_pb2.RECORD_KIND_COMPLETED
    assert (verified.intact, verified.seq, verified.head_hash) == (True, len(entries), prev_hash)


@pytest.mark.promise("P8")
async def test_what_is_streamed_live_is_what_is_listed() -> None:
    async with serve() as served:
        await register(served)
        live = served.ledger.SubscribeLedger(pb.SubscribeLedgerRequest(scope=ALL, now=True))
        assert (await next_message(live)).HasField("subscribed")
        for number in range(5):
            await run_to_its_end(served, f"r-{number}")
            emit = run_service_pb2.EmitEventRequest(
                scope=common_pb2.EVENT_SCOPE_GLOBAL, name="paid", payload_json='{"number":1}'
            )
            await served.runs.EmitEvent(emit)
        streamed: list[records_pb2.LedgerEntry] = []
        ends = 0
        while ends < 5:
            message = await next_message(live)
            streamed += message.batch.entries
            ends = sum(entry.record.kind == records_pb2.RECORD_KIND_COMPLETED for entry in streamed)
        live.cancel()
        listed: list[records_pb2.LedgerEntry] = []
        token = ""
        while True:
            page = await served.ledger.ListRecords(pb.ListRecordsRequest(scope=ALL, page_size=7, page_token=token))
            listed += page.entries
            token = page.next_page_token
            if not token:
                break
        assert streamed == listed
        assert await entries_of(served, scope=ALL, beginning=True, stop_when_caught_up=True) == listed
        ends_only = pb.LedgerFilter(kinds=[records_pb2.RECORD_KIND_COMPLETED])
        found = await entries_of(served, scope=ALL, filter=ends_only, beginning=True, stop_when_caught_up=True)
        assert [entry.record.run_id for entry in found] == [f"r-{number}" for number in range(5)]
        assert {RecordKind(entry.record.kind) for entry in found} == {RecordKind.COMPLETED}


async def test_a_namespace_that_is_not_there_is_told_and_not_silent() -> None:
    async with serve() as served:
        nowhere = "misspelt"
        follow = served.ledger.SubscribeLedger(
            pb.SubscribeLedgerRequest(namespace=nowhere, scope=ALL, beginning=True), timeout=10
        )
        for call in (
            next_message(follow),
            served.ledger.ListRecords(pb.ListRecordsRequest(namespace=nowhere, scope=ALL)),
            served.ledger.VerifyRun(pb.VerifyRunRequest(namespace=nowhere, run_id="r-1")),
        ):
            assert (await refusal(call)).reason == "NAMESPACE_NOT_FOUND"
