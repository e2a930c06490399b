"""Task tokens name one attempt, and nothing else passes for one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_server.api.codec.tokens import decode_token, encode_token, token_bytes
from perdure_server.dispatch.messages import TaskToken

ids = st.text("abcXYZ019._:-", min_size=1, max_size=128)
epochs = st.binary(min_size=8, max_size=8)
tokens = st.builds(TaskToken, ids, ids, st.integers(1, 2**63 - 1), st.integers(1, 2**31 - 1), epochs | st.just(b""))


@given(tokens)
def test_a_token_survives(token: TaskToken) -> None:
    data = encode_token(token)
    found = decode_token(data)
    assert found == token
    assert token_bytes(found) == data
    assert len(data) <= 300


@given(tokens, st.data())
@pytest.mark.promise("P5")
def test_a_changed_token_is_foreign(token: TaskToken, data: st.DataObject) -> None:
    good = encode_token(token)
    at = data.draw(st.integers(0, len(good) - 1))
    bit = data.draw(st.integers(0, 7))
    bad = good[:at] + bytes([good[at] ^ (1 << bit)]) + good[at + 1 :]
    assert decode_token(bad) == bad
    assert token_bytes(bad) == bad


@given(tokens, st.integers(1, 40))
def test_a_cut_or_longer_token_is_foreign(token: TaskToken, count: int) -> None:
    good = encode_token(token)
    for bad in (good[:-count], good[count:], good + bytes(count)):
        assert decode_token(bad) == bad


@given(tokens, epochs)
@pytest.mark.promise("P5")
def test_the_same_attempt_of_another_epoch_is_another_token(token: TaskToken, epoch: bytes) -> None:
    other = replace(token, epoch=epoch)
    assert (decode_token(encode_token(other)) == token) == (encode_token(other) == encode_token(token))
    assert (other == token) == (epoch == token.epoch)


def test_a_token_of_the_first_release_is_read() -> None:
    data = bytes.fromhex("010764656661756c740161000000000000000200000001c66911fa")
    assert decode_token(data) == TaskToken("default", "a", 2, 1)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    assert token_bytes(decode_token(data)) == data
