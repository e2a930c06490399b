"""Calls of RunService that are sent again, unchanged, until they are answered, and witnessed."""

from __future__ import annotations

from typing import Any

from perdure import Client
from perdure.errors import Aborted, CallCancelled, DeadlineExceeded, ResourceExhausted, Unavailable
from perdure.v1 import run_service_pb2 as runs
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from tests.robustness.kill_loop.witness import Witness

CALL_S = 20.0
LONG_POLL_S = 10.0
NOT_YET = (Unavailable, DeadlineExceeded, CallCancelled, Aborted, ResourceExhausted)
"""Nothing is known of what became of the call, or the server asks to come again."""


class Calls:
    """Makes them.

    Args:
        client: of the namespace.
        witness: gets the answers to changing calls.
    """

    def __init__(self, client: Client, witness: Witness) -> None:
        self._connection = client.connection
        self._stub = RunServiceStub(client.connection.channel)
        self._witness = witness

    async def change(self, request: Any) -> Any:
        """A changing call (its method has the request's name). Raises: PerdureError for a refusal."""
        reply = await self.ask(request)
        self._witness.answered(request, reply)
        return reply

    async def ask(self, request: Any) -> Any:
        """Any call. Raises: PerdureError for a refusal."""
        request.namespace = self._connection.namespace
        method = getattr(self._stub, type(request).__name__.removesuffix("Request"))
        while True:
            try:
                return await self._connection.unary(method, request, timeout=CALL_S)
            except NOT_YET:
                continue

    async def until_waiting(self, run_id: str, node_id: str) -> Any:
        """The run, once it waits at a node."""
        request = runs.WaitRunRequest(run_id=run_id)
        request.wait.FromSeconds(round(LONG_POLL_S))
        while True:
            run = (await self.ask(request)).run
            if run.waiting.node_id == node_id or run.HasField("ended_at"):
                return run
            request.min_seq = run.seq + 1

    async def until_ended(self, run_id: str) -> None:
        """Returns once the run has ended."""
        request = runs.WaitRunRequest(run_id=run_id, until=runs.WAIT_RUN_UNTIL_ENDED, view=runs.RUN_VIEW_BASIC)
        request.wait.FromSeconds(round(LONG_POLL_S))
        while not (await self.ask(request)).reached:
            pass
