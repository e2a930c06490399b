"""Columns of rows as PostgreSQL's binary arrays: one parameter a column, however many rows.

A statement over `unnest` of such arrays costs the server half of one with a VALUES list, and the driver a fifth:
it would otherwise adapt every value by itself. The layout is that of array_send (src/backend/utils/adt/arrayfuncs.c):
dimensions, has-nulls flag, element type; length and lower bound; then each element behind its size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import psycopg
import sqlalchemy as sa
from psycopg.adapt import Dumper
from psycopg.pq import Format

from perdure_server.storage.sql.grouped import Row, Value

_HEADER: Final = struct.Struct(">iiIii")
_SIZE: Final = struct.Struct(">i")
_NULL: Final = _SIZE.pack(-1)
_SMALL: Final = tuple(_SIZE.pack(size) for size in range(1024))
_INT8_SIZE: Final = 8
_CHUNKS: Final = tuple((count, struct.Struct(">" + "iq" * count)) for count in (64, 8, 1))

_INT8: Final = 20
_TEXT: Final = 25
_BYTEA: Final = 17


class Int8s(bytes):
    """A packed bigint[]."""


class Texts(bytes):
    """A packed text[]."""


class Byteas(bytes):
    """A packed bytea[]."""


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


class _Int8sDumper(_PackedDumper):
    oid = 1016


class _TextsDumper(_PackedDumper):
    oid = 1009


class _ByteasDumper(_PackedDumper):
    oid = 1001


def register(connection: psycopg.Connection[Any]) -> None:
    """Lets a connection take packed arrays as parameters."""
    connection.adapters.register_dumper(Int8s, _Int8sDumper)
    connection.adapters.register_dumper(Texts, _TextsDumper)
    connection.adapters.register_dumper(Byteas, _ByteasDumper)


def _header(element: int, count: int, nulls: int = 0) -> bytes:
    return _HEADER.pack(1, nulls, element, count, 1)


def int8s(values: Sequence[int]) -> Int8s:
    """Raises: struct.error for a number beyond 64 bits."""
    count = len(values)
    pairs = [_INT8_SIZE] * (2 * count)
    pairs[1::2] = values
    parts = [_header(_INT8, count)]
    start = 0
    for size, layout in _CHUNKS:
        while count - start >= size:
            parts.append(layout.pack(*pairs[2 * start : 2 * (start + size)]))
            start += size
    return Int8s(b"".join(parts))


def texts(values: Iterable[str]) -> Texts:
    """Raises: UnicodeEncodeError for text that is not Unicode."""
    encoded = [value.encode() for value in values]
    return Texts(_sized(_header(_TEXT, len(encoded)), encoded))


def byteas(values: Sequence[bytes | None]) -> Byteas:
    """None: NULL."""
    if None not in values:
        return Byteas(_sized(_header(_BYTEA, len(values)), cast(Sequence[bytes], values)))
    parts = [_header(_BYTEA, len(values), 1)]
    parts += [_NULL if value is None else _SIZE.pack(len(value)) + value for value in values]
    return Byteas(b"".join(parts))


def _sized(header: bytes, values: Sequence[bytes]) -> bytes:
    parts = [header] * (2 * len(values) + 1)
    parts[1::2] = [_SMALL[size] if (size := len(value)) < len(_SMALL) else _SIZE.pack(size) for value in values]
    parts[2::2] = values
    return b"".join(parts)


class Columns:
    """Packs rows of a table.

    Args:
        columns: those that the rows hold, in their order.
    """

    def __init__(self, columns: Sequence[sa.Column[Any]]) -> None:
        self.names = [column.name for column in columns]
        self.types = [_array_type(column) for column in columns]
        self._packers = [_PACKERS[kind] for kind in self.types]

    def unnest(self) -> str:
        """`unnest($1::bigint[], $2::text[])`"""
        arguments = ", ".join(f"${number}::{kind}" for number, kind in enumerate(self.types, 1))
        return f"unnest({arguments})"

    def pack(self, rows: Sequence[Row]) -> list[bytes]:
        """One array a column."""
        columns: Iterable[tuple[Value, ...]] = zip(*rows, strict=True)
        return [pack(column) for pack, column in zip(self._packers, columns, strict=True)]


_PACKERS: Final[dict[str, Any]] = {"bigint[]": int8s, "text[]": texts, "bytea[]": byteas}


def _array_type(column: sa.Column[Any]) -> str:
    if isinstance(column.type, sa.Integer):
        return "bigint[]"
    return "bytea[]" if isinstance(column.type, sa.LargeBinary) else "text[]"
