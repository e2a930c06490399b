"""The engine's Codec port, over protobuf."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure_server.api.codec import keyframes, record_reader, record_writer, workflows
from perdure_server.api.codec.hot_records import encode_hot, is_hot
from perdure_server.kernel.model import RunState, Wait, WorkflowSpec
from perdure_server.kernel.records import Record
from perdure_server.kernel.schedules import Schedule
from perdure_server.storage.port import StoredPayload


class EngineCodec:
    """Gives records, states, waits and workflows their bytes; implements `engine.ports.Codec`."""

    def encode_record(
        self, run: RunState, record: Record, new_salts: Callable[[int], list[bytes]]
    ) -> tuple[bytes, tuple[StoredPayload, ...]]:
        """Bytes of the record (a StepRecord message) and its salted payloads."""
        if is_hot(record.body):
            return encode_hot(run, record, new_salts)
        return record_writer.encode_any(run, record, new_salts)

    def decode_record(self, record: bytes, payloads: Sequence[StoredPayload]) -> Record:
        """The record that `encode_record` was given. Raises: PayloadMissingError, ValueError."""
        return record_reader.decode_record(record, payloads)

    def encode_state(self, run: RunState) -> bytes:
        """A keyframe."""
        return keyframes.encode_state(run)

    def decode_state(self, keyframe: bytes) -> RunState:
        """The state that `encode_state` was given. Raises: StoredFormatError."""
        return keyframes.decode_state(keyframe)

    def encode_wait(self, wait: Wait) -> bytes:
        """The wait, for lists."""
        return keyframes.encode_wait(wait)

    def decode_wait(self, detail: bytes) -> Wait:
        """The wait that `encode_wait` was given. Raises: StoredFormatError."""
        return keyframes.decode_wait(detail)

    def encode_schedule(self, schedule: Schedule) -> bytes:
        """The whole schedule."""
        return keyframes.encode_schedule(schedule)

    def decode_schedule(self, detail: bytes) -> Schedule:
        """The schedule that `encode_schedule` was given. Raises: StoredFormatError."""
        return keyframes.decode_schedule(detail)

    def decode_workflow(self, spec: bytes) -> WorkflowSpec:
        """A registered workflow."""
        return workflows.decode_workflow(spec)
