"""The load: waits, timers, events, children, irreversible effects."""

from __future__ import annotations

from perdure import Effect, NodeContext, RetryPolicy, Workflow, effect

ORDER = "order"
EAR = "ear"
NAP = "nap"
FAMILY = "family"
ERRAND = "errand"

PAYMENT = "pay"
ACT = "act"
AGAIN = RetryPolicy(max_attempts=100, initial_interval=0.1)


def order() -> Workflow:
    """A node of the worker's, an irreversible effect, a person."""
    order = Workflow(ORDER)

    @order.node(next="pay")
    def open_order(ctx: NodeContext) -> Effect:
        ctx.vars["opened"] = True
        return effect.custom(ACT, {"of": ctx.vars["of"]}, result_key="reserved", next="pay", retry=AGAIN)

    order.effect_node(
        "pay", PAYMENT, {"of": "${vars.of}"}, next="ask", result_key="paid", risk="irreversible", retry=AGAIN
    )
    order.effect_node("ask", "ask_user", {"prompt": "Ship it?"}, next="done", result_key="answer")
    order.complete_node("done", {"of": "${vars.of}", "answer": "${vars.answer}"})
    return order


def ear() -> Workflow:
    """An effect, then an event of the session."""
    ear = Workflow(EAR)
    ear.effect_node("act", ACT, {"of": "${vars.of}"}, next="hear", result_key="acted", retry=AGAIN)
    ear.effect_node("hear", "wait_event", {"name": "${vars.event}"}, next="done", result_key="heard")
    ear.complete_node("done", {"heard": "${vars.heard}"})
    return ear


def nap() -> Workflow:
    """A timer, then an effect."""
    nap = Workflow(NAP)
    nap.effect_node("sleep", "wait_until", {"delay_seconds": "${vars.delay_seconds}"}, next="act")
    nap.effect_node("act", ACT, {"of": "${vars.of}"}, next="done", result_key="acted", retry=AGAIN)
    nap.complete_node("done")
    return nap


def family() -> Workflow:
    """A child, and its result."""
    family = Workflow(FAMILY)
    family.effect_node(
        "send", "start_subworkflow", {"workflow_id": ERRAND, "vars": {"of": 1}}, next="done", result_key="child"
    )
    family.complete_node("done", {"child": "${vars.child}"})
    return family


def errand() -> Workflow:
    """The child: one effect."""
    errand = Workflow(ERRAND)
    errand.effect_node("act", ACT, {"of": "${vars.of}"}, next="done", result_key="acted", retry=AGAIN)
    errand.complete_node("done", {"acted": "${vars.acted}"})
    return errand


WORKFLOWS = (order, ear, nap, errand, family)
