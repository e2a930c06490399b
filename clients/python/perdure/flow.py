"""What nodes that the server runs are declared with: branches, items, joins and changes of vars.

Expressions are CEL over `vars` and `run`; templates are JSON in which a string that is exactly "${...}" is
replaced by the value of that path or expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from perdure.json_text import Json, JsonObject, encode
from perdure.v1 import model_pb2
from perdure.values import JoinMode


@dataclass(frozen=True, slots=True)
class Set:
    """Sets the value at an RFC 6901 pointer; `value` is a template."""

    path: str
    value: Json

    def to_wire(self) -> model_pb2.VarsOp:
        """As the contract's VarsOp."""
        return model_pb2.VarsOp(path=self.path, set_json=encode(self.value))


@dataclass(frozen=True, slots=True)
class Append:
    """Appends to the array at an RFC 6901 pointer; `value` is a template."""

    path: str
    value: Json

    def to_wire(self) -> model_pb2.VarsOp:
        """As the contract's VarsOp."""
        return model_pb2.VarsOp(path=self.path, append_json=encode(self.value))


@dataclass(frozen=True, slots=True)
class Remove:
    """Removes what is at an RFC 6901 pointer, if anything is."""

    path: str

    def to_wire(self) -> model_pb2.VarsOp:
        """As the contract's VarsOp."""
        return model_pb2.VarsOp(path=self.path, remove=True)


Change: TypeAlias = Set | Append | Remove


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch: the node it starts at, and the template of its vars.

    Attributes:
        entry_node: where it starts; it ends as a run does.
        vars: an object; None for {}.
    """

    entry_node: str
    vars: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """How many branches or items must complete. Without `count`: all of them.

    Attributes:
        count: at least 1; 1 is "any".
    """

    count: int = 0

    def to_wire(self) -> model_pb2.JoinSpec:
        """As the contract's JoinSpec."""
        mode = JoinMode.COUNT if self.count else JoinMode.ALL
        return model_pb2.JoinSpec(mode=mode.wire, count=self.count)


ALL = Join()
ANY = Join(1)
