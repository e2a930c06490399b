"""The only place of the server that makes random values and ids."""

from __future__ import annotations

import hashlib
import os


def new_id(now_us: int) -> str:
    """A UUIDv7 (RFC 9562, section 5.7) for this instant: 48 bits of milliseconds, the rest random."""
    value = bytearray((now_us // 1_000).to_bytes(6, "big") + os.urandom(10))
    value[6] = 0x70 | (value[6] & 0x0F)
    value[8] = 0x80 | (value[8] & 0x3F)
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_POOLED = 256
_pool: list[bytes] = []


def new_salts(count: int) -> list[bytes]:
    """`count` salts of 16 random bytes each, for payload commitments. None is given out twice."""
    while len(_pool) < count:
        drawn = os.urandom(16 * _POOLED)
        _pool.extend(drawn[at : at + 16] for at in range(0, len(drawn), 16))
    taken = _pool[-count:]
    del _pool[-count:]
    return taken


def new_epoch() -> str:
    """Identity of a store: 32 hex digits."""
    return os.urandom(16).hex()


def epoch_tag(epoch: str) -> bytes:
    """A store's epoch in eight bytes, as cursors and task tokens carry it."""
    return hashlib.sha256(epoch.encode()).digest()[:8]
