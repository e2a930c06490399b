"""What is left out means the contract's unset value, but for the few defaults that are written down here."""

from __future__ import annotations

import dataclasses
import inspect
from types import ModuleType

import pytest

from perdure_server.kernel import decision, inputs, model, records
from perdure_server.kernel.decision import Ack
from perdure_server.kernel.limits import DEFAULT_LIMITS, SECOND_US
from perdure_server.kernel.model import (
    Activity,
    ChildPolicy,
    Drive,
    EventScope,
    NodeKind,
    OnLimit,
    Risk,
    RunStatus,
    SlotState,
    Timeouts,
    WaitTerms,
)
from perdure_server.kernel.nodes import JOIN_ALL
from perdure_server.kernel.persistent import empty_map
from perdure_server.kernel.records import StepStatus

MODULES: list[ModuleType] = [model, records, inputs, decision]
UNSET: list[object] = ["", 0, None, (), False, {}, b"", [], frozenset(), empty_map()]
MEANT: dict[str, object] = {
    "RetryPolicy.max_attempts": 1,
    "RetryPolicy.initial_interval_us": 1 * SECOND_US,
    "RetryPolicy.backoff_coefficient": 2.0,
    "RetryPolicy.max_interval_us": 60 * SECOND_US,
    "NodeSpec.kind": NodeKind.WORKER,
    "NodeSpec.queue": "default",
    "NodeSpec.risk": Risk.IDEMPOTENT,
    "NodeSpec.join": JOIN_ALL,
    "WaitTerms.allow_free_text": True,
    "WaitEvent.scope": EventScope.SESSION,
    "WaitEvent.terms": WaitTerms(),
    "AnswerUser.level": "message",
    "EmitEvent.scope": EventScope.SESSION,
    "StartSubworkflow.on_parent_cancel": ChildPolicy.CANCEL,
    "StartSubworkflow.drive": Drive.AUTO,
    "VarsQuery.path": "scratchpad",
    "Effect.risk": Risk.IDEMPOTENT,
    "WaitRequest.terms": WaitTerms(),
    "NodeEntry.queue": "default",
    "NodeEntry.timeouts": Timeouts(),
    "Concurrency.on_limit": OnLimit.QUEUE,
    "RunState.slot": SlotState.NONE,
    "Step.queue": "default",
    "Step.timeouts": Timeouts(),
    "Wait.event_scope": EventScope.SESSION,
    "Wait.allow_free_text": True,
    "RunState.drive": Drive.AUTO,
    "RunState.status": RunStatus.RUNNING,
    "RunState.activity": Activity.QUEUED,
    "RunState.vars_bytes": 2,
    "RunStarted.drive": Drive.AUTO,
    "Waiting.event_scope": EventScope.SESSION,
    "Waiting.allow_free_text": True,
    "Record.status": StepStatus.NONE,
    "StartRun.drive": Drive.AUTO,
    "Decision.ack": Ack.ACCEPTED,
    "Env.limits": DEFAULT_LIMITS,
}


def defaults() -> dict[str, object]:
    """Every default of every structure: "Class.field" to its value."""
    found: dict[str, object] = {}
    for module in MODULES:
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ != module.__name__ or not dataclasses.is_dataclass(kind):
                continue
            for field in dataclasses.fields(kind):
                if field.default_factory is not dataclasses.MISSING:
                    found[f"{name}.{field.name}"] = field.default_factory()
                elif field.default is not dataclasses.MISSING:
                    found[f"{name}.{field.name}"] = field.default
    return found


DEFAULTS = defaults()


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_default_is_unset_or_meant(name: str) -> None:
    value = DEFAULTS[name]
    if name in MEANT:
        assert value == MEANT[name]
    elif name not in {"Env.new_id", "Env.workflows"}:
        assert any(type(value) is type(unset) and value == unset for unset in UNSET), value


def test_every_meant_default_exists() -> None:
    assert set(MEANT) <= set(DEFAULTS)
    assert len(DEFAULTS) > 150
