"""The hashes that seal a ledger (P9). Every client can recompute them from the contract.

`||` is concatenation and lp(x) = uint32 big-endian byte length || UTF-8 bytes.
"""

from __future__ import annotations

import hashlib
from typing import Final

_RUN_DOMAIN: Final = "perdure/run/v1"
_RECORD_DOMAIN: Final = b"perdure/record/v1"

HASH_BYTES: Final = 32
"""Length of every hash here (SHA-256)."""


def length_prefixed(text: str) -> bytes:
    """lp(text): so that no two lists of texts have the same bytes."""
    data = text.encode()
    return len(data).to_bytes(4, "big") + data


def genesis_hash(namespace: str, run_id: str) -> bytes:
    """The `prev_hash` of a run's first record.

    SHA-256(lp("perdure/run/v1") || lp(namespace) || lp(run_id)).
    """
    return hashlib.sha256(length_prefixed(_RUN_DOMAIN) + length_prefixed(namespace) + length_prefixed(run_id)).digest()


def record_hash(prev_hash: bytes, record: bytes) -> bytes:
    """Hash of a record and, through `prev_hash`, of all before it.

    SHA-256("perdure/record/v1" || prev_hash || record), `record` being the stored bytes.
    """
    return hashlib.sha256(_RECORD_DOMAIN + prev_hash + record).digest()


def commitment(salt: bytes, data: bytes) -> bytes:
    """What a record keeps of a payload: SHA-256(salt || data), salt = 16 random bytes.

    The salt keeps an erased payload from being guessed.
    """
    return hashlib.sha256(salt + data).digest()
