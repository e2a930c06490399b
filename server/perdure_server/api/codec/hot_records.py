"""The two records of every undisturbed step, joined by hand: step_started and step_completed.

They are on the commit path of every step, and building message objects for them costs three times as much.
The bytes are those of a StepRecord message (protobuf.dev/programming-guides/encoding; field numbers of
perdure/v1/records.proto); tests compare every shape with the generated types, and everything rarer goes
through these (`record_writer`). Field order is free: each record is encoded once, and hashed as stored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from perdure.v1 import common_pb2
from perdure_server.api.codec import effects, plans, shapes
from perdure_server.engine.sealing import commitment
from perdure_server.kernel import records as r
from perdure_server.kernel.model import NodeEntry, OpenEffect, RemoteRequest, RetryPolicy, RunState, Timeouts
from perdure_server.ledger.wire import varint
from perdure_server.storage.port import StoredPayload

NewSalts = Callable[[int], list[bytes]]

_STARTED: Final = b"\xb2\x01"
_COMPLETED: Final = b"\xc2\x01"
_ALL_BITS: Final = (1 << 64) - 1


def is_hot(body: r.Body) -> bool:
    """Whether `encode_hot` knows a body."""
    if isinstance(body, r.StepCompleted):
        return not (body.failure or body.child or body.retry_at or body.error_key)
    return isinstance(body, r.StepStarted)


def encode_hot(run: RunState, record: r.Record, new_salts: NewSalts) -> tuple[bytes, tuple[StoredPayload, ...]]:
    """Bytes of the record and its salted payloads. Only for bodies that `is_hot`."""
    body = record.body
    if isinstance(body, r.StepCompleted):
        content, payloads = _step_completed(body, new_salts)
        tag = _COMPLETED
    elif isinstance(body, r.StepStarted):
        content, payloads = _text(b"\x0a", body.effect_type), ()
        tag = _STARTED
    else:
        raise TypeError(f"{type(body).__name__} is no hot record")
    header = _header(run, record)
    return header + tag + varint(len(content)) + content, payloads


def _header(run: RunState, record: r.Record) -> bytes:
    return b"".join(
        (
            _run_ids(run.run_id, run.actor_id, run.session_id, run.root_run_id),
            b"\x10",
            varint(record.seq),
            b"\x18",
            varint(record.kind),
            _text(b"\x22", record.node_id),
            _number(b"\x28", record.visit),
            _number(b"\x30", record.step_id),
            _number(b"\x38", record.status),
            _number(b"\x40", record.attempt),
            _text(b"\x4a", record.idempotency_key),
            _instant(record.at),
            _text(b"\x72", record.worker_id),
        )
    )


@lru_cache(maxsize=256)
def _instant(at: int) -> bytes:
    """Field `at`; all records of a transition share it."""
    seconds, rest = divmod(at, 1_000_000)
    return _message(b"\x52", _number(b"\x08", seconds) + _number(b"\x10", rest * 1_000))


@lru_cache(maxsize=4096)
def _run_ids(run_id: str, actor_id: str, session_id: str, root_run_id: str) -> bytes:
    ids = (_text(b"\x0a", run_id), _text(b"\x5a", actor_id), _text(b"\x62", session_id), _text(b"\x6a", root_run_id))
    return b"".join(ids)


def _step_completed(body: r.StepCompleted, new_salts: NewSalts) -> tuple[bytes, tuple[StoredPayload, ...]]:
    effect, result = body.effect, body.result
    slots: list[bytes] = []
    ops = plans.ops_bytes(body.vars_ops) if body.vars_ops else b""
    asked = _request(effect) if effect is not None else b""
    if ops:
        slots.append(ops)
    if asked:
        slots.append(asked)
    if result is not None and result.data:
        slots.append(result.data)
    payloads, refs = _seal(slots, new_salts) if slots else ((), [])
    taken = iter(refs)
    parts = [_text(b"\x0a", body.effect_type)]
    if ops:
        parts.append(_message(b"\x12", next(taken)))
    if effect is not None:
        parts.append(_message(b"\x1a", _open_effect(effect, next(taken) if asked else b"")))
    if body.next is not None:
        parts.append(_message(b"\x22", _node_entry(body.next)))
    if result is not None and result.data:
        parts.append(_message(b"\x2a", next(taken)))
    parts.append(_text(b"\x32", body.result_key))
    return b"".join(parts), payloads


def _seal(slots: list[bytes], new_salts: NewSalts) -> tuple[tuple[StoredPayload, ...], list[bytes]]:
    payloads: list[StoredPayload] = []
    refs: list[bytes] = []
    for index, (data, salt) in enumerate(zip(slots, new_salts(len(slots)), strict=True)):
        payloads.append(StoredPayload(index, salt, data))
        refs.append(_number(b"\x08", index) + b"\x10" + varint(len(data)) + b"\x1a\x20" + commitment(salt, data))
    return tuple(payloads), refs


def _request(effect: OpenEffect) -> bytes:
    request = effect.request
    return request.payload.data if isinstance(request, RemoteRequest) else effects.request_bytes(request)


def _open_effect(effect: OpenEffect, payload: bytes) -> bytes:
    bounds = _timeouts(effect.timeouts)
    parts = [
        _text(b"\x0a", effect.type),
        b"\x10\x01" if effect.server_side else b"",
        _text(b"\x1a", effect.result_key),
        _text(b"\x22", effect.next_node),
        _text(b"\x2a", effect.idempotency_key),
        _message(b"\x32", _retry(effect.retry)),
        _message(b"\x3a", bounds) if bounds else b"",
        _text(b"\x42", effect.queue),
        _number(b"\x48", effect.priority),
        _text(b"\x52", effect.on_error_node),
        _number(b"\x58", effect.risk),
        _message(b"\x62", payload) if payload else b"",
    ]
    return b"".join(parts)


def _node_entry(entry: NodeEntry) -> bytes:
    bounds = _timeouts(entry.timeouts)
    parts = [
        _text(b"\x0a", entry.node_id),
        _number(b"\x10", entry.visit),
        b"\x18\x01" if entry.server_side else b"",
        _text(b"\x22", entry.queue),
        _number(b"\x28", entry.priority),
        _message(b"\x32", bounds) if bounds else b"",
    ]
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _retry(policy: RetryPolicy) -> bytes:
    return shapes.build(common_pb2.RetryPolicy, shapes.retry(policy)).SerializeToString()


@lru_cache(maxsize=1024)
def _timeouts(bounds: Timeouts) -> bytes:
    shape = shapes.timeouts(bounds)
    return shapes.build(common_pb2.TaskTimeouts, shape).SerializeToString() if shape else b""


def _text(tag: bytes, text: str) -> bytes:
    if not text:
        return b""
    data = text.encode()
    return tag + varint(len(data)) + data


def _number(tag: bytes, number: int) -> bytes:
    """A varint field, left out when it is 0; negative int32s take the ten bytes of their int64."""
    return tag + varint(number & _ALL_BITS) if number else b""


def _message(tag: bytes, data: bytes) -> bytes:
    return tag + varint(len(data)) + data
