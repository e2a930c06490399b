"""What clients were told: every answer that a server gave, in the order in which it came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from google.protobuf.message import Message

from perdure.v1 import worker_service_pb2 as worker


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


@dataclass(slots=True)
class Testimony:
    """All of it. Clients add to the lists as answers come."""

    __test__: ClassVar[bool] = False
    answered: list[Answered] = field(default_factory=list[Answered])
    streamed: list[StreamedRecord] = field(default_factory=list[StreamedRecord])
    reports: list[AckedReport] = field(default_factory=list[AckedReport])
    begins: list[AckedBegin] = field(default_factory=list[AckedBegin])
