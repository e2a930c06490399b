"""The idempotency key of an effect, as the server derives it."""

from __future__ import annotations

import base64
import hashlib

_DOMAIN = "perdure/effect/v1"


def effect_key(namespace: str, run_id: str, node_id: str, visit: int) -> str:
    """The first 32 characters of base32(SHA-256(lp(domain) || lp(namespace) || lp(run) || lp(node) || visit)).

    lp(x) is the length of x's UTF-8 bytes as uint32, then the bytes; visit is a uint64; both big-endian.
    """
    digest = hashlib.sha256()
    for part in (_DOMAIN, namespace, run_id, node_id):
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    digest.update(visit.to_bytes(8, "big"))
    return base64.b32encode(digest.digest())[:32].decode()
