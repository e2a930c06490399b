"""What a server acknowledges, hands out or streams is on disk before it leaves (P2).

Killing a process cannot show this, because the page cache survives; only the order of its system calls can.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import pytest

from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import model_pb2
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.v1.workflow_service_pb2 import RegisterWorkflowRequest
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.robustness.server_process import Servers
from tests.robustness.syscall_trace import SystemCall, Tracer, parse, sent_too_early, strace_missing

ROUNDS = 5

pytestmark = [pytest.mark.promise("P2"), pytest.mark.timeout(300)]

needs_strace = pytest.mark.skipif(bool(strace_missing()), reason=strace_missing())


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


@dataclass
class Witness:
    """A worker and a subscriber. `streamed` and `planned` tell when a marker came to them."""

    channel: grpc.aio.Channel
    heard: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])

    def event(self, name: str) -> asyncio.Event:
        """Set once the terminal record of this run was streamed."""
        return self.heard.setdefault(name, asyncio.Event())

    async def subscribe(self, ready: asyncio.Event) -> None:
        """Follows the ledger."""
        request = ledger.SubscribeLedgerRequest(scope=ledger.LedgerScope(all=True), beginning=True)
        call = LedgerServiceStub(self.channel).SubscribeLedger(request)
        try:
            async for message in call:
                ready.set()
                for entry in message.batch.entries:
                    if entry.record.HasField("completed"):
                        self.event(entry.record.run_id).set()
        finally:
            call.cancel()

    async def work(self, ready: asyncio.Event) -> None:
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
                    report = worker.TaskReport(task_token=task.task_token)
                    report.node.plan.complete_output_json = task.node.vars_json
                    await call.write(worker.WorkRequest(reports=[report]))
        finally:
            call.cancel()


async def traced_rounds(servers: Servers, directory: Path, defect: str) -> tuple[list[SystemCall], list[bytes]]:
    """Some runs on a traced server, one after the other.

    Returns: its system calls, and the markers: each run's id, which its start's reply and first record carry, and
    each answer, which a task and records carry.
    """
    server = await servers.start(defect=defect)
    async with server.channel() as channel, Tracer(server, directory) as tracer:
        await WorkflowServiceStub(channel).RegisterWorkflow(RegisterWorkflowRequest(spec=spec()))
        witness = Witness(channel)
        ready = [asyncio.Event(), asyncio.Event()]
        background = [asyncio.create_task(witness.subscribe(ready[0])), asyncio.create_task(witness.work(ready[1]))]
        for event in ready:
            await event.wait()
        markers: list[bytes] = []
        stub = RunServiceStub(channel)
        for number in range(ROUNDS):
            run_id, answer = f"traced-run-{number}", f"traced-answer-{number}"
            markers += [run_id.encode(), answer.encode()]
            await stub.StartRun(runs.StartRunRequest(workflow_id="traced", run_id=run_id))
            await stub.ResumeRun(runs.ResumeRunRequest(run_id=run_id, any_wait=True, payload_json=f'"{answer}"'))
            await witness.event(run_id).wait()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
    return tracer.calls(), markers


@needs_strace
async def test_nothing_leaves_before_its_commit_is_on_disk(servers: Servers, tmp_path: Path) -> None:
    calls, markers = await traced_rounds(servers, tmp_path, defect="")
    assert {marker: sent_too_early(calls, marker) for marker in markers} == dict.fromkeys(markers, "")


@needs_strace
async def test_the_trace_shows_a_store_that_does_not_sync(servers: Servers, tmp_path: Path) -> None:
    """The same with `synchronous=OFF`: every marker left too early, and the check says so."""
    calls, markers = await traced_rounds(servers, tmp_path, defect="unsynced")
    found = {marker: sent_too_early(calls, marker) for marker in markers}
    assert all("no fdatasync came between" in why for why in found.values()), found


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
    found = sent_too_early(list(parse(lines)), b"marker")
    assert (verdict in found) if verdict else found == ""
