"""What a server acknowledged, written down as it came, and held against its ledger afterwards."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perdure import LedgerEntry


@dataclass
class Evidence:
    """Acknowledgements: replies to changing calls, and records that were streamed with their hashes."""

    replies: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    records: defaultdict[str, list[tuple[int, bytes]]] = field(
        default_factory=lambda: defaultdict[str, list[tuple[int, bytes]]](list)
    )
    kinds: defaultdict[str, list[tuple[str, str]]] = field(
        default_factory=lambda: defaultdict[str, list[tuple[str, str]]](list)
    )

    def replied(self, call: str, run_id: str, seq: int) -> None:
        """Notes the reply to a call: so many records of the run are on disk."""
        self.replies.append((call, run_id, seq))

    def streamed(self, entry: LedgerEntry) -> None:
        """Notes a record of the live ledger."""
        self.records[entry.run_id].append((entry.seq, entry.record_hash))
        self.kinds[entry.run_id].append((str(entry.kind), entry.node_id))

    @property
    def record_count(self) -> int:
        """Records streamed so far."""
        return sum(map(len, self.records.values()))

    def stream_problems(self) -> list[str]:
        """Runs whose streamed records are not 1, 2, 3 ... in order, each once."""
        problems: list[str] = []
        for run_id, records in self.records.items():
            seqs = [seq for seq, _ in records]
            if seqs != list(range(1, len(seqs) + 1)):
                problems.append(f"run {run_id} was streamed as {seqs}")
        return problems

    def ledger_problems(self, ledgers: Mapping[str, Sequence[LedgerEntry]]) -> list[str]:
        """What was acknowledged and is not in the ledger, or not as it was.

        Args:
            ledgers: every run's records, read from the server afterwards.
        """
        hashes = {run_id: {entry.seq: entry.record_hash for entry in entries} for run_id, entries in ledgers.items()}
        problems: list[str] = []
        for call, run_id, seq in self.replies:
            if seq not in hashes.get(run_id, {}):
                problems.append(f"{call} of run {run_id} was acknowledged as record {seq}, which is not there")
        for run_id, records in self.records.items():
            for seq, record_hash in records:
                found = hashes.get(run_id, {}).get(seq)
                if found is None:
                    problems.append(f"record {seq} of run {run_id} was streamed and is not there")
                elif found != record_hash:
                    problems.append(f"record {seq} of run {run_id} is another one than was streamed")
        return problems


def statement_problems(statement: Path, orders: Iterable[str], keys: Mapping[str, str]) -> list[str]:
    """Orders that the outside world's own record does not show as charged exactly once.

    Args:
        statement: the record, a JSON object per line: {"key", "order", ...}.
        orders: the orders that were charged.
        keys: by order, the idempotency key that the ledger gives for its charge.
    """
    lines = [json.loads(line) for line in statement.read_text(encoding="utf-8").splitlines()]
    problems: list[str] = []
    for order in orders:
        charged = [line["key"] for line in lines if line["order"] == order]
        if charged != [keys[order]]:
            problems.append(
                f"{order} was charged {len(charged)} times, under the keys {charged} (ledger: {keys[order]})"
            )
    return problems
