"""Changes of the state as JSON objects, both ways: what one line of the journal says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, cast

import orjson

from perdure_server.storage.journal import rows
from perdure_server.storage.journal.rows import Json
from perdure_server.storage.memory.constraints import unstorable
from perdure_server.storage.port import (
    NO_CHANGE,
    CatalogChange,
    Commit,
    MailRow,
    NewRecord,
    ObligationRows,
    RunCreate,
    RunKey,
    WaitRow,
)

COMMIT: Final = "commit"
CATALOG: Final = "catalog"
INSTALL: Final = "install"
TRIM: Final = "trim"


class UnstorableError(ValueError):
    """A Commit holds text or numbers that cannot be kept; the text says which."""


def encode_commit(commit: Commit, position: int) -> bytes:
    """The JSON of a Commit whose first record or event gets this position.

    Raises: UnstorableError.
    """
    line = write_commit(commit, position)
    try:
        # Strict: an integer beyond 53 bits is looked at, because orjson takes some that do not fit 64 with a sign.
        return orjson.dumps(line, option=orjson.OPT_STRICT_INTEGER)
    except orjson.JSONEncodeError as error:
        if problem := unstorable(commit):
            raise UnstorableError(problem) from error
    return orjson.dumps(line)


def write_commit(commit: Commit, position: int) -> Json:
    """A Commit as JSON."""
    line: Json = {"type": COMMIT, "time": _time(_instant(commit)), "position": position}
    line["namespace"] = commit.namespace
    if commit.key is not None and commit.head is not None:
        line["run_id"] = commit.key.run_id
        line["expected_seq"] = commit.expected_seq
        line["head"] = rows.write_head(commit.head)
        if commit.identity is not None:
            line["identity"] = rows.write_identity_change(commit.identity)
        line["records"] = [rows.write_record(record) for record in commit.records]
        if commit.keyframe is not None:
            line["keyframe"] = rows.text_of(commit.keyframe)
        if change := rows.write_change(commit.change):
            line["change"] = change
    if commit.new_runs:
        line["new_runs"] = [_write_new_run(new) for new in commit.new_runs]
    if commit.mail:
        line["mail"] = [rows.write_mail(mail) for mail in commit.mail]
    if commit.mail_consumed:
        line["mail_consumed"] = commit.mail_consumed
    if commit.events:
        line["events"] = [rows.write_event(event) for event in commit.events]
    if commit.schedule:
        line["schedule"] = rows.write_schedule_change(commit.schedule)
    if commit.request:
        line["request"] = rows.write_request(commit.request)
    return line


def read_commit(line: Json) -> Commit:
    """See `write_commit`."""
    namespace, get = line["namespace"], line.get
    run_id, keyframe, request, schedule = get("run_id"), get("keyframe"), get("request"), get("schedule")
    return Commit(
        namespace,
        key=None if run_id is None else RunKey(namespace, run_id),
        expected_seq=get("expected_seq", 0),
        head=rows.read_head(line["head"]) if run_id is not None else None,
        identity=rows.read_identity_change(line["identity"]) if "identity" in line else None,
        records=_read_records(get("records", ())),
        keyframe=None if keyframe is None else rows.bytes_of(keyframe),
        change=rows.read_change(line["change"]) if "change" in line else NO_CHANGE,
        new_runs=tuple(_read_new_run(namespace, row) for row in get("new_runs", ())),
        mail=tuple(MailRow(*row) for row in get("mail", ())),
        mail_consumed=tuple((kind, sender) for kind, sender in get("mail_consumed", ())),
        events=tuple(map(rows.read_event, get("events", ()))),
        request=rows.read_request(request) if request else None,
        schedule=rows.read_schedule_change(schedule) if schedule else None,
    )


def _instant(commit: Commit) -> int:
    if commit.head is not None:
        return commit.head.updated_at
    if commit.new_runs:
        return commit.new_runs[0].head.updated_at
    if commit.events:
        return commit.events[0].at
    return commit.request.at if commit.request else 0


def _time(instant: int) -> str:
    """An instant for people; empty if there is none (0), and beyond the calendar."""
    seconds, microseconds = divmod(instant, 1_000_000)
    second = _second(seconds) if instant else ""
    return f"{second}.{microseconds:06d}Z" if second else ""


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return ""


def _read_records(found: Sequence[Json]) -> tuple[NewRecord, ...]:
    """Records of the kept type at once (`State` takes both), because a start reads hundreds of thousands."""
    return cast("tuple[NewRecord, ...]", tuple(map(rows.read_record, found)))


def _write_new_run(new: RunCreate) -> Json:
    return {
        "identity": rows.write_identity(new.identity),
        "head": rows.write_head(new.head),
        "records": [rows.write_record(record) for record in new.records],
        "change": rows.write_change(new.change),
    }


def _read_new_run(namespace: str, row: Json) -> RunCreate:
    return RunCreate(
        rows.read_identity(namespace, row["identity"]),
        rows.read_head(row["head"]),
        _read_records(row["records"]),
        rows.read_change(row["change"]),
    )


def write_catalog(change: CatalogChange) -> Json:
    """A change of namespaces or workflows."""
    line: Json = {"type": CATALOG, "namespace": change.namespace}
    if change.create_namespace:
        line["create_namespace"] = change.create_namespace
    if change.put_workflow:
        line["put_workflow"] = rows.write_workflow(change.put_workflow)
        line["make_default"] = change.make_default
    if change.set_default:
        line["set_default"] = change.set_default
    if change.request:
        line["request"] = rows.write_request(change.request)
    return line


def read_catalog(line: Json) -> CatalogChange:
    """See `write_catalog`."""
    created, put, default, request = (
        line.get(name) for name in ("create_namespace", "put_workflow", "set_default", "request")
    )
    return CatalogChange(
        line["namespace"],
        create_namespace=(created[0], created[1], created[2]) if created else None,
        put_workflow=rows.read_workflow(put) if put else None,
        make_default=line.get("make_default", False),
        set_default=(default[0], default[1]) if default else None,
        request=rows.read_request(request) if request else None,
    )


def write_install(key: RunKey, expected_seq: int, held: ObligationRows, wait: WaitRow | None) -> Json:
    """A repair of a run's rows."""
    return {
        "type": INSTALL,
        "namespace": key.namespace,
        "run_id": key.run_id,
        "expected_seq": expected_seq,
        "task": rows.write_task(held.task) if held.task else None,
        "turn": held.turn,
        "timers": rows.write_timers(held.timers),
        "wait": rows.write_wait(wait) if wait else None,
        "slot": rows.write_slot(held.slot) if held.slot else None,
    }


def read_install(line: Json) -> tuple[RunKey, int, ObligationRows, WaitRow | None]:
    """See `write_install`."""
    task, wait, slot = line["task"], line["wait"], line["slot"]
    held = ObligationRows(
        rows.read_task(task) if task else None,
        line["turn"],
        rows.read_timers(line["timers"]),
        rows.read_slot(slot) if slot else None,
    )
    key = RunKey(line["namespace"], line["run_id"])
    return key, line["expected_seq"], held, rows.read_wait(wait) if wait else None


def write_trim(requests_before: int, events_before: int, events_per_key: int, limit: int) -> Json:
    """A trimming, by its bounds: what it takes away follows from them."""
    return {
        "type": TRIM,
        "requests_before": requests_before,
        "events_before": events_before,
        "events_per_key": events_per_key,
        "limit": limit,
    }


def read_trim(line: Json) -> tuple[int, int, int, int]:
    """See `write_trim`."""
    names = ("requests_before", "events_before", "events_per_key", "limit")
    bounds: list[Any] = [line[name] for name in names]
    return bounds[0], bounds[1], bounds[2], bounds[3]
