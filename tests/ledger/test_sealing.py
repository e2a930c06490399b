"""The hashes are those of the contract's formulas, and never change."""

from __future__ import annotations

import hashlib
import struct

import pytest

from perdure_server.engine.sealing import commitment, genesis_hash, record_hash

pytestmark = pytest.mark.promise("P9")


def lp(text: str) -> bytes:
    """lp(x), from the contract's words."""
    return struct.pack(">I", len(text.encode("utf-8"))) + text.encode("utf-8")


@pytest.mark.parametrize(("namespace", "run_id"), [("default", "r-1"), ("", ""), ("größe", "a:b.c")])
def test_the_genesis_hash_follows_the_formula(namespace: str, run_id: str) -> None:
    expected = hashlib.sha256(lp("perdure/run/v1") + lp(namespace) + lp(run_id)).digest()
    assert genesis_hash(namespace, run_id) == expected


def test_the_genesis_hash_separates_namespace_and_run() -> None:
    assert genesis_hash("ab", "c") != genesis_hash("a", "bc")


def test_the_record_hash_follows_the_formula() -> None:
    expected = hashlib.sha256(b"perdure/record/v1" + b"\x01" * 32 + b"record").digest()
    assert record_hash(b"\x01" * 32, b"record") == expected


def test_the_commitment_follows_the_formula() -> None:
    assert commitment(b"s" * 16, b"data") == hashlib.sha256(b"s" * 16 + b"data").digest()


def test_the_hashes_are_those_of_the_first_release() -> None:
    genesis = genesis_hash("default", "run-1")
    assert genesis.hex() == "65f5d41b88f950c0740bcef7d294b7e386c9e56c46f6441b7b7b79b494d6c41b"
    assert (
        record_hash(genesis, b"\x0a\x05run-1").hex()
        == "888d4ec8f387858ce34b214cdf224aca4891a772ef37347395f46fe7b719ee19"
    )
    assert (
        commitment(bytes(range(16)), b'{"a":1}').hex()
        == "aed8a0ebb5f60a8aa06554873318b8e888584ebddf7878258719930ae328cbb2"
    )
