"""Wrong requests out of a right one: each differs in one field, which its path names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, Final, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tests.robustness.bad_input import wrong_values as wrong
from tests.robustness.bad_input.wrong_values import REFUSED, SUSPECT, Wrong

MANY: Final = 20_000
OUTPUT_ONLY: Final = frozenset({"WorkflowSpec.version"})
"""Fields of requests that the contract says are ignored when sent."""
UNREAD: Final = frozenset({"Drain.timeout", "Goodbye.reason", "Goodbye.reconnect_delay"})
"""Fields of messages that both sides of a stream may send, and that the server has no use for."""

_F = FieldDescriptor
_SCALARS: Final[dict[int, tuple[Wrong, ...]]] = {
    _F.TYPE_BYTES: wrong.BAD_BYTES,
    _F.TYPE_INT32: wrong.BAD_INT32,
    _F.TYPE_INT64: wrong.BAD_INT64,
    _F.TYPE_DOUBLE: wrong.BAD_DOUBLE,
    _F.TYPE_ENUM: wrong.BAD_ENUM,
    _F.TYPE_BOOL: (("false", False, SUSPECT), ("true", True, SUSPECT)),
}
TIMES: Final[dict[str, tuple[Wrong, ...]]] = {
    Timestamp.DESCRIPTOR.full_name: wrong.BAD_INSTANT,
    Duration.DESCRIPTOR.full_name: wrong.BAD_SPAN,
}


Change = Callable[[Any], None]
"""Makes a message wrong, in place."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One wrong request, made when it is asked for.

    Args:
        path: of the field that is wrong, as google.rpc.BadRequest would name it.
        how: what is wrong with it.
        must_refuse: the contract forbids it; else the server may accept it.
        make: gives the bytes of the request.
    """

    path: str
    how: str
    must_refuse: bool
    make: Callable[[], bytes]

    @property
    def data(self) -> bytes:
        """The bytes of the request."""
        return self.make()

    def __str__(self) -> str:
        return f"{self.path}: {self.how}"


def mutations(request: Message) -> Iterator[Mutation]:
    """Every wrong request that differs from this one in one field that it sets, or could set."""
    whole = request.SerializeToString()
    for how, must_refuse, data in (
        ("empty request", SUSPECT, b""),
        ("cut short", SUSPECT, whole[: len(whole) // 2]),
        ("an unknown field", SUSPECT, whole + b"\xfa\x3f\x03new"),
        ("a field of another wire type", SUSPECT, whole + b"\x0d\x00\x00\x00\x00"),
        ("a group that does not end", REFUSED, whole + b"\xfb\x3f"),
    ):
        yield Mutation("", how, must_refuse, partial(bytes, data))
    for path, how, must_refuse, change in _of_message(request, ""):
        yield Mutation(path, how, must_refuse, partial(_changed, request, change))
    for path, change in _places(request, ""):
        for how, text in _NOT_UTF8:
            yield Mutation(path, how, REFUSED, partial(_replaced, request, change, text))


def _changed(request: Message, change: Change) -> bytes:
    copy = type(request)()
    copy.CopyFrom(request)
    change(copy)
    return copy.SerializeToString()


Found = Iterator[tuple[str, str, bool, Change]]
"""Path, what is wrong, whether it must be refused, and what makes it so."""


def descriptor_of(message: Message) -> Descriptor:
    """Its descriptor, under the type that the rest of protobuf's stubs use."""
    return cast(Descriptor, message.DESCRIPTOR)


def fields_in(message: Descriptor) -> list[FieldDescriptor]:
    """Its fields, but for those that only answers use."""
    return [field for field in message.fields if f"{message.name}.{field.name}" not in OUTPUT_ONLY]


def _of_message(message: Message, at: str) -> Found:
    for field in fields_in(descriptor_of(message)):
        is_read = f"{message.DESCRIPTOR.name}.{field.name}" not in UNREAD
        for path, how, must_refuse, change in _of_field(message, field, f"{at}{field.name}"):
            yield path, how, must_refuse and is_read, change
    for oneof in message.DESCRIPTOR.oneofs:
        if message.WhichOneof(oneof.name) and len(oneof.fields) > 1:
            yield f"{at}{oneof.name}", "none is set", SUSPECT, _clearer(oneof.name)


def _of_field(message: Message, field: FieldDescriptor, path: str) -> Found:
    if is_map(field):
        yield from _of_map(message, field, path)
    elif field.is_repeated:
        yield from _of_repeated(message, field, path)
    elif field.message_type is not None:
        yield from _of_submessage(message, field, field.message_type, path)
    elif field.containing_oneof is None or message.HasField(field.name):
        for how, value, must_refuse in _wrong_values(field):
            yield path, how, must_refuse, _setter(field.name, value)


def _wrong_values(field: FieldDescriptor) -> tuple[Wrong, ...]:
    if field.type == _F.TYPE_STRING:
        return wrong.BAD_JSON if field.name.endswith("_json") else wrong.BAD_TEXT
    return _SCALARS[field.type]


def _of_submessage(message: Message, field: FieldDescriptor, inner_type: Descriptor, path: str) -> Found:
    inside = attrgetter(field.name)
    times = TIMES.get(inner_type.full_name)
    if times is not None and (field.containing_oneof is None or message.HasField(field.name)):
        for how, (seconds, nanos), must_refuse in times:
            yield path, how, must_refuse, _below(inside, partial(_set_time, seconds=seconds, nanos=nanos))
    if not message.HasField(field.name):
        return
    yield path, "left out", SUSPECT, _clearer(field.name)
    yield path, "empty", SUSPECT, _below(inside, _empty)
    if times is None:
        for inner, how, must_refuse, change in _of_message(inside(message), f"{path}."):
            yield inner, how, must_refuse, _below(inside, change)


def _of_repeated(message: Message, field: FieldDescriptor, path: str) -> Found:
    inside = attrgetter(field.name)
    if not inside(message):
        yield from _of_empty(field, inside, path)
        return
    yield path, "no item", SUSPECT, _clearer(field.name)
    yield path, f"{MANY} items", REFUSED, _below(inside, _multiply)
    if field.message_type is not None:
        for inner, how, must_refuse, change in _of_message(inside(message)[0], f"{path}[0]."):
            yield inner, how, must_refuse, _below(inside, _below(itemgetter(0), change))
        return
    for how, value, must_refuse in _wrong_values(field):
        yield f"{path}[0]", how, must_refuse, _below(inside, partial(_set_first, value=value))


def _of_empty(field: FieldDescriptor, inside: Callable[[Any], Any], path: str) -> Found:
    """A first item where the right request has none, perhaps because there must be none."""
    if field.message_type is None:
        for how, value, must_refuse in _wrong_values(field):
            yield f"{path}[0]", how, must_refuse, _below(inside, partial(_append, value=value))


def _of_map(message: Message, field: FieldDescriptor, path: str) -> Found:
    inside = attrgetter(field.name)
    if inner_message(field) is not None:
        yield from _of_message_map(inside(message), inside, path)
        return
    for how, items, must_refuse in (
        ("33 entries", {f"key-{number}": "value" for number in range(33)}, REFUSED),
        ("an empty key", {"": "value"}, REFUSED),
        ("a key of 300 bytes", {"k" * 300: ""}, REFUSED),
        ("a value of 1 MiB", {"key": "v" * 1024 * 1024}, REFUSED),
        ("U+0000 in a key", {"a\0": "b"}, SUSPECT),
        ("no entry", {}, SUSPECT),
    ):
        if items != dict(inside(message)):
            yield path, how, must_refuse, _below(inside, partial(_set_items, items=items))


def _of_message_map(values: Mapping[str, Message], inside: Callable[[Any], Any], path: str) -> Found:
    for key in sorted(values):
        for inner, how, must_refuse, change in _of_message(values[key], f"{path}[{key}]."):
            yield inner, how, must_refuse, _below(inside, _below(itemgetter(key), change))
        for bad_key in ("", "k" * 129, "with space"):
            copy = partial(_copy_entry, key=key, another=bad_key)
            yield path, f"an entry with the key {bad_key[:12]!r}", REFUSED, _below(inside, copy)


# Changes.


def _below(inside: Callable[[Any], Any], change: Change) -> Change:
    return lambda outer: change(inside(outer))


def _setter(name: str, value: Any) -> Change:
    return lambda message: setattr(message, name, value)


def _clearer(name: str) -> Change:
    return lambda message: message.ClearField(name)


def _empty(message: Message) -> None:
    message.Clear()
    message.SetInParent()


def _set_time(time: Any, seconds: int, nanos: int) -> None:
    time.seconds, time.nanos = seconds, nanos


def _multiply(items: Any) -> None:
    items.extend([items[0]] * MANY)


def _set_first(items: Any, value: Any) -> None:
    items[0] = value


def _append(items: Any, value: Any) -> None:
    items.append(value)


def _set_items(entries: Any, items: Mapping[str, str]) -> None:
    entries.clear()
    entries.update(items)


def _copy_entry(entries: Any, key: str, another: str) -> None:
    entries[another].CopyFrom(entries[key])


def is_map(field: FieldDescriptor) -> bool:
    """Whether it is a map field."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def inner_message(field: FieldDescriptor) -> Descriptor | None:
    """What a field holds, if that is messages; of a map, its values."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return entry
    return entry.fields_by_name["value"].message_type


# Texts that are not UTF-8: only bytes can say them.

_PLACE: Final = "\x02\x03place"
_NOT_UTF8: Final = (
    ("not UTF-8", b"\xff\xfe\xfdaaaa"),
    ("a lone surrogate in UTF-8", b"a\xed\xa0\x80aaa"),
    ("an overlong encoding", b"a\xc0\xafaaaa"),
)


def _replaced(request: Message, change: Change, text: bytes) -> bytes:
    return _changed(request, change).replace(_PLACE.encode(), text)


def _places(message: Message, at: str) -> Iterator[tuple[str, Change]]:
    """Changes that put the placeholder where a text is set."""
    for field, value in cast("list[tuple[FieldDescriptor, Any]]", message.ListFields()):
        path = f"{at}{field.name}"
        if is_map(field):
            continue
        if field.type == _F.TYPE_STRING and not field.is_repeated:
            yield path, _setter(field.name, _PLACE)
        elif field.message_type is not None and field.message_type.full_name not in TIMES:
            inner = value[0] if field.is_repeated else value
            inside = attrgetter(field.name)
            for inner_path, change in _places(inner, f"{path}."):
                below = _below(itemgetter(0), change) if field.is_repeated else change
                yield inner_path, _below(inside, below)


def field_exists(descriptor: Descriptor, path: str) -> bool:
    """Whether a path of google.rpc.BadRequest names a field, or a oneof, of a message, or a place in a JSON text."""
    head, _, rest = without_index(path).partition(".")
    field = descriptor.fields_by_name.get(head)
    if field is None:
        return head in descriptor.oneofs_by_name and not rest
    if not rest:
        return True
    inner = inner_message(field)
    return head.endswith("_json") if inner is None else field_exists(inner, rest)


def without_index(path: str) -> str:
    """A path without what stands in brackets, which may itself hold dots."""
    plain, depth = "", 0
    for letter in path:
        depth += (letter == "[") - (letter == "]")
        plain += letter if depth == 0 and letter != "]" else ""
    return plain


def touches(named: str, path: str) -> bool:
    """Whether an error that names one field speaks of another: the same, above or below it, or its oneof."""
    first, second = without_index(named), without_index(path)
    return first.startswith(second) or second.startswith(first) or _parent(first) == _parent(second)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]
