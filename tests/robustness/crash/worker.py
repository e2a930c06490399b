"""The worker of the script: one stream from server to server, on generated stubs.

It outlives every server, as the outside world does: what it has executed, it remembers. What a task's payload says
in `do` is what it does with it:

    ok            reports the payload's `result`
    fail          reports a failure that is not retryable
    fail_once     reports a retryable failure the first time, then `ok`
    wait          reports that the effect waits for a job
    hang          reports nothing, and goes on to renew the lease
    late          reports once it is told that the lease is no longer its own
    forget        forgets the task and its stream, as a worker that crashed
    forget_once   the first time begins, then forgets; after that `ok`
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc.aio

from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.robustness.checker.testimony import AckedBegin, AckedReport, Testimony
from tests.robustness.crash.lives import Lives

Plan: TypeAlias = Callable[[dict[str, Any]], pb.NodeReport]
"""What a node wants, from its run's vars."""

WORKER_ID = "witness"
BEAT_S = 1.0
MAX_HELD = 100
TASKS_A_STREAM = 4
"""Where there are several servers: then it goes to the next one, with what it holds."""


@dataclass(slots=True)
class Held:
    """A task from its arrival until its report is acknowledged.

    Args:
        begins: the report waits for the answer to its begin.
        forgets: there will be no report.
        withheld: the report waits for the end of the lease.
    """

    task: pb.Task
    report: pb.TaskReport | None = None
    begins: bool = False
    forgets: bool = False
    withheld: bool = False


class StreamDropped(Exception):
    """The worker leaves its stream without a word."""


class WitnessWorker:
    """Executes the script's nodes and effects.

    Args:
        lives: the servers.
        testimony: gets every ack.
        plans: by workflow and node.

    Attributes:
        withholds: set once it has a task whose report it withholds.
    """

    def __init__(self, lives: Lives, testimony: Testimony, plans: Mapping[tuple[str, str], Plan]) -> None:
        self.withholds = asyncio.Event()
        self._lives = lives
        self._testimony = testimony
        self._plans = plans
        self._held: dict[bytes, Held] = {}
        self._executed: Counter[str] = Counter()
        self._epoch = 0
        self._received = 0
        self._writing = asyncio.Lock()

    async def work(self) -> None:
        """Serves for ever; ends by cancellation."""
        while True:
            life = await self._lives.current()
            call = WorkerServiceStub(life.channel).Work()
            beats = asyncio.create_task(self._beat(call))
            try:
                await self._serve(call)
            except StreamDropped:
                continue
            except grpc.aio.AioRpcError as failure:
                await life.has_ended(failure)
            except asyncio.InvalidStateError:
                # The stream ended between reading from it and writing to it.
                if not await life.is_over():
                    raise
            finally:
                beats.cancel()
                call.cancel()
                with suppress(asyncio.CancelledError):
                    await beats

    async def _serve(self, call: Any) -> None:
        self._epoch += 1
        self._received = 0
        await self._write(call, pb.WorkRequest(hello=self._hello(), credit=pb.Credit(limit=MAX_HELD)))
        async for response in call:
            request = pb.WorkRequest()
            if response.HasField("welcome"):
                self._forget_lost(response.welcome.held)
                self._tell_again(request)
            self._hear_acks(response)
            self._take(response.tasks, request)
            request.reports.extend(self._forget_lost(response.lease_updates))
            self._go_on_after_begins(response.begin_acks, request)
            if response.tasks:
                request.credit.limit = self._received + MAX_HELD
            if request.ByteSize():
                await self._write(call, request)
            if self._lives.replicas > 1 and self._received >= TASKS_A_STREAM:
                raise StreamDropped
        raise AssertionError("the worker's stream ended without an error")

    def _hello(self) -> pb.Hello:
        workflows = sorted({workflow_id for workflow_id, _ in self._plans})
        return pb.Hello(
            worker_id=WORKER_ID,
            stream_epoch=self._epoch,
            workflows=[pb.ServedWorkflow(workflow_id=workflow_id) for workflow_id in workflows],
            effect_types=["*"],
            held_task_tokens=list(self._held),
        )

    async def _beat(self, call: Any) -> None:
        """Renews leases, and pings."""
        never = asyncio.Event()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(never.wait(), BEAT_S)
            request = pb.WorkRequest(heartbeats=[pb.Heartbeat(task_token=token) for token in self._held])
            try:
                await self._write(call, request)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                # The stream has ended; whoever reads it is told why.
                return

    async def _write(self, call: Any, request: pb.WorkRequest) -> None:
        """A stream takes one message at a time."""
        async with self._writing:
            await call.write(request)

    # What comes.

    def _take(self, tasks: Sequence[pb.Task], request: pb.WorkRequest) -> None:
        self._received += len(tasks)
        for task in tasks:
            held = Held(task)
            self._held[task.task_token] = held
            if task.HasField("node"):
                plan = self._plans[task.run.workflow_id, task.node_id]
                held.report = pb.TaskReport(node=plan(json.loads(task.node.vars_json)))
            else:
                self._execute(held)
            if held.begins:
                request.begins.append(pb.Begin(task_token=task.task_token))
            elif held.forgets:
                self._drop(held)
            elif held.report is not None:
                held.report.task_token = task.task_token
                if not held.withheld:
                    request.reports.append(held.report)

    def _execute(self, held: Held) -> None:
        task = held.task
        payload = json.loads(task.effect.payload_json)
        order = payload["do"]
        first = not self._executed[task.idempotency_key]
        held.begins = task.effect.risk == common_pb2.EFFECT_RISK_IRREVERSIBLE
        if order == "late":
            held.withheld = True
            self.withholds.set()
        held.forgets = order == "forget" or (order == "forget_once" and first)
        if not held.forgets:
            held.report = _effect_report(order, payload, first=first)
            self._executed[task.idempotency_key] += 1

    def _go_on_after_begins(self, acks: Iterable[pb.Ack], request: pb.WorkRequest) -> None:
        for ack in acks:
            held = self._held.get(ack.task_token)
            if held is None:
                continue
            self._testimony.begins.append(AckedBegin(held.task, ack.status))
            if ack.status not in (pb.ACK_STATUS_ACCEPTED, pb.ACK_STATUS_DUPLICATE):
                del self._held[ack.task_token]
                continue
            held.begins = False
            if held.forgets:
                self._executed[held.task.idempotency_key] += 1
                self._drop(held)
            if held.report is not None:
                held.report.task_token = held.task.task_token
                request.reports.append(held.report)

    def _hear_acks(self, response: pb.WorkResponse) -> None:
        for ack in response.acks:
            held = self._held.pop(ack.task_token, None)
            if held is not None and held.report is not None:
                self._testimony.reports.append(AckedReport(held.task, held.report, ack.status))

    def _forget_lost(self, updates: Iterable[pb.LeaseUpdate]) -> list[pb.TaskReport]:
        """Forgets tasks that others have; one with a report keeps it until the server has answered that.

        Returns: reports that were withheld until now.
        """
        freed: list[pb.TaskReport] = []
        for update in updates:
            held = self._held.get(update.task_token)
            if held is None or update.state == pb.LEASE_STATE_HELD:
                continue
            if held.report is None:
                del self._held[update.task_token]
            elif held.withheld:
                held.withheld = False
                freed.append(held.report)
        return freed

    def _drop(self, held: Held) -> None:
        del self._held[held.task.task_token]
        raise StreamDropped

    def _tell_again(self, request: pb.WorkRequest) -> None:
        for token, held in self._held.items():
            if held.begins:
                request.begins.append(pb.Begin(task_token=token))
            elif held.report is not None and not held.withheld:
                request.reports.append(held.report)


def _effect_report(order: str, payload: dict[str, Any], *, first: bool) -> pb.TaskReport | None:
    outcome = model_pb2.EffectOutcome()
    match order:
        case "hang":
            return None
        case "fail" | "fail_once" if order == "fail" or first:
            failure = outcome.failed.failure
            failure.type, failure.message, failure.retryable = "REFUSED", "not this time", order == "fail_once"
            failure.details_json = '{"code":7}'
        case "wait":
            outcome.waiting.reason = common_pb2.WAIT_REASON_JOB
        case _:
            outcome.result_json = json.dumps(payload.get("result"))
    return pb.TaskReport(effect=outcome)
