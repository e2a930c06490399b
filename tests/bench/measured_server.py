"""One server of a cell: started on a store, driven with generated stubs, and looked at from outside."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import grpc.aio

from perdure.v1 import ledger_service_pb2, model_pb2, records_pb2, run_service_pb2, workflow_service_pb2
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.bench.perdure_host import EFFECT_TYPE
from tests.bench.perdure_subject import channel_ready, free_port, serve_command
from tests.bench.processes import Child, memory_mib

T = TypeVar("T")

MANY_STREAMS = ("--limit", "streams_per_caller=5000")
IN_FLIGHT = 128
"""Unary calls that the driver keeps open at once."""


class MeasuredServer:
    """A running server and stubs for it. Made by `serving`."""

    def __init__(self, child: Child, address: str, channel: grpc.aio.Channel) -> None:
        self.child = child
        self.address = address
        self.runs = RunServiceStub(channel)
        self._ledger = LedgerServiceStub(channel)
        self._workflows = WorkflowServiceStub(channel)

    async def register(self, workflow_id: str, nodes: dict[str, model_pb2.NodeSpec], entry: str) -> None:
        """Registers a workflow."""
        spec = model_pb2.WorkflowSpec(workflow_id=workflow_id, entry_node=entry, nodes=nodes)
        await self._workflows.RegisterWorkflow(workflow_service_pb2.RegisterWorkflowRequest(spec=spec))

    async def start_all(self, requests: Iterable[run_service_pb2.StartRunRequest]) -> None:
        """Starts runs, IN_FLIGHT at once."""
        await in_parallel(self.runs.StartRun, requests, IN_FLIGHT)

    async def records(
        self, scope: ledger_service_pb2.LedgerScope, *kinds: records_pb2.RecordKind.ValueType
    ) -> AsyncGenerator[records_pb2.StepRecord]:
        """Records from now on; the first value comes when the subscription stands, and is an empty record."""
        request = ledger_service_pb2.SubscribeLedgerRequest(
            scope=scope, filter=ledger_service_pb2.LedgerFilter(kinds=kinds), now=True
        )
        call = self._ledger.SubscribeLedger(request)
        try:
            async for response in call:
                if response.HasField("subscribed"):
                    yield records_pb2.StepRecord()
                for entry in response.batch.entries:
                    yield entry.record
        finally:
            call.cancel()

    def cpu_seconds(self) -> float:
        """Processor time of all its threads that live, to the nanosecond."""
        tasks = Path(f"/proc/{self.child.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory_mib(self) -> float:
        """Resident memory now."""
        return memory_mib(self.child.pid, "VmRSS")


@asynccontextmanager
async def serving(directory: Path, store: str, *flags: str) -> AsyncGenerator[MeasuredServer]:
    """A server for the length of a block.

    Args:
        directory: for its log, and for `{directory}` in the store's URL.
    """
    address = f"127.0.0.1:{free_port()}"
    command = serve_command(address, store.format(directory=directory))
    child = await Child.start(directory / f"server-{address.rpartition(':')[2]}.log", *command, *flags)
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            await channel_ready(channel, child)
            yield MeasuredServer(child, address, channel)
    finally:
        await child.stop()


async def in_parallel(call: Callable[[T], Awaitable[object]], items: Iterable[T], at_once: int) -> None:
    """Makes a call for every item, so many at once."""
    left = iter(items)

    async def loop() -> None:
        for item in left:
            await call(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(loop())


def effect_node(template_json: str, next_node: str = "", result_key: str = "") -> model_pb2.NodeSpec:
    """A node whose plan is always this effect."""
    return model_pb2.NodeSpec(
        kind=model_pb2.NODE_KIND_EFFECT, template_json=template_json, next=next_node, result_key=result_key
    )


WORKER_STEP = f'{{"type": "{EFFECT_TYPE}", "payload": {{}}}}'
"""What the bench's worker answers."""


@asynccontextmanager
async def bench_worker(directory: Path, address: str) -> AsyncGenerator[Child]:
    """The bench's worker process, serving."""
    worker = await Child.start_module(directory / "worker.log", "tests.bench.perdure_worker", address)
    try:
        await worker.line_starting("ready", timeout_s=30)
        yield worker
    finally:
        await worker.stop()
