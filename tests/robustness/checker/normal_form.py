"""The normal form of an export: what must be the same however often the server died on the way.

Left out are times, worker ids, attempts, step_started and requeued records, seq and all that names it (wait and
step ids, positions, hashes), salts and commitments. Payload bytes stay. Ids that the server generated are named by
first appearance; idempotency keys are computed again from the contract and named by what they are made of.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import model_pb2, worker_service_pb2
from perdure.v1 import records_pb2 as pb
from tests.robustness.checker.export import Export
from tests.robustness.checker.sealed import Sealed, length_prefixed

DROPPED_KINDS: Final = (pb.RECORD_KIND_STEP_STARTED, pb.RECORD_KIND_REQUEUED)
DROPPED_FIELDS: Final = frozenset(
    {
        "seq",
        "step_id",
        "parent_step_id",
        "wait_id",
        "attempt",
        "worker_id",
        "lapses",
        "position",
        "event_floor",
        "task_token",
    }
)
"""Beside all Timestamps. `lapses` counts lapsed leases, which requeued records tell of; a token names an attempt."""

FANOUTS: Final = ("parallel", "foreach")
"""Effects whose payload is no Effect but a Fanout."""

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_WAIT_IN_TEXT: Final = re.compile(r"\bwait \d+\b")

_SLOT_MESSAGES: Final[Mapping[tuple[str, str], type[Message]]] = {
    ("StepCompleted", "vars_ops"): pb.VarsOps,
    ("Reopened", "vars_ops"): pb.VarsOps,
    ("Waiting", "text"): pb.WaitText,
    ("FailureRef", "text"): pb.FailureText,
    ("LateResult", "report"): worker_service_pb2.TaskReport,
}
"""Slots whose bytes are a protobuf message; all others are text."""


def normal_form(export: Export, roots: Sequence[str]) -> list[str]:
    """The lines of an export's normal form, each the JSON of one record after its run's name.

    Args:
        roots: ids that the script chose, in its order; they are not renamed. Other runs follow in the order in
            which these ledgers name them.
    """
    ledger, _ = export.opened()
    lines: list[str] = []
    for run_id in _in_order(ledger, roots):
        keys = _derived_keys(export.namespace, run_id, ledger[run_id])
        for sealed in ledger[run_id]:
            if sealed.kind not in DROPPED_KINDS:
                text = json.dumps([run_id, _shape(sealed, sealed.record)], ensure_ascii=False, sort_keys=True)
                for key, name in keys.items():
                    text = text.replace(key, name)
                lines.append(text)
    return _renamed(lines)


def _in_order(ledger: Mapping[str, Sequence[Sealed]], roots: Sequence[str]) -> Iterator[str]:
    """Roots, then whoever is named by a run that came before, then whoever nobody names."""
    queue = [run_id for run_id in roots if run_id in ledger]
    queue += [run_id for run_id in ledger if run_id not in roots and not _parent(ledger[run_id])]
    seen = set(queue)
    while queue:
        run_id = queue.pop(0)
        yield run_id
        for sealed in ledger[run_id]:
            record = sealed.record
            links = (record.waiting.child.run_id, record.step_completed.child.run_id, *record.branches_started.run_ids)
            for link in links:
                if link in ledger and link not in seen:
                    seen.add(link)
                    queue.append(link)
    yield from sorted(ledger.keys() - seen)


def _parent(records: Sequence[Sealed]) -> str:
    return records[0].record.run_started.parent_run_id


def _derived_keys(namespace: str, run_id: str, records: Sequence[Sealed]) -> dict[str, str]:
    """Idempotency keys of a run's effects that are the contract's, to what they are made of."""
    names: dict[str, str] = {}
    for sealed in records:
        record = sealed.record
        if record.step_completed.HasField("effect"):
            key = idempotency_key(namespace, run_id, record.node_id, record.visit)
            names[key] = f"key({record.node_id},{record.visit})"
    return names


def idempotency_key(namespace: str, run_id: str, node_id: str, visit: int) -> str:
    """First 32 characters of the base32 of SHA-256 over the effect's place (DESIGN 4)."""
    material = b"".join(map(length_prefixed, ("perdure/effect/v1", namespace, run_id, node_id)))
    return base64.b32encode(hashlib.sha256(material + visit.to_bytes(8, "big")).digest()).decode()[:32]


def _shape(sealed: Sealed, message: Message) -> dict[str, Any]:
    """A message as plain data, without what may differ."""
    shape: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.name in DROPPED_FIELDS or _is_timestamp(field):
            continue
        if field.message_type is not None and field.message_type.full_name == pb.PayloadRef.DESCRIPTOR.full_name:
            shape[field.name] = _content(sealed, message, field, value)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            shape[field.name] = {str(key): str(item) for key, item in value.items()}
        elif field.is_repeated:
            shape[field.name] = [_plain(sealed, item) for item in value]
        else:
            shape[field.name] = _plain(sealed, value)
    return shape


def _is_timestamp(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == Timestamp.DESCRIPTOR.full_name


def _plain(sealed: Sealed, value: Any) -> Any:
    if isinstance(value, Duration):
        return value.ToJsonString()
    if isinstance(value, Message):
        return _shape(sealed, value)
    return value.hex() if isinstance(value, bytes) else value


def _content(sealed: Sealed, owner: Message, field: FieldDescriptor, ref: pb.PayloadRef) -> Any:
    """The bytes of a slot, as the text or message that they are."""
    data = sealed.payload(ref)
    kind = _SLOT_MESSAGES.get((owner.DESCRIPTOR.name, field.name))
    if isinstance(owner, pb.OpenEffect) and owner.server_side:
        kind = pb.Fanout if owner.type in FANOUTS else model_pb2.Effect
    if kind is None:
        return data.decode()
    return _shape(sealed, kind.FromString(data))


def _renamed(lines: Sequence[str]) -> list[str]:
    names: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"id-{len(names) + 1}")

    plain = (_WAIT_IN_TEXT.sub("wait N", _INSTANT.sub("<instant>", line)) for line in lines)
    return [_UUID.sub(name, line) for line in plain]
