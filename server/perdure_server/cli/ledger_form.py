"""A ledger entry as JSON: the record's header and body under the contract's names, payloads in their slots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.instants import duration_seconds, from_timestamp
from perdure.v1 import model_pb2, records_pb2, worker_service_pb2
from perdure_server.cli.json_form import instant_text

if TYPE_CHECKING:
    from perdure.ledger import LedgerEntry

# What the bytes of a slot are, by (message, field) of its PayloadRef. None is the leaf's JSON text; str a plain
# text; a message type the bytes of such a message.
_SLOTS: Final[Mapping[tuple[str, str], type[Message] | type[str]]] = {
    ("StepCompleted", "vars_ops"): records_pb2.VarsOps,
    ("Reopened", "vars_ops"): records_pb2.VarsOps,
    ("FailureRef", "text"): records_pb2.FailureText,
    ("Waiting", "text"): records_pb2.WaitText,
    ("LateResult", "report"): worker_service_pb2.TaskReport,
    ("Paused", "reason"): str,
    ("CancelRequested", "reason"): str,
    ("Cancelled", "reason"): str,
}


def entry_form(entry: LedgerEntry) -> dict[str, Any]:
    """The JSON object of an entry. `body` holds the fields that are set; a payload left out or erased is null."""
    record = entry.record
    body = record.WhichOneof("body")
    return {
        "run_id": record.run_id,
        "seq": record.seq,
        "kind": None if entry.kind == "unspecified" else str(entry.kind),
        "at": instant_text(entry.at),
        "node_id": record.node_id,
        "visit": record.visit,
        "step_id": record.step_id,
        "status": None if entry.status == "unspecified" else str(entry.status),
        "attempt": record.attempt,
        "worker_id": record.worker_id,
        "idempotency_key": record.idempotency_key,
        "actor_id": record.actor_id,
        "session_id": record.session_id,
        "root_run_id": record.root_run_id,
        "position": entry.position,
        "prev_hash": entry.prev_hash.hex(),
        "record_hash": entry.record_hash.hex(),
        "body": message_form(getattr(record, body), entry) if body else {},
    }


def message_form(message: Message, entry: LedgerEntry | None = None) -> dict[str, Any]:
    """The fields of a message that are set, as JSON; `*_json` fields as the value of their text.

    Args:
        message: any message of the contract.
        entry: where the payloads of its slots are.
    """
    return {_public_name(field): _value_form(field, value, message, entry) for field, value in message.ListFields()}


def _public_name(field: FieldDescriptor) -> str:
    return field.name.removesuffix("_json") if _is_text(field) else field.name


def _is_text(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING and field.name.endswith("_json")


def _value_form(field: FieldDescriptor, value: Any, owner: Message, entry: LedgerEntry | None) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {str(key): _item_form(field, item, owner, entry) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_item_form(field, item, owner, entry) for item in cast("Sequence[Any]", value)]
    return _item_form(field, value, owner, entry)


def _item_form(field: FieldDescriptor, value: Any, owner: Message, entry: LedgerEntry | None) -> Any:
    if isinstance(value, Timestamp):
        return instant_text(from_timestamp(value))
    if isinstance(value, Duration):
        return duration_seconds(value)
    if isinstance(value, records_pb2.PayloadRef):
        return _slot_form(field.name, value, owner, entry)
    if isinstance(value, Message):
        return message_form(value, entry)
    if isinstance(value, bytes):
        return value.hex()
    if field.enum_type is not None:
        return _word(field, value)
    return json.loads(value) if _is_text(field) else value


def _word(field: FieldDescriptor, number: int) -> str | int:
    """An enumeration's value in lower case, without what all values of the enumeration begin with."""
    kind = field.enum_type
    known = kind.values_by_number.get(number) if kind is not None else None
    if kind is None or known is None:
        return number
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return known.name.removeprefix(prefix).lower()


def _slot_form(slot: str, ref: records_pb2.PayloadRef, owner: Message, entry: LedgerEntry | None) -> Any:
    data = entry.payload(ref) if entry is not None else None
    if data is None:
        return None
    kind = _SLOTS.get((owner.DESCRIPTOR.name, slot))
    if isinstance(owner, records_pb2.OpenEffect) and owner.server_side:
        kind = records_pb2.Fanout if owner.type in ("parallel", "foreach") else model_pb2.Effect
    if kind is None:
        return json.loads(data)
    if issubclass(kind, str):
        return data.decode()
    content = kind()
    content.ParseFromString(data)
    return message_form(content)
