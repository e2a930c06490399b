"""Rows of a ledger as the scenarios speak of them: effect, resume and terminal records, each as one line of text."""

from __future__ import annotations

from collections.abc import Iterable

from perdure import LedgerEntry
from perdure.v1 import records_pb2
from perdure.values import RunStatus, WaitReason

_EXTRA = {"run_started"}
"""Records that the original's ledger has no row for at all."""


def rows(entries: Iterable[LedgerEntry]) -> list[str]:
    """The lines of a run, without run_started and the records of nodes that went well (pure transitions).

    A record of an effect: "step_started started llm_call #1"; of a wait: "waiting waiting user"; of a node that
    failed: "step_completed failed"; of the run: "completed".
    """
    return [row(entry) for entry in entries if not _is_extra(entry)]


def row(entry: LedgerEntry) -> str:
    """Kind, status, subject and attempt of a record, as far as it has them."""
    status = "" if entry.status == "unspecified" else str(entry.status)
    attempt = f"#{entry.attempt}" if entry.attempt and not entry.kind.is_terminal else ""
    return " ".join(part for part in (str(entry.kind), status, _subject(entry.record), attempt) if part)


def _is_extra(entry: LedgerEntry) -> bool:
    if entry.kind in _EXTRA:
        return True
    record = entry.record
    if entry.kind == "step_started":
        return not record.step_started.effect_type
    return entry.kind == "step_completed" and not record.step_completed.effect_type and entry.status == "completed"


def _subject(record: records_pb2.StepRecord) -> str:
    body = record.WhichOneof("body")
    if body == "step_started":
        return record.step_started.effect_type
    if body == "step_begun":
        return record.step_begun.effect_type
    if body == "step_completed":
        return record.step_completed.effect_type
    if body == "waiting":
        return str(WaitReason.from_wire(record.waiting.reason))
    if body == "resumed":
        return records_pb2.Resumed.Cause.Name(record.resumed.cause).removeprefix("CAUSE_").lower()
    if body == "event_consumed":
        return record.event_consumed.name
    if body == "child_ended":
        return str(RunStatus.from_wire(record.child_ended.child_status))
    if body == "requeued":
        return records_pb2.Requeued.Cause.Name(record.requeued.cause).removeprefix("CAUSE_").lower()
    return ""
