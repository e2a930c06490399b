"""What every store asks of a Commit before it looks at its own tables, and how runs begin their chains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from perdure_server.storage.port import NO_CHANGE, Commit, NewRecord, RunCreate, RunHead

Genesis: TypeAlias = Callable[[str, str], bytes]
"""(namespace, run_id) -> the `prev_hash` of the run's first record. Given to a store by whoever opens it."""

DEFAULT_NAMESPACE = "default"
"""The namespace that every store has from its first day."""

HASH_BYTES = 32
SALT_BYTES = 16

SLOTS = 256
"""Payload slots that a record can have; their indexes are below it."""


def contradiction(commit: Commit, last_hash: bytes) -> str:
    """Why a Commit contradicts itself, for the FAILED verdict; empty if it does not.

    Holds for every store: records continue the run without a gap, the head names the last one and its hash
    (P3, P9), nothing reaches into another namespace, and a Commit without a run changes none.

    Args:
        last_hash: of the last record that the run has; empty where the Commit names no run.
    """
    if commit.key is None:
        if commit.head or commit.identity or commit.records or commit.keyframe or commit.mail_consumed:
            return "it names no run but changes one"
        if commit.change != NO_CHANGE:
            return "it names no run but changes the rows of one"
    else:
        if commit.key.namespace != commit.namespace:
            return f"its run is of namespace {commit.key.namespace!r}, it of {commit.namespace!r}"
        if commit.head is None:
            return "it changes a run without a new head"
        if gap := _gap(commit.records, commit.expected_seq, commit.head, last_hash):
            return gap
    return _bad_new_runs(commit) if commit.new_runs else ""


def _gap(records: Sequence[NewRecord], seq: int, head: RunHead, last_hash: bytes) -> str:
    for record in records:
        seq += 1
        if record.seq != seq:
            return f"record seq {record.seq} where {seq} is next"
        for payload in record.payloads:
            if not 0 <= payload.index < SLOTS:
                return f"record seq {seq} has a payload in slot {payload.index}"
    if head.seq != seq:
        return f"the head says seq {head.seq}, the last record is {seq}"
    if head.head_hash != (records[-1].record_hash if records else last_hash):
        return "the head's hash is not that of the last record"
    return ""


def _bad_new_runs(commit: Commit) -> str:
    seen = {commit.key.run_id} if commit.key else set[str]()
    for new in commit.new_runs:
        if new.identity.namespace != commit.namespace:
            return f"new run {new.identity.run_id!r} is of another namespace"
        if new.identity.run_id in seen:
            return f"it names run {new.identity.run_id!r} twice"
        if problem := _bad_start(new):
            return f"new run {new.identity.run_id!r}: {problem}"
        seen.add(new.identity.run_id)
    return ""


def _bad_start(new: RunCreate) -> str:
    if not new.records:
        return "it has no first record"
    return _gap(new.records, 0, new.head, b"")
