"""Every field of the ledger's requests: what is refused names its field, what is left out takes its default."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from perdure.v1 import ledger_service_pb2 as pb
from perdure.v1 import records_pb2
from perdure_server.api.ledger_validation import list_records_command, subscribe_command, verify_run_key
from perdure_server.api.problems import EdgeError
from perdure_server.kernel.limits import DEFAULT_LIMITS, KIB, SECOND_US
from perdure_server.ledger.reads import AfterCursor, AfterSeq, Beginning, Now
from perdure_server.ledger.selection import ScopeKind, Selection, View
from perdure_server.storage.port import RunKey

RUN = pb.LedgerScope(run_id="r")
ALL = pb.LedgerScope(all=True)
UNKNOWN_KIND = records_pb2.RecordKind.ValueType(99)
UNKNOWN_VIEW = pb.RecordView.ValueType(7)


def subscribe(**fields: Any) -> pb.SubscribeLedgerRequest:
    """A request that is right but for these fields."""
    values: dict[str, Any] = {"scope": RUN, **fields}
    if not fields.keys() & {"now", "after_cursor", "after_seq", "beginning"}:
        values["beginning"] = True
    return pb.SubscribeLedgerRequest(**values)


def test_what_is_left_out_takes_its_default() -> None:
    command = subscribe_command(subscribe(), DEFAULT_LIMITS)
    assert command.selection == Selection.of("default", ScopeKind.RUN, "r")
    assert command.start == Beginning()
    assert command.view is View.RECORD
    assert (command.max_batch_records, command.max_batch_bytes) == (512, 256 * KIB)
    assert command.checkpoint_interval_us == 15 * SECOND_US
    assert not command.stop_when_caught_up
    assert not command.stop_when_terminal


def test_what_is_given_is_taken() -> None:
    filtered = pb.LedgerFilter(
        kinds=[records_pb2.RECORD_KIND_WAITING, records_pb2.RECORD_KIND_WAITING],
        statuses=[records_pb2.STEP_STATUS_FAILED],
        node_ids=["n"],
    )
    request = subscribe(
        namespace="ns",
        filter=filtered,
        view=pb.RECORD_VIEW_RECORD_BYTES,
        after_seq=4,
        max_batch_records=1,
        max_batch_bytes=10**6,
        checkpoint_interval=Duration(seconds=1),
        stop_when_caught_up=True,
        stop_when_terminal=True,
    )
    command = subscribe_command(request, DEFAULT_LIMITS)
    assert command.selection == Selection("ns", ScopeKind.RUN, "r", (6,), (4,), ("n",))
    assert command.start == AfterSeq(4)
    assert command.view is View.RECORD_BYTES
    assert (command.max_batch_records, command.max_batch_bytes) == (1, 256 * KIB)
    assert command.checkpoint_interval_us == SECOND_US
    assert command.stop_when_caught_up
    assert command.stop_when_terminal


@pytest.mark.parametrize(
    ("scope", "kind", "scope_id"),
    [
        (RUN, ScopeKind.RUN, "r"),
        (pb.LedgerScope(root_run_id="t"), ScopeKind.TREE, "t"),
        (pb.LedgerScope(session_id="s"), ScopeKind.SESSION, "s"),
        (pb.LedgerScope(workflow_id="w"), ScopeKind.WORKFLOW, "w"),
        (ALL, ScopeKind.ALL, ""),
    ],
)
def test_every_scope_is_known(scope: pb.LedgerScope, kind: ScopeKind, scope_id: str) -> None:
    selection = subscribe_command(subscribe(scope=scope), DEFAULT_LIMITS).selection
    assert (selection.scope, selection.scope_id) == (kind, scope_id)


def test_every_start_is_known() -> None:
    assert subscribe_command(subscribe(now=True), DEFAULT_LIMITS).start == Now()
    assert subscribe_command(subscribe(after_seq=0), DEFAULT_LIMITS).start == AfterSeq(0)
    assert subscribe_command(subscribe(after_cursor="c"), DEFAULT_LIMITS).start == AfterCursor("c")


WRONG_SUBSCRIPTIONS: dict[str, tuple[pb.SubscribeLedgerRequest, str]] = {
    "no scope": (pb.SubscribeLedgerRequest(beginning=True), "scope.scope"),
    "empty scope": (subscribe(scope=pb.LedgerScope()), "scope.scope"),
    "empty run id": (subscribe(scope=pb.LedgerScope(run_id="")), "scope.run_id"),
    "run id too long": (subscribe(scope=pb.LedgerScope(run_id="r" * 129)), "scope.run_id"),
    "session id no id": (subscribe(scope=pb.LedgerScope(session_id="a b")), "scope.session_id"),
    "all false": (subscribe(scope=pb.LedgerScope(all=False)), "scope.all"),
    "namespace no id": (subscribe(namespace="a/b"), "namespace"),
    "unknown kind": (subscribe(filter=pb.LedgerFilter(kinds=[UNKNOWN_KIND])), "filter.kinds[0]"),
    "unspecified kind": (
        subscribe(filter=pb.LedgerFilter(kinds=[records_pb2.RECORD_KIND_UNSPECIFIED])),
        "filter.kinds[0]",
    ),
    "unspecified status": (
        subscribe(filter=pb.LedgerFilter(statuses=[records_pb2.STEP_STATUS_UNSPECIFIED])),
        "filter.statuses[0]",
    ),
    "empty node": (subscribe(filter=pb.LedgerFilter(node_ids=[""])), "filter.node_ids[0]"),
    "too many nodes": (subscribe(filter=pb.LedgerFilter(node_ids=["n"] * 101)), "filter.node_ids"),
    "no start": (pb.SubscribeLedgerRequest(scope=RUN), "start"),
    "beginning false": (subscribe(beginning=False), "beginning"),
    "now false": (subscribe(now=False), "now"),
    "empty cursor": (subscribe(after_cursor=""), "after_cursor"),
    "endless cursor": (subscribe(after_cursor="c" * 600), "after_cursor"),
    "seq of no run": (subscribe(scope=ALL, after_seq=1), "after_seq"),
    "negative seq": (subscribe(after_seq=-1), "after_seq"),
    "unknown view": (subscribe(view=UNKNOWN_VIEW), "view"),
    "negative records": (subscribe(max_batch_records=-1), "max_batch_records"),
    "negative bytes": (subscribe(max_batch_bytes=-1), "max_batch_bytes"),
    "interval too short": (
        subscribe(checkpoint_interval=Duration(nanos=999_999_000)),
        "checkpoint_interval",
    ),
    "interval too long": (subscribe(checkpoint_interval=Duration(seconds=16)), "checkpoint_interval"),
    "interval negative": (subscribe(checkpoint_interval=Duration(seconds=-1)), "checkpoint_interval"),
    "end of no run": (subscribe(scope=ALL, stop_when_terminal=True), "stop_when_terminal"),
}


@pytest.mark.parametrize("name", WRONG_SUBSCRIPTIONS)
def test_a_wrong_subscription_names_its_field(name: str) -> None:
    request, field = WRONG_SUBSCRIPTIONS[name]
    with pytest.raises(EdgeError) as caught:
        subscribe_command(request, DEFAULT_LIMITS)
    assert caught.value.reason == "INVALID_FIELD"
    assert field in [violation.field for violation in caught.value.violations]


def test_a_list_takes_its_defaults_and_bounds() -> None:
    command = list_records_command(pb.ListRecordsRequest(scope=ALL), DEFAULT_LIMITS)
    assert (command.page_size, command.page_token, command.after_seq) == (100, "", 0)
    lowered = list_records_command(pb.ListRecordsRequest(scope=ALL, page_size=10**9), DEFAULT_LIMITS)
    assert lowered.page_size == 1_000


WRONG_LISTS: dict[str, tuple[pb.ListRecordsRequest, str]] = {
    "no scope": (pb.ListRecordsRequest(), "scope.scope"),
    "negative page": (pb.ListRecordsRequest(scope=ALL, page_size=-1), "page_size"),
    "endless token": (pb.ListRecordsRequest(scope=ALL, page_token="t" * 600), "page_token"),
    "seq of no run": (pb.ListRecordsRequest(scope=ALL, after_seq=1), "after_seq"),
    "negative seq": (pb.ListRecordsRequest(scope=RUN, after_seq=-1), "after_seq"),
    "seq and token": (pb.ListRecordsRequest(scope=RUN, after_seq=1, page_token="t"), "after_seq"),
}


@pytest.mark.parametrize("name", WRONG_LISTS)
def test_a_wrong_list_names_its_field(name: str) -> None:
    request, field = WRONG_LISTS[name]
    with pytest.raises(EdgeError) as caught:
        list_records_command(request, DEFAULT_LIMITS)
    assert field in [violation.field for violation in caught.value.violations]


def test_a_run_to_verify_has_an_id() -> None:
    assert verify_run_key(pb.VerifyRunRequest(run_id="r"), DEFAULT_LIMITS) == RunKey("default", "r")
    with pytest.raises(EdgeError) as caught:
        verify_run_key(pb.VerifyRunRequest(), DEFAULT_LIMITS)
    assert [violation.field for violation in caught.value.violations] == ["run_id"]
