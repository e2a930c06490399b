"""What a client process was told, kept in a file as it is told: the process may be killed at any moment."""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import worker_service_pb2 as worker
from tests.robustness.checker.testimony import AckedBegin, AckedReport, Answered, Executed, StreamedRecord, Testimony


class Witness:
    """Writes one file, a line of JSON for each thing; a line is written before the client goes on.

    Args:
        path: the file; one of an earlier process is continued.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def answered(self, request: Message, reply: Message) -> None:
        """A call of RunService was answered."""
        self._write("answered", request.DESCRIPTOR.name, _text(request), reply.DESCRIPTOR.name, _text(reply))

    def streamed(self, record: StreamedRecord) -> None:
        """A subscription delivered a record."""
        hash_ = record.record_hash.hex()
        self._write("streamed", record.chain, record.run_id, record.seq, record.position, hash_)

    def reported(self, task: worker.Task, report: worker.TaskReport, status: int) -> None:
        """A report was acknowledged."""
        self._write("reported", _text(task), _text(report), status)

    def begun(self, task: worker.Task, status: int) -> None:
        """A begin was acknowledged."""
        self._write("begun", _text(task), status)

    def executed(self, idempotency_key: str) -> None:
        """An irreversible effect is about to be executed."""
        self._write("executed", idempotency_key)

    def _write(self, *line: object) -> None:
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")


def read_testimony(paths: Iterable[Path]) -> Testimony:
    """All that witnesses wrote. A line that its writer did not live to end is left out."""
    testimony = Testimony()
    for path in paths:
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    _take(json.loads(line), testimony)
    return testimony


def _take(line: list[Any], testimony: Testimony) -> None:
    match line:
        case ["answered", request_name, request, reply_name, reply]:
            asked = getattr(runs, request_name).FromString(b64decode(request))
            testimony.answered.append(Answered(asked, getattr(runs, reply_name).FromString(b64decode(reply))))
        case ["streamed", chain, run_id, seq, position, hash_]:
            testimony.streamed.append(StreamedRecord(chain, run_id, seq, position, bytes.fromhex(hash_)))
        case ["reported", task, report, status]:
            told = worker.TaskReport.FromString(b64decode(report))
            testimony.reports.append(AckedReport(worker.Task.FromString(b64decode(task)), told, status))
        case ["begun", task, status]:
            testimony.begins.append(AckedBegin(worker.Task.FromString(b64decode(task)), status))
        case ["executed", key]:
            testimony.executed.append(Executed(key))
        case _:
            raise ValueError(f"no witness writes {line}")


def _text(message: Message) -> str:
    return b64encode(message.SerializeToString()).decode()
