"""The kernel's enums have the numbers of the contract's, whose names they share."""

from enum import IntEnum

import pytest
from google.protobuf.descriptor import EnumDescriptor

from perdure.v1 import common_pb2, ledger_service_pb2, model_pb2, records_pb2, worker_service_pb2
from perdure_server.dispatch import messages as d
from perdure_server.kernel import model as m
from perdure_server.kernel import records as r
from perdure_server.ledger.messages import GoodbyeReason
from perdure_server.ledger.selection import View

PAIRS: list[tuple[type[IntEnum], EnumDescriptor, str]] = [
    (m.RunStatus, common_pb2.RunStatus.DESCRIPTOR, "RUN_STATUS_"),
    (m.Activity, common_pb2.RunActivity.DESCRIPTOR, "RUN_ACTIVITY_"),
    (m.Drive, common_pb2.DriveMode.DESCRIPTOR, "DRIVE_MODE_"),
    (m.Risk, common_pb2.EffectRisk.DESCRIPTOR, "EFFECT_RISK_"),
    (m.EventScope, common_pb2.EventScope.DESCRIPTOR, "EVENT_SCOPE_"),
    (m.WaitReason, common_pb2.WaitReason.DESCRIPTOR, "WAIT_REASON_"),
    (m.ChildPolicy, common_pb2.ChildCancelPolicy.DESCRIPTOR, "CHILD_CANCEL_POLICY_"),
    (m.NodeKind, model_pb2.NodeKind.DESCRIPTOR, "NODE_KIND_"),
    (m.ParkReason, records_pb2.Parked.Reason.DESCRIPTOR, "REASON_"),
    (r.RecordKind, records_pb2.RecordKind.DESCRIPTOR, "RECORD_KIND_"),
    (r.StepStatus, records_pb2.StepStatus.DESCRIPTOR, "STEP_STATUS_"),
    (r.RequeueCause, records_pb2.Requeued.Cause.DESCRIPTOR, "CAUSE_"),
    (r.ResumeCause, records_pb2.Resumed.Cause.DESCRIPTOR, "CAUSE_"),
    (r.Resolution, records_pb2.Unparked.Resolution.DESCRIPTOR, "RESOLUTION_"),
]


@pytest.mark.parametrize(("kernel", "contract", "prefix"), PAIRS, ids=lambda item: getattr(item, "__name__", ""))
def test_numbers_and_names_agree(kernel: type[IntEnum], contract: EnumDescriptor, prefix: str) -> None:
    ours = {item.name: item.value for item in kernel if item.value}
    theirs = {value.name.removeprefix(prefix): value.number for value in contract.values if value.number}
    assert ours == theirs
    assert contract.values_by_number[0].name == f"{prefix}UNSPECIFIED"


def test_record_bodies_have_the_field_number_20_plus_kind() -> None:
    body = records_pb2.StepRecord.DESCRIPTOR.oneofs_by_name["body"]
    numbers = {field.name: field.number - 20 for field in body.fields}
    assert numbers == {kind.name.lower(): kind.value for kind in r.RecordKind}


def test_what_streams_say_agrees() -> None:
    goodbye = ledger_service_pb2.Goodbye.Reason
    for reason in (*GoodbyeReason, *d.GoodbyeReason):
        assert goodbye.Name(goodbye.ValueType(reason.value)) == f"REASON_{reason.name}"
    for status in d.AckStatus:
        assert worker_service_pb2.AckStatus.Value(f"ACK_STATUS_{status.name}") == status.value
    for state in d.LeaseState:
        assert worker_service_pb2.LeaseState.Value(f"LEASE_STATE_{state.name}") == state.value
    for view in View:
        assert ledger_service_pb2.RecordView.Value(f"RECORD_VIEW_{view.name}") == view.value
