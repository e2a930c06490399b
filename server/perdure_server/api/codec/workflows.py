"""Workflow specs: messages to the domain, their digest, and their stored bytes (the message itself)."""

from __future__ import annotations

import hashlib

import rfc8785
from google.protobuf.json_format import MessageToDict

from perdure.v1 import model_pb2
from perdure_server.api.codec import node_specs, terms
from perdure_server.api.fields import STORED, Check
from perdure_server.kernel import model as m
from perdure_server.kernel.bounds import INPUT_BYTES, MAX_INPUTS, MAX_PRIORITY, MIN_PRIORITY


def spec_version(message: model_pb2.WorkflowSpec) -> str:
    """The version of a spec: hex SHA-256 of the RFC 8785 JSON of the message without `version`.

    The JSON is the protobuf JSON mapping with proto field names and unset fields left out.
    """
    content = model_pb2.WorkflowSpec()
    content.CopyFrom(message)
    content.ClearField("version")
    return hashlib.sha256(rfc8785.dumps(MessageToDict(content, preserving_proto_field_name=True))).hexdigest()


def workflow_spec(message: model_pb2.WorkflowSpec, check: Check, at: str = "") -> m.WorkflowSpec:
    """The fields of a spec, each by itself; how its nodes refer to each other is `spec_problems`' business.

    `at` is empty or ends in a dot.
    """
    check.count(at, "nodes", len(message.nodes), check.limits.workflow_nodes)
    if not message.nodes:
        check.refuse(at + "nodes", "is required: at least one node")
    return m.WorkflowSpec(
        workflow_id=check.id(at, "workflow_id", message.workflow_id),
        version=message.version,
        entry_node=check.id(at, "entry_node", message.entry_node),
        nodes={
            check.id(at, f"nodes[{node_id[:128]}]", node_id): _node(
                node_id, node, check, f"{at}nodes[{node_id[:128]}]."
            )
            for node_id, node in sorted(message.nodes.items())[: check.limits.workflow_nodes]
        },
        on_cancel_node=check.id(at, "on_cancel_node", message.on_cancel_node, optional=True),
    )


def decode_workflow(spec: bytes) -> m.WorkflowSpec:
    """A registered workflow from its stored bytes."""
    return workflow_spec(model_pb2.WorkflowSpec.FromString(spec), STORED)


def _node(node_id: str, message: model_pb2.NodeSpec, check: Check, at: str) -> m.NodeSpec:
    return m.NodeSpec(
        node_id=node_id,
        kind=check.choice(at, "kind", message.kind, m.NodeKind, m.NodeKind.WORKER),
        next=check.id(at, "next", message.next, optional=True),
        inputs=check.pointers(at, "inputs", message.inputs, MAX_INPUTS, INPUT_BYTES),
        queue=check.id(at, "queue", message.queue, optional=True) or "default",
        retry=terms.retry(message, message.retry, check, at),
        timeouts=terms.timeouts(message, message.timeouts, check, at),
        on_error_node=check.id(at, "on_error_node", message.on_error_node, optional=True),
        template=check.optional_json(at, "template_json", message.template_json, object_only=True),
        result_key=check.result_key(at, message.result_key),
        risk=check.choice(at, "risk", message.risk, m.Risk, m.Risk.IDEMPOTENT),
        priority=check.integer(at, "priority", message.priority, MIN_PRIORITY, MAX_PRIORITY),
        choices=node_specs.choices(message, check, at),
        assign=node_specs.assign(message, check, at),
        branches=node_specs.branches(message, check, at),
        foreach=node_specs.foreach(message, check, at),
        join=node_specs.join(message, check, at),
        subworkflow=node_specs.subworkflow(message, check, at),
    )


def spec_bytes(message: model_pb2.WorkflowSpec, version: str) -> bytes:
    """The stored form of a spec: the message with its version."""
    stored = model_pb2.WorkflowSpec()
    stored.CopyFrom(message)
    stored.version = version
    return stored.SerializeToString(deterministic=True)
