"""What a node wants next. A node handler returns one of these, an effect, or None for its declared `next`."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.effect import Effect
from perdure.json_text import Json, JsonObject, encode
from perdure.model import Failure
from perdure.v1 import model_pb2


@dataclass(frozen=True, slots=True)
class Plan:
    """A step plan without its changes of vars. Make it with `plan.next`, `plan.complete`, `plan.fail`.

    Attributes:
        next_node: node to enter, at once or after the effect; "" for the node's declared `next`.
        effect: the effect to execute first.
        output: completes the run with this object; {} counts.
        failure: fails the run.
    """

    next_node: str = ""
    effect: Effect | None = None
    output: JsonObject | None = None
    failure: Failure | None = None

    def to_wire(self, vars_ops: list[model_pb2.VarsOp] | None = None) -> model_pb2.StepPlan:
        """As the contract's StepPlan.

        Raises:
            UnserialisableError: the output or the failure's details have no JSON text.
        """
        message = model_pb2.StepPlan(next_node=self.next_node, vars_ops=vars_ops or ())
        if self.effect is not None:
            message.effect.CopyFrom(self.effect.message)
        if self.output is not None:
            message.complete_output_json = encode(self.output)
        if self.failure is not None:
            message.fail.CopyFrom(self.failure.to_wire())
        return message


def next(node_id: str) -> Plan:
    """Enter this node."""
    return Plan(next_node=node_id)


def complete(output: JsonObject | None = None) -> Plan:
    """Complete the run with this output."""
    return Plan(output={} if output is None else output)


def fail(type: str, message: str = "", *, details: Json = None) -> Plan:
    """Fail the run. `type` is a stable word to branch on."""
    return Plan(failure=Failure(type, message, details=details))


def of(result: object) -> Plan:
    """The plan that a node handler's result stands for.

    Raises:
        TypeError: it returned something else; the message says what to return.
    """
    if result is None:
        return Plan()
    if isinstance(result, Effect):
        return Plan(next_node=result.next_node, effect=result)
    if isinstance(result, Plan):
        return result
    raise TypeError(
        f"a node returns a plan, an effect or None, not {result.__class__.__name__}; "
        "keep values in ctx.vars, end the run with plan.complete({...})"
    )
