"""The SDK's own words against the contract's."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from hypothesis import given
from hypothesis import strategies as st

from perdure import effect_key, values
from perdure.errors import PerdureError
from perdure.instants import from_timestamp, micros, to_duration, to_timestamp
from perdure.json_text import UnserialisableError, decode, encode
from perdure.v1 import common_pb2, model_pb2, records_pb2, run_service_pb2, schedule_service_pb2
from perdure_server.kernel.keys import idempotency_key

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ENUMS = [
    (values.RunStatus, common_pb2.RunStatus),
    (values.RunActivity, common_pb2.RunActivity),
    (values.DriveMode, common_pb2.DriveMode),
    (values.EffectRisk, common_pb2.EffectRisk),
    (values.EventScope, common_pb2.EventScope),
    (values.WaitReason, common_pb2.WaitReason),
    (values.ChildCancelPolicy, common_pb2.ChildCancelPolicy),
    (values.StepStatus, records_pb2.StepStatus),
    (values.RecordKind, records_pb2.RecordKind),
    (values.OnExisting, run_service_pb2.OnExisting),
    (values.NodeKind, model_pb2.NodeKind),
    (values.JoinMode, model_pb2.JoinMode),
    (values.OnLimit, common_pb2.OnLimit),
    (values.SlotState, common_pb2.SlotState),
    (values.ScheduleOverlap, schedule_service_pb2.ScheduleOverlap),
    (values.TriggerOutcome, schedule_service_pb2.TriggerOutcome),
]


@pytest.mark.parametrize(("ours", "theirs"), ENUMS, ids=[ours.__name__ for ours, _ in ENUMS])
def test_each_enumeration_is_the_contracts(ours: type[values.ContractEnum], theirs: EnumTypeWrapper) -> None:
    names = dict(theirs.items())
    prefix = next(name for name in names if name.endswith("_UNSPECIFIED")).removesuffix("UNSPECIFIED")
    assert {prefix + member.name: member.wire for member in ours} == names
    assert all(member.value == member.name.lower() for member in ours)
    assert [ours.from_wire(member.wire) for member in ours] == list(ours)
    assert ours.from_wire(max(names.values()) + 1) is ours.from_wire(-1) is ours.from_wire(0)


def test_an_effect_key_is_frozen() -> None:
    # Computed with openssl and base32 from the bytes that the definition names.
    assert effect_key("default", "run-1", "pay", 2) == "ZXYY2G5TF2NXQA2AIWDVAN7QE6W5LNRX"


@pytest.mark.promise("P5")
@given(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9), st.integers(0, 2**63 - 1))
def test_effect_keys_are_the_servers(namespace: str, run_id: str, node_id: str, visit: int) -> None:
    assert effect_key(namespace, run_id, node_id, visit) == idempotency_key(namespace, run_id, node_id, visit)


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999).map(lambda us: EPOCH + timedelta(microseconds=us)))
def test_instants_survive_the_wire(instant: datetime) -> None:
    assert from_timestamp(to_timestamp(instant)) == instant


def test_an_instant_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        to_timestamp(EPOCH.replace(tzinfo=None))


@given(st.integers(0, 10**15))
def test_spans_keep_their_microseconds(total: int) -> None:
    duration = to_duration(timedelta(microseconds=total))
    assert duration.seconds * 1_000_000 + duration.nanos // 1_000 == total == micros(timedelta(microseconds=total))


def test_spans_are_seconds_or_timedeltas_and_never_negative() -> None:
    assert micros(1.5) == 1_500_000
    assert micros(timedelta(days=2)) == 2 * 86_400 * 1_000_000
    with pytest.raises(ValueError, match="negative"):
        micros(-1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_json_values_come_back_as_they_went(value: object) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "value",
    [float("inf"), {1, 2}, b"x", "\udfff", {"a": object()}],
    ids=["infinity", "a set", "bytes", "half a character", "an object within"],
)
def test_other_values_are_refused_with_advice(value: object) -> None:
    with pytest.raises(UnserialisableError, match="not a JSON value"):
        encode(value)


def test_every_status_code_that_fails_has_its_own_error() -> None:
    codes = [kind.default_code for kind in PerdureError.__subclasses__()]
    assert len(codes) == len(set(codes))
    assert set(codes) == set(grpc.StatusCode) - {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN}
