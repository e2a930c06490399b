"""LedgerService at the edge: decode, one call of the ledger, encode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc.aio import Server, ServicerContext

from perdure.v1 import common_pb2
from perdure.v1 import ledger_service_pb2 as pb
from perdure.v1.ledger_service_pb2_grpc import LedgerServiceServicer, add_LedgerServiceServicer_to_server
from perdure_server.api.codec.shapes import exact_span, instant
from perdure_server.api.ledger_validation import list_records_command, subscribe_command, verify_run_key
from perdure_server.kernel.limits import Limits
from perdure_server.ledger import messages as m
from perdure_server.ledger.service import Ledger
from perdure_server.ledger.wire import batch_response, page_response

Context: TypeAlias = ServicerContext[Any, Any]
CallerOf: TypeAlias = Callable[[Context], str]
RequireNamespace: TypeAlias = Callable[[str], Awaitable[None]]


class LedgerService:
    """Serves the ledger. Answers that hold records are bytes already: the server's response serializer
    lets bytes pass.

    Args:
        caller_of: who calls, for the limit of streams a caller.
        require_namespace: raises NamespaceNotFoundError. A namespace that is not there is an error, not an empty
            one: a subscription to a misspelt name would be silent for ever.
    """

    def __init__(
        self, ledger: Ledger, limits: Limits, caller_of: CallerOf, require_namespace: RequireNamespace
    ) -> None:
        self._ledger = ledger
        self._limits = limits
        self._caller_of = caller_of
        self._require_namespace = require_namespace

    async def ListRecords(self, request: pb.ListRecordsRequest, context: Context) -> bytes:
        """One page."""
        command = list_records_command(request, self._limits)
        await self._require_namespace(command.selection.namespace)
        page = await self._ledger.list_records(command)
        return page_response(page.frames, page.next_page_token, page.cursor)

    async def SubscribeLedger(self, request: pb.SubscribeLedgerRequest, context: Context) -> None:
        """Writes messages until the goodbye. A cancelled call ends here by CancelledError, never caught."""
        command = subscribe_command(request, self._limits)
        await self._require_namespace(command.selection.namespace)
        async with await self._ledger.subscribe(command, self._caller_of(context)) as subscription:
            while (message := await subscription.next()) is not None:
                with subscription.writing():
                    await context.write(encode_message(message))

    async def VerifyRun(self, request: pb.VerifyRunRequest, context: Context) -> pb.VerifyRunResponse:
        """Recomputes a run's chain."""
        key = verify_run_key(request, self._limits)
        await self._require_namespace(key.namespace)
        verified = await self._ledger.verify_run(key)
        report = verified.report
        return pb.VerifyRunResponse(
            intact=report.intact,
            seq=report.seq,
            head_hash=report.head_hash,
            first_bad_seq=report.first_bad_seq,
            problem=report.problem,
            status=common_pb2.RunStatus.ValueType(verified.status),
        )


def add_ledger_service(service: LedgerService, server: Server) -> None:
    """Registers it. The generated types know answers as messages only, and streams as generators only: a
    generator that is cut off in a write is closed by the garbage collector, a coroutine at once."""
    add_LedgerServiceServicer_to_server(cast(LedgerServiceServicer, service), server)


def encode_message(message: m.Message) -> bytes:
    """A message of a subscription as SubscribeLedgerResponse."""
    event, answer = message.event, pb.SubscribeLedgerResponse(cursor=message.cursor)
    match event:
        case m.Batch():
            return batch_response(message.cursor, event.frames)
        case m.Subscribed():
            answer.subscribed.subscription_id = event.subscription_id
            answer.subscribed.store_epoch = event.store_epoch
            answer.subscribed.max_batch_records = event.max_batch_records
            answer.subscribed.max_batch_bytes = event.max_batch_bytes
            answer.subscribed.checkpoint_interval.CopyFrom(_duration(event.checkpoint_interval_us))
        case m.Checkpoint():
            answer.checkpoint.server_time.CopyFrom(_timestamp(event.server_time))
        case m.CaughtUp():
            answer.caught_up.server_time.CopyFrom(_timestamp(event.server_time))
        case m.FellBehind():
            answer.fell_behind.server_time.CopyFrom(_timestamp(event.server_time))
        case m.Goodbye():
            answer.goodbye.reason = pb.Goodbye.Reason.ValueType(event.reason)
            if event.reconnect_delay_us:
                answer.goodbye.reconnect_delay.CopyFrom(_duration(event.reconnect_delay_us))
    return answer.SerializeToString()


def _duration(us: int) -> Duration:
    return Duration(**exact_span(us))


def _timestamp(at: int) -> Timestamp:
    return Timestamp(**(instant(at) or {}))
