"""Page tokens: opaque, bound to their list and filter, and no authorisation (each page is checked anew).

base64url of: version (1 byte), 8 bytes of the SHA-256 of the method and its request without page fields,
the place after which to go on as JSON.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias, TypeVar

from google.protobuf.message import Message

from perdure_server.api.problems import EdgeError, FieldViolation

Place: TypeAlias = tuple[int | str, ...]
"""Sort key of the last item of a page."""

_VERSION: Final = b"\x01"
_HASH_BYTES: Final = 8
_MAX_CHARS: Final = 1_024
CHUNK: Final = 100
"""Rows read at a time: a page of large rows ends before many of them are in memory."""

Row = TypeVar("Row")
Item = TypeVar("Item", bound=Message)


class Pages:
    """The page tokens of one list request.

    Args:
        request: the request; its fields page_size and page_token are not part of the filter.
        shape: types of the place's parts, for example (int, str).
    """

    def __init__(self, request: Message, shape: tuple[type[int] | type[str], ...]) -> None:
        bare = type(request)()
        bare.CopyFrom(request)
        for field in ("page_size", "page_token"):
            bare.ClearField(field)
        material = request.DESCRIPTOR.full_name.encode() + b"\0" + bare.SerializeToString(deterministic=True)
        self._binding = hashlib.sha256(material).digest()[:_HASH_BYTES]
        self._shape = shape

    def encode(self, place: Place) -> str:
        """The token that goes on after `place`."""
        data = _VERSION + self._binding + json.dumps(place, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    def decode(self, token: str) -> Place | None:
        """The place of a token; None for the empty token. Raises: EdgeError (INVALID_PAGE_TOKEN)."""
        if not token:
            return None
        if len(token) > _MAX_CHARS:
            raise _refused("it is not a token of this server")
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            place = tuple(json.loads(data[1 + _HASH_BYTES :]))
        except (binascii.Error, ValueError, TypeError) as error:
            raise _refused("it is not a token of this server") from error
        if data[:1] != _VERSION or tuple(map(type, place)) != self._shape:
            raise _refused("it is not a token of this server")
        if data[1 : 1 + _HASH_BYTES] != self._binding:
            raise _refused("it belongs to another list or filter: start again without a token")
        return place


async def collect(
    fetch: Callable[[Place | None, int], Awaitable[Sequence[Row]]],
    place_of: Callable[[Row], Place],
    encode: Callable[[Row], Item],
    after: Place | None,
    page_size: int,
    max_bytes: int,
) -> tuple[list[Item], Place | None]:
    """One page: at most `page_size` items and about `max_bytes` bytes, at least one item if there is one.

    Args:
        fetch: reads at most so many rows after a place.
        place_of: a row's place.
        encode: a row's message.

    Returns: the items, and the place to go on from, or None at the end.
    """
    items: list[Item] = []
    size = 0
    while True:
        wanted = min(page_size - len(items) + 1, CHUNK)
        rows = await fetch(after, wanted)
        for row in rows:
            if len(items) == page_size:
                return items, after
            item = encode(row)
            size += item.ByteSize() + 8
            if items and size > max_bytes:
                return items, after
            items.append(item)
            after = place_of(row)
        if len(rows) < wanted:
            return items, None


def _refused(why: str) -> EdgeError:
    violation = FieldViolation("page_token", why)
    return EdgeError("INVALID_PAGE_TOKEN", f"page_token: {why}", (violation,))
