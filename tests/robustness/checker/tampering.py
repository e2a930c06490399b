"""Ways to falsify a run's exported ledger, for tests of the checker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from perdure.v1.records_pb2 import LedgerEntry, StepRecord
from tests.robustness.checker.examine import examine
from tests.robustness.checker.export import Export
from tests.robustness.checker.sealed import next_hash
from tests.robustness.checker.testimony import Testimony

Entries = Sequence[LedgerEntry]
Tampering = Callable[[Entries, int], list[LedgerEntry]]
"""A new ledger, falsified at an index."""


def resealed(entries: Entries) -> list[LedgerEntry]:
    """The same records with seq and chain made to fit: what a forger does who knows the hashes' rules."""
    done: list[LedgerEntry] = []
    for entry in entries:
        copy = LedgerEntry()
        copy.CopyFrom(entry)
        record = StepRecord.FromString(entry.record_bytes)
        record.seq = len(done) + 1
        copy.record_bytes = record.SerializeToString(deterministic=True)
        copy.prev_hash = done[-1].record_hash if done else entry.prev_hash
        copy.record_hash = next_hash(copy.prev_hash, copy.record_bytes)
        done.append(copy)
    return done


def lose(entries: Entries, index: int) -> list[LedgerEntry]:
    """Without the record."""
    return [*entries[:index], *entries[index + 1 :]]


def double(entries: Entries, index: int) -> list[LedgerEntry]:
    """With the record twice."""
    return [*entries[: index + 1], *entries[index:]]


def swap(entries: Entries, index: int) -> list[LedgerEntry]:
    """With the record and the next one changed over; the last one stays."""
    return [*entries[:index], *reversed(entries[index : index + 2]), *entries[index + 2 :]]


def edit(entries: Entries, index: int) -> list[LedgerEntry]:
    """With another actor in the record."""
    copy = LedgerEntry()
    copy.CopyFrom(entries[index])
    record = StepRecord.FromString(copy.record_bytes)
    record.actor_id += "!"
    copy.record_bytes = record.SerializeToString()
    return [*entries[:index], copy, *entries[index + 1 :]]


def edit_payload(entries: Entries, index: int) -> list[LedgerEntry]:
    """With another byte in the record's first payload; a record without payloads stays."""
    copy = LedgerEntry()
    copy.CopyFrom(entries[index])
    if copy.payloads:
        copy.payloads[0].inline.data += b" "
    return [*entries[:index], copy, *entries[index + 1 :]]


def lose_and_reseal(entries: Entries, index: int) -> list[LedgerEntry]:
    """Without the record, and nobody can see it from the chain."""
    return resealed(lose(entries, index)) if len(entries) > 1 else list(entries)


def double_and_reseal(entries: Entries, index: int) -> list[LedgerEntry]:
    """With the record twice, and nobody can see it from the chain."""
    return resealed(double(entries, index))


TAMPERINGS: Mapping[str, Tampering] = {
    "lost": lose,
    "doubled": double,
    "swapped": swap,
    "edited": edit,
    "payload edited": edit_payload,
    "lost and resealed": lose_and_reseal,
    "doubled and resealed": double_and_reseal,
}


def unseen_tamperings(export: Export, testimony: Testimony, ways: Callable[[int], Iterable[str]]) -> list[str]:
    """Falsified ledgers that the examination takes for good.

    Args:
        ways: tamperings to try on the n-th record of the export.
    """
    unseen: list[str] = []
    numbers = count()
    for run_id, entries in export.entries.items():
        for index in range(len(entries)):
            for how in ways(next(numbers)):
                altered = TAMPERINGS[how](entries, index)
                falsified = replace(export, entries={**export.entries, run_id: altered})
                if altered != entries and not examine(falsified, testimony):
                    unseen.append(f"{how} {run_id}#{index + 1}")
    return unseen
