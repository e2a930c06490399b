"""Which records a reader asks for: one scope of one namespace, and a filter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from perdure_server.engine.sealing import length_prefixed
from perdure_server.kernel.records import RecordKind
from perdure_server.storage.port import RecordQuery, StoredRecord

BINDING_BYTES = 8
"""How much of a selection's hash a cursor carries: enough to notice a mistake; a cursor grants nothing."""


class ScopeKind(IntEnum):
    """Whose records; numbers as in the contract's LedgerScope."""

    RUN = 1
    TREE = 2
    SESSION = 3
    WORKFLOW = 4
    ALL = 5


class View(IntEnum):
    """Form of the entries; numbers as in the contract's RecordView."""

    RECORD = 1
    RECORD_BYTES = 2


ScopeKey: TypeAlias = tuple[int, str, str]
"""(kind, namespace, id): what a record's header is looked up by. A plain int, since enums hash slowly."""

_RUN, _TREE, _SESSION, _WORKFLOW, _ALL = map(int, ScopeKind)

TERMINAL_KINDS = (RecordKind.COMPLETED, RecordKind.FAILED, RecordKind.CANCELLED)
"""The kinds that end a run."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A scope and a filter. Make it with `of`, so that equal questions are equal values.

    Args:
        scope_id: id of the run, root run, session or workflow; empty for ALL.
        kinds, statuses, node_ids: any of these; empty keeps all. Conditions are ANDed.
    """

    namespace: str
    scope: ScopeKind
    scope_id: str = ""
    kinds: tuple[int, ...] = ()
    statuses: tuple[int, ...] = ()
    node_ids: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        namespace: str,
        scope: ScopeKind,
        scope_id: str = "",
        kinds: Iterable[int] = (),
        statuses: Iterable[int] = (),
        node_ids: Iterable[str] = (),
    ) -> Selection:
        """The selection with its conditions sorted and without repeats."""
        return cls(
            namespace,
            scope,
            scope_id,
            tuple(sorted(set(kinds))),
            tuple(sorted(set(statuses))),
            tuple(sorted(set(node_ids))),
        )

    @property
    def scope_key(self) -> ScopeKey:
        """Under which of `scope_keys(record)` its records are found."""
        return (int(self.scope), self.namespace, self.scope_id)

    @property
    def filtered(self) -> bool:
        """True: some records of the scope may not match."""
        return bool(self.kinds or self.statuses or self.node_ids)

    def admits(self, record: StoredRecord) -> bool:
        """Whether the filter keeps a record of this scope."""
        return (
            (not self.kinds or record.kind in self.kinds)
            and (not self.statuses or record.status in self.statuses)
            and (not self.node_ids or record.node_id in self.node_ids)
        )

    def query(self, after: int, until: int, limit: int, byte_limit: int) -> RecordQuery:
        """The store's question for records at positions in (after, until]."""
        return RecordQuery(
            namespace=self.namespace,
            run_id=self.scope_id if self.scope is ScopeKind.RUN else "",
            root_run_id=self.scope_id if self.scope is ScopeKind.TREE else "",
            session_id=self.scope_id if self.scope is ScopeKind.SESSION else "",
            workflow_id=self.scope_id if self.scope is ScopeKind.WORKFLOW else "",
            kinds=self.kinds,
            statuses=self.statuses,
            node_ids=self.node_ids,
            after_position=after,
            until_position=until,
            limit=limit,
            byte_limit=byte_limit,
        )

    def ending(self) -> Selection:
        """The records that end a run, whatever this selection filters. RUN scope only."""
        return Selection.of(self.namespace, self.scope, self.scope_id, kinds=TERMINAL_KINDS)

    def ends_and_retries(self) -> Selection:
        """The records that end a run or open it again. RUN scope only."""
        kinds = (*TERMINAL_KINDS, RecordKind.REOPENED)
        return Selection.of(self.namespace, self.scope, self.scope_id, kinds=kinds)

    def binding(self) -> bytes:
        """Hash of the whole selection, BINDING_BYTES long, for cursors."""
        parts = [
            self.namespace,
            self.scope.name,
            self.scope_id,
            ",".join(map(str, self.kinds)),
            ",".join(map(str, self.statuses)),
            *self.node_ids,
        ]
        return hashlib.sha256(b"".join(map(length_prefixed, parts))).digest()[:BINDING_BYTES]


def scope_keys(record: StoredRecord) -> tuple[ScopeKey, ...]:
    """Every scope that holds the record."""
    namespace = record.namespace
    return (
        (_RUN, namespace, record.run_id),
        (_TREE, namespace, record.root_run_id),
        (_SESSION, namespace, record.session_id),
        (_WORKFLOW, namespace, record.workflow_id),
        (_ALL, namespace, ""),
    )
