"""A channel that notes what passes over a worker's stream: which tasks came, what was reported, how it was answered.

The worker behind it is the SDK's own and knows nothing of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from perdure.v1 import worker_service_pb2 as pb
from tests.robustness.kill_loop.witness import Witness

SETTLED = (pb.ACK_STATUS_ACCEPTED, pb.ACK_STATUS_DUPLICATE, pb.ACK_STATUS_STALE)


class Notes:
    """What is known of the tasks of one worker process, over all its streams."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._tasks: dict[bytes, pb.Task] = {}
        self._reports: dict[bytes, pb.TaskReport] = {}

    def sent(self, request: pb.WorkRequest) -> None:
        """The worker writes this."""
        for report in request.reports:
            self._reports[report.task_token] = report

    def received(self, response: pb.WorkResponse) -> None:
        """The worker reads this."""
        for task in response.tasks:
            self._tasks[task.task_token] = task
        for ack in response.begin_acks:
            if ack.task_token in self._tasks:
                self._witness.begun(self._tasks[ack.task_token], ack.status)
        for ack in response.acks:
            task, report = self._tasks.get(ack.task_token), self._reports.pop(ack.task_token, None)
            if task is not None and report is not None:
                self._witness.reported(task, report, ack.status)
            if ack.status in SETTLED:
                self._tasks.pop(ack.task_token, None)


class TappedChannel:
    """A channel whose bidirectional calls are noted; everything else is the channel's own."""

    def __init__(self, channel: Any, notes: Notes) -> None:
        self._channel = channel
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """See grpc.aio.Channel."""
        make = self._channel.stream_stream(*arguments, **options)

        def call(**call_options: Any) -> _TappedCall:
            return _TappedCall(make(**call_options), self._notes)

        return call


class _TappedCall:
    def __init__(self, call: Any, notes: Notes) -> None:
        self._call = call
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def write(self, request: pb.WorkRequest) -> None:
        """See grpc.aio.StreamStreamCall."""
        self._notes.sent(request)
        await self._call.write(request)

    async def __aiter__(self) -> AsyncIterator[pb.WorkResponse]:
        async for response in self._call:
            self._notes.received(response)
            yield response
