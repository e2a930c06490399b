"""The request of a join of branches or items, as its record's slot keeps it."""

from __future__ import annotations

from perdure.v1 import records_pb2
from perdure_server.kernel.model import Fanout
from perdure_server.kernel.values import Leaf


def fanout_bytes(request: Fanout) -> bytes:
    """Bytes of the Fanout message."""
    message = records_pb2.Fanout(total=request.total, needed=request.needed, max_concurrency=request.max_concurrency)
    if request.items is None:
        for name, node_id in zip(request.names, request.entry_nodes, strict=True):
            message.branches.add(name=name, entry_node=node_id)
    else:
        message.items_json = request.items.text
        message.entry_node = request.entry_nodes[0]
    return message.SerializeToString()


def stored_fanout(data: bytes) -> Fanout:
    """What `fanout_bytes` was given."""
    message = records_pb2.Fanout.FromString(data)
    is_items = bool(message.items_json)
    return Fanout(
        total=message.total,
        needed=message.needed,
        max_concurrency=message.max_concurrency,
        entry_nodes=(message.entry_node,) if is_items else tuple(branch.entry_node for branch in message.branches),
        names=tuple(branch.name for branch in message.branches),
        items=Leaf(message.items_json.encode()) if is_items else None,
    )
