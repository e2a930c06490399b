"""What an effect handler may return instead of a result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from perdure.effect import Terms, wait_terms
from perdure.v1 import model_pb2
from perdure.values import WaitReason


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not done yet: the run waits, and `resume_run` (or an event) brings the result.

    Attributes:
        reason: "job", "user" or "event".
        wait_key: free key; "": "<reason>:<run_id>:<node_id>".
        prompt: what a person is asked.
        terms: choices, deadline and where to go; see `perdure.effect.Terms`.
    """

    reason: WaitReason | Literal["job", "user", "event"] = WaitReason.JOB
    wait_key: str = ""
    prompt: str = ""
    terms: Terms = field(default_factory=Terms)

    def to_wire(self) -> model_pb2.WaitRequest:
        """As the contract's WaitRequest."""
        return model_pb2.WaitRequest(
            reason=WaitReason(self.reason).wire, wait_key=self.wait_key, terms=wait_terms(self.prompt, self.terms)
        )
