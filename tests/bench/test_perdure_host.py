"""The load driver's Perdure side against a server that only plays the contract."""

import asyncio
import json
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from perdure.v1 import (
    admin_service_pb2,
    common_pb2,
    ledger_service_pb2,
    records_pb2,
    run_service_pb2,
    workflow_service_pb2,
)
from tests.bench.perdure_host import WORKER_CHAIN, PerdureHost, workflows
from tests.bench.subject import STEPS_PER_RUN, BenchError


class ScriptedServer:
    """Ends each started run at once with `ends_with`; replies to W2 calls with the statuses given."""

    def __init__(self) -> None:
        self.ends_with = records_pb2.RECORD_KIND_COMPLETED
        self.start_status = common_pb2.RUN_STATUS_WAITING
        self.resume_status = common_pb2.RUN_STATUS_COMPLETED
        self.settled_status = common_pb2.RUN_STATUS_WAITING
        self.counters = {"commits": 11, "commit_batches": 3}
        self.registered: list[str] = []
        self.waits = 0
        self._records: asyncio.Queue[records_pb2.StepRecord | None] = asyncio.Queue()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Only the methods the host calls; all others are UNIMPLEMENTED."""
        runs, workflows_, admin, ledger = (
            run_service_pb2,
            workflow_service_pb2,
            admin_service_pb2,
            ledger_service_pb2,
        )
        unary = grpc.unary_unary_rpc_method_handler
        by_service = {
            "RunService": {
                "StartRun": unary(
                    self.start_run,
                    runs.StartRunRequest.FromString,
                    runs.StartRunResponse.SerializeToString,
                ),
                "ResumeRun": unary(
                    self.resume_run,
                    runs.ResumeRunRequest.FromString,
                    runs.ResumeRunResponse.SerializeToString,
                ),
                "WaitRun": unary(self.wait_run, runs.WaitRunRequest.FromString, runs.WaitRunResponse.SerializeToString),
            },
            "WorkflowService": {
                "RegisterWorkflow": unary(
                    self.register_workflow,
                    workflows_.RegisterWorkflowRequest.FromString,
                    workflows_.RegisterWorkflowResponse.SerializeToString,
                )
            },
            "AdminService": {
                "GetServerInfo": unary(
                    self.get_server_info,
                    admin.GetServerInfoRequest.FromString,
                    admin.GetServerInfoResponse.SerializeToString,
                )
            },
            "LedgerService": {
                "SubscribeLedger": grpc.unary_stream_rpc_method_handler(
                    self.subscribe_ledger,
                    ledger.SubscribeLedgerRequest.FromString,
                    ledger.SubscribeLedgerResponse.SerializeToString,
                )
            },
        }
        return [
            grpc.method_handlers_generic_handler(f"perdure.v1.{service}", methods)
            for service, methods in by_service.items()
        ]

    def end_subscription(self) -> None:
        self._records.put_nowait(None)

    async def register_workflow(
        self, request: workflow_service_pb2.RegisterWorkflowRequest, context: object
    ) -> workflow_service_pb2.RegisterWorkflowResponse:
        self.registered.append(request.spec.workflow_id)
        return workflow_service_pb2.RegisterWorkflowResponse(workflow_id=request.spec.workflow_id)

    async def start_run(
        self, request: run_service_pb2.StartRunRequest, context: object
    ) -> run_service_pb2.StartRunResponse:
        json.loads(request.vars_json)
        self._records.put_nowait(records_pb2.StepRecord(run_id=request.run_id, kind=self.ends_with))
        return run_service_pb2.StartRunResponse(run_id=request.run_id, status=self.start_status)

    async def resume_run(
        self, request: run_service_pb2.ResumeRunRequest, context: object
    ) -> run_service_pb2.ResumeRunResponse:
        return run_service_pb2.ResumeRunResponse(run_id=request.run_id, status=self.resume_status)

    async def wait_run(
        self, request: run_service_pb2.WaitRunRequest, context: object
    ) -> run_service_pb2.WaitRunResponse:
        self.waits += 1
        response = run_service_pb2.WaitRunResponse(reached=True)
        response.run.status = self.settled_status
        return response

    async def get_server_info(
        self, request: admin_service_pb2.GetServerInfoRequest, context: object
    ) -> admin_service_pb2.GetServerInfoResponse:
        return admin_service_pb2.GetServerInfoResponse(process_id=4711, counters=self.counters)

    async def subscribe_ledger(
        self, request: ledger_service_pb2.SubscribeLedgerRequest, context: object
    ) -> AsyncIterator[ledger_service_pb2.SubscribeLedgerResponse]:
        assert records_pb2.RECORD_KIND_COMPLETED in request.filter.kinds
        yield ledger_service_pb2.SubscribeLedgerResponse(
            subscribed=ledger_service_pb2.SubscribeLedgerResponse.Subscribed()
        )
        while (record := await self._records.get()) is not None:
            yield ledger_service_pb2.SubscribeLedgerResponse(
                batch=ledger_service_pb2.SubscribeLedgerResponse.RecordBatch(
                    entries=[records_pb2.LedgerEntry(record=record)]
                )
            )


@pytest.fixture
def scripted() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
async def host(scripted: ScriptedServer) -> AsyncIterator[PerdureHost]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(scripted.handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        one = PerdureHost(channel)
        await one.open()
        try:
            yield one
        finally:
            await one.close()
            await server.stop(grace=0)


async def test_all_workflows_are_registered(host: PerdureHost, scripted: ScriptedServer) -> None:
    assert scripted.registered == [spec.workflow_id for spec in workflows()]


async def test_a_run_is_over_when_its_terminal_record_comes(host: PerdureHost) -> None:
    await asyncio.gather(*(host.run_to_end(WORKER_CHAIN, f"run-{n}") for n in range(50)))


async def test_a_failed_run_fails_the_bench(host: PerdureHost, scripted: ScriptedServer) -> None:
    scripted.ends_with = records_pb2.RECORD_KIND_FAILED
    with pytest.raises(BenchError, match="run-1 ended"):
        await host.run_to_end(WORKER_CHAIN, "run-1")


async def test_a_lost_subscription_fails_the_runs_that_wait(host: PerdureHost, scripted: ScriptedServer) -> None:
    scripted.ends_with = records_pb2.RECORD_KIND_COMPLETED
    scripted.end_subscription()
    with pytest.raises(BenchError, match="subscription ended"):
        await host.run_to_end(WORKER_CHAIN, "run-1")


async def test_a_leg_needs_no_second_call_when_the_reply_tells_the_status(
    host: PerdureHost, scripted: ScriptedServer
) -> None:
    await host.waiting_run("run-1")
    assert scripted.waits == 0


async def test_a_leg_waits_when_the_reply_came_before_the_status(host: PerdureHost, scripted: ScriptedServer) -> None:
    scripted.start_status = common_pb2.RUN_STATUS_RUNNING
    await host.waiting_run("run-1")
    assert scripted.waits == 1


async def test_a_leg_that_ends_elsewhere_fails_the_bench(host: PerdureHost, scripted: ScriptedServer) -> None:
    scripted.resume_status = common_pb2.RUN_STATUS_RUNNING
    scripted.settled_status = common_pb2.RUN_STATUS_FAILED
    with pytest.raises(BenchError, match="run-1 came to status"):
        await host.waiting_run("run-1")


async def test_counters_are_the_servers_own(host: PerdureHost, scripted: ScriptedServer) -> None:
    counters = await host.counters()
    assert (counters.commits, counters.transactions) == (11, 3)
    assert await host.process_id() == 4711
    scripted.counters = {"commits": 11}
    with pytest.raises(BenchError, match="commit_batches"):
        await host.counters()


def test_chains_have_the_steps_that_are_counted() -> None:
    for spec in workflows()[:2]:
        order: list[str] = []
        node = spec.entry_node
        while node:
            order.append(node)
            node = spec.nodes[node].next
        assert order == [f"step-{n}" for n in range(STEPS_PER_RUN)]
        assert set(order) == set(spec.nodes)
