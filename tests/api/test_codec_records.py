"""Records: their bytes hold no payload, and give back what was encoded."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.v1 import records_pb2
from perdure_server import ids
from perdure_server.api.codec.engine_codec import EngineCodec
from perdure_server.api.codec.hot_records import encode_hot, is_hot
from perdure_server.api.codec.record_writer import encode_any
from perdure_server.api.codec.slots import PayloadMissingError
from perdure_server.kernel import model as m
from perdure_server.kernel import records as r
from perdure_server.kernel.values import Leaf
from tests.strategies.domain import records_of

CODEC = EngineCodec()
KINDS = sorted(r.KIND_OF, key=lambda kind: kind.__name__)


def state_for(record: r.Record) -> m.RunState:
    """A run whose ids a record of it carries."""
    body = record.body
    if isinstance(body, r.RunStarted):
        return m.RunState(
            body.namespace,
            body.run_id,
            body.root_run_id,
            body.workflow_id,
            body.workflow_version,
            body.entry.node_id,
            session_id=body.session_id,
            actor_id=body.actor_id,
        )
    return m.RunState("ns", "run-1", "root-1", "flow", "v", "n", session_id="s", actor_id="a")


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_record_of_each_kind_survives(kind: type[r.Body], data: st.DataObject) -> None:
    record = data.draw(records_of(kind))
    encoded, payloads = CODEC.encode_record(state_for(record), record, ids.new_salts)
    assert CODEC.decode_record(encoded, payloads) == record


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@pytest.mark.promise("P9")
def test_slots_count_up_and_commit_to_their_payloads(kind: type[r.Body], data: st.DataObject) -> None:
    record = data.draw(records_of(kind))
    encoded, payloads = CODEC.encode_record(state_for(record), record, ids.new_salts)
    refs = payload_refs(records_pb2.StepRecord.FromString(encoded))
    assert [ref.index for ref in refs] == list(range(len(refs))) == [item.index for item in payloads]
    for ref, payload in zip(refs, payloads, strict=True):
        assert payload.data is not None
        assert len(payload.salt) == 16
        assert ref.size == len(payload.data) > 0
        assert ref.commitment == hashlib.sha256(payload.salt + payload.data).digest()
    assert len({payload.salt for payload in payloads}) == len(payloads)


def payload_refs(message: Any) -> list[records_pb2.PayloadRef]:
    """The slots of a message in field order, at any depth."""
    found: list[records_pb2.PayloadRef] = []
    for field, value in sorted(message.ListFields(), key=lambda pair: pair[0].number):
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for item in value if field.is_repeated else [value]:
            found += [item] if isinstance(item, records_pb2.PayloadRef) else payload_refs(item)
    return found


SECRET = "correct horse battery staple"
SECRET_LEAF = Leaf.of({SECRET: SECRET})
TERMS = m.WaitTerms(prompt=SECRET, choices=(SECRET,), details=SECRET_LEAF, answer_schema=SECRET_LEAF)
FAILURE = m.Failure("BAD", SECRET, details=SECRET_LEAF)
ENTRY = m.NodeEntry("n", 1)


def open_effect(request: m.EffectRequest) -> m.OpenEffect:
    """An effect with this request."""
    remote = isinstance(request, m.RemoteRequest)
    return m.OpenEffect("t", request, not remote, "", "", "", m.NO_RETRY, m.NO_TIMEOUTS, "q", 0, "", m.Risk.READ)


BODIES_WITH_SECRETS: list[r.Body] = [
    r.RunStarted("ns", "r", "r", "s", "a", "flow", "v", ENTRY, vars=SECRET_LEAF),
    r.StepCompleted(vars_ops=(m.VarsOp("/" + SECRET, "set", SECRET_LEAF),)),
    r.StepCompleted(effect=open_effect(m.RemoteRequest(SECRET_LEAF))),
    r.StepCompleted(effect=open_effect(m.WaitEvent("e", terms=TERMS))),
    r.StepCompleted(effect=open_effect(m.AskUser(TERMS))),
    r.StepCompleted(effect=open_effect(m.AnswerUser(SECRET))),
    r.StepCompleted(effect=open_effect(m.EmitEvent("e", payload=SECRET_LEAF))),
    r.StepCompleted(effect=open_effect(m.StartSubworkflow("w", vars=SECRET_LEAF))),
    r.StepCompleted(result=SECRET_LEAF),
    r.StepCompleted(failure=FAILURE),
    r.Waiting(
        m.WaitReason.USER,
        prompt=SECRET,
        choices=(SECRET,),
        details=SECRET_LEAF,
        answer_schema=SECRET_LEAF,
    ),
    r.Resumed(3, r.ResumeCause.ANSWER, payload=SECRET_LEAF),
    r.EventConsumed(3, 7, "e", "n", SECRET_LEAF),
    r.ChildEnded("c", m.RunStatus.COMPLETED, result=SECRET_LEAF),
    r.Paused(SECRET),
    r.CancelRequested(SECRET, ENTRY),
    r.Completed(SECRET_LEAF),
    r.Failed(FAILURE),
    r.Cancelled(SECRET, SECRET_LEAF, FAILURE),
    r.LateResult(SECRET.encode()),
]


@pytest.mark.parametrize("body", BODIES_WITH_SECRETS, ids=lambda body: type(body).__name__)
@pytest.mark.promise("P9")
def test_record_bytes_hold_no_user_payload(body: r.Body) -> None:
    record = r.Record(2, 1, body)
    encoded, payloads = CODEC.encode_record(state_for(record), record, ids.new_salts)
    assert SECRET.encode() not in encoded
    assert any(payload.data and SECRET.encode() in payload.data for payload in payloads)


@pytest.mark.promise("P9")
def test_the_same_record_has_the_same_bytes_under_the_same_salts() -> None:
    labels = {f"label-{number}": "x" for number in range(20)}
    body = r.RunStarted("ns", "r", "r", "s", "a", "flow", "v", ENTRY, vars=Leaf(b"{}"), labels=labels)
    backwards = replace(body, labels=dict(reversed(labels.items())))

    first, second = (
        CODEC.encode_record(state_for(record), record, fixed_salts)
        for record in (r.Record(1, 5, body), r.Record(1, 5, backwards))
    )
    assert first == second


def test_an_erased_payload_is_named() -> None:
    record = r.Record(2, 1, r.Completed(Leaf(b"{}")))
    encoded, payloads = CODEC.encode_record(state_for(record), record, ids.new_salts)
    erased = [replace(payload, data=None) for payload in payloads]
    with pytest.raises(PayloadMissingError, match="payload 0"):
        CODEC.decode_record(encoded, erased)


def test_a_kind_of_a_later_version_is_refused() -> None:
    later = b"\x0a\x01r" + b"\x10\x04" + b"\x18\x63"  # run_id "r", seq 4, kind 99
    with pytest.raises(ValueError, match="record 4 of run r is of kind 99"):
        CODEC.decode_record(later, ())


def fixed_salts(count: int) -> list[bytes]:
    """Salts that two encodings of a record share."""
    return [bytes([number]) * 16 for number in range(count)]


@pytest.mark.parametrize("kind", [r.StepStarted, r.StepCompleted], ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_records_joined_by_hand_are_the_same_messages(kind: type[r.Body], data: st.DataObject) -> None:
    record = data.draw(records_of(kind))
    if isinstance(record.body, r.StepCompleted):
        record = replace(record, body=replace(record.body, failure=None, child=None, retry_at=0, error_key=""))
    assert is_hot(record.body)
    by_hand, payloads = encode_hot(state_for(record), record, fixed_salts)
    generated, same_payloads = encode_any(state_for(record), record, fixed_salts)
    assert records_pb2.StepRecord.FromString(by_hand) == records_pb2.StepRecord.FromString(generated)
    assert payloads == same_payloads
