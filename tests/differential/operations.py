"""What callers, workers, time and bad luck do: each operation is a kind and a seed, and becomes a call (or a jump of
the clock, or a crash) when its turn comes, from what is known then."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import common_pb2, model_pb2, records_pb2
from perdure.v1 import ledger_service_pb2 as ledger
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import workflow_service_pb2 as workflows
from tests.differential import worker_calls
from tests.differential.knowledge import Draw, Knowledge
from tests.differential.workflows import EVENT_NAMES, SESSIONS

SECOND_US: Final = 1_000_000
MOST_OPEN: Final = 40


@dataclass(frozen=True)
class Operation:
    """A kind and a seed."""

    kind: str
    seed: int


@dataclass(frozen=True)
class Call:
    """A call. `passes` of the event loop after it the server dies; -1: it does not."""

    method: str
    request: Message
    passes: int = -1


@dataclass(frozen=True)
class Pass:
    """Time goes on."""

    delta_us: int


@dataclass(frozen=True)
class Crash:
    """The server dies while nothing happens."""


Act = Call | Pass | Crash
Make = Callable[[Draw, Knowledge, int], Act]
"""(choices, what is known, now in microseconds) -> what is done."""


def stream(seed: int, count: int) -> list[Operation]:
    """So many operations."""
    chance = random.Random(seed)
    kinds = chance.choices(list(_KINDS), [weight for weight, _ in _KINDS.values()], k=count)
    return [Operation(kind, chance.getrandbits(40)) for kind in kinds]


def act_of(operation: Operation, known: Knowledge, now: int) -> Act:
    """What an operation does now."""
    return _KINDS[operation.kind][1](Draw(operation.seed), known, now)


def _call(method: str, request: Message) -> Call:
    return Call(method, request)


def _request_id(draw: Draw) -> str:
    return f"q{draw.getrandbits(40)}" if draw.one_in(2) else ""


def _at(now: int, seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(now + round(seconds * SECOND_US))
    return stamp


def _span(seconds: float) -> Duration:
    span = Duration()
    span.FromMicroseconds(round(seconds * SECOND_US))
    return span


def _payload(draw: Draw) -> str:
    return json.dumps(draw.some({}, {"n": draw.randrange(5)}, "text é", [1, 2], {"good": True}, None))


# --- runs --------------------------------------------------------------------------------------------------------


def _start_request(draw: Draw, known: Knowledge, now: int) -> runs.StartRunRequest:
    workflow_id = draw.some(*known.specs)
    request = runs.StartRunRequest(
        namespace="default",
        request_id=_request_id(draw),
        run_id="" if draw.one_in(6) else f"r{draw.getrandbits(32):08x}",
        workflow_id=workflow_id,
        workflow_version=draw.of(known.versions.get(workflow_id, [])) or "" if draw.one_in(3) else "",
        vars_json=json.dumps({"n": draw.randrange(3), "list": [], "text": "x" * draw.randrange(200)}),
        session_id=draw.some("", *SESSIONS),
        actor_id=draw.some("", "ann"),
        labels=draw.some({}, {"team": "a"}, {"team": "b", "é": "ß"}),
        drive=common_pb2.DRIVE_MODE_MANUAL if draw.one_in(4) else common_pb2.DRIVE_MODE_UNSPECIFIED,
    )
    if draw.one_in(10):
        request.start_at.CopyFrom(_at(now, draw.some(-5, 0.5, 20)))
    if draw.one_in(10):
        request.deadline.CopyFrom(_at(now, draw.some(1, 30, 300)))
    if draw.one_in(20):
        request.entry_node = draw.some("end", "nowhere", "ask")
    return request


def _start(draw: Draw, known: Knowledge, now: int) -> Act:
    return _call("StartRun", _start_request(draw, known, now))


def _start_keyed(draw: Draw, known: Knowledge, now: int) -> Act:
    request = _start_request(draw, known, now)
    request.concurrency.key = draw.some("k1", "k2")
    request.concurrency.limit = draw.some(1, 2)
    request.concurrency.on_limit = draw.some(1, 1, 1, 2, 3)
    return _call("StartRun", request)


def _start_with_event(draw: Draw, known: Knowledge, now: int) -> Act:
    request = _start_request(draw, known, now)
    request.workflow_id = draw.some("watches", "hears", "steps")
    request.workflow_version = ""
    request.run_id = known.run(draw).run_id if draw.one_in(2) else request.run_id or "with-event"
    request.event.name = draw.some(*EVENT_NAMES)
    request.event.payload_json = _payload(draw)
    request.event.event_id = draw.some("", "e1", "e2")
    return _call("StartRun", request)


def _start_again(draw: Draw, known: Knowledge, now: int) -> Act:
    request = _start_request(draw, known, now)
    request.run_id = known.run(draw).run_id
    request.on_existing = draw.some(0, 1, 2)
    return _call("StartRun", request)


def _named(draw: Draw, run: model_pb2.RunState) -> dict[str, Any]:
    return {"namespace": run.namespace, "run_id": run.run_id, "request_id": _request_id(draw)}


def _tick(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw, lambda run: run.drive == common_pb2.DRIVE_MODE_MANUAL and not run.ended_at.seconds)
    request = runs.TickRunRequest(**_named(draw, run), max_steps=draw.some(1, 1, 2, 5))
    request.wait.CopyFrom(_span(draw.some(0, 0.1, 1)))
    return _call("TickRun", request)


def _resume(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw, lambda run: run.waiting.reason in (1, 3, 4))
    request = runs.ResumeRunRequest(**_named(draw, run), payload_json=_payload(draw), resumed_by="ann")
    request.payload_json = draw.some(request.payload_json, '"yes"', '{"answer":"no"}')
    if draw.one_in(3):
        request.any_wait = True
    else:
        request.wait_id = run.waiting.wait_id - draw.one_in(10)
    if draw.one_in(5):
        request.wait_key = draw.some(run.waiting.wait_key, "other")
    return _call("ResumeRun", request)


def _cancel(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw, lambda run: not run.HasField("ended_at"))
    return _call("CancelRun", runs.CancelRunRequest(**_named(draw, run), reason="enough", cancelled_by="ann"))


def _give_up(draw: Draw, known: Knowledge, now: int) -> Act:
    """Cancels the oldest run, if there are many: a server looks at all that are open when it starts."""
    if len(known.open) <= MOST_OPEN:
        return Pass(0)
    key = next(iter(known.open))
    return _call("CancelRun", runs.CancelRunRequest(namespace=key.namespace, run_id=key.run_id))


def _pause(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw, lambda run: not run.paused and not run.HasField("ended_at"))
    return _call("PauseRun", runs.PauseRunRequest(**_named(draw, run), reason=draw.some("", "lunch")))


def _unpause(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw, lambda run: run.paused)
    return _call("UnpauseRun", runs.UnpauseRunRequest(**_named(draw, run)))


def _resolve(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw, lambda run: run.activity == common_pb2.RUN_ACTIVITY_PARKED)
    request = runs.ResolveStepRequest(**_named(draw, run), step_id=run.step.step_id or 1, resolved_by="ann")
    way = draw.randrange(4)
    if way == 0:
        request.rerun.SetInParent()
    elif way == 1 and run.step.effect_type:
        request.completed.result_json = _payload(draw)
    elif way == 1:
        request.completed.plan.complete_output_json = "{}"
    elif way == 2:
        request.failed.CopyFrom(common_pb2.Failure(type="GivenUp", message="by ann"))
    else:
        request.completed.result_json = "7"
    return _call("ResolveStep", request)


def _retry(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw, lambda run: run.status == common_pb2.RUN_STATUS_FAILED)
    request = runs.RetryRunRequest(**_named(draw, run), from_node=draw.one_in(2), pause=draw.one_in(5))
    if draw.one_in(2):
        request.vars_ops.add(path="/good", set_json="true")
    if draw.one_in(4) or run.HasField("deadline"):
        request.deadline.CopyFrom(_at(now, 500))
    return _call("RetryRun", request)


def _retry_many(draw: Draw, known: Knowledge, now: int) -> Act:
    request = runs.RetryRunsRequest(namespace="default", request_id=_request_id(draw), page_size=draw.some(1, 3))
    request.filter.workflow_id = draw.some("", *known.specs)
    request.dry_run = draw.one_in(3)
    return _call("RetryRuns", request)


def _migrate(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw, lambda run: len(known.specs.get(run.workflow_id, ())) > 1 and not run.HasField("ended_at"))
    version = draw.of([each for each in known.versions.get(run.workflow_id, []) if each != run.workflow_version])
    request = runs.MigrateRunRequest(**_named(draw, run), workflow_version=version or "0" * 64)
    request.dry_run = draw.one_in(4)
    if run.workflow_id == "asks" and not draw.one_in(3):
        request.node_map.update({"confirm": "check"} if draw.one_in(2) else {"check": "confirm"})
    return _call("MigrateRun", request)


def _emit(draw: Draw, known: Knowledge, now: int) -> Act:
    scope = draw.some(1, 1, 2, 3, 4)
    scope_id = {1: draw.some(*SESSIONS), 2: draw.some("watches", "hears"), 3: known.run(draw, _hears).run_id, 4: ""}
    request = runs.EmitEventRequest(
        namespace=draw.of(known.namespaces) or "default",
        request_id=_request_id(draw),
        scope=scope,
        scope_id=scope_id[scope],
        name=draw.some(*EVENT_NAMES),
        payload_json=_payload(draw),
        event_id=draw.some("", "", "e1", "e2", "e3"),
        emitted_by=draw.some("", "ann"),
    )
    known.scopes[request.namespace, scope, scope_id[scope]] = None
    return _call("EmitEvent", request)


def _hears(run: model_pb2.RunState) -> bool:
    return bool(run.waiting.event_name)


def _filter(draw: Draw, known: Knowledge, now: int) -> runs.RunFilter:
    some = runs.RunFilter()
    way = draw.randrange(11)
    if way == 0:
        some.statuses.extend(draw.sample(common_pb2.RunStatus.values()[1:], 2))
    elif way == 1:
        some.activities.extend(draw.sample(common_pb2.RunActivity.values()[1:], 2))
    elif way == 2:
        some.workflow_id = draw.some(*known.specs)
    elif way == 3:
        some.session_id = draw.some(*SESSIONS)
    elif way == 4:
        some.root_run_id = known.run(draw).root_run_id
    elif way == 5:
        some.parent_run_id = known.run(draw, lambda run: bool(run.children)).run_id
    elif way == 6:
        some.labels["team"] = draw.some("a", "b")
    elif way == 7:
        some.wait_reason = draw.some(1, 2, 3, 6)
    elif way == 8:
        some.paused_only, some.roots_only = True, draw.one_in(2)
    elif way == 9:
        some.created_from.CopyFrom(_at(now, -draw.some(10, 100)))
        some.ended_before.CopyFrom(_at(now, -1))
    return some


def _get_run(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw)
    return _call("GetRun", runs.GetRunRequest(namespace=run.namespace, run_id=run.run_id, view=draw.some(0, 1, 2)))


def _wait_run(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw)
    request = runs.WaitRunRequest(namespace=run.namespace, run_id=run.run_id, until=draw.some(0, 1, 2))
    request.min_seq = run.seq + draw.some(0, 0, 1)
    request.wait.CopyFrom(_span(draw.some(0, 0.2, 2)))
    return _call("WaitRun", request)


def _list_runs(draw: Draw, known: Knowledge, now: int) -> Act:
    request = runs.ListRunsRequest(namespace="default", page_size=draw.some(0, 1, 7))
    request.filter.CopyFrom(_filter(draw, known, now))
    return _call("ListRuns", request)


def _count_runs(draw: Draw, known: Knowledge, now: int) -> Act:
    return _call("CountRuns", runs.CountRunsRequest(namespace="default", filter=_filter(draw, known, now)))


def _list_waits(draw: Draw, known: Knowledge, now: int) -> Act:
    request = runs.ListWaitsRequest(namespace="default", page_size=draw.some(0, 2))
    way = draw.randrange(5)
    if way == 0:
        request.reasons.extend((common_pb2.WAIT_REASON_EVENT, common_pb2.WAIT_REASON_USER))
    elif way == 1:
        request.assignee = draw.some("ann", "bob")
    elif way == 2:
        request.session_id = draw.some(*SESSIONS)
    elif way == 3:
        request.workflow_id = draw.some(*known.specs)
    return _call("ListWaits", request)


def _list_events(draw: Draw, known: Knowledge, now: int) -> Act:
    namespace, scope, scope_id = draw.of(known.scopes) or ("default", 4, "")
    request = runs.ListEventsRequest(namespace=namespace, scope=common_pb2.EventScope.ValueType(scope))
    request.scope_id = scope_id
    request.name, request.page_size = draw.some("", *EVENT_NAMES), draw.some(0, 1, 10)
    return _call("ListEvents", request)


# --- the ledger ----------------------------------------------------------------------------------------------------


def _list_records(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw)
    request = ledger.ListRecordsRequest(namespace="default", view=draw.some(1, 2), page_size=draw.some(0, 1, 20))
    way = draw.randrange(5)
    if way == 0:
        request.scope.run_id, request.after_seq = run.run_id, draw.some(0, 2)
    elif way == 1:
        request.scope.root_run_id = run.root_run_id or run.run_id
    elif way == 2:
        request.scope.session_id = draw.some(*SESSIONS)
    elif way == 3:
        request.scope.workflow_id = draw.some(*known.specs)
    else:
        request.scope.all = True
        request.filter.kinds.extend(draw.sample(records_pb2.RecordKind.values()[1:], 4))
    return _call("ListRecords", request)


def _verify(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw)
    return _call("VerifyRun", ledger.VerifyRunRequest(namespace=run.namespace, run_id=run.run_id))


def _audit(draw: Draw, known: Knowledge, now: int) -> Act:
    run = known.run(draw)
    return _call("AuditRuns", admin.AuditRunsRequest(namespace=run.namespace, run_id=run.run_id))


# --- workflows and namespaces --------------------------------------------------------------------------------------


def _register(draw: Draw, known: Knowledge, now: int) -> Act:
    spec = draw.some(*draw.some(*known.specs.values()))
    request = workflows.RegisterWorkflowRequest(namespace=draw.some("default", "default", "n1"), spec=spec)
    request.request_id, request.set_default = _request_id(draw), draw.one_in(4)
    if draw.one_in(10):
        request.spec.entry_node = "nowhere"
    return _call("RegisterWorkflow", request)


def _set_default(draw: Draw, known: Knowledge, now: int) -> Act:
    workflow_id = draw.of(known.versions) or "steps"
    version = draw.of(known.versions.get(workflow_id, [])) or "0" * 64
    request = workflows.SetDefaultVersionRequest(namespace="default", workflow_id=workflow_id, version=version)
    request.request_id = _request_id(draw)
    return _call("SetDefaultVersion", request)


def _get_workflow(draw: Draw, known: Knowledge, now: int) -> Act:
    workflow_id = draw.some("none", *known.specs)
    version = draw.of(known.versions.get(workflow_id, [])) or "" if draw.one_in(2) else ""
    return _call(
        "GetWorkflow", workflows.GetWorkflowRequest(namespace="default", workflow_id=workflow_id, version=version)
    )


def _list_workflows(draw: Draw, known: Knowledge, now: int) -> Act:
    request = workflows.ListWorkflowsRequest(namespace=draw.of(known.namespaces) or "default")
    request.defaults_only, request.page_size = draw.one_in(2), draw.some(0, 3)
    return _call("ListWorkflows", request)


def _validate(draw: Draw, known: Knowledge, now: int) -> Act:
    request = workflows.ValidateWorkflowRequest(namespace="default", spec=draw.some(*draw.some(*known.specs.values())))
    if draw.one_in(2):
        request.spec.entry_node = "nowhere"
    return _call("ValidateWorkflow", request)


def _create_namespace(draw: Draw, known: Knowledge, now: int) -> Act:
    request = admin.CreateNamespaceRequest(namespace=draw.some("n1", "n2", "N1"), request_id=_request_id(draw))
    return _call("CreateNamespace", request)


def _list_workers(draw: Draw, known: Knowledge, now: int) -> Act:
    return _call("ListWorkers", admin.ListWorkersRequest(namespace="default"))


# --- workers, repeats, bad requests, time, crashes -------------------------------------------------------------------


def _worker(make: Callable[[Draw, Knowledge], tuple[str, Message]]) -> Make:
    def act(draw: Draw, known: Knowledge, now: int) -> Act:
        return _call(*make(draw, known))

    return act


def _repeat(draw: Draw, known: Knowledge, now: int) -> Act:
    """A call that was made before, perhaps with another body under the same request id."""
    found = draw.of(known.sent, lambda sent: sent[1].request_id)
    if found is None:
        return Pass(0)
    method, request = found[0], type(found[1])()
    request.CopyFrom(found[1])
    if draw.one_in(4):
        for name in ("reason", "actor_id", "payload_json", "retried_by", "migrated_by", "unpaused_by", "description"):
            if name in request.DESCRIPTOR.fields_by_name:
                setattr(request, name, '"other"')
    return _call(method, request)


def _next_page(draw: Draw, known: Knowledge, now: int) -> Act:
    found = draw.of(known.pages, lambda page: page[1].page_token)
    return _call(*found) if found else Pass(0)


def _bad(draw: Draw, known: Knowledge, now: int) -> Act:
    return draw.some(
        _call("StartRun", runs.StartRunRequest(namespace="default", workflow_id="no such", vars_json="{")),
        _call("StartRun", runs.StartRunRequest(namespace="default", workflow_id="none")),
        _call("GetRun", runs.GetRunRequest(namespace="nowhere", run_id="r")),
        _call("ListRuns", runs.ListRunsRequest(namespace="default", page_token="é")),
        _call("EmitEvent", runs.EmitEventRequest(namespace="default", name="*", scope=common_pb2.EVENT_SCOPE_GLOBAL)),
        _call("CountRuns", runs.CountRunsRequest(namespace="nowhere")),
        _call("VerifyRun", ledger.VerifyRunRequest(namespace="default", run_id="nobody")),
    )


def _soon(draw: Draw, known: Knowledge, now: int) -> Act:
    return Pass(draw.some(0, 1_000, 500_000, 2 * SECOND_US))


def _later(draw: Draw, known: Knowledge, now: int) -> Act:
    return Pass(draw.some(6, 31, 45, 75) * SECOND_US)


def _much_later(draw: Draw, known: Knowledge, now: int) -> Act:
    return Pass(draw.some(700, 3_600, 90_000) * SECOND_US)


def _crash(draw: Draw, known: Knowledge, now: int) -> Act:
    return Crash()


_MAY_BE_CUT: Final = ("start", "resume", "cancel", "emit", "tick", "report", "poll", "unpause", "retry", "start_keyed")


def _crash_within(draw: Draw, known: Knowledge, now: int) -> Act:
    act = _KINDS[draw.some(*_MAY_BE_CUT)][1](draw, known, now)
    return Call(act.method, act.request, draw.randrange(14)) if isinstance(act, Call) else Crash()


_KINDS: Final[Mapping[str, tuple[int, Make]]] = {
    "start": (30, _start),
    "start_keyed": (6, _start_keyed),
    "start_with_event": (6, _start_with_event),
    "start_again": (3, _start_again),
    "tick": (8, _tick),
    "resume": (16, _resume),
    "cancel": (5, _cancel),
    "give_up": (30, _give_up),
    "pause": (5, _pause),
    "unpause": (7, _unpause),
    "resolve": (10, _resolve),
    "retry": (6, _retry),
    "retry_many": (2, _retry_many),
    "migrate": (10, _migrate),
    "emit": (14, _emit),
    "get_run": (2, _get_run),
    "wait_run": (2, _wait_run),
    "list_runs": (4, _list_runs),
    "count_runs": (3, _count_runs),
    "list_waits": (3, _list_waits),
    "list_events": (3, _list_events),
    "list_records": (4, _list_records),
    "verify": (2, _verify),
    "audit": (1, _audit),
    "register": (3, _register),
    "set_default": (2, _set_default),
    "get_workflow": (1, _get_workflow),
    "list_workflows": (1, _list_workflows),
    "validate": (1, _validate),
    "create_namespace": (1, _create_namespace),
    "list_workers": (1, _list_workers),
    "poll": (24, _worker(worker_calls.poll)),
    "report": (34, _worker(worker_calls.report)),
    "begin": (6, _worker(worker_calls.begin)),
    "heartbeat": (6, _worker(worker_calls.heartbeat)),
    "repeat": (6, _repeat),
    "next_page": (4, _next_page),
    "bad": (3, _bad),
    "soon": (14, _soon),
    "later": (5, _later),
    "much_later": (1, _much_later),
    "crash": (1, _crash),
    "crash_within": (3, _crash_within),
}
"""Weight, and what makes it."""

KINDS: Final = tuple(_KINDS)
