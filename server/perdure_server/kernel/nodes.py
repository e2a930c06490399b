"""What nodes that the server runs are told: choices, branches, items, joins. Expressions and templates are texts
here; `programs` evaluates them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from perdure_server.kernel.values import Leaf


class JoinMode(IntEnum):
    """How many of the branches or items must complete."""

    ALL = 1
    ANY = 2
    COUNT = 3


@dataclass(frozen=True, slots=True)
class ChoiceRule:
    """One way of a CHOICE node: where to go if the expression is true."""

    when: str
    next: str


@dataclass(frozen=True, slots=True)
class BranchSpec:
    """One branch of a PARALLEL node; `vars` is a template, None: {}."""

    name: str
    entry_node: str
    vars: Leaf | None = None


@dataclass(frozen=True, slots=True)
class ForeachSpec:
    """The items of a FOREACH node, an expression; `vars` is a template, None: {"item", "index"}."""

    items: str
    entry_node: str
    vars: Leaf | None = None
    max_concurrency: int = 100


@dataclass(frozen=True, slots=True)
class JoinSpec:
    """How many must complete; `count` with COUNT only."""

    mode: JoinMode = JoinMode.ALL
    count: int = 0

    def needed(self, total: int) -> int:
        """How many of `total` must complete."""
        return {JoinMode.ALL: total, JoinMode.ANY: 1}.get(self.mode, self.count)


JOIN_ALL = JoinSpec()
