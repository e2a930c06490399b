"""RetryRun: a failed run goes on at the step it failed at."""

from __future__ import annotations

from perdure_server.engine.commands import Reply, RetryRunCommand, RetryTerms
from perdure_server.engine.core import Engine
from perdure_server.engine.replies import encode_reply, outcome_reply
from perdure_server.kernel.inputs import Retry


async def retry_run(engine: Engine, command: RetryRunCommand) -> Reply:
    """Opens a failed run again.

    Raises: Rejection (RUN_NOT_FAILED, DEADLINE_PASSED, EFFECT_IN_DOUBT, INVALID_FIELD, PAYLOAD_TOO_LARGE,
    VARS_TOO_LARGE).
    """
    event = retry_input(command.terms)
    outcome = await engine.submit(command.key, event, request=command.request, make_reply=encode_reply)
    return outcome_reply(outcome)


def retry_input(terms: RetryTerms) -> Retry:
    """The input that these terms make."""
    return Retry(terms.vars_ops, terms.from_node, terms.deadline_at, terms.paused, terms.retried_by)
