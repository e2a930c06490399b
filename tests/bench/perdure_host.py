"""The load driver's side of Perdure: a host that uses generated stubs only.

Ends of runs are learnt from one ledger subscription to terminal records, as a
host with many runs would; a start is one unary call.
"""

import asyncio
import json
import time
from collections.abc import Mapping

import grpc.aio

from perdure.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    common_pb2,
    ledger_service_pb2,
    ledger_service_pb2_grpc,
    model_pb2,
    records_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
    workflow_service_pb2,
    workflow_service_pb2_grpc,
)
from tests.bench.subject import STEPS_PER_RUN, BenchError, Counters, Legs

WORKER_CHAIN = "bench.worker-chain"
SERVER_CHAIN = "bench.server-chain"
WAITING = "bench.waiting"
EFFECT_TYPE = "bench.step"
"""What the bench's worker serves: it answers with a JSON string of 64 characters."""

_TERMINAL_KINDS = (
    records_pb2.RECORD_KIND_COMPLETED,
    records_pb2.RECORD_KIND_FAILED,
    records_pb2.RECORD_KIND_CANCELLED,
)


def workflows() -> list[model_pb2.WorkflowSpec]:
    """The three workflows of the bench."""
    step = {"type": EFFECT_TYPE, "payload": {"run": "${vars.run}", "note": "x" * 48}}
    own_step = {"type": "answer_user", "payload": {"message": "r" * 64}}
    ask = {"type": "ask_user", "payload": {"prompt": "Go on?"}}
    return [
        _chain(WORKER_CHAIN, step),
        _chain(SERVER_CHAIN, own_step),
        model_pb2.WorkflowSpec(
            workflow_id=WAITING,
            entry_node="ask",
            nodes={
                "ask": _effect_node(ask, result_key="answer", next_node="done"),
                "done": model_pb2.NodeSpec(kind=model_pb2.NODE_KIND_COMPLETE, template_json="{}"),
            },
        ),
    ]


def _chain(workflow_id: str, effect: Mapping[str, object]) -> model_pb2.WorkflowSpec:
    """`STEPS_PER_RUN` effect nodes, each storing its result; the last one ends the run."""
    last = STEPS_PER_RUN - 1
    return model_pb2.WorkflowSpec(
        workflow_id=workflow_id,
        entry_node="step-0",
        nodes={
            f"step-{n}": _effect_node(effect, f"results.s{n}", "" if n == last else f"step-{n + 1}")
            for n in range(STEPS_PER_RUN)
        },
    )


def _effect_node(effect: Mapping[str, object], result_key: str, next_node: str) -> model_pb2.NodeSpec:
    return model_pb2.NodeSpec(
        kind=model_pb2.NODE_KIND_EFFECT,
        template_json=json.dumps(effect),
        result_key=result_key,
        next=next_node,
        risk=common_pb2.EFFECT_RISK_IDEMPOTENT,
    )


class PerdureHost:
    """Starts runs on a server and learns how they end."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._runs = run_service_pb2_grpc.RunServiceStub(channel)
        self._ledger = ledger_service_pb2_grpc.LedgerServiceStub(channel)
        self._workflows = workflow_service_pb2_grpc.WorkflowServiceStub(channel)
        self._admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        self._open: dict[str, asyncio.Future[None]] = {}
        self._failure: BaseException | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Register the workflows and subscribe; returns once the subscription stands."""
        for spec in workflows():
            await self._workflows.RegisterWorkflow(workflow_service_pb2.RegisterWorkflowRequest(spec=spec))
        subscribed = asyncio.Event()
        self._watcher = asyncio.create_task(self._watch(subscribed))
        self._watcher.add_done_callback(self._watch_ended)
        waiter = asyncio.create_task(subscribed.wait())
        await asyncio.wait({waiter, self._watcher}, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if self._failure is not None:
            raise BenchError(f"the ledger subscription failed: {self._failure!r}")

    async def close(self) -> None:
        """End the subscription."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})

    async def process_id(self) -> int:
        """The server's process id."""
        return (await self._info()).process_id

    async def counters(self) -> Counters:
        """Commits and the store transactions that carried them."""
        counters = (await self._info()).counters
        missing = {"commits", "commit_batches"} - set(counters)
        if missing:
            raise BenchError(f"GetServerInfo has no counters {sorted(missing)}, only {sorted(counters)}")
        return Counters(commits=counters["commits"], transactions=counters["commit_batches"])

    async def run_to_end(self, workflow_id: str, run_id: str) -> None:
        """Start a run, wait for its terminal record.

        Raises:
            BenchError: it did not complete, or the subscription ended.
        """
        ended = self._expect(run_id)
        await self._runs.StartRun(_start(workflow_id, run_id))
        await ended

    async def waiting_run(self, run_id: str) -> Legs:
        """Start a run that waits, resume it; each leg ends when the run's new status is known to be durable.

        The reply to a call tells the status as of its commit; when that commit did not
        yet bring the run there, WaitRun is part of the leg.
        """
        begun = time.perf_counter()
        started = await self._runs.StartRun(_start(WAITING, run_id))
        if started.status != common_pb2.RUN_STATUS_WAITING:
            await self._wait(run_id, run_service_pb2.WAIT_RUN_UNTIL_SETTLED, common_pb2.RUN_STATUS_WAITING)
        waiting = time.perf_counter()
        resumed = await self._runs.ResumeRun(
            run_service_pb2.ResumeRunRequest(
                run_id=run_id, request_id=f"{run_id}/resume", any_wait=True, payload_json='"yes"'
            )
        )
        if resumed.status != common_pb2.RUN_STATUS_COMPLETED:
            await self._wait(run_id, run_service_pb2.WAIT_RUN_UNTIL_ENDED, common_pb2.RUN_STATUS_COMPLETED)
        return Legs(start_s=waiting - begun, resume_s=time.perf_counter() - waiting)

    async def _info(self) -> admin_service_pb2.GetServerInfoResponse:
        return await self._admin.GetServerInfo(admin_service_pb2.GetServerInfoRequest())

    async def _wait(
        self,
        run_id: str,
        until: run_service_pb2.WaitRunUntil.ValueType,
        expected: common_pb2.RunStatus.ValueType,
    ) -> None:
        reply = await self._runs.WaitRun(
            run_service_pb2.WaitRunRequest(run_id=run_id, until=until, view=run_service_pb2.RUN_VIEW_BASIC)
        )
        if reply.run.status != expected:
            raise BenchError(f"run {run_id} came to status {reply.run.status}, not {expected}")

    def _expect(self, run_id: str) -> asyncio.Future[None]:
        if self._failure is not None:
            raise BenchError(f"the ledger subscription ended: {self._failure!r}")
        self._open[run_id] = asyncio.get_running_loop().create_future()
        return self._open[run_id]

    async def _watch(self, subscribed: asyncio.Event) -> None:
        call = self._ledger.SubscribeLedger(
            ledger_service_pb2.SubscribeLedgerRequest(
                scope=ledger_service_pb2.LedgerScope(all=True),
                filter=ledger_service_pb2.LedgerFilter(kinds=_TERMINAL_KINDS),
                now=True,
            )
        )
        try:
            async for response in call:
                if response.HasField("subscribed"):
                    subscribed.set()
                for entry in response.batch.entries:
                    self._take(entry.record)
        finally:
            call.cancel()
        raise BenchError("the server ended the subscription")

    def _take(self, record: records_pb2.StepRecord) -> None:
        ended = self._open.pop(record.run_id, None)
        if ended is None:
            return  # a W2 run: nobody waits for its record
        if record.kind == records_pb2.RECORD_KIND_COMPLETED:
            ended.set_result(None)
        else:
            ended.set_exception(BenchError(f"run {record.run_id} ended with record kind {record.kind}"))

    def _watch_ended(self, watcher: asyncio.Task[None]) -> None:
        if watcher.cancelled():
            return
        self._failure = watcher.exception()
        for ended in self._open.values():
            if not ended.done():
                ended.set_exception(BenchError(f"the ledger subscription ended: {self._failure!r}"))
        self._open.clear()


def _start(workflow_id: str, run_id: str) -> run_service_pb2.StartRunRequest:
    return run_service_pb2.StartRunRequest(
        run_id=run_id,
        request_id=run_id,
        workflow_id=workflow_id,
        vars_json=json.dumps({"run": run_id, "customer": run_id[-4:], "note": "x" * 48}),
    )
