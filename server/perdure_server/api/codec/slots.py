"""Payload slots of records: what a user wrote lies beside the record, under a salted commitment (P9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from perdure.v1.records_pb2 import PayloadRef
from perdure_server.api.codec.shapes import Shape
from perdure_server.engine.sealing import commitment
from perdure_server.kernel.values import Leaf
from perdure_server.storage.port import StoredPayload


class PayloadMissingError(Exception):
    """A record refers to a payload that was erased, or is not there."""


class SlotWriter:
    """Gives out slots, in the order in which a record's fields ask for them."""

    __slots__ = ("_refs",)

    def __init__(self) -> None:
        self._refs: list[tuple[bytes, dict[str, Any]]] = []

    def data(self, data: bytes) -> Shape | None:
        """Shape of a PayloadRef for these bytes; no slot for none."""
        if not data:
            return None
        ref: dict[str, Any] = {"index": len(self._refs), "size": len(data)}
        self._refs.append((data, ref))
        return ref

    def leaf(self, leaf: Leaf | None) -> Shape | None:
        """Shape of a PayloadRef for a JSON text."""
        return None if leaf is None else self.data(leaf.data)

    def text(self, text: str) -> Shape | None:
        """Shape of a PayloadRef for a text."""
        return self.data(text.encode()) if text else None

    def seal(self, new_salts: Callable[[int], list[bytes]]) -> tuple[StoredPayload, ...]:
        """Salts every slot and completes the shapes given out with their commitments."""
        refs = self._refs
        if not refs:
            return ()
        payloads: list[StoredPayload] = []
        salts = new_salts(len(refs))
        for index, (data, ref) in enumerate(refs):
            ref["commitment"] = commitment(salts[index], data)
            payloads.append(StoredPayload(index, salts[index], data))
        return tuple(payloads)


class SlotReader:
    """Finds the bytes of a record's slots.

    Args:
        payloads: those stored beside the record.
    """

    __slots__ = ("_payloads",)

    def __init__(self, payloads: Sequence[StoredPayload]) -> None:
        self._payloads = payloads

    def data(self, ref: PayloadRef) -> bytes:
        """The bytes of a slot; a record without it (size 0) has none.

        Raises: PayloadMissingError.
        """
        if not ref.size:
            return b""
        for payload in self._payloads:
            if payload.index == ref.index and payload.data is not None:
                return payload.data
        raise PayloadMissingError(f"payload {ref.index} is erased or missing")

    def leaf(self, ref: PayloadRef) -> Leaf:
        """A JSON text that must be there."""
        return Leaf(self.data(ref))

    def optional_leaf(self, ref: PayloadRef) -> Leaf | None:
        """A JSON text, if there is a slot."""
        return Leaf(self.data(ref)) if ref.size else None

    def text(self, ref: PayloadRef) -> str:
        """A text."""
        return self.data(ref).decode()
