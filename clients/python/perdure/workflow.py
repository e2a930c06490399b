"""Declares a workflow: nodes that workers run, written as functions, and nodes that the server plans itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack

from perdure.context import NodeContext
from perdure.effect import Effect, Risk
from perdure.flow import ALL, Branch, Change, Join
from perdure.json_text import Json, JsonObject, encode
from perdure.plan import Plan
from perdure.policies import RetryPolicy, Timeouts
from perdure.v1 import model_pb2
from perdure.values import ChildCancelPolicy, EffectRisk, NodeKind

NodeResult: TypeAlias = Plan | Effect | None
NodeHandler: TypeAlias = Callable[[NodeContext], Awaitable[NodeResult] | NodeResult]

_Handler = TypeVar("_Handler", bound=Callable[[NodeContext], Any])


class StepOptions(TypedDict, total=False):
    """How the step of a node is handed out, retried and bounded.

    queue: unset means "default".
    retry: unset: one attempt.
    priority: -100 to 100, higher first.
    on_error_node: node to enter when the failure is final.
    """

    queue: str
    retry: RetryPolicy
    timeouts: Timeouts
    priority: int
    on_error_node: str


class NodeOptions(StepOptions, total=False):
    """Also what a worker's node reads.

    inputs: RFC 6901 pointers of the vars it reads; its `ctx.vars` holds only these. Unset: all.
    """

    inputs: Sequence[str]


class WayOn(TypedDict, total=False):
    """Where a node that the server runs leads.

    next: node after it; unset: the run ends with {"success": true, "result": ...}.
    result_key: dotted path into vars for the result; unset stores nothing.
    on_error_node: node to enter when it fails.
    """

    next: str
    result_key: str
    on_error_node: str


class JoinOptions(WayOn, total=False):
    """Also how many branches or items must complete; the others are then cancelled. Unset: all."""

    join: Join


class Workflow:
    """A graph of nodes. Registered by `Worker.serve` or `Client.register_workflow`.

    Args:
        workflow_id: 1 to 128 characters of [A-Za-z0-9._:-].
        entry: the node a run starts at; default: the first one declared.
        on_cancel_node: entered when a run is cancelled; "" for none.
    """

    def __init__(self, workflow_id: str, *, entry: str = "", on_cancel_node: str = "") -> None:
        self.workflow_id = workflow_id
        self.handlers: dict[str, NodeHandler] = {}
        self._entry = entry
        self._on_cancel_node = on_cancel_node
        self._nodes: dict[str, model_pb2.NodeSpec] = {}

    def node(
        self, node_id: str = "", *, next: str = "", **options: Unpack[NodeOptions]
    ) -> Callable[[_Handler], _Handler]:
        """Declares the decorated function as a node that workers run.

        The function takes a NodeContext and returns a plan, an effect, or None to go to `next`. It may be
        async, or plain: then it runs in a thread.

        Args:
            node_id: default: the function's name.
            next: node to go to when the plan names none.
            options: see NodeOptions.
        """

        def declare(handler: _Handler) -> _Handler:
            name = node_id or handler.__name__
            spec = model_pb2.NodeSpec(kind=NodeKind.WORKER.wire, next=next, inputs=options.get("inputs", ()))
            self._declare(name, spec, options)
            self.handlers[name] = handler
            return handler

        return declare

    def effect_node(
        self,
        node_id: str,
        type: str,
        payload: JsonObject | None = None,
        *,
        next: str = "",
        result_key: str = "",
        risk: Risk = EffectRisk.UNSPECIFIED,
        **options: Unpack[StepOptions],
    ) -> None:
        """Declares a node whose plan is always this effect; no worker is asked for the plan.

        Args:
            node_id: the node.
            type: effect type, built-in or a worker's own.
            payload: JSON; a string that is exactly "${vars.a.b}" stands for that value.
            next: node after it; "": the run ends with {"success": true, "result": ...}.
            result_key: dotted path into vars for the result; "" stores nothing.
            risk: what a second execution would do.
            options: see StepOptions.
        """
        template = encode({"type": type, "payload": payload or {}})
        spec = model_pb2.NodeSpec(
            kind=NodeKind.EFFECT.wire,
            next=next,
            template_json=template,
            result_key=result_key,
            risk=EffectRisk(risk).wire,
        )
        self._declare(node_id, spec, options)

    def complete_node(self, node_id: str, output: JsonObject | None = None) -> None:
        """Declares a node that completes the run with this output; "${vars.a.b}" leaves are filled in."""
        spec = model_pb2.NodeSpec(kind=NodeKind.COMPLETE.wire, template_json=encode(output or {}))
        self._declare(node_id, spec, {})

    def fail_node(
        self, node_id: str, type: str, message: str = "", *, retryable: bool = False, details: Json = None
    ) -> None:
        """Declares a node that fails the run with this error; "${vars.a.b}" leaves are filled in."""
        error = {"type": type, "message": message, "retryable": retryable}
        template = encode(error if details is None else {**error, "details": details})
        self._declare(node_id, model_pb2.NodeSpec(kind=NodeKind.FAIL.wire, template_json=template), {})

    def choice_node(
        self, node_id: str, *choices: tuple[str, str], otherwise: str = "", on_error_node: str = ""
    ) -> None:
        """Declares a node that goes to the first of `choices` whose expression is true.

        Args:
            node_id: the node.
            choices: (expression, node) in order.
            otherwise: where to go when none is; "": the step then fails with NO_CHOICE.
            on_error_node: node to enter when it fails, also for an expression that does.
        """
        rules = [model_pb2.ChoiceRule(when=when, next=target) for when, target in choices]
        spec = model_pb2.NodeSpec(kind=NodeKind.CHOICE.wire, choices=rules, next=otherwise)
        self._declare(node_id, spec, {"on_error_node": on_error_node})

    def assign_node(self, node_id: str, *changes: Change, next: str, on_error_node: str = "") -> None:
        """Declares a node that changes vars and goes on.

        Args:
            node_id: the node.
            changes: in order; their templates see vars as they were before the node.
            next: node after it.
            on_error_node: node to enter when an expression fails; nothing is changed then.
        """
        ops = [change.to_wire() for change in changes]
        spec = model_pb2.NodeSpec(kind=NodeKind.ASSIGN.wire, assign=ops, next=next)
        self._declare(node_id, spec, {"on_error_node": on_error_node})

    def parallel_node(
        self,
        node_id: str,
        branches: Mapping[str, str | Branch],
        **options: Unpack[JoinOptions],
    ) -> None:
        """Declares a node that runs branches side by side, each as a child run, and joins them.

        The result is {name: output} of the branches that completed.

        Args:
            node_id: the node.
            branches: name to the node it starts at, or to a Branch with vars of its own.
            options: see JoinOptions.
        """
        given = [
            _branch(name, branch if isinstance(branch, Branch) else Branch(branch)) for name, branch in branches.items()
        ]
        spec = model_pb2.NodeSpec(kind=NodeKind.PARALLEL.wire, branches=given, join=_join(options))
        self._declare_way(node_id, spec, options)

    def foreach_node(
        self,
        node_id: str,
        items: str,
        entry_node: str,
        vars: JsonObject | None = None,
        *,
        max_concurrency: int = 0,
        **options: Unpack[JoinOptions],
    ) -> None:
        """Declares a node that does something for every item of a list, each as a child run, and joins them.

        The result is the outputs in the order of the items, null where one did not complete.

        Args:
            node_id: the node.
            items: expression, a list.
            entry_node: the node each item starts at.
            vars: template of an item's vars, which also sees `item` and `index`; None: {"item", "index"}.
            max_concurrency: items under way at once; 0: 100.
            options: see JoinOptions.
        """
        each = model_pb2.ForeachSpec(items=items, entry_node=entry_node, max_concurrency=max_concurrency)
        each.vars_json = "" if vars is None else encode(vars)
        spec = model_pb2.NodeSpec(kind=NodeKind.FOREACH.wire, foreach=each, join=_join(options))
        self._declare_way(node_id, spec, options)

    def subworkflow_node(
        self,
        node_id: str,
        workflow_id: str,
        vars: JsonObject | None = None,
        *,
        version: str = "",
        in_background: bool = False,
        on_parent_cancel: ChildCancelPolicy = ChildCancelPolicy.CANCEL,
        **options: Unpack[WayOn],
    ) -> None:
        """Declares a node that starts a run of another workflow as a child, and waits for its end.

        The result is {"sub_run_id", "output"}.

        Args:
            node_id: the node.
            workflow_id: the child's workflow.
            vars: template of its vars.
            version: "": the default when it starts.
            in_background: do not wait for it.
            on_parent_cancel: what a cancel of this run does to it.
            options: see WayOn.
        """
        child = model_pb2.SubworkflowSpec(
            workflow_id=workflow_id,
            workflow_version=version,
            vars_json="" if vars is None else encode(vars),
            on_parent_cancel=ChildCancelPolicy(on_parent_cancel).wire,
        )
        setattr(child, "async", in_background)
        self._declare_way(node_id, model_pb2.NodeSpec(kind=NodeKind.SUBWORKFLOW.wire, subworkflow=child), options)

    @property
    def node_ids(self) -> Sequence[str]:
        """All nodes, in the order they were declared."""
        return tuple(self._nodes)

    def spec(self) -> model_pb2.WorkflowSpec:
        """The contract's WorkflowSpec; the server computes the version.

        Raises:
            ValueError: no node was declared.
        """
        if not self._nodes:
            raise ValueError(f"workflow {self.workflow_id!r} has no nodes")
        nodes: Mapping[str, model_pb2.NodeSpec] = self._nodes
        return model_pb2.WorkflowSpec(
            workflow_id=self.workflow_id,
            entry_node=self._entry or self.node_ids[0],
            nodes=nodes,
            on_cancel_node=self._on_cancel_node,
        )

    def _declare_way(self, node_id: str, spec: model_pb2.NodeSpec, options: JoinOptions | WayOn) -> None:
        spec.next = options.get("next", "")
        spec.result_key = options.get("result_key", "")
        self._declare(node_id, spec, {"on_error_node": options.get("on_error_node", "")})

    def _declare(self, node_id: str, spec: model_pb2.NodeSpec, options: StepOptions) -> None:
        if node_id in self._nodes:
            raise ValueError(f"workflow {self.workflow_id!r} already has a node {node_id!r}")
        spec.queue = options.get("queue", "")
        spec.priority = options.get("priority", 0)
        spec.on_error_node = options.get("on_error_node", "")
        if "retry" in options:
            spec.retry.CopyFrom(options["retry"].to_wire())
        if "timeouts" in options:
            spec.timeouts.CopyFrom(options["timeouts"].to_wire())
        self._nodes[node_id] = spec


def _branch(name: str, branch: Branch) -> model_pb2.BranchSpec:
    vars_json = "" if branch.vars is None else encode(branch.vars)
    return model_pb2.BranchSpec(name=name, entry_node=branch.entry_node, vars_json=vars_json)


def _join(options: JoinOptions) -> model_pb2.JoinSpec | None:
    join = options.get("join", ALL)
    return join.to_wire() if join.count else None
