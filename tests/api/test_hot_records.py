"""Records joined by hand have the meaning of those made with the generated types."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from perdure.v1.records_pb2 import StepRecord
from perdure_server.api.codec.hot_records import encode_hot, is_hot
from perdure_server.api.codec.record_writer import encode_any
from perdure_server.kernel import records as r
from perdure_server.kernel.model import RunState
from tests.strategies.domain import records_of, values_of


def _salts(count: int) -> list[bytes]:
    return [bytes([index]) * 16 for index in range(count)]


@given(
    run=values_of(RunState),
    record=st.one_of(*map(records_of, (r.StepStarted, r.StepCompleted, r.Resumed, r.Completed))),
    is_plain=st.booleans(),
)
def test_hand_joined_bytes_are_the_generated_message(run: RunState, record: r.Record, is_plain: bool) -> None:
    if is_plain and isinstance(record.body, r.StepCompleted):
        record = replace(record, body=replace(record.body, failure=None, child=None, retry_at=0, error_key=""))
    assume(is_hot(record.body))
    by_hand, payloads = encode_hot(run, record, _salts)
    generated, same_payloads = encode_any(run, record, _salts)
    assert StepRecord.FromString(by_hand) == StepRecord.FromString(generated)
    assert len(by_hand) == len(generated)
    assert payloads == same_payloads
