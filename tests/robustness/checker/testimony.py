"""What clients were told: every answer that a server gave, in the order in which it came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from google.protobuf.message import Message

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.ledger_service_pb2 import LedgerScope


@dataclass(frozen=True, slots=True)
class Answered:
    """A changing call and its reply."""

    request: Message
    reply: Message


@dataclass(frozen=True, slots=True)
class StreamedRecord:
    """A record that a subscription delivered. `chain` names the cursor chain that it belongs to."""

    chain: str
    run_id: str
    seq: int
    position: int
    record_hash: bytes


@dataclass(frozen=True, slots=True)
class AckedReport:
    """The answer to a worker's report of a task."""

    task: worker.Task
    report: worker.TaskReport
    status: worker.AckStatus.ValueType


@dataclass(frozen=True, slots=True)
class AckedBegin:
    """The answer to a worker's begin."""

    task: worker.Task
    status: worker.AckStatus.ValueType


@dataclass(frozen=True, slots=True)
class Executed:
    """What the world outside saw: an irreversible effect was executed."""

    idempotency_key: str


@dataclass(slots=True)
class Testimony:
    """All of it. Clients add to the lists as answers come.

    Args:
        scopes: what each cursor chain follows; everything, if it is not named here.
        is_final: every client has come to its end: each run has ended, each chain has been read to the last record.
    """

    __test__: ClassVar[bool] = False
    answered: list[Answered] = field(default_factory=list[Answered])
    streamed: list[StreamedRecord] = field(default_factory=list[StreamedRecord])
    reports: list[AckedReport] = field(default_factory=list[AckedReport])
    begins: list[AckedBegin] = field(default_factory=list[AckedBegin])
    executed: list[Executed] = field(default_factory=list[Executed])
    scopes: dict[str, LedgerScope] = field(default_factory=dict[str, LedgerScope])
    is_final: bool = False
