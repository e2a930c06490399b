"""The host of the script: calls that are sent again, unchanged, until a server answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import grpc.aio

from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import model_pb2
from perdure.v1 import run_service_pb2 as runs
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceStub
from perdure.v1.records_pb2 import StepRecord
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.workflow_service_pb2 import RegisterWorkflowRequest
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.robustness.checker.testimony import Answered, StreamedRecord, Testimony
from tests.robustness.crash.lives import Lives

T = TypeVar("T")

CALL_TIMEOUT_S = 60.0
CHAIN = "everything"
"""Name of the one cursor chain that the host follows."""


class AstrayError(Exception):
    """A run is where the script does not lead it."""


class Host:
    """Calls RunService, and keeps what it is told.

    Args:
        lives: the servers.
        testimony: gets every answer to a changing call, and every record of the ledger's stream.
    """

    def __init__(self, lives: Lives, testimony: Testimony) -> None:
        self._lives = lives
        self._testimony = testimony
        self._cursor = ""
        self._position = 0
        self._kinds: set[tuple[str, int]] = set()
        self._told: dict[str, int] = {}
        """The seq of each run that the last answer named: no older state is wanted, whichever server is asked."""
        self._streamed = asyncio.Condition()

    @property
    def slowest_start_s(self) -> float:
        """How long there was no server while one started, at the longest so far."""
        return self._lives.slowest_start_s

    async def change(self, request: Any) -> Any:
        """Makes the changing call whose request this is, and keeps the answer."""
        reply = await self.ask(request)
        self._testimony.answered.append(Answered(request, reply))
        if "seq" in reply.DESCRIPTOR.fields_by_name:
            self._told[reply.run_id] = reply.seq
        return reply

    async def ask(self, request: Any) -> Any:
        """Makes the call whose request this is (its method has the request's name)."""
        method = type(request).__name__.removesuffix("Request")
        while True:
            life = await self._lives.current()
            channel = life.channel
            stub = (
                WorkflowServiceStub(channel)
                if isinstance(request, RegisterWorkflowRequest)
                else RunServiceStub(channel)
            )
            try:
                return await getattr(stub, method)(request, timeout=CALL_TIMEOUT_S)
            except grpc.aio.AioRpcError as failure:
                await life.has_ended(failure)

    async def until(self, run_id: str, is_there: Callable[[model_pb2.RunState], bool]) -> model_pb2.RunState:
        """The run, once it is where the script wants it."""
        request = runs.WaitRunRequest(run_id=run_id, min_seq=self._told.get(run_id, 0))
        request.wait.FromSeconds(30)
        while True:
            run: model_pb2.RunState = (await self.ask(request)).run
            self._told[run_id] = run.seq
            if is_there(run):
                return run
            if run.HasField("ended_at"):
                raise AstrayError(f"run {run_id} ended on the way:\n{run}")
            request.min_seq = run.seq + 1

    async def follow(self) -> None:
        """Follows the whole ledger, from server to server, after the last cursor; ends by cancellation."""
        while True:
            life = await self._lives.current()
            call = LedgerServiceStub(life.channel).SubscribeLedger(self._subscription())
            try:
                async for message in call:
                    await self._hear(message)
                raise AssertionError("the subscription ended without an error")
            except grpc.aio.AioRpcError as failure:
                await life.has_ended(failure)
            finally:
                call.cancel()

    async def heard(self, position: int) -> None:
        """Returns once the stream has delivered everything up to a position."""
        async with self._streamed:
            await self._streamed.wait_for(lambda: self._position >= position)

    async def streamed(self, run_id: str, kind: int) -> None:
        """Returns once the stream has delivered a record of this kind of a run."""
        async with self._streamed:
            await self._streamed.wait_for(lambda: (run_id, kind) in self._kinds)

    def _subscription(self) -> ledger.SubscribeLedgerRequest:
        request = ledger.SubscribeLedgerRequest(
            scope=ledger.LedgerScope(all=True), view=ledger.RECORD_VIEW_RECORD_BYTES
        )
        if self._cursor:
            request.after_cursor = self._cursor
        else:
            request.beginning = True
        return request

    async def _hear(self, message: ledger.SubscribeLedgerResponse) -> None:
        for entry in message.batch.entries:
            record = StepRecord.FromString(entry.record_bytes)
            told = StreamedRecord(CHAIN, record.run_id, record.seq, entry.position, entry.record_hash)
            self._testimony.streamed.append(told)
            self._position = entry.position
            self._kinds.add((record.run_id, record.kind))
        self._cursor = message.cursor
        async with self._streamed:
            self._streamed.notify_all()
