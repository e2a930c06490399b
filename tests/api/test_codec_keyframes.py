"""Keyframes and stored waits give back exactly what was encoded."""

import json

import pytest
from hypothesis import given

from perdure_server.api.codec import keyframes
from perdure_server.kernel.model import RunState, Wait
from tests.strategies.domain import values_of


@given(values_of(RunState))
@pytest.mark.promise("P3")
def test_a_state_survives(run: RunState) -> None:
    twin = keyframes.decode_state(keyframes.encode_state(run))
    assert twin == run
    # Equality takes 1 for 1.0 and True, and any key order: the texts must agree too.
    assert json.dumps(twin.vars) == json.dumps(run.vars)


@given(values_of(Wait))
def test_a_wait_survives(wait: Wait) -> None:
    assert keyframes.decode_wait(keyframes.encode_wait(wait)) == wait


def state(**changes: object) -> RunState:
    run = RunState("ns", "r", "r", "w", "v", "n")
    for name, value in changes.items():
        setattr(run, name, value)
    return run


@pytest.mark.parametrize(
    "value",
    [2**64 - 1, -(2**63), 2**70, -0.0, 1e300, 5e-324, 0.1, 1.0, 1, True, None, "\u2028\U0001f600", [], {}],
)
def test_numbers_keep_their_kind_and_value(value: object) -> None:
    twin = keyframes.decode_state(keyframes.encode_state(state(vars={"v": value})))
    assert repr(twin.vars["v"]) == repr(value)


def test_vars_may_be_nested_deeper_than_one_leaf() -> None:
    value: object = "bottom"
    for _ in range(300):
        value = {"down": [value]}
    twin = keyframes.decode_state(keyframes.encode_state(state(vars={"deep": value})))
    assert twin.vars == {"deep": value}


def test_a_field_left_out_reads_as_its_default() -> None:
    assert b"cancelling" not in keyframes.encode_state(state())
    assert keyframes.decode_state(keyframes.encode_state(state())).cancelling is False


@pytest.mark.parametrize("data", [b"", b"PKF2", b"PWT1{}"])
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(keyframes.StoredFormatError, match="keyframe starts with"):
        keyframes.decode_state(data)


def test_a_wait_of_another_format_is_refused() -> None:
    with pytest.raises(keyframes.StoredFormatError, match="wait starts with"):
        keyframes.decode_wait(b"PKF1{}")
