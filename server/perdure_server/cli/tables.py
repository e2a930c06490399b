"""Tables and fact sheets on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from perdure_server.cli.output import Column, colour_of

T = TypeVar("T")


def draw(items: Sequence[T], columns: Sequence[Column[T]]) -> Table:
    """A table of the items; columns that would be empty are left out."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    rows = [[column.cell(item) for column in columns] for item in items]
    shown = [index for index, _ in enumerate(columns) if any(row[index] for row in rows)]
    for index in shown:
        table.add_column(columns[index].title, no_wrap=not columns[index].may_fold, overflow="fold")
    for row in rows:
        cells = [(row[index], columns[index].is_status) for index in shown]
        table.add_row(*(Text(text, style=colour_of(text) if is_status else "") for text, is_status in cells))
    return table


def draw_facts(pairs: Sequence[tuple[str, str]]) -> Table:
    """Names on the left, texts on the right."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in pairs:
        table.add_row(name, Text(text, style=colour_of(text) if name in {"status", "activity"} else ""))
    return table
