"""Every limit of the runtime (P10), in one place, beside the bounds of single fields in `bounds`. docs/limits.md lists
them all, with their errors."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024
SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits in force. Sizes in bytes, counts in items, times in microseconds (`_us`)."""

    payload_bytes: int = MIB
    record_payload_bytes: int = 3 * MIB
    vars_bytes: int = 2 * MIB
    message_bytes: int = 3 * MIB + 512 * KIB
    receive_bytes: int = 8 * MIB
    json_depth: int = 128
    labels: int = 32
    label_bytes: int = 256
    workflow_nodes: int = 2_000
    open_children: int = 10_000
    foreach_items: int = 10_000
    branch_batch: int = 100
    server_turns: int = 10_000
    tree_depth: int = 32
    runs_in_line: int = 10_000
    schedules: int = 10_000
    schedule_buffer: int = 1_000
    backfill_instants: int = 1_000
    batch_bytes: int = 256 * KIB
    batch_records: int = 512
    streams_per_caller: int = 100
    calls_at_once: int = 1_000
    page_size: int = 1_000
    vars_ops: int = 10_000
    choices: int = 1_000
    message_chars: int = 64 * KIB
    reason_bytes: int = 4 * KIB
    reports_per_message: int = 1_000
    chained_records: int = 64
    keyframe_records: int = 256
    max_lapses: int = 5
    max_attempts: int = 1_000_000
    max_steps: int = 1_000_000
    count_exact: int = 10_000
    events_per_key: int = 10_000
    event_retention_us: int = 7 * 86_400 * SECOND_US
    request_retention_us: int = 86_400 * SECOND_US
    lease_us: int = 30 * SECOND_US
    heartbeat_us: int = 10 * SECOND_US
    ping_us: int = 15 * SECOND_US
    poll_us: int = 50 * SECOND_US
    no_worker_us: int = 60 * SECOND_US
    checkpoint_us: int = 15 * SECOND_US
    slow_reader_us: int = 60 * SECOND_US
    stream_age_us: int = 3_600 * SECOND_US

    def as_dict(self) -> dict[str, int]:
        """Name to number, for GetServerInfo and the docs."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


DEFAULT_LIMITS: Final = Limits()
