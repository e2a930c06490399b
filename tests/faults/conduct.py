"""How a proxy treats the bytes of one direction."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Way(Enum):
    """A direction of a connection."""

    UP = "from the client to the server"
    DOWN = "from the server to the client"


BOTH = (Way.UP, Way.DOWN)


@dataclass(frozen=True, slots=True)
class Conduct:
    """What happens to bytes on their way. The default passes them on as they come.

    Args:
        delay_s: each piece is this late; order and rate stay.
        bytes_per_s: at most so many pass in a second: a slow drip.
        holds: nothing passes until another conduct is set; then everything does: a partition that heals.
        swallows: bytes are read and thrown away, and the sockets stay open: a half-open connection. It never heals:
            a connection that has lost a byte passes nothing more in that direction.
    """

    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    holds: bool = False
    swallows: bool = False


PASS = Conduct()
HOLD = Conduct(holds=True)
SWALLOW = Conduct(swallows=True)
