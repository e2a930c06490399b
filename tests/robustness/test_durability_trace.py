"""What a server acknowledges, hands out or streams is on disk before it leaves (P2).

Killing a process cannot show this, because the page cache survives; only the order of its system calls can.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import grpc.aio
import pytest

from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import model_pb2
from perdure.v1 import records_pb2 as records
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.v1.workflow_service_pb2 import RegisterWorkflowRequest
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.robustness.server_process import Servers
from tests.robustness.syscall_trace import Tracer, parse, sent_too_early, why_untraceable

ROUNDS = 5
NEEDED = {"StartRun", "ResumeRun", "EmitEvent", "task", "ack", "streamed"}
"""What each round sends that must not leave too early."""

STORES = ("sqlite:///{}/perdure.db", "file:{}/journal")

pytestmark = [pytest.mark.promise("P2"), pytest.mark.timeout(300)]


def spec() -> model_pb2.WorkflowSpec:
    """A person's answer, then a worker's node."""
    ask = '{"type":"ask_user","payload":{"prompt":"Go on?"}}'
    return model_pb2.WorkflowSpec(
        workflow_id="traced",
        entry_node="ask",
        nodes={
            "ask": model_pb2.NodeSpec(
                kind=model_pb2.NODE_KIND_EFFECT, template_json=ask, result_key="answer", next="work"
            ),
            "work": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_WORKER),
        },
    )


@dataclass(frozen=True, slots=True)
class Sent:
    """Something that the server sent.

    Args:
        what: a kind, and of which run.
        sent: its bytes on the wire.
        written: bytes of the commit that it tells of, in the store.
    """

    what: str
    sent: bytes
    written: bytes


@dataclass
class Witness:
    """Host, worker and subscriber of a server; remembers what it was sent."""

    channel: grpc.aio.Channel
    stored: dict[tuple[str, int], bytes] = field(default_factory=dict[tuple[str, int], bytes])
    """Record bytes by run and seq, as streamed."""
    replies: list[tuple[str, str, int, bytes]] = field(default_factory=list[tuple[str, str, int, bytes]])
    """Method, run, seq and bytes."""
    emitted: list[runs.EmitEventResponse] = field(default_factory=list[runs.EmitEventResponse])
    tasks: dict[bytes, worker.Task] = field(default_factory=dict[bytes, worker.Task])
    acks: list[worker.Ack] = field(default_factory=list[worker.Ack])
    _ended: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def play_round(self, number: int) -> None:
        """One run from its start to its end, and an event."""
        run_id = f"traced-run-{number}"
        stub = RunServiceStub(self.channel)
        started = await stub.StartRun(runs.StartRunRequest(workflow_id="traced", run_id=run_id))
        self.replies.append(("StartRun", run_id, started.seq, started.SerializeToString()))
        resumed = await stub.ResumeRun(runs.ResumeRunRequest(run_id=run_id, any_wait=True, payload_json='"yes"'))
        self.replies.append(("ResumeRun", run_id, resumed.seq, resumed.SerializeToString()))
        event = runs.EmitEventRequest(scope_id=run_id, name="news", event_id=f"traced-event-{number}")
        self.emitted.append(await stub.EmitEvent(event))
        async with self._ended:
            await self._ended.wait_for(lambda: len(self.acks) > number and self._has_completed(run_id))

    def _has_completed(self, run_id: str) -> bool:
        ends = (data for (name, _), data in self.stored.items() if name == run_id)
        return any(records.StepRecord.FromString(data).HasField("completed") for data in ends)

    async def subscribe(self, ready: asyncio.Event) -> NoReturn:
        """Follows the ledger."""
        request = ledger.SubscribeLedgerRequest(
            scope=ledger.LedgerScope(all=True), beginning=True, view=ledger.RECORD_VIEW_RECORD_BYTES
        )
        call = LedgerServiceStub(self.channel).SubscribeLedger(request)
        try:
            async for message in call:
                ready.set()
                for entry in message.batch.entries:
                    record = records.StepRecord.FromString(entry.record_bytes)
                    self.stored[record.run_id, record.seq] = entry.record_bytes
                async with self._ended:
                    self._ended.notify_all()
        finally:
            call.cancel()
        raise AssertionError("the subscription ended")

    async def work(self, ready: asyncio.Event) -> NoReturn:
        """Completes every run with the answer that its task brought."""
        call = WorkerServiceStub(self.channel).Work()
        hello = worker.Hello(
            worker_id="traced", stream_epoch=1, workflows=[worker.ServedWorkflow(workflow_id="traced")]
        )
        try:
            await call.write(worker.WorkRequest(hello=hello, credit=worker.Credit(limit=1_000)))
            async for response in call:
                ready.set()
                for task in response.tasks:
                    self.tasks[task.task_token] = task
                    report = worker.TaskReport(task_token=task.task_token)
                    report.node.plan.complete_output_json = task.node.vars_json
                    await call.write(worker.WorkRequest(reports=[report]))
                self.acks += response.acks
                async with self._ended:
                    self._ended.notify_all()
        finally:
            call.cancel()
        raise AssertionError("the worker's stream ended")

    def sent(self) -> list[Sent]:
        """Everything that the server sent, beside the bytes of the commit that allowed it."""
        found = [Sent(f"streamed {run_id}#{seq}", data, data) for (run_id, seq), data in self.stored.items()]
        found += [Sent(f"{what} {run_id}", data, self.stored[run_id, seq]) for what, run_id, seq, data in self.replies]
        for reply in self.emitted:
            event_id = reply.event_id.encode()
            found += [Sent(f"EmitEvent {reply.event_id}", reply.SerializeToString(), event_id)]
        for token, task in self.tasks.items():
            written = self._record_of(task, records.RECORD_KIND_STEP_STARTED)
            found.append(Sent(f"task {task.run.run_id}", token, written))
        for ack in self.acks:
            task = self.tasks[ack.task_token]
            written = self._record_of(task, records.RECORD_KIND_STEP_COMPLETED)
            # With the field around it: a task begins with the same bytes as its ack.
            found.append(Sent(f"ack {task.run.run_id}", worker.WorkResponse(acks=[ack]).SerializeToString(), written))
        return found

    def _record_of(self, task: worker.Task, kind: records.RecordKind.ValueType) -> bytes:
        """The record of a kind that a task's attempt has."""
        for (run_id, _), data in self.stored.items():
            record = records.StepRecord.FromString(data)
            attempt = (record.kind, run_id, record.step_id, record.attempt)
            if attempt == (kind, task.run.run_id, task.step_id, task.attempt):
                return data
        raise AssertionError(f"no record of kind {kind} for {task}")


async def traced_rounds(servers: Servers, directory: Path, store: str, defect: str) -> dict[str, str]:
    """Some runs on a traced server, one after the other.

    Returns: of everything that it sent, why that was too early; empty where it was not.
    """
    why = await why_untraceable()
    if why:
        pytest.skip(why)
    server = await servers.start({"store": store.format(directory)}, defect=defect)
    async with server.channel() as channel, Tracer(server, directory) as tracer:
        await WorkflowServiceStub(channel).RegisterWorkflow(RegisterWorkflowRequest(spec=spec()))
        witness = Witness(channel)
        ready = [asyncio.Event(), asyncio.Event()]
        async with asyncio.TaskGroup() as group:
            background = [group.create_task(witness.subscribe(ready[0])), group.create_task(witness.work(ready[1]))]
            for event in ready:
                await event.wait()
            for number in range(ROUNDS):
                await witness.play_round(number)
            for task in background:
                task.cancel()
    calls = tracer.calls()
    return {each.what: sent_too_early(calls, each.written, each.sent) for each in witness.sent()}


def counted(verdicts: dict[str, str]) -> dict[str, int]:
    """How many verdicts there are of each kind."""
    kinds = [what.partition(" ")[0] for what in verdicts]
    return {kind: kinds.count(kind) for kind in kinds}


@pytest.mark.parametrize("store", STORES)
async def test_nothing_leaves_before_its_commit_is_on_disk(servers: Servers, tmp_path: Path, store: str) -> None:
    verdicts = await traced_rounds(servers, tmp_path, store, defect="")
    assert verdicts == dict.fromkeys(verdicts, "")
    assert counted(verdicts).keys() == NEEDED
    assert min(counted(verdicts).values()) == ROUNDS


@pytest.mark.parametrize("store", STORES)
async def test_the_trace_shows_a_store_that_does_not_sync(servers: Servers, tmp_path: Path, store: str) -> None:
    """The same without waiting for the disk: everything left too early, and the check says so."""
    verdicts = await traced_rounds(servers, tmp_path, store, defect="unsynced")
    assert all("no fdatasync came between" in why for why in verdicts.values()), verdicts
    assert counted(verdicts).keys() == NEEDED


async def test_where_strace_is_missing_the_traces_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "strace is not installed" in await why_untraceable()


# The judgement itself, on traces written by hand.

WAL = "18<" + "".join(f"\\x{byte:02x}" for byte in b"/store/perdure.db-wal") + ">"
SOCKET = "31<" + "".join(f"\\x{byte:02x}" for byte in b"socket:[7]") + ">"


def text(data: bytes) -> str:
    """Bytes as strace -xx writes them."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def frame(page: bytes, *, ends_transaction: bool) -> list[str]:
    """Lines of a frame's two writes."""
    header = bytes(4) + bytes(3) + bytes([ends_transaction]) + bytes(16)
    return [
        f"10 1.0 pwrite64({WAL}, {text(header)}, 24, 0) = 24",
        f"10 1.0 pwrite64({WAL}, {text(page)}, {len(page)}, 24) = {len(page)}",
    ]


SYNC = f"10 1.0 fdatasync({WAL}) = 0"
SEND = f"11 1.0 sendmsg({SOCKET}, {{msg_name=NULL, msg_iov=[{{iov_base={text(b'..marker..')}, iov_len=10}}]}}, 0) = 10"
WRITE = [*frame(b"a page", ends_transaction=False), *frame(b"the marker's page", ends_transaction=False)]
END = frame(b"another page", ends_transaction=True)
FAILED_SYNC = f"10 1.0 fdatasync({WAL}) = -1 EIO (Input/output error)"
SLOW_SYNC = (f"10 1.0 fdatasync({WAL} <unfinished ...>", "10 1.1 <... fdatasync resumed>) = 0")


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ([*WRITE, *END, SYNC, SEND], ""),
        ([*WRITE, *END, *SLOW_SYNC, SEND], ""),
        ([*WRITE, *END, SEND, SYNC], "no fdatasync came between"),
        ([*WRITE, *END, SEND], "no fdatasync came between"),
        ([*WRITE, SYNC, *END, SEND], "no fdatasync came between"),
        ([SEND, *WRITE, *END, SYNC, SEND], "no fdatasync came between"),
        ([*WRITE, *END, FAILED_SYNC, SEND], "no fdatasync came between"),
        ([*WRITE, *END, SLOW_SYNC[0], SEND, SLOW_SYNC[1]], "no fdatasync came between"),
        ([*WRITE, SYNC, SEND], "its transaction did not end"),
        ([*WRITE, *END, SYNC], "it was never sent"),
        ([*END, SYNC, SEND], "it was never written"),
    ],
)
def test_what_a_trace_is_judged_as(lines: list[str], verdict: str) -> None:
    found = sent_too_early(list(parse(lines)), b"marker", b"marker")
    assert (verdict in found) if verdict else found == ""
