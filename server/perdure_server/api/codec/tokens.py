"""Task tokens: one attempt at one step, as opaque bytes that a worker echoes.

Version (1 byte), length and bytes of the namespace, length and bytes of the run id, step_id (8 bytes),
attempt (4 bytes), CRC-32 of all before (4 bytes); big-endian. The checksum tells a token of this server
from other bytes; it authorises nothing, the fencing is the attempt's (P5).
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from perdure_server.dispatch.messages import AnyToken, TaskToken

_VERSION: Final = 1
_STEP: Final = struct.Struct(">QI")
_CHECKSUM: Final = struct.Struct(">I")
_LEAST: Final = 3 + _STEP.size + _CHECKSUM.size


def encode_token(token: TaskToken) -> bytes:
    """The token's bytes: those that came from the worker, if they did."""
    if token.raw:
        return token.raw
    namespace, run_id = token.namespace.encode(), token.run_id.encode()
    body = b"".join(
        (
            bytes((_VERSION, len(namespace))),
            namespace,
            bytes((len(run_id),)),
            run_id,
            _STEP.pack(token.step_id, token.attempt),
        )
    )
    return body + _CHECKSUM.pack(zlib.crc32(body))


def decode_token(data: bytes) -> AnyToken:
    """The token, or the bytes themselves if no server of this version made them."""
    if len(data) < _LEAST or data[0] != _VERSION:
        return data
    body, checksum = data[: -_CHECKSUM.size], data[-_CHECKSUM.size :]
    if _CHECKSUM.unpack(checksum)[0] != zlib.crc32(body):
        return data
    run_at = 2 + body[1]
    if run_at >= len(body):
        return data
    step_at = run_at + 1 + body[run_at]
    if step_at + _STEP.size != len(body):
        return data
    try:
        namespace, run_id = body[2:run_at].decode(), body[run_at + 1 : step_at].decode()
    except UnicodeDecodeError:
        return data
    step_id, attempt = _STEP.unpack_from(body, step_at)
    return TaskToken(namespace, run_id, step_id, attempt, raw=data)


def token_bytes(token: AnyToken) -> bytes:
    """The bytes to echo."""
    return token if isinstance(token, bytes) else encode_token(token)
