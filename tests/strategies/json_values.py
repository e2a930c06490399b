"""JSON values and texts as the contract accepts them."""

import json

from hypothesis import strategies as st

from perdure_server.kernel.values import Json, Leaf

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
integers = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-100, 100),
    st.sampled_from([0, -(2**63), 2**63 - 1, 2**63, 2**64 - 1]),
)
scalars: st.SearchStrategy[Json] = st.one_of(
    st.none(), st.booleans(), integers, st.floats(allow_nan=False, allow_infinity=False), texts
)
values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
objects: st.SearchStrategy[dict[str, Json]] = st.dictionaries(texts, values, max_size=4)


def _leaf(value: Json, spaced: bool, ascii_only: bool) -> Leaf:
    separators = (", ", ": ") if spaced else (",", ":")
    return Leaf(json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode())


leaves = st.builds(_leaf, values, st.booleans(), st.booleans())
object_leaves = st.builds(_leaf, objects, st.booleans(), st.booleans())
