"""What a check found wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as promised.

    Args:
        kind: a stable word, for example SEQ_GAP or EVENT_LOST.
        run_id: the run; "" where it is no run's.
        seq: the record; 0 where it is no record's.
        detail: what exactly.
    """

    kind: str
    run_id: str
    seq: int
    detail: str

    def __str__(self) -> str:
        where = f" {self.run_id}" if self.run_id else ""
        return f"{self.kind}{where}{f'#{self.seq}' if self.seq else ''}: {self.detail}"


def kinds(findings: list[Finding]) -> set[str]:
    """The words of findings."""
    return {finding.kind for finding in findings}
