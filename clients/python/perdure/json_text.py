"""JSON values as the contract carries them: text in `*_json` fields.

Python values in, Python values out; integers stay integers of any size. `Json` is `Any` on purpose: what
comes out of a run is whatever was put in.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""None, bool, int, float, str, list of Json, or dict with str keys and Json values."""

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


_DECODER = json.JSONDecoder()


class UnserialisableError(ValueError):
    """The value has no JSON text: an unknown type, NaN or Infinity, a cycle, a lone surrogate."""


def encode(value: Json) -> str:
    """The compact JSON text of a value. Tuples become arrays.

    Raises:
        UnserialisableError: it has none; the message says what to do.
    """
    try:
        text = _ENCODER.encode(value)
        if not text.isascii():
            text.encode()
    except (TypeError, ValueError) as error:
        raise UnserialisableError(f"not a JSON value: {error}; use None, bool, int, float, str, list, dict") from None
    except RecursionError:
        raise UnserialisableError("not a JSON value: nested too deeply (the limit is 128 levels)") from None
    return text


def decode(text: str) -> Json:
    """The value of a JSON text; the empty text is None.

    Raises:
        ValueError: it is not JSON.
    """
    return _DECODER.decode(text) if text else None
