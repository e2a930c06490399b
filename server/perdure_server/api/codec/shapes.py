"""Small values on their way into messages, as shapes: the keyword arguments of a generated message.

A message made of one nested shape costs half of one made of nested messages. None stands for an unset
field. Instants are Unix microseconds with 0 for none, spans microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure_server.kernel.model import Concurrency, Failure, NodeEntry, RetryPolicy, Timeouts, TraceContext

Shape: TypeAlias = Mapping[str, Any]
M = TypeVar("M")

_US = 1_000_000


def build(kind: Callable[..., M], shape: Shape) -> M:
    """The message of this shape: fields are given as nested shapes, which the generated types do not know."""
    return kind(**shape)


def instant(at: int) -> Shape | None:
    """Shape of a Timestamp."""
    if at == 0:
        return None
    seconds, rest = divmod(at, _US)
    return {"seconds": seconds, "nanos": rest * 1_000}


def exact_instant(at: int) -> Shape:
    """Shape of a Timestamp for which 0 is an instant like any other."""
    seconds, rest = divmod(at, _US)
    return {"seconds": seconds, "nanos": rest * 1_000}


def span(us: int) -> Shape | None:
    """Shape of a Duration that is left out when it is zero."""
    return exact_span(us) if us else None


def exact_span(us: int) -> Shape:
    """Shape of a Duration; microseconds, not negative."""
    seconds, rest = divmod(us, _US)
    return {"seconds": seconds, "nanos": rest * 1_000}


def micros(moment: Timestamp | Duration) -> int:
    """Microseconds of a Timestamp or Duration, rounded down; 0 when it is unset."""
    return moment.seconds * _US + moment.nanos // 1_000


def failure(value: Failure | None) -> Shape | None:
    """Shape of a Failure message."""
    if value is None:
        return None
    return {
        "type": value.type,
        "message": value.message,
        "retryable": value.retryable,
        "details_json": value.details.text if value.details else None,
    }


def retry(policy: RetryPolicy) -> Shape:
    """Shape of a RetryPolicy with every field stated."""
    return {
        "max_attempts": policy.max_attempts,
        "initial_interval": exact_span(policy.initial_interval_us),
        "backoff_coefficient": policy.backoff_coefficient,
        "max_interval": exact_span(policy.max_interval_us),
        "non_retryable_types": policy.non_retryable_types,
    }


def timeouts(bounds: Timeouts) -> Shape | None:
    """Shape of TaskTimeouts; None when nothing is bounded."""
    if not (bounds.schedule_to_start_us or bounds.start_to_close_us or bounds.heartbeat_us):
        return None
    return {
        "schedule_to_start": span(bounds.schedule_to_start_us),
        "start_to_close": span(bounds.start_to_close_us),
        "heartbeat": span(bounds.heartbeat_us),
    }


def trace(context: TraceContext | None) -> Shape | None:
    """Shape of a TraceContext."""
    return context and {"traceparent": context.traceparent, "tracestate": context.tracestate}


def node_entry(entry: NodeEntry | None) -> Shape | None:
    """Shape of a NodeEntry."""
    return entry and {
        "node_id": entry.node_id,
        "visit": entry.visit,
        "server_side": entry.server_side,
        "queue": entry.queue,
        "priority": entry.priority,
        "timeouts": timeouts(entry.timeouts),
    }


def concurrency(wanted: Concurrency | None) -> Shape | None:
    """Shape of a Concurrency."""
    return wanted and {"key": wanted.key, "limit": wanted.limit, "on_limit": wanted.on_limit}
