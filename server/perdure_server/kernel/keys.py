"""Keys derived from a run's place: the idempotency key of an effect."""

from __future__ import annotations

import base64
import hashlib


def length_prefixed(text: str) -> bytes:
    """uint32 big-endian byte length, then the UTF-8 bytes: no two sequences of texts collide."""
    data = text.encode()
    return len(data).to_bytes(4, "big") + data


def idempotency_key(namespace: str, run_id: str, node_id: str, visit: int) -> str:
    """The key that all attempts of one visit's effect share (DESIGN 4, Effect).

    First 32 characters of upper-case RFC 4648 base32 of
    SHA-256(lp("perdure/effect/v1") || lp(namespace) || lp(run_id) || lp(node_id) || uint64 visit).
    """
    material = b"".join(length_prefixed(text) for text in ("perdure/effect/v1", namespace, run_id, node_id))
    digest = hashlib.sha256(material + visit.to_bytes(8, "big")).digest()
    return base64.b32encode(digest[:20]).decode()
