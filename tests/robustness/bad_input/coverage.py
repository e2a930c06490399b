"""Which fields the requests of a method have, by the contract's descriptors, and which of them mutations make wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import Descriptor

from tests.robustness.bad_input.mutations import TIMES, Mutation, fields_in, inner_message, without_index


def fields_of(message: Descriptor, at: str = "", inside: tuple[str, ...] = ()) -> Iterator[str]:
    """Paths of all fields of a message and of the messages inside of it, without indexes and keys. A message inside
    of itself is not entered again."""
    for field in fields_in(message):
        path = f"{at}{field.name}"
        yield path
        inner = inner_message(field)
        if inner is not None and inner.full_name not in (*inside, *TIMES):
            yield from fields_of(inner, f"{path}.", (*inside, inner.full_name))


def never_wrong(message: Descriptor, wrong: Iterable[Mutation]) -> list[str]:
    """Fields of a request that none of the mutations makes wrong."""
    return sorted(set(fields_of(message)) - {without_index(mutation.path) for mutation in wrong})
