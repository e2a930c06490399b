"""What the engine asks of the layers above it. `app.py` plugs the real ones in; tests plug others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from perdure_server.kernel.decision import EventAppend, Mail, TaskDue
from perdure_server.kernel.model import RunState, Wait, WorkflowSpec
from perdure_server.kernel.records import Record
from perdure_server.kernel.schedules import Schedule
from perdure_server.storage.port import StoredPayload, StoredRecord


class Codec(Protocol):
    """Gives records, states and workflows their bytes. Implemented at the edge (`api/codec`)."""

    def encode_record(
        self, run: RunState, record: Record, new_salts: Callable[[int], list[bytes]]
    ) -> tuple[bytes, tuple[StoredPayload, ...]]:
        """Bytes of the record and its salted payloads. `run` gives the ids of the header."""
        ...

    def decode_record(self, record: bytes, payloads: Sequence[StoredPayload]) -> Record:
        """The record that `encode_record` was given."""
        ...

    def encode_state(self, run: RunState) -> bytes:
        """A keyframe: the whole state."""
        ...

    def decode_state(self, keyframe: bytes) -> RunState:
        """The state that `encode_state` was given."""
        ...

    def encode_wait(self, wait: Wait) -> bytes:
        """The wait, for lists."""
        ...

    def decode_wait(self, detail: bytes) -> Wait:
        """The wait that `encode_wait` was given."""
        ...

    def encode_schedule(self, schedule: Schedule) -> bytes:
        """The whole schedule."""
        ...

    def decode_schedule(self, detail: bytes) -> Schedule:
        """The schedule that `encode_schedule` was given."""
        ...

    def decode_workflow(self, spec: bytes) -> WorkflowSpec:
        """A registered workflow (WorkflowRow.spec)."""
        ...


class Placement(Protocol):
    """Finds a worker for a task that is about to be born (dispatch). Called on the event loop."""

    def place(self, run: RunState, task: TaskDue) -> str | None:
        """A connected worker's id that serves the task and has credit, or None. Takes one credit."""
        ...

    def unplace(self, namespace: str, worker_id: str) -> None:
        """The commit was not made: gives the credit back."""
        ...

    def deliver(self, run: RunState) -> None:
        """Committed: `run.step` is leased to `run.step.worker_id`; send it."""
        ...


class Wakeups(Protocol):
    """Told after a commit, on the event loop, in commit order. Losing a call is harmless: loops poll."""

    def records_committed(self, records: Sequence[StoredRecord]) -> None:
        """New ledger records, in position order."""
        ...

    def run_changed(self, before: RunState | None, run: RunState) -> None:
        """A run has a new state."""
        ...

    def task_ready(self, run: RunState, task: TaskDue) -> None:
        """A task waits for a worker."""
        ...

    def timer_armed(self, due_at: int) -> None:
        """A timer was set."""
        ...

    def wait_registered(self, run: RunState) -> None:
        """A run came to wait for an event."""
        ...

    def events_appended(self, namespace: str, events: Sequence[EventAppend]) -> None:
        """Events were appended."""
        ...

    def schedule_armed(self, due_at: int) -> None:
        """A schedule has an instant to come."""
        ...

    def mail_sent(self, namespace: str, mail: Sequence[Mail]) -> None:
        """Messages wait for their receivers."""
        ...
