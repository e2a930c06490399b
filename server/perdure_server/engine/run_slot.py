"""A run in memory: its committed state, what its rows hold, and the inputs that wait for it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from perdure_server.engine.commands import RequestId
from perdure_server.kernel.decision import NO_OBLIGATIONS, Ack, Obligations, Rejection, SlotsTaken
from perdure_server.kernel.inputs import ChildEndSeen, Input
from perdure_server.kernel.model import RunState, WorkflowSpec
from perdure_server.storage.port import RunKey, ScheduleWrite, WaitRow

InputSource: TypeAlias = Input | Callable[[RunState], Input | None]
"""An input, or a function that makes it from the run's state; None: only the state is wanted."""
Settle: TypeAlias = "Callable[[Outcome | Exception], None]"
"""Told once what became of an input, on the event loop; must not raise."""


@dataclass(slots=True, unsafe_hash=True)
class Outcome:
    """An input that was accepted and is durable.

    Args:
        run: the state after its commit.
        ack: how a report is answered.
        reply: the reply kept under the request id; None without one.
        replayed: the request id was known; `reply` is the first one.
        event_positions: of the events that its commit appended or found, in the decision's order.
        events_known: parallel to them: the event existed.
    """

    run: RunState
    ack: Ack
    reply: bytes | None = None
    replayed: bool = False
    event_positions: tuple[int, ...] = ()
    events_known: tuple[bool, ...] = ()


class OutdatedError(LookupError):
    """The run in memory is older than what its caller knows of; it is read again."""


class Call:
    """An input on its way. `event` None: only the state is wanted.

    `fresh`: the run was read after the call came; `at_horizon`: so was the horizon (shared stores). `joined`: calls
    behind it that its commit takes, too; each has its own `rejection`, if the run does not take it.
    """

    __slots__ = (
        "at_horizon",
        "event",
        "fresh",
        "joined",
        "known_missing",
        "line",
        "mail",
        "make_reply",
        "rejection",
        "request",
        "schedule",
        "settle",
        "taken",
        "tries",
        "victims",
    )

    def __init__(
        self,
        event: InputSource | None,
        settle: Settle,
        request: RequestId | None = None,
        make_reply: Callable[[RunState], bytes] | None = None,
        mail: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.event = event
        self.settle = settle
        self.request = request
        self.make_reply = make_reply
        self.mail = mail
        self.tries = 0
        self.fresh = False
        self.at_horizon = False
        self.taken: frozenset[str] = frozenset()
        self.known_missing: frozenset[tuple[str, str]] = frozenset()
        self.line: SlotsTaken | None = None
        self.schedule: ScheduleWrite | None = None
        self.victims: tuple[str, ...] = ()
        self.joined: list[Call] = []
        self.rejection: Rejection | None = None

    @property
    def ends_child(self) -> bool:
        """Whether it brings the end of a child, and no more: others like it may be taken with it."""
        return isinstance(self.event, ChildEndSeen) and self.request is None

    @property
    def all_mail(self) -> tuple[tuple[str, str], ...]:
        """The messages that its commit consumes."""
        if not self.joined:
            return self.mail
        return tuple(message for call in (self, *self.joined) for message in call.mail)

    def settle_all(self, result: Outcome | Exception) -> None:
        """Tells whoever waits for it, and for those that were taken with it; of a failure that is not the run's
        nobody knows yet whether it would have been refused."""
        decided = isinstance(result, Outcome | Rejection)
        for call in (self, *self.joined):
            call.settle(call.rejection if decided and call.rejection is not None else result)


class RunSlot:
    """One run in memory. Inputs are taken one at a time; while `busy`, they wait in `pending`."""

    __slots__ = (
        "busy",
        "due",
        "head_hash",
        "key",
        "pending",
        "run",
        "since_bytes",
        "since_records",
        "spec",
        "wait_row",
    )

    def __init__(self, key: RunKey) -> None:
        self.key = key
        self.run: RunState | None = None
        self.spec: WorkflowSpec | None = None
        self.head_hash = b""
        self.due: Obligations = NO_OBLIGATIONS
        self.wait_row: WaitRow | None = None
        self.since_records = 0
        self.since_bytes = 0
        self.busy = False
        self.pending: deque[Call] = deque()

    @property
    def idle(self) -> bool:
        """Nothing is under way or waiting."""
        return not self.busy and not self.pending


class RunCache:
    """Slots by key, bounded: the least recently used idle ones leave first.

    Args:
        live: most runs kept that have not ended.
        ended: most runs kept that have.
        size: most bytes of vars kept, over all.
    """

    def __init__(self, live: int = 10_000, ended: int = 1_000, size: int = 256 * 1024 * 1024) -> None:
        self._live: OrderedDict[RunKey, RunSlot] = OrderedDict()
        self._ended: OrderedDict[RunKey, RunSlot] = OrderedDict()
        self._limits = (live, ended)
        self._size_limit = size
        self._size = 0
        self._sizes: dict[RunKey, int] = {}

    def get(self, key: RunKey) -> RunSlot | None:
        """The slot, which counts as used."""
        slot = self._live.get(key)
        if slot is not None:
            self._live.move_to_end(key)
            return slot
        slot = self._ended.get(key)
        if slot is not None:
            self._ended.move_to_end(key)
        return slot

    def peek(self, key: RunKey) -> RunSlot | None:
        """The slot, which does not count as used."""
        return self._live.get(key) or self._ended.get(key)

    def put(self, slot: RunSlot) -> None:
        """Keeps a slot, new or changed, and lets others go if there are too many."""
        key, run = slot.key, slot.run
        size = run.vars_bytes + 2_048 if run else 2_048
        self._size += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        if run is not None and run.ended:
            self._live.pop(key, None)
            self._ended[key] = slot
            self._trim(self._ended, self._limits[1])
        else:
            self._ended.pop(key, None)
            self._live[key] = slot
            self._trim(self._live, self._limits[0])

    def all_keys(self) -> list[RunKey]:
        """All runs in memory."""
        return [*self._live, *self._ended]

    def drop(self, key: RunKey) -> None:
        """Forgets a run; it is loaded again when needed."""
        self._live.pop(key, None)
        self._ended.pop(key, None)
        self._size -= self._sizes.pop(key, 0)

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    def _trim(self, slots: OrderedDict[RunKey, RunSlot], limit: int) -> None:
        if len(slots) <= limit and self._size <= self._size_limit:
            return
        for key in self._oldest_idle(slots):
            if len(slots) <= limit and self._size <= self._size_limit:
                return
            self.drop(key)

    @staticmethod
    def _oldest_idle(slots: OrderedDict[RunKey, RunSlot]) -> Iterator[RunKey]:
        oldest = [key for _, key in zip(range(64), slots, strict=False)]
        return (key for key in oldest if slots[key].idle)
