"""The workflow that `perdure dev` runs: an order that is reserved, approved by a person, charged and announced."""

from __future__ import annotations

from datetime import timedelta

from perdure import Client, Effect, EffectContext, JsonObject, NodeContext, Plan, Worker, Workflow, effect, plan

order = Workflow("sample-order")


@order.node("reserve", next="approve")
async def reserve(ctx: NodeContext) -> None:
    """Notes what was reserved."""
    ctx.vars["reserved"] = {"items": ctx.vars.get("items", 1), "by": ctx.run_id}


@order.node("approve", next="decide")
async def approve(ctx: NodeContext) -> Effect:
    """Asks a person."""
    return effect.ask_user(
        f"Approve an order over {ctx.vars['amount']}?",
        choices=["approve", "reject"],
        allow_free_text=False,
        assignee="you",
        result_key="answer",
        timeout=timedelta(days=7),
        on_deadline_node="rejected",
    )


@order.node("decide")
async def decide(ctx: NodeContext) -> Plan:
    """Goes on with what the person said."""
    return plan.next("charge" if ctx.vars["answer"] == "approve" else "rejected")


@order.node("charge", next="announce")
async def charge(ctx: NodeContext) -> Effect:
    """Takes the money: an effect that must not happen twice."""
    payload = {"order": ctx.run_id, "amount": ctx.vars["amount"]}
    return effect.custom("sample-charge", payload, result_key="receipt", risk="irreversible")


order.effect_node("announce", "emit_event", {"name": "order-done", "payload": "${vars.receipt}"}, next="done")
order.complete_node("done", {"receipt": "${vars.receipt}"})
order.fail_node("rejected", "ORDER_REJECTED", "the order was not approved")


def sample_worker(client: Client) -> Worker:
    """A worker that serves the sample workflow."""
    worker = Worker(client, worker_id="sample-worker", identity="perdure dev")
    worker.serve(order)

    @worker.effect("sample-charge")
    async def take(ctx: EffectContext, payload: JsonObject) -> JsonObject:
        # A real one would pass the key on, so that the bank knows a repeat when it sees one.
        return {"charged": payload["amount"], "key": ctx.idempotency_key}

    return worker
