"""Workers known to this process: what they hold, and the seats at which they can be sent tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from perdure_server.dispatch.messages import LeaseUpdate, Profile
from perdure_server.kernel.bounds import MAX_HELD
from perdure_server.kernel.model import RunState

if TYPE_CHECKING:
    from perdure_server.dispatch.routes import Route

UNKNOWN: Final = -1


@dataclass(slots=True)
class Held:
    """An attempt that a worker holds a lease on. `reporting`: its report is under way.

    `heartbeat_us`: the step's heartbeat timeout, 0 for none, UNKNOWN when only the lease was read.
    """

    step_id: int
    attempt: int
    heartbeat_us: int
    reporting: bool = False


class Sink(Protocol):
    """The receiving end of a seat: a stream or a pending poll."""

    def send_task(self, run: RunState) -> None:
        """`run.step` is leased to this worker."""
        ...

    def send_update(self, update: LeaseUpdate) -> None:
        """News of a lease."""
        ...

    def unreserved(self) -> None:
        """A task whose commit was under way came to nothing."""
        ...


class Worker:
    """A worker by its id. It outlives its seats: leases belong to it, not to a stream.

    Args:
        profile: as it last introduced itself.
        now: Unix microseconds.
    """

    def __init__(self, profile: Profile, now: int) -> None:
        self.profile = profile
        self.connected_at = now
        self.seen_at = 0
        self.epoch = 0
        self.held: dict[str, Held] = {}
        self.seats: list[Seat] = []

    @property
    def stream(self) -> Seat | None:
        """The seat of its newest stream, if there is one."""
        return next((seat for seat in reversed(self.seats) if seat.is_stream), None)


class Seat:
    """One stream or pending poll of a worker, and the tasks that may still be sent there.

    `sent` + `reserved` never exceed `limit`; reserved are tasks whose commit is under way.
    """

    __slots__ = (
        "absent",
        "draining",
        "is_stream",
        "limit",
        "overtaken",
        "profile",
        "reserved",
        "routes",
        "sent",
        "silent",
        "sink",
        "worker",
    )

    def __init__(self, worker: Worker, profile: Profile, sink: Sink, *, is_stream: bool) -> None:
        self.worker = worker
        self.profile = profile
        self.sink = sink
        self.is_stream = is_stream
        self.limit = 0
        self.sent = 0
        self.reserved = 0
        self.overtaken = 0
        self.draining = False
        self.silent = False
        self.routes: list[Route] = []
        self.absent: list[Route] = []

    @property
    def free(self) -> int:
        """Tasks that it can be given now: none while nothing is heard of it."""
        if self.silent:
            return 0
        return min(self.limit - self.sent - self.reserved, MAX_HELD - len(self.worker.held) - self.reserved)

    def announce(self) -> None:
        """Goes back into the routes that found it without credit."""
        if self.absent and self.free > 0:
            for route in self.absent:
                route.idle.append(self)
            self.absent.clear()
