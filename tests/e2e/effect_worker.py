"""A worker that asks the world outside in the middle of each effect, so that it can be cut off there.

python -m tests.e2e.effect_worker --address HOST:PORT --outside SOCKET --id NAME
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from perdure import Client, EffectContext, JsonObject, RetryPolicy, Worker, Workflow
from tests.e2e.outside import ask_outside

TWICE = RetryPolicy(max_attempts=2, initial_interval=0.1)


def job_workflow() -> Workflow:
    """One effect that may be repeated, then the end."""
    job = Workflow("job")
    job.effect_node("work", "job-work", {"of": "${vars.of}"}, next="done", result_key="result", retry=TWICE)
    job.complete_node("done", {"result": "${vars.result}"})
    return job


def payment_workflow() -> Workflow:
    """One effect that must not be repeated blindly, then the end."""
    payment = Workflow("payment")
    payload: JsonObject = {"of": "${vars.of}"}
    payment.effect_node("pay", "payment-pay", payload, next="paid", result_key="r", risk="irreversible", retry=TWICE)
    payment.complete_node("paid", {"result": "${vars.r}"})
    return payment


def effect_worker(client: Client, outside: str, name: str) -> Worker:
    """A worker that serves both."""
    worker = Worker(client, worker_id=name)
    worker.serve(job_workflow())
    worker.serve(payment_workflow())

    async def act(ctx: EffectContext, payload: JsonObject) -> JsonObject:
        question = {"worker": name, "attempt": ctx.attempt, "key": ctx.idempotency_key, **payload}
        return await ask_outside(outside, question)

    worker.effect("job-work")(act)
    worker.effect("payment-pay")(act)
    return worker


async def main() -> None:
    """Works until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--outside", required=True)
    parser.add_argument("--id", required=True)
    arguments = parser.parse_args()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        Client.connect(arguments.address) as client,
        effect_worker(client, arguments.outside, arguments.id) as worker,
    ):
        sys.stdout.write(f"worker {worker.worker_id} ready\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
