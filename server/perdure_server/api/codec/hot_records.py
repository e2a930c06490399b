"""The records of every undisturbed step and of every wait's end, joined by hand: step_started, step_completed, resumed
and completed.

They are on the commit path, and building message objects for them costs three times as much.
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
from perdure_server.kernel.model import (
    NO_RETRY,
    NO_TIMEOUTS,
    NodeEntry,
    OpenEffect,
    RemoteRequest,
    RetryPolicy,
    RunState,
    Timeouts,
)
from perdure_server.ledger.wire import varint
from perdure_server.storage.port import StoredPayload

NewSalts = Callable[[int], list[bytes]]

_STARTED: Final = b"\xb2\x01"
_COMPLETED: Final = b"\xc2\x01"
_RESUMED: Final = b"\xda\x01"
_RUN_COMPLETED: Final = b"\xa2\x02"
_ALWAYS_HOT: Final = frozenset({r.StepStarted, r.Resumed, r.Completed})
_ALL_BITS: Final = (1 << 64) - 1
_INDEXES: Final = (b"\x10", b"\x08\x01\x10", b"\x08\x02\x10")
"""Index (left out when 0) and the tag of the size, for the three slots that these records can have."""


def is_hot(body: r.Body) -> bool:
    """Whether `encode_hot` knows a body."""
    if isinstance(body, r.StepCompleted):
        return not (body.failure or body.child or body.retry_at or body.error_key)
    return type(body) in _ALWAYS_HOT


def encode_hot(run: RunState, record: r.Record, new_salts: NewSalts) -> tuple[bytes, tuple[StoredPayload, ...]]:
    """Bytes of the record and its salted payloads. Only for bodies that `is_hot`."""
    body = record.body
    if isinstance(body, r.StepCompleted):
        content, payloads = _step_completed(body, new_salts)
        kind, tag = b"\x18\x04", _COMPLETED
    elif isinstance(body, r.StepStarted):
        content, payloads = _name(b"\x0a", body.effect_type), ()
        kind, tag = b"\x18\x02", _STARTED
    elif isinstance(body, r.Resumed):
        content, payloads = _resumed(body, new_salts)
        kind, tag = b"\x18\x07", _RESUMED
    elif isinstance(body, r.Completed):
        payloads, refs = _seal([body.output.data] if body.output.data else [], new_salts)
        content = _message(b"\x0a", refs[0]) if refs else b""
        kind, tag = b"\x18\x10", _RUN_COMPLETED
    else:
        raise TypeError(f"{type(body).__name__} is no hot record")
    key = record.idempotency_key
    data = b"".join(
        (
            _run_ids(run.run_id, run.actor_id, run.session_id, run.root_run_id),
            b"\x10",
            varint(record.seq),
            _place(kind, record.node_id, record.visit, record.step_id, record.status, record.attempt),
            _text(b"\x4a", key) if key else b"",
            _instant(record.at),
            _name(b"\x72", record.worker_id),
            tag,
            varint(len(content)),
            content,
        )
    )
    return data, payloads


@lru_cache(maxsize=8192)
def _place(kind: bytes, node_id: str, visit: int, step_id: int, status: int, attempt: int) -> bytes:
    """Where in the workflow a record stands: the same for all runs that come by there, seq and run apart."""
    numbers = (_number(b"\x28", visit), _number(b"\x30", step_id), _number(b"\x38", status), _number(b"\x40", attempt))
    return b"".join((kind, _name(b"\x22", node_id), *numbers))


@lru_cache(maxsize=256)
def _instant(at: int) -> bytes:
    """Field `at`; all records of a transition share it."""
    seconds, rest = divmod(at, 1_000_000)
    data = _second(seconds) + _number(b"\x10", rest * 1_000)
    return b"\x52" + varint(len(data)) + data


@lru_cache(maxsize=16)
def _second(seconds: int) -> bytes:
    return _number(b"\x08", seconds)


@lru_cache(maxsize=2048)
def _run_ids(run_id: str, actor_id: str, session_id: str, root_run_id: str) -> bytes:
    ids = (_text(b"\x0a", run_id), _text(b"\x5a", actor_id), _text(b"\x62", session_id), _text(b"\x6a", root_run_id))
    return b"".join(ids)


def _step_completed(body: r.StepCompleted, new_salts: NewSalts) -> tuple[bytes, tuple[StoredPayload, ...]]:
    effect, result, entry = body.effect, body.result, body.next
    ops = plans.ops_bytes(body.vars_ops) if body.vars_ops else b""
    asked = _request(effect) if effect is not None else b""
    given = result.data if result is not None else b""
    payloads, refs = _seal([slot for slot in (ops, asked, given) if slot], new_salts)
    content = b"".join(
        (
            _name(b"\x0a", body.effect_type),
            _message(b"\x12", refs[0]) if ops else b"",
            _open_effect(effect, refs[1 if ops else 0] if asked else b"") if effect is not None else b"",
            _node_entry(entry) if entry is not None else b"",
            _message(b"\x2a", refs[-1]) if given else b"",
            _name(b"\x32", body.result_key),
        )
    )
    return content, payloads


def _resumed(body: r.Resumed, new_salts: NewSalts) -> tuple[bytes, tuple[StoredPayload, ...]]:
    payload, entry = body.payload, body.next
    payloads, refs = _seal([payload.data] if payload is not None and payload.data else [], new_salts)
    content = b"".join(
        (
            _number(b"\x08", body.wait_id),
            _number(b"\x10", body.cause),
            _message(b"\x1a", refs[0]) if refs else b"",
            _node_entry(entry) if entry is not None else b"",
            _text(b"\x2a", body.resumed_by),
        )
    )
    return content, payloads


def _seal(slots: list[bytes], new_salts: NewSalts) -> tuple[tuple[StoredPayload, ...], list[bytes]]:
    """Payloads, and the PayloadRef of each: index (left out when 0), size, commitment."""
    if not slots:
        return (), slots
    salts = new_salts(len(slots))
    payloads: list[StoredPayload] = []
    refs: list[bytes] = []
    for index, data in enumerate(slots):
        salt = salts[index]
        payloads.append(StoredPayload(index, salt, data))
        refs.append(_INDEXES[index] + varint(len(data)) + b"\x1a\x20" + commitment(salt, data))
    return tuple(payloads), refs


def _request(effect: OpenEffect) -> bytes:
    request = effect.request
    return request.payload.data if isinstance(request, RemoteRequest) else effects.request_bytes(request)


def _open_effect(effect: OpenEffect, payload: bytes) -> bytes:
    retry, bounds = effect.retry, effect.timeouts
    data = b"".join(
        (
            _terms(
                effect.type,
                effect.server_side,
                effect.result_key,
                effect.next_node,
                effect.queue,
                effect.priority,
                effect.on_error_node,
                effect.risk,
            ),
            _text(b"\x2a", effect.idempotency_key),
            _NO_RETRY if retry is NO_RETRY else _message(b"\x32", _retry(retry)),
            b"" if bounds is NO_TIMEOUTS else _timeouts(b"\x3a", bounds),
            _message(b"\x62", payload) if payload else b"",
        )
    )
    return b"".join((b"\x1a", varint(len(data)), data))


@lru_cache(maxsize=4096)
def _terms(
    kind: str, server_side: bool, result_key: str, next_node: str, queue: str, priority: int, on_error: str, risk: int
) -> bytes:
    """What the effect of a workflow's node has in common in all runs."""
    return b"".join(
        (
            _name(b"\x0a", kind),
            b"\x10\x01" if server_side else b"",
            _name(b"\x1a", result_key),
            _name(b"\x22", next_node),
            _name(b"\x42", queue),
            _number(b"\x48", priority),
            _name(b"\x52", on_error),
            _number(b"\x58", risk),
        )
    )


def _node_entry(entry: NodeEntry) -> bytes:
    bounds = entry.timeouts
    data = _plain_entry(entry.node_id, entry.visit, entry.server_side, entry.queue, entry.priority)
    if bounds is not NO_TIMEOUTS:
        data += _timeouts(b"\x32", bounds)
    return b"".join((b"\x22", varint(len(data)), data))


@lru_cache(maxsize=4096)
def _plain_entry(node_id: str, visit: int, server_side: bool, queue: str, priority: int) -> bytes:
    """The entry of a node, without timeouts."""
    return b"".join(
        (
            _name(b"\x0a", node_id),
            _number(b"\x10", visit),
            b"\x18\x01" if server_side else b"",
            _name(b"\x22", queue),
            _number(b"\x28", priority),
        )
    )


@lru_cache(maxsize=1024)
def _retry(policy: RetryPolicy) -> bytes:
    return shapes.build(common_pb2.RetryPolicy, shapes.retry(policy)).SerializeToString()


@lru_cache(maxsize=1024)
def _timeouts(tag: bytes, bounds: Timeouts) -> bytes:
    """A TaskTimeouts field, left out when there are none."""
    shape = shapes.timeouts(bounds)
    return _message(tag, shapes.build(common_pb2.TaskTimeouts, shape).SerializeToString()) if shape else b""


def _text(tag: bytes, text: str) -> bytes:
    if not text:
        return b""
    data = text.encode()
    return tag + varint(len(data)) + data


@lru_cache(maxsize=8192)
def _name(tag: bytes, name: str) -> bytes:
    """A text field that comes again and again: names of nodes, workers, effects, keys."""
    return _text(tag, name)


def _number(tag: bytes, number: int) -> bytes:
    """A varint field, left out when it is 0; negative int32s take the ten bytes of their int64."""
    return tag + varint(number & _ALL_BITS) if number else b""


def _message(tag: bytes, data: bytes) -> bytes:
    return tag + varint(len(data)) + data


_NO_RETRY: Final = _message(b"\x32", _retry(NO_RETRY))
