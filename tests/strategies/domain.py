"""Kernel values of every kind, made from the type hints of their dataclasses.

`values_of(SomeDataclass)` gives any instance; what types alone do not say stands in `_SPECIAL`. Instants
(`*_at`) and spans (`*_us`) keep to what the contract can carry.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import IntEnum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from perdure_server.kernel import model as m
from perdure_server.kernel import records as r
from perdure_server.kernel.values import Leaf
from tests.strategies.json_values import leaves, objects, texts

T = TypeVar("T")

MAX_INSTANT_US = 253_402_300_800_000_000 - 1
SPAN_US = 100 * 365 * 86_400 * 1_000_000

instants = st.one_of(st.just(0), st.integers(1, MAX_INSTANT_US))
spans = st.integers(0, SPAN_US)
counts = st.integers(0, 2**31 - 1)
labels = st.dictionaries(texts, texts, max_size=3)


def values_of(kind: type[T]) -> st.SearchStrategy[T]:
    """Any instance of a dataclass of the kernel."""
    return _values_of(kind)


@cache
def _values_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    special = _SPECIAL.get(kind)
    return special() if special else _from_hints(kind)


def _from_hints(kind: type[Any], **chosen: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    names = [item.name for item in fields(kind) if item.name not in chosen]
    return st.builds(kind, **{name: _of_hint(hints[name], name) for name in names}, **chosen)


def _of_hint(hint: Any, name: str) -> st.SearchStrategy[Any]:
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        return st.one_of(*[_of_hint(member, name) for member in get_args(hint)])
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin is tuple:
        return _of_tuple(get_args(hint), name)
    if origin is not None and issubclass(origin, Mapping):
        key, value = get_args(hint)
        return st.dictionaries(_of_hint(key, name), _of_hint(value, name), max_size=3)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return st.sampled_from(list(hint))
    if isinstance(hint, type) and is_dataclass(hint):
        return st.deferred(lambda: values_of(hint))
    return _of_plain(hint, name)


def _of_tuple(members: tuple[Any, ...], name: str) -> st.SearchStrategy[Any]:
    if len(members) == 2 and members[1] is Ellipsis:
        return st.lists(_of_hint(members[0], name), max_size=3).map(tuple)
    return st.tuples(*[_of_hint(member, name) for member in members])


def _of_plain(hint: Any, name: str) -> st.SearchStrategy[Any]:
    if hint is int:
        return instants if name.endswith("_at") else spans if name.endswith("_us") else counts
    return {
        str: texts,
        bool: st.booleans(),
        float: st.floats(1, 1_000),
        bytes: st.binary(max_size=40),
        Leaf: leaves,
        type(None): st.none(),
    }[hint]


def _vars_op() -> st.SearchStrategy[m.VarsOp]:
    changes = st.builds(m.VarsOp, texts, st.sampled_from(["set", "append"]), leaves)
    return changes | st.builds(m.VarsOp, texts, st.just("remove"))


def _wait_until() -> st.SearchStrategy[m.WaitUntil]:
    return st.builds(m.WaitUntil, delay_us=spans) | st.builds(m.WaitUntil, until_at=st.integers(1, MAX_INSTANT_US))


def _start_subworkflow() -> st.SearchStrategy[m.StartSubworkflow]:
    return _from_hints(m.StartSubworkflow, labels=labels.map(lambda found: tuple(sorted(found.items()))))


def _open_effect() -> st.SearchStrategy[m.OpenEffect]:
    def settled_by(effect: m.OpenEffect) -> m.OpenEffect:
        kind = ("parallel" if effect.request.names else "foreach") if isinstance(effect.request, m.Fanout) else "own"
        return replace(effect, type=kind, server_side=not isinstance(effect.request, m.RemoteRequest))

    return _from_hints(m.OpenEffect).map(settled_by)


def _fanout() -> st.SearchStrategy[m.Fanout]:
    """Branches with a node each, or items that share one."""
    names = st.lists(texts, min_size=1, max_size=3).map(tuple)
    branches = names.flatmap(
        lambda found: _from_hints(m.Fanout, names=st.just(found), entry_nodes=st.just(found), items=st.none())
    )
    nodes = st.tuples(texts)
    return branches | _from_hints(m.Fanout, names=st.just(()), entry_nodes=nodes, items=leaves)


def _run_state() -> st.SearchStrategy[m.RunState]:
    return _from_hints(m.RunState, vars=objects)


_SPECIAL: Mapping[type[Any], Callable[[], st.SearchStrategy[Any]]] = {
    m.VarsOp: _vars_op,
    m.WaitUntil: _wait_until,
    m.AnswerUser: lambda: _from_hints(m.AnswerUser, level=st.sampled_from(["message", "warning", "error"])),
    m.VarsQuery: lambda: _from_hints(m.VarsQuery, path=texts.filter(bool)),
    m.RetryPolicy: lambda: _from_hints(m.RetryPolicy, max_attempts=st.integers(1, 1_000_000)),
    m.StartSubworkflow: _start_subworkflow,
    m.OpenEffect: _open_effect,
    m.Fanout: _fanout,
    m.RunState: _run_state,
    r.Migrated: lambda: _from_hints(r.Migrated, node_map=labels.map(lambda found: tuple(sorted(found.items())))),
}

bodies: st.SearchStrategy[r.Body] = st.one_of(*[values_of(kind) for kind in r.KIND_OF])


def records_of(kind: type[r.Body]) -> st.SearchStrategy[r.Record]:
    """Records with a body of this kind."""
    return _from_hints(r.Record, body=values_of(kind), seq=st.integers(1, 2**62))
