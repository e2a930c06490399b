"""Small ledgers for tests of the checker."""

from __future__ import annotations

from typing import Any

from perdure.v1 import common_pb2
from perdure.v1 import records_pb2 as pb
from perdure.v1 import run_service_pb2 as runs
from tests.robustness.checker.examine import examine
from tests.robustness.checker.export import Export
from tests.robustness.checker.finding import kinds
from tests.robustness.checker.ledger_maker import NAMESPACE, LedgerMaker
from tests.robustness.checker.testimony import Testimony

STARTED = pb.RECORD_KIND_RUN_STARTED
NODE = pb.NodeEntry(node_id="next", visit=1)
EFFECT = pb.OpenEffect(type="act", result_key="r")
DONE, FAILED, WAITS = pb.STEP_STATUS_COMPLETED, pb.STEP_STATUS_FAILED, pb.STEP_STATUS_WAITING
NOW = 1_000_000_000
SESSION = (common_pb2.EVENT_SCOPE_SESSION, "s")


def of(*makers: LedgerMaker, **fields: Any) -> Export:
    """An export of these ledgers."""
    return Export(NAMESPACE, NOW, {maker.run_id: list(maker.entries) for maker in makers}, **fields)


def found(export: Export, testimony: Testimony | None = None) -> set[str]:
    """Kinds of findings."""
    return kinds(examine(export, testimony or Testimony()))


def acting(**result: Any) -> LedgerMaker:
    """A run that has executed an effect and completed."""
    maker = LedgerMaker("acting")
    maker.add(STARTED, entry=NODE, workflow_id="w", vars=b"{}")
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=1, attempt=1)
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=1, attempt=1, status=DONE, effect=EFFECT)
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=3, attempt=1)
    fields: dict[str, Any] = {"effect_type": "act", "result": b'"good"', **result}
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=3, attempt=1, status=DONE, **fields)
    return maker


def ended(maker: LedgerMaker) -> LedgerMaker:
    """The same, completed."""
    maker.add(pb.RECORD_KIND_COMPLETED, output=b"{}")
    return maker


def failing() -> LedgerMaker:
    """A run whose effect is executed and that has failed."""
    maker = acting()
    maker.add(pb.RECORD_KIND_FAILED)
    return maker


def retried(attempt: int = 2, **reopened: Any) -> LedgerMaker:
    """The same, opened again at its effect, which is executed again."""
    maker = failing()
    maker.add(pb.RECORD_KIND_REOPENED, **reopened)
    maker.add(pb.RECORD_KIND_STEP_STARTED, step_id=7, attempt=attempt)
    fields: dict[str, Any] = {"effect_type": "act", "result": b'"better"'}
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=7, attempt=attempt, status=DONE, **fields)
    return maker


def family(ends: int, *, child_ends: bool = True) -> Export:
    """A parent, told so often of the end of its child."""
    positions = [0]
    parent = LedgerMaker("parent", positions)
    parent.add(STARTED, entry=NODE, workflow_id="w")
    link = pb.ChildLink(run_id="child", awaited=True)
    parent.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=1, status=DONE, next=NODE, child=link)
    child = LedgerMaker("child", positions)
    child.add(STARTED, entry=NODE, workflow_id="w", parent_run_id="parent")
    if child_ends:
        child.add(pb.RECORD_KIND_COMPLETED, output=b"{}")
    for _ in range(ends):
        parent.add(pb.RECORD_KIND_CHILD_ENDED, child_run_id="child")
    return of(parent, child)


def waiting(**terms: Any) -> LedgerMaker:
    """A run that waits; the wait has id 3."""
    maker = LedgerMaker("waiting")
    maker.add(STARTED, entry=NODE, workflow_id="w", vars=b"{}")
    maker.add(pb.RECORD_KIND_STEP_COMPLETED, step_id=1, attempt=0, status=DONE, effect=EFFECT)
    maker.add(pb.RECORD_KIND_WAITING, step_id=2, status=WAITS, **terms)
    return maker


def event(position: int, name: str = "go", text: str = "{}") -> runs.Event:
    """An event of the session's log."""
    return runs.Event(event_id=f"e{position}", name=name, position=position, payload_json=text)


HEARS = {"event_name": "go", "event_scope": SESSION[0], "event_scope_id": SESSION[1]}


def consumed(maker: LedgerMaker, position: int, **fields: Any) -> LedgerMaker:
    """The same, after it has consumed an event."""
    what: dict[str, Any] = {"event_id": f"e{position}", "name": "go", "payload": b'{"payload":{}}', **fields}
    maker.add(pb.RECORD_KIND_EVENT_CONSUMED, step_id=2, status=DONE, wait_id=3, position=position, next=NODE, **what)
    return maker
