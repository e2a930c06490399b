"""Numbers and names that leave the process: the kernel's enums are the contract's."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import pytest

from perdure.v1 import common_pb2, errors_pb2, model_pb2, records_pb2
from perdure_server.kernel import model as m
from perdure_server.kernel import records as r
from perdure_server.kernel.decision import Ack, MailKind, Reason
from perdure_server.kernel.inputs import TimerKind

Items = Iterable[tuple[str, int]]
ENUMS: list[tuple[type[IntEnum], str, Items]] = [
    (m.RunStatus, "RUN_STATUS_", common_pb2.RunStatus.items()),
    (m.Activity, "RUN_ACTIVITY_", common_pb2.RunActivity.items()),
    (m.Drive, "DRIVE_MODE_", common_pb2.DriveMode.items()),
    (m.Risk, "EFFECT_RISK_", common_pb2.EffectRisk.items()),
    (m.EventScope, "EVENT_SCOPE_", common_pb2.EventScope.items()),
    (m.WaitReason, "WAIT_REASON_", common_pb2.WaitReason.items()),
    (m.ChildPolicy, "CHILD_CANCEL_POLICY_", common_pb2.ChildCancelPolicy.items()),
    (m.NodeKind, "NODE_KIND_", model_pb2.NodeKind.items()),
    (r.RecordKind, "RECORD_KIND_", records_pb2.RecordKind.items()),
    (r.StepStatus, "STEP_STATUS_", records_pb2.StepStatus.items()),
    (r.RequeueCause, "CAUSE_", records_pb2.Requeued.Cause.items()),
    (r.ResumeCause, "CAUSE_", records_pb2.Resumed.Cause.items()),
    (r.Resolution, "RESOLUTION_", records_pb2.Unparked.Resolution.items()),
    (m.ParkReason, "REASON_", records_pb2.Parked.Reason.items()),
]


@pytest.mark.parametrize(("enum", "prefix", "items"), ENUMS, ids=lambda given: getattr(given, "__name__", ""))
def test_every_number_is_the_contracts(enum: type[IntEnum], prefix: str, items: Items) -> None:
    contract = {name.removeprefix(prefix): number for name, number in items}
    unset = contract.pop("UNSPECIFIED")
    assert {member.name: member.value for member in enum if member.name != "NONE"} == contract
    assert unset == 0
    assert "NONE" not in enum.__members__ or enum["NONE"].value == 0


def test_timers_have_the_numbers_they_are_stored_under() -> None:
    names = [
        "START",
        "RETRY",
        "UNTIL",
        "WAIT_DEADLINE",
        "RUN_DEADLINE",
        "SCHEDULE_TO_START",
        "START_TO_CLOSE",
        "HEARTBEAT",
    ]
    assert {kind.name: kind.value for kind in TimerKind} == {name: number for number, name in enumerate(names, 1)}


def test_every_reason_is_the_contracts_but_the_internal_one() -> None:
    contract = {name.removeprefix("ERROR_REASON_") for name, _ in errors_pb2.ErrorReason.items()}
    assert {reason.value for reason in Reason} - contract == {"NOT_DUE"}
    assert all(reason.name == reason.value for reason in Reason)


def test_words_that_are_stored_or_compared_outside() -> None:
    assert {ack.name: ack.value for ack in Ack} == {
        "ACCEPTED": "accepted",
        "DUPLICATE": "duplicate",
        "STALE": "stale",
    }
    assert {kind.name: kind.value for kind in MailKind} == {
        "CHILD_ENDED": "child_ended",
        "CANCEL": "cancel",
        "SUPERSEDE": "supersede",
    }


def test_the_statuses_that_end_a_run() -> None:
    assert {status.name for status in m.TERMINAL} == {"COMPLETED", "FAILED", "CANCELLED"}
