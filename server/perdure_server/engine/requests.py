"""Request ids: a repeat gets the first reply, another body is refused."""

from __future__ import annotations

from perdure_server.engine.commands import RequestId
from perdure_server.engine.errors import RequestIdReusedError
from perdure_server.storage.port import RequestRow


def check_request(row: RequestRow, request: RequestId) -> bytes:
    """The kept reply. Raises: RequestIdReusedError if the request differs from the first one."""
    if row.body_hash != request.body_hash:
        raise RequestIdReusedError(
            f"request id {request.request_id!r} was used for another {request.method}; use a new one",
            field="request_id",
        )
    return row.reply
