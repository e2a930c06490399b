"""What a subscription says, before it has its protobuf form. Each message stands beside a cursor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias


class GoodbyeReason(IntEnum):
    """Why a stream ends; numbers as in the contract's Goodbye.Reason."""

    COMPLETE = 1
    DRAINING = 2
    SLOW_CONSUMER = 3
    MAX_AGE = 4


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The subscription stands, with these values in force."""

    subscription_id: str
    store_epoch: str
    max_batch_records: int
    max_batch_bytes: int
    checkpoint_interval_us: int


@dataclass(frozen=True, slots=True)
class Batch:
    """`count` records as frames (`wire.py`)."""

    frames: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Nothing new up to the cursor."""

    server_time: int


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What existed has been sent."""

    server_time: int


@dataclass(frozen=True, slots=True)
class FellBehind:
    """Reading the store again."""

    server_time: int


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The last message. `reconnect_delay_us` 0: at once, or not at all (COMPLETE)."""

    reason: GoodbyeReason
    reconnect_delay_us: int = 0


Event: TypeAlias = Subscribed | Batch | Checkpoint | CaughtUp | FellBehind | Goodbye


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream; `cursor` covers all matching records up to it."""

    cursor: str
    event: Event
