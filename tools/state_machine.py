"""Writes docs/state-machine.md from the kernel's transition table: `python -m tools.state_machine`.

With --check it writes nothing and fails if the file is not what the table gives.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

from perdure_server.kernel import inputs as i
from perdure_server.kernel.decision import Reason, Rejection
from perdure_server.kernel.model import EffectResult, EventScope, RunStatus, StepPlan
from perdure_server.kernel.records import Resolution
from perdure_server.kernel.table import TABLE, Row, absent
from perdure_server.kernel.values import Leaf

TARGET = Path(__file__).resolve().parent.parent / "docs" / "state-machine.md"

_NULL = Leaf(b"null")
_SAMPLES: tuple[i.Input, ...] = (
    i.StartRun("default", "run", Leaf(b"{}")),
    i.TurnTaken(1),
    i.StepLeased(1, "worker"),
    i.StepReleased(1, 1),
    i.NodePlanned(1, 1, StepPlan()),
    i.EffectBegun(1, 1),
    i.EffectSettled(1, 1, EffectResult(None)),
    i.Resume(1, any_wait=False, payload=_NULL),
    i.EventMatched(1, 1, "event", EventScope.SESSION, "session", "name", _NULL),
    i.TimerFired(i.TimerKind.RETRY, 1),
    i.ChildEndSeen("child", RunStatus.COMPLETED),
    i.Cancel(),
    i.Pause(),
    i.Unpause(),
    i.LeaseLapsed(1, 1),
    i.ResolveStep(1, Resolution.RERUN),
    i.TickBudget(1),
)

_HEAD = """# The state machine of a run

Generated from `server/perdure_server/kernel/table.py` by `python -m tools.state_machine`; `make verify` checks it.

A run that has not ended has exactly one activity (P7). `paused` is a flag beside it. An input meets the
row of its run: the cell names the handler that takes it, or in italics the reason it is refused with. NOT_DUE
never reaches a client: it answers a signal of the server's own that no longer applies. A cell with two
entries gives the one for a run that is not paused, then the one for a paused run.

```mermaid
stateDiagram-v2
    [*] --> QUEUED: start
    [*] --> BACKOFF: start_at
    [*] --> IDLE: manual drive
    QUEUED --> LEASED: handed out
    QUEUED --> WAITING: a wait of the server's own
    QUEUED --> BACKOFF: schedule-to-start timeout
    LEASED --> QUEUED: plan, result, lapse, release
    LEASED --> BACKOFF: failure with a retry left
    LEASED --> WAITING: the worker's effect waits
    LEASED --> PARKED: POISON or IN_DOUBT
    BACKOFF --> QUEUED: retry or start due
    WAITING --> QUEUED: answer, event, instant, deadline, child
    PARKED --> QUEUED: resolved
    IDLE --> QUEUED: budget added
    QUEUED --> IDLE: budget used up
    QUEUED --> [*]: completed, failed, cancelled
    LEASED --> [*]: cancelled, run deadline
    WAITING --> [*]: cancelled, deadline
```
"""


def render() -> str:
    """The document."""
    rows = list(Row)
    lines = [_HEAD, "| input | " + " | ".join(row.name for row in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for sample in _SAMPLES:
        cells = [_cell(row, sample) for row in rows]
        lines.append(f"| {type(sample).__name__} | " + " | ".join(cells) + " |")
    lines += ["", "## Handlers", ""]
    handlers = {handler.__name__: handler for handler in TABLE.values()}
    for name, handler in sorted(handlers.items()):
        summary = (inspect.getdoc(handler) or "").split("\n\n")[0].replace("\n", " ")
        lines.append(f"- `{name}`: {summary}")
    lines += ["", "## Inputs", ""]
    for sample in _SAMPLES:
        summary = (inspect.getdoc(type(sample)) or "").split("\n\n")[0].replace("\n", " ")
        lines.append(f"- `{type(sample).__name__}`: {summary}")
    return "\n".join(lines) + "\n"


def _cell(row: Row, sample: i.Input) -> str:
    if row is Row.NONE:
        return "`start_run`" if isinstance(sample, i.StartRun) else f"*{Reason.RUN_NOT_FOUND.value}*"
    plain, paused = (_outcome(row, flag, sample) for flag in (False, True))
    return plain if plain == paused or row is Row.ENDED else f"{plain}; {paused}"


def _outcome(row: Row, paused: bool, sample: i.Input) -> str:
    handler = TABLE.get((row, paused, type(sample)))
    if handler is not None:
        return f"`{handler.__name__}`"
    rejection: Rejection = absent(sample)
    return f"*{rejection.reason.value}*"


def main() -> int:
    """Writes or checks the document; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file differs")
    check = parser.parse_args().check
    text = render()
    if not check:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(text)
        return 0
    if not TARGET.exists() or TARGET.read_text() != text:
        sys.stderr.write(f"{TARGET.name} is not what the table gives: run `python -m tools.state_machine`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
