"""Requests of LedgerService to the ledger's commands."""

from __future__ import annotations

from perdure.v1 import ledger_service_pb2 as pb
from perdure_server.api.fields import Check
from perdure_server.kernel.bounds import CURSOR_BYTES, MAX_FILTER_VALUES, MAX_INT64, MIN_CHECKPOINT_US
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.kernel.records import RecordKind, StepStatus
from perdure_server.ledger.pages import ListRecordsCommand
from perdure_server.ledger.reads import AfterCursor, AfterSeq, Beginning, Now, Start
from perdure_server.ledger.selection import ScopeKind, Selection, View
from perdure_server.ledger.subscription import SubscribeCommand
from perdure_server.storage.port import RunKey

MAX_INT32 = 2**31 - 1

_SCOPES = {
    "run_id": ScopeKind.RUN,
    "root_run_id": ScopeKind.TREE,
    "session_id": ScopeKind.SESSION,
    "workflow_id": ScopeKind.WORKFLOW,
    "all": ScopeKind.ALL,
}


def list_records_command(request: pb.ListRecordsRequest, limits: Limits) -> ListRecordsCommand:
    """Raises: EdgeError."""
    check = Check(limits)
    selection = _selection(check, request.namespace, request.scope, request.filter)
    after_seq = _after_seq(check, request.after_seq, selection)
    if after_seq and request.page_token:
        check.refuse("after_seq", "must not be set together with page_token")
    command = ListRecordsCommand(
        selection=selection,
        view=check.choice("", "view", request.view, View, View.RECORD),
        page_size=check.page_size(request.page_size),
        page_token=check.text("", "page_token", request.page_token, CURSOR_BYTES),
        after_seq=after_seq,
    )
    check.done()
    return command


def subscribe_command(request: pb.SubscribeLedgerRequest, limits: Limits) -> SubscribeCommand:
    """Raises: EdgeError."""
    check = Check(limits)
    selection = _selection(check, request.namespace, request.scope, request.filter)
    interval = check.span("", "checkpoint_interval", request, request.checkpoint_interval, default=limits.checkpoint_us)
    if not MIN_CHECKPOINT_US <= interval <= limits.checkpoint_us:
        check.refuse("checkpoint_interval", f"must be 1 s to {limits.checkpoint_us // SECOND_US} s")
    if request.stop_when_terminal and selection.scope is not ScopeKind.RUN:
        check.refuse("stop_when_terminal", "needs scope.run_id")
    max_bytes = check.integer("", "max_batch_bytes", request.max_batch_bytes, 1, MAX_INT32, limits.batch_bytes)
    command = SubscribeCommand(
        selection=selection,
        start=_start(check, request, selection),
        view=check.choice("", "view", request.view, View, View.RECORD),
        max_batch_records=check.integer(
            "", "max_batch_records", request.max_batch_records, 1, MAX_INT32, limits.batch_records
        ),
        max_batch_bytes=min(max_bytes, limits.batch_bytes),
        checkpoint_interval_us=interval,
        stop_when_caught_up=request.stop_when_caught_up,
        stop_when_terminal=request.stop_when_terminal,
    )
    check.done()
    return command


def verify_run_key(request: pb.VerifyRunRequest, limits: Limits) -> RunKey:
    """Raises: EdgeError."""
    check = Check(limits)
    key = RunKey(check.namespace("", request.namespace), check.id("", "run_id", request.run_id))
    check.done()
    return key


def _selection(check: Check, namespace: str, scope: pb.LedgerScope, conditions: pb.LedgerFilter) -> Selection:
    name = check.one_of("scope.", scope, "scope") or "all"
    scope_id = ""
    if name == "all":
        if scope.HasField("all") and not scope.all:
            check.refuse("scope.all", "must be true")
    else:
        scope_id = check.id("scope.", name, getattr(scope, name))
    return Selection.of(
        check.namespace("", namespace),
        _SCOPES[name],
        scope_id,
        kinds=check.choices("filter.", "kinds", conditions.kinds, RecordKind),
        statuses=_statuses(check, conditions),
        node_ids=check.ids("filter.", "node_ids", conditions.node_ids, MAX_FILTER_VALUES),
    )


def _statuses(check: Check, conditions: pb.LedgerFilter) -> tuple[StepStatus, ...]:
    for index, number in enumerate(conditions.statuses):
        if number == StepStatus.NONE:
            check.refuse(f"filter.statuses[{index}]", "must be specified")
    return check.choices("filter.", "statuses", conditions.statuses, StepStatus)


def _start(check: Check, request: pb.SubscribeLedgerRequest, selection: Selection) -> Start:
    name = check.one_of("", request, "start")
    if name in {"beginning", "now"} and not getattr(request, name):
        check.refuse(name, "must be true")
    match name:
        case "after_cursor":
            return AfterCursor(check.text("", "after_cursor", request.after_cursor, CURSOR_BYTES, required=True))
        case "after_seq":
            return AfterSeq(_after_seq(check, request.after_seq, selection))
        case "now":
            return Now()
        case _:
            return Beginning()


def _after_seq(check: Check, value: int, selection: Selection) -> int:
    """A seq of the run asked for; 0 is before its first record."""
    if value and selection.scope is not ScopeKind.RUN:
        check.refuse("after_seq", "needs scope.run_id")
    return check.integer("", "after_seq", value, 0, MAX_INT64)
