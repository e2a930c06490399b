"""Wrong requests out of a right one: each differs in one field, which its path names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tests.robustness.bad_input import wrong_values as wrong
from tests.robustness.bad_input.wrong_values import REFUSED, SUSPECT, Wrong

M = TypeVar("M", bound=Message)

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


@dataclass(frozen=True, slots=True)
class Mutation:
    """One wrong request.

    Args:
        path: of the field that is wrong, as google.rpc.BadRequest would name it.
        how: what is wrong with it.
        must_refuse: the contract forbids it; else the server may accept it.
        data: the bytes of the request.
    """

    path: str
    how: str
    must_refuse: bool
    data: bytes

    def __str__(self) -> str:
        return f"{self.path}: {self.how}"


def mutations(message: Message) -> Iterator[Mutation]:
    """Every wrong request that differs from this one in one field that it sets, or could set."""
    yield Mutation("", "empty request", SUSPECT, b"")
    whole = message.SerializeToString()
    yield Mutation("", "cut short", SUSPECT, whole[: len(whole) // 2])
    yield Mutation("", "an unknown field", SUSPECT, whole + b"\xfa\x3f\x03new")
    yield Mutation("", "a field of another wire type", SUSPECT, whole + b"\x0d\x00\x00\x00\x00")
    yield Mutation("", "a group that does not end", REFUSED, whole + b"\xfb\x3f")
    for path, how, must_refuse, wrong_message in _of_message(message, ""):
        yield Mutation(path, how, must_refuse, wrong_message.SerializeToString())
    yield from _bad_utf8(message)


Found = Iterator[tuple[str, str, bool, Message]]


def descriptor_of(message: Message) -> Descriptor:
    """Its descriptor, under the type that the rest of protobuf's stubs use."""
    return cast(Descriptor, message.DESCRIPTOR)


def fields_in(message: Descriptor) -> list[FieldDescriptor]:
    """Its fields, but for those that only answers use."""
    return [field for field in message.fields if f"{message.name}.{field.name}" not in OUTPUT_ONLY]


def _of_message(message: M, at: str) -> Iterator[tuple[str, str, bool, M]]:
    for field in fields_in(descriptor_of(message)):
        is_read = f"{message.DESCRIPTOR.name}.{field.name}" not in UNREAD
        for path, how, must_refuse, copy in _of_field(message, field, f"{at}{field.name}"):
            yield path, how, must_refuse and is_read, copy
    for oneof in message.DESCRIPTOR.oneofs:
        if message.WhichOneof(oneof.name) and len(oneof.fields) > 1:
            yield (
                f"{at}{oneof.name}",
                "none is set",
                SUSPECT,
                changed(message, _clearer(oneof.name)),
            )


def _of_field(message: M, field: FieldDescriptor, path: str) -> Iterator[tuple[str, str, bool, M]]:
    if is_map(field):
        yield from _of_map(message, field, path)
    elif field.is_repeated:
        yield from _of_repeated(message, field, path)
    elif field.message_type is not None:
        yield from _of_submessage(message, field, field.message_type, path)
    elif field.containing_oneof is None or message.HasField(field.name):
        yield from _of_scalar(message, field, path)


def _of_scalar(message: M, field: FieldDescriptor, path: str) -> Iterator[tuple[str, str, bool, M]]:
    for how, value, must_refuse in _wrong_values(field):
        yield path, how, must_refuse, changed(message, _setter(field.name, value))


def _wrong_values(field: FieldDescriptor) -> tuple[Wrong, ...]:
    if field.type == _F.TYPE_STRING:
        return wrong.BAD_JSON if field.name.endswith("_json") else wrong.BAD_TEXT
    return _SCALARS[field.type]


def _setter(name: str, value: Any) -> Callable[[Message], None]:
    return lambda copy: setattr(copy, name, value)


def _of_submessage(
    message: M, field: FieldDescriptor, inner_type: Descriptor, path: str
) -> Iterator[tuple[str, str, bool, M]]:
    times = TIMES.get(inner_type.full_name)
    if times is not None and (field.containing_oneof is None or message.HasField(field.name)):
        for how, (seconds, nanos), must_refuse in times:
            yield path, how, must_refuse, changed(message, _time_setter(field.name, seconds, nanos))
    if not message.HasField(field.name):
        return
    yield path, "left out", SUSPECT, changed(message, _clearer(field.name))
    yield path, "empty", SUSPECT, changed(message, lambda copy: _clear(getattr(copy, field.name)))
    if times is None:
        for inner, how, must_refuse, part in _of_message(getattr(message, field.name), f"{path}."):
            yield inner, how, must_refuse, changed(message, _replacer(field.name, part))


def _time_setter(name: str, seconds: int, nanos: int) -> Callable[[Message], None]:
    def change(copy: Message) -> None:
        part = getattr(copy, name)
        part.seconds, part.nanos = seconds, nanos

    return change


def _clearer(name: str) -> Callable[[Message], None]:
    return lambda copy: copy.ClearField(name)


def _clear(part: Message) -> None:
    part.Clear()
    part.SetInParent()


def _replacer(name: str, part: Message) -> Callable[[Message], None]:
    return lambda copy: getattr(copy, name).CopyFrom(part)


def _of_repeated(message: M, field: FieldDescriptor, path: str) -> Iterator[tuple[str, str, bool, M]]:
    values = getattr(message, field.name)
    if not values:
        return
    yield path, "no item", SUSPECT, changed(message, _clearer(field.name))
    first = values[0]
    yield (
        path,
        f"{MANY} items",
        REFUSED,
        changed(message, lambda copy: getattr(copy, field.name).extend([first] * MANY)),
    )
    if field.message_type is not None:
        for inner, how, must_refuse, part in _of_message(first, f"{path}[0]."):
            yield inner, how, must_refuse, changed(message, _item_replacer(field.name, part))
        return
    for how, value, must_refuse in _wrong_values(field):
        yield f"{path}[0]", how, must_refuse, changed(message, _item_setter(field.name, value))


def _item_replacer(name: str, part: Message) -> Callable[[Message], None]:
    return lambda copy: getattr(copy, name)[0].CopyFrom(part)


def _item_setter(name: str, value: Any) -> Callable[[Message], None]:
    def change(copy: Message) -> None:
        getattr(copy, name)[0] = value

    return change


def _of_map(message: M, field: FieldDescriptor, path: str) -> Iterator[tuple[str, str, bool, M]]:
    values = getattr(message, field.name)
    if inner_message(field) is not None:
        yield from _of_message_map(message, field, path)
        return
    for how, items, must_refuse in (
        ("33 entries", {f"key-{number}": "value" for number in range(33)}, REFUSED),
        ("an empty key", {"": "value"}, REFUSED),
        ("a key of 300 bytes", {"k" * 300: ""}, REFUSED),
        ("a value of 1 MiB", {"key": "v" * 1024 * 1024}, REFUSED),
        ("U+0000 in a key", {"a\0": "b"}, SUSPECT),
        ("no entry", {}, SUSPECT),
    ):
        if items != dict(values):
            yield path, how, must_refuse, changed(message, _map_setter(field.name, items))


def _map_setter(name: str, items: dict[str, str]) -> Callable[[Message], None]:
    def change(copy: Message) -> None:
        copy.ClearField(name)
        getattr(copy, name).update(items)

    return change


def _of_message_map(message: M, field: FieldDescriptor, path: str) -> Iterator[tuple[str, str, bool, M]]:
    values = getattr(message, field.name)
    for key in sorted(values):
        for inner, how, must_refuse, part in _of_message(values[key], f"{path}[{key}]."):
            yield inner, how, must_refuse, changed(message, _entry_replacer(field.name, key, part))
        for bad_key in ("", "k" * 129, "with space"):
            copy = changed(message, _entry_replacer(field.name, bad_key, values[key]))
            yield path, f"an entry with the key {bad_key[:12]!r}", REFUSED, copy


def _entry_replacer(name: str, key: str, part: Message) -> Callable[[Message], None]:
    return lambda copy: getattr(copy, name)[key].CopyFrom(part)


def changed(message: M, change: Callable[[M], Any]) -> M:
    """A copy with one change."""
    copy = type(message)()
    copy.CopyFrom(message)
    change(copy)
    return copy


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


def _bad_utf8(message: Message) -> Iterator[Mutation]:
    for path, placed in _with_place(message, ""):
        data = placed.SerializeToString()
        for how, text in _NOT_UTF8:
            yield Mutation(path, how, REFUSED, data.replace(_PLACE.encode(), text))


def _with_place(message: M, at: str) -> Iterator[tuple[str, M]]:
    """Copies in which one text that is set is the placeholder."""
    for field, value in cast("list[tuple[FieldDescriptor, Any]]", message.ListFields()):
        path = f"{at}{field.name}"
        if is_map(field):
            continue
        if field.type == _F.TYPE_STRING and not field.is_repeated:
            yield path, changed(message, _setter(field.name, _PLACE))
        elif field.message_type is not None and field.message_type.full_name not in TIMES:
            inner, put = (value[0], _item_replacer) if field.is_repeated else (value, _replacer)
            for inner_path, part in _with_place(inner, f"{path}."):
                yield inner_path, changed(message, put(field.name, part))


def field_exists(descriptor: Descriptor, path: str) -> bool:
    """Whether a path of google.rpc.BadRequest names a field, or a oneof, of a message."""
    head, _, rest = without_index(path).partition(".")
    field = descriptor.fields_by_name.get(head)
    if field is None:
        return head in descriptor.oneofs_by_name and not rest
    if not rest:
        return True
    inner = inner_message(field)
    return inner is not None and field_exists(inner, rest)


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
