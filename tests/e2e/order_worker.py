"""The worker of the demo: orders that a person approves, charged at a bank, packed by a subworkflow.

    python -m tests.e2e.order_worker --address HOST:PORT --bank SOCKET --statement FILE

The statement is the outside world's own record: one line per charge, written and synced here, in the middle of
the effect. It tells whether a charge happened once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

from perdure import (
    Client,
    Effect,
    EffectContext,
    JsonObject,
    NodeContext,
    Plan,
    RetryPolicy,
    StepError,
    Worker,
    Workflow,
    effect,
    plan,
)
from tests.e2e.outside import ask_outside


def order_workflow() -> Workflow:
    """An order: reserved, reminded of, approved, charged, packed."""
    order = Workflow("order")

    @order.node("reserve", next="approve")
    async def reserve(ctx: NodeContext) -> Effect:
        """Notes what is wanted, and starts the reminder beside the order."""
        ctx.vars["reserved"] = [f"{item} for {ctx.run_id}" for item in ctx.vars["items"]]
        reminder = {"order": ctx.run_id, "after_seconds": ctx.vars["remind_after_seconds"]}
        return effect.start_subworkflow("reminder", reminder, mode="async", result_key="reminder")

    @order.node("approve", next="decide")
    async def approve(ctx: NodeContext) -> Effect:
        """Asks a person."""
        return effect.ask_user(
            f"Approve {ctx.run_id} over {ctx.vars['amount']} EUR?",
            choices=["approve", "reject"],
            allow_free_text=False,
            assignee="sales",
            result_key="answer",
            timeout=timedelta(days=3),
            on_deadline_node="rejected",
        )

    @order.node("decide")
    async def decide(ctx: NodeContext) -> Plan:
        """Goes on with what the person said."""
        return plan.next("charge" if ctx.vars["answer"] == "approve" else "rejected")

    @order.node("charge", next="pack")
    async def charge(ctx: NodeContext) -> Effect:
        """Plans the charge; as long as it has not begun it may be tried again."""
        payload = {"order": ctx.run_id, "amount": ctx.vars["amount"]}
        tries = RetryPolicy(max_attempts=5, initial_interval=0.2)
        return effect.custom("charge", payload, result_key="receipt", risk="irreversible", retry=tries)

    pack: JsonObject = {"workflow_id": "packing", "vars": {"items": "${vars.reserved}"}}
    order.effect_node("pack", "start_subworkflow", pack, next="done", result_key="parcel")
    order.complete_node("done", {"receipt": "${vars.receipt}", "parcel": "${vars.parcel.output}"})
    order.fail_node("rejected", "ORDER_REJECTED", "the order was not approved")
    return order


def reminder_workflow() -> Workflow:
    """Waits a while, then tells the seller that the order still waits. No worker is needed for it."""
    reminder = Workflow("reminder")
    reminder.effect_node("wait", "wait_until", {"delay_seconds": "${vars.after_seconds}"}, next="tell")
    reminder.effect_node("tell", "answer_user", {"message": "an order waits for you", "level": "warning"}, next="told")
    reminder.complete_node("told", {"order": "${vars.order}", "reminded": True})
    return reminder


def packing_workflow() -> Workflow:
    """Puts the items into a parcel."""
    packing = Workflow("packing")

    @packing.node("pick")
    async def pick(ctx: NodeContext) -> Plan:
        """Counts them."""
        return plan.complete({"pieces": len(ctx.vars["items"]), "carrier": "bicycle"})

    return packing


def order_worker(client: Client, bank: str, statement: Path) -> Worker:
    """A worker that serves all of it."""
    worker = Worker(client, worker_id="order-worker")
    for workflow in (reminder_workflow(), packing_workflow(), order_workflow()):
        worker.serve(workflow)

    @worker.effect("charge", begins_itself=True)
    async def charge(ctx: EffectContext, payload: JsonObject) -> JsonObject:
        """Moves the money, once the bank is open. From `begin` on it will not be tried again blindly."""
        hours = await ask_outside(bank, {"ask": "open?", "order": ctx.run_id})
        if not hours["open"]:
            raise StepError("the bank is closed for a moment", type="BANK_CLOSED")
        await ctx.begin()
        write_statement(statement, {"key": ctx.idempotency_key, "attempt": ctx.attempt, **payload})
        return await ask_outside(bank, {"ask": "charge", "key": ctx.idempotency_key, **payload})

    return worker


def write_statement(statement: Path, line: JsonObject) -> None:
    """Appends a line and syncs it."""
    descriptor = os.open(statement, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def main() -> None:
    """Works until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--bank", required=True)
    parser.add_argument("--statement", type=Path, required=True)
    arguments = parser.parse_args()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        Client.connect(arguments.address) as client,
        order_worker(client, arguments.bank, arguments.statement) as worker,
    ):
        sys.stdout.write(f"worker {worker.worker_id} ready\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
