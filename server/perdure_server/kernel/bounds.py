"""Bounds of single fields that the contract states (P10): fixed, unlike the limits of `limits`. Sizes in UTF-8 bytes,
counts in items, spans in microseconds. docs/limits.md lists them, with their errors."""

from __future__ import annotations

from typing import Final

from perdure_server.kernel.limits import KIB, SECOND_US

MAX_INT32: Final = 2**31 - 1
MAX_INT64: Final = 2**63 - 1

ID_CHARS: Final = 128
"""Ids of runs, workflows, nodes, namespaces, queues, effect types."""
NAME_BYTES: Final = 128
"""Actors, sessions, event names and ids, request ids, assignees, whoever does something."""
KEY_BYTES: Final = 512
"""Wait keys (the server's own hold a run id and a node id) and result keys."""
RESULT_KEY_TOKENS: Final = 32
PATH_BYTES: Final = 4_096
"""The JSON Pointer of a vars op."""
INPUT_BYTES: Final = KIB
"""A JSON Pointer of NodeSpec.inputs, a path of a vars_query."""
MAX_INPUTS: Final = 1_000
LONG_TEXT_BYTES: Final = 64 * KIB
"""Prompts, messages to a person, messages of failures."""
CHOICE_BYTES: Final = KIB
DESCRIPTION_BYTES: Final = KIB
PAGE_TOKEN_BYTES: Final = KIB
CURSOR_BYTES: Final = 512
TRACEPARENT_BYTES: Final = 256
TRACESTATE_BYTES: Final = 512
IDENTITY_BYTES: Final = 256

MIN_PRIORITY: Final = -100
MAX_PRIORITY: Final = 100
MAX_COEFFICIENT: Final = 1_000.0
"""Of a retry policy."""
SCHEDULE_ID_CHARS: Final = 96
"""Ids of schedules: those of the runs that they start hold an instant too."""
MAX_CRONS: Final = 10
"""Cron expressions, and intervals, of a schedule."""
CRON_BYTES: Final = 256
MAX_NEXT_TIMES: Final = 100
MAX_CONCURRENCY: Final = 10_000
"""Slots of a concurrency key."""
MAX_FAILURE_TYPES: Final = 100
MAX_ENUMS: Final = 100
"""Values of one condition of a filter of runs."""
MAX_FILTER_VALUES: Final = 100
"""Values of one condition of a filter of records."""
MAX_QUEUES: Final = 1_000
MAX_SERVED: Final = 10_000
"""Workflows, versions, nodes and effect types that a worker names."""
MAX_HELD: Final = 10_000
"""Leases that one message of a worker names, and tasks that a worker is given at a time, whatever credit it names."""
EXPRESSION_BYTES: Final = 4 * KIB
"""The CEL of a choice, of a foreach's items, of a template's string."""
MAX_CHOICES: Final = 100
"""Of a CHOICE node."""
MAX_ASSIGN: Final = 1_000
"""Changes of an ASSIGN node."""
MAX_BRANCHES: Final = 1_000
"""Of a PARALLEL node."""
MAX_EXPRESSIONS: Final = 5_000
"""Of a workflow, plain paths not counted."""
MAX_PROBLEMS: Final = 1_000
"""Problems of a spec that ValidateWorkflow tells."""

MIN_CHECKPOINT_US: Final = SECOND_US
"""The shortest heartbeat of a subscription that a client may ask for."""
MAX_SPAN_US: Final = 36_525 * 86_400 * SECOND_US
"""A hundred years: the sum of an instant and a span stays within what instants can be."""
MAX_INSTANT_US: Final = 253_402_300_800 * SECOND_US - 1
"""The end of year 9999. Instants begin after 1970, because 0 stands for none."""
