"""Task tokens: one attempt at one step, as opaque bytes that a worker echoes.

Version 2 (1 byte), tag of the store's epoch (8 bytes), length and bytes of the namespace, length and bytes of the
run id, step_id (8 bytes), attempt (4 bytes), CRC-32 of all before (4 bytes); big-endian. Version 1, of 0.1, had no
tag. The checksum tells a token of this server from other bytes; it authorises nothing, the fencing is the attempt's
(P5), within the data that the tag names.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from perdure_server.dispatch.messages import AnyToken, TaskToken

_TAG_BYTES: Final = {1: 0, 2: 8}
"""By version."""

_STEP: Final = struct.Struct(">QI")
_CHECKSUM: Final = struct.Struct(">I")


def encode_token(token: TaskToken) -> bytes:
    """The token's bytes: those that came from the worker, if they did."""
    if token.raw:
        return token.raw
    namespace, run_id = token.namespace.encode(), token.run_id.encode()
    body = b"".join(
        (
            b"\x02" if token.epoch else b"\x01",
            token.epoch,
            bytes((len(namespace),)),
            namespace,
            bytes((len(run_id),)),
            run_id,
            _STEP.pack(token.step_id, token.attempt),
        )
    )
    return body + _CHECKSUM.pack(zlib.crc32(body))


def decode_token(data: bytes) -> AnyToken:
    """The token, or the bytes themselves if no server of this version or the ones before made them."""
    tag_bytes = _TAG_BYTES.get(data[0]) if data else None
    if tag_bytes is None:
        return data
    name_at = 2 + tag_bytes
    if len(data) < name_at + 1 + _STEP.size + _CHECKSUM.size:
        return data
    body, checksum = data[: -_CHECKSUM.size], data[-_CHECKSUM.size :]
    if _CHECKSUM.unpack(checksum)[0] != zlib.crc32(body):
        return data
    run_at = name_at + body[name_at - 1]
    if run_at >= len(body):
        return data
    step_at = run_at + 1 + body[run_at]
    if step_at + _STEP.size != len(body):
        return data
    try:
        namespace, run_id = body[name_at:run_at].decode(), body[run_at + 1 : step_at].decode()
    except UnicodeDecodeError:
        return data
    step_id, attempt = _STEP.unpack_from(body, step_at)
    return TaskToken(namespace, run_id, step_id, attempt, body[1 : name_at - 1], raw=data)


def token_bytes(token: AnyToken) -> bytes:
    """The bytes to echo."""
    return token if isinstance(token, bytes) else encode_token(token)
