"""Keyframes and stored waits: internal, versioned encodings of whole kernel values.

A keyframe is b"PKF1", one byte for the writer of the vars, the head's length as uint32 big-endian, the
head (every field but vars, as JSON), the vars as JSON. A wait is b"PWT1" and JSON, a schedule b"PSC1" and JSON.
"""

from __future__ import annotations

import json
from typing import Final

import orjson

from perdure_server.api.codec.dataclass_json import dataclass_coder
from perdure_server.kernel.model import RunState, Wait
from perdure_server.kernel.schedules import Schedule

_KEYFRAME: Final = b"PKF1"
_WAIT: Final = b"PWT1"
_SCHEDULE: Final = b"PSC1"
_FAST: Final = 0
_PLAIN: Final = 1
_HEAD_AT: Final = len(_KEYFRAME) + 5

_RUN_CODER: Final = dataclass_coder(RunState, ("vars",))
_WAIT_CODER: Final = dataclass_coder(Wait)
_SCHEDULE_CODER: Final = dataclass_coder(Schedule)


class StoredFormatError(ValueError):
    """Stored bytes that this version cannot read."""


def encode_state(run: RunState) -> bytes:
    """The whole state as a keyframe."""
    head = orjson.dumps(_RUN_CODER.write(run))
    try:
        writer, data = _FAST, orjson.dumps(run.vars)
    except orjson.JSONEncodeError:
        # Deeper or wider than orjson goes, which decisions of the kernel may well be.
        writer, data = _PLAIN, json.dumps(run.vars, separators=(",", ":"), ensure_ascii=False).encode()
    return b"".join((_KEYFRAME, bytes((writer,)), len(head).to_bytes(4, "big"), head, data))


def decode_state(keyframe: bytes) -> RunState:
    """The state that `encode_state` was given.

    Raises: StoredFormatError.
    """
    if keyframe[:4] != _KEYFRAME:
        raise StoredFormatError(f"a keyframe starts with {_KEYFRAME!r}, not {keyframe[:4]!r}")
    end = _HEAD_AT + int.from_bytes(keyframe[5:9], "big")
    run: RunState = _RUN_CODER.read(orjson.loads(keyframe[_HEAD_AT:end]))
    run.vars = orjson.loads(keyframe[end:]) if keyframe[4] == _FAST else json.loads(keyframe[end:])
    return run


def encode_wait(wait: Wait) -> bytes:
    """A wait."""
    return _WAIT + orjson.dumps(_WAIT_CODER.write(wait))


def decode_wait(detail: bytes) -> Wait:
    """The wait that `encode_wait` was given.

    Raises: StoredFormatError.
    """
    if detail[:4] != _WAIT:
        raise StoredFormatError(f"a wait starts with {_WAIT!r}, not {detail[:4]!r}")
    return _WAIT_CODER.read(orjson.loads(detail[4:]))


def encode_schedule(schedule: Schedule) -> bytes:
    """A schedule."""
    return _SCHEDULE + orjson.dumps(_SCHEDULE_CODER.write(schedule))


def decode_schedule(detail: bytes) -> Schedule:
    """The schedule that `encode_schedule` was given.

    Raises: StoredFormatError.
    """
    if detail[:4] != _SCHEDULE:
        raise StoredFormatError(f"a schedule starts with {_SCHEDULE!r}, not {detail[:4]!r}")
    return _SCHEDULE_CODER.read(orjson.loads(detail[4:]))
